"""Infobip's times: UTC, written without an offset."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

_TIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(?:([Zz])|([+-])(\d\d):?(\d\d))?", re.ASCII
)


def format_time(time: datetime) -> str:
    """UTC, whole seconds, without an offset. ``ValueError`` for a naive time, which would be guessed at."""
    if time.tzinfo is None:
        raise ValueError("a time without an offset")
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds")


def parse_time(text: str) -> datetime:
    """A time; without an offset it is UTC. ``ValueError`` if it is none."""
    # As Infobip writes them, thousands in a listing. What else `fromisoformat` takes looks different, but for the 24th
    # hour of a day, which newer Pythons read as the next day's first.
    if len(text) == 19 and text[4] == text[7] == "-" and text[10] == "T" and text[13] == text[16] == ":":
        if text[11:13] == "24":
            raise ValueError("not a time")
        return datetime.fromisoformat(text + "+00:00")
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("not a time")
    year, month, day, hour, minute, second, fraction, _, sign, off_hours, off_minutes = match.groups()
    offset = timedelta(hours=int(off_hours or 0), minutes=int(off_minutes or 0))
    zone = timezone(-offset if sign == "-" else offset)
    micros = int((fraction or "0").ljust(6, "0")[:6])
    try:
        numbers = int(year), int(month), int(day), int(hour), int(minute), int(second or 0)
        return datetime(*numbers, micros, tzinfo=zone).astimezone(UTC)
    except OverflowError:
        raise ValueError("a time out of range") from None
