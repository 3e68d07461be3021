"""Deliver a new key to consumers: store, probe, promote by compare-and-swap, retire the old version."""

from __future__ import annotations

import contextlib
from datetime import timedelta

from rotator.audit_events import Event
from rotator.engine.probing import PROPAGATION, probe_until
from rotator.engine.rotation.attempt import STALE_CREATE, Attempt
from rotator.engine.secret_changes import grace_of, move_current, retire_version
from rotator.errors import (
    LostRace,
    PreconditionFailed,
    ProviderUnavailable,
    RotatorError,
    StateChanged,
    StoreError,
)
from rotator.model import Key
from rotator.plan import Promoted
from rotator.policy.clock_skew import MAX_SKEW
from rotator.policy.labels import PENDING, key_label
from rotator.policy.orphans import ORPHAN_AGE
from rotator.ports import ProbeVerdict
from rotator.reasons import Reason
from rotator.secret import Secret
from rotator.telemetry.consumer_events import ROTATED

ALMOST_ORPHAN = ORPHAN_AGE - MAX_SKEW
"""No run treats a key younger than this as an orphan, even if the clocks differ."""
REVOKE_IN_FLIGHT = timedelta(seconds=90)
"""For this long after a version was stored, a run whose check is up to a minute old may still revoke its key."""


def stage(attempt: Attempt, key: Key, text: Secret) -> None:
    """Store the value under its version id, ``AWSPENDING`` and the key's label in one call.

    After a crash here the next sweep finds a pending version, checks and probes it again, and promotes it.

    :raises StoreError: it is not stored, and the key was given up.
    :raises StateChanged: the key was revoked during the rotation; it was given up.
    """
    store, arn, version_id = attempt.context.services.store, attempt.entry.arn, attempt.version_id
    labels = (PENDING, key_label(key.id))
    try:
        with attempt.context.change(Event.SECRET_STAGED, **attempt.fields(key.id)):
            try:
                store.stage(arn, version_id, text, labels)
            except StoreError as error:
                if not (error.outcome_unknown or error.retryable) or isinstance(error, PreconditionFailed):
                    raise
                if key_label(key.id) not in store.describe(arn).versions.get(version_id, frozenset()):
                    # Storing the same value under the same version id again changes nothing.
                    store.stage(arn, version_id, text, labels)
    except RotatorError:
        attempt.give_up(key)
        raise
    attempt.staged = True
    # A run that read the secret earlier may treat such an old key as an orphan and be about to revoke it.
    made = attempt.asked_at or key.valid_from
    if made is not None and attempt.now() - made >= ALMOST_ORPHAN:
        attempt.context.services.clock.sleep(REVOKE_IN_FLIGHT.total_seconds())
        _check_active(attempt, key)


def check_again_if_stale(attempt: Attempt, key: Key, value: Secret) -> None:
    """Check and probe a key once more if it was checked more than ten minutes ago.

    :raises StateChanged: it was revoked during the rotation; it was given up.
    """
    if attempt.checked_at is not None and attempt.now() - attempt.checked_at > STALE_CREATE:
        _check_active(attempt, key)
        probe(attempt, key, value)


def _check_active(attempt: Attempt, key: Key) -> None:
    attempt.checked_at = attempt.now()
    fresh = attempt.context.provider.get_key(key.id).key
    if not fresh.alive(attempt.now()):
        attempt.give_up(fresh, revoke=fresh.enabled)
        raise StateChanged(
            f"the new key {key.id} of {attempt.entry.name} was revoked by another process; it was not promoted",
            reason=Reason.KEY_NOT_ACTIVE,
        )


def probe(attempt: Attempt, key: Key, value: Secret) -> None:
    """Use the key once; retry until it must have propagated.

    After a crash here the version is still pending: the next sweep continues with it.

    :raises ReplacementRejected: still 401 at the end; the key is revoked.
    :raises ProviderUnavailable: no verdict; a stored version stays pending for the next sweep.
    """
    emit, clock, spec = attempt.context.emit, attempt.context.services.clock, attempt.spec
    fields, name = attempt.fields(key.id), attempt.entry.name
    if not spec.verify:
        # A key that can't be probed gets the full time to propagate.
        since = attempt.asked_at or key.valid_from
        if since is not None:
            clock.sleep((since + PROPAGATION - attempt.now()).total_seconds())
        emit(Event.KEY_VERIFIED, "success", **fields, detail="not probed: rotator:verify=skip")
        return
    until, wanted = attempt.now() + PROPAGATION, ProbeVerdict.AUTHENTICATES
    found = probe_until(attempt.context.provider, clock, value, spec.verify_path, wanted, until)
    if found.verdict is wanted:
        emit(Event.KEY_VERIFIED, "success", **fields, detail=found.detail)
        return
    if found.verdict is ProbeVerdict.INCONCLUSIVE:
        emit(Event.KEY_VERIFIED, "failure", **fields, error=f"ProviderUnavailable: {found.detail}")
        if not attempt.staged:
            attempt.give_up(key)
        raise ProviderUnavailable(
            f"{name}: the new key {key.id} could not be verified: {found.detail} at {spec.verify_path}",
            advice=("" if attempt.emergency else "The old key stays current and the next sweep continues. ")
            + "If this persists, check rotator:verify-path.",
        )
    advice = "Check rotator:verify-path and the key's permissions."
    if key.allowed_ips:
        advice = "If its allowedIPs exclude the rotator on purpose, add the tag rotator:verify=skip."
    emit(Event.KEY_REJECTED, "failure", **fields, error=f"ReplacementRejected: {found.detail}")
    attempt.reject(key, f"does not authenticate ({found.detail})", advice)


def promote(attempt: Attempt, key: Key) -> Promoted:
    """Move ``AWSCURRENT``, send consumers an event, retire the old version.

    After a crash following the move the old version is superseded and has no retire label: the next sweep sends the
    event again and sets the label, with the full grace period.

    :raises RotatorError: not promoted; the version stays pending for the next sweep, or was given up.
    """
    context, entry, life = attempt.context, attempt.entry, attempt.life
    try:
        with context.change(Event.SECRET_PROMOTED, **attempt.fields(key.id)):
            move_current(context.services.store, entry, attempt.version_id, life.current_version)
    except LostRace:
        attempt.give_up(key, contested=True)
        raise
    context.publish(ROTATED, secret_arn=entry.arn, **attempt.fields(key.id))
    if life.current_version is not None and life.current_key is not None and not attempt.emergency:
        # The rotation is done. The next sweep repeats what fails here; this only makes the grace period longer.
        with contextlib.suppress(RotatorError):
            grace = grace_of(context, entry, attempt.spec, life.current_version, attempt.version_id, key)
            revoke_at = context.revoke_at(grace)
            retire_version(context, entry, life.current_version, life.current_key, revoke_at, attempt.reason)
    moved = life.current_key is not None and attempt.old is None
    return Promoted(key.id, attempt.version_id, key.valid_to, moved)
