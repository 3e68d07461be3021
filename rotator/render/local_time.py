"""Times as people read them: in the zone of their machine, which is named. Programs get UTC, see ``documents``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from rotator.durations import human_duration
from rotator.message import KeyId, Message, Renderer
from rotator.text import short_id

_YEARS: Final = 300
"""So many days away, the year is told and the hour is not."""
_LONGEST_NAME: Final = 5


def local(moment: datetime) -> datetime:
    """The same moment in this machine's zone (``TZ``); in UTC where its clock does not reach so far."""
    try:
        return moment.astimezone()
    except (OverflowError, OSError, ValueError):  # Infobip's "never": year 1, or 9999
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


class _LocalRenderer(Renderer):
    def time(self, moment: datetime, format_spec: str) -> str:
        return f"{local(moment):{format_spec}}" if format_spec else f"{clock(moment)} {zone(moment)}"

    def key_id(self, key_id: KeyId) -> str:
        return short_id(key_id)


_FOR_PEOPLE: Final = _LocalRenderer()


def local_text(message: Message) -> str:
    """A message as people read it: local times, short ids."""
    return _FOR_PEOPLE.render(message)
