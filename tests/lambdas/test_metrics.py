"""What the functions measure: on standard output, and only where a namespace is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rotator.lambda_ import runtime
from rotator.lambda_handlers import sweep, worker
from tests.lambdas.lambda_stack import DAY, Context, LambdaStack


@pytest.fixture(params=["sweep", "worker"])
def answer(request: pytest.FixtureRequest) -> Any:
    """Both functions that sweep, as one that gives nothing."""
    message = {"messageId": "m", "body": json.dumps({"account": "main"}), "eventSource": "aws:sqs", "attributes": {}}
    calls = {"sweep": lambda: sweep({}, Context()), "worker": lambda: worker({"Records": [message]}, Context())}
    return calls[request.param]


def test_metrics_are_on_stdout(
    stack: LambdaStack, answer: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROTATOR_METRIC_NAMESPACE", "Keys")
    monkeypatch.setenv("ROTATOR_DEPLOYMENT", "blue")
    runtime.forget()
    stack.secret("prod/sms", left=5 * DAY)
    answer()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    plain = [line for line in lines if "rotator_creates_left" in line]
    assert [(line["deployment"], line["account"], line["rotator_creates_left"]) for line in plain] == [
        ("blue", "main", 31)
    ]
    assert not [line for line in lines if "secret" in line]  # the new key has 90 days
    assert [line["rotator_rotations_total"] for line in lines if "reason" in line] == [1]


def test_no_namespace_no_metrics(stack: LambdaStack, answer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    stack.secret("prod/sms", left=5 * DAY)
    answer()
    assert capsys.readouterr().out == ""
