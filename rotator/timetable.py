"""The daemon's schedule, from ``--every`` or ``--cron``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice, pairwise
from typing import Final

from cronsim import CronSim, CronSimError

from rotator.durations import format_duration, parse_duration
from rotator.errors import ConfigurationError
from rotator.policy.windows import time_zone
from rotator.settings import SWEEP_AT_LEAST, SWEEP_AT_MOST
from rotator.text import quoted

DEFAULT_EVERY: Final = timedelta(hours=1)
MOST_JITTER: Final = timedelta(minutes=5)
UNHEALTHY_AFTER: Final = 3
_LONGEST_CRON: Final = 200
_EXAMPLE: Final = 'Use five fields such as "0 * * * *" (hourly) or "30 6 * * mon-fri".'


@dataclass(frozen=True)
class Every:
    """A sweep every ``every`` after the previous one, plus up to ``jitter``."""

    every: timedelta
    jitter: timedelta

    def after(self, moment: datetime) -> datetime:
        """The next time, without jitter."""
        return moment + self.every

    def overdue_at(self, since: datetime) -> datetime:
        """When three sweeps should have come after ``since``."""
        return since + UNHEALTHY_AFTER * (self.every + self.jitter)

    def __str__(self) -> str:
        return f"every {format_duration(self.every)}"


@dataclass(frozen=True)
class Cron:
    """Sweeps by the five fields of a crontab, in a time zone, each up to ``jitter`` later."""

    expression: str
    zone: tzinfo
    jitter: timedelta

    def after(self, moment: datetime) -> datetime:
        """The next time, without jitter."""
        return next(CronSim(self.expression, moment.astimezone(self.zone))).astimezone(UTC)

    def overdue_at(self, since: datetime) -> datetime:
        """When three sweeps should have come after ``since``."""
        for _ in range(UNHEALTHY_AFTER):
            since = self.after(since)
        return since + self.jitter

    def __str__(self) -> str:
        return f'cron "{self.expression}" {self.zone}'


Schedule = Every | Cron


def make_schedule(every: str | None, cron: str | None, zone: str | None, jitter: str | None) -> Schedule:
    """Make a schedule from ``--every``, ``--cron``, ``--timezone`` and ``--jitter``. The default is hourly.

    :raises ConfigurationError: one is not valid, or they contradict each other.
    """
    if every is not None and cron is not None:
        raise ConfigurationError("--every and --cron cannot be used together", advice="Use one or the other.")
    if cron is None and zone is not None:
        raise ConfigurationError("--timezone requires --cron", advice="Remove it, or add --cron.")
    late = None if jitter is None else _duration("--jitter", jitter)
    if cron is not None:
        return _cron(cron, zone or "UTC", late)
    length = DEFAULT_EVERY if every is None else _duration("--every", every)
    if not SWEEP_AT_LEAST <= length <= SWEEP_AT_MOST:
        raise ConfigurationError(f"--every {quoted(every or '')} is not a valid interval", advice="Use 1m to 1d.")
    return Every(length, _jitter(late, length))


def _duration(option: str, text: str) -> timedelta:
    try:
        return parse_duration(text.strip())
    except ValueError as error:
        raise ConfigurationError(f"{option}: {error}") from None


def _jitter(wanted: timedelta | None, interval: timedelta) -> timedelta:
    """Return ``wanted``, or by default a tenth of the interval in whole seconds, at most 5 minutes."""
    if wanted is None:
        return min(timedelta(seconds=interval // timedelta(seconds=10)), MOST_JITTER)
    if wanted >= interval:
        raise ConfigurationError(
            f"--jitter {format_duration(wanted)} must be shorter than the interval between sweeps "
            f"({format_duration(interval)})",
            advice="Use about 10% of the interval.",
        )
    return wanted


def _cron(text: str, zone: str, jitter: timedelta | None) -> Cron:
    fields = text.lower().split()
    if len(fields) != 5 or len(text) > _LONGEST_CRON:
        raise ConfigurationError(f"--cron {quoted(text)} does not have five fields", advice=_EXAMPLE)
    try:
        where = time_zone(zone)
    except ValueError as error:
        raise ConfigurationError(f"--timezone: {error}") from None
    expression = " ".join(fields)
    try:
        times = [at.astimezone(UTC) for at in islice(CronSim(expression, datetime.now(where)), 5)]
    except CronSimError as error:
        problem = str(error).lower()  # "Bad hour"
        raise ConfigurationError(f"--cron {quoted(text)} can't be read: {problem}", advice=_EXAMPLE) from None
    if len(times) < 5:
        raise ConfigurationError(f"--cron {quoted(text)} never matches a date", advice=_EXAMPLE)
    return Cron(expression, where, _jitter(jitter, min(later - sooner for sooner, later in pairwise(times))))
