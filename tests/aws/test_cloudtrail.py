"""CloudTrail over HTTP: the requests, how events are read, and every way in which it does not answer."""

from __future__ import annotations

import json
import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rotator.aws.clients import make_client, make_session
from rotator.aws.cloudtrail import (
    INTERVAL,
    LAG,
    LONGEST_SEARCH,
    CloudTrail,
    UnreadableEvent,
    names_of,
    principal_of,
    read_of,
)
from rotator.errors import ConfigurationError, ReadersUnknown, RotatorError
from rotator.model import Read, SecretEntry
from rotator.sandbox.clocks import VirtualClock
from tests.aws.fake_aws import Answer, FakeAws, Handler, drop, error, error_by_header, half, ok, text
from tests.policy.build import arn_of, secret, vid

NOW = datetime(2026, 9, 1, 10, 0, tzinfo=UTC)
SINCE = NOW - timedelta(days=20)
NAME = "prod/sms"
SECRET = secret(NAME, {"v2": "CURRENT key:K2", "v1": "PREVIOUS key:K1"})
ARN = arn_of(NAME)
ROLE = "arn:aws:iam::123456789012:role/service/billing"
SESSION = {
    "type": "AssumedRole",
    "arn": "arn:aws:sts::123456789012:assumed-role/billing/i-0123456789",
    "principalId": "AROAEXAMPLE:i-0123456789",
    "sessionContext": {"sessionIssuer": {"type": "Role", "arn": ROLE, "userName": "billing"}},
}


@pytest.fixture
def trail(aws: FakeAws, credentials: pytest.MonkeyPatch) -> CloudTrail:
    return made(aws, credentials)


def made(aws: FakeAws, credentials: pytest.MonkeyPatch, **options: Any) -> CloudTrail:
    credentials.setenv("AWS_ENDPOINT_URL", aws.url)
    client = make_client(make_session("eu-central-1"), "cloudtrail", attempts=1, read_timeout=5)
    return CloudTrail(lambda: client, VirtualClock(NOW), **options)


def record(secret_id: Any = NAME, identity: Any = SESSION, **more: Any) -> dict[str, Any]:
    """The text that stands in an event, as AWS writes it."""
    return {
        "eventVersion": "1.11",
        "userIdentity": identity,
        "eventTime": "2026-08-31T10:00:00Z",
        "eventSource": "secretsmanager.amazonaws.com",
        "eventName": "GetSecretValue",
        "userAgent": "Boto3/1.40.0 md/Botocore#1.40.0 ua/2.1 os/linux",
        "requestParameters": {"secretId": secret_id},
        "responseElements": None,
        "readOnly": True,
        **more,
    }


def event(
    inner: Any = None, at: datetime = NOW - timedelta(days=1), name: str = "GetSecretValue", **more: Any
) -> dict[str, Any]:
    return {
        "EventId": str(uuid.uuid4()),
        "EventName": name,
        "EventTime": at.timestamp(),
        "CloudTrailEvent": json.dumps(record() if inner is None else inner),
        **more,
    }


def page(*events: dict[str, Any], token: str | None = None) -> Answer:
    return ok(Events=list(events), **({} if token is None else {"NextToken": token}))


def parsed(inner: Any = None, **more: Any) -> Read | None:
    """One event, as botocore gives it."""
    found = event(inner, **more)
    return read_of({**found, "EventTime": NOW}, SECRET)


# ---- requests -----------------------------------------------------------------------------------------------------


def test_every_name_is_looked_up_at_aws_pace(aws: FakeAws, trail: CloudTrail) -> None:
    aws.answers = [page(event())]
    clock = trail._clock
    found = trail.reads(SECRET, SINCE)
    assert aws.operations == ["LookupEvents"] * 3
    attributes = [parameters["LookupAttributes"] for _, parameters in aws.requests]
    partial = ARN.removesuffix("-AbCdEf")
    assert attributes == [[{"AttributeKey": "ResourceName", "AttributeValue": name}] for name in (ARN, NAME, partial)]
    assert {(parameters["StartTime"], parameters["MaxResults"]) for _, parameters in aws.requests} == {
        (SINCE.timestamp(), 50)
    }
    assert clock.now() - NOW == 2 * INTERVAL
    assert [read.principal for read in found.reads] == [ROLE]
    assert (found.since, found.until, found.gap) == (SINCE, NOW - LAG, "")


def test_event_under_two_names_counts_once(aws: FakeAws, trail: CloudTrail) -> None:
    same, other = event(), event(record(ARN))
    aws.answers = [page(same, other), page(other, same), page()]
    assert len(trail.reads(SECRET, SINCE).reads) == 2


def test_all_reads_searched_without_names(aws: FakeAws, trail: CloudTrail) -> None:
    aws.answers = [page(event(name="PutSecretValue")), page(), page(), page(event(), event(record("other")))]
    assert [read.principal for read in trail.reads(SECRET, SINCE).reads] == [ROLE]
    (attribute,) = aws.requests[3][1]["LookupAttributes"]
    assert attribute == {"AttributeKey": "EventName", "AttributeValue": "GetSecretValue"}


