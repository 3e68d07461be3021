"""What a daily limit allows: which rotations must be made today, and which can't be made in time at all.

Pure arithmetic, in *days*: a job is one creation, at most so many fit into a day, and each job has the days on which it
may be done. A day is a *pace* long: a little more than 24 hours, since a place that was used is free again after 24
hours, and is used again by the next sweep after that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from rotator.core.times import plus

HORIZON: Final = 400
"""How many days are looked ahead: Infobip's keys end within a year unless somebody made them so by hand."""


def day_of(moment: datetime, now: datetime, pace: timedelta) -> int:
    """On which day at the latest a job must be done to be done by ``moment``; 0 is today, negative is too late.

    Today has begun already: what is left for tomorrow is begun at ``now + pace``, and so on.
    """
    return min((moment - now) // pace, HORIZON)


def until(day: int) -> int:
    """Every day from today to that one (a set of days is an integer, one bit a day); today, if it is over."""
    return (1 << (max(day, 0) + 1)) - 1


@dataclass(slots=True)
class Crowd:
    """Jobs that may be done on the same days.

    :param days: a set of days, as :func:`until` writes it; never empty.
    :param count: how many.
    :param due: whether they are to be done now anyway, so that nothing is pulled forward by doing them.
    """

    days: int
    count: int
    due: bool = False
    _placed: dict[int, int] = field(default_factory=dict)

    @property
    def unplaced(self) -> int:
        """How many have no day but today."""
        return self.count - sum(self._placed.values())


def must_start_today(crowds: Sequence[Crowd], per_day: int) -> list[int]:
    """How many jobs of each crowd can't wait for tomorrow, and no more than that.

    A bipartite matching of jobs and the places of the days to come: the largest one in which as few jobs as can be that
    are not due are left over. Later days are filled first, so that what is left over ends first.

    :param per_day: how many jobs fit into a day.
    :returns: one number a crowd, in order. Their sum may be more than a day allows: then some can't be done in time.
    """
    spare = dict.fromkeys(range(1, HORIZON + 1), max(per_day, 0))
    for crowd in crowds:
        crowd._placed = {}
    for due in (False, True):
        mine = [crowd for crowd in crowds if crowd.due is due]
        _fill(mine, spare)
        stuck: set[int] = set()
        for crowd in sorted(mine, key=lambda crowd: -crowd.days):
            while crowd.unplaced and _augment(crowd, crowds, spare, stuck):
                pass
    return [crowd.unplaced for crowd in crowds]


def _fill(crowds: Sequence[Crowd], spare: dict[int, int]) -> None:
    """From the last day back: who has the fewest other days goes first, then who ends last."""
    waiting: list[Crowd] = []
    coming = sorted((crowd for crowd in crowds if crowd.days > 1), key=lambda crowd: crowd.days.bit_length())
    day = coming[-1].days.bit_length() - 1 if coming else 0
    while day > 0:
        while coming and coming[-1].days.bit_length() > day:
            waiting.append(coming.pop())
        earlier = (1 << day) - 2  # today is not asked: it is what the answer is about
        able = [crowd for crowd in waiting if crowd.days >> day & 1]
        able.sort(key=lambda crowd: ((crowd.days & earlier).bit_count(), -crowd.days.bit_length()))
        for crowd in able:
            amount = min(spare[day], crowd.unplaced)
            if amount:
                crowd._placed[day] = amount
                spare[day] -= amount
        waiting = [crowd for crowd in waiting if crowd.unplaced]
        day = day - 1 if waiting else min(day - 1, coming[-1].days.bit_length() - 1 if coming else 0)


def _augment(crowd: Crowd, crowds: Sequence[Crowd], spare: dict[int, int], stuck: set[int]) -> bool:
    """Find places for some of a crowd by moving others to other days; breadth first, so by as few moves as can be.

    :param stuck: days from which no place could be reached; kept, as no later move frees one.
    """
    reached: dict[int, tuple[Crowd, int | None]] = {}
    queue: deque[int] = deque()

    def reach(mover: Crowd, origin: int | None) -> None:
        for day in _days(mover.days):
            if day and day not in reached and day not in stuck:
                reached[day] = mover, origin
                queue.append(day)

    reach(crowd, None)
    seen = {id(crowd)}
    while queue:
        day = queue.popleft()
        if spare[day]:
            _move(day, crowd, reached, spare)
            return True
        for other in crowds:
            if id(other) not in seen and other._placed.get(day):
                seen.add(id(other))
                reach(other, day)
    stuck.update(reached)
    return False


def _move(day: int, crowd: Crowd, reached: dict[int, tuple[Crowd, int | None]], spare: dict[int, int]) -> None:
    path: list[tuple[Crowd, int | None, int]] = []
    at: int | None = day
    while at is not None:
        mover, origin = reached[at]
        path.append((mover, origin, at))
        at = origin
    amounts = [mover._placed[origin] for mover, origin, _ in path if origin is not None]
    amount = min([spare[day], crowd.unplaced, *amounts])
    for mover, origin, target in path:
        mover._placed[target] = mover._placed.get(target, 0) + amount
        if origin is not None:
            mover._placed[origin] -= amount
    spare[day] -= amount


def _days(days: int) -> Iterator[int]:
    while days:
        lowest = days & -days
        yield lowest.bit_length() - 1
        days ^= lowest


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
