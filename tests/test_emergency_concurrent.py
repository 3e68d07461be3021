"""Others who are, or were, at work on the same secret: killed runs, sweeps, people, a second command."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from rotator.engine.emergency import Strategy
from rotator.policy.emergency_ids import made_for_incident
from rotator.sandbox.faults import Fault, FaultKind
from rotator.sandbox.state import SimKey
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
    plan_for,
    revoke,
)
from tests.world import DAY, HOUR, World

REPLACING = [REPLACE_FIRST, REVOKE_FIRST]


def _killed_sweep(world: World, at: str) -> None:
    """A rotation that is killed once `at` has taken effect."""

    def stop(when: str, _: int, what: str) -> None:
        if when == "after" and what == at:
            raise Killed

    with Tape(world) as tape:
        tape.stop = stop
        with pytest.raises(Killed):
            world.sweep()


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_key_that_a_killed_run_stored_and_did_not_promote_dies_too(strategy: Strategy) -> None:
    world = World()
    current = world.managed(NAME, left=5 * DAY, age=85 * DAY)
    _killed_sweep(world, "stage")
    (pending,) = set(world.infobip.keys()) - {current}
    world.pass_time(timedelta(minutes=20))
    plan = plan_for(world, strategy, secret=NAME)
    assert (pending.id, "pending") in [(revocation.key_id, revocation.role) for revocation in plan.revocations]
    report = revoke(world, strategy)
    assert report.ok, report.errors
    assert not alive(world, current)
    assert not alive(world, pending)
    calm(world)


def test_the_next_rotations_pending_key_is_not_the_incidents() -> None:
    world = World()
    in_grace(world)
    assert revoke(world, incident="INC-1").ok
    made = world.current_key(NAME)
    world.store.tag(NAME, {"rotator:max-age": "12h"})
    world.pass_time(20 * HOUR)
    _killed_sweep(world, "stage")
    (pending,) = (key for key in world.live_keys() if key.id != made.id)
    report = revoke(world, incident="INC-1")
    assert (report.ok, report.steps) == (True, [])
    assert alive(world, made)
    assert alive(world, pending)
    world.sweep()
    assert world.current_key(NAME).id == pending.id


@pytest.mark.parametrize("strategy", list(Strategy))
def test_an_old_value_that_somebody_puts_back_is_known_by_the_label_that_it_left(strategy: Strategy) -> None:
    world = World()
    old, current = in_grace(world)
    world.store.put_value_by_hand(NAME, json.dumps({"api_key": old.value}))
    report = revoke(world, strategy)
    assert report.ok, report.errors
    assert not alive(world, old)
    assert not alive(world, current)
    assert world.consumer_works(NAME) is (strategy is not REVOKE_ONLY)
    calm(world)


def test_a_pending_key_that_can_not_be_ended_is_never_promoted() -> None:
    world = World()
    current = world.managed(NAME, left=5 * DAY, age=85 * DAY)
    _killed_sweep(world, "stage")
    (pending,) = set(world.infobip.keys()) - {current}
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, method="PUT", path=pending.id, count=None, status=500))
    report = revoke(world, REVOKE_ONLY)
    assert not report.ok
    world.infobip.faults.clear()
    world.pass_time(timedelta(minutes=1))
    seen: list[bool] = []
    world.infobip.observers.append(lambda _request, _answer: seen.append(world.current_key(NAME).id == pending.id))
    calm(world)
    assert not any(seen)
    assert not alive(world, pending)


@pytest.mark.parametrize("at", ["GET keys", "POST keys", "stage", "probe"])
def test_a_value_that_somebody_stores_meanwhile_is_replaced_too(at: str) -> None:
    world = World()
    _, current = in_grace(world)
    by_hand: list[SimKey] = []

    def stop(when: str, _: int, what: str) -> None:
        if when == "after" and what == at and not by_hand:
            key = world.infobip.add_key(world.accounts["main"], "by hand", scopes=["sms:manage"])
            by_hand.append(key)
            world.store.put_value_by_hand(NAME, json.dumps({"api_key": key.value}))

    with Tape(world) as tape:
        tape.stop = stop
        report = revoke(world)
    assert report.ok, report.errors
    assert not alive(world, current)
    assert not alive(world, by_hand[0])
    assert world.consumer_works(NAME)
    calm(world)


def test_the_new_key_lives_on_where_somebody_stores_another_one_right_after_it() -> None:
    world = World()
    _, current = in_grace(world)
    by_hand: list[SimKey] = []
    made: list[SimKey] = []

    def stop(when: str, _: int, what: str) -> None:
        if when == "after" and what == "promote" and not by_hand:
            made.append(world.current_key(NAME))
            by_hand.append(world.infobip.add_key(world.accounts["main"], "by hand", scopes=["sms:manage"]))
            world.store.put_value_by_hand(NAME, json.dumps({"api_key": by_hand[0].value}))

    with Tape(world) as tape:
        tape.stop = stop
        report = revoke(world)
    assert report.ok, report.errors
    assert not alive(world, current)
    assert alive(world, made[0])  # consumers may have read it: it gets its grace from the next sweep
    assert alive(world, by_hand[0])
    assert world.consumer_works(NAME)
    calm(world)


def test_a_secret_that_was_listed_with_the_same_key_and_has_another_one_by_now_is_skipped_rows() -> None:
    world = World(staleness=timedelta(minutes=5))
    key = world.managed(NAME)
    world.managed("prod/copy")
    version = world.store.put_value_by_hand("prod/copy", json.dumps({"api_key": key.value}))
    world.store.label_by_hand("prod/copy", f"rotator:key:{key.id}", version)
    world.pass_time(timedelta(minutes=6))
    own = world.infobip.add_key(world.accounts["main"], "its own", scopes=["sms:manage"])
    version = world.store.put_value_by_hand("prod/copy", json.dumps({"api_key": own.value}))
    world.store.label_by_hand("prod/copy", f"rotator:key:{own.id}", version)
    world.pass_time(timedelta(minutes=1))
    report = revoke(world)
    assert report.ok, report.errors
    assert report.replaced == (NAME,)
    assert world.current_key("prod/copy").id == own.id
    assert alive(world, own)
    assert not alive(world, key)


@pytest.mark.parametrize("strategy", REPLACING)
@pytest.mark.parametrize("call", range(1, 16))
def test_a_sweep_in_the_middle_of_an_emergency_does_no_harm(strategy: Strategy, call: int) -> None:
    world = World()
    current = world.managed(NAME, left=5 * DAY, age=85 * DAY)  # due: the sweep rotates it
    done: list[int] = []

    def stop(when: str, number: int, _: str) -> None:
        if when == "before" and number == call and not done:
            done.append(number)
            world.sweep()

    with Tape(world) as tape:
        tape.stop = stop
        report = revoke(world, strategy)
    assert report.ok, report.errors
    assert not alive(world, current)
    assert world.consumer_works(NAME)
    calm(world)


def test_two_commands_for_one_incident_end_with_one_key() -> None:
    world = World()
    _, current = in_grace(world)
    done: list[int] = []

    def stop(when: str, _: int, what: str) -> None:
        if when == "before" and what == "stage" and not done:
            done.append(1)
            assert revoke(world, incident="INC-1").ok

    with Tape(world) as tape:
        tape.stop = stop
        report = revoke(world, incident="INC-1")
    assert report.ok, report.errors
    assert not alive(world, current)
    version = next(v for v, labels in world.labels(NAME).items() if "AWSCURRENT" in labels)
    assert made_for_incident(world.store.peek(NAME).arn, "INC-1", version)
    assert [key.id for key in world.live_keys()] == [world.current_key(NAME).id]
    calm(world)
