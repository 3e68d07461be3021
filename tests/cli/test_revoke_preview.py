"""``revoke`` without ``--yes`` says what can't be replaced, and why; and an incident's name that is used again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.cli.local_stack import Ran, Stack

OTP = "prod/sms/otp"
REASON = ("--reason", "leak")
BY_SECRET = ("revoke", "--secret", OTP, *REASON)
BY_VALUE = ("revoke", "--leaked-key-stdin", *REASON)


def words(ran: Ran) -> str:
    return " ".join(ran.out.split())


def misconfigure(stack: Stack) -> None:
    stack.client.tag_resource(SecretId=OTP, Tags=[{"Key": "rotator:grace", "Value": "soon"}])


@pytest.mark.parametrize("strategy", ["replace-first", "revoke-first"])
def test_what_can_not_be_replaced_is_said_before(stack: Stack, strategy: str) -> None:
    key = stack.seed()[OTP]
    misconfigure(stack)
    before = stack.state()
    asked = (*BY_SECRET, "--strategy", strategy)
    ran = stack.run(*asked)
    assert ran.code == 2
    assert all(len(line) <= 80 for line in ran.out.splitlines())
    assert f"No replacement can be made for {OTP}: rotator:grace" in words(ran)
    assert "its consumers fail until it has a new one. Fix this first, or use the strategy revoke-only" in words(ran)
    assert "puts a new key into" not in words(ran)
    document = stack.run(*asked, "--json").document
    (error,) = document["errors"]
    assert error.startswith(f"no replacement can be made for {OTP}: rotator:grace")
    assert (document["confirmed"], document["replaced"]) == (False, [])
    dry = stack.run(*asked, "--dry-run")
    assert (dry.code, "No replacement can be made" in words(dry)) == (0, True)
    assert stack.state() == before
    done = stack.run(*asked, "--yes")
    assert (done.code, stack.world.authenticates(key.value)) == (1, False)
    assert "rotator:grace" in done.out


def test_revoke_only_has_nothing_to_check(stack: Stack) -> None:
    stack.seed()
    misconfigure(stack)
    ran = stack.run(*BY_SECRET, "--strategy", "revoke-only")
    assert ran.code == 2
    assert "No replacement can be made" not in words(ran)
    assert "puts no new key in its place (revoke-only)" in words(ran)


@pytest.mark.parametrize("several", [False, True])
def test_a_leaked_value_is_checked_as_well(stack: Stack, several: bool) -> None:
    keys = stack.seed()
    misconfigure(stack)
    text = f"OTP={keys[OTP].value}\n" + (f"BILLING={keys['prod/billing/sms'].value}\n" if several else "")
    ran = stack.run(*BY_VALUE, stdin=text)
    assert ran.code == 2
    assert f"No replacement can be made for {OTP}" in words(ran)
    document = stack.run(*BY_VALUE, "--json", stdin=text).document
    emergencies = document.get("emergencies", [document])
    assert [len(each["errors"]) for each in emergencies] == ([1, 0] if several else [1])


def revoke(stack: Stack, *arguments: str, incident: str = "INC-1", stdin: str | None = None) -> Ran:
    return stack.run(*arguments, "--incident", incident, "--yes", stdin=stdin)


@pytest.mark.parametrize("strategy", ["replace-first", "revoke-first", "revoke-only"])
def test_an_incident_is_a_retry_for_24_hours(stack: Stack, strategy: str) -> None:
    stack.seed()
    assert revoke(stack, *BY_SECRET).code == 0
    again = revoke(stack, *BY_SECRET)
    assert (again.code, "got a new key for incident INC-1 before" in words(again)) == (0, True)
    stack.clock.advance(timedelta(hours=24, minutes=1))
    before = stack.state()
    asked = (*BY_SECRET, "--strategy", strategy)
    for ran in (revoke(stack, *asked), stack.run(*asked, "--incident", "INC-1"), revoke(stack, *asked, "--json")):
        assert ran.code == 1
        assert "retry for 24 hours only" in ran.err
        assert "Give another incident" in ran.err
        denied = [line for line in ran.lines if line.get("outcome") == "denied"]
        assert [(line["event"], line["secret"]) for line in denied] == [("emergency.completed", OTP)]
    assert stack.state() == before
    assert revoke(stack, *asked, incident="INC-2").code == 0
    assert stack.state() != before


@pytest.mark.parametrize("several", [False, True])
def test_a_leaked_value_and_an_old_incident(stack: Stack, several: bool) -> None:
    """The value of a key in grace; the incident's key is current, and older than a day."""
    keys = stack.seed()
    old = keys[OTP]
    assert stack.run("rotate", OTP, "--reason", "x").code == 0
    document = revoke(stack, *BY_SECRET, "--json").document
    assert {step["key_id"] for step in document["steps"] if step["what"] == "revoked"} >= {old.id}
    # It was switched on again in the portal, and its label put back by hand.
    stack.world.portal_enable(old.id)
    stack.world.portal_prolong(old.id, stack.clock.now() + timedelta(days=30))
    versions = stack.client.describe_secret(SecretId=OTP)["VersionIdsToStages"]
    version = next(version for version, labels in versions.items() if "AWSPREVIOUS" in labels)
    label = f"rotator:key:{old.id}"
    stack.client.update_secret_version_stage(SecretId=OTP, VersionStage=label, MoveToVersionId=version)
    stack.clock.advance(timedelta(hours=25))
    text = f"OTP={old.value}\n" + (f"BILLING={keys['prod/billing/sms'].value}\n" if several else "")
    ran = revoke(stack, *BY_VALUE, stdin=text)
    assert ran.code == 1
    assert "retry for 24 hours only" in ran.err + words(ran)
    assert stack.world.authenticates(old.value)
    assert stack.world.authenticates(keys["prod/billing/sms"].value) is not several
    assert revoke(stack, *BY_VALUE, incident="INC-2", stdin=text).code == 0
    assert not stack.world.authenticates(old.value)


def test_the_incidents_own_key_leaks_after_a_rotation(stack: Stack) -> None:
    """It is in grace, and no replacement for itself: it is revoked, whatever incident is named."""
    stack.seed()
    assert revoke(stack, *BY_SECRET).code == 0
    made = next(key for key in stack.world.keys() if key.enabled and key.name.startswith(f"{OTP}/rotator:"))
    assert stack.run("rotate", OTP, "--reason", "x").code == 0
    assert stack.world.authenticates(made.value)
    ran = revoke(stack, *BY_VALUE, stdin=str(made.value))
    assert (ran.code, stack.world.authenticates(made.value)) == (0, False)
