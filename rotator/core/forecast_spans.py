"""A forecast's days in as many lines as there is room for: days, weeks, or two weeks at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rotator.core.forecast import ForecastDay

_SPANS: Final = ((1, "day"), (7, "week of"), (14, "2 weeks of"))


@dataclass(frozen=True, slots=True)
class Span:
    """A line of the chart: one day, or some in a row. ``waiting`` and ``overdue`` are the most of any day's end."""

    begin: datetime
    rotations: int
    pulled_forward: int
    revocations: int
    waiting: int
    overdue: int
    full: int
    days: int


def spans(days: Sequence[ForecastDay], lines: int) -> tuple[str, list[Span]]:
    """What a line of the chart is, and the lines: at most so many."""
    length, name = next((span for span in _SPANS if len(days) <= lines * span[0]), _SPANS[-1])
    return name, [_span(days[at : at + length]) for at in range(0, len(days), length)]


def _span(days: Sequence[ForecastDay]) -> Span:
    return Span(
        days[0].date,
        sum(day.rotations for day in days),
        sum(day.pulled_forward for day in days),
        sum(day.revocations for day in days),
        max(day.waiting for day in days),
        max(day.overdue for day in days),
        sum(day.free == 0 for day in days),
        len(days),
    )
