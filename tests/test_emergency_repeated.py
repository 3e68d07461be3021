"""Repeating an emergency finishes what is left, says what still works, and replaces nothing twice."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest

from rotator.reasons import Reason
from rotator.sandbox.exchange import Request, Response
from rotator.sandbox.state import Options, SimKey
from tests.emergencies import REPLACE_FIRST, REVOKE_FIRST, REVOKE_ONLY, EmergencyWorld, named, refused
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import HOUR, NAME

REPLACING = [REPLACE_FIRST, REVOKE_FIRST]
INCIDENTS = ["INC-1", None]


def with_second_field(world: EmergencyWorld, account: str = "main") -> tuple[SimKey, SimKey]:
    """A secret whose value contains a second key in another field, which a replacement keeps."""
    key = world.secret(NAME)
    if account not in world.accounts:
        world.account(account)
    second = world.infobip.add_key(world.accounts[account], "second")
    text = json.dumps({"api_key": key.value, "fallback": second.value})
    world.store.put_value_by_hand(NAME, text)
    world.pass_time(timedelta(minutes=1))
    return key, second


def edit(world: EmergencyWorld, name: str = NAME, **fields: Any) -> None:
    """A person changes other fields of the value."""
    value = {**json.loads(world.store.consumer_read(name)), **fields}
    world.store.put_value_by_hand(name, json.dumps(value))


@pytest.mark.parametrize("strategy", REPLACING)
@pytest.mark.parametrize("incident", INCIDENTS)
@pytest.mark.parametrize("account", ["main", "other"])
def test_repeat_revokes_key_in_another_field(
    world: EmergencyWorld, account: str, incident: str | None, strategy: Any
) -> None:
    """Threat: an emergency that failed in part. Repeating it revokes exactly what is left. The incident's own version
    contains it too; what this incident made is its replacement alone. Consumers of the other field lose their key,
    which is an error.
    """
    key, second = with_second_field(world, account)
    world.fault(FaultKind.STATUS_BEFORE, ("PUT", second.id), status=503)
    assert not world.revoke(strategy, incident=incident).ok
    assert world.works(second)
    world.infobip.faults.clear()
    made = world.current_key(NAME)
    (error,) = world.revoke(strategy, incident=incident).errors
    assert NAME in error
    assert not world.works(key, second)
    assert world.current_key(NAME).id == made.id
    assert world.revoke(strategy, incident=incident).ok


@pytest.mark.parametrize("incident", INCIDENTS)
def test_working_disabled_key_fails_repeat(world: EmergencyWorld, incident: str | None) -> None:
    """Threat: a disabled key that still authenticates. Repeating the command does not report success."""
    key = world.secret(NAME)
    world.infobip.options.propagation = timedelta(days=1)
    for _ in range(2):
        report = world.revoke(incident=incident)
        assert any(key.id in error for error in report.errors), report.errors
        assert key.id not in report.revoked


@pytest.mark.parametrize("role", ["current", "retiring"])
def test_masked_key_in_secret_is_probed(role: str) -> None:
    world = EmergencyWorld(options=Options(reveal=False))
    old, current = world.in_grace()
    world.infobip.options.propagation = timedelta(days=1)
    report = world.revoke(REVOKE_ONLY, **named("key", current if role == "current" else old))
    assert [(step.ok, step.verified) for step in report.steps] == [(False, False)]
    assert report.revoked == ()


@pytest.mark.parametrize("incident", INCIDENTS)
def test_repeat_replaces_copy_without_key(world: EmergencyWorld, incident: str | None) -> None:
    """Threat: a secret that got no new key in an emergency. Repeating the command creates it."""
    key = world.secret(NAME)
    world.store.copy_secret_with_tags(NAME, "prod/copy")
    world.store.tag("prod/copy", {"rotator:grace": "soon"})
    report = world.revoke(incident=incident)
    assert (report.replaced, world.works(key)) == ((NAME,), False)
    assert any("prod/copy" in error for error in report.errors)
    world.store.untag("prod/copy", "rotator:grace")
    made = world.current_key(NAME)
    report = world.revoke(incident=incident)
    assert report.ok, report.errors
    assert report.replaced == ("prod/copy",)
    assert world.consumer_works("prod/copy")
    assert world.current_key(NAME).id == made.id


@pytest.mark.parametrize("swept", [False, True])
@pytest.mark.parametrize("incident", INCIDENTS)
def test_edit_makes_no_new_emergency(world: EmergencyWorld, incident: str | None, swept: bool) -> None:
    key = world.secret(NAME)
    assert world.revoke(incident=incident).ok
    made, keys = world.current_key(NAME), len(world.infobip.keys())
    world.pass_time(timedelta(seconds=30))
    edit(world, note="changed")
    if swept:
        world.sweep()
    report = world.revoke(incident=incident)
    assert report.ok, report.errors
    assert not world.works(key)
    assert (world.current_key(NAME).id, world.works(made), len(world.infobip.keys())) == (made.id, True, keys)


def test_old_incident_number_is_refused(world: EmergencyWorld) -> None:
    """Threat: a number that is used again, which would spare the current key. After 24 hours it is no retry."""
    world.secret(NAME)
    assert world.revoke(incident="INC-1").ok
    made = world.current_key(NAME)
    world.pass_time(25 * HOUR)
    with refused(Reason.EMERGENCY, made.id, "INC-1"):
        world.revoke(incident="INC-1")
    assert world.works(made)


def test_failing_account_stops_no_other(world: EmergencyWorld) -> None:
    world.account("alpha")
    key = world.secret(NAME)
    world.store.deny_kms("rotator/alpha")
    assert world.revoke(**named("value", key)).ok
    assert not world.works(key)


def test_unsearchable_is_reported() -> None:
    """Infobip masks values and ignores the filter: the value may be that key, and nothing proves it."""
    world = EmergencyWorld(options=Options(reveal=False))
    key = world.secret(NAME)
    world.secret("prod/other")
    world.fault(FaultKind.IGNORE_FILTER, ("GET", "api-keys$"), param="apiKeySecret")
    report = world.revoke(REVOKE_ONLY)
    (step,) = (each for each in report.steps if each.key_id == key.id)
    assert (step.ok, step.reason) == (False, Reason.UNPROVEN_LABEL)
    assert step.error is not None
    assert "main: " in step.error  # the account that could not be asked


def _hide_valid_from(_request: Request, answer: Response | None) -> None:
    if answer is not None and b"validFrom" in answer.body:
        object.__setattr__(answer, "body", re.sub(rb'"validFrom": ?"[^"]*",? ?', b"", answer.body))


@pytest.mark.parametrize("strategy", REPLACING)
@pytest.mark.parametrize("incident", INCIDENTS)
def test_replacement_of_unknown_age(world: EmergencyWorld, incident: str | None, strategy: Any) -> None:
    """Infobip shows no ``validFrom``. A key of unknown age counts as older, except the replacement itself."""
    key = world.secret(NAME)
    hide = Fault(FaultKind.HOOK_AFTER, path="", hook=_hide_valid_from, count=None)
    world.infobip.faults.add(hide)
    assert world.revoke(strategy, incident=incident).ok
    made = world.current_key(NAME)
    assert world.works(made)
    assert hide.hits
    for _ in range(2):
        report = world.revoke(strategy, incident=incident)
        assert report.ok, report.errors
        assert (world.current_key(NAME).id, world.works(made), world.works(key)) == (made.id, True, False)
