"""One moto server a module; a fresh simulated Infobip, and an empty Secrets Manager, for each test."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from rotator.sandbox.aws import MotoServer
from rotator.sandbox.clocks import OffsetClock
from rotator.sandbox.server import InfobipServer
from tests.cli.local_stack import Stack
from tests.near_clock import near_clock
from tests.support.faulty_infobip import FaultyInfobip


@pytest.fixture(scope="module")
def moto() -> Iterator[tuple[MotoServer, OffsetClock]]:
    clock = OffsetClock()
    with MotoServer(clock) as server:
        yield server, clock


@pytest.fixture
def stack(moto: tuple[MotoServer, OffsetClock]) -> Iterator[Stack]:
    server, clock = moto
    clock.set(datetime.now(UTC))
    server.reset()
    world = FaultyInfobip(clock)
    with InfobipServer(world) as infobip, near_clock(infobip.url, clock):
        yield Stack(server, infobip, world, clock, server.client())
