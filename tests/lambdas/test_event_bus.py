"""EventBridge: events arrive, hold no secret, and nothing that goes wrong with them stops the work."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rotator.aws import eventbridge as aws_events
from rotator.aws.eventbridge import EventBridge
from rotator.bootstrap import prepare
from rotator.lambda_ import runtime
from rotator.lambda_handlers import revoke, rotation, sweep
from rotator.redaction.redactor import Redactor
from tests import leaks
from tests.aws.fake_aws import FakeAws, hang, ok, serve
from tests.lambdas.site import DAY, Context, Site

BUS = "rotations"
Taken = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def taken(site: Site, monkeypatch: pytest.MonkeyPatch) -> Taken:
    """The bus, with a queue behind it; gives what arrived there since the last call."""
    events, sqs = site.aws("events"), site.aws("sqs")
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


def test_a_sweep_and_an_emergency_are_told(site: Site, taken: Taken) -> None:
    key = site.secret("prod/sms", site.account(), left=5 * DAY, age=85 * DAY)
    sweep({}, Context())
    told = {event["detail-type"]: event for event in taken()}
    assert set(told) == {"API Key Rotated", "API Key Retired"}
    rotated = told["API Key Rotated"]
    version, value = site.current("prod/sms")
    assert rotated["source"] == "infobip-key-rotator"
    assert rotated["resources"] == [site.arn("prod/sms")]
    assert rotated["detail"]["key_id"] == value["key_id"]
    assert rotated["detail"]["version_id"] == version
    assert told["API Key Retired"]["detail"]["key_id"] == key.id
    revoke({"secret_id": "prod/sms", "reason": "leak", "incident": "INC-1"}, Context())
    (emergency,) = [event for event in taken() if event["detail-type"] == "Emergency Revocation"]
    assert emergency["detail"]["incident"] == "INC-1"
    assert emergency["detail"]["outcome"] == "success"


def test_a_failed_step_is_told(site: Site, taken: Taken) -> None:
    site.secret("prod/sms", site.account(), hold="audit freeze")
    token = site.start_rotation("prod/sms")
    event = {"SecretId": "prod/sms", "ClientRequestToken": token, "Step": "createSecret"}
    with pytest.raises(Exception, match="hold"):
        rotation(event, Context())
    (told,) = taken()
    assert told["detail-type"] == "Rotation Failed"
    assert told["detail"]["version_id"] == token
    assert "audit freeze" in told["detail"]["error"]


def test_a_secret_in_a_detail_is_taken_out(site: Site, taken: Taken) -> None:
    foundation = runtime.foundation()
    foundation.redactor.learn(leaks.register("a-password-that-was-read"))
    foundation.events.send("Rotation Failed", {"error": "refused a-password-that-was-read", "secret": "prod/sms"})
    (told,) = taken()
    assert told["detail"] == {"error": "refused <redacted>", "secret": "prod/sms"}


def test_a_common_value_blanks_nothing_in_an_event(site: Site, taken: Taken) -> None:
    account = site.account()
    site.secret("prod/sms", account, left=5 * DAY, age=85 * DAY)
    foundation = runtime.foundation()
    for text in ("prod/sms", site.arn("prod/sms"), account.name, "expiring", "secret", "key_id", "detail-type"):
        foundation.redactor.learn(text)
    sweep({}, Context())
    told = taken()
    assert {event["detail"]["secret"] for event in told} == {"prod/sms"}
    assert {tuple(event["resources"]) for event in told} == {(site.arn("prod/sms"),)}
    assert {event["detail"]["account"] for event in told} == {account.name}
    assert "<redacted>" not in json.dumps(told)


@pytest.mark.parametrize("wrong", ["no answer", "no client"])
def test_an_event_that_is_lost_is_logged_and_stops_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch, lines: Callable[[], list[dict[str, Any]]], wrong: str
) -> None:
    monkeypatch.setenv("ROTATOR_EVENT_BUS", "arn:aws:events:eu-central-1:123456789012:event-bus/none")
    if wrong == "no answer":
        monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", "http://127.0.0.1:9")
    else:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", "no url")
    runtime.forget()
    site.secret("prod/sms", site.account(), left=5 * DAY, age=85 * DAY)
    assert sweep({}, Context())["done"] == 1
    said = [line for line in lines() if line.get("log") == "rotator.aws.eventbridge"]
    assert len(said) == 2
    assert 'the event "API Key Rotated"' in said[0]["event"]


def test_an_event_that_eventbridge_does_not_take_is_logged(
    site: Site, monkeypatch: pytest.MonkeyPatch, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    refusal = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException", "ErrorMessage": "Slow down"}]}
    fake = FakeAws([ok(**refusal)])
    server = serve(fake)
    monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", fake.url)
    monkeypatch.setenv("ROTATOR_EVENT_BUS", BUS)
    runtime.forget()
    try:
        runtime.foundation().events.send("API Key Rotated", {"secret": "prod/sms"})
    finally:
        server.shutdown()
        server.server_close()
    assert fake.operations == ["PutEvents"]
    (said,) = [line["event"] for line in lines() if line.get("log") == "rotator.aws.eventbridge"]
    assert "refused by EventBridge" in said


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAws]:
    """A bus that takes an event and never answers."""
    fake = FakeAws([hang])
    server = serve(fake)
    monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", fake.url)
    monkeypatch.setenv("ROTATOR_EVENT_BUS", BUS)
    monkeypatch.setattr(aws_events, "LONGEST", 1.2)
    runtime.forget()
    yield fake
    fake.stopping.set()
    server.shutdown()
    server.server_close()


def test_no_kill_waits_for_a_silent_bus(site: Site, silent: FakeAws, lines: Callable[[], list[dict[str, Any]]]) -> None:
    account = site.account()
    site.secret("prod/sms", account)
    event = {"secret_id": "prod/sms", "reason": "leak", "strategy": "revoke-first"}
    alive: list[int] = []

    def look(handler: Any) -> None:
        alive.append(len(site.live(account)))
        hang(handler)

    silent.answers = [look]
    answer = revoke(event, Context())
    assert answer["ok"]
    assert alive == [1]  # one event is tried, when only the new key is left
    lost = [line for line in lines() if line.get("log") == "rotator.aws.eventbridge"]
    assert [line["detail"]["key_id"] for line in lost] == [
        answer["revoked"][0],
        site.current("prod/sms")[1]["key_id"],
        answer["revoked"][0],
    ]
    assert {line["detail"]["reason"] for line in lost} == {"leak"}


def test_a_sweep_waits_for_a_silent_bus_once(site: Site, silent: FakeAws) -> None:
    account = site.account()
    for number in range(3):
        site.secret(f"prod/{number}", account, left=5 * DAY, age=85 * DAY)
    assert sweep({}, Context())["done"] == 3
    assert len(silent.requests) == 1
    sweep({}, Context())  # nothing to tell
    site.secret("prod/late", account, left=5 * DAY, age=85 * DAY)
    assert sweep({}, Context())["done"] == 1
    assert len(silent.requests) == 2  # each run tries again


def test_no_client_is_made_where_no_bus_is_named_or_nothing_is_told(site: Site) -> None:
    made: list[int] = []
    EventBridge(BUS, lambda: made.append(1), Redactor())
    assert made == []
    assert type(prepare().events).__name__ == "NoEvents"
