"""Choose which rotations start in this sweep, so that no key expires for lack of a create slot.

The quota is a number of slots; a slot that a create used is free again 24 hours later. Every sweep schedules all
rotations from scratch, from what it sees, and keeps nothing. Time is counted in sweeps, of which this one is sweep 0,
and in quota days of 24 hours, of which day 0 is the rest of today.

1. A rotation that is not due gets the latest free slot before its key expires, on a day on which its window opens; if
   all are taken, other rotations move to earlier slots. A rotation that still has none is scheduled early, in this
   sweep (reason ``capacity``). No rotation is scheduled early unless it has to be.
2. If a window has no free slot left, its rotations get slots outside of it.
3. A due rotation starts now, unless it can wait and another rotation needs the slot today.
4. The last check ignores windows. A rotation that would not be done a day before its key expires starts now, the
   earliest expiry first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rotator.durations import LAST, plus
from rotator.message import Message
from rotator.model import AccountSnapshot, ActionKind, Alert, Key, Policy, Quota, Severity, Window
from rotator.policy.day_parts import length_of, sweeps_until_next
from rotator.policy.draft import Draft
from rotator.policy.guards import DAY, SOON, UsedSlots
from rotator.policy.labels import parse_key_name
from rotator.policy.rules import BROKEN, ROTATE_BLOCKED, Decision, View, first, renew_at
from rotator.policy.secret_draft import Planning
from rotator.policy.windows import openings_until
from rotator.reasons import Reason
from rotator.text import printable, some_of

HORIZON: Final = 400
"""How many days are scheduled: Infobip's keys expire within a year unless an operator chose otherwise."""
SAFETY: Final = timedelta(days=3)
"""How long before its expiry a key scheduled early is replaced, so that an outage of that length costs no key."""
WEEK: Final = timedelta(days=7)
MAX_NAMES: Final = 5
"""How many keys an alert names."""


@dataclass(slots=True)
class Candidate:
    """A secret that is rotated, or could be.

    :param decision: why a rotation is due; ``None`` if none is.
    :param waits: what a due rotation waits for.
    """

    view: View
    decision: Decision | None = None
    waits: Decision | None = None

    @property
    def planned(self) -> bool:
        """Whether its rotation is due and waits for nothing."""
        return self.decision is not None and self.waits is None

    @property
    def window(self) -> Window | None:
        """The secret's window."""
        return self.view.spec.window if self.view.spec else None

    @property
    def broken(self) -> bool:
        """Whether consumers have no working key. Such a rotation waits for nothing."""
        return self.decision is not None and self.decision.reason in BROKEN

    @property
    def expires_at(self) -> datetime | None:
        """When its key expires; ``None`` if never, or if consumers have no working key now."""
        return None if self.broken or self.view.key is None else self.view.key.valid_to


def schedule(
    common: Planning, candidates: Sequence[Candidate], used: UsedSlots, *, alone: bool = False
) -> list[tuple[Candidate, Decision]]:
    """Postpone planned rotations that can wait, and alert about keys that can't be replaced in time.

    :param alone: whether only one secret is planned; its rotation then waits for no other.
    :returns: the rotations that start in this sweep besides the planned ones, and why.
    """
    quota = used.planned(common.policy, common.now, common.since)
    slots = _slots(common, candidates, used, quota)
    near = _near(candidates, slots)
    _alert_not_in_time(common.draft, candidates, near, slots)
    if not quota.creates_left or all(one.planned for one in near):
        return []
    rotations = _rotations(near, slots, common)
    chosen = _start_now(slots, rotations)
    if not alone:
        _postpone(common.draft, [one.candidate for one in rotations if one.due and one not in chosen])
    started = [one.candidate for one in chosen if not one.due]
    return [(one, one.decision or _early(one, slots)) for one in started]


# ---- the quota ------------------------------------------------------------------------------------------------------


