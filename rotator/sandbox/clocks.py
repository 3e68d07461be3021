"""Clocks that can be moved, so that ninety days pass in a second."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Final

from rotator.clock import SystemClock
from rotator.ports import Clock

DEFAULT_START: Final = datetime(2026, 9, 1, 10, 0, 0, tzinfo=UTC)


class OffsetClock:
    """Another clock's time (the machine's by default) plus an offset that can be moved; ``sleep`` moves the offset.

    It also serves as a clock that is wrong: give it the right clock and an offset.
    """

    def __init__(self, base: Clock | None = None, offset: timedelta = timedelta(0)) -> None:
        self._base: Clock = base or SystemClock()
        self._lock = threading.RLock()
        self._offset = offset
        self._passed = timedelta(0)

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        with self._lock:
            return self._base.now() + self._offset

    def monotonic(self) -> float:
        """Return the other clock's seconds, plus those by which the offset was advanced."""
        with self._lock:
            return self._base.monotonic() + self._passed.total_seconds()

    def sleep(self, seconds: float) -> None:
        """Move time by ``seconds``, at once; negative ones are ignored, as a sleep can't go back."""
        self.advance(timedelta(seconds=max(0.0, seconds)))

    def advance(self, by: timedelta) -> None:
        """Move time by that much; backwards if it is negative."""
        with self._lock:
            self._offset += by
            self._passed += max(by, timedelta(0))

    def set(self, to: datetime) -> None:
        """Step the wall clock to that moment, without time passing.

        ``ValueError`` if the moment has no UTC offset.
        """
        moment = _utc(to)
        with self._lock:
            self._offset = moment - self._base.now()


class _StoppedClock(SystemClock):
    """Always the same moment."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def now(self) -> datetime:
        return self._moment

    def monotonic(self) -> float:
        return 0.0


class VirtualClock(OffsetClock):
    """Time that stands still until it is moved. A ``set`` forwards counts as time that passed.

    :param start: the first moment, aware; a fixed one by default, so that runs can be repeated.
    """

    def __init__(self, start: datetime | None = None) -> None:
        super().__init__(_StoppedClock(_utc(start or DEFAULT_START)))

    def set(self, to: datetime) -> None:
        """Move time to that moment."""
        with self._lock:
            self.advance(_utc(to) - self.now())


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a time needs an offset; add +00:00 if it is in UTC")
    return moment.astimezone(UTC)
