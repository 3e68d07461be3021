"""A simulated account: a forecast's assumptions are applied to it, and simulated sweeps change it. Pure.

Nothing fails, operators change nothing in the meantime, every ownership proof that a plan needs exists, and consumers
read the new value in time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from rotator.durations import format_duration, plus
from rotator.errors import ConfigurationError
from rotator.model import AccountPlan, AccountSnapshot, Action, ActionKind, Key, Policy, Reason, SecretEntry
from rotator.policy.labels import CURRENT, PENDING, PREVIOUS, key_label, key_name, parse_key_label, retire_label
from rotator.policy.lifecycle import lifetime
from rotator.policy.planner import make_view, plan_account
from rotator.policy.rules import View, skipped
from rotator.policy.tags import GATE_TAG, VALIDITY_TAG, read_validity
from rotator.text import Unreadable, printable

MOST_MORE: Final = 2_000
"""Secrets that a forecast may add."""
MOST_LIMIT: Final = 100_000
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_FIX: Final = "write limit=100, reserve=4, validity=30d or +200"
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Assumptions that differ from the real settings; ``None`` and 0 assume no difference.

    :param limit: the daily limit of creates, and of updates.
    :param reserve: how many of them scheduled work leaves unused.
    :param validity: the lifetime of every replacement, whatever ``rotator:validity`` says.
    :param more: how many additional secrets each account has.
    """

    limit: int | None = None
    reserve: int | None = None
    validity: timedelta | None = None
    more: int = 0

    def policy(self, policy: Policy) -> Policy:
        """Return the deployment's settings with the assumptions applied.

        :raises ConfigurationError: the reserve would leave nothing for scheduled rotations.
        """
        limit = policy.daily_limit if self.limit is None else self.limit
        reserve = policy.reserve if self.reserve is None else self.reserve
        if reserve >= limit and self:
            raise ConfigurationError(
                f"a daily limit of {limit} and a reserve of {reserve} leave nothing for scheduled rotations",
                advice=f"Assume a reserve from 0 to {limit - 1}, or a higher limit.",
            )
        return replace(policy, daily_limit=limit, reserve=reserve)

    def snapshot(self, snapshot: AccountSnapshot, policy: Policy, now: datetime) -> AccountSnapshot:
        """Return an account with the assumptions applied.

        Additional secrets are copies of those that are rotated, taken evenly from all of them in the order of their
        keys' expiry. They have the same tags and expiry as the originals. Adding them uses no slot.

        :raises ConfigurationError: the validity can't work with a secret's tags.
        """
        views = [make_view(snapshot, entry) for entry in snapshot.secrets]
        if self.validity is not None:
            views = [self._with_validity(snapshot, view, now) for view in views]
        working = (view for view in views if skipped(view, now) is None and view.key is not None)
        models = [view for view in working if view.key is not None and view.key.valid_to and view.key.alive(now)]
        models.sort(key=lambda view: (view.key.valid_to if view.key else None, view.entry.name))
        copied = range(self.more if models else 0)
        copies = [_copy(models[n * len(models) // self.more], n + 1, policy, now) for n in copied]
        return replace(
            snapshot,
            secrets=(*(view.entry for view in views), *(entry for entry, _ in copies)),
            keys={**snapshot.keys, **{key.id: key for _, key in copies}},
        )

    def _with_validity(self, snapshot: AccountSnapshot, view: View, now: datetime) -> View:
        assert self.validity is not None
        if skipped(view, now) is not None:
            return view
        tags = {**view.entry.tags, VALIDITY_TAG: format_duration(self.validity)}
        changed = make_view(snapshot, replace(view.entry, tags=tags))
        if changed.spec is not None:
            return changed
        raise ConfigurationError(
            f"{' and '.join(self.words())} can't work for {printable(view.entry.name)}: "
            + "; ".join(str(problem) for problem in changed.problems),
            advice="Assume a longer validity, or change that secret's tags first.",
        )

    def words(self) -> tuple[str, ...]:
        """Return each assumption as text for people."""
        found = []
        if self.limit is not None:
            found.append(f"a daily limit of {self.limit}")
        if self.reserve is not None:
            found.append(f"a reserve of {self.reserve}")
        if self.validity is not None:
            found.append(f"replacements valid for {format_duration(self.validity)}")
        if self.more:
            found.append(f"{self.more} more secret{'s' if self.more > 1 else ''}")
        return tuple(found)

    def __bool__(self) -> bool:
        return self != WhatIf()


def _copy(view: View, number: int, policy: Policy, now: datetime) -> tuple[SecretEntry, Key]:
    """Return a copy of a secret and its key."""
    assert view.key is not None
    name, arn, version = f"{view.entry.name} +{number}", f"{view.entry.arn}+{number}", f"more-{number:032}"
    created = None if view.key.valid_from is None else min(view.key.valid_from, plus(now, -_DAY))
    key = replace(view.key, id=version, name=key_name(name, arn, policy.deployment, version), valid_from=created)
    labels = frozenset({CURRENT, key_label(key.id)})
    return replace(view.entry, arn=arn, name=name, versions={version: labels}), key


def parse_what_if(texts: Iterable[str]) -> WhatIf:
    """Read assumptions: ``limit=100``, ``reserve=4``, ``validity=30d``, ``+200``; each kind once.

    :raises ConfigurationError: with the assumption that can't be read, what is wrong with it and the fix.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.strip().partition("=")
        kind = name.strip().lower()
        if name.startswith("+"):
            kind, value = "+", name[1:]
        try:
            if kind in found:
                raise Unreadable(text, "is given twice", "give each assumption once")
            if kind not in _READERS:
                raise Unreadable(text, "can't be assumed", _FIX)
            found[kind] = _READERS[kind](value.strip())
        except Unreadable as error:
            advice = f"{error.fix[:1].upper()}{error.fix[1:]}."
            raise ConfigurationError(f'--what-if "{printable(text, 40)}" {error.fault}', advice=advice) from None
    return WhatIf(more=found.pop("+", 0), **found)


def _number(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
            raise Unreadable(text, f"needs a whole number from {least} to {most}", _FIX)
        return int(text)

    return read


_READERS: Final[Mapping[str, Callable[[str], object]]] = {
    "limit": _number(1, MOST_LIMIT),
    "reserve": _number(0, MOST_LIMIT),
    "validity": read_validity,
    "+": _number(1, MOST_MORE),
}
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
        self._resolutions = dict(snapshot.resolutions)
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
            resolutions=self._resolutions,
            history=True,
            history_complete=True,
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

    def let_others_create(self, number: int, now: datetime) -> None:
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
            self._resolutions.pop(action.arn, None)

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
        self._resolutions.pop(view.entry.arn, None)

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
