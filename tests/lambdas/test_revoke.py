"""The handler ``revoke``: what it answers, promises and raises, how a call is repeated, and for how long it may be."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from rotator.errors import RotatorError
from rotator.lambda_ import runtime
from rotator.lambda_.revoke_handler import RevocationFailed
from rotator.lambda_handlers import revoke, sweep
from tests.lambdas.lambda_stack import DAY, Context, LambdaStack
from tests.support.faulty_infobip import Fault, FaultKind, faults_of
from tests.support.revocations import replaced, revoked

NAME = "prod/sms"
REASON = "pasted in a ticket"
HOUR = timedelta(hours=1)
STRATEGIES = ["replace-first", "revoke-first", "revoke-only"]
REPLACING = STRATEGIES[:2]
Lines = Callable[[], list[dict[str, Any]]]


def report_of(caught: pytest.ExceptionInfo[RevocationFailed]) -> dict[str, Any]:
    """The report in the text of what the handler raised."""
    found: dict[str, Any] = json.loads(str(caught.value).partition(" Report: ")[2])
    return found


def test_whole_secret(stack: LambdaStack, lines: Callable[[], list[dict[str, Any]]]) -> None:
    account = stack.account()
    first = stack.secret(NAME, account, left=5 * DAY)
    sweep({}, Context())
    second = stack.value(NAME)["key_id"]
    lines()
    event = {"secret_id": stack.arn(NAME), "reason": REASON, "incident": "INC-1", "actor": "ann", "strategy": None}
    answer = revoke(event, Context())
    assert json.loads(json.dumps(answer)) == answer
    assert answer["ok"] is True
    assert set(revoked(answer)) == {first.id, second}
    assert replaced(answer) == [NAME]
    assert answer["errors"] == []
    assert 0 <= answer["seconds"] < 60
    assert (answer["incident"], answer["actor"], answer["strategy"]) == ("INC-1", "ann", "replace-first")
    assert stack.consumer_works(NAME)
    assert [key.id for key in stack.live(account)] == [stack.value(NAME)["key_id"]]
    audit = [line for line in lines() if "seq" in line]
    assert {(line["actor"], line["trigger"], line["incident"], line["run_id"]) for line in audit} == {
        ("ann", "emergency", "INC-1", answer["run_id"])
    }
    assert {line["reason"] for line in audit if line["event"] == "key.revoked"} == {REASON}


def test_one_key_of_account(stack: LambdaStack) -> None:
    account = stack.account()
    key = stack.secret(NAME, account)
    answer = revoke({"key_id": key.id, "account": "main", "reason": REASON, "strategy": "revoke-only"}, Context())
    assert (revoked(answer), replaced(answer), answer["actor"]) == ([key.id], [], "lambda")
    assert stack.live(account) == []


def test_dry_run_says_what_would_be_done(stack: LambdaStack) -> None:
    key = stack.secret(NAME)
    before = stack.state()
    answer = revoke({"secret_id": NAME, "reason": REASON, "dry_run": True}, Context())
    assert (answer["dry_run"], revoked(answer), replaced(answer)) == (True, [], [])
    assert [(each["key_id"], each["role"], each["secret"]) for each in answer["keys"]] == [(key.id, "current", NAME)]
    assert replaced(answer, "planned") == [NAME]
    assert stack.state() == before


def test_repeated_call_makes_no_second_key(stack: LambdaStack) -> None:
    account = stack.account()
    stack.secret(NAME, account)
    context = Context()
    revoke({"secret_id": NAME, "reason": REASON}, context)
    made = stack.value(NAME)["key_id"]
    again = revoke({"secret_id": NAME, "reason": REASON}, context)
    assert again["incident"] == f"lambda {context.aws_request_id}"
    assert stack.value(NAME)["key_id"] == made
    assert stack.infobip.creates_used(account) == 1


def test_what_stays_enabled_is_raised(stack: LambdaStack) -> None:
    account = stack.account()
    old = stack.secret(NAME, account)
    faults_of(stack.infobip).add(Fault(FaultKind.STATUS_BEFORE, "PUT", status=500, count=None))
    with pytest.raises(RevocationFailed) as caught:
        revoke({"secret_id": NAME, "reason": REASON, "incident": "INC-1"}, Context())
    text = str(caught.value)
    assert text.startswith("NOT COMPLETE: ")
    assert old.id in text.partition(" Report: ")[0]
    report = report_of(caught)
    assert report["ok"] is False
    assert replaced(report) == [NAME]
    assert revoked(report) == []
    assert stack.consumer_works(NAME)
    faults_of(stack.infobip).clear()
    done = revoke({"secret_id": NAME, "reason": REASON, "incident": "INC-1"}, Context())
    assert revoked(done) == [old.id]
    assert stack.infobip.creates_used(account) == 1


@pytest.mark.parametrize("word", ["replaced", "strategy", "replace-first", NAME, "INC-2026-1", "planned"])
def test_common_value_keeps_failure_report(stack: LambdaStack, word: str) -> None:
    old = stack.secret(NAME)
    faults_of(stack.infobip).add(Fault(FaultKind.STATUS_BEFORE, "PUT", status=500, count=None))
    runtime.foundation().redactor.learn(word)
    with pytest.raises(RevocationFailed) as caught:
        revoke({"secret_id": NAME, "reason": REASON, "incident": "INC-2026-1"}, Context())
    report = report_of(caught)
    assert report["strategy"] == "replace-first"
    assert replaced(report) == [NAME]
    assert report["incident"] == "INC-2026-1"
    assert [each["key_id"] for each in report["keys"]] == [old.id]


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"secret_id": "prod/none", "reason": REASON}, "prod/none"),
        ({"secret_id": NAME, "account": "other", "reason": REASON}, f"{NAME} .*main.*other"),
        ({"key_id": "0" * 32, "account": "main", "reason": REASON}, "0" * 32),
    ],
)
def test_unknown_target_changes_nothing(stack: LambdaStack, event: dict[str, Any], said: str) -> None:
    stack.secret(NAME)
    stack.account("other")
    before = stack.state()
    with pytest.raises(RotatorError, match=said):
        revoke(event, Context())
    assert stack.state() == before


def test_infobip_out_of_reach_is_raised(stack: LambdaStack) -> None:
    stack.secret(NAME)
    faults_of(stack.infobip).add(Fault(FaultKind.STATUS_BEFORE, status=401, count=None))
    with pytest.raises(RotatorError):
        revoke({"secret_id": NAME, "reason": REASON}, Context())
    assert stack.consumer_works(NAME)


# ---- an incident is a retry for 24 hours by Infobip's clock; afterwards its name is refused -------------------------


def command(incident: str = "INC-1", strategy: str = "replace-first", **more: Any) -> dict[str, Any]:
    target = {} if "key_id" in more else {"secret_id": NAME}
    return revoke({**target, "reason": "leaked", "incident": incident, "strategy": strategy, **more}, Context())


def current_id(stack: LambdaStack) -> str:
    return str(stack.value(NAME)["key_id"])


def refused(stack: LambdaStack, **more: Any) -> str:
    before = stack.state()
    with pytest.raises(RotatorError) as caught:
        command(**more)
    assert not isinstance(caught.value, RevocationFailed)
    assert stack.state() == before
    return str(caught.value)


@pytest.mark.parametrize("strategy", REPLACING)
def test_retry_in_day_makes_no_second_key(stack: LambdaStack, strategy: str) -> None:
    stack.secret(NAME)
    command(strategy=strategy)
    made = current_id(stack)
    stack.clock.advance(24 * HOUR - timedelta(minutes=2))
    answer = command(strategy=strategy)
    assert (answer["ok"], revoked(answer), replaced(answer)) == (True, [], [])
    assert current_id(stack) == made


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("strategy", ["replace-first", "revoke-first"])
def test_after_24_hours_name_is_refused(stack: LambdaStack, lines: Lines, strategy: str, dry_run: bool) -> None:
    stack.secret(NAME)
    command()
    made = current_id(stack)
    stack.clock.advance(24 * HOUR + timedelta(minutes=1))
    lines()
    text = refused(stack, strategy=strategy, dry_run=dry_run)
    assert "INC-1" in text
    assert "24 hours" in text
    assert made in text  # the way out names the key
    audit = [(line["event"], line["outcome"]) for line in lines() if "seq" in line]
    assert ("emergency.completed", "denied") in audit
    # Both ways out end the current key, and the second one works with the old name.
    assert revoked(command("INC-2", strategy)) == [made]
    again = current_id(stack)
    assert revoked(command(strategy=strategy, key_id=again, account="main")) == [again]
    assert stack.consumer_works(NAME)


def test_rotated_key_still_dates_incident(stack: LambdaStack) -> None:
    """INC-1's key is revoked: its version is ``AWSPREVIOUS``."""
    stack.secret(NAME)
    command("INC-1")
    made = stack.current_version(NAME)
    command("INC-2")
    assert "AWSPREVIOUS" in stack.labels(NAME)[made]
    assert revoked(command("INC-1")) == []
    stack.clock.advance(25 * HOUR)
    assert "INC-1" in refused(stack)


