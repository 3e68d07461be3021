"""What a daily limit allows: which rotations must be made today, and which can't be made in time at all.

Pure arithmetic, in *turns*: a turn is a sweep, or a whole day for whoever reckons in days. A job is one creation. It
has turns in which it may be done, and takes its place for as many turns as its *span* has, since what was created
counts against the limit for 24 hours. A *pace* is that span in time: a little more than 24 hours, since a place that
was used is free again after 24 hours, and is used again by the next sweep after that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from rotator.core.times import plus

HORIZON: Final = 400
"""How many days are looked ahead: Infobip's keys end within a year unless somebody made them so by hand."""
MOST_STEPS: Final = 5_000
"""So many turns are looked at in search of jobs whose moving makes room for others."""
MOST_MOVES: Final = 60
"""So many jobs are moved, each to make room for the one before."""


def day_of(moment: datetime, now: datetime, pace: timedelta) -> int:
    """On which day at the latest a job must be done to be done by ``moment``; 0 is today, negative is too late.

    Today has begun already: what is left for tomorrow is begun at ``now + pace``, and so on.
    """
    return min((moment - now) // pace, HORIZON)


def until(turn: int) -> int:
    """Every turn from now to that one (a set of turns is an integer, one bit a turn); this one, if that is over."""
    return (1 << (max(turn, 0) + 1)) - 1


@dataclass(slots=True, eq=False)
class Crowd:
    """Jobs that may be done in the same turns.

    :param days: a set of turns, as :func:`until` writes it. Those without bit 0 can't be done now.
    :param count: how many.
    :param due: whether they are to be done now anyway, so that nothing is pulled forward by doing them.
    :param share: how much of all time is theirs: those with less have less choice, and are asked first. Without it, how
        much of the time until their end.
    """

    days: int
    count: int
    due: bool = False
    share: float | None = None
    placed: dict[int, int] = field(default_factory=dict)

    @property
    def unplaced(self) -> int:
        """How many have no turn but the present one, if that."""
        return self.count - sum(self.placed.values())


class Timetable:
    """The places of the turns to come, and who has them.

    :param per_day: how many there are; each that is taken is taken for a span.
    :param span: of how many turns.
    :param taken: how many are taken in each of the first turns already; less than none are so many more places.
    """

    def __init__(self, per_day: int, span: int = 1, taken: Iterable[int] = ()) -> None:
        self._most = max(per_day, 0)
        self._span = span
        self._taken = list(taken)
        self._full = sum(1 << turn for turn, count in enumerate(self._taken) if count >= self._most)
        self._shut: int | None = None
        self._here: defaultdict[int, list[Crowd]] = defaultdict(list)
        self._moves: list[tuple[Crowd, int, int]] = []
        self._seen = 0
        self._steps = MOST_STEPS
        self._gaps = False

    def room(self, turn: int) -> int:
        """How many more may begin in that turn."""
        self._reach(turn + self._span)
        return max(0, self._most - max(self._taken[turn : turn + self._span]))

    def place(self, crowds: Sequence[Crowd]) -> None:
        """Find turns after the present one, the latest that there are; others move where that makes room.

        Whoever has a place keeps one, if not that one. Who is left over ends first.
        """
        crowds = sorted(crowds, key=_choice)
        if not self._most:
            return
        for crowd in crowds:
            left = crowd.unplaced
            while left and (free := self._free(crowd.days & ~1)):
                turn = free.bit_length() - 1
                amount = min(left, self.room(turn))
                self.put(crowd, turn, amount)
                left -= amount
        self._gaps = self._gaps or any(crowd.share != 1 for crowd in crowds)
        if not self._gaps:
            return  # with all the time until their ends for each, nobody's moving makes room
        for crowd in crowds:
            left, stuck = crowd.unplaced, self._seen
            while left and self._find(crowd, 0, 0):
                left -= 1
                self._seen = stuck  # only what was tried in vain need not be tried again
            self._moves.clear()

    def earliest(self, crowd: Crowd) -> None:
        """Find the earliest turns that there are, the present one included; nobody moves."""
        left = crowd.unplaced
        while left and self._most and (free := self._free(crowd.days)):
            turn = (free & -free).bit_length() - 1
            amount = min(left, self.room(turn))
            self.put(crowd, turn, amount)
            left -= amount

    def put(self, crowd: Crowd, turn: int, amount: int) -> None:
        """Let so many of a crowd begin in that turn; fewer, where the amount is less than none."""
        self._reach(turn + self._span)
        taken, full = self._taken, 0
        for offset in range(self._span):
            taken[turn + offset] += amount
            full |= (taken[turn + offset] >= self._most) << offset
        before = self._full
        self._full = before & ~(((1 << self._span) - 1) << turn) | full << turn
        if self._full != before:
            self._shut = None
        if crowd.placed.get(turn, 0) == 0:
            self._here[turn].append(crowd)
        crowd.placed[turn] = crowd.placed.get(turn, 0) + amount
        if crowd.placed[turn] == 0:
            del crowd.placed[turn]
            self._here[turn].remove(crowd)

    # ---- parts --------------------------------------------------------------------------------------------------

    def _reach(self, turn: int) -> None:
        if turn > len(self._taken):
            self._taken += [0] * (turn + self._span - len(self._taken))

    def _free(self, turns: int) -> int:
        """Those of the turns in which one more may begin: none of the span's turns is full."""
        if self._shut is None:
            shut, have = self._full, 1
            while have < self._span:
                step = min(have, self._span - have)
                shut |= shut >> step
                have += step
            self._shut = shut
        return turns & ~self._shut

    def _find(self, crowd: Crowd, avoid: int, depth: int) -> bool:
        """A place for one more of a crowd, moving others, the first to a turn that nobody has tried, and so on.

        Where each job takes one turn that is the search for an augmenting path, which finds a place if there is one. A
        turn that it came to in vain is not tried again: no later move frees it.
        """
        turns = crowd.days & ~1 & ~avoid & ~self._seen
        if free := self._free(turns):
            self._move(crowd, free.bit_length() - 1, 1)
            return True
        if depth >= MOST_MOVES:
            return False
        while (rest := turns & ~self._seen) and self._steps > 0:
            turn = rest.bit_length() - 1
            self._seen |= 1 << turn
            self._steps -= 1
            mark = len(self._moves)
            if self._clear(turn, avoid, depth + 1):
                self._move(crowd, turn, 1)
                return True
            self._undo(mark)
        return False

    def _clear(self, turn: int, avoid: int, depth: int) -> bool:
        """Make room for one more in that turn: in each of the span's turns that is full, somebody makes way."""
        while full := self._full >> turn & ((1 << self._span) - 1):
            at = turn + (full & -full).bit_length() - 1
            first = max(0, at - self._span + 1)
            avoid |= until(at) >> first << first  # nobody comes back to where others have made way
            self._steps -= 1
            if not any(self._make_way(begun, avoid, depth) for begun in range(at, first - 1, -1)):
                return False
        return True

    def _make_way(self, turn: int, avoid: int, depth: int) -> bool:
        if not turn:
            return False
        for crowd in tuple(self._here.get(turn, ())):
            mark = len(self._moves)
            self._move(crowd, turn, -1)
            if self._find(crowd, avoid, depth):
                return True
            self._undo(mark)
        return False

    def _move(self, crowd: Crowd, turn: int, amount: int) -> None:
        self._moves.append((crowd, turn, amount))
        self.put(crowd, turn, amount)

    def _undo(self, mark: int) -> None:
        while len(self._moves) > mark:
            crowd, turn, amount = self._moves.pop()
            self.put(crowd, turn, -amount)


def _choice(crowd: Crowd) -> tuple[float, int]:
    share = crowd.days.bit_count() / max(1, crowd.days.bit_length()) if crowd.share is None else crowd.share
    return share, -crowd.days


def must_start_today(crowds: Sequence[Crowd], per_day: int, table: Timetable | None = None) -> list[int]:
    """How many jobs of each crowd can't wait for a later turn, and no more than that.

    A matching of jobs and the places of the turns to come: the largest one in which as few as can be are left over,
    first of those that can't be done now, then of those that are not due, then of the rest. Where the span is one turn
    there is no better one; else finding the best would take too long, and it is a good one.

    :param per_day: how many jobs fit into a day.
    :param table: gets the jobs that can wait; none that is empty and whose span is one turn.
    :returns: one number a crowd, in order. Their sum may be more than a day allows: then some can't be done in time.
    """
    table = table or Timetable(per_day)
    for crowd in crowds:
        crowd.placed = {}
    table.place([crowd for crowd in crowds if not crowd.days & 1])
    table.place([crowd for crowd in crowds if crowd.days & 1 and not crowd.due])
    table.place([crowd for crowd in crowds if crowd.days & 1 and crowd.due])
    return [crowd.unplaced for crowd in crowds]


# ---- in time --------------------------------------------------------------------------------------------------------


def places(used: Iterable[datetime], per_day: int, now: datetime, pace: timedelta) -> list[datetime]:
    """From when on each of a day's places can be used; one each, sorted. Each is free again a pace later.

    :param used: when the creations that count against the limit now were made.
    """
    if per_day <= 0:
        return []
    again = sorted(plus(moment, pace) for moment in used)
    # With more in use than scheduled work may take, the first that come back are the reserve's.
    back = [max(moment, now) for moment in again[max(0, len(again) - per_day) :]]
    return [now] * (per_day - len(back)) + back


def too_late(ends: Sequence[datetime], free: Sequence[datetime], pace: timedelta, *, first: int = 0) -> list[int]:
    """Which jobs can't be done in time, though all are done as early as can be, the ones that end first going first.

    A job that can't be done in time takes no place from the others.

    :param ends: until when each must be done, sorted.
    :param free: as :func:`places` gives it.
    :param first: how many jobs go before all of these.
    :returns: indices into ``ends``.
    """
    late: list[int] = []
    turn = first
    for index, end in enumerate(ends):
        if not free or plus(free[turn % len(free)], pace * (turn // len(free))) > end:
            late.append(index)
        else:
            turn += 1
    return late
