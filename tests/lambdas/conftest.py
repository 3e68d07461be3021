"""One moto server a module; a fresh simulated Infobip, an empty AWS and handlers just loaded for each test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rotator.lambda_ import runtime
from rotator.sandbox.aws import MotoServer, environment
from rotator.sandbox.clocks import OffsetClock
from rotator.sandbox.server import InfobipServer
from tests.lambdas.lambda_stack import LambdaStack
from tests.lambdas.package import build, unpack
from tests.near_clock import near_clock
from tests.support.faulty_infobip import FaultyInfobip


@dataclass
class Moto:
    """A server, its clock, and a client, which takes longer to make than to use."""

    server: MotoServer
    clock: OffsetClock
    client: Any


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    clock = OffsetClock()
    with MotoServer(clock) as server:
        yield Moto(server, clock, server.client())


@pytest.fixture
def stack(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> Iterator[LambdaStack]:
    with made(moto, monkeypatch) as fresh:
        yield fresh


@contextmanager
def made(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> Iterator[LambdaStack]:
    """Everything, for as long as the environment that ``monkeypatch`` sets."""
    moto.clock.set(datetime.now(UTC))
    moto.server.reset()
    world = FaultyInfobip(moto.clock)
    with InfobipServer(world) as infobip, near_clock(infobip.url, moto.clock):
        for name, value in environment(infobip.url, moto.server.url).items():
            monkeypatch.setenv(name, value)
        runtime.forget()
        yield LambdaStack(moto.server.url, infobip.url, world, moto.clock, moto.client)
        runtime.forget()


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    """Logs and audit lines since the last call."""
    return lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The zip, and what the script printed."""
    target = tmp_path_factory.mktemp("built") / "rotator-lambda.zip"
    return target, build(target)


@pytest.fixture(scope="session")
def task(archive: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked zip, where a Lambda finds it."""
    return unpack(archive[0], tmp_path_factory.mktemp("lambda") / "task")
