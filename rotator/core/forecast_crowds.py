"""Who must be pulled forward, asked of counts instead of lists: a forecast asks it thousands of times.

The same question and the same answer as in :mod:`rotator.core.crowding`. Times are whole microseconds from the
forecast's begin; those that make a kind are counted in its sweeps.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from rotator.core.capacity import HORIZON, until
from rotator.core.model import Window
from rotator.core.turns import Kind, Limit, begin_now, crowded
from rotator.core.windows import next_close, next_open

MICRO: Final = timedelta(microseconds=1)
MANY: Final = 500
"""With more secrets than that, and windows, who must begin is asked once a day and whenever a window opens."""
_FAR: Final = timedelta(days=366 * 30)


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


class Spell(NamedTuple):
    """What makes a :class:`~rotator.core.turns.Kind`, in sweeps from the forecast's begin."""

    latest: int
    end: int
    ready: int


@dataclass(slots=True)
class Crowds:
    """How many keys end when: of secrets whose rotation is not due (or waits for its window), and of the due ones.

    :param slots_a_day: how many sweeps make a day.
    :param opens: of every window that a secret has, the sweeps from the forecast's begin at which it is open.
    """

    slots_a_day: int
    opens: Mapping[Window, int]
    due: Counter[tuple[Window | None, Spell]] = field(default_factory=Counter)
    broken: int = 0
    _members: dict[Window | None, dict[Spell, set[int]]] = field(default_factory=lambda: defaultdict(dict))
    _spells: dict[Window | None, list[Spell]] = field(default_factory=lambda: defaultdict(list))
    _count: int = 0

    def add(self, member: int, spell: Spell, window: Window | None) -> None:
        """A secret that is not due."""
        members = self._members[window]
        if spell not in members:
            members[spell] = set()
            insort(self._spells[window], spell)
        members[spell].add(member)
        self._count += 1

    def remove(self, member: int, spell: Spell, window: Window | None) -> None:
        """Take it out again."""
        members = self._members[window]
        members[spell].remove(member)
        if not members[spell]:
            del members[spell]
            spells = self._spells[window]
            del spells[bisect_left(spells, spell)]
        self._count -= 1

    def take_due(self, window: Window | None, spell: Spell) -> None:
        """One that was due is done, or waits for its window again."""
        self.due[window, spell] -= 1
        if not self.due[window, spell]:
            del self.due[window, spell]

    def begin(self, sweep: int, per_day: int, taken: Sequence[int]) -> dict[Kind, int] | None:
        """How many of which kind begin now; ``None`` if every one surely finds a later place.

        :param sweep: the sweep's number.
        :param taken: as :class:`~rotator.core.turns.Limit` has it.
        """
        total = self._count + self.due.total() + self.broken
        if self.opens and total > MANY and sweep % self.slots_a_day and not self._opening(sweep):
            return None
        kinds: Counter[Kind] = Counter()
        for (window, spell), count in self.due.items():
            kinds[self.kind(window, spell, sweep, due=True)] += count
        opens: dict[Window, int] = {}
        for window, spells in self._spells.items():
            # The first so many days are looked at: whoever ends later is safe, as in the planner.
            days = -(-total // per_day) if per_day > 0 else HORIZON
            far = sweep + (days if window is None else 16 * days + 16) * self.slots_a_day
            for spell in spells[: bisect_left(spells, Spell(far, 0, 0))]:
                kinds[self.kind(window, spell, sweep)] += len(self._members[window][spell])
        for kind in kinds:
            if kind.window is not None:
                opens[kind.window] = max(opens.get(kind.window, 0), kind.end)
        turns = {window: self.opens[window] >> sweep & until(last) for window, last in opens.items()}
        limit = Limit(per_day, self.slots_a_day, taken, turns)
        asked = crowded(kinds, total, limit)
        return begin_now(asked, limit) if asked else None

    def _opening(self, sweep: int) -> bool:
        return any(turns >> sweep & 1 and not turns >> sweep - 1 & 1 for turns in self.opens.values())

    def first_of(self, kind: Kind, sweep: int, count: int, ends: Mapping[int, tuple[int, str]]) -> list[int]:
        """The members of a kind whose keys end first.

        :param ends: when each one's key ends, and the secret's name.
        """
        able = (
            member
            for spell, members in self._members[kind.window].items()
            if self.kind(kind.window, spell, sweep) == kind
            for member in members
        )
        return heapq.nsmallest(count, able, key=ends.__getitem__)

    def kind(self, window: Window | None, spell: Spell, sweep: int, *, due: bool = False) -> Kind:
        """As the planner sees it at a sweep."""
        most = HORIZON * self.slots_a_day
        latest, end = (max(0, min(turn - sweep, most)) for turn in (spell.latest, spell.end))
        return Kind(window, latest, end, max(0, min(spell.ready - sweep, self.slots_a_day)), due)
