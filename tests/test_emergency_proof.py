"""The proof: a dead key is used once more. What a refusal does not prove is not said to be proven."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from rotator.engine.emergency import VERIFY_TIMEOUT, Strategy
from rotator.sandbox.faults import Fault, FaultKind
from rotator.sandbox.state import Options
from tests.emergencies import NAME, REVOKE_ONLY, Tape, alive, calm, in_grace, revoke
from tests.world import World

HERE = "127.0.0.1"
ELSEWHERE = "203.0.113.0/24"


def notes(world: World, strategy: Strategy = Strategy.REPLACE_FIRST) -> list[str]:
    report = revoke(world, strategy)
    assert report.ok, report.errors
    return [step.note for step in report.steps if step.what == "revoked"]


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("reveal", [True, False])
def test_every_key_is_tried_whether_infobip_shows_values_or_not(strategy: Strategy, reveal: bool) -> None:
    world = World(options=Options(reveal=reveal))
    in_grace(world)
    assert notes(world, strategy) == ["verified: 401"] * 2
    calm(world)


def test_the_proof_waits_until_the_revocation_shows() -> None:
    world = World(options=Options(propagation=timedelta(seconds=20)))
    _, current = in_grace(world)
    begun = world.clock.now()
    report = revoke(world)
    assert report.ok, report.errors
    assert {step.note for step in report.steps if step.what == "revoked"} == {"verified: 401"}
    assert not alive(world, current)
    assert timedelta(seconds=20) <= world.clock.now() - begun <= VERIFY_TIMEOUT * 2


def test_a_key_that_goes_on_working_is_an_error() -> None:
    world = World()
    _, current = in_grace(world)
    world.infobip.options.propagation = timedelta(minutes=10)
    begun = world.clock.now()
    report = revoke(world, REVOKE_ONLY)
    assert not report.ok
    assert any(current.id in error and "STILL authenticates" in error for error in report.errors)
    assert report.revoked == ()
    assert {(step.note, step.ok) for step in report.steps} == {("still authenticates", False)}
    assert world.clock.now() - begun == VERIFY_TIMEOUT  # all keys share the patience
    world.pass_time(timedelta(minutes=20))
    assert not alive(world, current)


@pytest.mark.parametrize("status", [500, 404])
def test_a_probe_that_tells_nothing_proves_nothing(status: int) -> None:
    world = World()
    in_grace(world)
    world.infobip.faults.add(
        Fault(FaultKind.STATUS_BEFORE, method="GET", path="balance", nth=2, count=None, status=status)
    )
    found = notes(world)
    assert len(found) == 2
    assert all(f"HTTP {status}" in note for note in found)
    assert all(note.startswith("not verified: Infobip shows it disabled") for note in found)


def test_the_secrets_own_path_is_used() -> None:
    world = World()
    world.managed(NAME, verify_path="/sms/3/logs")
    with Tape(world) as tape:
        assert notes(world) == ["verified: 401"]
    paths = [call.path for call in world.infobip.calls if call.principal == "" or call.principal.startswith("key:")]
    assert set(paths[-2:]) == {"/sms/3/logs"}
    assert tape.calls.count("probe") == 2


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_401_from_an_address_that_is_not_allowed_proves_nothing(strategy: Strategy) -> None:
    world = World()
    key = world.managed(NAME, verify="skip")
    world.infobip.portal_restrict(key.id, [ELSEWHERE])
    assert world.infobip.authenticates(key.value, "203.0.113.5")
    (note,) = notes(world, strategy)
    assert note.startswith("not verified: Infobip shows it disabled")
    assert "allowedIPs" in note
    assert not world.infobip.authenticates(key.value, "203.0.113.5")


def test_a_secret_that_is_not_verified_is_still_proven_where_its_key_is_not_restricted() -> None:
    world = World()
    world.managed(NAME, verify="skip")
    assert notes(world) == ["verified: 401"]


def test_where_the_restrictions_are_not_known_the_operators_skip_counts() -> None:
    world = World()
    world.managed(NAME, verify="skip")
    world.infobip.faults.add(
        Fault(FaultKind.STATUS_BEFORE, method="GET", path="api-keys/", nth=2, count=None, status=500)
    )
    (note,) = notes(world)
    assert note.startswith("not verified: Infobip confirmed it")


def test_a_401_from_an_address_that_was_let_in_before_is_a_proof() -> None:
    world = World()
    key = world.managed(NAME)
    world.infobip.portal_restrict(key.id, [HERE])
    assert notes(world) == ["verified: 401"]  # the replacement has the same allowedIPs, and got in from here


def test_a_401_proves_nothing_where_nobody_knows_whether_this_address_is_allowed() -> None:
    world = World()
    key = world.managed(NAME)
    world.infobip.portal_restrict(key.id, [HERE])
    (note,) = notes(world, REVOKE_ONLY)
    assert "allowedIPs" in note


def test_a_key_that_is_gone_needs_no_proof() -> None:
    world = World()
    old, _ = in_grace(world)
    world.infobip.portal_delete(old.id)
    assert notes(world) == ["verified: 401", "verified: 401; Infobip has no such key any more"]
    calm(world)


def test_a_key_that_infobip_denies_to_have_and_that_still_works_is_an_error_and_stays_known() -> None:
    world = World()
    old, current = in_grace(world)
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, path=old.id, count=None, status=404))
    report = revoke(world)
    assert any(old.id in error and "STILL authenticates" in error for error in report.errors)
    assert report.revoked == (current.id,)
    world.infobip.faults.clear()
    world.pass_time(timedelta(minutes=1))
    world.sweep()
    assert not alive(world, old)
    calm(world)


def test_a_value_that_can_not_be_read_is_said() -> None:
    world = World(options=Options(reveal=False))
    old, current = in_grace(world, rotated=True)
    version = next(v for v, labels in world.labels(NAME).items() if f"rotator:key:{old.id}" in labels)

    def before(operation: str, _: str) -> None:
        if operation == "read_version":
            world.store.deny_kms(NAME)

    world.store.before = before
    report = revoke(world)
    assert report.ok
    noted = {step.key_id: step.note for step in report.steps if step.what == "revoked"}
    assert noted[current.id] == "verified: 401"
    assert noted[old.id] == "not verified: Infobip shows it disabled, but its value can't be read to try it"
    assert version not in {v for v, labels in world.labels(NAME).items() if f"rotator:key:{old.id}" in labels}


def test_infobip_failing_after_the_kill_is_no_failure_of_the_kill() -> None:
    world = World()
    key = world.managed(NAME)
    world.infobip.faults.add(
        Fault(FaultKind.STATUS_BEFORE, method="GET", path="api-keys/", nth=2, count=None, status=500)
    )
    assert notes(world) == ["verified: 401"]
    assert not alive(world, key)


def test_a_plain_value_is_used_for_the_proof() -> None:
    world = World()
    world.managed(NAME, plain=True)
    assert notes(world, REVOKE_ONLY) == ["verified: 401"]


def test_a_value_in_another_field_is_used_for_the_proof() -> None:
    world = World()
    world.account()
    key = world.infobip.add_key(world.accounts["main"], "by hand")
    world.store.create_secret(NAME, world.tags(value_field="token"), json.dumps({"token": key.value}))
    assert notes(world, REVOKE_ONLY) == ["verified: 401"]
