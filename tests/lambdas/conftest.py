"""A fresh simulated Infobip, an empty AWS and handlers just loaded for each test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rotator.lambda_ import runtime
from rotator.sandbox.aws import environment
from rotator.sandbox.clocks import OffsetClock
from rotator.sandbox.infobip import InfobipWorld
from rotator.sandbox.server import InfobipServer
from tests.lambdas.lambda_stack import LambdaStack
from tests.lambdas.package import build, unpack
from tests.near_clock import near_clock
from tests.support.moto import Moto


@pytest.fixture
def stack(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> Iterator[LambdaStack]:
    with made(moto, monkeypatch) as fresh:
        yield fresh


@contextmanager
def made(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> Iterator[LambdaStack]:
    """Everything, for as long as the environment that ``monkeypatch`` sets."""
    clock = OffsetClock()
    world = InfobipWorld(clock)
    with moto.emptied(clock) as client, InfobipServer(world) as infobip, near_clock(infobip.url, clock):
        for name, value in environment(infobip.url, moto.url).items():
            monkeypatch.setenv(name, value)
        runtime.forget()
        yield LambdaStack(world, infobip.url, moto.url, clock, client)
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
