"""Choose which rotations start in this sweep, so that no key expires for lack of a create slot.

The daily limit is a number of slots; a slot that a create used is free again 24 hours later. Every sweep schedules all
rotations from scratch and stores nothing. Time is counted in sweeps, of which this one is sweep 0, and in days of 24
hours, of which day 0 is the rest of today.

1. Secrets without a working key get the first slots.
2. All others are sorted by deadline: the last sweep in time before the key's expiry, in the secret's window if it opens
   in time. What is due starts now. What can't start before later today keeps a slot for it.
3. For the rest there is one question: can the days up to this deadline hold all that must be done by then? If not, the
   earliest that can starts now (reason ``capacity``). No other rotation starts before it is due.
4. The last check ignores windows. A rotation that would not be done a day before its key expires starts now, the
   earliest expiry first.
5. A secret that is due again within 24 hours gets a slot that is left.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from rotator.durations import DAY, LAST, plus
from rotator.message import Message
from rotator.model import AccountSnapshot, Alert, Key, Policy, Severity, Window
from rotator.policy.daily_limit import SLOT_TOLERANCE, UsedSlots, free_from, length_of, sweeps_until_next
from rotator.policy.draft import Draft
from rotator.policy.labels import parse_key_name
from rotator.policy.rules import BROKEN, ROTATE_BLOCKED, Decision, View, first, renew_at
from rotator.policy.windows import openings_until
from rotator.reasons import Reason
from rotator.text import printable, some_of

HORIZON: Final = 400
"""How many days are scheduled: Infobip's keys expire within a year unless an operator chose otherwise."""
SAFETY_MARGIN: Final = timedelta(days=3)
"""How long before its expiry a key scheduled early is replaced, so that an outage of that length costs no key."""
WEEK: Final = timedelta(days=7)
MAX_NAMES: Final = 5
"""How many keys an alert names."""


@dataclass(slots=True)
class Candidate:
    """A secret that is rotated, or could be.

    :param decision: why a rotation is due; ``None`` if none is.
    :param waits: what a due rotation waits for, other than a slot.
    :param again: whether a key was created for it in the last 24 hours. Other secrets go first: a principal that may
        write this one can make it need new keys again and again.
    """

    view: View
    decision: Decision | None = None
    waits: Decision | None = None
    again: bool = False

    @property
    def due(self) -> bool:
        """Whether its rotation is due and waits for nothing but a slot."""
        return self.decision is not None and self.waits is None

    @property
    def window(self) -> Window | None:
        """The secret's window."""
        return self.view.spec.window if self.view.spec else None

    @property
    def has_no_working_key(self) -> bool:
        """Whether consumers have no working key. Such a rotation waits for nothing."""
        return self.decision is not None and self.decision.reason in BROKEN

    @property
    def expires_at(self) -> datetime | None:
        """When its key expires; ``None`` if never, or if consumers have no working key now."""
        return None if self.has_no_working_key or self.view.key is None else self.view.key.valid_to


def schedule(
    draft: Draft, candidates: Sequence[Candidate], used: UsedSlots, *, alone: bool = False
) -> dict[str, Decision]:
    """Choose the rotations that start in this sweep, and alert about keys that can't be replaced in time.

    :param alone: whether only one secret is planned; its rotation then waits for no other.
    :returns: by ARN, why each of them starts.
    """
    ordered = sorted(candidates, key=lambda one: (one.expires_at or LAST, one.view.entry.name))
    again = [one for one in ordered if one.due and one.again]
    broken = sorted((one for one in ordered if one.has_no_working_key and not one.again), key=_since)
    slots = _slots(draft, len(broken), used)
    _alert_not_in_time(draft, ordered, slots)
    chosen = broken[: slots.today.count(0)]
    if slots.free_now:
        others = (one for one in ordered if not (one.has_no_working_key or (one.due and one.again)))
        started, spare = _start_now(slots, [_job(one, slots, draft) for one in others])
        chosen += [job.candidate for job in started] + again[:spare]
    if alone and slots.today.count(0):
        chosen += [one for one in ordered if one.due]
    return {one.view.entry.arn: one.decision or _early(one, slots) for one in chosen}


def _since(one: Candidate) -> datetime:
    """Since when a secret is broken."""
    assert one.decision is not None
    return one.decision.deadline or one.decision.due_at or LAST