def quota_window(policy: Policy) -> timedelta:
    """Return how long a used slot stays used, as sweeps see it: a day, rounded up to a multiple of ``sweep_every``."""
    every = policy.sweep_every
    return -(-DAY // every) * every


def slots_a_day(snapshot: AccountSnapshot, quota: Quota, policy: Policy, now: datetime) -> int:
    """Return how many rotations a day can be counted on in the days to come, if the day's use can be counted.

    Each also uses an update when its old key is revoked. Operators and other programs are assumed to keep creating keys
    as in the last week, in at most half of the slots, so that a fleet's first day does not count for all days to come.
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
    :param every: the time between two sweeps.
    :param period: after how many sweeps a slot is free again: a day or, if its use can't be counted, one of its parts.
        This is what a day means below.
    :param a_day: how many slots can be counted on in the days to come.
    :param today: for each slot that scheduled work may use today, the first sweep at which it is free; sorted.
    :param broken: how many secrets without a working key get a slot before all others.
    """

    now: datetime
    every: timedelta
    period: int
    a_day: int
    today: Sequence[int]
    broken: int

    @property
    def horizon(self) -> int:
        """How many days are scheduled."""
        return max(HORIZON, HORIZON * DAY // (self.period * self.every))

    @property
    def in_24_hours(self) -> int:
        """How many slots can be counted on in 24 hours."""
        return max(self.a_day, self.a_day * DAY // (self.period * self.every))

    @property
    def free_now(self) -> int:
        """How many slots are free in this sweep, less those for broken secrets."""
        return max(0, self.today.count(0) - self.broken)

    def last_by(self, moment: datetime) -> int:
        """The last sweep that is not after a moment, within the horizon."""
        return max(0, min((moment - self.now) // self.every, self.horizon * self.period))

    def first_from(self, moment: datetime) -> int:
        """The first sweep that is not before a moment."""
        return -((self.now - moment) // self.every)

    def too_late(self, expiries: Sequence[int], started: int | None = None) -> list[int]:
        """Return which rotations can't be done in time if windows are ignored and the earliest expiry goes first.

        A rotation that can't be done in time takes no slot from the others.

        :param expiries: the last sweep for each, sorted.
        :param started: how many others start in this sweep, if none of these does; ``None`` if these may start in it.
        :returns: indices into ``expiries``.
        """
        free, ahead = list(self.today[: self.a_day]), self.broken
        if started is not None:
            now = self.today.count(0)
            used = min(started + self.broken, now)
            again = max(0, used - max(0, now - self.a_day))  # slots that are free only today do not come back
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


def _slots(common: Planning, candidates: Iterable[Candidate], used: UsedSlots, quota: Quota) -> Slots:
    policy, now, limit = common.policy, common.now, _limit(quota)
    broken = sum(1 for one in candidates if one.broken)
    if not used.counted:
        period, today = -(-length_of(policy) // policy.sweep_every), [0] * quota.creates_left
        return Slots(now, policy.sweep_every, period, 1, today or [sweeps_until_next(now, policy)], broken)
    period = quota_window(policy) // policy.sweep_every
    # As in the sweep itself, a slot that is free within minutes counts as free.
    left = (at + DAY - SOON - now for at in used.creates)
    again = sorted(min(period, -(-each // policy.sweep_every)) for each in left if each > timedelta(0))
    # If more are in use than scheduled work may take, the first to come back belong to the reserve.
    today = [0] * (limit - len(again)) + again[max(0, len(again) - limit) :]
    return Slots(now, policy.sweep_every, period, slots_a_day(common.snapshot, quota, policy, now), today, broken)


# ---- what is to be scheduled ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Span:
    """The sweeps after this one in which a rotation may start: from ``first`` to ``last``, and in a window."""

    first: int
    last: int
    window: Window | None = None


@dataclass(slots=True, eq=False)
class _Rotation:
    """A candidate in sweeps.

    :param due: planned already, and postponed only if another rotation needs the slot.
    :param able: whether it could start now; if not, it keeps its later slot.
    :param must: the last sweep at which it must start, window or not: a day before its key expires, or less if it is
        rotated late anyway.
    :param open: whether its window allows it to start in this sweep.
    :param span: when it may start if not in this sweep.
    :param any_time: ``span`` without its window.
    """

    candidate: Candidate
    rank: int
    due: bool
    able: bool
    must: int
    open: bool
    span: _Span
    any_time: _Span


def margin(view: View) -> timedelta:
    """Return how long before expiry a key shall be replaced: :data:`SAFETY`, or less if it is rotated late anyway.

    At most a tenth of the key's life, and half of ``rotator:rotate-before``.
    """
    key, spec = view.key, view.spec
    if key is None or spec is None or key.valid_to is None:
        return timedelta(0)
    life = key.valid_to - (key.valid_from or plus(key.valid_to, -spec.validity))
    before = spec.rotate_before
    before = before if isinstance(before, timedelta) else life * before
    return max(timedelta(0), min(SAFETY, life / 10, before / 2))


def _near(candidates: Sequence[Candidate], slots: Slots) -> list[Candidate]:
    """Return the candidates that matter now, the earliest expiry first.

    Leave out any that would still get a later slot if all others went first.
    """
    days = -(-len(candidates) // slots.a_day) if slots.a_day > 0 else slots.horizon
    # A window opens at least once a week, but a weekly sweep may miss it.
    spans = (days * DAY + SAFETY, 16 * (days + 1) * DAY)
    far, far_with_window = (plus(slots.now, span * (slots.period * slots.every / DAY)) for span in spans)
    near = [
        one
        for one in candidates
        if one.planned or one.expires_at is None or one.expires_at < (far_with_window if one.window else far)
    ]
    return sorted(near, key=lambda one: (one.expires_at or LAST, one.view.entry.name))


def _rotations(candidates: Iterable[Candidate], slots: Slots, common: Planning) -> list[_Rotation]:
    """Return the rotations of secrets that are not broken, the earliest expiry first."""
    most, period = slots.horizon * slots.period, slots.period
    found: list[_Rotation] = []
    for rank, candidate in enumerate(candidates):
        if candidate.broken:
            continue
        expiry = last = most
        if candidate.expires_at is not None:
            expiry = max(0, min(most, slots.first_from(candidate.expires_at) - 1))
            last = slots.last_by(plus(candidate.expires_at, -margin(candidate.view)))
        begin = 1
        if candidate.decision is None:
            # Later today is no better than now, unless the rotation is due by then.
            due_at = renew_at(candidate.view)
            ready = period if due_at is None else max(0, min(period, slots.first_from(due_at)))
            last = max(last, min(ready, expiry))
            begin = max(1, min(ready, last))
        due, any_time, must = candidate.planned, _Span(begin, last), max(last, expiry - period)
        able = due or first(ROTATE_BLOCKED, candidate.view, slots.now) is None
        window = candidate.window
        opened, span = window is None or common.is_open(window), _Span(begin, last, window)
        if not opened:
            # Wait for the window, even if it opens later today, unless no opening is early enough.
            waits = [] if due else [_Span(1, last, window), _Span(1, expiry, window)]
            span = next((span for span in waits if any(True for _ in _days(span, slots))), any_time)
        found.append(_Rotation(candidate, rank, due, able, must, opened or due, span, any_time))
    return found


# ---- the schedule ---------------------------------------------------------------------------------------------------


class _QuotaDays:
    """The slots of the quota days to come: how many are free on each, and which rotations have the others."""

    def __init__(self, slots: Slots, last: int) -> None:
        """Days up to that of the sweep ``last``."""
        later = last // slots.period
        self._slots = slots
        self.free = [max(0, len(slots.today) - slots.broken)] + [slots.a_day] * later
        self.takers: list[dict[_Rotation, None]] = [{} for _ in self.free]
        self._with_free = sum(1 << day for day, free in enumerate(self.free) if free > 0)  # a bit for each day
        self._stuck: set[int] = set()  # full days from which no rotation can move
        self._tried: dict[tuple[Window | None, int], int] = {}  # in vain: by window and first sweep, the last sweep

    def assign(self, rotation: _Rotation) -> bool:
        """Assign the latest free slot, or move others if all its days are full. Return False if none can move."""
        span = rotation.span
        day = next(_days(span, self._slots), None)
        while day is not None and self.free[day] <= 0:
            earlier = self._with_free & ((1 << day) - 1)
            day = next(_days(span, self._slots, before=earlier.bit_length()), None)
        if day is not None:
            self._put(rotation, day)
            return True
        tried = dict(self._tried)
        moves: dict[int, tuple[_Rotation, int | None]] = {}  # by day: which rotation can move to it, and from where
        movers: list[tuple[_Rotation, int | None]] = [(rotation, None)]
        for mover, origin in movers:
            span = mover.span
            if tried.get((span.window, span.first), -1) >= span.last:
                continue
            tried[span.window, span.first] = span.last
            for other in _days(span, self._slots):
                if other in moves or other in self._stuck:
                    continue
                moves[other] = mover, origin
                if self.free[other] > 0:
                    self._move(moves, other)
                    return True
                movers += [(taker, other) for taker in self.takers[other]]
        self._stuck.update(moves)
        self._tried = tried
        return False

    def _move(self, moves: dict[int, tuple[_Rotation, int | None]], free: int) -> None:
        """Move each rotation to the day that the previous one leaves."""
        day: int | None = free
        while day is not None:
            mover, origin = moves[day]
            if origin is not None:
                del self.takers[origin][mover]
                self.free[origin] += 1
            self._put(mover, day)
            day = origin

    def _put(self, rotation: _Rotation, day: int) -> None:
        self.takers[day][rotation] = None
        self.free[day] -= 1
        if self.free[day] <= 0:
            self._with_free &= ~(1 << day)


def _days(span: _Span, slots: Slots, before: int | None = None) -> Iterator[int]:
    """Yield the quota days on which a rotation may start, the latest first.

    A window's opening counts for the day on which it closes, because a slot used in it is not free again before then.
    An opening of more than a day also counts for the days before.

    :param before: only those before that day.
    """
    before = slots.horizon + 1 if before is None else before
    period, last = slots.period, min(span.last, before * slots.period - 1)
    if span.window is None:
        yield from range(last // period, span.first // period - 1, -1)
        return
    for opens, closes in openings_until(span.window, slots.now, plus(slots.now, last * slots.every)):
        begin, end = max(span.first, slots.first_from(opens)), min(span.last, slots.first_from(closes) - 1)
        days = range(end // period, end // period - (end - begin) // period - 1, -1) if begin <= end else ()
        yield from (day for day in days if day < before)


def _start_now(slots: Slots, rotations: Sequence[_Rotation]) -> list[_Rotation]:
    """Return the rotations that start in this sweep, the earliest expiry first."""
    days = _QuotaDays(slots, max((one.span.last for one in rotations), default=0))
    # Place those that can't start now first, then the latest expiry first, so that whatever is left without a slot is
    # what expires soonest.
    coming = sorted((one for one in rotations if not one.due), key=lambda one: (one.open and one.able, -one.rank))
    unplaced = [one for one in coming if not days.assign(one)]
    for one in unplaced:
        if not one.open:
            one.span = one.any_time
    must_start = [one for one in unplaced if one.open or not days.assign(one)]
    free, later_today = min(slots.free_now, days.free[0]), list(days.takers[0])
    due = [one for one in rotations if one.due]
    must_start += [one for one in reversed(due) if not days.assign(one)]
    if len(must_start) > free:  # too many: those with a slot later today may start before they are due
        can_start = [one for one in later_today if one.open]
        must_start += can_start
        free = max(free, slots.free_now - (len(later_today) - len(can_start)))
    chosen = sorted((one for one in must_start if one.able), key=_rank)[:free]
    can_wait = sorted(set(due).difference(must_start), key=_rank)
    chosen += can_wait[: free - len(chosen)]
    return sorted(_in_time(slots, rotations, chosen), key=_rank)


def _in_time(slots: Slots, rotations: Sequence[_Rotation], chosen: list[_Rotation]) -> list[_Rotation]:
    """Return ``chosen``, preceded by as many of the earliest-expiring rotations as needed so that none is late."""
    free, able = slots.free_now, [one for one in rotations if one.able]

    def start(urgent: int) -> list[_Rotation]:
        return list(dict.fromkeys((*able[:urgent], *chosen)))[:free]

    def is_enough(urgent: int) -> bool:
        started = set(start(urgent))
        others = sorted(one.must for one in able if one not in started)
        return not slots.too_late(others, len(started))

    if is_enough(0):
        return chosen
    return start(min(free, bisect_left(range(free + 1), True, lo=1, key=is_enough)))


def _rank(one: _Rotation) -> int:
    return one.rank


# ---- messages ---------------------------------------------------------------------------------------------------


def _early(one: Candidate, slots: Slots) -> Decision:
    assert one.expires_at is not None
    template = "{left} left; rotated early because all later slots are taken ({a_day} per day)"
    template += "; its window opens too late" if one.window is not None else ""
    message = Message.of(template, left=one.expires_at - slots.now, a_day=slots.in_24_hours)
    return Decision(Reason.CAPACITY, message, due_at=slots.now, deadline=one.expires_at)


def _postpone(draft: Draft, candidates: Iterable[Candidate]) -> None:
    """Defer due rotations that can wait longer for a slot than others can."""
    arns = {one.view.entry.arn for one in candidates}
    for item in [item for item in draft.ranked if item[1].kind is ActionKind.ROTATE and item[1].arn in arns]:
        action = item[1]
        message = Message.of(
            "rotate ({reason}) waits: today's remaining creates go to more urgent keys",
            reason=action.reason,
        )
        draft.defer(action, Reason.DAILY_LIMIT, message)
        draft.ranked.remove(item)


def _alert_not_in_time(draft: Draft, candidates: Iterable[Candidate], near: Iterable[Candidate], slots: Slots) -> None:
    """Add one alert for the account: how many keys, which, from when, and what helps."""
    broken = [one for one in candidates if one.broken]
    alive = [one for one in near if not one.broken and one.expires_at is not None]
    late = [one for one in broken[slots.today[: slots.a_day].count(0) :] if one.view.life.current_version is not None]
    expiries = [slots.first_from(one.expires_at) - 1 for one in alive if one.expires_at is not None]
    late += [alive[index] for index in slots.too_late(expiries)]
    draft.late.update(one.view.entry.arn for one in late)
    if not late:
        return
    message = Message.of(
        ("1 key expires" if len(late) == 1 else "{count} keys expire")
        + " before a create is available within the daily limit ({a_day} per day), "
        + ("starting {first}" if late[0].expires_at else "some have already stopped working")
        + ": {names}; use the reserve with `rotator rotate`, ask Infobip for a higher limit (ROTATOR_DAILY_LIMIT), "
        "lower ROTATOR_RESERVE, or raise rotator:validity",
        count=len(late),
        a_day=slots.in_24_hours,
        first=late[0].expires_at,
        names=some_of((printable(one.view.entry.name, limit=60) for one in late), MAX_NAMES),
    )
    one = late[0] if len(late) == 1 else None
    draft.alerts.append(
        Alert(
            Reason.EXPIRES_BEFORE_ROTATION,
            message,
            one.view.entry.name if one else None,
            one.view.key_id if one else None,
            Severity.ERROR,
            len(late),
        )
    )
