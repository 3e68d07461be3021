"""Two regions with the same secret names on one Infobip account: the rules hold for both; each has keys of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta

import pytest

from rotator.engine.emergency import Strategy
from rotator.errors import RotatorError
from rotator.policy.labels import parse_key_name
from rotator.sandbox.state import Options
from tests.chaos.interleave import Interleaver, two_switches
from tests.chaos.second_region import SecondRegion, TwoRegions
from tests.chaos.worlds import (
    CREATE,
    MINUTE,
    PROBE,
    SMS,
    VOICE,
    Act,
    emergency,
    kill_sweep_at,
    roll_back,
    rotate,
    sweep,
)
from tests.world import DAY, HOUR, World

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


def due() -> TwoRegions:
    return TwoRegions(*regions())


def swept(ago: timedelta) -> TwoRegions:
    first, second = regions()
    first.sweep()
    second.sweep()
    first.pass_time(ago)
    return TwoRegions(first, second)


def killed(request: tuple[str, str], ago: timedelta, options: Options | None = None) -> TwoRegions:
    """A sweep of each was killed right after a request."""
    first, second = regions(options)
    for world in (first, second):
        assert kill_sweep_at(world, request) == 1
    first.pass_time(ago)
    return TwoRegions(first, second)


def orphans() -> TwoRegions:
    """Each has a key that was created and never stored, old enough to be revoked by its own region."""
    return killed(CREATE, HOUR, Options(reveal=False))


def unstored() -> TwoRegions:
    """The same, and their values can be read: each region goes on with its own."""
    return killed(CREATE, MINUTE)


def pending() -> TwoRegions:
    return killed(PROBE, HOUR)


def in_grace() -> TwoRegions:
    return swept(HOUR)


def grace_over() -> TwoRegions:
    return swept(72 * HOUR)


revoke = emergency(Strategy.REPLACE_FIRST)
"""Of the first region's secret; the second has one of the same name."""

CASES: tuple[tuple[str, Callable[[], TwoRegions], Act, Act], ...] = (
    ("sweeps, due", due, sweep, sweep),
    ("sweeps, grace over", grace_over, sweep, sweep),
    ("sweeps, orphans", orphans, sweep, sweep),
    ("sweeps, unstored", unstored, sweep, sweep),
    ("sweeps, pending", pending, sweep, sweep),
    ("rotate and sweep", grace_over, rotate, sweep),
    ("rollback and sweep", in_grace, roll_back, sweep),
    ("emergency and sweep", in_grace, revoke, sweep),
)


def interleave(both: TwoRegions, one: Act, other: Act, order: str | list[str]) -> tuple[Interleaver, list[str]]:
    """One interleaving, and sweeps of both past every grace period. Gives what broke."""
    acts = {"a": lambda: one(both.first), "b": lambda: other(both.second)}
    actors = Interleaver(both.first, acts, (both.second.store,))
    both.rules[0].emergency = one is revoke
    actors.run(iter(order))
    both.rules[0].emergency = False
    for time in (HOUR, HOUR, 80 * HOUR, HOUR, HOUR):
        both.first.pass_time(time)
        both.first.sweep()
        both.second.sweep()
    return actors, both.broken(after_grace=True)


@pytest.mark.parametrize(("name", "make", "one", "other"), CASES, ids=[name for name, *_ in CASES])
def test_both_at_once(name: str, make: Callable[[], TwoRegions], one: Act, other: Act) -> None:
    alone, _ = interleave(make(), one, other, "")
    calls = {letter: actor.made for letter, actor in alone.actors.items()}
    broken: list[str] = []
    for number, switches in enumerate(two_switches(calls, alike=one is other)):
        if number % EVERY == 0:
            _, found = interleave(make(), one, other, list(switches.order()))
            broken += [f"{name}, {switches}: {text}" for text in found]
    assert not broken, "\n".join(broken[:12])


@pytest.mark.parametrize("aws_account", ["123456789012", "210987654321"])
def test_alternately_for_weeks(aws_account: str) -> None:
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
                kill_sweep_at(world, CREATE)
            with contextlib.suppress(RotatorError):
                world.sweep()
    assert both.broken(after_grace=False) == []
    for world in (first, second):
        for name in world.names():
            given = parse_key_name(world.current_key(name).name)
            assert given is not None
            assert given.is_for(name, world.store.peek(name).arn)
            assert world.consumer_works(name)


def test_names_without_arn_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As they once were: each region takes the other's current keys for orphans."""
    for module in ("labels", "holdings"):
        monkeypatch.setattr(f"rotator.policy.{module}.secret_id", lambda arn: f"{len(arn.split(':')[-1]):010x}")
    both = TwoRegions(*regions(Options(reveal=False)))
    for _ in range(3):
        both.first.sweep()
        both.second.sweep()
        both.first.pass_time(HOUR)
    broken = both.broken(after_grace=False)
    assert any("rule 1" in text for text in broken), broken
