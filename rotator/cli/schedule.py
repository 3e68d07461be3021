"""``--every``, ``--cron``, ``--timezone`` and ``--jitter`` of ``rotator serve``, read into a schedule."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import ClassVar, Final

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from rotator.durations import format_duration, parse_duration
from rotator.errors import ConfigurationError
from rotator.policy.windows import time_zone
from rotator.text import printable, quoted

DEFAULT_EVERY: Final = timedelta(hours=1)
LONGEST_EVERY: Final = timedelta(days=31)
MOST_JITTER: Final = timedelta(minutes=5)
UNHEALTHY_AFTER: Final = 3
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAY: Final = r"(?:[0-7]|" + "|".join(_DAYS) + ")"
_DAY_PART: Final = re.compile(rf"(\*|(?P<first>{_DAY})(?:-(?P<last>{_DAY}))?)(?:/(?P<step>[1-7]))?")
_LONGEST_CRON: Final = 200
_EXAMPLE: Final = 'Use five fields such as "0 * * * *" (hourly) or "30 6 * * mon-fri".'


@dataclass(frozen=True)
class Every:
    """A sweep each ``every``, and up to ``jitter`` later, counted from the one before."""

    every: timedelta
    jitter: timedelta
    by_wall_clock: ClassVar[bool] = False

    @property
    def trigger(self) -> BaseTrigger:
        """A new trigger."""
        return IntervalTrigger(seconds=int(self.every.total_seconds()), timezone=UTC, jitter=_seconds(self.jitter))

    def overdue_at(self, since: datetime) -> datetime:
        """Three intervals after ``since``."""
        return since + UNHEALTHY_AFTER * (self.every + self.jitter)

    def __str__(self) -> str:
        return f"every {format_duration(self.every)}"


@dataclass(frozen=True)
class Cron:
    """Sweeps by a crontab's five fields, read in a zone, and up to ``jitter`` later."""

    fields: tuple[str, str, str, str, str]
    zone: tzinfo
    jitter: timedelta
    text: str
    by_wall_clock: ClassVar[bool] = True

    @property
    def trigger(self) -> BaseTrigger:
        """A new trigger."""
        return self._made(_seconds(self.jitter))

    def overdue_at(self, since: datetime) -> datetime:
        """When the third sweep after ``since`` is due."""
        trigger, at = self._made(None), since
        for _ in range(UNHEALTHY_AFTER):
            at = trigger.get_next_fire_time(at, at)
        return at.astimezone(UTC) + self.jitter

    def shortest(self, since: datetime) -> timedelta:
        """The least time between two of the next sweeps."""
        trigger = self._made(None)
        times: list[datetime] = [trigger.get_next_fire_time(None, since)]
        for _ in range(4):
            times.append(trigger.get_next_fire_time(times[-1], times[-1]))
        return min(later - sooner for sooner, later in pairwise(times))

    def never(self, since: datetime) -> bool:
        """Whether there is no such day, as 30 February."""
        return self._made(None).get_next_fire_time(None, since) is None

    def _made(self, jitter: int | None) -> BaseTrigger:
        minute, hour, day, month, weekday = self.fields
        return CronTrigger(
            minute=minute,
            hour=hour,
            day=day,
            month=month,
            day_of_week=weekday,
            timezone=self.zone,
            jitter=jitter,
        )

    def __str__(self) -> str:
        return f'cron "{self.text}" {self.zone}'


def make_schedule(every: str | None, cron: str | None, zone: str | None, jitter: str | None) -> Every | Cron:
    """What the options say; hourly where they say nothing.

    :raises ConfigurationError: one can't be read, or they contradict each other.
    """
    if every is not None and cron is not None:
        raise ConfigurationError("--every and --cron exclude each other", advice="Give one of them.")
    if cron is None and zone is not None:
        raise ConfigurationError("--timezone needs --cron", advice="An interval is the same in every time zone.")
    late = None if jitter is None else _duration("--jitter", jitter)
    if cron is not None:
        return _cron(cron, zone or "UTC", late)
    length = DEFAULT_EVERY if every is None else _duration("--every", every)
    if not timedelta(seconds=1) <= length <= LONGEST_EVERY:
        raise ConfigurationError(f"--every {quoted(every or '')} is no useful interval", advice="Use 1s to 31d.")
    return Every(length, _jitter(late, length))


def _duration(option: str, text: str) -> timedelta:
    try:
        return parse_duration(text.strip())
    except ValueError as error:
        raise ConfigurationError(f"{option}: {error}") from None


def _jitter(wanted: timedelta | None, interval: timedelta) -> timedelta:
    """As wanted, else a tenth of the interval and 5 minutes at most; whole seconds."""
    if wanted is None:
        return min(timedelta(seconds=interval // timedelta(seconds=10)), MOST_JITTER)
    if wanted >= interval:
        raise ConfigurationError(
            f"--jitter {format_duration(wanted)} is not shorter than the time between two sweeps "
            f"({format_duration(interval)})",
            advice="Use a tenth of it.",
        )
    return wanted


def _cron(text: str, zone: str, jitter: timedelta | None) -> Cron:
    fields = text.lower().split()
    if len(fields) != 5 or len(text) > _LONGEST_CRON:
        raise ConfigurationError(f"--cron {quoted(text)} has not five fields", advice=_EXAMPLE)
    try:
        where = time_zone(zone)
    except ValueError as error:
        raise ConfigurationError(f"--timezone: {error}") from None
    minute, hour, day, month, weekday = fields
    if day != "*" and weekday != "*":
        raise ConfigurationError(
            f"--cron {quoted(text)} gives both days of the month and of the week, which crontabs read as either",
            advice="Leave one of them *.",
        )
    now = datetime.now(UTC)
    try:
        found = Cron((minute, hour, day, month, _weekdays(weekday)), where, timedelta(0), " ".join(fields))
        never = found.never(now)
    except ValueError as error:
        said = printable(str(error))
        raise ConfigurationError(f"--cron {quoted(text)} can't be read: {said}", advice=_EXAMPLE) from None
    if never:
        raise ConfigurationError(f"--cron {quoted(text)} names a day that never comes", advice=_EXAMPLE)
    return Cron(found.fields, where, _jitter(jitter, found.shortest(now)), found.text)


def _weekdays(field: str) -> str:
    """Days of the week by their names: APScheduler 3 counts from Monday as 0, crontabs from Sunday as 0 or 7."""
    if field == "*":
        return field
    chosen: set[int] = set()
    for part in field.split(","):
        found = _DAY_PART.fullmatch(part)
        if found is None:
            raise ValueError(f"{quoted(part)} is no day of the week")
        first = 0 if found["first"] is None else _number(found["first"])
        last = first if found["first"] is not None and found["last"] is None else 6
        if found["last"] is not None:
            last = _number(found["last"])
            last += 7 if last < first else 0  # fri-mon
        elif found["step"] is not None:
            last = 6  # 1/2: from Monday on
        chosen |= {day % 7 for day in range(first, last + 1, int(found["step"] or 1))}
    return ",".join(_DAYS[day] for day in sorted(chosen))


def _number(day: str) -> int:
    return int(day) if day.isdigit() else _DAYS.index(day)


def _seconds(length: timedelta) -> int | None:
    return int(length.total_seconds()) or None
