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


@pytest.mark.parametrize("grace", ["72h", "soon"])
def test_dry_run_says_what_would_be_done(stack: LambdaStack, grace: str) -> None:
    """And what can't be: the secret's tags are checked, as by the execution."""
    key = stack.secret(NAME, grace=grace)
    before = stack.state()
    answer = revoke({"secret_id": NAME, "reason": REASON, "dry_run": True}, Context())
    assert (answer["dry_run"], revoked(answer), replaced(answer)) == (True, [], [])
    assert [(each["key_id"], each["role"], each["secret"]) for each in answer["keys"]] == [(key.id, "current", NAME)]
    assert (answer["ok"], replaced(answer, "planned")) == ((True, [NAME]) if grace == "72h" else (False, []))
    assert [f"{NAME}: rotator:grace" in error for error in answer["errors"]] == [True] * (grace == "soon")
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
