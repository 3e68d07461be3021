"""Two regions with the same secret names on one Infobip account: the rules hold for both; each has keys of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from rotator.engine.emergency import EmergencyReport, Strategy
from rotator.engine.sweep import Sweep
from rotator.errors import ConfigurationError, RotatorError, StoreDenied, StoreUnavailable
from rotator.policy.labels import parse_key_name
from rotator.reasons import Reason
from rotator.sandbox.state import Options
from tests.chaos.faults import Kill, at_calls
from tests.chaos.interleave import Interleaver, two_switches
from tests.chaos.second_region import AWS_ACCOUNT, HOME, SecondRegion, TwoRegions
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

COPY = "prod/copy"
EVERY = 5
"""One of so many orders is tried."""


def regions(joined: str, options: Options | None = None) -> tuple[World, SecondRegion]:
    """Both with the same two secrets, one of them due in either.

    :param joined: the AWS account of the second, which is a store of the same deployment; ``""``: each has its own.
    """
    first = World(options=options)
    first.account()
    second = SecondRegion(first, aws_account=joined or AWS_ACCOUNT, joined=bool(joined))
    for world in (first, second):
        world.secret(SMS, left=20 * DAY)
        world.secret(VOICE, left=200 * DAY, lifetime=265 * DAY)
    return first, second


def due(joined: str) -> TwoRegions:
    return TwoRegions(*regions(joined))


def swept(ago: timedelta, joined: str) -> TwoRegions:
    first, second = regions(joined)
    first.sweep()
    second.sweep()
    first.pass_time(ago)
    return TwoRegions(first, second)


def killed(request: tuple[str, str], ago: timedelta, joined: str, options: Options | None = None) -> TwoRegions:
    """A sweep of each was killed right after a request."""
    first, second = regions(joined, options)
    for world in (first, second):
        assert kill_sweep_at(world, request) == 1
    first.pass_time(ago)
    return TwoRegions(first, second)


def orphans(joined: str) -> TwoRegions:
    """Each has a key that was created and never stored, old enough to be revoked by its own region."""
    return killed(CREATE, HOUR, joined, Options(reveal=False))


unstored = partial(killed, CREATE, MINUTE)
"""The same, and their values can be read: each region goes on with its own."""
pending = partial(killed, PROBE, HOUR)
in_grace = partial(swept, HOUR)
grace_over = partial(swept, 72 * HOUR)


def copied(joined: str) -> TwoRegions:
    """The first region's old key, past its grace period, was copied to a secret of the second."""
    both = grace_over(joined)
    text = str(both.first.first_keys[SMS].value)
    both.second.by_operator = True
    both.second.store.create_secret(COPY, both.second.tags(), text)
    return both


revoke = emergency(Strategy.REPLACE_FIRST)
"""Of the first region's secret; the second has one of the same name."""

CASES: tuple[tuple[str, Callable[[str], TwoRegions], Act, Act], ...] = (
    ("sweeps, due", due, sweep, sweep),
    ("sweeps, grace over", grace_over, sweep, sweep),
    ("sweeps, orphans", orphans, sweep, sweep),
    ("sweeps, unstored", unstored, sweep, sweep),
    ("sweeps, pending", pending, sweep, sweep),
    ("rotate and sweep", grace_over, rotate, sweep),
    ("rollback and sweep", in_grace, roll_back, sweep),
    ("emergency and sweep", in_grace, revoke, sweep),
)


JOINED = (*CASES, ("sweeps, copy", copied, sweep, sweep), ("emergency and sweep, copy", copied, revoke, sweep))


def interleave(both: TwoRegions, one: Act, other: Act, order: str | list[str]) -> tuple[Interleaver, list[str]]:
    """One interleaving, and sweeps of both past every grace period. Gives what broke."""
    acts = {"a": lambda: one(both.first), "b": lambda: other(both.second)}
    actors = Interleaver(both.first, acts, (both.second.store,))
    both.rules[0].emergency = one is revoke
    actors.run(iter(order))
    both.rules[0].emergency = False
    both.converge()
    return actors, both.broken(after_grace=True)


