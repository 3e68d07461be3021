"""Secrets Manager and CloudTrail of the sandbox, by real clients; and moto as it was afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import botocore.exceptions
import pytest

from rotator.aws.clients import make_client, make_session
from rotator.aws.cloudtrail import CloudTrail
from rotator.aws.secretsmanager import SecretsManagerStore
from rotator.sandbox.aws import (
    DUMMY_CREDENTIALS,
    MotoServer,
    consumer_value,
    create_managed,
    create_management,
    environment,
)
from rotator.sandbox.clocks import VirtualClock

NOW = datetime(2026, 9, 1, 10, 0, tzinfo=UTC)
NAME = "prod/sms"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MotoServer]:
    with MotoServer(VirtualClock(NOW)) as running:
        for name, value in environment(running.url).items():
            monkeypatch.setenv(name, value)
        yield running


def client(server: MotoServer, service: str, user: str = "ana") -> Any:
    keys = {"aws_access_key_id": user, "aws_secret_access_key": "x"}
    return boto3.client(service, endpoint_url=server.url, region_name="eu-central-1", **keys)  # type: ignore[call-overload]


def readers(server: MotoServer) -> list[tuple[str, datetime, bool]]:
    made = server.client()
    entry = SecretsManagerStore(made).describe(NAME)
    trail = CloudTrail(lambda: make_client(make_session(), "cloudtrail"), VirtualClock(NOW + timedelta(days=1)))
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
    assert sorted(readers(server)) == [(f"{user}ana", NOW, True)] * 3 + [(f"{user}bob", NOW, True)]
    server.reset()
    create_managed(server.client(), NAME, "main", "value")
    assert readers(server) == []


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


def test_dates_follow_clock_and_start_empty(capfd: pytest.CaptureFixture[str]) -> None:
    clock = VirtualClock(NOW)
    with MotoServer(clock) as server:
        client = server.client()
        create_managed(client, "dated", "main", "x" * 8)
        clock.set(NOW + timedelta(days=50))
        client.put_secret_value(SecretId="dated", SecretString="y" * 8)
        # Not by ListSecretVersionIds: moto says "now" there for every version.
        created = client.get_secret_value(SecretId="dated", VersionStage="AWSCURRENT")["CreatedDate"]
        assert created.astimezone(UTC) == NOW + timedelta(days=50)
        assert client.describe_secret(SecretId="dated")["CreatedDate"].astimezone(UTC) == NOW
    with MotoServer() as server:
        client = server.client()
        assert client.list_secrets()["SecretList"] == []
        before = datetime.now(UTC) - timedelta(seconds=2)
        create_managed(client, "two", "main")
        assert client.describe_secret(SecretId="two")["CreatedDate"].astimezone(UTC) >= before
        server.reset()
        assert client.list_secrets()["SecretList"] == []
    assert capfd.readouterr() == ("", "")


def test_secrets_as_users_make_them(server: MotoServer) -> None:
    client = server.client()
    arn = create_management(
        client,
        "other",
        base_url="https://x.api.example",
        username="u",
        password="p4ss-word",
        auth="oauth2",
        account_id="A1",
        name="elsewhere",
        tags={"team": "ops"},
    )
    assert json.loads(consumer_value(client, arn)) == {
        "base_url": "https://x.api.example",
        "username": "u",
        "password": "p4ss-word",
        "auth": "oauth2",
        "account_id": "A1",
    }
    assert {"Key": "team", "Value": "ops"} in client.describe_secret(SecretId="elsewhere")["Tags"]
    spec = {"grace": "1h", "rotator:validity": "9d"}
    create_managed(client, "by/hand", "other", "v4lue-of-a-key", key_id="AB", tags=spec)
    described = client.describe_secret(SecretId="by/hand")
    assert {tag["Key"]: tag["Value"] for tag in described["Tags"]} == {
        "rotator:role": "key",
        "rotator:account": "other",
        "rotator:grace": "1h",
        "rotator:validity": "9d",
    }
    assert [set(stages) for stages in described["VersionIdsToStages"].values()] == [{"AWSCURRENT", "rotator:key:AB"}]


def moved(client: Any) -> str:
    """What a read without a stage returns after ``AWSCURRENT`` was moved to another version."""
    arn = client.create_secret(Name="moved", SecretString="old")["ARN"]
    old = client.describe_secret(SecretId=arn)["VersionIdsToStages"]
    new = client.put_secret_value(SecretId=arn, SecretString="new", VersionStages=["next"])["VersionId"]
    client.update_secret_version_stage(
        SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=new, RemoveFromVersionId=next(iter(old))
    )
    return str(client.get_secret_value(SecretId=arn)["SecretString"])


def test_default_read_is_current(server: MotoServer) -> None:
    assert moved(server.client()) == "new"


UNPATCHED = """
import boto3, moto
from tests.sandbox.test_moto_server import moved
with moto.mock_aws():
    print(moved(boto3.client("secretsmanager", region_name="eu-central-1")))
"""


def test_moto_still_needs_patch() -> None:
    """Fails once moto does it itself: then remove the patch. In a process without the tests' patched server."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("AWS_")} | DUMMY_CREDENTIALS
    done = subprocess.run([sys.executable, "-c", UNPATCHED], env=kept, capture_output=True, text=True, timeout=120)
    assert (done.stdout.strip(), done.returncode) == ("old", 0), done.stderr
