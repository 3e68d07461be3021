"""Arithmetic with times from outside, which may be the far end's "never": year 1, or 9999."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)


def plus(moment: datetime, by: timedelta) -> datetime:
    """``moment + by``, or the first or last moment that there is."""
    try:
        return moment + by
    except OverflowError:
        return LAST if by > timedelta(0) else FIRST
