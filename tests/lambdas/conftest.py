"""A fresh simulated Infobip, an empty AWS and handlers just loaded for each test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lambdas.lambda_stack import LambdaStack
from tests.lambdas.loaded_handlers import made
from tests.lambdas.package import build, unpack
from tests.support.moto import Moto


@pytest.fixture
def stack(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> Iterator[LambdaStack]:
    with made(moto, monkeypatch) as fresh:
        yield fresh


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
