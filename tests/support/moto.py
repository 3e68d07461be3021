"""Secrets Manager by moto: one server a process, in which every test finds nothing and its own time."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rotator.clock import SystemClock
from rotator.ports import Clock
from rotator.sandbox.aws import REGION, MotoServer


class _Followed(SystemClock):
    """The time of the test that runs."""

    of: Clock = SystemClock()

    def now(self) -> datetime:
        return self.of.now()


class Moto:
    """The running server, and its clients, which take longer to make than to use."""

    def __init__(self, server: MotoServer, clock: _Followed) -> None:
        self._server, self._clock = server, clock
        self.url = server.url
        self.client = functools.cache(server.client)

    @contextmanager
    def emptied(self, clock: Clock) -> Iterator[Any]:
        """Nothing is stored, and dates follow this clock; gives a client."""
        self._clock.of = clock
        self._server.reset()
        yield self.client(REGION)
        self._clock.of = SystemClock()


@contextmanager
def moto_server() -> Iterator[Moto]:
    """One that is started here."""
    clock = _Followed()
    with MotoServer(clock) as server:
        yield Moto(server, clock)
