"""A sweep that finishes an emergency gives no grace period to the key that it was about, and a full one to others."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from rotator.sandbox.state import SimKey
from tests import leaks
from tests.emergencies import NAME, Killed, alive, leaked, revoke
from tests.world import DAY, HOUR, World

SECOND = timedelta(seconds=1)


def new_key(world: World) -> SimKey:
    key = world.infobip.add_key(world.accounts["main"], "made in the portal")
    leaks.register(str(key.value))
    return key


def paste(world: World, key: SimKey) -> None:
    world.store.put_value_by_hand(NAME, json.dumps({"api_key": str(key.value)}))


def sweeps(world: World, hours: int = 3) -> None:
    for _ in range(hours):
        world.pass_time(HOUR)
        world.sweep()


def test_replaced_key_has_its_grace() -> None:
    """A person replaced it, and the newer key leaked before any sweep."""
    world = World()
    older, newer = world.secret(NAME), new_key(world)
    world.pass_time(HOUR)
    paste(world, newer)
    world.pass_time(10 * SECOND)
    assert revoke(world, leaked=leaked(newer)).ok
    sweeps(world)
    assert alive(world, older)
    assert not alive(world, newer)
    world.pass_time(3 * DAY)
    sweeps(world)
    assert not alive(world, older)


def test_pasted_key_has_its_grace() -> None:
    """A person stores it after the replacement was asked for; the next sweep still promotes that."""
    world = World()
    old, pasted = world.secret(NAME), new_key(world)

    def before(operation: str, _secret: str) -> None:
        if operation == "stage":
            world.store.before = None
            world.pass_time(2 * SECOND)
            paste(world, pasted)
            world.pass_time(2 * SECOND)

    world.pass_time(HOUR)
    world.store.before = before
    revoke(world, leaked=leaked(old))
    sweeps(world)
    assert not alive(world, old)
    assert alive(world, pasted)


@pytest.mark.parametrize("call", ["promote", "stage"])
def test_leaked_key_has_no_grace(call: str) -> None:
    world = World()
    old = world.secret(NAME)

    def after(operation: str, _secret: str) -> None:
        if operation == call:
            world.store.after = None
            raise Killed

    world.pass_time(HOUR)
    world.store.after = after
    with pytest.raises(Killed):
        revoke(world, leaked=leaked(old))
    sweeps(world)
    assert not alive(world, old)
    assert world.consumer_works(NAME)
