"""The clock of a sandbox as the system clock of the rotator in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rotator import bootstrap
from rotator.ports import Clock


@contextmanager
def near_clock(clock: Clock) -> Iterator[None]:
    """What reads the system clock in this process reads ``clock``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "SystemClock", lambda: clock)
        yield
