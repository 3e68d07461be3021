"""Secrets Manager's own rotation (``rotate-secret``, the console's button): four steps, each of them safe to repeat.

Secrets Manager chooses the version id (the *token*), puts ``AWSPENDING`` on an empty version, and calls the steps one
after the other, some of them twice. Together they do what a sweep's rotation does:

============  =========================================================================================
createSecret  find or create the key named after the token, compare it, store it with its label
setSecret     nothing: Infobip knows the key already
testSecret    compare and probe what was stored; of an empty version: test the configuration, as AWS does
              when rotation is switched on without rotating at once
finishSecret  compare and probe once more, promote by compare-and-swap, retire the old version
============  =========================================================================================

After ``createSecret`` the version is like a sweep's: if no further step follows, the next sweep finishes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from rotator.audit_events import Event
from rotator.engine.apply import apply
from rotator.engine.context import AccountContext, Budget, InfobipClock, Services
from rotator.engine.observe import connected, observe_fleet, with_secret
from rotator.engine.rotation import Rotation
from rotator.engine.rotation.attempt import Attempt
from rotator.engine.rotation.create import adopt_or_revoke, compare, key_request, make_key
from rotator.engine.rotation.promote import promote
from rotator.engine.secret_changes import managed_account, require_empty
from rotator.errors import Refused, RotatorError, StateChanged
from rotator.model import AccountSnapshot, SecretEntry
from rotator.plan import Action, ActionKind
from rotator.policy.clock_skew import clock_skew
from rotator.policy.daily_limit import slots_used
from rotator.policy.labels import CURRENT, PENDING
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.rules import ROTATE_BLOCKED, SKIP_WHEN, Predicate, View, first, make_view
from rotator.policy.tags import ACCOUNT_TAG
from rotator.ports import FetchedKey
from rotator.reasons import Reason
from rotator.telemetry.consumer_events import FAILED, publish

ALREADY_CURRENT: Final = "already current"
MAX_LABELLINGS: Final = 3
"""How often a secret is read, if its current version has to be labelled first."""


class Step(StrEnum):
    """The steps that Secrets Manager calls."""

    CREATE = "createSecret"
    SET = "setSecret"
    TEST = "testSecret"
    FINISH = "finishSecret"


def run_step(services: Services, secret: str, token: str, step: Step) -> str:
    """Run one step. Returns a summary; an already current version is a success.

    :param secret: name or ARN.
    :param token: the id of the version to rotate to.
    :raises RotatorError: refused, or failed; the old key stays current, and calling the step again is safe.
    """
    entry: SecretEntry | None = None
    try:
        entry = services.store.describe(secret)
        if CURRENT in _labels_of(entry, token):
            return ALREADY_CURRENT
        if step is Step.SET:
            return "nothing to do: the key already exists at Infobip"
        with _opened(services, entry, token) as work:
            match step:
                case Step.CREATE:
                    return work.create()
                case Step.TEST:
                    return work.test()
                case Step.FINISH:
                    return work.finish()
    except RotatorError as error:
        named = entry.secret_fields if entry is not None else {"secret": secret}
        fields = {**named, "version_id": token, "reason": str(Reason.REQUESTED)}
        account = entry.tags.get(ACCOUNT_TAG) if entry is not None else None
        text = f"{type(error).__name__}: {error}"
        outcome = "denied" if isinstance(error, Refused) else "failure"
        services.audit.emit(Event.ROTATION_FAILED, outcome, account=account, **fields, error=text, step=str(step))
        arn = entry.arn if entry is not None else None
        publish(services.events, FAILED, account=account, secret_arn=arn, **fields, error=text)
        raise


def _labels_of(entry: SecretEntry, token: str) -> frozenset[str]:
    """The token's labels.

    :raises Refused: Secrets Manager did not start a rotation to this version.
    """
    # Like the rotation functions that AWS publishes: if this is unknown, the labels below decide.
    if entry.rotation_enabled is False:
        raise Refused(
            f"{entry.name} is not enabled for rotation by Secrets Manager",
            advice="Enable it (aws secretsmanager rotate-secret --rotation-lambda-arn …), or run `rotator rotate`.",
        )
    labels = entry.versions.get(token)
    if labels is None:
        raise Refused(
            f"version {token} of {entry.name} has no staging label; no rotation to it is in progress",
            advice="Start a rotation: aws secretsmanager rotate-secret.",
        )
    if CURRENT not in labels and PENDING not in labels:
        raise Refused(
            f"version {token} of {entry.name} does not have AWSPENDING; no rotation to it is in progress",
            advice="Another rotation started, or this one was cancelled; start a new one with rotate-secret.",
        )
    return labels


@contextlib.contextmanager
def _opened(services: Services, entry: SecretEntry, token: str) -> Iterator[StepWork]:
    """Connect, read the account's keys, and adopt the current version if it is not adopted yet.

    :raises Refused: the secret is one that sweeps skip, or this machine's clock is wrong.
    """
    services = replace(services, new_version_id=lambda: token)
    account = managed_account(entry)
    fleet = observe_fleet(services.store)
    with connected(services, fleet, account) as provider:
        listing = provider.list_keys()
        keys = {key.id: key for key in listing.keys}
        now = InfobipClock(services.clock, provider).now()
        total = len(keys) if listing.complete else provider.count_keys()
        managed = fleet.managed.get(account, ())
        listed = AccountSnapshot(
            account,
            managed,
            keys,
            complete=listing.complete,
            disabled_complete=listing.complete,
        )
        budget = Budget.of(slots_used(listed, now), services.policy, now, total)
        begun = entry
        for _ in range(MAX_LABELLINGS):
            seen = _without_pending(entry, token)
            snapshot = with_secret(services.store, provider, listed, seen)
            context = AccountContext(services, provider, snapshot, budget)
            work = StepWork(context, entry, make_view(snapshot, seen), token, begun)
            work.refuse_if_skipped()
            if not work.adopt():
                yield work
                return
            entry = services.store.describe(entry.arn)
    raise StateChanged(f"{entry.name} is being changed by another process")


def _without_pending(entry: SecretEntry, token: str) -> SecretEntry:
    """Return the secret without the token's ``AWSPENDING``, which belongs to this rotation.

    A version that has a key's label is not changed.
    """
    if read_lifecycle(entry).pending_version == token:
        return entry
    versions = {version: labels for version, labels in entry.versions.items() if version != token}
    rest = entry.versions.get(token, frozenset()) - {PENDING}
    return replace(entry, versions={**versions, token: rest} if rest else versions)


@dataclass(slots=True)
class StepWork:
    """The data of one step: the secret as it was just read, its account's keys, and the slots left today.

    :param begun: the secret as it was before this step adopted its current version.
    """

    context: AccountContext
    entry: SecretEntry
    view: View
    token: str
    begun: SecretEntry

    def create(self) -> str:
        """``createSecret``."""
        if read_lifecycle(self.entry).pending_key is not None:
            return "already stored"
        rotation = self._rotation_of_empty_version()
        attempt, stored = rotation.prepare(self.token)
        fetched = self._earlier_key(attempt) or make_key(attempt)
        rotation.store(attempt, fetched, stored)
        return f"key {fetched.key.id} was stored"

    def test(self) -> str:
        """``testSecret``."""
        if read_lifecycle(self.entry).pending_key is None:
            self._rotation_of_empty_version().check()
            return "the configuration is valid; no key was created"
        return f"key {self._check_stored(promoting=False)} works"

    def finish(self) -> str:
        """``finishSecret``."""
        if read_lifecycle(self.entry).pending_key is None:
            require_empty(self.context.services.store, self.entry, self.token)
            raise Refused(
                f"version {self.token} of {self.entry.name} is empty: createSecret has not run",
                advice="Start the rotation again: aws secretsmanager rotate-secret.",
            )
        return f"key {self._check_stored(promoting=True)} is current"

    def _rotation_of_empty_version(self) -> Rotation:
        """:raises Refused: the token's version is not empty, or the rotation is blocked."""
        require_empty(self.context.services.store, self.entry, self.token)
        self._refuse_by(ROTATE_BLOCKED)
        action = self._action(ActionKind.ROTATE, self.view.key_id, self.view.life.current_version)
        return Rotation(self.context, action, own=True, entry=_without_pending(self.entry, self.token))

    def _check_stored(self, *, promoting: bool) -> str:
        key_id = read_lifecycle(self.entry).pending_key
        assert key_id is not None
        action = self._action(ActionKind.RESUME, key_id, self.token)
        rotation = Rotation(self.context, action, own=True, listed=self.begun, entry=self.entry)
        attempt = rotation.begin(self.token)
        key = rotation.check_stored(attempt, key_id)
        if promoting:
            promote(attempt, key)
        return key_id

    def _earlier_key(self, attempt: Attempt) -> FetchedKey | None:
        """The key of an interrupted attempt: adopted if its value can be read, else revoked."""
        request = key_request(attempt)
        named = self.context.provider.find_by_name(request.name, request.account_id)
        fetched = adopt_or_revoke(attempt, [key for key in named if key.alive(attempt.now())])
        if fetched is not None:
            compare(attempt, fetched.key, request, resumed=True)
        return fetched

    def _action(self, kind: ActionKind, key_id: str | None, version_id: str | None) -> Action:
        return self.context.action(kind, Reason.REQUESTED, self.entry, key_id, version_id)

    def refuse_if_skipped(self) -> None:
        """Apply a sweep's rules: hold, wrong tags, replica, contradicting labels, no scopes for a first key."""
        wrong = clock_skew(self.context.snapshot)
        if wrong is not None:
            raise Refused(f"{self.entry.name} was not rotated: {wrong}", reason=Reason.CLOCK_SKEW)
        self._refuse_by(SKIP_WHEN)

    def _refuse_by(self, rules: tuple[Predicate, ...]) -> None:
        found = first(rules, self.view, self.context.services.clock.now())
        if found is not None:
            raise Refused(f"{self.entry.name} was not rotated: {found.reason}: {found.detail}", reason=found.reason)

    def adopt(self) -> bool:
        """Label the current version with its key if the label is missing or wrong. Returns whether it was."""
        life, wrong = self.view.life, self.view.mislabelled
        if not life.unlabelled and wrong is None:
            return False
        action = self._action(ActionKind.LABEL, wrong or self.view.key_id, life.current_version)
        reason = Reason.UNADOPTED if life.unlabelled else Reason.MISLABELLED
        _, error = apply(self.context, replace(action, reason=reason))
        if error is not None:
            raise error
        return True
