"""A simulated account, which a forecast's simulated sweeps change. Pure.

Nothing fails, operators change nothing in the meantime, every ownership proof that a plan needs exists, and consumers
read the new value in time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from rotator.durations import plus
from rotator.model import AccountSnapshot, Key, Policy, SecretEntry
from rotator.plan import AccountPlan, Action, ActionKind
from rotator.policy.key_lifetime import lifetime
from rotator.policy.labels import CURRENT, PENDING, PREVIOUS, key_label, key_name, parse_key_label, retire_label
from rotator.policy.planner import plan_account
from rotator.policy.rules import View, make_view
from rotator.policy.tags import GATE_TAG
from rotator.reasons import Reason

_REMEMBERED: Final = timedelta(days=8)
"""How long an obsolete key is kept. It counts towards the quota for a day, and as created by others for a week."""


class SimulatedAccount:
    """One account, as it is and as sweeps change it.

    :param snapshot: the account at first; it is not changed.
    """

    def __init__(self, snapshot: AccountSnapshot, policy: Policy) -> None:
        self._policy = policy
        self._entries = {entry.arn: _without_gate(entry) for entry in snapshot.secrets}
        self._keys = dict(snapshot.keys)
        self._observed = snapshot
        self._swept: datetime | None = None
        self._last_number = 0
        self._obsolete: list[tuple[datetime, str]] = []

    def snapshot(self) -> AccountSnapshot:
        """The account as a sweep would observe it now."""
        return replace(
            self._observed,
            secrets=tuple(self._entries.values()),
            keys=self._keys,
            disabled_keys=True,
        )

    def views(self) -> Iterator[View]:
        """Every secret."""
        snapshot = self.snapshot()
        return (make_view(snapshot, entry) for entry in self._entries.values())

    def view(self, arn: str) -> View:
        """One secret."""
        return make_view(self.snapshot(), self._entries[arn])

    def sweep(self, now: datetime) -> AccountPlan:
        """Plan and carry out the sweep at that time, which stands for all since the last one; return the plan."""
        plan = plan_account(self.snapshot(), self._policy, now, since=self._swept)
        for action in plan.actions:
            self._apply(action, now)
        self._swept = now
        return plan

    def add_external_keys(self, number: int, now: datetime) -> None:
        """Add keys of others, which use slots, and remove obsolete keys, so that the account does not grow."""
        while self._obsolete and self._obsolete[0][0] < now - _REMEMBERED:
            self._keys.pop(self._obsolete.pop(0)[1], None)
        for _ in range(number):
            key_id = f"others-{self._next_number()}"
            self._keys[key_id] = Key(key_id, "created by others", None, True, now, None)
            self._obsolete.append((now, key_id))

    # ---- actions ----------------------------------------------------------------------------------------------------

    def _apply(self, action: Action, now: datetime) -> None:
        if action.kind is ActionKind.REVOKE:
            self._revoke(action, now)
        if action.arn not in self._entries:
            return  # an orphan that is named for another account's secret
        view, version, key_id = self.view(action.arn), action.version_id or "", action.key_id or ""
        labels = view.entry.versions.get(version, frozenset())
        if action.kind is ActionKind.ROTATE:
            self._rotate(view, now)
        elif action.kind is ActionKind.RESUME:
            key = self._keys.get(key_id)
            if key is not None and key.alive(now):
                self._promote(view, version, key, now)
            else:  # the failed attempt is given up
                self._label(view.entry, {version: frozenset()})
        elif action.kind is ActionKind.RETIRE:
            self._label(view.entry, {version: labels | {_retire(view, key_id, now)}})
        elif action.kind is ActionKind.REVOKE:
            self._label(view.entry, {version: frozenset(label for label in labels if key_id not in label.split(":"))})
        elif action.reason is Reason.STALE_LABEL:
            self._label(view.entry, {version: labels - {label for at, label in view.life.stale if at == version}})
        else:
            others = {label for label in labels if parse_key_label(label) is None}
            self._label(view.entry, {version: frozenset({*others, key_label(key_id)})})

    def _next_number(self) -> int:
        self._last_number += 1
        return self._last_number

    def _rotate(self, view: View, now: datetime) -> None:
        entry, spec, old = view.entry, view.spec, view.key
        assert spec is not None
        version = f"simulated-{self._next_number():032}"
        key = Key(
            id=version,
            name=key_name(entry.name, entry.arn, self._policy.deployment, version),
            account_id=None,
            enabled=True,
            valid_from=now,
            valid_to=plus(now, lifetime(spec, entry.name)),
            scopes=spec.scopes or (old.scopes if old else None),
            platform=old.platform if old else frozenset(),
        )
        self._promote(view, version, key, now)

    def _promote(self, view: View, version: str, key: Key, now: datetime) -> None:
        """Make a version current and retire the previous one."""
        self._keys[key.id] = key
        versions = {each: labels - {CURRENT, PENDING, PREVIOUS} for each, labels in view.entry.versions.items()}
        old = view.life.current_version
        if old is not None:
            versions[old] |= {PREVIOUS} if view.key_id is None else {PREVIOUS, _retire(view, view.key_id, now)}
        versions[version] = frozenset({CURRENT, PENDING, key_label(key.id)})
        self._label(view.entry, versions)

    def _revoke(self, action: Action, now: datetime) -> None:
        key = self._keys.get(action.key_id or "")
        if key is not None:
            self._obsolete.append((now, key.id))
            if action.costs_update:  # otherwise it no longer authenticates, and only its labels are removed
                self._keys[key.id] = replace(key, enabled=False, valid_to=now)

    def _label(self, entry: SecretEntry, changed: Mapping[str, frozenset[str]]) -> None:
        versions = {version: labels for version, labels in {**entry.versions, **changed}.items() if labels}
        self._entries[entry.arn] = replace(entry, versions=versions)


def _retire(view: View, key_id: str, now: datetime) -> str:
    assert view.spec is not None
    return retire_label(key_id, plus(now, view.spec.grace))


def _without_gate(entry: SecretEntry) -> SecretEntry:
    tags = {tag: value for tag, value in entry.tags.items() if tag != GATE_TAG}
    return replace(entry, tags=tags) if GATE_TAG in entry.tags else entry
