"""An event bus that fails, hangs or dawdles costs a run a few seconds at most; every lost event is in the log."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest

from rotator.aws import eventbridge as events
from rotator.aws.clients import make_client, make_session
from rotator.aws.eventbridge import ATTEMPTS, CONNECT_TIMEOUT, LONGEST, READ_TIMEOUT, EventBridge
from rotator.redaction.redactor import Redactor
from tests import leaks
from tests.aws.fake_aws import Answer, FakeAws, drop, error, hang, ok, text

DONE = ok(FailedEntryCount=0, Entries=[{"EventId": "1"}])

DETAIL = {"secret": "prod/sms", "secret_arn": "arn:aws:secretsmanager:eu-central-1:1:secret:prod/sms", "key_id": "K1"}


class Timer:
    """Stands still, however busy this machine is."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def timer() -> Timer:
    return Timer()


@pytest.fixture
def client(aws: FakeAws, credentials: pytest.MonkeyPatch) -> Any:
    credentials.setenv("AWS_ENDPOINT_URL", aws.url)
    session = make_session("eu-central-1")
    timeouts = {"connect_timeout": CONNECT_TIMEOUT, "read_timeout": READ_TIMEOUT}
    return make_client(session, "events", attempts=ATTEMPTS, **timeouts)


@pytest.fixture
def bus(client: Any, timer: Timer) -> EventBridge:
    return EventBridge("rotations", lambda: client, Redactor(), timer)


@pytest.fixture
def timed(client: Any) -> EventBridge:
    """By the machine's own time: for answers that never come."""
    return EventBridge("rotations", lambda: client, Redactor())


def send(bus: EventBridge, count: int = 1) -> float:
    """Send some; gives how long that took."""
    begun = time.monotonic()
    for number in range(count):
        bus.send("API Key Rotated", {**DETAIL, "number": number})
    return time.monotonic() - begun


def lost(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "rotator.aws.eventbridge"]


def test_a_silent_bus_is_waited_for_once_in_a_run(
    aws: FakeAws, timed: EventBridge, caplog: pytest.LogCaptureFixture
) -> None:
    aws.answers = [hang]
    assert send(timed, 50) < 50 * LONGEST / 3
    assert aws.operations == ["PutEvents"]
    messages = lost(caplog)
    assert len(messages) == 50
    assert "not tried" in messages[1]
    details = [vars(record)["detail"] for record in caplog.records if record.name == "rotator.aws.eventbridge"]
    assert details == [{**DETAIL, "number": number} for number in range(50)]


def test_the_next_run_tries_again(aws: FakeAws, timed: EventBridge, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.answers = [hang]
    first = timed.fresh()
    send(first, 2)
    monkeypatch.setattr(events, "LONGEST", 60.0)
    aws.answers = [DONE]
    second = timed.fresh()
    send(second, 2)
    assert aws.operations == ["PutEvents"] * 3


def test_a_slow_connect_is_abandoned_after_three_seconds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What no timeout of a client's covers."""
    monkeypatch.setattr(events, "LONGEST", 0.2)
    over = threading.Event()
    try:
        assert send(EventBridge("rotations", over.wait, Redactor()), 3) < 20
    finally:
        over.set()
    assert "no answer in time" in lost(caplog)[0]
    assert len(lost(caplog)) == 3


@pytest.mark.parametrize("broken", [drop, text(503), error("ThrottlingException")])
def test_what_fails_at_once_is_tried_a_second_time(
    aws: FakeAws, bus: EventBridge, caplog: pytest.LogCaptureFixture, broken: Answer
) -> None:
    aws.answers = [broken, DONE]
    send(bus, 2)
    assert len(aws.requests) == 3
    assert lost(caplog) == []


def test_what_fails_twice_is_not_tried_again(aws: FakeAws, bus: EventBridge, caplog: pytest.LogCaptureFixture) -> None:
    aws.answers = [error("AccessDeniedException", "no identity-based policy allows events:PutEvents")]
    send(bus, 5)
    assert len(aws.requests) == 2
    assert len(lost(caplog)) == 5


def test_a_bus_that_dawdles_is_given_up(
    aws: FakeAws, bus: EventBridge, caplog: pytest.LogCaptureFixture, timer: Timer
) -> None:
    def slow(handler: Any) -> None:
        timer.seconds += 2
        DONE(handler)

    aws.answers = [slow]
    send(bus, 10)
    assert len(aws.requests) == 3
    assert len(lost(caplog)) == 7
    assert "too slowly" in lost(caplog)[-1]


def test_what_fails_late_is_not_tried_again(aws: FakeAws, bus: EventBridge, timer: Timer) -> None:
    def late(handler: Any) -> None:
        timer.seconds += 2
        drop(handler)

    aws.answers = [late]
    send(bus)
    assert len(aws.requests) == 1


def test_a_lost_event_is_redacted_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    redactor = Redactor()
    redactor.learn(leaks.register("a-password-that-was-read"))

    def connect() -> Any:
        raise RuntimeError("a-password-that-was-read")

    EventBridge("rotations", connect, redactor).send("Rotation Failed", {"error": "refused a-password-that-was-read"})
    (record,) = [record for record in caplog.records if record.name == "rotator.aws.eventbridge"]
    assert vars(record)["detail"] == {"error": "refused <redacted>"}
    assert "a-password" not in record.getMessage()


def test_a_detail_that_is_no_json_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    EventBridge("rotations", lambda: None, Redactor()).send("API Key Rotated", {"secret": object(), "key_id": {1}})
    assert len(lost(caplog)) == 1


def test_warnings_are_what_is_logged(aws: FakeAws, bus: EventBridge, caplog: pytest.LogCaptureFixture) -> None:
    aws.answers = [ok(FailedEntryCount=1, Entries=[{"ErrorCode": "InternalFailure"}])]
    send(bus, 2)
    assert len(aws.requests) == 2  # an answer, and a fast one: the next may be taken
    levels = {record.levelno for record in caplog.records if record.name == "rotator.aws.eventbridge"}
    assert levels == {logging.WARNING}
