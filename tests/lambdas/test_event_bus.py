"""EventBridge: events arrive, hold no secret, and nothing that goes wrong with them stops the work."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rotator.aws import eventbridge as aws_events
from rotator.aws.eventbridge import EventBridge
from rotator.bootstrap import prepare
from rotator.errors import RotatorError
from rotator.lambda_ import runtime
from rotator.lambda_handlers import revoke, rotation, sweep
from rotator.redaction.redactor import Redactor
from tests import leaks
from tests.aws.fake_aws import FakeAws, hang, ok, serving
from tests.lambdas.lambda_stack import DAY, Context, LambdaStack

BUS = "rotations"
Taken = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def taken(stack: LambdaStack, monkeypatch: pytest.MonkeyPatch) -> Taken:
    """The bus, with a queue behind it; gives what arrived there since the last call."""
    events, sqs = stack.aws("events"), stack.aws("sqs")
    events.create_event_bus(Name=BUS)
    url = sqs.create_queue(QueueName="events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = json.dumps({"source": ["infobip-key-rotator"]})
    events.put_rule(Name="all", EventBusName=BUS, EventPattern=pattern)
    events.put_targets(Rule="all", EventBusName=BUS, Targets=[{"Id": "queue", "Arn": arn}])
    monkeypatch.setenv("ROTATOR_EVENT_BUS", BUS)
    runtime.forget()

    def take() -> list[dict[str, Any]]:
        found = []
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                leaks.check(message["Body"], "an event")
                found.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found

    return take


def test_events_of_sweep_and_emergency(stack: LambdaStack, taken: Taken) -> None:
    key = stack.secret("prod/sms", left=5 * DAY)
    sweep({}, Context())
    sent = {event["detail-type"]: event for event in taken()}
    assert set(sent) == {"API Key Rotated", "API Key Retired"}
    rotated = sent["API Key Rotated"]
    version, value = stack.current_version("prod/sms"), stack.value("prod/sms")
    assert rotated["source"] == "infobip-key-rotator"
    assert rotated["resources"] == [stack.arn("prod/sms")]
    assert rotated["detail"]["key_id"] == value["key_id"]
    assert rotated["detail"]["version_id"] == version
    assert sent["API Key Retired"]["detail"]["key_id"] == key.id
    revoke({"secret_id": "prod/sms", "reason": "leak", "incident": "INC-1"}, Context())
    (emergency,) = [event for event in taken() if event["detail-type"] == "Emergency Revocation"]
    assert emergency["detail"]["incident"] == "INC-1"
    assert emergency["detail"]["outcome"] == "success"


def test_event_of_failed_step(stack: LambdaStack, taken: Taken) -> None:
    stack.secret("prod/sms", hold="audit freeze")
    token = stack.start_rotation("prod/sms")
    event = {"SecretId": "prod/sms", "ClientRequestToken": token, "Step": "createSecret"}
    with pytest.raises(RotatorError, match="hold"):
        rotation(event, Context())
    (failed,) = taken()
    assert failed["detail-type"] == "Rotation Failed"
    assert failed["detail"]["version_id"] == token
    assert "audit freeze" in failed["detail"]["error"]


def test_secret_in_event_is_redacted(stack: LambdaStack, taken: Taken) -> None:
    """Threat: a value in an event on the bus. It is redacted."""
    foundation = runtime.foundation()
    foundation.redactor.learn(leaks.register("a-password-that-was-read"))
    foundation.events().send("Rotation Failed", {"error": "refused a-password-that-was-read", "secret": "prod/sms"})
    (event,) = taken()
    assert event["detail"] == {"error": "refused <redacted>", "secret": "prod/sms"}


def test_common_value_redacts_no_event(stack: LambdaStack, taken: Taken) -> None:
    account = stack.account()
    stack.secret("prod/sms", account, left=5 * DAY)
    foundation = runtime.foundation()
    for text in ("prod/sms", stack.arn("prod/sms"), account.name, "expiring", "secret", "key_id", "detail-type"):
        foundation.redactor.learn(text)
    sweep({}, Context())
    events = taken()
    assert {event["detail"]["secret"] for event in events} == {"prod/sms"}
    assert {tuple(event["resources"]) for event in events} == {(stack.arn("prod/sms"),)}
    assert {event["detail"]["account"] for event in events} == {account.name}
    assert "<redacted>" not in json.dumps(events)


@pytest.mark.parametrize("wrong", ["no answer", "no client"])
def test_lost_event_stops_nothing(
    stack: LambdaStack, monkeypatch: pytest.MonkeyPatch, lines: Callable[[], list[dict[str, Any]]], wrong: str
) -> None:
    monkeypatch.setenv("ROTATOR_EVENT_BUS", "arn:aws:events:eu-central-1:123456789012:event-bus/none")
    if wrong == "no answer":
        monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", "http://127.0.0.1:9")
    else:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", "no url")
    runtime.forget()
    stack.secret("prod/sms", left=5 * DAY)
    assert sweep({}, Context())["done"] == 1
    logged = [line for line in lines() if line.get("log") == "rotator.aws.eventbridge"]
    assert len(logged) == 2
    assert 'the event "API Key Rotated"' in logged[0]["event"]


def test_refused_event_is_logged(
    stack: LambdaStack, monkeypatch: pytest.MonkeyPatch, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    refusal = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException", "ErrorMessage": "Slow down"}]}
    with serving(ok(**refusal)) as fake:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", fake.url)
        monkeypatch.setenv("ROTATOR_EVENT_BUS", BUS)
        runtime.forget()
        runtime.foundation().events().send("API Key Rotated", {"secret": "prod/sms"})
    assert fake.operations == ["PutEvents"]
    (text,) = [line["event"] for line in lines() if line.get("log") == "rotator.aws.eventbridge"]
    assert "EventBridge" in text


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAws]:
    """A bus that takes an event and never answers."""
    with serving(hang) as fake:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", fake.url)
        monkeypatch.setenv("ROTATOR_EVENT_BUS", BUS)
        monkeypatch.setattr(aws_events, "PUBLISH_READ_TIMEOUT", 0.5)
        runtime.forget()
        yield fake


def test_no_revocation_waits_for_silent_bus(
    stack: LambdaStack, silent: FakeAws, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    account = stack.account()
    stack.secret("prod/sms", account)
    event = {"secret_id": "prod/sms", "reason": "leak", "strategy": "revoke-first"}
    active: list[int] = []

    def note(handler: Any) -> None:
        active.append(len(stack.live(account)))
        hang(handler)

    silent.answers = [note]
    answer = revoke(event, Context())
    assert answer["ok"]
    assert active == [1]  # one event is tried, when only the new key is left
    lost = [line for line in lines() if line.get("log") == "rotator.aws.eventbridge"]
    assert [line["detail"]["key_id"] for line in lost] == [
        answer["keys"][0]["key_id"],
        stack.value("prod/sms")["key_id"],
        answer["keys"][0]["key_id"],
    ]
    assert {line["detail"]["reason"] for line in lost} == {"leak"}


def test_sweep_waits_for_silent_bus_once(stack: LambdaStack, silent: FakeAws) -> None:
    account = stack.account()
    for number in range(3):
        stack.secret(f"prod/{number}", account, left=5 * DAY)
    assert sweep({}, Context())["done"] == 3
    assert len(silent.requests) == 1
    sweep({}, Context())  # no event to send
    stack.secret("prod/late", account, left=5 * DAY)
    assert sweep({}, Context())["done"] == 1
    assert len(silent.requests) == 2  # each run tries again


def test_no_client_without_bus_or_event(stack: LambdaStack) -> None:
    made: list[int] = []
    EventBridge(BUS, lambda: made.append(1), Redactor())
    assert made == []
    assert type(prepare().events()).__name__ == "NoEvents"
