"""Who must be pulled forward, asked of counts instead of lists: a forecast asks it thousands of times.

The same question and the same answer as in :mod:`rotator.core.crowding`. Times are whole microseconds from the
forecast's begin. Ends are counted by *slot*: a slot is as long as the sweeps of a forecast are apart, and a day of
:mod:`rotator.core.capacity` is ``slots_a_day`` of them.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from rotator.core.capacity import HORIZON, Crowd, must_start_today, until
from rotator.core.model import Window
from rotator.core.windows import next_close, next_open

MICRO: Final = timedelta(microseconds=1)
MANY: Final = 500
"""With more secrets than that, and windows, who must be pulled forward is asked once a day and not at every sweep."""
_FAR: Final = timedelta(days=366 * 30)

_Kind = tuple[Window | None, int]


class Openings:
    """When a window is open, found once and as far as it is asked for.

    :param window: at least one opening in a month, as every window has that was parsed.
    """

    def __init__(self, window: Window, now: datetime) -> None:
        self._window = window
        self._now = now
        self._known: list[tuple[int, int]] = []
        self._searched = 0
        self._last: tuple[int | None, tuple[int, int]] = (None, (0, 0))

    def within(self, begin: int, end: int) -> bool:
        """Whether it is open at some moment from ``begin`` to ``end``, both included."""
        opens, _ = self.after(begin)
        return opens <= end

    def after(self, moment: int) -> tuple[int, int]:
        """The first opening that is not over at ``moment``: from when and until when."""
        if moment != self._last[0]:  # it is asked of many secrets at the same moment
            self._search(moment)
            self._last = moment, self._known[self._index(moment)]
        return self._last[1]

    def days(self, now: int, last: int, pace: int) -> int:
        """On which days from ``now`` on, up to the last one, it opens: a set as in :mod:`rotator.core.capacity`."""
        end = now + (last + 1) * pace
        self._search(end)
        found = 0
        for opens, closes in self._known[self._index(now) :]:
            if opens >= end:
                break
            at = max(opens, now)
            while at < min(closes, end):
                found |= 1 << (at - now) // pace
                at += pace
        return found

    def _index(self, moment: int) -> int:
        low, high = 0, len(self._known)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._known[middle][1] <= moment else (low, middle)
        return low

    def _search(self, moment: int) -> None:
        """Know every opening up to the first that is not over then."""
        while not self._known or self._known[-1][1] <= moment:
            opens = next_open(self._window, self._now + self._searched * MICRO)
            closes = next_close(self._window, opens) or opens + _FAR
            self._known.append(((opens - self._now) // MICRO, (closes - self._now) // MICRO))
            self._searched = self._known[-1][1]


@dataclass(slots=True)
class Crowds:
    """How many keys end when: of secrets whose rotation is not due (or waits for its window), and of the due ones.

    :param slot: microseconds between two sweeps.
    :param slots_a_day: how many of them make a day.
    :param openings: of every window that a secret has.
    """

    slot: int
    slots_a_day: int
    openings: Mapping[Window, Openings]
    due: Counter[int] = field(default_factory=Counter)
    _members: dict[Window | None, dict[int, set[int]]] = field(default_factory=lambda: defaultdict(dict))
    _count: int = 0

    def add(self, member: int, latest: int, window: Window | None) -> None:
        """A secret that is not due; ``latest`` is until when its key shall be replaced."""
        self._members[window].setdefault(latest // self.slot, set()).add(member)
        self._count += 1

    def remove(self, member: int, latest: int, window: Window | None) -> None:
        """Take it out again."""
        slots = self._members[window]
        slots[latest // self.slot].remove(member)
        if not slots[latest // self.slot]:
            del slots[latest // self.slot]
        self._count -= 1

    def take_due(self, slot: int) -> None:
        """One that was due is done, or waits for its window again."""
        self.due[slot] -= 1
        if not self.due[slot]:
            del self.due[slot]

    def must_start(self, sweep: int, per_day: int) -> list[tuple[_Kind, int]]:
        """How many of which kind (window and day) can't wait for tomorrow.

        :param sweep: the sweep's number; it is at ``sweep * slot``.
        """
        total = self._count + self.due.total()
        unsafe: Counter[_Kind] = Counter()
        for window, slots in self._members.items():
            for slot, members in slots.items():
                day = (slot - sweep) // self.slots_a_day
                # Whatever all the others take, it finds a place: most do, so nothing else is reckoned for them.
                if total > per_day * (day if window is None else day // 8 - 1):
                    unsafe[window, max(0, min(day, HORIZON))] += len(members)
        if not unsafe:
            return []
        due = Counter[int]()
        for slot, count in self.due.items():
            due[self._day(slot, sweep)] += count
        if all(window is None for window, _ in unsafe):
            return _without_windows({day: count for (_, day), count in unsafe.items()}, due, per_day)
        if total > MANY and sweep % self.slots_a_day:
            return []
        return self._with_windows(unsafe, due, sweep, per_day)

    def first_of(self, kind: _Kind, sweep: int, count: int, ends: Mapping[int, tuple[int, str]]) -> list[int]:
        """The members of a kind whose keys end first.

        :param ends: when each one's key ends, and the secret's name.
        """
        window, day = kind
        able = (
            member
            for slot, members in self._members[window].items()
            if self._day(slot, sweep) == day
            for member in members
        )
        return heapq.nsmallest(count, able, key=ends.__getitem__)

    def _day(self, slot: int, sweep: int) -> int:
        return max(0, min((slot - sweep) // self.slots_a_day, HORIZON))

    def _with_windows(
        self, unsafe: Mapping[_Kind, int], due: Mapping[int, int], sweep: int, per_day: int
    ) -> list[tuple[_Kind, int]]:
        now, pace = sweep * self.slot, self.slot * self.slots_a_day
        last = max(day for _, day in unsafe)
        windows = {window for window, _ in unsafe if window is not None}
        opens = {window: self.openings[window].days(now, last, pace) for window in windows}
        shut = {window for window in opens if not self.openings[window].within(now, now)}
        order = list(unsafe)
        crowds = []
        for window, day in order:
            days = until(day)
            if window is not None and days & opens[window]:
                days &= opens[window]
            crowds.append(Crowd(days, unsafe[window, day]))
        rest = [Crowd(until(day), count, due=True) for day, count in due.items()]
        left = must_start_today([*crowds, *rest], per_day)
        narrow = [i for i, (window, _) in enumerate(order) if left[i] and window in shut and not crowds[i].days & 1]
        for index in narrow:
            crowds[index].days = until(order[index][1])  # an end that can't wait wins over a window
        if narrow:
            left = must_start_today([*crowds, *rest], per_day)
        today = sum(left)
        found: list[tuple[_Kind, int]] = []
        for index, (window, day) in enumerate(order):
            waits = window is not None and window in shut and bool(opens[window] & 1)
            if left[index] and not waits and (day or today > per_day):
                found.append(((window, day), left[index]))
        return found


def _without_windows(kinds: Mapping[int, int], due: Mapping[int, int], per_day: int) -> list[tuple[_Kind, int]]:
    """What :func:`~rotator.core.capacity.must_start_today` says where every day up to a last one will do.

    From the last day back, each day takes those that end last; what finds no day but today is left over.
    """
    today = _left_over({day: kinds.get(day, 0) + due.get(day, 0) for day in kinds.keys() | due.keys()}, per_day)
    left = _left_over(kinds, per_day)
    crowded = sum(today.values()) > per_day
    return [((None, day), count) for day, count in left.items() if day or crowded]


def _left_over(kinds: Mapping[int, int], per_day: int) -> dict[int, int]:
    waiting: deque[list[int]] = deque()
    coming = sorted((day for day in kinds if day and kinds[day]), reverse=True)
    at, index = (coming[0] if coming else 0), 0
    while at > 0:
        while index < len(coming) and coming[index] >= at:
            waiting.append([coming[index], kinds[coming[index]]])
            index += 1
        room = max(per_day, 0)
        while room and waiting:
            taken = min(room, waiting[0][1])
            room -= taken
            waiting[0][1] -= taken
            if not waiting[0][1]:
                waiting.popleft()
        # With nobody waiting, the next day of interest is the next one on which somebody's time ends.
        at = at - 1 if waiting or index >= len(coming) else min(at - 1, coming[index])
        if not waiting and index >= len(coming):
            break
    left = {crowd[0]: crowd[1] for crowd in waiting}
    if kinds.get(0):
        left[0] = kinds[0]
    return left
