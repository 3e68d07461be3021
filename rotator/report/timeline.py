"""Each secret's key as a bar over time: its lifetime, rotate-before, its grace period and its revocation, and today."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from rotator.durations import DAY, LAST
from rotator.plan import ActionKind
from rotator.render import brief, key_words
from rotator.report.gather import SecretSpan

PAST: Final = timedelta(days=30)
LEGEND: Final = (
    ("life", "key lifetime"),
    ("before", "rotation due"),
    ("grace", "an old key in its grace period"),
    ("next", "the next grace period"),
    ("revocation", "revocation"),
    ("now", "today"),
)
_EVERY_MONTH: Final = 240 * DAY


@dataclass(frozen=True, slots=True)
class Axis:
    """The part of time that is shown."""

    begin: datetime
    now: datetime
    end: datetime

    @staticmethod
    def of(now: datetime, days: int) -> Axis:
        """Return an axis from a month ago to ``days`` ahead, but at least a month ahead."""
        return Axis(now - PAST, now, now + max(timedelta(days=days), PAST))

    def position(self, moment: datetime) -> float:
        """Return per cent from the left. A time that is not shown is at the edge."""
        share = (min(max(moment, self.begin), self.end) - self.begin) / (self.end - self.begin)
        return round(100 * share, 2)

    @property
    def months(self) -> list[tuple[str, float]]:
        """The name and position of each month's first day; of every other one on a long axis."""
        step = 1 if self.end - self.begin <= _EVERY_MONTH else 2
        first = self.begin.year * 12 + self.begin.month  # counted from the year 0; this is the month after
        months = (
            self.begin.replace(year=at // 12, month=at % 12 + 1, day=1, hour=0, minute=0, second=0, microsecond=0)
            for at in range(first, first + 16)
            if at % step == 0
        )
        return [(f"{at:%b %Y}" if at.month == 1 else f"{at:%b}", self.position(at)) for at in months if at < self.end]

    @property
    def today(self) -> float:
        """The position of today's line."""
        return self.position(self.now)

    @property
    def labels(self) -> list[tuple[str, float]]:
        """The months whose labels neither overlap today's nor leave the chart."""
        return [(name, left) for name, left in self.months if abs(left - self.today) > 8 and 3 < left < 97]


def rows_of(rows: Sequence[SecretSpan], axis: Axis) -> list[dict[str, Any]]:
    """Draw each secret: bars with class, left and width in per cent, and marks with class and left.

    ``by_expiry`` and ``by_name`` are its positions if the rows are sorted so.
    """
    states = [row.state for row in rows]
    names = sorted(state.title for state in states)
    expiries = sorted((state.expires_at or LAST, state.title) for state in states)
    by_expiry = {name: place for place, (_, name) in enumerate(expiries)}
    by_name = {name: place for place, name in enumerate(names)}
    return [_row_of(row, axis, by_expiry[row.state.title], by_name[row.state.title]) for row in rows]


def _row_of(row: SecretSpan, axis: Axis, by_expiry: int, by_name: int) -> dict[str, Any]:
    state, expires = row.state, row.state.expires_at or axis.end
    rotated = state.hold is None and state.next_action is not None
    created = row.begins or axis.begin
    spans = []
    if state.key_id is not None:
        spans.append(("life", created, min(row.due or axis.end, expires)))
        if row.due is not None:
            spans.append(("before", row.due, expires))
    spans += [("grace", created, item.revoke_at) for item in state.retiring]  # since its replacement was created
    moments = [("revocation", item.revoke_at) for item in state.retiring]
    if rotated and row.due is not None and row.grace_until is not None:
        spans.append(("next", max(row.due, axis.now), row.grace_until))
        moments.append(("revocation", row.grace_until))
    moments.append(("now", axis.now))
    bars = [(sign, axis.position(begin), axis.position(end)) for sign, begin, end in spans if begin < end]
    return {
        "secret": state.title,
        "state": state.state,
        "level": row.level,
        "text": " · ".join(_texts(row, axis.now)),
        "by_expiry": by_expiry,
        "by_name": by_name,
        "bars": [(sign, left, round(right - left, 2)) for sign, left, right in bars if right > left],
        "marks": [(sign, axis.position(at)) for sign, at in moments if axis.begin < at < axis.end],
    }


def _texts(row: SecretSpan, now: datetime) -> Iterator[str]:
    """Yield as text what the bars show."""
    state = row.state
    if state.key_id is None:
        yield "key unknown"
    elif state.expires_at is None:
        yield f"{key_words(state.key_id)}, expiry unknown"
    else:
        verb = "expired" if state.expires_at <= now else "expires"
        yield f"{key_words(state.key_id)} {verb} {brief(state.expires_at, now)}"
    if state.overdue:
        yield "OVERDUE"
    if state.hold is not None:
        yield f"on hold: {state.hold}"
    elif state.next_action is not None:
        coming = state.next_action_at is not None and state.next_action_at > now
        yield f"{state.next_action} {brief(state.next_action_at, now) if coming else 'is due'}"
    for item in state.retiring:
        if state.next_action is not ActionKind.REVOKE or item.revoke_at != state.next_action_at:
            yield f"{key_words(item.key_id)} revoked {brief(item.revoke_at, now)}"