def test_name_without_trace_is_new_incident(stack: LambdaStack) -> None:
    stack.secret(NAME)
    for incident in ("INC-1", "INC-2", "INC-3"):
        command(incident)
    made = current_id(stack)
    stack.clock.advance(25 * HOUR)
    answer = command("INC-1")
    assert (revoked(answer), replaced(answer)) == ([made], [NAME])
    assert stack.consumer_works(NAME)


@pytest.mark.parametrize("renamed", [True, False])
def test_missing_key_is_dated_by_version(stack: LambdaStack, renamed: bool) -> None:
    """Or Infobip can't be asked. moto gives a version the date of the question, so it counts as new: a retry."""
    old = stack.secret(NAME)
    faults_of(stack.infobip).add(Fault(FaultKind.STATUS_BEFORE, "PUT", status=500, count=None))
    with pytest.raises(RevocationFailed):
        command()
    faults_of(stack.infobip).clear()
    made = current_id(stack)
    if renamed:
        stack.infobip.change_key(made, name="renamed in the portal")
    else:
        faults_of(stack.infobip).add(Fault(FaultKind.STATUS_BEFORE, "GET", path="api-keys$", status=400, count=None))
    assert revoked(command()) == [old.id]
    assert current_id(stack) == made


def test_unrevoked_is_left_after_24_hours(stack: LambdaStack) -> None:
    old = stack.secret(NAME)
    faults_of(stack.infobip).add(Fault(FaultKind.STATUS_BEFORE, "PUT", status=500, count=None))
    with pytest.raises(RevocationFailed):
        command()
    faults_of(stack.infobip).clear()
    stack.clock.advance(25 * HOUR)
    refused(stack)
    assert revoked(command(key_id=old.id, account="main")) == [old.id]  # a named key is never protected


