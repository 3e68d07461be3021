"""Repeating a command, old listings, and others who are at work at the same time."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from rotator.engine.emergency import Emergency, Strategy, Target
from rotator.errors import StoreDenied
from rotator.sandbox.faults import Fault, FaultKind
from rotator.sandbox.state import SimKey
from rotator.telemetry.audit import Trigger
from tests.emergencies import (
    NAME,
    REPLACE_FIRST,
    REVOKE_FIRST,
    REVOKE_ONLY,
    alive,
    calm,
    in_grace,
    leaked,
    named,
    names_of,
    plan_for,
    revoke,
)
from tests.world import DAY, World

REPLACING = [REPLACE_FIRST, REVOKE_FIRST]


def creates(world: World) -> int:
    return world.infobip.creates_used(world.accounts["main"])


@pytest.mark.parametrize("strategy", REPLACING)
@pytest.mark.parametrize("by", ["secret", "key", "value"])
def test_the_same_incident_makes_no_second_replacement(strategy: Strategy, by: str) -> None:
    world = World()
    _, current = in_grace(world)
    assert revoke(world, strategy, incident="INC-9", **named(by, current)).ok
    new, used = world.current_key(NAME), creates(world)
    for _ in range(2):
        report = revoke(world, strategy, incident="INC-9", **named(by, current))
        assert (report.ok, report.steps) == (True, [])
    assert world.current_key(NAME).id == new.id
    assert alive(world, new)
    assert creates(world) == used
    calm(world)


def test_the_same_incident_ends_what_was_left() -> None:
    world = World()
    old, current = in_grace(world)
    fault = world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, method="PUT", count=None, status=500))
    assert not revoke(world, incident="INC-9").ok
    new, used = world.current_key(NAME), creates(world)
    assert fault.hits
    world.infobip.faults.clear()
    plan = plan_for(world, incident="INC-9", secret=NAME)
    assert plan.repeated
    assert any("INC-9" in note for note in plan.notes)
    report = revoke(world, incident="INC-9")
    assert report.ok
    assert set(report.revoked) == {old.id, current.id}
    assert world.current_key(NAME).id == new.id
    assert creates(world) == used
    calm(world)


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("incident", [None, "INC-1"])
def test_a_repeated_command_never_breaks_a_consumer_that_worked(strategy: Strategy, incident: str | None) -> None:
    world = World()
    in_grace(world)
    for _ in range(3):
        assert revoke(world, strategy, incident=incident).ok
        assert world.consumer_works(NAME) is (strategy is not REVOKE_ONLY)
    calm(world)


@pytest.mark.parametrize("strategy", REPLACING)
@pytest.mark.parametrize("by", ["secret", "old key", "old value"])
@pytest.mark.parametrize("made_up", [False, True])
def test_a_button_that_is_pressed_twice_makes_one_replacement(strategy: Strategy, by: str, made_up: bool) -> None:
    world = World()
    _, current = in_grace(world)
    target = named(by.removeprefix("old "), current)
    seen: list[tuple[str, int]] = []
    for press in range(3):
        incident = f"lambda {press}" if made_up else None
        command = Emergency(world.services(Trigger.EMERGENCY), "leaked", incident, chosen=False if made_up else None)
        plan = command.plan(Target(**target), strategy)
        assert command.execute(plan).ok
        seen.append((world.current_key(NAME).id, creates(world)))
        if press and by == "secret":
            assert any("name it by its id" in said for said in plan.notes)
        world.pass_time(timedelta(minutes=4))
    assert len(set(seen)) == 1
    assert world.consumer_works(NAME)
    calm(world)


@pytest.mark.parametrize("strategy", REPLACING)
def test_a_button_that_is_pressed_twice_ends_what_was_left(strategy: Strategy) -> None:
    world = World()
    old, current = in_grace(world)
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, method="PUT", count=None, status=500))
    assert not revoke(world, strategy).ok
    world.infobip.faults.clear()
    new = world.current_key(NAME)
    report = revoke(world, strategy)
    assert report.ok, report.errors
    assert set(report.revoked) == {old.id, current.id}
    assert world.current_key(NAME).id == new.id
    calm(world)


def test_a_button_that_is_pressed_again_later_or_for_a_key_or_for_good_is_another_emergency() -> None:
    world = World()
    in_grace(world)

    def ends_the_current_one(strategy: Strategy = REPLACE_FIRST, **target: Any) -> bool:
        before = world.current_key(NAME)
        assert revoke(world, strategy, **target).ok
        return not alive(world, before)

    assert ends_the_current_one()
    world.pass_time(timedelta(minutes=10, seconds=1))
    assert ends_the_current_one()
    assert ends_the_current_one(key_id=world.current_key(NAME).id, account="main")
    assert ends_the_current_one(leaked=leaked(world.current_key(NAME)))
    assert ends_the_current_one(incident="INC-2")
    assert not ends_the_current_one()
    assert ends_the_current_one(REVOKE_ONLY)


def test_another_incident_is_another_replacement() -> None:
    world = World()
    in_grace(world)
    assert revoke(world, incident="INC-1").ok
    first = world.current_key(NAME)
    assert revoke(world, incident="INC-2").ok
    assert not alive(world, first)
    assert world.consumer_works(NAME)


@pytest.mark.parametrize("by", ["key", "value"])
def test_naming_the_key_that_the_incident_made_ends_that_too(by: str) -> None:
    world = World()
    in_grace(world)
    assert revoke(world, incident="INC-1").ok
    for _ in range(2):
        new = world.current_key(NAME)
        report = revoke(world, incident="INC-1", **named(by, new))
        assert report.ok, report.errors
        assert not alive(world, new)
        assert world.consumer_works(NAME)
    calm(world)


def test_an_incident_of_long_ago_ends_only_what_is_older() -> None:
    world = World()
    _, current = in_grace(world)
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, method="PUT", count=None, status=500))
    world.store.before = _no_retire_labels
    revoke(world, incident="INC-1")
    world.infobip.faults.clear()
    world.store.before = None
    made = world.current_key(NAME)
    newer = []
    for _ in range(2):
        world.pass_time(timedelta(seconds=5))
        key = world.infobip.add_key(world.accounts["main"], "by hand")
        version = world.store.put_value_by_hand(NAME, json.dumps({"api_key": key.value}))
        world.store.label_by_hand(NAME, f"rotator:key:{key.id}", version)
        newer.append(key)
    # What a superseded version keeps while AWSPREVIOUS is elsewhere: its retire label tells that it was current once.
    stamp = f"{world.clock.now() + DAY:%Y%m%dT%H%M%SZ}"
    version = next(v for v, labels in world.labels(NAME).items() if f"rotator:key:{made.id}" in labels)
    world.store.label_by_hand(NAME, f"rotator:retire:{made.id}:{stamp}", version)
    report = revoke(world, incident="INC-1")
    assert report.ok, report.errors
    assert not alive(world, current)
    assert alive(world, made)
    assert all(alive(world, key) for key in newer)
    assert made.id in names_of(world)


def _no_retire_labels(operation: str, _: str) -> None:
    if operation == "add_label":
        raise StoreDenied("denied", action="secretsmanager:UpdateSecretVersionStage")


# ---- old listings ---------------------------------------------------------------------------------------------------


def _rotated_two_minutes_ago() -> tuple[World, SimKey, SimKey]:
    world = World(staleness=timedelta(minutes=5))
    old = world.managed(NAME, left=5 * DAY, age=85 * DAY)
    world.pass_time(timedelta(minutes=10))
    assert world.sweep().ok
    world.pass_time(timedelta(minutes=2))
    current = world.current_key(NAME)
    assert current.id != old.id
    return world, old, current


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("by", ["secret", "old key", "old value", "current key", "current value"])
def test_the_true_current_key_dies_however_old_the_listing_is(strategy: Strategy, by: str) -> None:
    world, old, current = _rotated_two_minutes_ago()
    leak = old if by.startswith("old") else current
    target = {"key_id": leak.id, "account": "main"} if by.endswith("key") else {"leaked": leaked(leak)}
    report = revoke(world, strategy, **({} if by == "secret" else target))
    assert report.ok, report.errors
    assert not alive(world, old)
    only_the_old_one = strategy is REVOKE_ONLY and leak is old and by != "secret"
    assert alive(world, current) is only_the_old_one
    assert world.consumer_works(NAME) is (strategy is not REVOKE_ONLY or only_the_old_one)
    world.pass_time(timedelta(minutes=10))
    calm(world)


@pytest.mark.parametrize("strategy", REPLACING)
def test_the_true_current_key_dies_even_where_replacing_fails(strategy: Strategy) -> None:
    world, old, current = _rotated_two_minutes_ago()
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, method="POST", status=500))
    report = revoke(world, strategy)
    assert not report.ok
    assert not alive(world, old)
    assert not alive(world, current)


@pytest.mark.parametrize("strategy", REPLACING)
def test_an_incident_is_known_again_however_old_the_listing_is(strategy: Strategy) -> None:
    world, _, _ = _rotated_two_minutes_ago()
    assert revoke(world, strategy, incident="INC-1").ok
    new, used = world.current_key(NAME), creates(world)
    world.pass_time(timedelta(seconds=30))
    assert revoke(world, strategy, incident="INC-1").ok
    assert world.current_key(NAME).id == new.id
    assert alive(world, new)
    assert creates(world) == used


def test_a_rollback_that_the_listing_does_not_show_cuts_nobody_off() -> None:
    world = World(staleness=timedelta(minutes=5))
    old, current = in_grace(world)
    world.pass_time(timedelta(minutes=10))
    labels = world.labels(NAME)
    to = next(v for v, have in labels.items() if f"rotator:key:{old.id}" in have)
    world.store.promote(NAME, to, next(v for v, have in labels.items() if "AWSCURRENT" in have))
    world.pass_time(timedelta(minutes=1))
    seen: list[bool] = []
    world.infobip.observers.append(lambda _request, _answer: seen.append(world.consumer_works(NAME)))
    report = revoke(world, key_id=old.id, account="main")  # listed as in grace, and current in truth
    assert report.ok, report.errors
    assert all(seen)
    assert not alive(world, old)
    assert not alive(world, current)