# ---- slots ----------------------------------------------------------------------------------------------------------


def quota_window(policy: Policy) -> timedelta:
    """Return how long a used slot stays used, as sweeps see it: a day, rounded up to a multiple of ``sweep_every``."""
    every = policy.sweep_every
    return -(-DAY // every) * every


def slots_a_day(snapshot: AccountSnapshot, policy: Policy, now: datetime) -> int:
    """Return how many rotations per day can be counted on in the days to come, if the day's use can be counted.

    Each also uses an update when its old key is revoked. Operators and other programs are assumed to continue creating
    keys as in the last week, in at most half of the slots, so that a fleet's first day does not count for all others.
    """
    since = now - WEEK
    others = sum(
        1
        for key in snapshot.keys.values()
        if key.valid_from is not None and since < key.valid_from <= now and not _is_ours(key, policy)
    )
    return policy.slots - min(round(others * DAY / WEEK), policy.slots // 2)


def _is_ours(key: Key, policy: Policy) -> bool:
    name = parse_key_name(key.name)
    return name is not None and name.deployment == policy.deployment


@dataclass(slots=True)
class Slots:
    """The daily limit in sweeps from this one on.

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
    last: int = field(init=False)
    """The last sweep that is scheduled."""

    def __post_init__(self) -> None:
        self.last = max(HORIZON, HORIZON * DAY // (self.period * self.every)) * self.period

    @property
    def in_24_hours(self) -> int:
        """How many slots can be counted on in 24 hours."""
        return max(self.a_day, self.a_day * DAY // (self.period * self.every))

    @property
    def free_now(self) -> int:
        """How many slots are free in this sweep, less those for broken secrets."""
        return max(0, self.today.count(0) - self.broken)

    def last_open(self, window: Window, begin: int, last: int) -> int | None:
        """The last sweep from ``begin`` to ``last`` in a window; ``None`` if there is none."""
        for opens, closes in openings_until(window, self.now, plus(self.now, last * self.every)):
            opened, closed = max(begin, self.first_from(opens)), min(last, self.first_from(closes) - 1)
            if opened <= closed:
                return closed
        return None

    def last_by(self, moment: datetime) -> int:
        """The last sweep that is scheduled and not after a moment."""
        return max(0, min((moment - self.now) // self.every, self.last))

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


def _slots(draft: Draft, broken: int, used: UsedSlots) -> Slots:
    policy, now, every = draft.policy, draft.now, draft.policy.sweep_every
    if not used.counted:
        today = [0] * used.planned(policy, now, draft.since).creates_left or [sweeps_until_next(now, policy)]
        return Slots(now, every, -(-length_of(policy) // every), 1, today, broken)
    period = quota_window(policy) // every
    # As in the sweep itself, a slot that is free within minutes counts as free.
    free = (-((now + SLOT_TOLERANCE - at) // every) for at in free_from(used.creates, policy, now))
    today = [min(period, max(0, sweep)) for sweep in free]
    return Slots(now, every, period, slots_a_day(draft.snapshot, policy, now), today, broken)


# ---- what is to be scheduled ----------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Job:
    """A candidate in sweeps.

    :param due: whether it starts now if a slot is free.
    :param able: whether it could start now if it had no window.
    :param open: whether its window allows it to start now.
    :param last: the last sweep at which it should start.
    :param today: whether it can't start now but later today, because it is due or its window opens by then.
    :param must: the last sweep at which it must start, window or not: a day before its key expires, or less if it is
        rotated late anyway.
    """

    candidate: Candidate
    due: bool
    able: bool
    open: bool
    last: int
    today: bool
    must: int


def margin(view: View) -> timedelta:
    """Return how long before its expiry a key is to be replaced: at most :data:`SAFETY_MARGIN`.

    It is less for short-lived keys (a tenth of the lifetime) and for those that are rotated late anyway (half of
    ``rotator:rotate-before``).
    """
    key, spec = view.key, view.spec
    if key is None or spec is None or key.valid_to is None:
        return timedelta(0)
    life = key.valid_to - (key.valid_from or plus(key.valid_to, -spec.validity))
    before = spec.rotate_before
    before = before if isinstance(before, timedelta) else life * before
    return max(timedelta(0), min(SAFETY_MARGIN, life / 10, before / 2))


def _job(candidate: Candidate, slots: Slots, draft: Draft) -> _Job:
    period, window = slots.period, candidate.window
    expiry = last = slots.last
    ready = 1
    if candidate.expires_at is not None:
        expiry = max(0, min(last, slots.first_from(candidate.expires_at) - 1))
        last = slots.last_by(plus(candidate.expires_at, -margin(candidate.view)))
    if candidate.decision is None:
        due_at = renew_at(candidate.view.spec, candidate.view.key)
        ready = period if due_at is None else max(0, min(period, slots.first_from(due_at)))
        last = max(last, min(ready, expiry))  # what is due by then need not start earlier
    must = max(last, expiry - period)
    is_open = window is None or draft.is_open(window)
    if window is not None and is_open:
        last = slots.last_open(window, 0, last) or 0
    elif window is not None:  # if it opens too late, it is ignored
        opens_at = slots.last_open(window, 1, last)
        opens_at = slots.last_open(window, 1, expiry) if opens_at is None else opens_at
        if opens_at is None:
            is_open, window = True, None
        else:
            last, ready = opens_at, ready if opens_at >= period else 1
    begin, end = max(1, ready), min(last, period - 1)
    if window is not None:
        today = not candidate.due and slots.last_open(window, begin, end) is not None
    else:
        today = candidate.decision is None and begin <= end
    able = candidate.due or first(ROTATE_BLOCKED, candidate.view, draft.now) is None
    return _Job(candidate, candidate.due, able, is_open, last, today, must)


# ---- the schedule ---------------------------------------------------------------------------------------------------


def _start_now(slots: Slots, jobs: Sequence[_Job]) -> tuple[list[_Job], int]:
    """Return the rotations that start in this sweep, and how many slots they leave.

    :param jobs: the earliest expiry first.
    """
    today, able, chosen = list(slots.today[slots.broken :]), deque[_Job](), list[_Job]()
    waiting = 0

    def start(job: _Job) -> None:
        chosen.append(job)
        del today[0]

    for job in sorted(jobs, key=lambda job: job.last):
        slot = bisect_right(today, job.last) - 1
        if job.due and today[:1] == [0]:
            start(job)
        elif job.today and slot >= 0:
            del today[slot]
        else:
            waiting += 1
            if job.able and job.open:
                able.append(job)
            if waiting > slots.a_day * (job.last // slots.period):  # the days up to then can't hold all
                waiting -= 1
                if able and today[:1] == [0]:
                    start(able.popleft())
    spare = today.count(0)
    chosen = _in_time(slots, jobs, chosen)
    return chosen, min(spare, slots.free_now - len(chosen))


def _in_time(slots: Slots, jobs: Sequence[_Job], chosen: list[_Job]) -> list[_Job]:
    """Return ``chosen``, preceded by as many of the earliest-expiring rotations as needed so that none is late."""
    free, able = slots.free_now, [job for job in jobs if job.able]

    def start(urgent: int) -> list[_Job]:
        return list(dict.fromkeys((*able[:urgent], *chosen)))[:free]

    def is_enough(urgent: int) -> bool:
        started = set(start(urgent))
        others = sorted(job.must for job in able if job not in started)
        return not slots.too_late(others, len(started))

    if is_enough(0):
        return chosen
    return start(min(free, bisect_left(range(free + 1), True, lo=1, key=is_enough)))


# ---- messages -------------------------------------------------------------------------------------------------------


def _early(one: Candidate, slots: Slots) -> Decision:
    assert one.expires_at is not None
    template = "{left} left; rotated early because all later slots are taken ({a_day} per day)"
    template += "; its window opens too late" if one.window is not None else ""
    message = Message.of(template, left=one.expires_at - slots.now, a_day=slots.in_24_hours)
    return Decision(Reason.CAPACITY, message, due_at=slots.now, deadline=one.expires_at)


def _alert_not_in_time(draft: Draft, candidates: Sequence[Candidate], slots: Slots) -> None:
    """Add one alert for the account: how many keys, which, from when, and what helps.

    :param candidates: the earliest expiry first.
    """
    broken = [one for one in candidates if one.has_no_working_key]
    alive = [one for one in candidates if not one.has_no_working_key and one.expires_at is not None]
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
            location=one.view.entry.location if one else None,
        )
    )
