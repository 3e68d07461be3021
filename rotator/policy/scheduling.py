"""Scheduling: which rotations start in this sweep, so that none misses its key's expiry for want of a quota slot.

The quota is a number of slots; a slot that a create used is free again 24 hours later. Every sweep schedules all
rotations from scratch, from what it sees, and keeps nothing. Time is counted in sweeps; this one is sweep 0.

1. A rotation that is not due gets the latest free slot before its key expires, in its window. Only what finds none is
   scheduled early, in this sweep (reason ``capacity``): nothing is that need not be.
2. If a window has no free slot left, its rotations get slots outside of it.
3. A due rotation starts now, unless another rotation needs the slot today and it can wait.
4. Last, a check that ignores windows: what would miss its expiry otherwise starts now, the earliest expiry first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import accumulate, count
from operator import itemgetter
from typing import Final, NamedTuple

from rotator.durations import LAST, plus
from rotator.message import Message
from rotator.model import BEGINS_WITHIN, AccountSnapshot, ActionKind, Key, Policy, Quota, Reason, Severity, Window
from rotator.policy.draft import Draft
from rotator.policy.guards import DAY, SOON
from rotator.policy.labels import parse_key_name
from rotator.policy.rules import BROKEN, ROTATE_BLOCKED, Decision, View, first, renew_at
from rotator.policy.windows import is_open, openings, openings_until
from rotator.text import printable, some_of

HORIZON: Final = 400
"""How many days are scheduled: Infobip's keys expire within a year unless an operator chose otherwise."""
SAFETY: Final = timedelta(days=3)
"""How long before its expiry a key that is scheduled early is replaced: an outage of that length costs no key."""
WEEK: Final = timedelta(days=7)
MAX_NAMES: Final = 5
"""How many keys an alert names."""


class Candidate(NamedTuple):
    """A secret that is rotated, or could be.

    :param expires_at: when its key expires; ``None`` if never, or where consumers have no working key now.
    :param decision: why a rotation is due; ``None`` if none is.
    :param waits: what a due rotation waits for.
    :param start: plans the rotation; ``None`` if it is planned already.
    :param skip: skips the secret for a reason.
    """

    view: View
    expires_at: datetime | None
    decision: Decision | None = None
    waits: Decision | None = None
    start: Callable[[Decision], None] | None = None
    skip: Callable[[Decision], None] | None = None

    @property
    def broken(self) -> bool:
        """Whether consumers have no working key: such a rotation waits for nothing."""
        return self.decision is not None and self.decision.reason in BROKEN


def schedule(
    draft: Draft,
    snapshot: AccountSnapshot,
    candidates: Sequence[Candidate],
    quota: Quota,
    policy: Policy,
    now: datetime,
    *,
    alone: bool = False,
) -> None:
    """Start what is scheduled for this sweep, skip what waits, and alert about what can't be rotated in time.

    :param alone: whether only one secret's rotation is asked for, which then waits for no other.
    """
    slots = _slots(snapshot, candidates, quota, policy, now)
    near = sorted(_near(candidates, slots), key=_by_expiry)
    started: set[int] = set()
    if quota.creates_left and any(one.start is not None for one in near):
        rotations = _rotations(near, slots)
        chosen = _Schedule(slots, rotations).start_now()
        demand = _demand(rotations, slots) if any(not one.due for one in chosen) else Message()
        for one in chosen:
            if one.candidate.start is not None:
                one.candidate.start(one.candidate.decision or _early(one, demand, now))
                started.add(id(one.candidate))
        if not alone:
            _postpone(draft, [one.candidate for one in rotations if one.due and one not in chosen])
    for candidate in candidates:
        if candidate.waits is not None and candidate.skip is not None and id(candidate) not in started:
            candidate.skip(candidate.waits)
    _alert_not_in_time(draft, candidates, near, slots)


# ---- the quota ------------------------------------------------------------------------------------------------------


