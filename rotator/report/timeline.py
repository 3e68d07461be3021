"""Each secret's key as a bar over time: its life, its rotate-before, its grace and its revocation, and today's line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rotator.model import ActionKind
from rotator.policy.status import State
from rotator.render import brief
from rotator.report.gather import SecretRow
from rotator.report.markup import Markup, join, tag
from rotator.text import short_id

PAST: Final = timedelta(days=30)
_BAD: Final = frozenset({State.EXPIRED, State.BROKEN, State.MISCONFIGURED})
_WARN: Final = frozenset({State.UNADOPTED, State.EMPTY, State.DUE, State.HELD})
_MONTHS: Final = ((240, 1), (10_000, 2))
_LEGEND: Final = (
    ("life", "the key's life"),
    ("before", "its rotation is due"),
    ("grace", "an old key, in its grace"),
    ("next", "the grace to come"),
    ("kill", "a revocation"),
    ("now", "today"),
)


@dataclass(frozen=True, slots=True)
class Axis:
    """What of time is shown."""

    begin: datetime
    now: datetime
    end: datetime

    @staticmethod
    def of(now: datetime, days: int) -> Axis:
        """A month back, and so many days ahead, at least a month."""
        return Axis(now - PAST, now, now + max(timedelta(days=days), PAST))

    def place(self, moment: datetime) -> float:
        """Per cent from the left; outside of what is shown it is the edge."""
        share = (min(max(moment, self.begin), self.end) - self.begin) / (self.end - self.begin)
        return round(100 * share, 2)

    def ticks(self) -> Iterator[datetime]:
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


def timeline(rows: Sequence[SecretRow], axis: Axis) -> Markup:
    """All of an account's secrets."""
    ticks = [(axis.place(at), at) for at in axis.ticks()]
    today = axis.place(axis.now)
    # A label that would run into today's, or out of the picture, is left out; its line stays.
    labels = [
        tag("span", f"{at:%b}", style=f"left:{place}%")
        for place, at in ticks
        if abs(place - today) > 8 and 3 < place < 97
    ]
    now = tag("span", "today", class_="today", style=f"left:{today}%")
    track = tag("span", *labels, now, class_="track")
    head = tag("li", tag("span", "secret"), track, class_="head", aria_hidden="true")
    lines = join(tag("i", class_="tick", style=f"left:{place}%") for place, _ in ticks)
    return join([legend(), tag("ul", head, *(_row(row, axis, lines) for row in rows), class_="rows")])


def legend() -> Markup:
    """What the signs mean."""
    items = (tag("span", tag("i", class_=f"swatch {sign}"), words) for sign, words in _LEGEND)
    return tag("div", *items, class_="legend")


def _row(row: SecretRow, axis: Axis, lines: Markup) -> Markup:
    state = row.state
    urgency = " bad" if state.state in _BAD else " warn" if state.state in _WARN else ""
    words = _words(row, axis.now)
    name = tag(
        "div",
        tag("b", state.secret),
        Markup(" "),
        tag("span", str(state.state), class_=f"state{urgency}"),
        tag("div", words, class_="key"),
    )
    return tag("li", name, tag("div", lines, *_bars(row, axis), class_="track", aria_hidden="true"))


def _words(row: SecretRow, now: datetime) -> str:
    """The same as the bar says."""
    state = row.state
    said = []
    if state.key_id is not None and state.expires_at is None:
        said.append(f"key {short_id(state.key_id)}, end unknown")
    elif state.key_id is not None:
        verb = "ended" if state.expires_at is not None and state.expires_at <= now else "ends"
        said.append(f"key {short_id(state.key_id)} {verb} {brief(state.expires_at, now)}")
    else:
        said.append("no key is known")
    if state.hold is not None:
        said.append(f"on hold: {state.hold}")
    elif state.next_action is not None and state.next_action_at is not None and state.next_action_at > now:
        said.append(f"{state.next_action} {brief(state.next_action_at, now)}")
    elif state.next_action is not None:
        said.append(f"{state.next_action} is due")
    for item in state.retiring:
        if state.next_action is not ActionKind.REVOKE or item.revoke_at != state.next_action_at:
            said.append(f"key {short_id(item.key_id)} revoked {brief(item.revoke_at, now)}")
    return " · ".join(said)


def _bars(row: SecretRow, axis: Axis) -> Iterator[Markup]:
    state = row.state
    end = state.expires_at
    if state.key_id is not None:
        yield from _bar("life", row.begins or axis.begin, min(row.due or axis.end, end or axis.end), axis)
        if row.due is not None:
            yield from _bar("before", row.due, end or axis.end, axis)
    for item in state.retiring:
        # It began when the key that replaced it was made.
        yield from _bar("grace", row.begins or axis.begin, item.revoke_at, axis)
        yield from _mark("kill", item.revoke_at, axis)
    if state.hold is None and row.due is not None and row.grace_until is not None and state.next_action is not None:
        yield from _bar("next", max(row.due, axis.now), row.grace_until, axis)
        yield from _mark("kill", row.grace_until, axis)
    yield from _mark("now", axis.now, axis)


def _bar(sign: str, begin: datetime, end: datetime, axis: Axis) -> Iterator[Markup]:
    left, right = axis.place(begin), axis.place(end)
    if begin < end and right > left:
        yield tag("i", class_=sign, style=f"left:{left}%;width:{round(right - left, 2)}%")


def _mark(sign: str, moment: datetime, axis: Axis) -> Iterator[Markup]:
    if axis.begin < moment < axis.end:
        yield tag("i", class_=sign, style=f"left:{axis.place(moment)}%")
