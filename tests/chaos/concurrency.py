"""Who acts at the same time, in which world, and what must hold when they have finished."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from rotator.engine.adopt import adopt
from rotator.engine.emergency import Emergency, EmergencyReport, Strategy, Target
from rotator.engine.rotation.four_steps import Step, run_step
from rotator.errors import RotatorError
from rotator.policy.emergency_ids import made_for_incident, made_in_emergency
from rotator.policy.labels import CURRENT, PENDING, parse_key_label, parse_key_name
from rotator.policy.lifecycle import read_lifecycle
from rotator.telemetry.audit import Trigger
from tests.chaos import worlds
from tests.chaos.interleave import Interleaver
from tests.chaos.rules import Rules
from tests.chaos.truth import footprint
from tests.chaos.worlds import SMS, start
from tests.world import DAY, HOUR, World


class EmergencyRules(Rules):
    """In an emergency too only the keys that existed when it began may be revoked without a grace period.

    And those that are not ours: an operator who stores one meanwhile may well put the leaked one back.
    """

    def _check_revocation(self, key_id: str, name: str, now: datetime, when: str) -> None:
        emergency, self.emergency = self.emergency, parse_key_name(name) is None
        super()._check_revocation(key_id, name, now, when)
        self.emergency = emergency


@dataclass
class Run:
    """One run: the world, its rules, and the actors."""

    world: World
    rules: Rules
    actors: Interleaver = field(init=False)
    emergencies: list[EmergencyReport] = field(default_factory=list)
    leaked: set[str] = field(default_factory=set)

    def emergency_starts(self, incident: str | None) -> None:
        """What consumers have, or had, must be revoked. What is stored and not promoted yet may be."""
        entry = self.world.store.peek(SMS)
        life = read_lifecycle(entry)
        for version, labels in entry.versions.items():
            if incident is None and made_in_emergency(entry.arn, version):
                continue
            if made_for_incident(entry.arn, incident, version):
                continue
            keys = {key_id for label in labels if (key_id := parse_key_label(label))}
            self.world.emergency_keys |= keys
            self.leaked |= keys - {life.pending_key}


Act = Callable[[Run], object]

# ---- the actors -----------------------------------------------------------------------------------------------------


def on_world(act: worlds.Act) -> Act:
    return lambda run: act(run.world)


sweep, rotate, roll_back = on_world(worlds.sweep), on_world(worlds.rotate), on_world(worlds.roll_back)
label_event = on_world(worlds.label_event)
adoption = on_world(lambda world: adopt(world.services(), SMS))


def _emergency(strategy: Strategy, incident: str | None = "INC-1") -> Act:
    def act(run: Run) -> object:
        run.emergency_starts(incident)
        emergency = Emergency(run.world.services(), "leaked", incident)
        plan = emergency.plan(Target(secret=SMS), strategy)
        assert plan.secret is not None
        run.world.emergency_keys |= read_lifecycle(plan.secret).named  # what was promoted since the act began
        # A key that an interrupted run created before, and that another process promotes meanwhile, is suspect as well.
        run.world.emergency_keys |= {key.id for key in run.world.live() if key.created_at < run.world.clock.now()}
        report = emergency.execute(plan)
        run.emergencies.append(report)
        return report

    return act


replace_first = _emergency(Strategy.REPLACE_FIRST)
revoke_first = _emergency(Strategy.REVOKE_FIRST)
revoke_only = _emergency(Strategy.REVOKE_ONLY)
another_incident = _emergency(Strategy.REPLACE_FIRST, "INC-2")


def _starts_rotation(run: Run, version: str) -> bool:
    """Secrets Manager announces a rotation; AWS refuses that where a version is pending."""

    def start() -> bool:
        labels = run.world.store.peek(SMS).versions.values()
        if any(PENDING in each and CURRENT not in each for each in labels):
            return False
        run.world.store.start_rotation(SMS, version)
        return True

    run.actors.stop("by hand begin")
    return run.rules.by_hand(start)


def another_function(run: Run) -> None:
    """Secrets Manager's RotateSecret with a function that is not ours: create, set and test, finish."""
    world, store, version = run.world, run.world.store, str(uuid.UUID(int=7))

    def create() -> None:
        key = world.infobip.add_key(world.accounts["main"], "made by another function", scopes=("sms:manage",))
        store.start_rotation(SMS, version, str(key.value))

    def finish() -> None:
        entry = store.peek(SMS)
        current = next((v for v, labels in entry.versions.items() if CURRENT in labels), None)
        store.label_by_hand(SMS, CURRENT, version, current)

    if _starts_rotation(run, version):
        for step in (create, finish):
            run.actors.stop(f"by hand {step.__name__}")
            run.rules.by_hand(step)


