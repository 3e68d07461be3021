"""A fresh simulated Infobip, and an empty Secrets Manager, for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rotator.sandbox.clocks import OffsetClock
from rotator.sandbox.infobip import InfobipWorld
from rotator.sandbox.server import InfobipServer
from tests.cli.local_stack import Stack
from tests.near_clock import near_clock
from tests.support.moto import Moto


@pytest.fixture
def stack(moto: Moto) -> Iterator[Stack]:
    clock = OffsetClock()
    world = InfobipWorld(clock)
    with moto.emptied(clock) as client, InfobipServer(world) as infobip, near_clock(infobip.url, clock):
        yield Stack(world, infobip.url, moto.url, clock, client)
