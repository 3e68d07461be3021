from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
import requests

from rotator.errors import ConfigurationError
from rotator.sandbox.aws import consumer_value
from rotator.sandbox.clocks import DEFAULT_START, OffsetClock, VirtualClock
from rotator.sandbox.launcher import EXAMPLES, UNMANAGED_KEY, Sandbox, serve_sandbox
from tests.sandbox.conftest import KEYS
from tests.wire_schema import watch


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    sandbox = Sandbox(clock=VirtualClock())
    watch(sandbox.world)
    with sandbox:
        yield sandbox


def tags(entry: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in entry["Tags"]}


def test_management_secret_opens_infobip(sandbox: Sandbox) -> None:
    value = json.loads(consumer_value(sandbox.client(), "rotator/main"))
    assert set(value) == {"base_url", "username", "password", "auth"}
    answer = requests.get(value["base_url"] + KEYS, auth=(value["username"], value["password"]), timeout=10)
    names = [key["name"] for key in answer.json()["apiKeys"]]
    assert sorted(names) == sorted([e.name for e in EXAMPLES if e.age is not None] + [UNMANAGED_KEY])


def test_fleet_is_as_its_table_says(sandbox: Sandbox) -> None:
    listed = {entry["Name"]: entry for entry in sandbox.client().list_secrets(MaxResults=100)["SecretList"]}
    assert set(listed) >= {e.name for e in EXAMPLES} | {"rotator/main"}
    assert tags(listed["rotator/main"]) == {"rotator:role": "management", "rotator:account": "main"}
    assert tags(listed["prod/marketing"])["rotator:hold"] == "audit freeze until 1 Dec"
    for example in EXAMPLES:
        versions = listed[example.name].get("SecretVersionsToStages", {})
        labels = [stage for stages in versions.values() for stage in stages]
        own = [label for label in labels if label.startswith("rotator:key:")]
        key = sandbox.fleet.keys.get(example.name)
        assert own == ([f"rotator:key:{key.id}"] if key is not None and example.adopted else [])
        assert ("AWSCURRENT" in labels) == (key is not None) == (example.age is not None)
        assert tags(listed[example.name])["rotator:role"] == "key"
        if key is not None:
            text = consumer_value(sandbox.client(), example.name)
            value = text if example.plain else json.loads(text)[example.field]
            assert sandbox.world.authenticates(value), example.name
            assert sandbox.world.key_of(value) == key
            assert key.scopes == set(example.scopes)
            assert key.valid_to - DEFAULT_START == timedelta(days=example.left)


def test_environment_is_all_that_it_takes(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in sandbox.environment.items():
        monkeypatch.setenv(name, value)
    client = boto3.session.Session().client("secretsmanager")
    assert client.describe_secret(SecretId="prod/sms/otp")["Name"] == "prod/sms/otp"


def test_sandbox_serves_until_stopped() -> None:
    stop = threading.Event()
    seen: list[tuple[datetime, int]] = []
    before = datetime.now(UTC)

    def ready(sandbox: Sandbox) -> None:
        assert isinstance(sandbox.clock, OffsetClock)
        status = requests.get(sandbox.aws.url + "/moto-api/", timeout=10).status_code
        seen.append((sandbox.clock.now(), status))
        stop.set()

    serve_sandbox(None, stop, ready=ready)
    ((told, status),) = seen
    assert before <= told <= datetime.now(UTC)
    assert status == 200


@pytest.mark.parametrize("server", [0, 1], ids=["infobip", "secrets-manager"])
def test_port_that_is_taken_is_said_so(server: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1] - server
        with pytest.raises(ConfigurationError, match=f"port {port}"):
            serve_sandbox(port, threading.Event(), ready=lambda _sandbox: pytest.fail("not ready"))


def test_port_that_cannot_be_is_said_so() -> None:
    with pytest.raises(ConfigurationError, match="70000"):
        serve_sandbox(70000, threading.Event(), ready=lambda _sandbox: pytest.fail("not ready"))
