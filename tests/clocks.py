"""Both clocks of a machine, where the wall clock is set by hand."""

from __future__ import annotations

from datetime import datetime, timedelta

from rotator.daemon import Clocks


class SettableClocks:
    """Time passes on both; ``set_by`` changes the wall clock alone, as ``date --set`` does."""

    def __init__(self, wall: datetime) -> None:
        self.wall = wall
        self.seconds = 1000.0
        self.both = Clocks(lambda: self.wall, lambda: self.seconds)

    def pass_time(self, length: timedelta) -> None:
        self.wall += length
        self.seconds += length.total_seconds()

    def set_by(self, step: timedelta) -> None:
        self.wall += step
