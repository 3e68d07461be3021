"""Keys that can't be ended: said, tried again, and due at the next sweep where a label can say so."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotator.engine.emergency import Strategy
from rotator.model import ActionKind, Reason
from rotator.policy.labels import key_name
from rotator.sandbox.faults import FaultKind
from rotator.sandbox.state import Options
from tests.emergencies import (
    CREATE,
    DENIED,
    NAME,
    REVOKE_FIRST,
    REVOKE_ONLY,
    UPDATE,
    alive,
    calm,
    fault,
    in_grace,
    names_of,
    refuse,
    revoke,
)
from tests.world import HOUR, World

NOT_DONE = {
    "500": {"kind": FaultKind.STATUS_BEFORE, "status": 500},
    "no answer": {"kind": FaultKind.HANG_BEFORE},
    "refused": {"kind": FaultKind.REFUSE},
    "403": {"kind": FaultKind.STATUS_BEFORE, "status": 403},
    "404": {"kind": FaultKind.STATUS_BEFORE, "status": 404},
    "429": {"kind": FaultKind.THROTTLE},
    "a redirect": {"kind": FaultKind.REDIRECT},
}


@pytest.mark.parametrize("how", NOT_DONE)
def test_a_kill_that_fails_is_reported_and_the_next_sweep_makes_up_for_it(how: str) -> None:
    world = World()
    old, current = in_grace(world)
    fault(world, at=UPDATE, **NOT_DONE[how])  # type: ignore[arg-type]
    report = revoke(world)
    assert not report.ok
    assert report.replaced == (NAME,)
    assert report.revoked == ()
    for key in (old, current):
        assert alive(world, key)
        assert any(key.id in error and "NOT known to be revoked" in error for error in report.errors)
        assert any("next sweep" in error for error in report.errors)
    assert len(world.events_named("revocation.failed", "failure")) == 2
    assert [(s.key_id, s.ok) for s in report.steps if s.what == "revoked"] == [(current.id, False), (old.id, False)]
    assert world.consumer_works(NAME)
    world.infobip.faults.clear()
    world.pass_time(timedelta(minutes=1))
    sweep = world.sweep()
    assert {r.action.key_id for r in sweep.results if r.action.kind is ActionKind.REVOKE} == {old.id, current.id}
    assert {r.action.reason for r in sweep.results} == {Reason.GRACE_OVER}
    assert not alive(world, old)
    assert not alive(world, current)
    calm(world)


def test_a_key_that_nobody_had_adopted_and_that_can_not_be_killed_is_known_to_the_next_sweep() -> None:
    world = World()
    key = world.managed(NAME, adopted=False)
    fault(world, FaultKind.STATUS_BEFORE, UPDATE, status=500)
    report = revoke(world)
    assert report.replaced == (NAME,)
    assert alive(world, key)
    world.infobip.faults.clear()
    world.pass_time(timedelta(minutes=1))
    world.sweep()
    assert not alive(world, key)
    assert [line["key_id"] for line in world.events_named("key.adopted")] == [key.id]
    calm(world)


def test_a_kill_that_fails_once_is_tried_again_before_it_is_reported() -> None:
    world = World()
    old, current = in_grace(world)
    first = fault(world, FaultKind.STATUS_BEFORE, UPDATE, count=1, status=403)
    report = revoke(world)
    assert first.hits == 1
    assert report.ok, report.errors
    assert set(report.revoked) == {old.id, current.id}


def test_a_kill_whose_answers_are_lost_is_looked_up() -> None:
    world = World()
    _, current = in_grace(world)
    fault(world, FaultKind.DROP_AFTER, UPDATE)
    report = revoke(world)
    assert report.ok, report.errors
    assert current.id in report.revoked
    assert not alive(world, current)


@pytest.mark.parametrize("strategy", [REVOKE_ONLY, REVOKE_FIRST])
def test_a_current_key_that_can_not_be_killed_is_not_left_to_a_sweep_that_would_not_know(strategy: Strategy) -> None:
    world = World()
    _, current = in_grace(world)
    fault(world, FaultKind.STATUS_BEFORE, UPDATE, status=500)
    fault(world, FaultKind.STATUS_BEFORE, CREATE, status=500)
    report = revoke(world, strategy)
    assert any(current.id in error and "Repeat the command" in error for error in report.errors)
    assert not any(current.id in error and "next sweep" in error for error in report.errors)
    world.infobip.faults.clear()
    assert revoke(world, REVOKE_ONLY).ok
    assert not alive(world, current)


def test_an_orphan_that_can_not_be_killed_is_reported() -> None:
    world = World()
    world.managed(NAME)
    name = key_name(NAME, world.store.peek(NAME).arn, "default", world.new_id())
    orphan = world.infobip.add_key(world.accounts["main"], name)
    fault(world, FaultKind.STATUS_BEFORE, UPDATE, status=500)
    report = revoke(world, key_id=orphan.id, account="main")
    assert not report.ok
    assert orphan.id in report.errors[0]
    world.infobip.faults.clear()
    world.pass_time(HOUR)
    calm(world)
    assert not alive(world, orphan)


def test_the_daily_limit_of_updates_is_reported() -> None:
    world = World(options=Options(daily_updates=0))
    world.managed(NAME)
    report = revoke(world)
    assert not report.ok
    assert any("429" in error for error in report.errors)


# ---- the rest -------------------------------------------------------------------------------------------------------


def test_a_secret_that_can_not_be_looked_at_is_killed_by_its_listing() -> None:
    world = World()
    old, current = in_grace(world)
    refuse("describe", DENIED)(world)
    report = revoke(world, REVOKE_ONLY)
    assert set(report.revoked) == {old.id, current.id}
    assert not report.ok
    assert any("labels" in error for error in report.errors)


def test_labels_that_can_not_be_taken_off_are_left_to_the_next_sweep() -> None:
    world = World()
    _, current = in_grace(world)
    refuse("remove_label", DENIED)(world)
    report = revoke(world)
    assert any("labels of prod/sms were not cleaned" in error for error in report.errors)
    assert not alive(world, current)
    world.store.before = None
    calm(world)


def test_credentials_that_are_refused_are_said_and_change_nothing() -> None:
    world = World()
    old, current = in_grace(world)
    before = world.labels(NAME)
    fault(world, FaultKind.STATUS_BEFORE, ("GET", "api-keys"), status=401)
    fault(world, FaultKind.STATUS_BEFORE, CREATE, status=401)
    fault(world, FaultKind.STATUS_BEFORE, UPDATE, status=401)
    report = revoke(world, incident="INC-1")
    assert not report.ok
    assert alive(world, old)
    assert alive(world, current)
    assert world.current_key(NAME).id == current.id
    # The one in grace is due at the next sweep; the current one only by repeating the command.
    assert names_of(world) == {old.id, current.id}
    assert world.labels(NAME) != before
    world.infobip.faults.clear()
    assert revoke(world, incident="INC-1").ok
    calm(world)


def test_an_unreadable_management_secret_is_said() -> None:
    world = World()
    _, current = in_grace(world)
    world.store.deny_kms("infobip/main")
    report = revoke(world)
    assert not report.ok
    assert any("infobip/main" in error for error in report.errors)
    assert alive(world, current)


def test_a_label_that_can_not_be_set_keeps_no_other_key_from_being_reported() -> None:
    """Neither ends: for each it is said that nobody will try again by himself, and what died is still verified."""
    world = World()
    old, current = in_grace(world)
    fault(world, FaultKind.STATUS_BEFORE, UPDATE, status=500)
    refuse("add_label", DENIED)(world)
    report = revoke(world)
    assert report.replaced == (NAME,)
    assert [(s.key_id, s.ok) for s in report.steps if s.what == "revoked"] == [(current.id, False), (old.id, False)]
    for key in (old, current):
        (said,) = (error for error in report.errors if key.id in error)
        assert "NOT known to be revoked" in said
        assert "Repeat the command" in said
        assert "next sweep" not in said
    assert len(world.events_named("revocation.failed", "failure")) == 2
