"""A sweep that finishes an emergency gives no grace period to the key that it was about, and a full one to others."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from rotator.reasons import Reason
from rotator.sandbox.state import SimKey
from tests import leaks
from tests.emergencies import EmergencyWorld, Killed, leaked
from tests.world import DAY, HOUR, NAME

SECOND = timedelta(seconds=1)


def new_key(world: EmergencyWorld) -> SimKey:
    key = world.infobip.add_key(world.accounts["main"], "made in the portal")
    leaks.register(str(key.value))
    return key


def paste(world: EmergencyWorld, key: SimKey) -> None:
    world.store.put_value_by_hand(NAME, json.dumps({"api_key": str(key.value)}))


def sweeps(world: EmergencyWorld, hours: int = 3) -> None:
    for _ in range(hours):
        world.pass_time(HOUR)
        world.sweep()


def test_replaced_key_has_its_grace(world: EmergencyWorld) -> None:
    """A person replaced it, and the newer key leaked before any sweep."""
    older, newer = world.secret(NAME), new_key(world)
    world.pass_time(HOUR)
    paste(world, newer)
    world.pass_time(10 * SECOND)
    assert world.revoke(leaked=leaked(newer)).ok
    sweeps(world)
    assert world.works(older)
    assert not world.works(newer)
    world.pass_time(3 * DAY)
    sweeps(world)
    assert not world.works(older)


def test_pasted_key_has_its_grace(world: EmergencyWorld) -> None:
    """A person stores it after the replacement was asked for; the next sweep still promotes that."""
    old, pasted = world.secret(NAME), new_key(world)

    def before(operation: str, _secret: str) -> None:
        if operation == "stage":
            world.store.before = None
            world.pass_time(2 * SECOND)
            paste(world, pasted)
            world.pass_time(2 * SECOND)

    world.pass_time(HOUR)
    world.store.before = before
    world.revoke(leaked=leaked(old))
    sweeps(world)
    assert not world.works(old)
    assert world.works(pasted)


@pytest.mark.parametrize("call", ["promote", "stage"])
def test_leaked_key_has_no_grace(world: EmergencyWorld, call: str) -> None:
    old = world.secret(NAME)

    def after(operation: str, _secret: str) -> None:
        if operation == call:
            world.store.after = None
            raise Killed

    world.pass_time(HOUR)
    world.store.after = after
    with pytest.raises(Killed):
        world.revoke(leaked=leaked(old))
    sweeps(world)
    assert not world.works(old)
    assert world.consumer_works(NAME)


def test_key_enabled_again_is_reported(world: EmergencyWorld) -> None:
    """The rotator created it, so its name says whose it was; a sweep has removed its labels."""
    old = world.secret(NAME, rotated=True)
    world.pass_time(HOUR)
    assert world.revoke(leaked=leaked(old)).ok
    sweeps(world, 1)
    world.infobip.change_key(old.id, enabled=True, valid_to=world.clock.now() + DAY)
    (plan,) = world.sweep().plan.accounts
    (alert,) = plan.alerts
    assert (alert.kind, alert.key_id, f"--key-id {old.id} --account main" in alert.detail) == (
        Reason.KEY_REENABLED,
        old.id,
        True,
    )
