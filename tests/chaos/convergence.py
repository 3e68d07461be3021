"""After a fault: sweeps go on, by the hour and past every grace, and the world must converge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rotator.engine.sweep import Sweep
from rotator.model import AccountSnapshot
from rotator.policy.labels import PENDING
from rotator.policy.lifecycle import read_lifecycle
from rotator.sandbox.state import SimKey
from tests import leaks
from tests.chaos.eleven_rules import ElevenRules
from tests.chaos.flows import Flow
from tests.chaos.truth import api_key_in, as_listed, named_for, would_act
from tests.world import DAY, HOUR, World

STEP = timedelta(hours=6)
"""How often it is asked, within a grace, whether a sweep would do anything."""
ALMOST = timedelta(minutes=1)
EVERY = HOUR
"""How often sweeps come where something is due."""


def _snapshot(world: World, account: str) -> AccountSnapshot:
    entries = (world.store.peek(name) for name in world.names())
    mine = tuple(entry for entry in entries if entry.tags.get("rotator:account") == account)
    reveal = world.infobip.options.reveal
    keys = {key.id: as_listed(key, reveal=reveal) for key in world.infobip.keys(world.accounts[account])}
    return AccountSnapshot(account, mine, keys)


@dataclass
class Convergence:
    """Ordinary sweeps after something went wrong.

    :param every: make every sweep, also where the planner has nothing to do.
    """

    rules: ElevenRules
    flow: Flow
    every: bool = False
    broken: list[str] = field(default_factory=list)
    sweeps: int = 0
    _rest: datetime | None = None

    @property
    def world(self) -> World:
        return self.rules.world

    def go(self) -> list[str]:
        """Three sweeps, after which everything that was due is done; then on past every grace. Gives what broke."""
        self._sweep_in(HOUR)
        self.rules.swept_after_emergency()
        self._rest = self.world.clock.now()
        self._pass(HOUR)
        last = self._sweep_in(HOUR)
        if not self.flow.days:
            self.broken += [f"three sweeps later: {result.error}" for result in last.results if result.error]
            self._at_rest()
        self._through_graces()
        if self.flow.days:
            self._for_days()
            self._at_rest()
        for time in (80 * HOUR, EVERY):
            self._pass(time)
        self.broken += self.rules.final(after_grace=True)
        if leaks.find(str(self.world.events.sent)):
            self.broken.append("rule 11: a secret in an event")
        return list(dict.fromkeys((*self.rules.broken, *self.broken)))

    # ---- time -------------------------------------------------------------------------------------------------------

    def _sweep_in(self, time: timedelta) -> Sweep:
        self.world.pass_time(time)
        self.sweeps += 1
        begun = self.world.clock.now()
        with self.rules.run(scheduled=True):
            sweep = self.world.sweep()
        self.rules.swept(sweep, begun)
        if leaks.find(repr(sweep.results)):
            self.broken.append("rule 11: a secret in a result")
        self._orphans()
        return sweep

    def _until(self, at: datetime) -> None:
        """Let time pass; a sweep is made wherever it would do something."""
        while (left := at - self.world.clock.now()) > timedelta(0):
            self._pass(min(STEP, left))

    def _pass(self, time: timedelta) -> None:
        self.world.pass_time(time)
        world = self.world
        snapshots = (_snapshot(world, account) for account in world.accounts)
        if self.every or any(would_act(each, world.policy, world.clock.now()) for each in snapshots):
            self._sweep_in(timedelta(0))

    def _through_graces(self) -> None:
        """No key in grace is revoked before its time, and each is revoked two sweeps after it."""
        assert self._rest is not None
        for key_id, replaced_at in sorted(self.rules.in_grace().items(), key=lambda item: item[1]):
            over = max(replaced_at, self._rest) + self.world.grace
            self._until(replaced_at + self.world.grace - ALMOST)
            if not self.world.infobip.key(key_id).enabled:
                continue  # whether it was too early is for the rules
            self._until(over)
            for _ in range(2):
                self._until(self.world.clock.now() + EVERY)
            if self.world.infobip.key(key_id).enabled and not self.flow.days:
                self.broken.append(f"rule 3: key {key_id} is enabled two sweeps after its grace period, {over}")

    def _for_days(self) -> None:
        for _ in range(self.flow.days):
            self._sweep_in(DAY)

    # ---- what must be ------------------------------------------------------------------------------------------------

    def _orphans(self) -> None:
        """None is older than an hour."""
        held = self._held()
        for key in self.world.infobip.keys():
            age = self.world.clock.now() - key.created_at
            if self._works(key) and key.id not in held and named_for(self.world, key.name) is not None and age > HOUR:
                self.broken.append(f"rule 6: key {key.id}, {age} old, is an orphan")

    def _held(self) -> frozenset[str]:
        entries = [self.world.store.peek(name) for name in self.world.names()]
        return frozenset(key_id for entry in entries for key_id in read_lifecycle(entry).named)

    def _works(self, key: SimKey) -> bool:
        return key.enabled and key.valid_to > self.world.clock.now()

    def _at_rest(self) -> None:
        """What was due is done: one working key a secret and those in grace, each labelled, and nothing unfinished."""
        self.rules.check("three sweeps")
        names: Mapping[str, SimKey | None] = {
            name: self.world.infobip.key_of(api_key_in(self.world.try_read(name))) for name in self.world.names()
        }
        for name, key in names.items():
            entry = self.world.store.peek(name)
            life = read_lifecycle(entry)
            if key is None or not self._works(key) or life.current_key != key.id:
                self.broken.append(f"{name} does not hold a working key with its label")
            elif name in self.flow.renewed and named_for(self.world, key.name) != name:
                self.broken.append(f"{name} was due, and was never rotated")
            left = [v for v, labels in entry.versions.items() if PENDING in labels and v != life.current_version]
            if left or life.superseded or life.stale or life.problem:
                self.broken.append(f"{name}: its labels are not in order: AWSPENDING on {left}, {life}")
            graced = {item.key_id for item in life.retiring}
            others = {key.id for key in self.world.infobip.keys() if self._works(key) and key.id in life.named}
            if others - graced != {key.id if key else ""}:
                self.broken.append(f"{name}: {sorted(others - graced)} are enabled, besides those in grace")
        self.broken += [text for text in self.rules.final(after_grace=False) if text not in self.rules.broken]
