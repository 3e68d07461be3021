"""Times as people read them: in the zone of their machine, which is named. Programs get UTC, see ``documents``."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from rotator.durations import human_duration

_YEARS: Final = 300
"""So many days away, the year is told and the hour is not."""
_LONGEST_NAME: Final = 5
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# As the planner's sentences have it: `28 Feb 09:00 UTC`, `Fri 28 Feb 09:00 UTC`.
_UTC_TIME: Final = re.compile(
    r"\b(?:(?P<weekday>Mon|Tue|Wed|Thu|Fri|Sat|Sun) )?(?P<day>\d\d) "
    rf"(?P<month>{'|'.join(_MONTHS)}) (?P<hour>\d\d):(?P<minute>\d\d) UTC\b"
)


def local(moment: datetime) -> datetime:
    """The same moment in this machine's zone (``TZ``); in UTC where its clock does not reach so far."""
    try:
        return moment.astimezone()
    except (OverflowError, OSError, ValueError):  # the far end's "never": year 1, or 9999
        return moment.astimezone(UTC)


def zone(moment: datetime) -> str:
    """The zone's name at that moment: ``CET``, or its offset, ``+05:30``, where its name is none or a long one."""
    there = local(moment)
    name = there.tzname() or ""
    if name and len(name) <= _LONGEST_NAME and name.isascii() and name.isalpha():
        return name
    text = f"{there:%z}"[:5]
    return f"{text[:3]}:{text[3:]}"


def day(moment: datetime) -> str:
    """``7 Nov``."""
    there = local(moment)
    return f"{there.day} {there:%b}"


def clock(moment: datetime) -> str:
    """``7 Nov 10:00``, where a heading names the zone."""
    there = local(moment)
    return f"{there.day} {there:%b %H:%M}"


def absolute(moment: datetime, now: datetime) -> str:
    """``27 Nov 10:00 CET``; with the year, and without the hour, where it is far away."""
    if abs((moment - now).days) >= _YEARS:
        return f"{day(moment)} {local(moment).year:04}"
    return f"{clock(moment)} {zone(moment)}"


def when(moment: datetime | None, now: datetime) -> str:
    """Both times together: ``27 Nov 10:00 CET (in 4 d)``, ``20 Nov 10:00 CET (3 d ago)``."""
    if moment is None:
        return "unknown"
    distance = moment - now
    relative = f"{human_duration(-distance)} ago" if moment < now else f"in {human_duration(distance)}"
    return f"{absolute(moment, now)} ({relative})"


def brief(moment: datetime | None, now: datetime) -> str:
    """Both times in a column's width: ``22 Jan (59 d)``, and below two days with the hour: ``24 Nov 10:00 (9 h)``.

    The zone is today's, which the column's heading names; another one (clocks are changed in between) is told.
    """
    if moment is None:
        return "unknown"
    distance = abs(moment - now)
    if distance.days >= _YEARS:
        date = absolute(moment, now)
    elif distance.days >= 2:
        date = day(moment)
    else:
        date = clock(moment) if zone(moment) == zone(now) else absolute(moment, now)
    if distance.days < 2:
        distance = timedelta(hours=distance // timedelta(hours=1)) or distance
    return f"{date} ({human_duration(distance)}{' ago' if moment < now else ''})"


def told(text: str) -> str:
    """A sentence of the planner's with its times in the local zone."""
    return _UTC_TIME.sub(_moved, text)


def _moved(found: re.Match[str]) -> str:
    """The year is not told: it is the nearest that has such a day of the week."""
    now = datetime.now(UTC)
    month = _MONTHS.index(found["month"]) + 1
    date, hour, minute = (int(found[name]) for name in ("day", "hour", "minute"))
    possible = []
    for year in range(now.year - 6, now.year + 7):
        with suppress(ValueError):  # 29 Feb, or nothing of the planner's
            moment = datetime(year, month, date, hour, minute, tzinfo=UTC)
            if found["weekday"] in (None, f"{moment:%a}"):
                possible.append(moment)
    if not possible:
        return found[0]
    nearest = min(possible, key=lambda each: abs(each - now))
    weekday = f"{local(nearest):%a} " if found["weekday"] else ""
    return f"{weekday}{clock(nearest)} {zone(nearest)}"