def test_own_read_shows_that_names_work(aws: FakeAws, trail: CloudTrail) -> None:
    own = record(userAgent="Botocore/1.40.0 ua/2.1 rotator/0.3.0")
    aws.answers = [page(event(own)), page(), page(), page(event())]
    assert trail.reads(SECRET, SINCE).reads == ()
    assert len(aws.requests) == 3


def test_pages_are_followed_past_empty_one(aws: FakeAws, trail: CloudTrail) -> None:
    aws.answers = [page(event(), token="a"), page(token="b"), page(event()), page()]
    assert len(trail.reads(SECRET, SINCE).reads) == 2
    assert [parameters.get("NextToken") for _, parameters in aws.requests] == [None, "a", "b", None, None]


def test_reads_past_last_page_are_unknown(aws: FakeAws, credentials: pytest.MonkeyPatch) -> None:
    oldest = NOW - timedelta(days=3)
    aws.answers = [page(event(), token="a"), page(event(at=oldest), token="b"), page()]
    found = made(aws, credentials, pages=2).reads(SECRET, SINCE)
    assert len(found.reads) == 2
    assert found.since == oldest
    aws.answers = [page(event(), token="a"), page(event(at=oldest)), page()]
    assert made(aws, credentials, pages=2).reads(SECRET, SINCE).since == SINCE
    aws.answers = [page(event(), token="a"), page(token="b"), page()]
    assert made(aws, credentials, pages=2).reads(SECRET, SINCE).since == NOW


def test_slow_log_is_cut_too(aws: FakeAws, trail: CloudTrail) -> None:
    def slow(handler: Handler) -> None:
        trail._clock.sleep(LONGEST_SEARCH.total_seconds())
        page(event(), token=str(len(aws.requests)))(handler)

    aws.answers = [slow]
    found = trail.reads(SECRET, SINCE)
    assert len(aws.requests) == 3  # one page by each name
    assert found.since > SINCE


def test_repeated_page_ends_listing(aws: FakeAws, trail: CloudTrail) -> None:
    aws.answers = [page(token="a")]
    assert isinstance(fails(trail), ReadersUnknown)
    assert len(aws.requests) == 2


def test_not_more_than_history_is_asked_for(aws: FakeAws, trail: CloudTrail) -> None:
    aws.answers = [page(event())]
    found = trail.reads(SECRET, NOW - timedelta(days=400))
    assert found.since == NOW - timedelta(days=90) + timedelta(hours=1)


