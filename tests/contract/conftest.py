"""The two stores; moto is emptied before each test that uses it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rotator.aws.clients import make_client, make_session
from rotator.clock import SystemClock
from tests.contract.worlds import PRIMARY_REGION, REGION, MemoryWorld, MotoWorld, World
from tests.support.moto import Moto


@pytest.fixture(scope="session")
def moto_clients(moto: Moto) -> tuple[Any, Any]:
    """Clients of the region of the tests and of the one that replicas come from; made once, for that takes time."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", moto.url)
        return (
            make_client(make_session(REGION), "secretsmanager", attempts=1),
            make_client(make_session(PRIMARY_REGION), "secretsmanager", attempts=1),
        )


@pytest.fixture
def moto_world(moto: Moto, moto_clients: tuple[Any, Any]) -> Iterator[MotoWorld]:
    with moto.emptied(SystemClock()):
        yield MotoWorld(*moto_clients)


@pytest.fixture
def memory_world() -> MemoryWorld:
    return MemoryWorld()


@pytest.fixture(params=["memory", "moto"])
def world(request: pytest.FixtureRequest) -> World:
    """Each test that takes this runs over both stores."""
    found: World = request.getfixturevalue(f"{request.param}_world")
    return found
