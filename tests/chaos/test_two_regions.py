"""Two regions with the same secret names on one Infobip account: the rules hold for both; each has keys of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta

import pytest

from rotator.engine.emergency import Emergency, Strategy, Target
from rotator.engine.manual import rotate_now
from rotator.engine.rollback import rollback
from rotator.errors import RotatorError
from rotator.policy.labels import parse_key_name
from rotator.sandbox.faults import Fault, FaultKind
from rotator.sandbox.state import Options
from tests.chaos.faults import Kill
from tests.chaos.interleave import Stage, two_switches
from tests.chaos.second_region import SecondRegion, TwoRegions
from tests.world import DAY, HOUR, World

SMS, VOICE = "prod/sms", "prod/voice"
Act = Callable[[World], object]
EVERY = 5
"""One of so many orders is tried."""


def regions(options: Options | None = None) -> tuple[World, SecondRegion]:
    """Both with the same two secrets, one of them due in either."""
    first = World(options=options)
    first.account()
    second = SecondRegion(first)
    for world in (first, second):
        world.managed(SMS, left=20 * DAY, age=70 * DAY)
        world.managed(VOICE, left=200 * DAY)
    return first, second


def killed(world: World, method: str, path: str) -> None:
    """A sweep that dies right after a request."""

    def kill(_request: object, _answer: object) -> None:
        raise Kill

    world.infobip.faults.add(Fault(FaultKind.HOOK_AFTER, method=method, path=path, hook=kill))
    with contextlib.suppress(Kill):
        world.sweep()
    world.infobip.faults.clear()


def due() -> TwoRegions:
    return TwoRegions(*regions())


def grace_over() -> TwoRegions:
    first, second = regions()
    first.sweep()
    second.sweep()
    first.pass_time(72 * HOUR)
    return TwoRegions(first, second)


def orphans() -> TwoRegions:
    """Each has a key that was made and never stored, old enough to be revoked by its own region."""
    first, second = regions(Options(reveal=False))
    killed(first, "POST", "api-keys")
    killed(second, "POST", "api-keys")
    first.pass_time(HOUR)
    return TwoRegions(first, second)


def unstored() -> TwoRegions:
    """The same, and their values can be read: each region goes on with its own."""
    first, second = regions()
    killed(first, "POST", "api-keys")
    killed(second, "POST", "api-keys")
    first.pass_time(timedelta(minutes=1))
    return TwoRegions(first, second)


def pending() -> TwoRegions:
    first, second = regions()
    killed(first, "GET", "balance")
    killed(second, "GET", "balance")
    first.pass_time(HOUR)
    return TwoRegions(first, second)


def in_grace() -> TwoRegions:
    first, second = regions()
    first.sweep()
    second.sweep()
    first.pass_time(HOUR)
    return TwoRegions(first, second)


def sweep(world: World) -> object:
    return world.sweep()


def rotate(world: World) -> object:
    return rotate_now(world.reconciler(), SMS, "test")


def roll_back(world: World) -> object:
    return rollback(world.reconciler(), SMS, "test")


def emergency(world: World) -> object:
    """Of the first region's secret; the second has one of the same name."""
    run = Emergency(world.services(), "leaked", "INC-1")
    (plan,) = run.plan(Target(secret=SMS), Strategy.REPLACE_FIRST)
    return run.execute(plan)


PLAYS: tuple[tuple[str, Callable[[], TwoRegions], Act, Act], ...] = (
    ("sweeps, due", due, sweep, sweep),
    ("sweeps, grace over", grace_over, sweep, sweep),
    ("sweeps, orphans", orphans, sweep, sweep),
    ("sweeps, unstored", unstored, sweep, sweep),
    ("sweeps, pending", pending, sweep, sweep),
    ("rotate and sweep", grace_over, rotate, sweep),
    ("rollback and sweep", in_grace, roll_back, sweep),
    ("emergency and sweep", in_grace, emergency, sweep),
)


def play(both: TwoRegions, one: Act, other: Act, turns: str | list[str]) -> tuple[Stage, list[str]]:
    """One interleaving, and sweeps of both past every grace period. Gives what broke."""
    acts = {"a": lambda: one(both.first), "b": lambda: other(both.second)}
    stage = Stage(both.first, acts, (both.second.store,))
    both.rules[0].emergency = one is emergency
    stage.play(iter(turns))
    both.rules[0].emergency = False
    for time in (HOUR, HOUR, 80 * HOUR, HOUR, HOUR):
        both.first.pass_time(time)
        both.first.sweep()
        both.second.sweep()
    return stage, both.broken(graced=True)


@pytest.mark.parametrize(("name", "make", "one", "other"), PLAYS, ids=[name for name, *_ in PLAYS])
def test_both_at_once(name: str, make: Callable[[], TwoRegions], one: Act, other: Act) -> None:
    alone, _ = play(make(), one, other, "")
    calls = {letter: actor.made for letter, actor in alone.actors.items()}
    broken: list[str] = []
    for number, switches in enumerate(two_switches(calls, alike=one is other)):
        if number % EVERY == 0:
            _, found = play(make(), one, other, list(switches.turns()))
            broken += [f"{name}, {switches}: {text}" for text in found]
    assert not broken, "\n".join(broken[:12])


@pytest.mark.parametrize("aws_account", ["123456789012", "210987654321"])
def test_in_turn_for_weeks(aws_account: str) -> None:
    """Swept alternately through rotations, graces and killed runs: in another region, and in another AWS account."""
    first = World()
    first.account()
    second = SecondRegion(
        first, aws_account=aws_account, region="us-east-1" if aws_account == "123456789012" else "eu-central-1"
    )
    for world in (first, second):
        for number in range(4):
            world.managed(f"prod/{number}", left=(30 + 2 * number) * DAY, age=55 * DAY)
    both = TwoRegions(first, second)
    for number in range(24 * 7):
        first.pass_time(3 * HOUR)
        for world in (first, second):
            if number % 40 == 7:
                killed(world, "POST", "api-keys")
            with contextlib.suppress(RotatorError):
                world.sweep()
    assert both.broken(graced=False) == []
    for world in (first, second):
        for name in world.names():
            given = parse_key_name(world.current_key(name).name)
            assert given is not None
            assert given.is_for(name, world.store.peek(name).arn)
            assert world.consumer_works(name)


def test_names_without_the_arn_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As they were once: each region takes the other's current keys for orphans."""
    for module in ("labels", "directory"):
        monkeypatch.setattr(f"rotator.policy.{module}.secret_id", lambda arn: f"{len(arn.split(':')[-1]):010x}")
    both = TwoRegions(*regions(Options(reveal=False)))
    for _ in range(3):
        both.first.sweep()
        both.second.sweep()
        both.first.pass_time(HOUR)
    broken = both.broken(graced=False)
    assert any("rule 1" in text for text in broken), broken