@pytest.mark.parametrize("joined", ["", AWS_ACCOUNT])
@pytest.mark.parametrize(("name", "make", "one", "other"), CASES, ids=[name for name, *_ in CASES])
def test_both_at_once(name: str, make: Callable[[str], TwoRegions], one: Act, other: Act, joined: str) -> None:
    alone, _ = interleave(make(joined), one, other, "")
    calls = {letter: actor.made for letter, actor in alone.actors.items()}
    broken: list[str] = []
    for number, switches in enumerate(two_switches(calls, alike=one is other)):
        if number % EVERY == 0:
            _, found = interleave(make(joined), one, other, list(switches.order()))
            broken += [f"{name}, {switches}: {text}" for text in found]
    assert not broken, "\n".join(broken[:12])


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("aws_account", [HOME, AWS_ACCOUNT])
def test_alternately_for_weeks(aws_account: str, joined: bool) -> None:
    """Swept alternately through rotations, graces and killed runs: in another region, and in another AWS account."""
    first = World()
    first.account()
    region = "us-east-1" if aws_account == HOME else "eu-central-1"
    second = SecondRegion(first, aws_account=aws_account, region=region, joined=joined)
    for world in (first, second):
        for number in range(4):
            world.secret(f"prod/{number}", left=(30 + 2 * number) * DAY, lifetime=(30 + 2 * number) * DAY + 55 * DAY)
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
    both = TwoRegions(*regions("", Options(reveal=False)))
    for _ in range(3):
        both.first.sweep()
        both.second.sweep()
        both.first.pass_time(HOUR)
    broken = both.broken(after_grace=False)
    assert any("rule 1" in text for text in broken), broken


@pytest.fixture(autouse=True)
def in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stores are listed one after the other: side by side the order of the calls would vary."""
    monkeypatch.setattr("rotator.aws.stores._MAX_PARALLEL", 1)


LOST = (
    StoreUnavailable("no answer"),
    StoreDenied("denied"),
    ConfigurationError("AWS credentials could not be fetched"),  # the role can't be assumed
)


def disturbed(make: Callable[[], TwoRegions], act: Act, index: int, lost: str) -> tuple[list[str], bool]:
    """The process is killed ahead of a call of any server, or from then on the lost store does not answer.

    Gives what broke, and whether the store was not listed.
    """
    both = make()
    first, dead, unlisted, kill = both.first, False, False, not lost
    store, other = (first.store, both.second) if lost == "first" else (both.second.store, first)

    def strike() -> None:
        nonlocal dead
        dead = True
        if kill:
            raise Kill

    def fail(op: str, _secret: str) -> None:
        nonlocal unlisted
        if dead and not kill:
            unlisted = unlisted or op == "list_secrets"
            raise LOST[index % len(LOST)]

    store.before = fail
    enabled, leaked = first.live(), first.current_key(SMS)
    if act is revoke:  # a sweep finishes a killed one
        for world in (first, both.second):
            world.emergency_keys |= {leaked.id, first.first_keys[SMS].id}
        both.second.exempt.add(COPY)
    result: object = None
    with (
        at_calls(first, (index, strike), stores=(both.second.store,)) as calls,
        contextlib.suppress(Kill, RotatorError),
    ):
        result = act(first)
    dead = False
    found = [] if index < len(calls) else ["the fault did not come"]
    if act is not revoke and unlisted:
        found += both.unproven(enabled)
    if isinstance(result, EmergencyReport):
        found += ["the leaked key is enabled"] if first.infobip.key(leaked.id).enabled else []
        noted = any(str(both.second.id) in note for note in result.notes)
        found += ["no note on the store"] if unlisted and not noted else []
    if isinstance(result, Sweep):
        arns = {other.store.peek(name).arn for name in other.names()}
        failed = (each for each in result.results if each.action.arn in arns and each.error)
        found += [f"{each.action} of the other store: {each.error}" for each in failed]
        reported = any(alert.kind is Reason.STORE_UNREACHABLE for plan in result.plan.accounts for alert in plan.alerts)
        found += ["the lost store is not reported"] if unlisted != reported or (unlisted and result.succeeded) else []
    both.converge()
    return found + both.broken(after_grace=True), unlisted


LOSSES = [
    pytest.param(*case, lost, id=f"{case[0]}, {lost or 'killed'}")
    for *case, _ in JOINED
    for lost in ("", "first", "second")
    if (case[2], lost) != (revoke, "first")  # it would be asked to revoke what it can't replace
]


@pytest.mark.parametrize(("name", "make", "act", "lost"), LOSSES)
def test_lost_at_each_call(name: str, make: Callable[[str], TwoRegions], act: Act, lost: str) -> None:
    """The process, or a store: the second is in another region and in another AWS account, in turn."""
    world = make(HOME)
    with at_calls(world.first, stores=(world.second.store,)) as calls:
        act(world.first)
    found, listed = [], set()
    for index, call in enumerate(calls):
        where = partial(make, HOME if index % 2 else AWS_ACCOUNT)
        broken, unlisted = disturbed(where, act, index, lost)
        listed.add(not unlisted)
        found += [f"{name}, {call} ({index}): {text}" for text in broken]
    assert not found, "\n".join(found[:12])
    assert lost == "first" or listed == ({True, False} if lost else {True})  # the first is listed first
