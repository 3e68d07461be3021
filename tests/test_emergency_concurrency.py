"""An emergency is repeated, killed at every call, or meets sweeps, people and other commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any

import pytest

from rotator.engine.emergency import Emergency, EmergencyReport, Strategy, Target
from rotator.engine.rotate_now import rotate_now
from rotator.errors import StoreDenied
from rotator.policy.emergency_ids import made_for_incident, made_in_emergency
from rotator.sandbox.clocks import OffsetClock
from rotator.sandbox.state import Options, SimKey
from rotator.telemetry.audit import Trigger
from tests import leaks
from tests.emergencies import (
    CREATE,
    REPLACE_FIRST,
    REVOKE_FIRST,
    REVOKE_ONLY,
    UPDATE,
    EmergencyWorld,
    Killed,
    Tape,
    leaked,
    named,
)
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import DAY, HOUR, NAME

# ---- repeated, and old listings -------------------------------------------------------------------------------------


REPLACING = [REPLACE_FIRST, REVOKE_FIRST]


def creates(world: EmergencyWorld) -> int:
    return world.infobip.creates_used(world.accounts["main"])


@pytest.mark.parametrize("strategy", REPLACING)
@pytest.mark.parametrize("incident", [None, "INC-9"])
def test_repeat_revokes_what_was_left(world: EmergencyWorld, strategy: Strategy, incident: str | None) -> None:
    old, current = world.in_grace()
    world.fault(FaultKind.STATUS_BEFORE, UPDATE, status=500)
    assert not world.revoke(strategy, incident=incident).ok
    world.infobip.faults.clear()
    new, used = world.current_key(NAME), creates(world)
    report = world.revoke(strategy, incident=incident)
    assert set(report.revoked) == {old.id, current.id}
    assert (world.current_key(NAME).id, creates(world)) == (new.id, used)
    world.settled(report, dead=[old, current])


@pytest.mark.parametrize("strategy", REPLACING)
@pytest.mark.parametrize("by", ["secret", "key", "value"])
@pytest.mark.parametrize("incident", [None, "lambda {}", "INC-9"])
def test_repeat_makes_one_replacement(world: EmergencyWorld, strategy: Strategy, by: str, incident: str | None) -> None:
    """With the same incident, or within ten minutes: without one, or with one that the handler made up."""
    old, current = world.in_grace()
    seen: list[tuple[str, int]] = []
    for press in range(3):
        name = incident and incident.format(press)
        command = Emergency(world.services(Trigger.EMERGENCY), "leaked", name, chosen=incident == "INC-9")
        plan = command.plan(Target(**named(by, current)), strategy)
        report = command.execute(plan)
        assert report.ok
        new = [step for step in report.steps if "already disabled" not in step.note]
        assert (new == []) is bool(press)
        seen.append((world.current_key(NAME).id, creates(world)))
        if press and by == "secret":
            assert any("INC-9" if incident == "INC-9" else "--incident" in note for note in plan.notes)
        world.pass_time(timedelta(minutes=4))
    assert len(set(seen)) == 1
    assert not world.works(current)
    assert world.works(old) is (by != "secret")
    world.calm()


def test_lost_replacement_is_recognized() -> None:
    world = EmergencyWorld(options=Options(reveal=False))
    old, current = world.in_grace()
    world.fault(FaultKind.DROP_AFTER, CREATE, count=1)
    assert world.revoke(incident="INC-1").ok
    new, used = world.current_key(NAME), creates(world)
    report = world.revoke(incident="INC-1")
    assert (report.steps, world.current_key(NAME).id, creates(world)) == ([], new.id, used)
    world.settled(report, dead=[old, current])


def test_later_repeat_is_another_emergency(world: EmergencyWorld) -> None:
    world.in_grace()

    def ends_the_current_one(strategy: Strategy = REPLACE_FIRST, **target: Any) -> bool:
        before = world.current_key(NAME)
        assert world.revoke(strategy, **target).ok
        return not world.works(before)

    assert ends_the_current_one()
    world.pass_time(timedelta(minutes=10, seconds=1))
    assert ends_the_current_one()
    assert ends_the_current_one(key_id=world.current_key(NAME).id, account="main")
    assert ends_the_current_one(leaked=leaked(world.current_key(NAME)))
    assert ends_the_current_one(incident="INC-2")
    assert not ends_the_current_one()
    assert ends_the_current_one(REVOKE_ONLY)


@pytest.mark.parametrize("by", ["key", "value"])
@pytest.mark.parametrize("rotated", [False, True])
def test_naming_replacement_revokes_it(world: EmergencyWorld, by: str, rotated: bool) -> None:
    """Also while it is in grace: it is no replacement for itself."""
    world.in_grace()
    assert world.revoke(incident="INC-1").ok
    for _ in range(2):
        new = world.current_key(NAME)
        if rotated:
            rotate_now(world.services(), NAME, "x")
        report = world.revoke(incident="INC-1", **named(by, new))
        assert report.ok, report.errors
        assert not world.works(new)
        assert world.consumer_works(NAME)
    world.calm()


def test_earlier_incident_revokes_older_keys(world: EmergencyWorld) -> None:
    _, current = world.in_grace()
    world.fault(FaultKind.STATUS_BEFORE, UPDATE, status=500)
    world.store.before = _no_retire_labels
    world.revoke(incident="INC-1")
    world.infobip.faults.clear()
    world.store.before = None
    made = world.current_key(NAME)
    newer = []
    for _ in range(2):
        world.pass_time(timedelta(seconds=5))
        key = world.infobip.add_key(world.accounts["main"], "by hand")
        world.put(NAME, {"api_key": key.value}, ["AWSCURRENT", f"rotator:key:{key.id}"])
        newer.append(key)
    # What a superseded version keeps while AWSPREVIOUS is elsewhere: its retire label tells that it was current once.
    stamp = f"{world.clock.now() + DAY:%Y%m%dT%H%M%SZ}"
    world.store.label_by_hand(NAME, f"rotator:retire:{made.id}:{stamp}", world.version_of(NAME, made))
    report = world.revoke(incident="INC-1")
    assert report.ok, report.errors
    assert not world.works(current)
    assert world.works(made)
    assert all(world.works(key) for key in newer)
    assert made.id in world.names_of()


def _no_retire_labels(operation: str, _: str) -> None:
    if operation == "add_label":
        raise StoreDenied("denied", action="secretsmanager:UpdateSecretVersionStage")


# ---- old listings ---------------------------------------------------------------------------------------------------


def _rotated_two_minutes_ago() -> tuple[EmergencyWorld, SimKey, SimKey]:
    world = EmergencyWorld(staleness=timedelta(minutes=5))
    old = world.secret(NAME, left=5 * DAY)
    world.pass_time(timedelta(minutes=10))
    assert world.sweep().ok
    world.pass_time(timedelta(minutes=2))
    current = world.current_key(NAME)
    assert current.id != old.id
    return world, old, current


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("by", ["secret", "old key", "old value", "current key", "current value"])
def test_stale_listing_revokes_true_current(strategy: Strategy, by: str) -> None:
    world, old, current = _rotated_two_minutes_ago()
    report = world.revoke(strategy, **named(by.split()[-1], old if by.startswith("old") else current))
    assert report.ok, report.errors
    suspects = {"secret": [old, current], "old": [old], "current": [current]}[by.split()[0]]
    assert [key for key in (old, current) if not world.works(key)] == suspects
    assert world.consumer_works(NAME) is (strategy is not REVOKE_ONLY or current not in suspects)
    world.pass_time(timedelta(minutes=10))
    world.calm()


@pytest.mark.parametrize("strategy", REPLACING)
def test_revoked_where_replacing_fails_too(strategy: Strategy) -> None:
    world, old, current = _rotated_two_minutes_ago()
    world.fault(FaultKind.STATUS_BEFORE, CREATE, status=500)
    assert not world.revoke(strategy).ok
    assert not world.works(old, current)


@pytest.mark.parametrize("strategy", REPLACING)
def test_stale_listing_recognizes_incident(strategy: Strategy) -> None:
    world, _, _ = _rotated_two_minutes_ago()
    assert world.revoke(strategy, incident="INC-1").ok
    new, used = world.current_key(NAME), creates(world)
    world.pass_time(timedelta(seconds=30))
    assert world.revoke(strategy, incident="INC-1").ok
    assert world.current_key(NAME).id == new.id
    assert world.works(new)
    assert creates(world) == used


def test_unlisted_rollback_harms_no_consumer() -> None:
    world = EmergencyWorld(staleness=timedelta(minutes=5))
    old, current = world.in_grace()
    world.pass_time(timedelta(minutes=10))
    world.store.promote(NAME, world.version_of(NAME, old), world.version_of(NAME, current))
    world.pass_time(timedelta(minutes=1))
    seen: list[bool] = []
    world.infobip.observers.append(lambda _request, _answer: seen.append(world.consumer_works(NAME)))
    report = world.revoke(key_id=old.id, account="main")  # listed as in grace, and current in truth
    assert report.ok, report.errors
    assert all(seen)
    assert [world.works(key) for key in (old, current)] == [False, True]


# ---- other processes on the same secret -----------------------------------------------------------------------------


def meanwhile(
    world: EmergencyWorld,
    act: Callable[[], object],
    at: str | int,
    strategy: Strategy = REPLACE_FIRST,
    *,
    when: str = "before",
    times: int = 1,
    incident: str | None = None,
) -> EmergencyReport:
    """An emergency, and somebody acts before or after its call ``at`` (what it is, or which one), so often."""
    left, busy = [times], [False]

    def stop(moment: str, number: int, what: str) -> None:
        if moment == when and at in (what, number) and left[0] and not busy[0]:
            left[0] -= 1
            busy[0] = True
            act()
            busy[0] = False

    with Tape(world) as tape:
        tape.stop = stop
        return world.revoke(strategy, incident=incident)


def _by_hand(world: EmergencyWorld, kept: list[SimKey], age: timedelta = timedelta(0)) -> None:
    begin = world.clock.now() - age
    kept.append(world.infobip.add_key(world.accounts["main"], "by hand", scopes=["sms:manage"], valid_from=begin))
    world.store.put_value_by_hand(NAME, json.dumps({"api_key": kept[-1].value}))


def _killed_sweep(world: EmergencyWorld, at: str) -> None:
    """A rotation that is killed once `at` has taken effect."""

    def stop(when: str, _: int, what: str) -> None:
        if when == "after" and what == at:
            raise Killed

    with Tape(world) as tape:
        tape.stop = stop
        with pytest.raises(Killed):
            world.sweep()


@pytest.mark.parametrize("strategy", list(Strategy))
def test_killed_runs_pending_key_is_revoked(world: EmergencyWorld, strategy: Strategy) -> None:
    current = world.secret(NAME, left=5 * DAY)
    _killed_sweep(world, "stage")
    (pending,) = set(world.infobip.keys()) - {current}
    world.pass_time(timedelta(minutes=20))
    plan = world.plan_for(strategy, secret=NAME)
    assert (pending.id, "pending") in [(suspect.key.id, suspect.role) for suspect in plan.suspects]
    report = world.revoke(strategy)
    assert report.ok, report.errors
    assert not world.works(current, pending)
    world.calm()


def test_later_pending_key_is_not_incidents(world: EmergencyWorld) -> None:
    world.in_grace()
    assert world.revoke(incident="INC-1").ok
    made = world.current_key(NAME)
    world.store.tag(NAME, {"rotator:max-age": "12h"})
    world.pass_time(20 * HOUR)
    _killed_sweep(world, "stage")
    (pending,) = (key for key in world.live() if key.id != made.id)
    report = world.revoke(incident="INC-1")
    assert (report.ok, report.steps) == (True, [])
    assert world.works(made)
    assert world.works(pending)
    world.sweep()
    assert world.current_key(NAME).id == pending.id


@pytest.mark.parametrize("strategy", list(Strategy))
def test_restored_old_value_is_recognized(world: EmergencyWorld, strategy: Strategy) -> None:
    old, current = world.in_grace()
    world.store.put_value_by_hand(NAME, json.dumps({"api_key": old.value}))
    world.settled(world.revoke(strategy), dead=[old, current], works=strategy is not REVOKE_ONLY)


def test_unrevocable_pending_is_not_promoted(world: EmergencyWorld) -> None:
    current = world.secret(NAME, left=5 * DAY)
    _killed_sweep(world, "stage")
    (pending,) = set(world.infobip.keys()) - {current}
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, method="PUT", path=pending.id, count=None, status=500))
    report = world.revoke(REVOKE_ONLY)
    assert not report.ok
    world.infobip.faults.clear()
    world.pass_time(timedelta(minutes=1))
    seen: list[bool] = []
    world.infobip.observers.append(lambda _request, _answer: seen.append(world.current_key(NAME).id == pending.id))
    world.calm()
    assert not any(seen)
    assert not world.works(pending)


@pytest.mark.parametrize("age", [timedelta(0), HOUR])
@pytest.mark.parametrize("at", ["read_content", "POST keys", "stage", "probe"])
def test_newer_pasted_key_stays(world: EmergencyWorld, at: str, age: timedelta) -> None:
    """A person who creates a new key at that moment has replaced the leaked one. An older key may have leaked too."""
    _, current = world.in_grace()
    by_hand: list[SimKey] = []
    report = meanwhile(world, lambda: _by_hand(world, by_hand, age), at, when="after")
    world.settled(report, dead=[current, *(by_hand if age else [])], kept=[] if age else by_hand)


def test_value_stored_after_keeps_new_key(world: EmergencyWorld) -> None:
    """Consumers may have read it: it gets its grace from the next sweep."""
    _, current = world.in_grace()
    kept: list[SimKey] = []

    def store() -> None:
        kept.append(world.current_key(NAME))
        _by_hand(world, kept)

    report = meanwhile(world, store, "promote", when="after")
    world.settled(report, dead=[current], kept=kept)


def test_copy_with_another_key_is_skipped() -> None:
    world = EmergencyWorld(staleness=timedelta(minutes=5))
    key = world.secret(NAME)
    world.secret("prod/copy")
    world.put("prod/copy", {"api_key": key.value}, ["AWSCURRENT", f"rotator:key:{key.id}"])
    world.pass_time(timedelta(minutes=6))
    own = world.infobip.add_key(world.accounts["main"], "its own", scopes=["sms:manage"])
    world.put("prod/copy", {"api_key": own.value}, ["AWSCURRENT", f"rotator:key:{own.id}"])
    world.pass_time(timedelta(minutes=1))
    report = world.revoke()
    assert report.ok, report.errors
    assert report.replaced == (NAME,)
    assert world.current_key("prod/copy").id == own.id
    assert world.works(own)
    assert not world.works(key)


@pytest.mark.parametrize("strategy", REPLACING)
@pytest.mark.parametrize("call", range(1, 16))
def test_sweep_during_emergency(world: EmergencyWorld, strategy: Strategy, call: int) -> None:
    current = world.secret(NAME, left=5 * DAY)  # due: the sweep rotates it
    world.settled(meanwhile(world, world.sweep, call, strategy), dead=[current])


def test_two_commands_end_with_one_key(world: EmergencyWorld) -> None:
    _, current = world.in_grace()
    report = meanwhile(world, lambda: world.revoke(incident="INC-1"), "stage", incident="INC-1")
    (key,) = world.live()
    assert key.id == world.current_key(NAME).id
    assert made_for_incident(world.store.peek(NAME).arn, "INC-1", world.version_of(NAME, key))
    world.settled(report, dead=[current], kept=[key])


# ---- another process promotes a key meanwhile -----------------------------------------------------------------------


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("times", [1, 2, 3, 4])
@pytest.mark.parametrize("reveal", [True, False])
def test_other_rotations_key_replaces(strategy: Strategy, times: int, reveal: bool) -> None:
    world = EmergencyWorld(options=Options(reveal=reveal))
    old, current = world.in_grace()
    theirs: list[SimKey] = []

    def rotate_twice() -> None:
        for _ in range(2):
            rotate_now(world.services(), NAME, "at the same time")
            theirs.append(world.current_key(NAME))

    seen: list[bool] = []
    world.infobip.observers.append(lambda _request, _answer: seen.append(world.consumer_works(NAME)))
    at = {REPLACE_FIRST: "stage", REVOKE_FIRST: "PUT key", REVOKE_ONLY: "PUT key"}[strategy]
    report = meanwhile(world, rotate_twice, at, strategy, times=times)
    assert report.ok, report.errors
    assert theirs
    assert all(world.works(key) for key in theirs)
    assert not world.works(old, current)
    assert world.consumer_works(NAME)
    assert all(seen)  # it was replaced before anything died
    if strategy is REPLACE_FIRST:
        assert world.current_key(NAME).id == theirs[-1].id
        assert report.replaced == (NAME,)
        steps = [(step.what, step.key_id) for step in report.steps if step.what in ("created", "promoted")]
        assert steps == [("promoted", theirs[-1].id)]
    world.pass_time(HOUR)
    world.sweep()
    assert all(world.works(key) for key in theirs)  # their grace has not begun to end
    world.calm()


@pytest.mark.parametrize("offset", [-4, 4], ids=["behind", "ahead"])
@pytest.mark.parametrize("when", ["before the command", "during it"])
@pytest.mark.parametrize("by", ["secret", "key"])
def test_replacement_by_infobips_clock(world: EmergencyWorld, by: str, when: str, offset: int) -> None:
    """Infobip's clock differs from this machine's: what another rotation created since the start is the replacement."""
    old = world.secret(NAME)
    world.infobip.clock = world.infobip.state.clock = OffsetClock(world.clock, timedelta(minutes=offset))
    command = world.emergency()
    plan = command.plan(Target(**named(by, old)), REPLACE_FIRST)

    def rotate(_operation: str = "", _name: str = "") -> None:
        world.store.before = None
        rotate_now(world.services(), NAME, "at the same time")
        world.pass_time(timedelta(minutes=1))

    if when == "during it":
        world.store.before = rotate
    else:
        rotate()
    report = command.execute(plan)
    new = world.current_key(NAME)
    assert report.revoked == (old.id,)
    assert world.works(new)
    assert report.replaced == ((NAME,) if when == "during it" else ())
    assert any(new.id in note for note in report.notes) is (when != "during it")


def test_newer_current_key_is_revoked(world: EmergencyWorld) -> None:
    old, current = world.in_grace()
    report = meanwhile(world, lambda: rotate_now(world.services(), NAME, "just before"), "list_secrets")
    assert report.ok, report.errors
    assert [key.id for key in world.live()] == [world.current_key(NAME).id]
    assert not world.works(old, current)
    world.calm()


def test_named_key_is_revoked_at_any_age(world: EmergencyWorld) -> None:
    current = world.secret(NAME)
    rotate_now(world.services(), NAME, "this very second")
    made = world.current_key(NAME)
    report = world.revoke(leaked=leaked(made))
    assert report.ok, report.errors
    assert [world.works(key) for key in (made, current)] == [False, True]
    assert world.consumer_works(NAME)


@pytest.mark.parametrize("times", [2, 99])
def test_old_keys_pasted_again_are_revoked(world: EmergencyWorld, times: int) -> None:
    """After a few tries this gives up on a replacement, never on the revocation."""
    old, current = world.in_grace()
    pasted: list[SimKey] = []
    report = meanwhile(world, lambda: _by_hand(world, pasted, HOUR), "stage", times=times)
    assert not world.works(old, current)
    assert report.ok is world.consumer_works(NAME) is (times == 2)
    assert times == 99 or not world.works(*pasted)
    world.sweep()
    assert world.consumer_works(NAME)


# ---- killed at every call -------------------------------------------------------------------------------------------


CASES = [
    *((strategy, "secret") for strategy in Strategy),
    *((REPLACE_FIRST, by) for by in ("value", "old key", "unadopted secret")),
]


def scene(by: str, *, reveal: bool = True) -> tuple[EmergencyWorld, SimKey, SimKey, dict[str, Any]]:
    """A secret with a key in grace, or one that nobody adopted yet; and what is named."""
    world = EmergencyWorld(options=Options(reveal=reveal))
    if by == "unadopted secret":
        key = world.secret(NAME, adopted=False)
        return world, key, key, {"secret": NAME}
    old, current = world.in_grace()
    return world, old, current, named(by.removeprefix("old "), old if by == "old key" else current)


@cache
def length(strategy: Strategy, by: str) -> int:
    """How many calls the undisturbed command makes."""
    world, _, _, target = scene(by)
    with Tape(world) as tape:
        assert world.revoke(strategy, incident="INC-1", **target).ok
    return len(tape.calls)


def killed(world: EmergencyWorld, strategy: Strategy, target: dict[str, Any], call: int, when: str) -> bool:
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
            world.revoke(strategy, incident="INC-1", **target)
        except Killed:
            died = True
    assert not cut_off, cut_off
    assert not leaks.find(world.stream.getvalue())
    return died


def made_here(world: EmergencyWorld) -> list[set[str]]:
    """The labels of the versions that an emergency stored."""
    entry = world.store.peek(NAME)
    return [set(labels) for version, labels in entry.versions.items() if made_in_emergency(entry.arn, version)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "then",
    ["it is repeated", pytest.param("it is killed again, and repeated", marks=pytest.mark.chaos), "sweeps go on"],
)
@pytest.mark.parametrize("when", [pytest.param("before", marks=pytest.mark.chaos), "after"])
@pytest.mark.parametrize(("strategy", "by"), CASES)
def test_killed_at_any_call(strategy: Strategy, by: str, when: str, then: str) -> None:
    twice = then == "it is killed again, and repeated"
    for call in range(1, length(strategy, by) + 1, 4 if twice else 1):
        world, old, current, target = scene(by, reveal=not twice)
        assert killed(world, strategy, target, call, when), call
        stored = made_here(world)
        promoted = world.current_key(NAME).id if any("AWSCURRENT" in labels for labels in stored) else None
        world.pass_time(timedelta(minutes=1))
        if then == "sweeps go on":
            working: list[bool] = []
            world.infobip.observers.append(lambda _r, _a, w=world, seen=working: seen.append(w.consumer_works(NAME)))  # type: ignore[misc]
            world.sweep()
            world.pass_time(timedelta(minutes=1))
            world.sweep()
            assert world.consumer_works(NAME), call
            # Once a replacement was stored, no grace is given any more: what it replaced is dead within two sweeps.
            if strategy is REPLACE_FIRST:
                assert all(working), call
                assert not (stored and world.works(current)), call
            world.pass_time(HOUR)
            world.sweep()
            assert {key.id for key in world.live()} <= {old.id, current.id, world.current_key(NAME).id}, call
        else:
            if twice:
                killed(world, strategy, target, 5 + call % 3, "after")
                world.pass_time(timedelta(minutes=1))
            report = world.revoke(strategy, incident="INC-1", **target)
            assert report.ok, (call, report.errors)
            assert by == "value" or not world.works(old), call
            assert by == "old key" or not world.works(current), call
            assert strategy is REVOKE_ONLY or world.consumer_works(NAME), call
            assert promoted in (None, world.current_key(NAME).id), f"a second replacement after call {call}"
        world.calm()
        assert len(world.live()) == 1, call


def test_killed_create_is_revoked_as_orphan() -> None:
    undisturbed, _, _, target = scene("secret", reveal=False)
    with Tape(undisturbed) as tape:
        undisturbed.revoke(incident="INC-1", **target)
    world, _, _, target = scene("secret", reveal=False)
    assert killed(world, REPLACE_FIRST, target, tape.calls.index("POST keys") + 1, "after")
    (orphan,) = [key for key in world.live() if key.created_at == world.clock.now()]
    assert world.revoke(incident="INC-1").ok
    assert world.current_key(NAME).id != orphan.id
    assert world.current_key(NAME).name != orphan.name  # no name is used twice, so the two can be told apart
    world.pass_time(timedelta(minutes=31))
    world.sweep()
    assert not world.works(orphan)


def test_killed_between_two_holders() -> None:
    """Between the first secret's replacement and the second's."""
    for call in range(1, 40):
        world = EmergencyWorld()
        key = world.secret(NAME)
        world.secret("prod/other", left=200 * DAY, lifetime=265 * DAY)
        world.store.copy_secret_with_tags(NAME, "prod/copy")
        world.sweep()
        if not killed(world, REPLACE_FIRST, {"secret": NAME}, call, "after"):
            assert call > 20
            return
        report = world.revoke(incident="INC-1")
        assert report.ok, (call, report.errors)
        assert not world.works(key), call
        for name in (NAME, "prod/copy", "prod/other"):
            assert world.consumer_works(name), (call, name)
    raise AssertionError("the command never ended")
