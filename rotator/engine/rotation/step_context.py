"""What one of Secrets Manager's steps works with, and what it does; see :mod:`rotator.engine.rotation.four_steps`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from rotator.engine.apply import apply
from rotator.engine.context import AccountContext, Budget, InfobipClock
from rotator.engine.observe import account_of, management_of, observe_fleet, resolve_current
from rotator.engine.reconcile import Reconciler
from rotator.engine.rotation.step_rotation import Stepwise
from rotator.errors import BadSecretValue, Changed, KeyNotFound, Refused, SecretNotFound
from rotator.model import AccountSnapshot, Action, ActionKind, Key, Reason, SecretEntry
from rotator.policy.guards import clock_skew, mass_missing, slots_used
from rotator.policy.labels import PENDING
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.planner import make_view
from rotator.policy.rules import ROTATE_BLOCKED, SKIP_WHEN, View, first
from rotator.ports import KeyProvider

_MOST_ROUNDS: Final = 3
"""Looks at a secret whose current version has to be labelled first."""


@dataclass(slots=True)
class Piece:
    """What one step works with: a fresh look at the secret, at its account's keys, and today's budget."""

    context: AccountContext
    entry: SecretEntry
    view: View
    token: str

    @classmethod
    @contextlib.contextmanager
    def opened(cls, reconciler: Reconciler, entry: SecretEntry, token: str) -> Iterator[Piece]:
        """Connect, look, and adopt the current version if nobody has yet.

        :raises Refused: the secret is one that sweeps skip, or this machine's clock is wrong.
        """
        services = replace(reconciler.services, new_version_id=lambda: token)
        account = account_of(entry)
        fleet = observe_fleet(services.store)
        management = management_of(fleet, account)
        with reconciler.connected(fleet, account) as provider:
            listing = provider.list_keys()
            keys = {key.id: key for key in listing.keys}
            counted = AccountSnapshot(account, management, (), keys)
            now = InfobipClock(services.clock, provider).now()
            total = len(keys) if listing.complete else provider.count_keys()
            budget = Budget.of(slots_used(counted, now), services.policy, now, total)
            for _ in range(_MOST_ROUNDS):
                seen = _without_pending(entry, token)
                life = read_lifecycle(seen)
                _ask_once_more(provider, keys, life.current_key)
                others = tuple(other for other in fleet.managed.get(account, ()) if other.arn != seen.arn)
                snapshot = AccountSnapshot(
                    account, management, (seen, *others), keys, skew=provider.skew(), complete=listing.complete
                )
                if life.current_version is not None and life.current_key not in keys:
                    resolution = resolve_current(services.store, provider, seen)
                    snapshot = replace(snapshot, resolutions={seen.arn: resolution})
                context = AccountContext(services, provider, snapshot, budget)
                piece = cls(context, entry, make_view(snapshot, seen), token)
                piece._stop_if_skipped()
                if not piece._adopt():
                    yield piece
                    return
                entry = services.store.describe(entry.arn)
        raise Changed(f"{entry.name} is being changed by somebody else")

    # ---- the steps --------------------------------------------------------------------------------------------------

    def create(self) -> str:
        """``createSecret``."""
        if read_lifecycle(self.entry).pending_key is not None:
            return "stored before"
        self._check_empty()
        self._stop_if_blocked()
        entry = _without_pending(self.entry, self.token)
        key_id = Stepwise(self.context, self._action(ActionKind.ROTATE), entry=entry).create(self.token)
        return f"key {key_id} was stored"

    def test(self) -> str:
        """``testSecret``."""
        key_id = read_lifecycle(self.entry).pending_key
        if key_id is None:
            self._check_empty()
            self._stop_if_blocked()
            entry = _without_pending(self.entry, self.token)
            Stepwise(self.context, self._action(ActionKind.ROTATE), entry=entry).rehearse()
            return "the configuration works; no key was made"
        Stepwise(self.context, self._action(ActionKind.RESUME, key_id), entry=self.entry).check(
            key_id, self.token, finish=False
        )
        return f"key {key_id} works"

    def finish(self) -> str:
        """``finishSecret``."""
        key_id = read_lifecycle(self.entry).pending_key
        if key_id is None:
            self._check_empty()
            raise Refused(
                f"version {self.token} of {self.entry.name} is empty: createSecret has not been done",
                advice="Start the rotation again: aws secretsmanager rotate-secret.",
            )
        Stepwise(self.context, self._action(ActionKind.RESUME, key_id), entry=self.entry).check(
            key_id, self.token, finish=True
        )
        return f"key {key_id} is current"

    # ---- parts ------------------------------------------------------------------------------------------------------

    def _action(self, kind: ActionKind, key_id: str | None = None) -> Action:
        resuming = kind is ActionKind.RESUME
        return Action(
            kind,
            self.context.account,
            self.entry.name,
            Reason.REQUESTED,
            self.context.services.clock.now(),
            key_id=key_id if resuming else self.view.key_id,
            version_id=self.token if resuming else self.view.life.current_version,
            arn=self.entry.arn,
        )

    def _stop_if_skipped(self) -> None:
        """The same rules as in a sweep: hold, wrong tags, replica, contradicting labels, no scopes for a first key."""
        snapshot = self.context.snapshot
        views = [make_view(snapshot, entry) for entry in snapshot.secrets]
        wrong = clock_skew(snapshot) or (mass_missing(views, snapshot) if self.view.key is None else None)
        if wrong is not None:
            raise Refused(f"{self.entry.name} is not rotated: {wrong}")
        left = first(SKIP_WHEN, self.view, self.context.services.clock.now())
        if left is not None:
            raise Refused(f"{self.entry.name} is not rotated: {left.reason}: {left.detail}")

    def _stop_if_blocked(self) -> None:
        blocked = first(ROTATE_BLOCKED, self.view, self.context.services.clock.now())
        if blocked is not None:
            raise Refused(f"{self.entry.name} is not rotated: {blocked.reason}: {blocked.detail}")

    def _adopt(self) -> bool:
        """Label the current version with its key where that was not done or is wrong; says whether it had to."""
        life, wrong = self.view.life, self.view.mislabelled
        unlabelled = life.unlabelled
        if not unlabelled and wrong is None:
            return False
        action = replace(
            self._action(ActionKind.LABEL),
            reason=Reason.UNADOPTED if unlabelled else Reason.MISLABELLED,
            key_id=wrong or self.view.key_id,
            version_id=life.current_version,
        )
        _, error = apply(self.context, action)
        if error is not None:
            raise error
        return True

    def _check_empty(self) -> None:
        """The token's version holds nothing that somebody else stored.

        :raises Refused: it does; it is neither overwritten nor promoted.
        """
        try:
            self.context.services.store.read_version(self.entry.arn, self.token)
        except SecretNotFound:
            return
        except BadSecretValue:
            pass
        raise Refused(
            f"version {self.token} of {self.entry.name} holds a value that this program did not store",
            advice="Take AWSPENDING off it (aws secretsmanager update-secret-version-stage) and rotate again.",
        )


def _ask_once_more(provider: KeyProvider, keys: dict[str, Key], key_id: str | None) -> None:
    """A key that the listing lacks is asked for by its id: its rights are what the replacement gets."""
    if key_id is not None and key_id not in keys:
        with contextlib.suppress(KeyNotFound):
            keys[key_id] = provider.get_key(key_id).key


def _without_pending(entry: SecretEntry, token: str) -> SecretEntry:
    """The secret as it was before Secrets Manager announced the token: that is this very rotation, not another's.

    A version that holds a key of ours is left as it is.
    """
    if read_lifecycle(entry).pending_version == token:
        return entry
    versions = {version: labels for version, labels in entry.versions.items() if version != token}
    rest = entry.versions.get(token, frozenset()) - {PENDING}
    return replace(entry, versions={**versions, token: rest} if rest else versions)
