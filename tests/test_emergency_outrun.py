"""Others promote keys while an emergency is under way: what leaked dies, and what they made does not."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from rotator.engine.emergency import EmergencyReport, Strategy
from rotator.engine.manual import rotate_now
from rotator.sandbox.faults import FaultKind
from rotator.sandbox.state import Options, SimKey
from tests.emergencies import (
    CREATE,
    NAME,
    REPLACE_FIRST,
    REVOKE_FIRST,
    REVOKE_ONLY,
    Tape,
    alive,
    calm,
    fault,
    in_grace,
    leaked,
    revoke,
)
from tests.world import HOUR, World


def outrun(
    world: World, act: Callable[[], object], times: int, at: str = "stage", strategy: Strategy = REPLACE_FIRST
) -> EmergencyReport:
    """An emergency before whose call ``at`` somebody else acts, so often."""
    left, busy = [times], [False]

    def stop(when: str, _: int, what: str) -> None:
        if when == "before" and what == at and left[0] and not busy[0]:
            left[0] -= 1
            busy[0] = True
            act()
            busy[0] = False

    with Tape(world) as tape:
        tape.stop = stop
        return revoke(world, strategy)


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("times", [1, 2, 3, 4])
@pytest.mark.parametrize("reveal", [True, False])
def test_a_key_that_another_rotation_promotes_meanwhile_is_the_replacement(
    strategy: Strategy, times: int, reveal: bool
) -> None:
    world = World(options=Options(reveal=reveal))
    old, current = in_grace(world)
    theirs: list[SimKey] = []

    def rotate_twice() -> None:
        for _ in range(2):
            rotate_now(world.reconciler(), NAME, "at the same time")
            theirs.append(world.current_key(NAME))

    seen: list[bool] = []
    world.infobip.observers.append(lambda _request, _answer: seen.append(world.consumer_works(NAME)))
    at = {REPLACE_FIRST: "stage", REVOKE_FIRST: "describe", REVOKE_ONLY: "describe"}[strategy]
    report = outrun(world, rotate_twice, times, at, strategy)
    assert report.ok, report.errors
    assert theirs
    assert all(alive(world, key) for key in theirs)
    assert not alive(world, old)
    assert not alive(world, current)
    assert world.consumer_works(NAME)
    assert all(seen)  # it was replaced before anything died
    if strategy is REPLACE_FIRST:
        assert world.current_key(NAME).id == theirs[-1].id
        assert report.replaced == (NAME,)
        assert [step.note for step in report.steps if step.what == "promoted"] == [
            "by another rotation, which was faster"
        ]
    world.pass_time(HOUR)
    world.sweep()
    assert all(alive(world, key) for key in theirs)  # their grace has not begun to end
    calm(world)


def test_what_was_made_before_the_listing_could_show_it_and_is_current_dies() -> None:
    world = World()
    old, current = in_grace(world)
    report = outrun(world, lambda: rotate_now(world.reconciler(), NAME, "just before"), 1, "list_secrets")
    assert report.ok, report.errors
    assert [key.id for key in world.live_keys()] == [world.current_key(NAME).id]
    assert not alive(world, old)
    assert not alive(world, current)
    calm(world)


def test_a_key_that_was_named_dies_however_new_it_is() -> None:
    world = World()
    current = world.managed(NAME)
    rotate_now(world.reconciler(), NAME, "this very second")
    made = world.current_key(NAME)
    report = revoke(world, leaked=leaked(made))
    assert report.ok, report.errors
    assert not alive(world, made)
    assert not alive(world, current)
    assert world.consumer_works(NAME)


def _by_hand(world: World, kept: list[SimKey]) -> None:
    kept.append(world.infobip.add_key(world.accounts["main"], "by hand", scopes=["sms:manage"]))
    world.store.put_value_by_hand(NAME, json.dumps({"api_key": kept[-1].value}))


def test_a_value_that_is_stored_by_hand_again_and_again_is_not_cut_off_without_a_replacement() -> None:
    world = World()
    old, current = in_grace(world)
    kept: list[SimKey] = []
    report = outrun(world, lambda: _by_hand(world, kept), 9)
    assert len(kept) == 3
    assert any("was put there after this incident began and stays" in error for error in report.errors), report.errors
    assert world.consumer_works(NAME)
    assert world.current_key(NAME).id == kept[-1].id
    assert not alive(world, old)
    assert not alive(world, current)
    calm(world)


def test_a_value_that_is_stored_by_hand_while_no_key_can_be_made_stays_and_that_is_said() -> None:
    world = World()
    old, current = in_grace(world)
    kept: list[SimKey] = []

    def store_and_break() -> None:
        _by_hand(world, kept)
        fault(world, FaultKind.STATUS_BEFORE, CREATE, status=500)

    report = outrun(world, store_and_break, 1)
    assert not report.ok
    assert world.consumer_works(NAME)
    assert not alive(world, old)
    assert not alive(world, current)
    world.infobip.faults.clear()
    calm(world)
