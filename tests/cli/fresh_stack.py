"""What the fixture ``stack`` gives to tests of any directory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rotator.sandbox.clocks import OffsetClock
from rotator.sandbox.infobip import InfobipWorld
from rotator.sandbox.server import InfobipServer
from tests.cli.seen_stack import SeenStack
from tests.near_clock import near_clock
from tests.support.moto import Moto


@contextmanager
def local_stack(moto: Moto) -> Iterator[SeenStack]:
    """Empty, on the machine's clock."""
    clock = OffsetClock()
    world = InfobipWorld(clock)
    with moto.emptied(clock) as client, InfobipServer(world) as infobip, near_clock(clock):
        yield SeenStack(world, infobip.url, moto.url, clock, client)