def quota_window(policy: Policy) -> timedelta:
    """After how long a sweep finds a used slot free again: the smallest multiple of ``sweep_every`` that is a day."""
    every = policy.sweep_every
    return -(-DAY // every) * every


def slots_a_day(snapshot: AccountSnapshot, quota: Quota, policy: Policy, now: datetime) -> int:
    """How many rotations a day can be counted on in the days to come.

    Each takes an update too, when its old key is revoked. What others created in the last week, operators and programs,
    is taken to go on; but for no more than half, so that a fleet's first day does not look like its last.
    """
    ours, since = _limit(quota), now - WEEK
    others = sum(
        1
        for key in snapshot.keys.values()
        if key.valid_from is not None and since < key.valid_from <= now and not _is_ours(key, policy)
    )
    return ours - min(round(others * DAY / WEEK), ours // 2)


def _is_ours(key: Key, policy: Policy) -> bool:
    name = parse_key_name(key.name)
    return name is not None and name.deployment == policy.deployment


def _limit(quota: Quota) -> int:
    return max(0, min(quota.creates_limit, quota.updates_limit) - quota.reserve)


@dataclass(frozen=True, slots=True)
class Slots:
    """The quota as scheduling sees it, in sweeps from this one on.

    :param now: this sweep.
    :param every: how long one sweep is after the other.
    :param period: after how many sweeps a slot is free again.
    :param a_day: how many slots can be counted on in the days to come.
    :param today: of every slot that scheduled work may use today, the sweep from which on it is free; sorted.
    :param broken: how many secrets without a working key get a slot before all others.
    """

    now: datetime
    every: timedelta
    period: int
    a_day: int
    today: Sequence[int]
    broken: int

    @property
    def free_now(self) -> int:
        """How many are free in this sweep, less those for broken secrets."""
        return max(0, self.today.count(0) - self.broken)

    def last_by(self, moment: datetime) -> int:
        """The last sweep that is not after a moment, within the horizon."""
        return max(0, min((moment - self.now) // self.every, HORIZON * self.period))

    def first_from(self, moment: datetime) -> int:
        """The first sweep that is not before a moment."""
        return -((self.now - moment) // self.every)

    def too_late(self, expiries: Sequence[int], started: int | None = None) -> list[int]:
        """Which rotations can't be done in time, if windows do not matter and the earliest expiry always goes first.

        A rotation that can't be done in time takes no slot from the others.

        :param expiries: the last sweep for each, sorted.
        :param started: how many others start in this sweep, if none of these does; ``None``: these may start in it.
        :returns: indices into ``expiries``.
        """
        free, ahead = list(self.today[: self.a_day]), self.broken
        if started is not None:
            now = self.today.count(0)
            used = min(started + self.broken, now)
            again = max(0, used - max(0, now - self.a_day))  # what is free today only does not come back
            free = sorted([self.period] * again + [max(1, sweep) for sweep in free[again:]])
            ahead = max(0, self.broken - now)
        late: list[int] = []
        for index, expiry in enumerate(expiries):
            days, slot = divmod(ahead, len(free)) if free else (0, 0)
            if not free or free[slot] + days * self.period > expiry:
                late.append(index)
            else:
                ahead += 1
        return late


def _slots(
    snapshot: AccountSnapshot, candidates: Iterable[Candidate], quota: Quota, policy: Policy, now: datetime
) -> Slots:
    period, limit = quota_window(policy) // policy.sweep_every, _limit(quota)
    # As the sweep itself counts: what is free within some minutes is free. A key whose validFrom lies ahead was created
    # with that date, at an unknown time.
    since, until = now + SOON - DAY, now + BEGINS_WITHIN
    created = (key.valid_from for key in snapshot.keys.values())
    used = [at + DAY - SOON - now for at in created if at is not None and since < at <= until]
    again = sorted(min(period, -(-left // policy.sweep_every)) for left in used)
    # With more in use than scheduled work may take, the first that come back are the reserve's.
    today = [0] * (limit - len(again)) + again[max(0, len(again) - limit) :]
    broken = sum(1 for one in candidates if one.broken)
    a_day = slots_a_day(snapshot, quota, policy, now)
    return Slots(now, policy.sweep_every, period, a_day, today, broken)


# ---- what is to be scheduled ----------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Rotation:
    """A candidate in sweeps. If not in this sweep it may start from sweep ``first`` to sweep ``last``.

    :param due: planned already, and postponed only if another rotation needs the slot.
    :param able: whether it could be rotated now; else it keeps its slot later.
    :param expiry: the last sweep before its key expires.
    """

    candidate: Candidate
    rank: int
    window: Window | None
    due: bool
    able: bool
    first: int
    last: int
    expiry: int


def margin(view: View) -> timedelta:
    """How long before its expiry a key shall be replaced: :data:`SAFETY`, less where it is rotated late anyway.

    At most a tenth of the key's life, and half of what ``rotator:rotate-before`` asks for.
    """
    key, spec = view.key, view.spec
    if key is None or spec is None or key.valid_to is None:
        return timedelta(0)
    life = key.valid_to - (key.valid_from or plus(key.valid_to, -spec.validity))
    before = spec.rotate_before
    before = before if isinstance(before, timedelta) else life * before
    return max(timedelta(0), min(SAFETY, life / 10, before / 2))


def _window(candidate: Candidate) -> Window | None:
    return candidate.view.spec.window if candidate.view.spec else None


def _by_expiry(candidate: Candidate) -> tuple[datetime, str]:
    return candidate.expires_at or LAST, candidate.view.entry.name


def _near(candidates: Sequence[Candidate], slots: Slots) -> Iterable[Candidate]:
    """Without those that find a slot after this sweep even if all others come first."""
    if slots.a_day <= 0:
        return candidates
    days = -(-len(candidates) // slots.a_day)
    # A window opens once a week or more often, and others may use the slots so that each is in the way of two.
    day = slots.period * slots.every
    far = [plus(slots.now, each * day + SAFETY) if each <= HORIZON else LAST for each in (days, 16 * days + 16)]

    def is_near(candidate: Candidate) -> bool:
        expires_at = candidate.expires_at
        return (
            candidate.start is None or expires_at is None or expires_at < far[0]
            or (_window(candidate) is not None and expires_at < far[1])
        )  # fmt: skip

    return filter(is_near, candidates)


def _rotations(candidates: Iterable[Candidate], slots: Slots) -> list[_Rotation]:
    """All that are not broken; the earliest expiry first."""
    most, period = HORIZON * slots.period, slots.period
    found: list[_Rotation] = []
    for rank, candidate in enumerate(candidates):
        if candidate.broken:
            continue
        expiry = last = most
        if candidate.expires_at is not None:
            expiry = max(0, min(most, slots.first_from(candidate.expires_at) - 1))
            last = slots.last_by(plus(candidate.expires_at, -margin(candidate.view)))
        first_sweep, due = 1, candidate.start is None
        if candidate.decision is None:
            # Later today is no better than now, except for what is due by then.
            due_at = renew_at(candidate.view)
            ready = period if due_at is None else max(0, min(period, slots.first_from(due_at)))
            last = max(last, min(ready, expiry))
            first_sweep = max(1, min(ready, last))
        able = due or first(ROTATE_BLOCKED, candidate.view, slots.now) is None
        found.append(_Rotation(candidate, rank, _window(candidate), due, able, first_sweep, last, expiry))
    return found


# ---- the schedule ---------------------------------------------------------------------------------------------------


class _Schedule:
    """The slots of the sweeps to come, and how many of them are taken.

    :param rotations: all, the earliest expiry first.
    """

    def __init__(self, slots: Slots, rotations: Sequence[_Rotation]) -> None:
        self._slots, self._rotations = slots, rotations
        self._sweeps = max((one.expiry for one in rotations), default=0) + 1
        only_today = len(slots.today) - slots.a_day
        self._taken = [0] * (self._sweeps + slots.period)
        for sweep in range(slots.period):
            self._taken[sweep] = sum(free > sweep for free in slots.today) + slots.broken - only_today
        self._opened: dict[Window, Sequence[int]] = {}

    def start_now(self) -> list[_Rotation]:
        """Those that start in this sweep, the earliest expiry first."""
        due = [one for one in self._rotations if one.due]
        needed: list[_Rotation] = []
        closed: list[_Rotation] = []
        for one in self._assign(one for one in self._rotations if not one.due):
            (needed if self._is_open(one.window) else closed).append(one)
        needed += self._assign(closed, windows=False)
        free = self._free(0)
        needed += self._assign(due)
        if len(needed) > free:  # too many: what has to start later today need not wait for it to be due
            today = {one for one in self._rotations if one.last < self._slots.period}.difference(needed)
            can_start = {one for one in today if self._is_open(one.window)}
            needed += can_start
            free = max(free, self._slots.free_now - len(today - can_start))
        needed = [one for one in needed if one.able]
        chosen = sorted(needed, key=_rank)[:free]
        can_wait = set(due).difference(needed)
        chosen += sorted(can_wait, key=_rank)[: free - len(chosen)]
        return sorted(self._in_time(chosen), key=_rank)

    def _in_time(self, chosen: list[_Rotation]) -> list[_Rotation]:
        """The same, with as many of those that expire first as it takes for none to miss its expiry."""
        free, able = self._slots.free_now, [one for one in self._rotations if one.able]

        def start(urgent: int) -> list[_Rotation]:
            return (able[:urgent] + [one for one in chosen if one not in able[:urgent]])[:free]

        def is_enough(urgent: int) -> bool:
            started = set(start(urgent))
            others = [one.expiry for one in able if one not in started]
            return not self._slots.too_late(others, len(started))

        if is_enough(0):
            return chosen
        return start(min(free, bisect_left(range(free + 1), True, lo=1, key=is_enough)))

    def _assign(self, rotations: Iterable[_Rotation], *, windows: bool = True) -> list[_Rotation]:
        """Give each the latest free slot after this sweep; returns those for which there is none.

        Goes back from the last sweep. In each, the window with the fewest sweeps left is served first, and of it what
        expires last: so what finds no slot expires first.
        """
        pending = [(*(self._bounds(one) if windows else (one.last, one.first, None)), one) for one in rotations]
        pending.sort(key=itemgetter(0))
        waiting: dict[Window | None, list[tuple[int, bool, int, _Rotation]]] = {}
        opens: list[tuple[int, int, Window | None]] = []  # the last sweep, negative, in which a waiting window is open
        numbers = count()
        unassigned: list[_Rotation] = []
        sweep = pending[-1][0] if pending else 0
        while sweep > 0:
            while pending and pending[-1][0] >= sweep:
                _, earliest, window, one = pending.pop()
                if window not in waiting:
                    waiting[window] = []
                    heappush(opens, (-self._last_open(window, sweep), next(numbers), window))
                heappush(waiting[window], (-earliest, one.able, -one.rank, one))
            open_now = []
            while opens and -opens[0][0] >= sweep:
                open_now.append(heappop(opens)[1:])
            open_now.sort(key=itemgetter(0))
            free = before = self._free(sweep)
            if free > 0:
                if sum(len(waiting[window]) for _, window in open_now) > free:
                    open_now.sort(key=lambda item: self._left(item[1], sweep))
                for _, window in open_now:
                    queue = waiting[window]
                    while free and queue:
                        negative, _, _, one = heappop(queue)
                        if sweep < -negative:
                            unassigned.append(one)
                        else:
                            free -= 1
                    if not queue:
                        del waiting[window]
                self._take(sweep, before - free)
            sweep = max(0, self._full_from(sweep) - self._slots.period if free <= 0 else sweep - 1)
            while opens and -opens[0][0] > sweep:
                open_now.append(heappop(opens)[1:])
            for number, window in open_now:
                if window in waiting:
                    heappush(opens, (-self._last_open(window, sweep), number, window))
            sweep = max(-opens[0][0] if opens else 0, min(sweep, pending[-1][0]) if pending else 0)
        unassigned += [entry[-1] for entry in pending]
        return unassigned + [entry[-1] for queue in waiting.values() for entry in queue]

    # ---- slots ------------------------------------------------------------------------------------------------------

    def _free(self, sweep: int) -> int:
        """How many rotations may start in that sweep: each takes its slot for a whole period."""
        return self._slots.a_day - max(self._taken[sweep : sweep + self._slots.period])

    def _take(self, sweep: int, count: int) -> None:
        for at in range(sweep, sweep + self._slots.period):
            self._taken[at] += count

    def _full_from(self, sweep: int) -> int:
        """The first sweep from that one on whose slots are all taken."""
        return next(at for at in range(sweep, len(self._taken)) if self._taken[at] >= self._slots.a_day)

    # ---- windows ----------------------------------------------------------------------------------------------------

    def _is_open(self, window: Window | None) -> bool:
        return window is None or is_open(window, self._slots.now)

    def _last_open(self, window: Window | None, sweep: int) -> int:
        """The last sweep up to that one at which a window is open; 0 if there is none after this sweep."""
        if window is None:
            return sweep
        now, every = self._slots.now, self._slots.every
        for opens, closes in openings_until(window, now, now + sweep * every):
            last = min(sweep, self._slots.first_from(closes) - 1)
            if now + last * every >= opens:
                return max(0, last)
        return 0

    def _left(self, window: Window | None, sweep: int) -> int:
        """How many sweeps before that one a window has."""
        if window is None:
            return sweep
        if window not in self._opened:
            self._opened[window] = self._open_sweeps(window)
        return self._opened[window][sweep - 1]

    def _open_sweeps(self, window: Window) -> Sequence[int]:
        """Of every sweep, in how many up to it the window is open."""
        opened, every = bytearray(self._sweeps), self._slots.every
        for opens, closes in openings(window, self._slots.now, plus(self._slots.now, self._sweeps * every)):
            begin, end = self._slots.first_from(opens), self._slots.first_from(closes)
            opened[begin:end] = b"\1" * (end - begin)
        return list(accumulate(opened))

    def _bounds(self, one: _Rotation) -> tuple[int, int, Window | None]:
        """The last sweep in which it may start, and the first after this one, and in which window."""
        if one.window is None:
            return one.last, one.first, None
        if self._is_open(one.window):
            return one.last, one.first, one.window
        if not one.due:  # it waits for its window to open, later today too
            for last in (one.last, one.expiry):
                if self._last_open(one.window, last):
                    return last, 1, one.window
        return one.last, one.first, None


def _rank(one: _Rotation) -> int:
    return one.rank


# ---- messages ---------------------------------------------------------------------------------------------------


def _demand(rotations: Iterable[_Rotation], slots: Slots) -> Message:
    """Why rotations are scheduled early: how many keys expire until when, and how many the quota allows."""
    dated = sorted((one.last, one.candidate.expires_at) for one in rotations if one.candidate.expires_at is not None)
    excess = [count - slots.a_day * (last // slots.period) for count, (last, _) in enumerate(dated, 1)]
    count = len(excess) - excess[::-1].index(max(excess))
    until = max(expires_at for _, expires_at in dated[:count])
    return Message.of(
        "{count} keys expire by {until:%d %b}, and the quota allows {a_day} a day",
        count=count,
        until=until,
        a_day=slots.a_day,
    )


def _early(one: _Rotation, demand: Message, now: datetime) -> Decision:
    expires_at = one.candidate.expires_at
    assert expires_at is not None
    template = "{left} left; {demand}" + ("; its window opens too late" if one.window is not None else "")
    message = Message.of(template, left=expires_at - now, demand=demand)
    return Decision(Reason.CAPACITY, message, due_at=now, deadline=expires_at)


def _postpone(draft: Draft, candidates: Iterable[Candidate]) -> None:
    """Due rotations that can wait for a slot longer than others can."""
    arns = {one.view.entry.arn for one in candidates}
    for item in [item for item in draft.ranked if item[1].kind is ActionKind.ROTATE and item[1].arn in arns]:
        action = item[1]
        message = Message.of(
            "rotate ({reason}) waits for a slot: today's are needed for keys that can't wait as long",
            reason=action.reason,
        )
        draft.defer(action, Reason.DAILY_LIMIT, message)
        draft.ranked.remove(item)


def _alert_not_in_time(draft: Draft, candidates: Iterable[Candidate], near: Iterable[Candidate], slots: Slots) -> None:
    """One alert an account: how many keys, which, from when, and what helps."""
    broken = [one for one in candidates if one.broken]
    alive = [one for one in near if not one.broken and one.expires_at is not None]
    late = [one for one in broken[slots.today[: slots.a_day].count(0) :] if one.view.life.current_version is not None]
    expiries = [slots.first_from(one.expires_at) - 1 for one in alive if one.expires_at is not None]
    late += [alive[index] for index in slots.too_late(expiries)]
    if not late:
        return
    message = Message.of(
        ("1 key expires" if len(late) == 1 else "{count} keys expire")
        + " before daily quota is available ({a_day} slots a day), "
        + ("from {first} on" if late[0].expires_at else "some do not work already")
        + ": {names}; `rotator rotate` uses the reserve; have Infobip raise the limit (ROTATOR_DAILY_LIMIT), keep less "
        "in reserve (ROTATOR_RESERVE), or give replacements a longer life (rotator:validity)",
        count=len(late),
        a_day=slots.a_day,
        first=late[0].expires_at,
        names=some_of((printable(one.view.entry.name, limit=60) for one in late), MAX_NAMES),
    )
    one = late[0] if len(late) == 1 else None
    draft.alert(
        Reason.NOT_IN_TIME,
        message,
        one.view.entry.name if one else None,
        one.view.key_id if one else None,
        Severity.ERROR,
        len(late),
    )
