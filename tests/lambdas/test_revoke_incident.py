"""An incident is a retry for 24 hours by Infobip's clock; afterwards its name is refused, and nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from rotator.errors import RotatorError
from rotator.lambda_.revoke_handler import RevocationFailed
from rotator.lambda_handlers import revoke
from rotator.sandbox.faults import Fault, FaultKind
from tests.lambdas.lambda_stack import Context, LambdaStack

NAME = "prod/sms"
HOUR = timedelta(hours=1)
STRATEGIES = ["replace-first", "revoke-first", "revoke-only"]
Lines = Callable[[], list[dict[str, Any]]]


def command(incident: str = "INC-1", strategy: str = "replace-first", **more: Any) -> dict[str, Any]:
    target = {} if "key_id" in more else {"secret_id": NAME}
    return revoke({**target, "reason": "leaked", "incident": incident, "strategy": strategy, **more}, Context())


def current_id(stack: LambdaStack) -> str:
    return str(stack.current(NAME)[1]["key_id"])


def refused(stack: LambdaStack, **more: Any) -> str:
    before = stack.state()
    with pytest.raises(RotatorError) as caught:
        command(**more)
    assert not isinstance(caught.value, RevocationFailed)
    assert stack.state() == before
    return str(caught.value)


@pytest.mark.parametrize("strategy", ["replace-first", "revoke-first"])
def test_a_retry_within_24_hours_makes_no_second_key(stack: LambdaStack, strategy: str) -> None:
    stack.secret(NAME, stack.account())
    command(strategy=strategy)
    made = current_id(stack)
    stack.clock.advance(24 * HOUR - timedelta(minutes=2))
    answer = command(strategy=strategy)
    assert (answer["ok"], answer["revoked"], answer["replaced"]) == (True, [], [])
    assert current_id(stack) == made


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_after_24_hours_the_name_is_refused(stack: LambdaStack, lines: Lines, strategy: str, dry_run: bool) -> None:
    stack.secret(NAME, stack.account())
    command()
    made = current_id(stack)
    stack.clock.advance(24 * HOUR + timedelta(minutes=1))
    lines()
    text = refused(stack, strategy=strategy, dry_run=dry_run)
    assert "INC-1" in text
    assert "24 hours" in text
    assert "another incident" in text
    assert made in text  # the way out names the key
    audit = [(line["event"], line["outcome"]) for line in lines() if "seq" in line]
    assert ("emergency.completed", "denied") in audit
    # Both ways out end the current key, and the second one works with the old name.
    assert command("INC-2", strategy)["revoked"] == [made]
    if strategy != "revoke-only":
        again = current_id(stack)
        assert command(strategy=strategy, key_id=again, account="main")["revoked"] == [again]
        assert stack.consumer_works(NAME)


def test_a_key_that_was_rotated_since_still_dates_the_name(stack: LambdaStack) -> None:
    """INC-1's key is revoked and has no label any more: its version is ``AWSPREVIOUS``, Infobip knows its name."""
    stack.secret(NAME, stack.account())
    command("INC-1")
    made = stack.current(NAME)[0]
    command("INC-2")
    assert stack.labels(NAME)[made] == {"AWSPREVIOUS"}
    assert command("INC-1")["revoked"] == []
    stack.clock.advance(25 * HOUR)
    assert "INC-1" in refused(stack)


def test_a_name_without_a_trace_is_a_new_incident(stack: LambdaStack) -> None:
    stack.secret(NAME, stack.account())
    for incident in ("INC-1", "INC-2", "INC-3"):
        command(incident)
    made = current_id(stack)
    stack.clock.advance(25 * HOUR)
    answer = command("INC-1")
    assert (answer["revoked"], answer["replaced"]) == ([made], [NAME])
    assert stack.consumer_works(NAME)


def test_a_renamed_key_is_dated_by_its_version(stack: LambdaStack) -> None:
    """moto gives a version the date of the question, so it counts as new: a retry, and no second replacement."""
    stack.secret(NAME, stack.account())
    command()
    made = current_id(stack)
    stack.world.portal_rename(made, "renamed in the portal")
    assert command()["revoked"] == []
    assert current_id(stack) == made


def test_what_could_not_be_revoked_is_left_after_24_hours(stack: LambdaStack) -> None:
    old = stack.secret(NAME, stack.account())
    stack.world.faults.add(Fault(FaultKind.STATUS_BEFORE, "PUT", status=500, count=None))
    with pytest.raises(RevocationFailed):
        command()
    stack.world.faults.clear()
    stack.clock.advance(25 * HOUR)
    refused(stack)
    refused(stack, key_id=old.id, account="main")
    assert old.id in command("INC-2")["revoked"]


@pytest.mark.parametrize("incident", ["INC-1", "INC-2"])
def test_revoke_only_ends_whatever_is_current(stack: LambdaStack, incident: str) -> None:
    """It makes no key that would date the name; who asks for it gets it, even of the key that the incident made."""
    key = stack.secret(NAME, stack.account())
    for _ in range(2):
        assert command("INC-2", "revoke-only")["revoked"] == [key.id]
    command("INC-1")
    made = current_id(stack)
    answer = command(incident, "revoke-only")
    assert made in answer["revoked"]
    assert not stack.consumer_works(NAME)


def test_infobip_that_can_not_be_asked_stops_no_retry(stack: LambdaStack) -> None:
    old = stack.secret(NAME, stack.account())
    stack.world.faults.add(Fault(FaultKind.STATUS_BEFORE, "PUT", status=500, count=None))
    with pytest.raises(RevocationFailed):
        command()
    stack.world.faults.clear()
    stack.world.faults.add(Fault(FaultKind.STATUS_BEFORE, "GET", path="api-keys$", status=400, count=None))
    assert command()["revoked"] == [old.id]
