"""``kill -9`` at every single call of every strategy: what consumers have, what sweeps do, what repeating does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any

import pytest

from rotator.engine.emergency import Strategy
from rotator.policy.emergency_ids import made_in_emergency
from rotator.sandbox.state import Options, SimKey
from tests import leaks
from tests.emergencies import (
    NAME,
    REPLACE_FIRST,
    REVOKE_FIRST,
    REVOKE_ONLY,
    Killed,
    Tape,
    alive,
    calm,
    in_grace,
    leaked,
    revoke,
)
from tests.world import DAY, HOUR, World

BY: dict[str, Callable[[SimKey, SimKey], dict[str, Any]]] = {
    "secret": lambda _old, _current: {"secret": NAME},
    "value": lambda _old, current: {"leaked": leaked(current)},
    "old key": lambda old, _current: {"key_id": old.id, "account": "main"},
}
CASES = [
    *((strategy, "secret", True) for strategy in Strategy),
    (REPLACE_FIRST, "value", True),
    (REPLACE_FIRST, "old key", True),
    (REPLACE_FIRST, "secret", False),
]


def scene(*, adopted: bool, reveal: bool = True) -> tuple[World, SimKey, SimKey]:
    """A secret with a key in grace; or one that nobody adopted yet."""
    world = World(options=Options(reveal=reveal))
    if adopted:
        return world, *in_grace(world)
    key = world.managed(NAME, adopted=False)
    return world, key, key


@cache
def length(strategy: Strategy, by: str, adopted: bool) -> int:
    """How many calls the undisturbed command makes."""
    world, old, current = scene(adopted=adopted)
    with Tape(world) as tape:
        assert revoke(world, strategy, incident="INC-1", **BY[by](old, current)).ok
    return len(tape.calls)


def killed(world: World, strategy: Strategy, target: dict[str, Any], call: int, when: str) -> bool:
    """Run a command that is killed at one call; whether it came to that. Consumers are looked at after every call."""
    cut_off: list[str] = []

    def stop(at: str, number: int, what: str) -> None:
        if strategy is REPLACE_FIRST and not world.consumer_works(NAME):
            cut_off.append(f"{at} call {number}, {what}")
        if (at, number) == (when, call):
            raise Killed

    died = False
    with Tape(world) as tape:
        tape.stop = stop
        try:
            revoke(world, strategy, incident="INC-1", **target)
        except Killed:
            died = True
    assert not cut_off, cut_off
    assert not leaks.find(world.stream.getvalue())
    return died


def is_promoted(world: World) -> bool:
    entry = world.store.peek(NAME)
    (version,) = [v for v, labels in entry.versions.items() if "AWSCURRENT" in labels]
    return made_in_emergency(entry.arn, version)


def is_stored(world: World) -> bool:
    entry = world.store.peek(NAME)
    return any(made_in_emergency(entry.arn, version) for version in entry.versions)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("strategy", "by", "adopted"), CASES)
def test_killed_anywhere_and_repeated_the_command_finishes_its_job(
    strategy: Strategy, by: str, adopted: bool, when: str
) -> None:
    for call in range(1, length(strategy, by, adopted) + 1):
        world, old, current = scene(adopted=adopted)
        target = BY[by](old, current)
        assert killed(world, strategy, target, call, when), call
        promoted = world.current_key(NAME) if is_promoted(world) else None
        world.pass_time(timedelta(minutes=3))
        report = revoke(world, strategy, incident="INC-1", **target)
        assert report.ok, (call, report.errors)
        assert not alive(world, old), call
        # Where the named key was dead before anything was replaced, nobody asked for the current one to go on with.
        if by != "old key":
            assert not alive(world, current), call
        if strategy is not REVOKE_ONLY:
            assert world.consumer_works(NAME), call
        if promoted is not None:
            assert world.current_key(NAME).id == promoted.id, f"a second replacement after call {call}"
        calm(world)
        assert len(world.live_keys()) == 1, call


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("strategy", "by", "adopted"), CASES)
def test_killed_anywhere_and_skipped_rows_the_sweeps_hold_the_rules(
    strategy: Strategy, by: str, adopted: bool, when: str
) -> None:
    for call in range(1, length(strategy, by, adopted) + 1):
        world, old, current = scene(adopted=adopted)
        assert killed(world, strategy, BY[by](old, current), call, when), call
        stored = is_stored(world)
        working: list[bool] = []
        world.infobip.observers.append(lambda _r, _a, w=world, seen=working: seen.append(w.consumer_works(NAME)))  # type: ignore[misc]
        world.pass_time(timedelta(minutes=1))
        world.sweep()
        world.pass_time(timedelta(minutes=1))
        world.sweep()
        assert world.consumer_works(NAME), call
        if strategy is REPLACE_FIRST:
            assert all(working), call
            if stored:
                # Once a replacement was stored, no grace is given any more: what it replaced is dead within two sweeps.
                assert not alive(world, current), call
        world.pass_time(HOUR)
        world.sweep()
        held = {key.id for key in (old, current, world.current_key(NAME))}
        orphans = [key for key in world.live_keys() if key.id not in held]
        assert not orphans, (call, orphans)
        calm(world)
        assert len(world.live_keys()) == 1, call


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [REPLACE_FIRST, REVOKE_FIRST])
def test_killed_twice_in_a_row_and_repeated(strategy: Strategy) -> None:
    for first in range(4, length(strategy, "secret", True) + 1, 2):
        for second in (4, 6, 9):
            world, old, current = scene(adopted=True, reveal=False)
            assert killed(world, strategy, {"secret": NAME}, first, "after")
            world.pass_time(timedelta(minutes=1))
            killed(world, strategy, {"secret": NAME}, second, "after")
            world.pass_time(timedelta(minutes=1))
            report = revoke(world, strategy, incident="INC-1")
            assert report.ok, (first, second, report.errors)
            assert not alive(world, old), (first, second)
            assert not alive(world, current), (first, second)
            assert world.consumer_works(NAME), (first, second)
            calm(world)
            assert len(world.live_keys()) == 1, (first, second)


def test_a_key_whose_creation_was_killed_is_ended_as_an_orphan_and_never_used() -> None:
    world, _, _ = scene(adopted=True, reveal=False)
    assert killed(world, REPLACE_FIRST, {"secret": NAME}, 5, "after")
    (orphan,) = [key for key in world.live_keys() if key.created_at == world.clock.now()]
    assert revoke(world, incident="INC-1").ok
    assert world.current_key(NAME).id != orphan.id
    assert world.current_key(NAME).name != orphan.name  # no name is used twice, so the two can be told apart
    world.pass_time(timedelta(minutes=31))
    world.sweep()
    assert not alive(world, orphan)


def test_a_killed_copy_of_a_shared_key_is_made_up_for() -> None:
    """Between the first secret's replacement and the second's."""
    for call in range(1, 40):
        world = World()
        key = world.managed(NAME)
        world.managed("prod/other", left=200 * DAY)
        world.store.copy_secret_with_tags(NAME, "prod/copy")
        world.sweep()
        if not killed(world, REPLACE_FIRST, {"secret": NAME}, call, "after"):
            assert call > 20
            return
        report = revoke(world, incident="INC-1")
        assert report.ok, (call, report.errors)
        assert not alive(world, key), call
        for name in (NAME, "prod/copy", "prod/other"):
            assert world.consumer_works(name), (call, name)
    raise AssertionError("the command never ended")
