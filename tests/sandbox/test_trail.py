"""The sandbox's CloudTrail: what was really read, page by page, by real clients; and moto as it was afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import botocore.exceptions
import pytest

from rotator.aws.clients import make_client, make_session
from rotator.aws.cloudtrail import CloudTrail
from rotator.aws.secretsmanager import SecretsManagerStore
from rotator.sandbox.aws import MotoServer, create_managed, environment
from rotator.sandbox.clocks import VirtualClock

NOW = datetime(2026, 9, 1, 10, 0, tzinfo=UTC)
NAME = "prod/sms"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MotoServer]:
    with MotoServer(VirtualClock(NOW)) as running:
        for name, value in environment("http://127.0.0.1:1", running.url).items():
            monkeypatch.setenv(name, value)
        yield running


def client(server: MotoServer, service: str, user: str = "ana") -> Any:
    keys = {"aws_access_key_id": user, "aws_secret_access_key": "x"}
    return boto3.client(service, endpoint_url=server.url, region_name="eu-central-1", **keys)  # type: ignore[call-overload]


def look(server: MotoServer) -> list[tuple[str, datetime, bool]]:
    made = server.client()
    entry = SecretsManagerStore(made).describe(NAME)
    trail = CloudTrail(make_client(make_session(), "cloudtrail"), VirtualClock(NOW + timedelta(days=1)))
    return [(each.principal, each.at, each.current) for each in trail.reads(entry, NOW - timedelta(days=1)).reads]


def test_who_read_what(server: MotoServer) -> None:
    arn = create_managed(server.client(), NAME, "main", "value")
    for secret_id in (NAME, arn, arn[:-7]):
        client(server, "secretsmanager").get_secret_value(SecretId=secret_id)
    client(server, "secretsmanager", "bob").get_secret_value(SecretId=NAME, VersionStage="AWSCURRENT")
    with pytest.raises(botocore.exceptions.ClientError):
        client(server, "secretsmanager", "eve").get_secret_value(SecretId=NAME, VersionStage="AWSPREVIOUS")
    SecretsManagerStore(make_client(make_session(), "secretsmanager")).read_current(NAME)
    user = "arn:aws:iam::123456789012:user/"
    assert sorted(look(server)) == [(f"{user}ana", NOW, True)] * 3 + [(f"{user}bob", NOW, True)]
    server.reset()
    create_managed(server.client(), NAME, "main", "value")
    assert look(server) == []


def test_pages(server: MotoServer) -> None:
    create_managed(server.client(), NAME, "main", "value")
    reader, trail = client(server, "secretsmanager"), client(server, "cloudtrail")
    for _ in range(5):
        reader.get_secret_value(SecretId=NAME)
    wanted = [{"AttributeKey": "ResourceName", "AttributeValue": NAME}]
    first = trail.lookup_events(LookupAttributes=wanted, MaxResults=3)
    second = trail.lookup_events(LookupAttributes=wanted, MaxResults=3, NextToken=first["NextToken"])
    ids = [event["EventId"] for page in (first, second) for event in page["Events"]]
    assert (len(ids), len(set(ids)), "NextToken" in second) == (5, 5, False)
    later = trail.lookup_events(LookupAttributes=wanted, StartTime=NOW + timedelta(seconds=1))
    assert later["Events"] == []


def test_moto_gets_its_own_back() -> None:
    from moto.cloudtrail.responses import CloudTrailResponse
    from moto.secretsmanager.responses import SecretsManagerResponse

    before = (SecretsManagerResponse.get_secret_value, vars(CloudTrailResponse).get("lookup_events"))
    with MotoServer():
        with MotoServer():
            assert SecretsManagerResponse.get_secret_value is not before[0]
        assert SecretsManagerResponse.get_secret_value is not before[0]
    assert (SecretsManagerResponse.get_secret_value, vars(CloudTrailResponse).get("lookup_events")) == before
