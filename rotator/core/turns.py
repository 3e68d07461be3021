"""Whose turn it is: how many rotations of each kind begin at this sweep, so that none of the others comes too late.

Every sweep is a *turn*, counted from this one. What can be done in later turns is given places there, as late as can
be, each only while its window is open; what is left over begins now, and what is due takes the places that nobody
needs. A place that somebody will need later today, in a window that is shut now, is not given away.

The planner asks it of the secrets of an account, the forecast of the ones that it makes up: with the same question they
get the same answer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NamedTuple

from rotator.core.capacity import Crowd, Timetable, until
from rotator.core.model import Window

MOST_TRIES: Final = 4
"""How often places are given anew, to those first who came away empty."""
MANY_KINDS: Final = 300
"""With more kinds than that they are given once: it takes time, and there is some choice anyway."""
_DAY_MINUTES: Final = 24 * 60
_WEEK_MINUTES: Final = 7 * _DAY_MINUTES


class Kind(NamedTuple):
    """Rotations that may be done in the same turns.

    :param window: in which they are to be done, if they can.
    :param latest: the last turn in which they shall be done: some time before their keys end.
    :param end: the last turn before their keys end.
    :param ready: from which turn on they are due, so that they are not pulled forward then. 0 for what waits for its
        window, or is due now.
    :param due: whether they are done now unless somebody else needs the place.
    """

    window: Window | None
    latest: int
    end: int
    ready: int
    due: bool


@dataclass(frozen=True, slots=True)
class Limit:
    """The daily limit, as it is at this sweep.

    :param per_day: how many rotations a day can be counted on.
    :param span: how many sweeps make such a day.
    :param taken: how many places are taken in each of its turns; less than none are more places than later.
    :param opens: of every window, the turns in which it is open, as a set; as far ahead as anybody looks.
    """

    per_day: int
    span: int
    taken: Sequence[int]
    opens: Mapping[Window, int]

    def table(self) -> Timetable:
        """An empty one."""
        return Timetable(self.per_day, self.span, self.taken)


def crowded(kinds: Mapping[Kind, int], total: int, limit: Limit) -> dict[Kind, int]:
    """Those that might not find a turn after this one if all others came first, and all that are due.

    Nothing at all if every one surely finds one; then all that is due may begin, and nothing else has to.

    :param total: how many there are, those that are not asked about included.
    """
    unsafe: dict[Kind, int] = {}
    rounds = {window: _rounds(turns, limit.span) for window, turns in limit.opens.items()}
    for kind, count in kinds.items():
        if kind.window is None:
            safe = total <= limit.per_day * (kind.latest // limit.span)
        else:
            # Others may have taken the places so that each is in the way of two.
            safe = 2 * total <= limit.per_day * bisect_right(rounds[kind.window], kind.latest)
        if not safe:
            unsafe[kind] = count
    if not unsafe:
        return {}
    return unsafe | {kind: count for kind, count in kinds.items() if kind.due}


def begin_now(kinds: Mapping[Kind, int], limit: Limit) -> dict[Kind, int]:
    """How many of each kind begin at this sweep.

    Windows are kept as far as they let every key be replaced before it ends: what can't wait wins over them, and no
    place stays empty for the sake of one that is needed.

    :param kinds: how many there are of each; every one that is due, and every one that may find no place later.
    """
    return _in_time(kinds, limit, _by_windows(kinds, limit))


def _in_time(kinds: Mapping[Kind, int], limit: Limit, begun: dict[Kind, int]) -> dict[Kind, int]:
    """The same, and what would be too late otherwise, whatever its window: what ends first goes first."""
    missing = _left_over(kinds, limit, begun)
    room = limit.table().room(0)
    if not missing or not room:
        return begun
    if sum(begun.values()) + missing <= room:
        chosen, needed = dict(begun), missing
    else:
        chosen, needed = {}, min(room, _left_over(kinds, limit, {}))
    _add(chosen, kinds, needed)
    _add(chosen, begun, room - sum(chosen.values()))
    return chosen


def _add(chosen: dict[Kind, int], wanted: Mapping[Kind, int], places: int) -> None:
    """Choose so many more, what ends first first, of each kind as many as are wanted in all."""
    for kind in sorted(wanted, key=_first_to_end):
        more = min(places, wanted[kind] - chosen.get(kind, 0))
        if more > 0:
            chosen[kind] = chosen.get(kind, 0) + more
            places -= more


def _first_to_end(kind: Kind) -> tuple[object, ...]:
    return kind.end, not kind.due, *_order(kind)


def _left_over(kinds: Mapping[Kind, int], limit: Limit, begun: Mapping[Kind, int]) -> int:
    """How many could not be done before their keys end, if no window mattered and these began now."""
    table = limit.table()
    if total := sum(begun.values()):
        table.put(Crowd(1, total), 0, total)
    rest = [Crowd(until(kind.end), count - begun.get(kind, 0), share=1.0) for kind, count in kinds.items()]
    table.place(rest)
    return sum(crowd.unplaced for crowd in rest)


def _by_windows(kinds: Mapping[Kind, int], limit: Limit) -> dict[Kind, int]:
    order = sorted(kinds, key=_order)
    tried = first = _Attempt(order, kinds, limit, ())
    preferred: tuple[Kind, ...] = ()
    for _ in range(MOST_TRIES):
        if not tried.trouble or len(order) > MANY_KINDS or all(kind.window is None for kind in order):
            break
        preferred = (*tried.trouble, *(kind for kind in preferred if kind not in tried.trouble))
        tried = _Attempt(order, kinds, limit, preferred)
    if tried.trouble:
        tried = first
    table, crowds, left = tried.table, tried.crowds, tried.left
    if tried.too_many:
        return _in_order(order, kinds, limit, {kind: tried.outside.get(kind, crowd) for kind, crowd in crowds.items()})
    for kind, count in left.items():
        table.put(crowds[kind], 0, count)
    for kind in sorted(order, key=lambda kind: kind.end):
        if kind.due:
            left[kind] += _bring_forward(table, crowds[kind])
    return {kind: count for kind, count in left.items() if count}


class _Attempt:
    """Places for all in later turns, as far as there are any.

    :param preferred: who is asked first, in this order.
    """

    def __init__(
        self, order: Sequence[Kind], kinds: Mapping[Kind, int], limit: Limit, preferred: Sequence[Kind]
    ) -> None:
        self.table = limit.table()
        self.crowds = {kind: _crowd(kind, kinds[kind], limit) for kind in order}
        for kind in preferred:
            self.table.place([self.crowds[kind]])
        rest = [crowd for kind, crowd in self.crowds.items() if kind not in preferred]
        self.table.place([crowd for crowd in rest if not crowd.days & 1])
        self.table.place([crowd for crowd in rest if crowd.days & 1 and not crowd.due])
        # An end that can't wait wins over a window.
        self.outside = {
            kind: Crowd(_whenever(kind, limit.span), crowd.unplaced, share=1.0)
            for kind, crowd in self.crowds.items()
            if crowd.unplaced and not crowd.days & 1
        }
        self.table.place(list(self.outside.values()))
        self.table.place([crowd for crowd in rest if crowd.due])
        self.left = {kind: self.outside.get(kind, crowd).unplaced for kind, crowd in self.crowds.items()}
        self.too_many = sum(self.left.values()) > self.table.room(0)
        self.trouble = [kind for kind in order if kind in self.outside or (self.too_many and self.left[kind])]


def _order(kind: Kind) -> tuple[object, ...]:
    window = kind.window
    shown = () if window is None else (sorted(window.days), window.start, window.end, window.zone)
    return (*kind[1:], shown)


def _rounds(turns: int, span: int) -> list[int]:
    """In which turns one place can be used, one after the other, from the next day on."""
    found: list[int] = []
    at = span
    while rest := turns >> at:
        at += (rest & -rest).bit_length() - 1
        found.append(at)
        at += span
    return found


def _whenever(kind: Kind, span: int) -> int:
    """The turns in which it may be done without regard to a window: from tomorrow on, or from when it is due."""
    last = max(kind.latest, min(kind.ready, kind.end))
    first = max(1, min(span, kind.ready, last))
    return until(last) >> first << first | 1


def _crowd(kind: Kind, count: int, limit: Limit) -> Crowd:
    if kind.window is None:
        turns = until(kind.latest) if kind.due else _whenever(kind, limit.span)
        return Crowd(turns, count, kind.due, share=1.0)
    opens = limit.opens[kind.window]
    share = _share(kind.window)
    if kind.due:
        return Crowd(opens & until(kind.latest) | 1, count, due=True, share=share)
    if opens & 1:
        return Crowd(opens & _whenever(kind, limit.span) | 1, count, share=share)
    turns = opens & until(kind.latest) or opens & until(kind.end)
    return Crowd(turns, count, share=share) if turns else Crowd(_whenever(kind, limit.span), count, share=1.0)


def _share(window: Window) -> float:
    minutes = (window.end - window.start) % _DAY_MINUTES or _DAY_MINUTES
    return len(window.days) * minutes / _WEEK_MINUTES


def _bring_forward(table: Timetable, crowd: Crowd) -> int:
    """How many of those that have places later find one now, where nobody needs it."""
    brought = 0
    for turn, count in sorted(crowd.placed.items()):
        if turn:
            table.put(crowd, turn, -count)
            now = min(count, table.room(0))
            if now:
                table.put(crowd, 0, now)
            if now < count:
                table.put(crowd, turn, count - now)
            brought += now
    return brought


def _in_order(
    order: Sequence[Kind], kinds: Mapping[Kind, int], limit: Limit, crowds: Mapping[Kind, Crowd]
) -> dict[Kind, int]:
    """With more for today than there are places: whose end comes first goes first, as soon as it may."""
    # What is not due and need not be done today has nothing to do with it.
    early = sum(_today(crowd, limit.span) for kind, crowd in crowds.items() if not kind.due)
    table, spare = limit.table(), limit.table().room(0)
    begun: dict[Kind, int] = {}

    def begin(kind: Kind, turns: int, count: int) -> int:
        nonlocal early
        crowd = Crowd(turns, count)
        if not kind.due:
            now = Crowd(turns & 1, min(count, early))
            table.earliest(now)
            early -= now.count - now.unplaced
            crowd = Crowd(turns & ~1, count - now.count + now.unplaced)
            begun[kind] = begun.get(kind, 0) + now.count - now.unplaced
        table.earliest(crowd)
        begun[kind] = begun.get(kind, 0) + crowd.placed.get(0, 0)
        return crowd.unplaced

    for kind in sorted(order, key=lambda kind: (_last(kind, limit), kind.end)):
        count = kinds[kind]
        if kind.window is not None and not kind.due:
            turns = limit.opens[kind.window] & until(kind.end)
            left = begin(kind, turns, count)
            if turns & until(limit.span - 1) & ~1:
                spare -= count - left  # kept for when its window opens, later today
            count = left
        if count:
            begin(kind, until(kind.end), count)
    # What waits for another turn may stand in the way of what is due now: the place would stay empty.
    _add(begun, {kind: kinds[kind] for kind in order if kind.due}, spare - sum(begun.values()))
    return {kind: count for kind, count in begun.items() if count}


def _today(crowd: Crowd, span: int) -> int:
    """How many have no turn but one of today's."""
    return crowd.unplaced + sum(count for turn, count in crowd.placed.items() if turn < span)


def _last(kind: Kind, limit: Limit) -> int:
    """The last turn in which it may begin without breaking its window."""
    if kind.window is None or kind.due:
        return kind.end
    opens = limit.opens[kind.window] & until(kind.end)
    return opens.bit_length() - 1 if opens else kind.end


def turns_between(begin: timedelta, end: timedelta, every: timedelta) -> int:
    """The turns from ``begin`` until before ``end``, both counted from this sweep, as a set."""
    first, last = max(0, -(-begin // every)), -(-end // every)
    return ((1 << last - first) - 1) << first if last > first else 0
