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
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rotator.durations import LAST, plus
from rotator.message import Message
from rotator.model import Window
from rotator.plan import Alert, Severity
from rotator.policy.daily_limit import Slots, UsedSlots, slots_to_come
from rotator.policy.draft import Draft
from rotator.policy.rules import BROKEN, ROTATE_BLOCKED, Decision, View, first, renew_at
from rotator.reasons import Reason
from rotator.text import printable, some_of

SAFETY_MARGIN: Final = timedelta(days=3)
"""How long before its expiry a key scheduled early is replaced, so that an outage of that length costs no key."""
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
    slots = slots_to_come(draft.snapshot, draft.policy, draft.now, used, len(broken), draft.since)
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


# ---- what is to be scheduled ----------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Job:
    """A candidate in sweeps.

    :param able: whether it could start now if it had no window.
    :param open: whether its window allows it to start now.
    :param last: the last sweep at which it should start.
    :param today: whether it can't start now but later today, because it is due or its window opens by then.
    :param must: the last sweep at which it must start, window or not: a day before its key expires, or less if it is
        rotated late anyway.
    """

    candidate: Candidate
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
    ready, last, expiry = _times(candidate, slots)
    must = max(last, expiry - slots.period)
    able = candidate.due or first(ROTATE_BLOCKED, candidate.view, draft.now) is None
    window = candidate.window
    is_open = window is None or draft.is_open(window)
    opening = None if window is None else _opening(window, slots, last, expiry, is_open=is_open)
    if window is None or opening is None:
        today = candidate.decision is None and max(1, ready) <= min(last, slots.period - 1)
        return _Job(candidate, able, True, last, today, must)
    begin = max(1, ready) if is_open or opening >= slots.period else 1
    today = not candidate.due and slots.last_open(window, begin, min(opening, slots.period - 1)) is not None
    return _Job(candidate, able, is_open, opening, today, must)


def _times(candidate: Candidate, slots: Slots) -> tuple[int, int, int]:
    """Return the sweep from which on a rotation can start, the last at which it should, and the last before the expiry.

    Windows are ignored.
    """
    expiry = last = slots.last
    if candidate.expires_at is not None:
        expiry = max(0, min(slots.last, slots.first_from(candidate.expires_at) - 1))
        last = slots.last_by(plus(candidate.expires_at, -margin(candidate.view)))
    if candidate.decision is not None:
        return 1, last, expiry
    due_at = renew_at(candidate.view.spec, candidate.view.key)
    ready = slots.period if due_at is None else max(0, min(slots.period, slots.first_from(due_at)))
    return ready, max(last, min(ready, expiry)), expiry  # what is due by then need not start earlier


def _opening(window: Window, slots: Slots, last: int, expiry: int, *, is_open: bool) -> int | None:
    """Return the last sweep in a window that is early enough; ``None`` if it opens too late and is ignored."""
    if is_open:
        return slots.last_open(window, 0, last) or 0
    opening = slots.last_open(window, 1, last)
    return slots.last_open(window, 1, expiry) if opening is None else opening


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
        if job.candidate.due and today[:1] == [0]:
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