def test_two_at_once_keep_pace_together(aws: FakeAws, trail: CloudTrail) -> None:
    aws.answers = [page(event())]
    threads = [threading.Thread(target=trail.reads, args=(SECRET, SINCE)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(aws.requests) == 12
    assert trail._clock.now() - NOW >= 11 * INTERVAL


# ---- what goes wrong ------------------------------------------------------------------------------------------------


def fails(trail: CloudTrail) -> RotatorError:
    with pytest.raises(RotatorError) as caught:
        trail.reads(SECRET, SINCE)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


@pytest.mark.parametrize("answer", [error("AccessDeniedException", "User: x"), error("AccessDenied", status=403)])
def test_denied_names_permission(aws: FakeAws, trail: CloudTrail, answer: Answer) -> None:
    aws.answers = [answer]
    failure = fails(trail)
    assert isinstance(failure, ReadersUnknown)
    assert failure.message.startswith("cloudtrail:LookupEvents ")
    assert "cloudtrail:LookupEvents" in failure.advice


BROKEN: dict[str, tuple[Answer, str]] = {
    "throttled": (error("ThrottlingException", "Rate exceeded"), "CloudTrail"),
    "500": (error("InternalFailure", status=500), "InternalFailure"),
    "503": (text(503), "503"),
    "refused": (error("InvalidTimeRangeException", "secret words"), "InvalidTimeRangeException"),
    "by header": (error_by_header("InvalidTimeRangeException"), "InvalidTimeRangeException"),
    "a hostile code": (error("\x1b[31m"), "cloudtrail:LookupEvents (400)"),
    "not JSON": (text(200), "CloudTrail"),
    "not an object": (text(200, b"[]"), "CloudTrail"),
    "no events": (ok(), "CloudTrail"),
    "events of a wrong kind": (ok(Events="x"), "CloudTrail"),
    "reset": (drop, "ConnectionClosedError"),
    "half an answer": (half, "CloudTrail"),
}


@pytest.mark.parametrize(("answer", "expected"), BROKEN.values(), ids=BROKEN)
def test_without_answer_nothing_is_known(aws: FakeAws, trail: CloudTrail, answer: Answer, expected: str) -> None:
    aws.answers = [page(event()), answer]
    failure = fails(trail)
    assert isinstance(failure, ReadersUnknown)
    assert expected in str(failure)
    assert str(failure).isprintable()
    assert failure.retryable


def test_missing_credentials_are_error(aws: FakeAws, credentials: pytest.MonkeyPatch) -> None:
    trail = made(aws, credentials)

    def lost(**_: Any) -> None:
        from botocore.exceptions import NoCredentialsError

        raise NoCredentialsError

    trail._client().meta.events.register_first("before-sign.cloudtrail.LookupEvents", lost)
    assert isinstance(fails(trail), ConfigurationError)


def test_events_that_are_none_make_gap(aws: FakeAws, trail: CloudTrail) -> None:
    def answer(handler: Handler) -> None:
        broken = event() | {"CloudTrailEvent": "{"}
        handler.send(200, json.dumps({"Events": [broken, event()]}).encode())

    aws.answers = [answer]
    found = trail.reads(SECRET, SINCE)
    assert found.reads
    assert found.gap.startswith("3 ")


# ---- events ------------------------------------------------------------------------------------------------------

ACCOUNT = "111122223333"
IDENTITIES: list[tuple[Any, str]] = [
    (SESSION, ROLE),
    ({**SESSION, "sessionContext": {}}, "arn:aws:iam::123456789012:role/billing"),
    ({"type": "IAMUser", "arn": "arn:aws:iam::123456789012:user/ana"}, "arn:aws:iam::123456789012:user/ana"),
    ({"type": "Root", "arn": "arn:aws:iam::123456789012:root"}, "arn:aws:iam::123456789012:root"),
    ({"type": "AWSService", "invokedBy": "batch.amazonaws.com"}, "batch.amazonaws.com"),
    (
        {"type": "AWSAccount", "principalId": "AROAEXAMPLE:session-7", "accountId": ACCOUNT},
        f"AROAEXAMPLE of account {ACCOUNT}",
    ),
    ({"type": "SAMLUser", "userName": "ana"}, "ana"),
    ({"type": "WebIdentityUser"}, "WebIdentityUser"),
    ({}, "unknown"),
    (None, "unknown"),
    ("x", "unknown"),
    ({"arn": 7, "sessionContext": {"sessionIssuer": []}, "principalId": {}}, "unknown"),
]


@pytest.mark.parametrize(("identity", "principal"), IDENTITIES)
def test_principals(identity: Any, principal: str) -> None:
    assert principal_of(identity) == principal
    found = parsed(record(identity=identity))
    assert found is not None
    assert found.principal == principal


LISTED = {"Resources": [{"ResourceType": "AWS::SecretsManager::Secret", "ResourceName": ARN}]}
READS: list[tuple[Any, dict[str, Any]]] = [
    *((record(name), {}) for name in names_of(SECRET)),
    (record(userAgent="key-rotator/1.0"), {}),  # who calls itself nearly like us
    (record(userAgent="rotator/alpha"), {}),
    (record(requestParameters=None), LISTED),
]
NO_READS: list[tuple[Any, dict[str, Any]]] = [
    *((record(name), {}) for name in ("prod/sms-copy", ARN + "x", None, [NAME])),
    (record("other"), LISTED),
    (record(errorCode="AccessDenied", errorMessage="no"), {}),
    *((record(userAgent=agent), {}) for agent in ("Botocore/1.40.0 rotator/0.3.0", "[Botocore/1.40.0 rotator/1.0]")),
    (record(eventSource="ssm.amazonaws.com"), {}),
    (record(requestParameters={"secretId": NAME, "versionStage": "AWSPENDING"}), {}),
    (record(requestParameters=None), {}),
    ({}, {}),
]


@pytest.mark.parametrize(
    ("inner", "more", "read"), [*((*each, True) for each in READS), *((*each, False) for each in NO_READS)]
)
def test_consumers_reads(inner: Any, more: dict[str, Any], read: bool) -> None:
    assert (parsed(inner, **more) is not None) is read


CURRENT: list[dict[str, Any]] = [{}, {"versionStage": "AWSCURRENT"}, {"versionId": vid("v2")}]
OLDER: list[dict[str, Any]] = [
    *({"versionStage": stage} for stage in ("AWSPREVIOUS", "mine", 7)),
    *({"versionId": vid(version)} for version in ("v1", "v0")),
]


@pytest.mark.parametrize("parameters", [*CURRENT, *OLDER])
def test_which_version_was_read(parameters: dict[str, Any]) -> None:
    found = parsed(record(requestParameters={"secretId": NAME, **parameters}))
    assert found is not None
    assert found.current is (parameters in CURRENT)


@pytest.mark.parametrize("inner", ["{", "[]", "7", "null", None, 7, "[" * 100_000])
def test_unclear_event_makes_reads_unknown(inner: Any) -> None:
    with pytest.raises(UnreadableEvent):
        read_of({**event(), "EventTime": NOW, "CloudTrailEvent": inner}, SECRET)


@pytest.mark.parametrize("when", ["", "yesterday", "2026-08-31T10:00:00", 7, None, "0001-01-01T00:00:00+23:59"])
def test_event_without_time_is_unknown(when: Any) -> None:
    with pytest.raises(UnreadableEvent):
        read_of({**event(record(eventTime=when)), "EventTime": "?"}, SECRET)


def test_names_of_secret_with_strange_arn() -> None:
    assert names_of(SecretEntry("arn:x", "n", {}, {})) == ("arn:x", "n")
