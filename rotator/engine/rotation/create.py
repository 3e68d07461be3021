"""Creates the replacement: the request, the create, the search after a lost response, the comparison."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from rotator.audit_events import Event
from rotator.engine.context import limit_used_up
from rotator.engine.rotation.attempt import Attempt
from rotator.errors import OutcomeUnknown, ProviderError, Refused
from rotator.model import Key
from rotator.policy.key_lifetime import lifetime
from rotator.policy.labels import key_name
from rotator.ports import FetchedKey, KeyRequest
from rotator.reasons import Reason

SEARCH_WAITS = (0.0, 2.0, 5.0)
"""Seconds before each search for a key whose create got no response."""


def make_key(attempt: Attempt) -> FetchedKey:
    """Create the key and compare it with the request.

    A crash before the response leaves a key that only its name connects with the secret. The next sweep resumes with
    it if its value can be read, else revokes it as an orphan. ``attempt.version_id`` is the version that the key is
    named after; it changes if a first key had to be revoked.

    :raises RotatorError: no usable key was created; a key that was created is revoked, or is an orphan with a name.
    """
    request = key_request(attempt)
    attempt.asked_at = attempt.checked_at = attempt.now()
    if not attempt.context.use_create():
        raise limit_used_up("creates", f"{attempt.entry.name} was not rotated")
    try:
        fetched = _create(attempt, request)
    except OutcomeUnknown as error:
        fetched, request = _recover(attempt, request, error)
    attempt.own = True
    compare(attempt, fetched.key, request)
    return fetched


def key_request(attempt: Attempt) -> KeyRequest:
    """The request for the replacement, with the old key's rights or the tagged scopes.

    :raises Refused: the scopes are unknown, and Infobip would grant every scope.
    """
    entry, spec, old = attempt.entry, attempt.spec, attempt.old
    platform = old.platform if old else frozenset()
    scopes = spec.scopes or (old.scopes if old else None) or frozenset()
    if platform:
        scopes = frozenset()
    elif not scopes:
        raise Refused(
            f"{entry.name}: the old key's scopes are unknown, and a key created without scopes gets all of them",
            advice="Add the tag rotator:scopes to the secret.",
            reason=Reason.SCOPES_UNKNOWN,
        )
    return KeyRequest(
        name=key_name(entry.name, entry.arn, attempt.context.services.policy.deployment, attempt.version_id),
        valid_to=(attempt.now() + lifetime(spec, entry.name)).replace(microsecond=0),
        scopes=scopes,
        permissions=frozenset() if platform or old is None else old.permissions or frozenset(),
        allowed_ips=old.allowed_ips if old else frozenset(),
        platform=platform,
        account_id=(old.account_id if old else None) or attempt.context.provider.account_id,
    )


def _create(attempt: Attempt, request: KeyRequest) -> FetchedKey:
    with attempt.context.change(Event.KEY_CREATED, **attempt.fields(None)) as out:
        fetched = attempt.context.provider.create_key(request)
        out["key_id"] = fetched.key.id
        if fetched.key.id in attempt.context.snapshot.keys:
            # The response has the id of an older key, so its value may be another key's.
            raise OutcomeUnknown(f"Infobip returned the id of an older key when creating {request.name}")
    return fetched


def _recover(attempt: Attempt, request: KeyRequest, error: OutcomeUnknown) -> tuple[FetchedKey, KeyRequest]:
    """Search for the key by name after a lost response; adopt it if it can be read, else revoke it and create another.

    If none is found, the key may still appear: the rotation fails and the next sweep decides.
    """
    context = attempt.context
    found: tuple[Key, ...] = ()
    for wait in SEARCH_WAITS:
        context.services.clock.sleep(wait)
        try:
            found = context.provider.find_by_name(request.name, request.account_id)
        except ProviderError:
            raise error from None
        if found:
            break
    if not found:
        raise error
    fetched = adopt_or_revoke(attempt, found)
    if fetched is not None:
        return fetched, request
    if not context.use_create():
        raise error
    attempt.version_id = context.services.new_version_id()
    request = key_request(attempt)
    return _create(attempt, request), request


def adopt_or_revoke(attempt: Attempt, made: Sequence[Key]) -> FetchedKey | None:
    """Return the key created for this version whose value can be read; if there is none, revoke them all.

    :raises StateChanged: no update is left today; the next sweep finds the remaining keys by their name.
    """
    context = attempt.context
    for key in made:
        attempt.checked_at = attempt.now()
        fetched = context.provider.get_key(key.id)
        if fetched.value is not None:
            context.emit(Event.KEY_CREATED, "success", **attempt.fields(key.id), detail="found by its name")
            return fetched
    for key in made:
        if not attempt.revoke_own(key):
            raise limit_used_up("updates", f"{attempt.entry.name} was not rotated")
    return None


def compare(attempt: Attempt, key: Key, request: KeyRequest, *, resumed: bool = False) -> None:
    """Compare every field: a replacement with more or fewer rights is never promoted.

    :param resumed: another run, or step, requested it, so its expiry is not compared.
    """
    differences = differing_fields(key, request, compare_expiry=not resumed)
    if attempt.staged and "name" in differences:
        differences.remove("name")  # it has an ownership proof, maybe by value
    if not key.begun(attempt.now()):
        differences.append("validFrom")
    if not key.enabled:
        differences.append("enabled")
    if not differences:
        return
    what = f"differs from the request in {', '.join(differences)}"
    error = f"ReplacementRejected: key {key.id} {what}"
    attempt.context.emit(Event.KEY_REJECTED, "failure", **attempt.fields(key.id), error=error)
    attempt.reject(
        key, what, "Check the management user's permissions and the account settings at Infobip against the old key."
    )


def differing_fields(key: Key, request: KeyRequest, *, compare_expiry: bool) -> list[str]:
    """The names of the fields in which a key differs from its request."""
    permissions = key.permissions or frozenset()
    differs = {
        "name": key.name != request.name,
        "scopeGuids": (key.scopes or frozenset()) != request.scopes,
        "permissions": permissions != request.permissions
        and not (not request.permissions and permissions <= {"PUBLIC_API"}),
        "allowedIPs": key.allowed_ips != request.allowed_ips,
        "platform": key.platform != request.platform,
        "accountId": None not in (request.account_id, key.account_id) and key.account_id != request.account_id,
        "validTo": compare_expiry
        and (key.valid_to is None or abs(key.valid_to - request.valid_to) > timedelta(seconds=60)),
    }
    return [name for name, different in differs.items() if different]
