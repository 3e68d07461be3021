"""Clocks that can be moved, so that ninety days pass in a second."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, runtime_checkable

from rotator.clock import SystemClock
from rotator.ports import Clock

DEFAULT_START: Final = datetime(2026, 9, 1, 10, 0, 0, tzinfo=UTC)


@runtime_checkable
class MovableClock(Clock, Protocol):
    """A clock that obeys; time never moves but by these calls and, for some, by itself.

    ``monotonic`` counts every move forwards by ``advance`` and ``sleep`` as time that passed; ``set`` is a step of the
    wall clock alone, but for a :class:`VirtualClock`, which has no other time.
    """

    def advance(self, by: timedelta) -> None:
        """Move time by that much, backwards where it is negative."""
        ...

    def set(self, to: datetime) -> None:
        """Move time to that moment; ``ValueError`` where it has no offset."""
        ...


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a time needs an offset; add +00:00 if it is in UTC")
    return moment.astimezone(UTC)


class VirtualClock:
    """Time that stands still until it is moved; ``sleep`` moves it instead of waiting.

    :param start: the first moment, aware; a fixed one by default, so that runs can be repeated.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._lock = threading.Lock()
        self._now = _utc(start or DEFAULT_START)
        self._passed = timedelta(0)

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        """Seconds by which time was moved forwards, ``set`` included: this clock has no other time to go by."""
        with self._lock:
            return self._passed.total_seconds()

    def sleep(self, seconds: float) -> None:
        """Move time by ``seconds``, at once; negative ones are ignored, as a sleep can't go back."""
        if seconds > 0:
            self.advance(timedelta(seconds=seconds))

    def advance(self, by: timedelta) -> None:
        """Move time by that much."""
        with self._lock:
            self._move(self._now + by)

    def set(self, to: datetime) -> None:
        """Move time to that moment."""
        moment = _utc(to)
        with self._lock:
            self._move(moment)

    def _move(self, to: datetime) -> None:
        self._passed += max(to - self._now, timedelta(0))
        self._now = to


class OffsetClock:
    """Another clock's time (the machine's by default) plus an offset that can be moved; ``sleep`` moves the offset.

    It also serves as a clock that is wrong: give it the right clock and an offset.
    """

    def __init__(self, base: Clock | None = None, offset: timedelta = timedelta(0)) -> None:
        self._base: Clock = base or SystemClock()
        self._lock = threading.Lock()
        self._offset = offset
        self._passed = timedelta(0)

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        with self._lock:
            return self._base.now() + self._offset

    def monotonic(self) -> float:
        """The other clock's, plus the seconds by which the offset was advanced; ``set`` is a step that it ignores."""
        with self._lock:
            return self._base.monotonic() + self._passed.total_seconds()

    def sleep(self, seconds: float) -> None:
        """Move the offset by ``seconds``, at once."""
        if seconds > 0:
            self.advance(timedelta(seconds=seconds))

    def advance(self, by: timedelta) -> None:
        """Move the offset by that much."""
        with self._lock:
            self._offset += by
            self._passed += max(by, timedelta(0))

    def set(self, to: datetime) -> None:
        """Choose the offset so that it is that moment now: a step of the wall clock, in which no time passes."""
        moment = _utc(to)
        with self._lock:
            self._offset = moment - self._base.now()