@pytest.mark.parametrize("incident", ["INC-1", "INC-2"])
def test_revoke_only_takes_current_key(stack: LambdaStack, incident: str) -> None:
    """It makes no key that would date the name; who asks for it gets it, even of the key that the incident made."""
    key = stack.secret(NAME)
    for left in ([key.id], []):
        assert revoked(command("INC-2", "revoke-only")) == left
    command("INC-1")
    made = current_id(stack)
    answer = command(incident, "revoke-only")
    assert made in revoked(answer)
    assert not stack.consumer_works(NAME)


# ---- a dry run makes the checks of the execution --------------------------------------------------------------------


@pytest.mark.parametrize("proven", [True, False])
@pytest.mark.parametrize("strategy", REPLACING)
def test_what_can_not_be_done_is_announced(stack: LambdaStack, proven: bool, strategy: str) -> None:
    """Cannot create a replacement key; or only a label says that a key is the secret's."""
    key = stack.secret(NAME, grace="soon" if proven else "72h")
    other = stack.secret("prod/other")
    if not proven:
        labels = ["AWSCURRENT", f"rotator:key:{other.id}"]
        value = json.dumps({"api_key": key.value})
        stack.client.put_secret_value(SecretId=NAME, SecretString=value, VersionStages=labels)
    before = stack.state()
    event = {"secret_id": NAME, "reason": REASON, "strategy": strategy}
    answer = revoke({**event, "dry_run": True}, Context())
    assert stack.state() == before
    assert (answer["ok"], answer["dry_run"], replaced(answer, "planned")) == (False, True, [] if proven else [NAME])
    assert revoked(answer, "planned") == [key.id]
    said = f"{NAME}: rotator:grace" if proven else f"key {other.id}, "
    way_out = "revoke-only" if proven else f"`rotator revoke --key-id {other.id} --account main`"
    (error,) = (each for each in answer["errors"] if said in each)
    assert way_out in error
    with pytest.raises(RevocationFailed) as caught:
        revoke(event, Context())
    report = report_of(caught)
    assert any(("rotator:grace" if proven else way_out) in each for each in report["errors"])
    assert revoked(report) == [key.id]
    assert stack.infobip.authenticates(other.value)
    assert not stack.infobip.authenticates(key.value)