def pasting(run: Run) -> object:
    """A person stores a key that Infobip's portal made; the event of it follows."""
    world = run.world

    def paste() -> None:
        key = world.infobip.add_key(world.accounts["main"], "pasted", valid_to=world.clock.now() + 90 * DAY)
        world.ours.add(key.id)
        world.store.put_value_by_hand(SMS, str(key.value))

    run.actors.stop("by hand paste")
    run.rules.by_hand(paste)
    return worlds.label_event(world)


def own_steps(run: Run) -> None:
    """Secrets Manager's RotateSecret with our function: four steps, all of them once more after a failure."""
    world, store, token = run.world, run.world.store, str(uuid.UUID(int=9))

    def cancel() -> None:
        """What the documentation says of an abandoned rotation; a stored key is the next sweep's."""
        labels = store.peek(SMS).versions.get(token, frozenset())
        if labels == {PENDING}:
            store.label_by_hand(SMS, PENDING, None, token)

    if not _starts_rotation(run, token):
        return
    for _ in range(2):
        with contextlib.suppress(RotatorError):
            for which in Step:
                run_step(world.services(Trigger.SECRETSMANAGER), SMS, token, which)
            return
    run.actors.stop("by hand cancel")
    run.rules.by_hand(cancel)


# ---- what happens ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A world and those who act in it, by letter.

    :param consumers: whether a consumer gets a working key throughout.
    """

    name: str
    make: Callable[[], World]
    acts: dict[str, Act]
    emergency: bool = False
    consumers: bool = True

    def run(self, order: Iterator[str]) -> tuple[str, list[str], Run]:
        """One interleaving. Gives its whole order, what it broke, and the run."""
        world = start(self.make)
        kind = EmergencyRules if self.emergency else Rules
        run = Run(world, kind(world, emergency=self.emergency, consumers=self.consumers, pending=False))
        run.actors = Interleaver(world, {letter: partial(act, run) for letter, act in self.acts.items()})
        run.rules.start()
        run.actors.run(order)
        done = run.actors.order
        return done, [f"{self.name}, order {done!r}: {text}" for text in _broken(self.name, run)], run

    def calls(self) -> dict[str, list[str]]:
        """The calls that each of them makes alone."""
        found = {}
        for letter, act in self.acts.items():
            _, _, run = replace(self, acts={letter: act}).run(iter(()))
            found[letter] = run.actors.actors[letter].made
        return found


def _broken(name: str, run: Run) -> list[str]:
    """What broke until now, and what does when sweeps go on."""
    world, rules = run.world, run.rules
    enabled = {key.id for key in world.infobip.keys() if key.enabled}
    broken = [f"key {key_id} is enabled after the emergency" for key_id in sorted(run.leaked & enabled)]
    broken += [f"the emergency failed: {error}" for report in run.emergencies for error in report.errors]
    rules.emergency = False
    entry = world.store.peek(SMS)
    life = read_lifecycle(entry)
    if made_in_emergency(entry.arn, life.current_version):
        # A sweep that finishes what an emergency began can't know what leaked: what it replaces gets no grace period.
        world.emergency_keys |= {item.key_id for item in life.retiring if item.revoke_at <= world.clock.now()}
    broken += rules.broken
    left = name, footprint(world, rules.history())
    if left not in _after:
        rules.broken.clear()
        _after[left] = _later(world, rules)
    return list(dict.fromkeys((*broken, *_after[left])))


_after: dict[tuple[str, str], list[str]] = {}
"""What broke after a case, by how its actors left the world: most orders leave it as others do."""


def _later(world: World, rules: Rules) -> list[str]:
    """Sweeps go on for three hours, and then past every grace: is everything as it should be?"""
    for _ in range(2):
        world.pass_time(HOUR)
        world.sweep()
    world.pass_time(HOUR)
    last = world.sweep()
    rules.consumers = True
    rules.check("three sweeps")
    broken = [f"three hours later: {result.error}" for result in last.results if result.error]
    broken += rules.final(after_grace=False)
    for _ in range(2):
        world.pass_time(80 * HOUR)
        world.sweep()
    if not world.current_key(SMS).enabled:
        broken.append("the key that consumers get is disabled")
    return [*broken, *rules.final(after_grace=True)]
