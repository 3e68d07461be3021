"""What exists without HTTP: seeded keys and users, and an operator's clicks in the portal."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rotator.model import Platform
from rotator.sandbox.clocks import DEFAULT_START, VirtualClock
from rotator.sandbox.infobip import InfobipWorld
from rotator.sandbox.state import DEFAULT_SCOPES, Options, value_observers
from tests.sandbox.conftest import KEYS, Site


@pytest.fixture
def world() -> InfobipWorld:
    world = InfobipWorld(VirtualClock())
    world.add_account("main", account_id="MAIN")
    return world


def test_same_seed_makes_same_world() -> None:
    def ids(seed: int) -> list[tuple[str, str]]:
        world = InfobipWorld(VirtualClock(), seed=seed)
        account = world.add_account()
        return [(key.id, key.value) for key in (world.add_key(account), world.add_key(account))]

    assert ids(1) == ids(1)
    assert not set(ids(1)) & set(ids(2))


def test_key_is_as_it_was_made(world: InfobipWorld) -> None:
    now = world.clock.now()
    key = world.add_key("MAIN", "old", valid_from=now - timedelta(days=80), valid_to=now + timedelta(days=10))
    assert (key.created_at, key.valid_to - key.valid_from) == (now - timedelta(days=80), timedelta(days=90))
    assert key.permissions == {"PUBLIC_API"}
    later = world.add_key("MAIN", valid_from=now + timedelta(days=1))
    assert later.created_at == now
    linked = world.add_key("MAIN", platform=[Platform("shop")])
    assert (linked.scopes, linked.permissions) == (frozenset(), frozenset())
    assert world.keys("MAIN") == world.keys() == (key, later, linked)
    assert world.key_of(key.value) == world.key(key.id) == key
    assert world.key_of("nothing") is None
    assert [world.authenticates(value) for value in (key.value, later.value, "nothing")] == [True, False, False]


@pytest.mark.parametrize(
    ("changes", "works"),
    [
        ({"enabled": False}, False),
        ({"valid_to": DEFAULT_START}, False),
        ({"allowed_ips": ("192.0.2.1",)}, False),
        ({"name": "b", "scopes": frozenset({"voice:manage"})}, True),
    ],
)
def test_clicks_count_against_no_limit(world: InfobipWorld, changes: dict[str, Any], works: bool) -> None:
    key = world.add_key("MAIN")
    changed = world.change_key(key.id, **changes)
    assert changed == world.key(key.id) != key
    assert {name: getattr(changed, name) for name in changes} == changes
    assert world.authenticates(key.value) is works
    world.delete_key(key.id)
    assert world.keys("MAIN") == ()
    assert not world.authenticates(key.value)
    assert (world.creates_used("MAIN"), world.updates_used("MAIN"), world.calls) == (0, 0, [])


def test_click_takes_its_time_too() -> None:
    world = InfobipWorld(VirtualClock(), options=Options(propagation=timedelta(seconds=10)))
    key = world.add_key(world.add_account())
    assert world.authenticates(key.value), "what is seeded works at once"
    world.change_key(key.id, enabled=False)
    assert world.authenticates(key.value)
    world.clock.sleep(10)
    assert not world.authenticates(key.value)


def test_unknown_accounts_and_keys_raise(world: InfobipWorld) -> None:
    for mistake in (world.add_key, world.add_user, world.keys, world.creates_used, world.key, world.change_key):
        with pytest.raises(KeyError):
            mistake("nothing")


def test_users_are_told_to_observers(site: Site) -> None:
    told: list[str] = []
    value_observers.append(told.append)
    try:
        made = site.create()
        seeded = site.world.add_key(site.account)
        made_up = site.world.add_user(site.account, "one")
        given = site.world.add_user(site.account, "two", "pw", manages_keys=False, scopes=["sms:manage"])
    finally:
        value_observers.remove(told.append)
    assert told == [made["apiKeySecret"], seeded.value, made_up.password, "pw"]
    assert made_up.scopes == DEFAULT_SCOPES
    assert given.scopes == {"sms:manage"}
    assert given.password not in repr(given)


def test_years_keep_busiest_days_calls(site: Site) -> None:
    for day in range(3):
        for _ in range(day + 1):
            site.create()
        site.clock.advance(timedelta(hours=20))
    assert site.world.busiest_day(site.account) == (5, 0)
    assert site.call("GET", KEYS).json()["paging"]["totalCount"] == 6
