"""What is on record: the request, every change twice, the result, the events; and no secret anywhere."""

from __future__ import annotations

import io
from collections import Counter
from datetime import timedelta

import pytest

from rotator.engine.emergency import Strategy
from rotator.policy.emergency_ids import emergency_version_id, made_for_incident, made_in_emergency
from rotator.sandbox.faults import Fault, FaultKind
from rotator.sandbox.state import Options
from tests import leaks
from tests.emergencies import NAME, REASON, REPLACE_FIRST, REVOKE_ONLY, Tape, in_grace, leaked, plan_for, revoke
from tests.world import World

CHANGES = {
    "POST keys": "key.created",
    "PUT key": "key.revoked",
    "stage": "secret.staged",
    "promote": "secret.promoted",
    "remove_label": "secret.unlabelled",
}


def since(world: World, stream_length: int) -> list[dict[str, object]]:
    return world.lines()[stream_length:]


@pytest.mark.parametrize("strategy", list(Strategy))
def test_every_change_is_written_twice_with_reason_and_incident(strategy: Strategy) -> None:
    world = World()
    in_grace(world)
    before = len(world.lines())
    with Tape(world) as tape:
        assert revoke(world, strategy, incident="INC-4711").ok
    lines = since(world, before)
    assert (lines[0]["event"], lines[0]["outcome"]) == ("emergency.requested", "attempt")
    assert (lines[-1]["event"], lines[-1]["outcome"]) == ("emergency.completed", "success")
    assert {line["incident"] for line in lines} == {"INC-4711"}
    assert {line["reason"] for line in lines} == {REASON}
    assert {line["trigger"] for line in lines} == {"emergency"}
    assert lines[0]["secret"] == lines[-1]["secret"] == NAME
    made = Counter(CHANGES[call] for call in tape.calls if call in CHANGES)
    assert made
    for outcome in ("attempt", "success"):
        said = Counter(line["event"] for line in lines if line["outcome"] == outcome)
        assert {event: said[event] for event in made} == dict(made)


def test_the_intent_stands_before_the_call() -> None:
    world = World()
    world.managed(NAME)
    unwritten: list[str] = []

    def stop(when: str, _: int, what: str) -> None:
        if when == "before" and what in CHANGES:
            last = world.lines()[-1]
            if (last["event"], last["outcome"]) != (CHANGES[what], "attempt"):
                unwritten.append(what)

    with Tape(world) as tape:
        tape.stop = stop
        assert revoke(world).ok
    assert not unwritten


def test_the_end_says_what_was_done_and_what_failed() -> None:
    world = World()
    old, current = in_grace(world)
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, method="POST", status=403))
    revoke(world)
    (line,) = world.events_named("emergency.completed", "failure")
    assert set(line["revoked"]) == {old.id, current.id}
    assert line["replaced"] == []
    assert "403" in line["error"]


def test_consumers_are_told() -> None:
    world = World()
    old, current = in_grace(world)
    world.events.sent.clear()
    revoke(world, incident="INC-1")
    sent = [(name, detail.get("key_id")) for name, detail in world.events.sent]
    assert sent == [
        ("API Key Rotated", world.current_key(NAME).id),
        ("API Key Revoked", current.id),
        ("API Key Revoked", old.id),
        ("Emergency Revocation", current.id),
    ]
    last = world.events.sent[-1][1]
    assert last["outcome"] == "success"
    assert last["incident"] == "INC-1"
    assert set(last["revoked"]) == {old.id, current.id}
    assert last["replaced"] == [NAME]
    assert not leaks.find(str(world.events.sent))


def test_consumers_are_told_that_replacing_failed() -> None:
    world = World()
    world.managed(NAME)
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, method="POST", status=403))
    revoke(world)
    assert "Rotation Failed" in [name for name, _ in world.events.sent]


@pytest.mark.parametrize("reveal", [True, False])
@pytest.mark.parametrize("way", ["POST", "PUT", "GET"])
def test_no_secret_is_in_any_line_report_or_event(reveal: bool, way: str) -> None:
    world = World(options=Options(reveal=reveal))
    _, current = in_grace(world)
    plan = plan_for(world, leaked=leaked(current))
    world.infobip.faults.add(Fault(FaultKind.STATUS_AFTER, method=way, count=None, nth=3, status=500))
    report = revoke(world, leaked=leaked(current))
    everything = io.StringIO()
    print(report, plan, world.events.sent, world.stream.getvalue(), file=everything)
    assert current.id in everything.getvalue()
    assert not leaks.find(everything.getvalue())


def test_a_plan_that_has_nothing_to_do_is_on_record() -> None:
    world = World()
    old, _ = in_grace(world)
    world.infobip.portal_disable(old.id)
    before = len(world.lines())
    assert revoke(world, REPLACE_FIRST, key_id=old.id, account="main").ok
    assert [(line["event"], line["outcome"], line["key_id"]) for line in since(world, before)] == [
        ("emergency.requested", "attempt", old.id),
        ("emergency.completed", "success", old.id),
    ]


def test_durations_are_of_the_whole_command() -> None:
    world = World(options=Options(propagation=timedelta(seconds=10)))
    in_grace(world)
    revoke(world, REVOKE_ONLY)
    (line,) = world.events_named("emergency.completed")
    assert line["duration_ms"] >= 10_000


# ---- version ids ----------------------------------------------------------------------------------------------------

ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/sms-AbCdEf"


def test_a_version_id_says_that_an_emergency_made_it_and_for_which_incident() -> None:
    made = emergency_version_id(ARN, "INC-1", "seed")
    assert len(made) == 36
    assert made_in_emergency(ARN, made)
    assert made_for_incident(ARN, "INC-1", made)
    assert not made_for_incident(ARN, "INC-2", made)
    assert not made_for_incident(ARN, None, made)
    assert not made_for_incident(ARN, "", made)
    assert not made_in_emergency(ARN + "x", made)
    assert not made_for_incident(ARN + "x", "INC-1", made)
    assert emergency_version_id(ARN, "INC-1", "another seed") != made


def test_without_an_incident_no_incident_is_known_again() -> None:
    made = emergency_version_id(ARN, None, "seed")
    assert made_in_emergency(ARN, made)
    for incident in (None, "", "seed", "INC-1"):
        assert not made_for_incident(ARN, incident, made)


@pytest.mark.parametrize("other", [None, "", "x", "0" * 32, "6f1c2a30-0000-4000-8000-000000000000", "z" * 36])
def test_ordinary_version_ids_are_no_emergencies(other: str | None) -> None:
    assert not made_in_emergency(ARN, other)
    assert not made_for_incident(ARN, "INC-1", other)
