"""Weekly windows: ``Mon-Fri 09:00-17:00 Europe/Zagreb``.

A window is open whenever a wall clock in its zone shows a time within it. The weekday is that of its start. When clocks
go forward, it opens at the first minute that the clock shows; an hour that is shown twice counts twice.
"""

from __future__ import annotations

import re
import zoneinfo
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import pairwise
from operator import itemgetter
from typing import Final

from rotator.model import Window
from rotator.text import Unreadable, closest

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_FIX: Final = "use days, hours and a time zone, such as Mon-Fri 09:00-17:00 Europe/Zagreb or daily 22:00-04:00 UTC"
_HOURS: Final = re.compile(r"([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})")
# No dot and no leading slash, because a zone's name is read as a file in the zone database.
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,31}(?:/[A-Za-z0-9_+-]{1,32}){0,2}")
# Files in the zone database that are the machine's own setting or count leap seconds.
_NO_ZONE: Final = re.compile(r"(?:posix|right)/.*|localtime|posixrules|Factory")
_DAY_MINUTES: Final = 24 * 60
# No zone has ever changed its clock twice within this time.
_STEP: Final = timedelta(hours=6)
_SECOND: Final = timedelta(seconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MONTH: Final = timedelta(days=28)
# A week is not enough: the hours may fall into a gap, or the day may have been left out (Samoa, 30 December 2011).
_HORIZON: Final = timedelta(days=30)


def parse_window(text: str) -> Window:
    """Read days (``Mon``, ``Mon-Fri``, ``Fri-Mon``, several of them, or ``daily``), hours and a time zone.

    An end that is not after the start is on the next day; ``24:00`` is allowed as an end.

    :raises ValueError: (an :class:`~rotator.text.Unreadable`) with a sentence that says how to write it.
    """
    days, hours, zone = _split(text)
    numbers: set[int] = set()
    for token in days:
        found = _day_range(token)
        if found is None:
            raise Unreadable(token, "is not a day or a range of days", "use Mon, Mon-Fri or daily")
        numbers |= found
    match = _HOURS.fullmatch(hours)
    if match is None:
        raise Unreadable(hours, "is not a time range", "use four digits each, such as 09:00-17:00")
    start_hour, start_minute, end_hour, end_minute = (int(group) for group in match.groups())
    start, end = start_hour * 60 + start_minute, end_hour * 60 + end_minute
    if start_minute > 59 or end_minute > 59 or start >= _DAY_MINUTES or end > _DAY_MINUTES:
        raise Unreadable(hours, "is not a time range", "use 00:00 to 23:59, and 24:00 only as an end")
    if start == end:
        raise Unreadable(hours, "is empty or a whole day", "use 00:00-24:00 for the whole day")
    if _zone(zone) is None:
        raise Unreadable(zone, "is not a time zone", _zone_hint(zone))
    return Window(frozenset(numbers), start, end, zone)


def is_open(window: Window, now: datetime) -> bool:
    """Whether a window is open at ``now`` (aware).

    :raises ValueError: ``now`` is naive, or the window's zone is unknown on this machine.
    """
    return _shows(window, _utc(now).astimezone(time_zone(window.zone)).replace(tzinfo=None))


def next_open(window: Window, now: datetime) -> datetime:
    """Return the first time from ``now`` (aware) on at which a window is open, in UTC.

    :raises ValueError: ``now`` is naive, the zone is unknown on this machine, or the window never opens (a parsed one
        always does).
    """
    now = _utc(now)
    for opens, _ in openings(window, now, now + _HORIZON):
        return opens
    raise ValueError("a window without days or hours never opens")


def openings(window: Window, begin: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield when a window opens and closes (UTC), clipped to ``begin`` and ``end`` (both aware).

    Results are cached by month, so that computing the coming year every hour is fast.

    :raises ValueError: as :func:`next_open`.
    """
    begin, end = _utc(begin), _utc(end)
    pending = begin, begin
    for month in range((begin - _EPOCH) // _MONTH, (end - _EPOCH) // _MONTH + 1):
        for opens, closes in _openings_in(window, month):
            opens, closes = max(opens, begin), min(closes, end)
            if opens >= closes:
                continue
            if pending[1] == opens:
                pending = pending[0], closes
                continue
            if pending[0] < pending[1]:
                yield pending
            pending = opens, closes
    if pending[0] < pending[1]:
        yield pending


def openings_until(window: Window, begin: datetime, moment: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield when a window opens and closes, backwards from the last opening by ``moment`` to ``begin`` (both UTC)."""
    for month in range((moment - _EPOCH) // _MONTH, (begin - _EPOCH) // _MONTH - 1, -1):
        found = _openings_in(window, month)
        for at in range(bisect_right(found, moment, key=itemgetter(0)) - 1, -1, -1):
            if found[at][1] <= begin:
                return
            yield found[at]


@lru_cache(maxsize=16384)  # a year of 1,000 windows
def _openings_in(window: Window, month: int) -> Sequence[tuple[datetime, datetime]]:
    """Return a month's openings. At a constant offset, only the window's start and end can open or close it."""
    first = _EPOCH + month * _MONTH
    found: list[tuple[datetime, datetime]] = []
    for begin, end, offset in _stretches(time_zone(window.zone), first, first + _MONTH):
        wall, wall_end = ((at + offset).replace(tzinfo=None) for at in (begin, end))
        midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0)
        days = range((wall_end - midnight).days + 1)
        changes = sorted(midnight + timedelta(day, minutes=at) for day in days for at in (window.start, window.end))
        for opens, closes in pairwise((wall, *(at for at in changes if wall < at < wall_end), wall_end)):
            if not _shows(window, opens):
                continue
            opened = begin + (opens - wall)
            if found and found[-1][1] == opened:
                opened = found.pop()[0]
            found.append((opened, begin + (closes - wall)))
    return found


def _stretches(zone: tzinfo, begin: datetime, until: datetime) -> Iterator[tuple[datetime, datetime, timedelta]]:
    """Yield periods of constant offset as ``(begin, end, offset)``, in UTC."""
    since, offset = begin, _offset(zone, begin)
    while begin < until:
        low, begin = begin, min(begin + _STEP, until)
        changed = _offset(zone, begin)
        if changed == offset:
            continue
        high = begin
        while high - low > _SECOND:
            middle = low + (high - low) // 2
            low, high = (middle, high) if _offset(zone, middle) == offset else (low, middle)
        # Clocks change on whole seconds, so the one in (low, high] is exact.
        high = high.replace(microsecond=0)
        yield since, high, offset
        since, offset = high, changed
    if since < until:
        yield since, until, offset


def _utc(now: datetime) -> datetime:
    if now.tzinfo is None:
        raise ValueError("a window needs a time with a zone")
    return now.astimezone(UTC)


def _offset(zone: tzinfo, at: datetime) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta(0)


def _shows(window: Window, wall: datetime) -> bool:
    """Whether a wall clock that shows ``wall`` (naive) is within the window."""
    minute = wall.hour * 60 + wall.minute
    today = wall.weekday() in window.days
    if window.start <= window.end:
        return today and window.start <= minute < window.end
    yesterday = (wall.weekday() - 1) % len(DAYS) in window.days
    return (today and minute >= window.start) or (yesterday and minute < window.end)


def _split(text: str) -> tuple[list[str], str, str]:
    """Return the days, the hours and the zone, by their order."""
    tokens = text.split(" ")
    if len(tokens) < 3 or not all(tokens):
        raise Unreadable(text, "is not a window", _FIX)
    if ":" not in tokens[-2]:
        fault = "has no time zone at its end" if ":" in tokens[-1] else "has no hours before its time zone"
        raise Unreadable(text, fault, _FIX)
    return tokens[:-2], tokens[-2], tokens[-1]


def _day_range(token: str) -> set[int] | None:
    if token.lower() == "daily":
        return set(range(len(DAYS)))
    names = [name.lower() for name in DAYS]
    ends = token.lower().split("-")
    if len(ends) > 2 or any(end not in names for end in ends):
        return None
    first, last = names.index(ends[0]), names.index(ends[-1])
    return {(first + step) % len(DAYS) for step in range((last - first) % len(DAYS) + 1)}


def _zone(name: str) -> tzinfo | None:
    if not _ZONE.fullmatch(name) or _NO_ZONE.fullmatch(name):
        return None
    if name == "UTC":
        return UTC  # works on a machine without a zone database, too
    try:
        return zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: the name of a directory, such as Europe
        return None


def time_zone(name: str) -> tzinfo:
    """Return the zone of that name.

    :raises ValueError: (an :class:`~rotator.text.Unreadable`) there is none on this machine.
    """
    zone = _zone(name)
    if zone is None:
        raise Unreadable(name, "is not a time zone", _zone_hint(name))
    return zone


def _zone_hint(name: str) -> str:
    near = closest(name, zoneinfo.available_timezones())
    return "use a name such as Europe/Zagreb or UTC" if near is None else f"did you mean {near}?"
