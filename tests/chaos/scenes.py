"""Who acts at the same time, in which world, and what must hold when they have ended."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rotator.engine.emergency import Emergency, EmergencyPlan, EmergencyReport, Strategy, Target
from rotator.engine.manual import adopt, rotate_now
from rotator.engine.reconcile import Reconciler
from rotator.engine.rollback import rollback
from rotator.engine.rotation.four_steps import Step, run_step
from rotator.errors import RotatorError
from rotator.policy.emergency_ids import made_for_incident, made_in_emergency
from rotator.policy.labels import CURRENT, PENDING, parse_key_label, parse_key_name
from rotator.policy.lifecycle import read_lifecycle
from rotator.sandbox.faults import Fault, FaultKind
from rotator.sandbox.state import Options
from rotator.telemetry.audit import Trigger
from tests.chaos.faults import Kill
from tests.chaos.interleave import Stage
from tests.chaos.observer import Observer
from tests.world import DAY, HOUR, World

NAME = "prod/sms"
MINUTE = timedelta(minutes=1)


class Strict(Observer):
    """In an emergency too only the keys that there were when it began may end without a grace.

    And those that are not of our own making: who stores such a one meanwhile may well put the leaked one back.
    """

    def _check_revocation(self, key_id: str, name: str, now: datetime, when: str) -> None:
        emergency, self.emergency = self.emergency, parse_key_name(name) is None
        super()._check_revocation(key_id, name, now, when)
        self.emergency = emergency


@dataclass
class Scene:
    """One run: the world, who watches it, and where the actors stand."""

    world: World
    observer: Observer
    stage: Stage = field(init=False)
    emergencies: list[tuple[EmergencyPlan, EmergencyReport]] = field(default_factory=list)
    leaked: set[str] = field(default_factory=set)

    def condemn(self, incident: str | None) -> None:
        """An emergency begins: what consumers have, or had, must die. What is stored and not promoted yet may."""
        entry = self.world.store.peek(NAME)
        life = read_lifecycle(entry)
        for version, labels in entry.versions.items():
            if incident is None and made_in_emergency(entry.arn, version):
                continue
            if made_for_incident(entry.arn, incident, version):
                continue
            keys = {key_id for label in labels if (key_id := parse_key_label(label))}
            self.world.condemned |= keys
            self.leaked |= keys - {life.pending_key}


Act = Callable[[Scene], object]

# ---- who acts -------------------------------------------------------------------------------------------------------


def sweep(scene: Scene) -> object:
    return scene.world.sweep()


def rotate(scene: Scene) -> object:
    return rotate_now(scene.world.reconciler(), NAME, "asked for")


def adoption(scene: Scene) -> object:
    return adopt(scene.world.reconciler(), NAME)


def roll_back(scene: Scene) -> object:
    return rollback(scene.world.reconciler(), NAME, "asked for")


def _emergency(strategy: Strategy, incident: str | None = "INC-1") -> Act:
    def act(scene: Scene) -> object:
        scene.condemn(incident)
        run = Emergency(scene.world.services(), "leaked", incident)
        (plan,) = run.plan(Target(secret=NAME), strategy)
        assert plan.secret is not None
        scene.world.condemned |= read_lifecycle(plan.secret).named  # what was promoted since the act began
        report = run.execute(plan)
        scene.emergencies.append((plan, report))
        return report

    return act


replace_first = _emergency(Strategy.REPLACE_FIRST)
revoke_first = _emergency(Strategy.REVOKE_FIRST)
revoke_only = _emergency(Strategy.REVOKE_ONLY)
nameless = _emergency(Strategy.REPLACE_FIRST, None)
another_incident = _emergency(Strategy.REPLACE_FIRST, "INC-2")


def another_function(scene: Scene) -> None:
    """Secrets Manager's RotateSecret with a function that is not ours: create, set and test, finish."""
    world, store, version = scene.world, scene.world.store, str(uuid.UUID(int=7))

    def begin() -> bool:
        if is_rotating(world):
            return False  # AWS refuses it
        store.start_rotation(NAME, version)
        return True

    def create() -> None:
        key = world.infobip.add_key(world.accounts["main"], "made by another function", scopes=("sms:manage",))
        store.start_rotation(NAME, version, str(key.value))

    def finish() -> None:
        entry = store.peek(NAME)
        current = next((v for v, labels in entry.versions.items() if CURRENT in labels), None)
        store.label_by_hand(NAME, CURRENT, version, current)

    scene.stage.stop("by hand begin")
    if scene.observer.by_hand(begin):
        for step in (create, finish):
            scene.stage.stop(f"by hand {step.__name__}")
            scene.observer.by_hand(step)


def own_steps(scene: Scene) -> None:
    """Secrets Manager's RotateSecret with our function: four steps, all of them tried once more after a failure."""
    world, store, token = scene.world, scene.world.store, str(uuid.UUID(int=9))

    def begin() -> bool:
        if is_rotating(world):
            return False  # AWS refuses it
        store.start_rotation(NAME, token)
        return True

    def cancel() -> None:
        """What people are told to do with what is left of it; a stored key is the next sweep's."""
        labels = store.peek(NAME).versions.get(token, frozenset())
        if labels == {PENDING}:
            store.label_by_hand(NAME, PENDING, None, token)

    scene.stage.stop("by hand begin")
    if not scene.observer.by_hand(begin):
        return
    for _ in range(2):
        with contextlib.suppress(RotatorError):
            for which in Step:
                run_step(Reconciler(world.services(Trigger.SECRETSMANAGER)), NAME, token, which)
            return
    scene.stage.stop("by hand cancel")
    scene.observer.by_hand(cancel)


