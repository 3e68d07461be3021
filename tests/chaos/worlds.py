"""The worlds in which something goes wrong, and what happens in them: shared by all harnesses here."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import TypeVar, cast

from rotator.engine.emergency import Emergency, EmergencyReport, Strategy, Target
from rotator.engine.new_value import stored_by_others, take_up
from rotator.engine.reconcile import Reconciler
from rotator.engine.rollback import rollback
from rotator.engine.rotate_now import rotate_now
from rotator.engine.rotation.four_steps import Step, run_step
from rotator.engine.sweep import Sweep
from rotator.errors import RotatorError
from rotator.sandbox.state import Options
from rotator.telemetry.audit import Trigger
from tests.chaos.faults import Kill
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import DAY, HOUR, World

W = TypeVar("W", bound=World)
SMS, VOICE = "prod/sms", "prod/voice"
MINUTE = timedelta(minutes=1)
CREATE, PROBE = ("POST", "api-keys"), ("GET", "balance")
"""Requests after which a process is killed."""
TOKEN = "5ec2e75a-0000-4000-8000-000000000001"

# ---- worlds ---------------------------------------------------------------------------------------------------------


def alone(options: Options | None = None, *, adopted: bool = True) -> World:
    """One secret, whose key is due."""
    world = World(options=options)
    world.secret(SMS, left=20 * DAY, adopted=adopted)
    return world


def due(options: Options | None = None, *, auth: str = "basic") -> World:
    """A key that is due, and one that is not."""
    world = World(options=options)
    world.account(auth=auth)
    world.secret(SMS, left=20 * DAY)
    world.secret(VOICE, left=200 * DAY, lifetime=265 * DAY)
    return world


def swept(world: World, ago: timedelta) -> World:
    """It was swept some time ago: a key that was due is in grace."""
    world.sweep()
    world.pass_time(ago)
    return world


def rotated_by_hand(ago: timedelta) -> World:
    """The only key was not due and was replaced by hand: after a rollback none is due."""
    world = World()
    world.secret(SMS, left=200 * DAY, lifetime=265 * DAY)
    rotate_now(world.services(), SMS, "test")
    world.pass_time(ago)
    return world


def kill_sweep_at(world: World, request: tuple[str, str], account: str | None = None) -> int:
    """A sweep (of one account) that is killed right after a request. Gives how often that request came."""

    def kill(_request: object, _answer: object) -> None:
        raise Kill

    method, path = request
    fault = world.infobip.faults.add(Fault(FaultKind.HOOK_AFTER, method=method, path=path, hook=kill))
    with contextlib.suppress(Kill):
        world.sweep(account=account)
    world.infobip.faults.clear()
    return fault.hits


def killed_at(world: World, request: tuple[str, str], ago: timedelta) -> World:
    """A sweep was killed right after a request, some time ago."""
    assert kill_sweep_at(world, request) == 1
    world.pass_time(ago)
    return world


@cache
def _made(make: Callable[[], World]) -> World:
    return make()


def start(make: Callable[[], W]) -> W:
    """A world of its own, as it is made; where that took sweeps, it is a copy of the first."""
    first = cast("W", _made(make))
    if not first.infobip.calls:
        return make()
    texts = [version.text for record in first.store._records.values() for version in record.versions.values()]
    locks = (part._lock for part in (first.store, first.clock, first.infobip.faults, first.redactor))
    return copy.deepcopy(first, {id(part): part for part in (*texts, *locks, first.infobip.lock)})


def first_key() -> World:
    world = World()
    world.account()
    world.store.create_secret(SMS, world.tags(scopes="sms:manage"))
    return world


def current() -> World:
    world = World()
    world.secret(SMS, left=300 * DAY, lifetime=365 * DAY)
    return world


MASKED, SLOW = Options(reveal=False), Options(propagation=timedelta(seconds=20))
WORLDS: dict[str, Callable[[], World]] = {
    "current": current,
    "due": alone,
    "masked": lambda: alone(MASKED),
    "slow propagation": lambda: alone(SLOW),
    "in grace": lambda: swept(alone(), HOUR),
    # No actor can go on with another's key: each has to create its own.
    "masked in grace": lambda: swept(alone(MASKED), HOUR),
    "grace nearly over": lambda: rotated_by_hand(72 * HOUR - MINUTE),
    "grace over": lambda: swept(alone(), 72 * HOUR),
    "unadopted": lambda: alone(adopted=False),
    "first key": first_key,
    "pending": lambda: killed_at(alone(), PROBE, HOUR),
    "pending since a minute": lambda: killed_at(alone(), PROBE, MINUTE),
    "unstored": lambda: killed_at(alone(), CREATE, MINUTE),
    "orphan": lambda: killed_at(alone(MASKED), CREATE, HOUR),
}
"""Of one secret."""


# ---- what happens ---------------------------------------------------------------------------------------------------

Act = Callable[[World], object]


def sweep(world: World) -> Sweep:
    return world.sweep()


def rotate(world: World) -> object:
    return rotate_now(world.services(), world.store.peek(SMS).arn, "test")


def label_event(world: World) -> object:
    """Secrets Manager says that ``AWSCURRENT`` moved; it says so late, twice, and of the rotator's own promotions."""
    entry = stored_by_others(world.store, world.store.peek(SMS).arn)
    return entry and take_up(Reconciler(world.services(Trigger.SECRETSMANAGER)), entry)


def roll_back(world: World) -> object:
    return rollback(world.services(), world.store.peek(SMS).arn, "test")


def emergency(strategy: Strategy, secret: str = SMS) -> Act:
    def act(world: World) -> EmergencyReport:
        run = Emergency(world.services(), "leaked", "INC-1")
        plan = run.plan(Target(secret=world.store.peek(secret).arn), strategy)
        return run.execute(plan)

    return act


def four_steps(world: World, secret: str, *, tries: int, pause: timedelta = timedelta(0)) -> None:
    """Secrets Manager's own rotation by our function: each step again where it failed or its process was killed."""
    for step in Step:
        for left in reversed(range(tries)):
            try:
                run_step(world.services(Trigger.SECRETSMANAGER), secret, TOKEN, step)
                break
            except (Kill, RotatorError):
                if not left:
                    raise
                world.pass_time(pause)
