"""Each secret's key as a bar over time: its life, its rotate-before, its grace period and its revocation, and today."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rotator.model import ActionKind
from rotator.render import brief, key_words
from rotator.report.gather import SecretRow

PAST: Final = timedelta(days=30)
LEGEND: Final = (
    ("life", "the key's life"),
    ("before", "its rotation is due"),
    ("grace", "an old key in its grace period"),
    ("next", "the next grace period"),
    ("revocation", "a revocation"),
    ("now", "today"),
)
_MONTHS: Final = ((240, 1), (10_000, 2))


@dataclass(frozen=True, slots=True)
class Axis:
    """The part of time that is shown."""

    begin: datetime
    now: datetime
    end: datetime

    @staticmethod
    def of(now: datetime, days: int) -> Axis:
        """A month back, and so many days ahead, at least a month."""
        return Axis(now - PAST, now, now + max(timedelta(days=days), PAST))

    def position(self, moment: datetime) -> float:
        """Per cent from the left; outside of what is shown it is the edge."""
        share = (min(max(moment, self.begin), self.end) - self.begin) / (self.end - self.begin)
        return round(100 * share, 2)

    def months(self) -> Iterator[datetime]:
        """The first days of months, every month or every other."""
        step = next(step for days, step in _MONTHS if self.end - self.begin <= timedelta(days=days))
        year, month = self.begin.year, self.begin.month
        while True:
            month += 1
            if month > 12:
                year, month = year + 1, 1
            at = self.begin.replace(year=year, month=month, day=1, hour=0, minute=0, second=0, microsecond=0)
            if at >= self.end:
                return
            if (month - 1) % step == 0:
                yield at

    @property
    def today(self) -> float:
        """Where today's line is."""
        return self.position(self.now)

    @property
    def ticks(self) -> list[float]:
        """Where months begin."""
        return [self.position(at) for at in self.months()]

    @property
    def labels(self) -> list[tuple[str, float]]:
        """Their names, but for those that would run into today's label or out of the picture."""
        marks = [(f"{at:%b}", self.position(at)) for at in self.months()]
        return [(name, left) for name, left in marks if abs(left - self.today) > 8 and 3 < left < 97]


@dataclass(frozen=True, slots=True)
class Row:
    """One secret as it is drawn.

    :param bars: class, left and width in per cent.
    :param marks: class and left in per cent.
    """

    secret: str
    state: str
    level: str
    text: str
    bars: list[tuple[str, float, float]]
    marks: list[tuple[str, float]]


def row_of(row: SecretRow, axis: Axis) -> Row:
    """Draw one secret."""
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
    return Row(
        state.secret,
        str(state.state),
        str(row.level),
        " · ".join(_texts(row, axis.now)),
        [(sign, left, round(right - left, 2)) for sign, left, right in bars if right > left],
        [(sign, axis.position(at)) for sign, at in moments if axis.begin < at < axis.end],
    )


def _texts(row: SecretRow, now: datetime) -> Iterator[str]:
    """The same as the bars show."""
    state = row.state
    if state.key_id is None:
        yield "no key is known"
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
