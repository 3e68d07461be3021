"""Handlers that were just loaded, over a fresh world."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rotator.lambda_ import runtime
from rotator.sandbox.aws import environment
from rotator.sandbox.clocks import OffsetClock
from rotator.sandbox.infobip import InfobipWorld
from rotator.sandbox.server import InfobipServer
from tests.lambdas.lambda_stack import LambdaStack
from tests.near_clock import near_clock
from tests.support.moto import Moto


@contextmanager
def made(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> Iterator[LambdaStack]:
    """Everything, for as long as the environment that ``monkeypatch`` sets."""
    clock = OffsetClock()
    world = InfobipWorld(clock)
    with moto.emptied(clock) as client, InfobipServer(world) as infobip, near_clock(clock):
        for name, value in environment(moto.url).items():
            monkeypatch.setenv(name, value)
        runtime.forget()
        yield LambdaStack(world, infobip.url, moto.url, clock, client)
        runtime.forget()