def is_rotating(world: World) -> bool:
    """Whether a version is pending, in AWS's eyes."""
    return any(PENDING in labels and CURRENT not in labels for labels in world.store.peek(NAME).versions.values())


def suspended(*jumps: timedelta) -> Act:
    """Time that passes while everybody stands still, as for a process that was suspended."""

    def act(scene: Scene) -> None:
        for jump in jumps:
            scene.stage.stop("by hand time passes")
            scene.world.pass_time(jump)

    return act


# ---- where ----------------------------------------------------------------------------------------------------------


def due(options: Options | None = None) -> World:
    world = World(options=options)
    world.managed(NAME, left=20 * DAY, age=70 * DAY)
    return world


def masked() -> World:
    return due(Options(reveal=False))


def slow() -> World:
    return due(Options(propagation=timedelta(seconds=20)))


def in_grace() -> World:
    world = due()
    world.sweep()
    world.pass_time(HOUR)
    return world


def masked_in_grace() -> World:
    """Nobody can go on with somebody else's key: each has to make its own."""
    world = masked()
    world.sweep()
    world.pass_time(HOUR)
    return world


def grace_nearly_over() -> World:
    """A minute before the end of a grace, in which nothing else is due."""
    world = World()
    world.managed(NAME, left=200 * DAY)
    rotate_now(world.reconciler(), NAME, "test")
    world.pass_time(72 * HOUR - MINUTE)
    return world


def grace_over() -> World:
    world = in_grace()
    world.pass_time(71 * HOUR)
    return world


def unadopted() -> World:
    world = World()
    world.managed(NAME, left=20 * DAY, age=70 * DAY, adopted=False)
    return world


def first_key() -> World:
    world = World()
    world.account()
    world.store.create_secret(NAME, world.tags(scopes="sms:manage"))
    return world


def _killed(world: World, method: str, path: str, after: timedelta) -> World:
    def kill(_request: object, _answer: object) -> None:
        raise Kill

    world.infobip.faults.add(Fault(FaultKind.HOOK_AFTER, method=method, path=path, hook=kill))
    with contextlib.suppress(Kill):
        world.sweep()
    world.infobip.faults.clear()
    world.pass_time(after)
    return world


def pending() -> World:
    return _killed(due(), "GET", "balance", HOUR)


def fresh_pending() -> World:
    return _killed(due(), "GET", "balance", MINUTE)


def unstored() -> World:
    return _killed(due(), "POST", "api-keys", MINUTE)


def orphan() -> World:
    return _killed(masked(), "POST", "api-keys", HOUR)


# ---- what happens ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Play:
    """A world and those who act in it, by letter.

    :param consumers: whether a consumer gets a working key throughout.
    """

    name: str
    make: Callable[[], World]
    acts: dict[str, Act]
    emergency: bool = False
    consumers: bool = True

    def run(self, turns: Iterator[str]) -> tuple[str, list[str], Scene]:
        """One interleaving. Gives its order, what it broke, and the scene."""
        world = self.make()
        kind = Strict if self.emergency else Observer
        observer = kind(world, emergency=self.emergency, consumers=self.consumers, pending=False)
        scene = Scene(world, observer)
        scene.stage = Stage(world, {letter: _bound(act, scene) for letter, act in self.acts.items()})
        observer.start()
        scene.stage.play(turns)
        order = scene.stage.order
        return order, [f"{self.name}, order {order!r}: {text}" for text in _afterwards(scene)], scene

    def calls(self) -> dict[str, list[str]]:
        """The calls that each of them makes alone."""
        found = {}
        for letter, act in self.acts.items():
            _, _, scene = Play(self.name, self.make, {letter: act}, self.emergency, self.consumers).run(iter(()))
            found[letter] = scene.stage.actors[letter].made
        return found


def _bound(act: Act, scene: Scene) -> Callable[[], object]:
    return lambda: act(scene)


def _afterwards(scene: Scene) -> list[str]:
    """Sweeps go on for three hours, and then past every grace: is everything as it should be?"""
    world, observer = scene.world, scene.observer
    broken: list[str] = []
    dead = {key.id for key in world.infobip.keys() if not key.enabled}
    broken += [f"key {key_id} lives after the emergency" for key_id in sorted(scene.leaked - dead)]
    broken += [f"the emergency failed: {error}" for _, report in scene.emergencies for error in report.errors]
    observer.emergency = False
    entry = world.store.peek(NAME)
    life = read_lifecycle(entry)
    if made_in_emergency(entry.arn, life.current_version):
        # Who finishes what an emergency began can't know what leaked: what it replaces ends without a grace.
        world.condemned |= {item.key_id for item in life.retiring if item.revoke_at <= world.clock.now()}
    for _ in range(2):
        world.pass_time(HOUR)
        world.sweep()
    world.pass_time(HOUR)
    last = world.sweep()
    observer.consumers = True
    observer.look("three sweeps")
    broken += [f"three hours later: {result.error}" for result in last.results if result.error]
    broken += observer.final(graced=False)
    for _ in range(2):
        world.pass_time(80 * HOUR)
        world.sweep()
    held = world.current_key(NAME)
    if not held.enabled:
        broken.append("the key that consumers get is disabled")
    return list(dict.fromkeys((*broken, *observer.final(graced=True))))
