"""Durations as operators write and read them, and arithmetic with untrusted times."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from rotator.text import Unreadable

DAY: Final = timedelta(days=1)
FIRST: Final = datetime.min.replace(tzinfo=UTC)
LAST: Final = datetime.max.replace(tzinfo=UTC)
"""Untrusted times may be Infobip's "never": year 1, or 9999."""
MAX_DURATION: Final = timedelta(days=3650)
_SECONDS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
# ASCII digits only: \d would also take the digits of other scripts.
_SHAPE: Final = re.compile(r"(?:[0-9]+[smhdw])+")
_TERM: Final = re.compile(r"([0-9]+)([smhdw])")
_MOST_DIGITS: Final = 12
_ROUNDED_TO: Final = (
    (timedelta(0), timedelta(milliseconds=100)),
    (timedelta(seconds=10), timedelta(seconds=1)),
    (timedelta(minutes=10), timedelta(minutes=1)),
    (timedelta(hours=10), timedelta(hours=1)),
    (timedelta(days=2), timedelta(days=1)),
)
_FIX: Final = "use a duration such as 90s, 15m, 72h, 14d, 2w or 1d12h"


def parse_duration(text: str) -> timedelta:
    """Read ``90s``, ``15m``, ``72h``, ``14d``, ``2w`` or a sum such as ``1d12h``, each unit at most once.

    :raises ValueError: (an :class:`~rotator.text.Unreadable`) it is not a duration, or longer than 3650 days.
    """
    if not _SHAPE.fullmatch(text):
        raise Unreadable(text, "is not a duration", _hint(text))
    terms = [(number.lstrip("0") or "0", unit) for number, unit in _TERM.findall(text)]
    units = [unit for _, unit in terms]
    twice = next((unit for unit in units if units.count(unit) > 1), None)
    if twice is not None:
        raise Unreadable(text, f"repeats the unit {twice}", "combine the two values")
    # The digits are counted first: int() itself fails on thousands of them, and timedelta() on too large a number.
    too_long = any(len(number) > _MOST_DIGITS for number, _ in terms)
    seconds = 0 if too_long else sum(int(number) * _SECONDS[unit] for number, unit in terms)
    if too_long or seconds > MAX_DURATION.total_seconds():
        raise Unreadable(text, f"is longer than {MAX_DURATION.days} days", f"use at most {MAX_DURATION.days}d")
    return timedelta(seconds=seconds)


def format_duration(length: timedelta) -> str:
    """Write a length so that :func:`parse_duration` reads the same: ``90d``, ``1d12h``, ``0s``, largest unit first.

    Days are the largest unit written, because ``90d`` is clearer than ``12w6d``. Parts of a second are dropped.

    :raises ValueError: the length is negative.
    """
    if length < timedelta(0):
        raise ValueError("a negative length has no written form")
    rest = length.days * _SECONDS["d"] + length.seconds
    text = ""
    for unit in "dhms":
        count, rest = divmod(rest, _SECONDS[unit])
        if count:
            text += f"{count}{unit}"
    return text or "0s"


def human_duration(length: timedelta) -> str:
    """Write a length for people, rounded: ``4 d``, ``1 d 5 h``, ``3 h 20 min``, ``12 s``, ``0.4 s``.

    It is rounded to tenths of a second, from 10 s on to seconds, from 10 min on to minutes, from 10 h on to hours and
    from 2 d on to days.
    """
    rounded = abs(length)
    for least, unit in _ROUNDED_TO:
        if rounded >= least:
            rounded = (rounded + unit / 2) // unit * unit
    hours, rest = divmod(rounded.seconds, _SECONDS["h"])
    minutes, seconds = divmod(rest, _SECONDS["m"])
    second = f"{seconds}.{rounded.microseconds // 100_000}" if rounded.microseconds else str(seconds)
    units = [(str(rounded.days), "d"), (str(hours), "h"), (str(minutes), "min"), (second, "s")]
    text = " ".join(f"{count} {unit}" for count, unit in units if count != "0") or "0 s"
    return text if length >= timedelta(0) or not rounded else f"-{text}"


def _hint(text: str) -> str:
    """Return the fix; a bare number only lacks its unit."""
    if re.fullmatch(r"[0-9]{1,4}", text):
        return f"add a unit, such as {text}d for days or {text}h for hours"
    return _FIX


def plus(moment: datetime, by: timedelta) -> datetime:
    """Return ``moment + by``, or the earliest or latest possible moment."""
    try:
        return moment + by
    except OverflowError:
        return LAST if by > timedelta(0) else FIRST
