"""A machine's clock, whose wall clock is set by hand."""

from __future__ import annotations

from datetime import datetime, timedelta


class SettableClock:
    """Time passes; ``set_by`` changes the wall clock alone, as ``date --set`` does."""

    def __init__(self, wall: datetime) -> None:
        self.wall = wall
        self.seconds = 1000.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.pass_time(timedelta(seconds=seconds))

    def pass_time(self, length: timedelta) -> None:
        self.wall += length
        self.seconds += length.total_seconds()

    def set_by(self, step: timedelta) -> None:
        self.wall += step
