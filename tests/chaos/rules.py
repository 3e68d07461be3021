"""The rules as a watcher that looks at the whole world after every call."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rotator.policy.labels import parse_key_label, parse_retire_label
from rotator.policy.tags import parse_spec
from rotator.sandbox.state import SimKey
from tests import leaks
from tests.chaos.ownership_truth import is_foreign, named_for
from tests.doubles.memory_store import Hook
from tests.world import World

GRACE = timedelta(hours=72)


def api_key_in(text: str) -> str:
    """What a consumer takes out of a value: ``""`` where it can't be read."""
    if not text.startswith("{"):
        return text
    try:
        return str(json.loads(text).get("api_key", ""))
    except ValueError:
        return ""


@dataclass
class Watch:
    """Looks after every call; what it finds broken is in ``broken``.

    :param emergency: keys may die without grace, as the operator asked.
    :param consumers: whether rule 1 is asked for (not within a ``revoke-first`` or after a ``revoke-only``).
    """

    world: World
    emergency: bool = False
    consumers: bool = True
    broken: list[str] = field(default_factory=list)
    calls: int = 0
    _was_current: dict[str, datetime | None] = field(default_factory=dict)
    _enabled: dict[str, bool] = field(default_factory=dict)

    def start(self) -> None:
        """Hook into both far ends."""
        self.world.store.after = self._chain(self.world.store.after)
        self.world.infobip.observers.append(lambda _request, _answer: self.look("infobip"))
        self.look("start")

    def _chain(self, other: Hook | None) -> Hook:
        def after(op: str, secret: str) -> None:
            self.look(f"{op} {secret}")
            if other is not None:
                other(op, secret)

        return after

    def look(self, when: str) -> None:
        """Everything that must hold at every moment."""
        self.calls += 1
        now = self.world.clock.now()
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
        for key_id, ceased in self._was_current.items():
            if ceased is None and key_id not in current:
                self._was_current[key_id] = now
        for key in self.world.infobip.keys():
            before = self._enabled.get(key.id, key.enabled)
            self._enabled[key.id] = key.enabled
            if before and not key.enabled and not self.world.by_portal and self._concerns(key):
                self._check_revocation(key.id, key.name, now, when)
        most = self.world.policy.daily_limit - (0 if self.emergency else self.world.policy.reserve)
        for account in self.world.accounts.values():
            creates, updates = self._busiest_day(account)
            if max(creates, updates) > most:
                self.broken.append(f"rule 7: {creates} creates and {updates} updates in a day after {when}")

    def _concerns(self, key: SimKey) -> bool:
        """Whether what becomes of a key is for this watcher to judge."""
        return True

    def _busiest_day(self, account: str) -> tuple[int, int]:
        """The most creates and updates that ever fell into 24 hours."""
        return self.world.infobip.busiest_day(account)

    def _not_served(self, name: str, key_id: str, when: str) -> None:
        """A consumer of that secret gets a key that does not work (``""``: a value that is none)."""
        self.broken.append(f"rule 1: {name} has no working key after {when}")

    def _check_revocation(self, key_id: str, name: str, now: datetime, when: str) -> None:
        if self.emergency or key_id in self.world.condemned:
            return
        if is_foreign(self.world, name):
            self.broken.append(f"rule 4: key {key_id}, named for another deployment or ARN, was revoked {when}")
        if key_id in self._was_current:
            ceased = self._was_current[key_id]
            if ceased is None:
                self.broken.append(f"rule 3: the current key {key_id} was revoked after {when}")
            elif now - ceased < self.world.grace:
                self.broken.append(f"rule 3: key {key_id} was revoked {now - ceased} after it was replaced, {when}")
        elif named_for(self.world, name) is None and key_id not in self.world.ours:
            self.broken.append(f"rule 4: key {key_id}, which is not ours, was revoked after {when}")

    def final(self, *, graced: bool) -> list[str]:
        """What must hold when things have calmed down; ``graced``: every grace is over too."""
        found = list(self.broken)
        now = self.world.clock.now()
        held: set[str] = set()
        retiring: set[str] = set()
        for name in self.world.names():
            entry = self.world.store.peek(name)
            if isinstance(parse_spec(entry.tags), tuple):
                continue
            for version, labels in entry.versions.items():
                if "AWSPENDING" in labels and "AWSCURRENT" not in labels:
                    found.append(f"{name}: AWSPENDING is left on {version}")
                for label in labels:
                    if parsed := parse_retire_label(label):
                        retiring.add(parsed[0])
                    if (key_id := parse_key_label(label)) and "AWSCURRENT" in labels:
                        held.add(key_id)
        for key in self.world.infobip.keys():
            alive = key.enabled and key.valid_to > now
            given = named_for(self.world, key.name)
            if not alive or key.id in held or (given is None and key.id not in self.world.ours):
                continue
            if key.id in retiring and not graced:
                continue
            if given is not None and now - key.created_at < timedelta(hours=1) and not graced:
                continue
            found.append(f"key {key.id} ({key.name}) lives and nobody holds it")
        if count := leaks.find(self.world.stream.getvalue()):
            found.append(f"rule 11: {count} secrets in the audit")
        return found
