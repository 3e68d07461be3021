"""When the daemon's next sweep is due, whatever happens to this machine's clock meanwhile.

Time that passes is measured by a clock that cannot be set; ``--cron`` names times of the wall clock, which can. Where
the wall clock was set, the last sweep worked by a wrong time and the next one may be far away by the right one: so a
sweep follows soon, at most one in five minutes however often the clock is set.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from apscheduler.triggers.base import BaseTrigger

from rotator.clock import SystemClock, uptime
from rotator.durations import human_duration

STEP: Final = timedelta(seconds=60)
"""A wall clock that differs by more from the time that has passed was set; less is how clocks go."""
SOON: Final = timedelta(minutes=5)
"""After the last sweep began, where the clock was set since."""
_LOG = logging.getLogger("rotator.daemon")


class Schedule(Protocol):
    """When to sweep. Implemented by :mod:`rotator.cli.schedule`."""

    @property
    def trigger(self) -> BaseTrigger:
        """A new trigger of APScheduler's, with jitter."""
        ...

    @property
    def by_wall_clock(self) -> bool:
        """Whether it names times of day, and not only the time between two sweeps."""
        ...

    def overdue_at(self, since: datetime) -> datetime:
        """When three sweeps should have come after ``since``."""
        ...


@dataclass(frozen=True)
class Clocks:
    """Both clocks of this machine.

    :param now: the wall clock, which may be set at any moment.
    :param uptime: seconds since some moment, by a clock that cannot be set.
    """

    now: Callable[[], datetime] = SystemClock().now
    uptime: Callable[[], float] = uptime


class Timetable:
    """When the next sweep is due: the first one at once. For one thread."""

    def __init__(self, schedule: Schedule, clocks: Clocks) -> None:
        self._trigger = schedule.trigger
        self._by_wall_clock = schedule.by_wall_clock
        self._clocks = clocks
        self._due = self._last = clocks.uptime()
        self._offset = self._measured()

    def begin_at(self, first: datetime) -> None:
        """Let the first sweep be due then, by the wall clock as it is now."""
        self._due = self._clocks.uptime() + (first - self._clocks.now()).total_seconds()

    def remaining(self) -> float:
        """Seconds until the next sweep is due, not positive where it is. To be asked at least once a minute."""
        now, offset = self._clocks.uptime(), self._measured()
        step = offset - self._offset
        if abs(step) > STEP.total_seconds():
            self._offset = offset
            self._due = min(self._due, max(now, self._last + SOON.total_seconds()))
            self._log_step(timedelta(seconds=step), self._due - now)
        elif self._by_wall_clock:
            self._offset = offset
            self._due -= step
        return self._due - now

    def advance(self) -> tuple[datetime, timedelta]:
        """Go on to the next one; gives when the one that is due now was due, by the wall clock, and how late it is."""
        wall, now = self._clocks.now(), self._clocks.uptime()
        late = timedelta(seconds=now - self._due)
        due = wall - late
        # One that comes a few milliseconds early must not find its own time once more.
        since = max(wall, due)
        following = self._trigger.get_next_fire_time(since, since)
        self._last = now
        if following is not None:  # else the scheduler ends, which uses the same trigger
            self._due = now + (following - wall).total_seconds()
        return due, late

    def _measured(self) -> float:
        return self._clocks.now().timestamp() - self._clocks.uptime()

    @staticmethod
    def _log_step(step: timedelta, wait: float) -> None:
        direction = "forward" if step > timedelta(0) else "back"
        following = "at once" if wait < 1 else f"in {human_duration(timedelta(seconds=wait))}"
        text = "this machine's clock was set %s by %s; the next sweep begins %s"
        _LOG.warning(text, direction, human_duration(abs(step)), following)
