"""An event bus that fails or hangs costs a run a few seconds at most; every lost event is in the log."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from rotator.aws.clients import make_client, make_session
from rotator.aws.eventbridge import PUBLISH_ATTEMPTS, PUBLISH_CONNECT_TIMEOUT, PUBLISH_READ_TIMEOUT, EventBridge
from rotator.redaction.redactor import Redactor
from tests import leaks
from tests.aws.fake_aws import Answer, FakeAws, drop, error, hang, ok, text

DONE = ok(FailedEntryCount=0, Entries=[{"EventId": "1"}])

DETAIL = {"secret": "prod/sms", "secret_arn": "arn:aws:secretsmanager:eu-central-1:1:secret:prod/sms", "key_id": "K1"}


@pytest.fixture
def bus(aws: FakeAws, credentials: pytest.MonkeyPatch) -> EventBridge:
    credentials.setenv("AWS_ENDPOINT_URL", aws.url)
    timeouts = {"connect_timeout": 5, "read_timeout": 0.5}
    return EventBridge(
        "rotations",
        lambda: make_client(make_session("eu-central-1"), "events", attempts=PUBLISH_ATTEMPTS, **timeouts),
        Redactor(),
    )


def send(bus: EventBridge, count: int = 1) -> None:
    for number in range(count):
        bus.send("API Key Rotated", {**DETAIL, "number": number})


def lost(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "rotator.aws.eventbridge"]


def test_silent_bus_is_waited_for_once(aws: FakeAws, bus: EventBridge, caplog: pytest.LogCaptureFixture) -> None:
    aws.answers = [hang]
    send(bus, 50)
    assert aws.operations == ["PutEvents"]
    messages = lost(caplog)
    assert len(messages) == 50
    assert "ReadTimeoutError" in messages[0]
    assert "ReadTimeoutError" not in messages[1]
    details = [vars(record)["detail"] for record in caplog.records if record.name == "rotator.aws.eventbridge"]
    assert details == [{**DETAIL, "number": number} for number in range(50)]


def test_event_waits_three_seconds_at_most() -> None:
    assert (PUBLISH_CONNECT_TIMEOUT + PUBLISH_READ_TIMEOUT, PUBLISH_ATTEMPTS) == (3, 1)


def test_closed_connection_is_made_again(aws: FakeAws, bus: EventBridge, caplog: pytest.LogCaptureFixture) -> None:
    aws.answers = [DONE, drop, DONE]
    send(bus, 2)
    assert len(aws.requests) == 3
    assert lost(caplog) == []


@pytest.mark.parametrize(("answer", "calls"), [(error("AccessDeniedException"), 1), (text(503), 1), (drop, 2)])
def test_after_failure_run_sends_no_more(
    aws: FakeAws, bus: EventBridge, caplog: pytest.LogCaptureFixture, answer: Answer, calls: int
) -> None:
    aws.answers = [answer]
    send(bus, 5)
    assert len(aws.requests) == calls
    assert len(lost(caplog)) == 5


def test_lost_event_is_redacted_in_log(caplog: pytest.LogCaptureFixture) -> None:
    redactor = Redactor()
    redactor.learn(leaks.register("a-password-that-was-read"))

    def connect() -> Any:
        raise RuntimeError("a-password-that-was-read")

    EventBridge("rotations", connect, redactor).send("Rotation Failed", {"error": "refused a-password-that-was-read"})
    (record,) = [record for record in caplog.records if record.name == "rotator.aws.eventbridge"]
    assert vars(record)["detail"] == {"error": "refused <redacted>"}
    assert "a-password" not in record.getMessage()


def test_detail_without_json_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    EventBridge("rotations", lambda: None, Redactor()).send("API Key Rotated", {"secret": object(), "key_id": {1}})
    assert len(lost(caplog)) == 1


def test_warnings_are_what_is_logged(aws: FakeAws, bus: EventBridge, caplog: pytest.LogCaptureFixture) -> None:
    aws.answers = [ok(FailedEntryCount=1, Entries=[{"ErrorCode": "InternalFailure"}])]
    send(bus, 2)
    assert len(aws.requests) == 2  # an answer, and a fast one: the next may be taken
    levels = {record.levelno for record in caplog.records if record.name == "rotator.aws.eventbridge"}
    assert levels == {logging.WARNING}
