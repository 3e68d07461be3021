"""The clock of a sandbox in this process, read without an HTTP request: a single rotation reads it a hundred times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rotator import remote_clock
from rotator.ports import Clock


@contextmanager
def near_clock(url: str, clock: Clock) -> Iterator[None]:
    """What asks for the time at ``url`` in this process reads ``clock``."""
    elsewhere = remote_clock.RemoteClock
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote_clock, "RemoteClock", lambda asked: clock if asked == url else elsewhere(asked))
        yield
