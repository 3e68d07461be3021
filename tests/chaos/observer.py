"""Watches the rules, and who changed something: the rotator never changes what people and other programs own."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from rotator.model import SecretEntry
from rotator.policy.labels import CURRENT, PENDING, PREVIOUS, parse_key_label, parse_retire_label
from rotator.sandbox.state import SimKey
from tests.chaos.ownership_truth import labelled_and_proven, named_for
from tests.chaos.rules import Watch

T = TypeVar("T")
_SYSTEM = frozenset({CURRENT, PREVIOUS, PENDING})


def others_labels(entry: SecretEntry, *, pending: bool) -> frozenset[tuple[str, str]]:
    """The labels that are not ours: a person's own, and another rotation's ``AWSPENDING`` where that is asked for."""
    found = {
        (version, label)
        for version, labels in entry.versions.items()
        for label in labels
        if label not in _SYSTEM and parse_key_label(label) is None and parse_retire_label(label) is None
    }
    if pending:
        found |= {
            (version, PENDING)
            for version, labels in entry.versions.items()
            if labels == {PENDING}  # with a key's label it is ours, with another of AWS's it is a left-over
        }
    return frozenset(found)


def _texts(text: str) -> Iterator[str]:
    """The texts in a JSON object; none in anything else."""
    with contextlib.suppress(ValueError, AttributeError):
        yield from (value for value in json.loads(text).values() if isinstance(value, str))


@dataclass
class Observer(Watch):
    """Watches the rules, and that nothing of others changes but by :meth:`by_hand`.

    :param pending: whether another rotation's ``AWSPENDING`` must be left (not where both begin at the same moment).
    """

    pending: bool = True
    _tags: dict[str, dict[str, str]] = field(default_factory=dict)
    _labels: dict[str, frozenset[tuple[str, str]]] = field(default_factory=dict)
    _keys: dict[str, SimKey] = field(default_factory=dict)
    _current: dict[str, str] = field(default_factory=dict)
    _held: set[str] = field(default_factory=set)

    @contextmanager
    def hands(self) -> Iterator[None]:
        """What happens within is somebody else's doing."""
        self.world.by_portal = True
        try:
            yield
            self.look("by hand")
        finally:
            self.world.by_portal = False

    def by_hand(self, act: Callable[[], T]) -> T:
        """Let somebody else do something."""
        with self.hands():
            return act()

    def look(self, when: str) -> None:
        """Everything that must hold at every moment."""
        for name in self.world.names():
            self.world.ours |= set(labelled_and_proven(self.world, name))
        super().look(when)
        for name in self.world.names():
            entry = self.world.store.peek(name)
            self._others(entry, when)
            self._proven(entry, when)
            self._held |= {key.id for key in self._holding(name)}  # a managed secret's keys are ours to end
        for key in self.world.infobip.keys():
            known = self._keys.get(key.id)
            changed = known is not None and known != key and not self.world.by_portal and self._concerns(key)
            if changed and key.id not in self.world.ours | self._held and named_for(self.world, key.name) is None:
                self.broken.append(f"rule 4: key {key.id}, which is not ours, was changed after {when}")
            self._keys[key.id] = key

    def _holding(self, name: str) -> Iterator[SimKey]:
        text = self.world.try_read(name) or ""
        for value in (text, *_texts(text)):
            key = self.world.infobip.key_of(value)
            if key is not None:
                yield key

    def _others(self, entry: SecretEntry, when: str) -> None:
        labels = others_labels(entry, pending=self.pending)
        if not self.world.by_portal and entry.name in self._tags:
            if self._tags[entry.name] != dict(entry.tags):
                self.broken.append(f"{entry.name}: a tag was written by the rotator after {when}")
            for version, label in self._labels[entry.name] - labels:
                self.broken.append(f"{entry.name}: {label}, which is not ours, went from {version} after {when}")
        self._tags[entry.name], self._labels[entry.name] = dict(entry.tags), labels

    def _proven(self, entry: SecretEntry, when: str) -> None:
        """What the rotator makes current was proven before."""
        current = next((version for version, labels in entry.versions.items() if CURRENT in labels), "")
        known = self._current.get(entry.name)
        self._current[entry.name] = current
        if known is not None and known != current and not self.world.by_portal:
            self._check_promotion(entry, known, current, when)

    def _check_promotion(self, entry: SecretEntry, known: str, current: str, when: str) -> None:
        """Rule 2, by halves: it was probed."""
        if entry.tags.get("rotator:verify") == "skip":
            return
        key_id = next((k for label in entry.versions[current] if (k := parse_key_label(label))), None)
        probes = [c for c in self.world.infobip.calls if key_id and c.principal.endswith(f":{key_id}") and c.effect]
        if not any(call.status in (200, 403) for call in probes):
            self.broken.append(f"rule 2: {entry.name} got key {key_id} unproven after {when}")
