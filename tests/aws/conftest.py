"""A faulty AWS on this machine, and clients for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rotator.aws.clients import make_client, make_session
from rotator.aws.secretsmanager import SecretsManagerStore
from tests.aws.fake_aws import FakeAws, serving

StoreMaker = Callable[..., SecretsManagerStore]


@pytest.fixture
def clean_env(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No credentials, region or files of this machine are seen."""
    for name in (
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_ENDPOINT_URL",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


@pytest.fixture
def credentials(clean_env: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    clean_env.setenv("AWS_ACCESS_KEY_ID", "AKIATESTING")
    clean_env.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    return clean_env


@pytest.fixture(scope="session")
def aws_server() -> Iterator[FakeAws]:
    with serving() as fake:
        yield fake


@pytest.fixture
def aws(aws_server: FakeAws) -> Iterator[FakeAws]:
    aws_server.answers, aws_server.requests, aws_server.stopping = [], [], threading.Event()
    yield aws_server
    aws_server.stopping.set()


@pytest.fixture(scope="session")
def clients() -> dict[tuple[object, ...], Any]:
    """Clients that were made already, for making one takes longer than a test."""
    return {}


@pytest.fixture
def make_store(aws: FakeAws, credentials: pytest.MonkeyPatch, clients: dict[tuple[object, ...], Any]) -> StoreMaker:
    """Makes a store on the faulty AWS; tries once by default, for botocore waits between attempts."""

    def make(attempts: int = 1, read_timeout: float = 5, url: str = aws.url) -> SecretsManagerStore:
        kind = (attempts, read_timeout, url)
        if kind not in clients:
            credentials.setenv("AWS_ENDPOINT_URL", url)
            session = make_session("eu-central-1")
            clients[kind] = make_client(session, "secretsmanager", attempts=attempts, read_timeout=read_timeout)
        return SecretsManagerStore(clients[kind])

    return make


@pytest.fixture
def store(make_store: StoreMaker) -> SecretsManagerStore:
    return make_store()
