"""``revoke``: what it answers, what it raises, and that a repeated call makes no second key."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from rotator.errors import RotatorError
from rotator.lambda_ import runtime
from rotator.lambda_.revoke_handler import RevocationFailed
from rotator.lambda_handlers import revoke, sweep
from rotator.sandbox.faults import Fault, FaultKind
from tests.lambdas.lambda_stack import DAY, Context, LambdaStack

NAME = "prod/sms"
REASON = "pasted in a ticket"


def test_a_whole_secret(stack: LambdaStack, lines: Callable[[], list[dict[str, Any]]]) -> None:
    account = stack.account()
    first = stack.secret(NAME, account, left=5 * DAY, age=85 * DAY)
    sweep({}, Context())
    second = stack.current(NAME)[1]["key_id"]
    lines()
    event = {"secret_id": stack.arn(NAME), "reason": REASON, "incident": "INC-1", "actor": "ann", "strategy": None}
    answer = revoke(event, Context())
    assert json.loads(json.dumps(answer)) == answer
    assert answer["ok"] is True
    assert set(answer["revoked"]) == {first.id, second}
    assert answer["replaced"] == [NAME]
    assert answer["errors"] == []
    assert 0 <= answer["seconds"] < 60
    assert (answer["incident"], answer["actor"], answer["strategy"]) == ("INC-1", "ann", "replace-first")
    assert stack.consumer_works(NAME)
    assert [key.id for key in stack.live(account)] == [stack.current(NAME)[1]["key_id"]]
    audit = [line for line in lines() if "seq" in line]
    assert {(line["actor"], line["trigger"], line["incident"], line["run_id"]) for line in audit} == {
        ("ann", "emergency", "INC-1", answer["run_id"])
    }
    assert {line["reason"] for line in audit if line["event"] == "key.revoked"} == {REASON}


def test_one_key_of_an_account(stack: LambdaStack) -> None:
    account = stack.account()
    key = stack.secret(NAME, account)
    answer = revoke({"key_id": key.id, "account": "main", "reason": REASON, "strategy": "revoke-only"}, Context())
    assert (answer["revoked"], answer["replaced"], answer["actor"]) == ([key.id], [], "lambda")
    assert stack.live(account) == []


def test_a_dry_run_says_what_would_be_done(stack: LambdaStack) -> None:
    key = stack.secret(NAME, stack.account())
    before = stack.state()
    answer = revoke({"secret_id": NAME, "reason": REASON, "dry_run": True}, Context())
    assert (answer["dry_run"], answer["revoked"], answer["replaced"]) == (True, [], [])
    assert answer["planned"] == [{"key_id": key.id, "role": "current", "secret_id": NAME}]
    assert answer["would_replace"] == [NAME]
    assert stack.state() == before


def test_a_call_that_lambda_repeats_makes_no_second_key(stack: LambdaStack) -> None:
    account = stack.account()
    stack.secret(NAME, account)
    context = Context()
    revoke({"secret_id": NAME, "reason": REASON}, context)
    made = stack.current(NAME)[1]["key_id"]
    again = revoke({"secret_id": NAME, "reason": REASON}, context)
    assert again["incident"] == f"lambda {context.aws_request_id}"
    assert stack.current(NAME)[1]["key_id"] == made
    assert stack.world.creates_used(account) == 1


def test_what_stays_alive_is_raised_with_the_whole_report(stack: LambdaStack) -> None:
    account = stack.account()
    old = stack.secret(NAME, account)
    stack.world.faults.add(Fault(FaultKind.STATUS_BEFORE, "PUT", status=500, count=None))
    with pytest.raises(RevocationFailed) as caught:
        revoke({"secret_id": NAME, "reason": REASON, "incident": "INC-1"}, Context())
    text = str(caught.value)
    assert text.startswith("NOT COMPLETE: ")
    assert old.id in text.partition(" Report: ")[0]
    report = json.loads(text.partition(" Report: ")[2])
    assert report["ok"] is False
    assert report["replaced"] == [NAME]
    assert report["revoked"] == []
    assert stack.consumer_works(NAME)
    stack.world.faults.clear()
    done = revoke({"secret_id": NAME, "reason": REASON, "incident": "INC-1"}, Context())
    assert done["revoked"] == [old.id]
    assert stack.world.creates_used(account) == 1


@pytest.mark.parametrize("word", ["replaced", "strategy", "replace-first", NAME, "INC-2026-1", "planned"])
def test_a_common_value_leaves_the_report_of_a_failure_whole(stack: LambdaStack, word: str) -> None:
    account = stack.account()
    old = stack.secret(NAME, account)
    stack.world.faults.add(Fault(FaultKind.STATUS_BEFORE, "PUT", status=500, count=None))
    runtime.foundation().redactor.learn(word)
    with pytest.raises(RevocationFailed) as caught:
        revoke({"secret_id": NAME, "reason": REASON, "incident": "INC-2026-1"}, Context())
    report = json.loads(str(caught.value).partition(" Report: ")[2])
    assert report["strategy"] == "replace-first"
    assert report["replaced"] == [NAME]
    assert report["incident"] == "INC-2026-1"
    assert [each["key_id"] for each in report["planned"]] == [old.id]


def test_a_hold_does_not_stop_it(stack: LambdaStack) -> None:
    key = stack.secret(NAME, stack.account(), hold="audit freeze")
    assert key.id in revoke({"secret_id": NAME, "reason": REASON}, Context())["revoked"]


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"secret_id": "prod/none", "reason": REASON}, "prod/none"),
        ({"secret_id": NAME, "account": "other", "reason": REASON}, "prod/sms belongs to account main, not to other"),
        ({"key_id": "0" * 32, "account": "main", "reason": REASON}, "0" * 32),
    ],
)
def test_unknown_target_is_an_error_and_changes_nothing(stack: LambdaStack, event: dict[str, Any], said: str) -> None:
    stack.secret(NAME, stack.account())
    stack.account("other")
    before = stack.state()
    with pytest.raises(RotatorError, match=said):
        revoke(event, Context())
    assert stack.state() == before


def test_infobip_out_of_reach_is_raised(stack: LambdaStack) -> None:
    stack.secret(NAME, stack.account())
    stack.world.faults.add(Fault(FaultKind.STATUS_BEFORE, status=401, count=None))
    with pytest.raises(RotatorError):
        revoke({"secret_id": NAME, "reason": REASON}, Context())
    assert stack.consumer_works(NAME)
