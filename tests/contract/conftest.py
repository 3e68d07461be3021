"""One moto server a session, emptied before each test that uses it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from moto.server import ThreadedMotoServer

from rotator.aws.clients import make_client, make_session
from tests.contract.worlds import PRIMARY_REGION, REGION, MemoryWorld, MotoWorld, World


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def moto_clients(moto_url: str) -> tuple[Any, Any]:
    """Clients of the region of the tests and of the one that replicas come from; made once, for that takes time."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", moto_url)
        environment.setenv("AWS_ACCESS_KEY_ID", "testing")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        environment.setenv("AWS_CONFIG_FILE", "/dev/null")
        environment.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        environment.delenv("AWS_PROFILE", raising=False)
        return (
            make_client(make_session(REGION), "secretsmanager", attempts=1),
            make_client(make_session(PRIMARY_REGION), "secretsmanager", attempts=1),
        )


@pytest.fixture
def moto_world(moto_url: str, moto_clients: tuple[Any, Any]) -> MotoWorld:
    requests.post(f"{moto_url}/moto-api/reset", timeout=10).raise_for_status()
    return MotoWorld(*moto_clients)


@pytest.fixture
def memory_world() -> MemoryWorld:
    return MemoryWorld()


@pytest.fixture(params=["memory", "moto"])
def world(request: pytest.FixtureRequest) -> World:
    """Each test that takes this runs over both stores."""
    found: World = request.getfixturevalue(f"{request.param}_world")
    return found
