"""The rules that hold at every moment, however many processes are at work: checked after every call to either server.

``ElevenRules`` adds those that concern one process: what it read, created and revoked, and in which order.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, ClassVar, TypeVar

from rotator.model import SecretEntry
from rotator.policy.labels import CURRENT, PENDING, PREVIOUS, parse_key_label, parse_retire_label
from rotator.policy.tags import spec_or_none
from rotator.sandbox.state import SimKey
from tests import leaks
from tests.chaos.faults import then
from tests.chaos.truth import api_key_in, is_foreign, labelled_and_proven, named_for, revoked_too_early
from tests.world import World

T = TypeVar("T")


def others_labels(entry: SecretEntry, *, pending: bool) -> frozenset[tuple[str, str]]:
    """The labels that are not ours: a person's own, and another rotation's ``AWSPENDING`` where that is asked for."""
    every = [(version, label) for version, labels in entry.versions.items() for label in labels]
    found = {
        (version, label)
        for version, label in every
        if label not in (CURRENT, PREVIOUS, PENDING) and not parse_key_label(label) and not parse_retire_label(label)
    }
    if pending:  # with a key's label it is ours, with another of AWS's it is what AWS left
        found |= {(version, PENDING) for version, labels in entry.versions.items() if labels == {PENDING}}
    return frozenset(found)


@dataclass
class Rules:
    """Checks after every call; what it finds broken is in ``broken``.

    :param emergency: keys may be revoked without grace, as the operator asked.
    :param consumers: whether rule 1 is checked (not within a ``revoke-first`` or after a ``revoke-only``).
    :param pending: whether another rotation's ``AWSPENDING`` must be left (not where both start at the same moment).
    """

    world: World
    emergency: bool = False
    consumers: bool = True
    pending: bool = True
    broken: list[str] = field(default_factory=list)
    of_a_run: ClassVar[frozenset[str]] = frozenset({"world", "broken"})
    """What does not matter to anything that happens later."""
    _was_current: dict[str, datetime | None] = field(default_factory=dict)
    """Every key that was ever current, with the time when it was replaced."""
    _tags: dict[str, dict[str, str]] = field(default_factory=dict)
    _labels: dict[str, frozenset[tuple[str, str]]] = field(default_factory=dict)
    _keys: dict[str, SimKey] = field(default_factory=dict)
    _current: dict[str, str] = field(default_factory=dict)
    _held: set[str] = field(default_factory=set)

    def start(self) -> None:
        """Hook into both servers."""
        self.world.store.after = then(lambda op, secret: self.check(f"{op} {secret}"), self.world.store.after)
        self.world.infobip.observers.append(lambda _request, _answer: self.check("infobip"))
        self.check("start")

    @contextmanager
    def operator(self) -> Iterator[None]:
        """What happens within is an operator's or another program's doing."""
        self.world.by_operator = True
        try:
            yield
            self.check("by hand")
        finally:
            self.world.by_operator = False

    def by_hand(self, act: Callable[[], T]) -> T:
        with self.operator():
            return act()

    def history(self) -> list[Any]:
        """What is judged by it later."""
        return [getattr(self, each.name) for each in fields(self) if each.name not in self.of_a_run]

    # ---- after every call -------------------------------------------------------------------------------------------

    def check(self, when: str) -> None:
        """Everything that must hold at every moment."""
        world = self.world
        for name in world.names():
            world.ours |= set(labelled_and_proven(world, name))
        self._check_consumers(when)
        for key in world.infobip.keys():
            known = self._keys.get(key.id)
            if known is not None and known.enabled and not key.enabled and self._is_judged(key):
                self._check_revocation(key.id, key.name, world.clock.now(), when)
        self._check_quota(when)
        for name in world.names():
            entry = world.store.peek(name)
            self._check_others(entry, when)
            self._check_current(entry, when)
            self._held |= {key.id for key in self._holding(name)}  # a managed secret's keys are ours to revoke
        for key in world.infobip.keys():
            known = self._keys.get(key.id)
            changed = known is not None and known != key and self._is_judged(key)
            if changed and key.id not in world.ours | self._held and named_for(world, key.name) is None:
                self.broken.append(f"rule 4: key {key.id}, which is not ours, was changed after {when}")
            self._keys[key.id] = key

    def _is_judged(self, key: SimKey) -> bool:
        """Whether a change of a key now is the rotator's."""
        return not self.world.by_operator

    def _holding(self, name: str) -> Iterator[SimKey]:
        """The keys in a secret's current value: the value itself, or the fields of a JSON object."""
        text = self.world.try_read(name) or ""
        values = [text]
        with contextlib.suppress(ValueError, AttributeError):
            values += [value for value in json.loads(text).values() if isinstance(value, str)]
        yield from filter(None, map(self.world.infobip.key_of, values))

    def _check_consumers(self, when: str) -> None:
        """Rule 1, and which keys are current now."""
        current: set[str] = set()
        for name in self.world.names():
            text = self.world.try_read(name)
            if text is None:
                continue
            value = api_key_in(text)
            key = self.world.infobip.key_of(value)
            if key is not None:
                current.add(key.id)
            if self.consumers and name not in self.world.exempt and not self.world.infobip.authenticates(value):
                self._not_served(name, "" if key is None else key.id, when)
        for key_id in current:
            self._was_current[key_id] = None
        for key_id, replaced_at in self._was_current.items():
            if replaced_at is None and key_id not in current:
                self._was_current[key_id] = self.world.clock.now()

    def _not_served(self, name: str, key_id: str, when: str) -> None:
        """A consumer of that secret gets a key that does not work (``""``: a value that is none)."""
        self.broken.append(f"rule 1: {name} has no working key after {when}")

    def _check_quota(self, when: str) -> None:
        most = self.world.policy.daily_limit - (0 if self.emergency else self.world.policy.reserve)
        for account in self.world.accounts.values():
            creates, updates = self._busiest_day(account)
            if max(creates, updates) > most:
                self.broken.append(f"rule 7: {creates} creates and {updates} updates in a day after {when}")

    def _busiest_day(self, account: str) -> tuple[int, int]:
        """The most creates and updates that ever fell into 24 hours."""
        return self.world.infobip.busiest_day(account)

    def _check_revocation(self, key_id: str, name: str, now: datetime, when: str) -> None:
        if self.emergency or key_id in self.world.emergency_keys:
            return
        if is_foreign(self.world, name):
            self.broken.append(f"rule 4: key {key_id}, named for another deployment or ARN, was revoked {when}")
        if key_id in self._was_current:
            at = self._was_current[key_id]
            early = revoked_too_early(current=at is None, replaced_at=at, grace=self.world.grace, now=now)
            if early:
                self.broken.append(f"rule 3: key {key_id} was revoked, {early}, after {when}")
        elif named_for(self.world, name) is None and key_id not in self.world.ours:
            self.broken.append(f"rule 4: key {key_id}, which is not ours, was revoked after {when}")

    def _check_others(self, entry: SecretEntry, when: str) -> None:
        """No tag and no label of others changes."""
        labels = others_labels(entry, pending=self.pending)
        if not self.world.by_operator and entry.name in self._tags:
            if self._tags[entry.name] != dict(entry.tags):
                self.broken.append(f"{entry.name}: a tag was written by the rotator after {when}")
            for version, label in self._labels[entry.name] - labels:
                self.broken.append(f"{entry.name}: {label}, which is not ours, was taken off {version} after {when}")
        self._tags[entry.name], self._labels[entry.name] = dict(entry.tags), labels

    def _check_current(self, entry: SecretEntry, when: str) -> None:
        current = next((version for version, labels in entry.versions.items() if CURRENT in labels), "")
        known = self._current.get(entry.name)
        self._current[entry.name] = current
        if known is not None and known != current and not self.world.by_operator:
            self._check_promotion(entry, current, when)

    def _check_promotion(self, entry: SecretEntry, current: str, when: str) -> None:
        """Rule 2 in part: the key was probed."""
        if entry.tags.get("rotator:verify") == "skip":
            return
        key_id = next(filter(None, map(parse_key_label, entry.versions[current])), None)
        probes = [c for c in self.world.infobip.calls if key_id and c.principal.endswith(f":{key_id}") and c.effect]
        if not any(call.status in (200, 403) for call in probes):
            self.broken.append(f"rule 2: {entry.name} got key {key_id}, which was not verified, after {when}")

    # ---- the end ----------------------------------------------------------------------------------------------------

    def final(self, *, after_grace: bool) -> list[str]:
        """What must hold when several sweeps had nothing left to do; ``after_grace``: every grace period is over."""
        found, now = list(self.broken), self.world.clock.now()
        held: set[str] = set()
        retiring: set[str] = set()
        for name in self.world.names():
            entry = self.world.store.peek(name)
            if spec_or_none(entry.tags) is None:
                continue
            for version, labels in entry.versions.items():
                if PENDING in labels and CURRENT not in labels:
                    found.append(f"{name}: AWSPENDING is left on {version}")
                if CURRENT in labels:
                    held.update(filter(None, map(parse_key_label, labels)))
                retiring.update(key_id for key_id, _ in filter(None, map(parse_retire_label, labels)))
        for key in self.world.infobip.keys():
            given = named_for(self.world, key.name)
            if not key.enabled or key.valid_to <= now or key.id in held:
                continue
            if given is None and key.id not in self.world.ours:
                continue
            new = given is not None and now - key.created_at < timedelta(hours=1)
            if after_grace or (key.id not in retiring and not new):
                found.append(f"key {key.id} ({key.name}) is enabled and no secret holds it")
        if count := leaks.find(self.world.stream.getvalue()):
            found.append(f"rule 11: {count} secrets in the audit")
        return found
