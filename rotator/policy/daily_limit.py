"""The daily limit: which of its slots are used, and which a sweep may use. Pure.

A slot is one create or one update. Where today's use can't be counted, because the account has more disabled keys than
Infobip lists, the day is divided by Infobip's clock, from midnight UTC on, into as many equal parts as scheduled work
has slots (the limit less the reserve). Only the first sweep in each part uses one create and one update, so that
scheduled work stays within its slots and the reserve is kept, whatever is not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from rotator.durations import DAY, plus
from rotator.message import Message
from rotator.model import BEGINS_WITHIN, AccountSnapshot, Key, Policy, Window
from rotator.plan import Action, ActionKind, Quota
from rotator.policy.labels import parse_key_name
from rotator.policy.windows import openings_until

SLOT_TOLERANCE = timedelta(minutes=10)
"""A slot that is free within this time counts as free. Otherwise a daily sweep would find yesterday's slots still used,
because yesterday's sweep took seconds or minutes to use them."""
HORIZON: Final = 400
"""How many days are scheduled: Infobip's keys expire within a year unless an operator chose otherwise."""
WEEK: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class UsedSlots:
    """When creates and updates of the last 24 hours were made, by Infobip's clock; each slot is free a day later.

    :param counted: whether these are all of them. If not, the day is divided into parts.
    """

    creates: tuple[datetime, ...]
    updates: tuple[datetime, ...] | None
    counted: bool = True

    def quota(self, policy: Policy) -> Quota:
        """Return the used slots as numbers, to be shown; unknown unless the disabled keys were listed, all of them."""
        creates, updates, limit = len(self.creates), len(self.updates or ()), policy.daily_limit
        if self.updates is not None and self.counted:
            return Quota(creates, limit, updates, limit, policy.reserve)
        most = max(0, policy.slots - creates), max(0, policy.slots - updates)
        return Quota(None, limit, None, limit, policy.reserve, most)

    def planned(self, policy: Policy, now: datetime, since: datetime | None = None) -> Quota:
        """Return the quota for a sweep that begins now. Slots that are free soon are free when it gets to them.

        :param since: the time of the previous sweep, if this one stands for all sweeps between the two.
        """
        creates = policy.slots - len(free_soon(self.creates, policy, now))
        updates = None if self.updates is None else policy.slots - len(free_soon(self.updates, policy, now))
        most = self.most(policy, now, since)
        return Quota(creates, policy.daily_limit, updates, policy.daily_limit, policy.reserve, most)

    def most(self, policy: Policy, now: datetime, since: datetime | None = None) -> tuple[int, int] | None:
        """Return how many creates and updates a sweep may use if they can't be counted; ``None`` if they can.

        What is seen to be used since the part of the day began is deducted: by a person, or by a sweep between two
        scheduled ones.
        """
        if self.counted:
            return None
        sweeps = first_sweeps(since, now, policy)
        if not sweeps:
            return 0, 0
        begin = begin_of(sweeps[-1], policy)
        used = (sum(1 for at in times if at >= begin) for times in (self.creates, self.updates or ()))
        creates, updates = (max(0, len(sweeps) - count) for count in used)
        return creates, updates


def slots_used(snapshot: AccountSnapshot, now: datetime) -> UsedSlots:
    """Return the slots used in the last 24 hours, as the keys themselves show.

    A create shows in ``validFrom``, unless that lies ahead, because a key can be created with a later date. A
    revocation by this program shows in the expiry that it sets on a disabled key.

    :param now: by Infobip's clock.
    """
    since, until = now - DAY, now + BEGINS_WITHIN
    creates: list[datetime] = []
    updates: list[datetime] = []
    for key in snapshot.keys.values():
        if key.valid_from is not None and since < key.valid_from <= until:
            creates.append(key.valid_from)
        if not key.enabled and key.valid_to is not None and since < key.valid_to <= until:
            updates.append(key.valid_to)
    counted = not snapshot.disabled_keys or snapshot.disabled_complete
    return UsedSlots(tuple(sorted(creates)), tuple(sorted(updates)) if snapshot.disabled_keys else None, counted)


def free_from(used: Iterable[datetime], policy: Policy, now: datetime) -> list[datetime]:
    """Return when each slot of scheduled work is free, sorted: ``now``, or a day after it was used.

    If more are used than scheduled work has, those that are free first belong to the reserve.
    """
    again = sorted(at + DAY for at in used if at + DAY > now)
    return [now] * (policy.slots - len(again)) + again[max(0, len(again) - policy.slots) :]


def free_soon(used: Iterable[datetime], policy: Policy, now: datetime) -> list[datetime]:
    """Return when each slot is free that a sweep which begins now may use."""
    return [at for at in free_from(used, policy, now) if at <= now + SLOT_TOLERANCE]


_USED_UP = "today's {limit} {what} less {reserve} in reserve are used, or needed for more urgent keys"
_ONE_PER_PART = "scheduled work uses one create and one update in each of {parts} equal parts of the day"


def uncounted(policy: Policy) -> Message:
    """Return the alert's text for an account whose creates and updates of today can't be counted."""
    return Message.of(
        "Infobip does not list all disabled keys of the account, so today's creates and updates can't be counted; "
        + _ONE_PER_PART
        + ", and the reserve of {reserve} is kept for emergencies",
        parts=max(1, policy.slots),
        reserve=policy.reserve,
    )


def no_slot_left(action: Action, quota: Quota) -> Message:
    """Return why an action waits for the daily limit."""
    is_create = action.kind is ActionKind.ROTATE
    limit = quota.creates_limit if is_create else quota.updates_limit
    return Message.of(
        "{kind} ({reason}) waits: "
        + (_USED_UP if quota.most is None else "today's {what} can't be counted; " + _ONE_PER_PART),
        parts=max(1, limit - quota.reserve),
        kind=action.kind,
        reason=action.reason,
        limit=limit,
        what="creates" if is_create else "updates",
        reserve=quota.reserve,
    )


# ---- if today's use can't be counted ------------------------------------------------------------


def length_of(policy: Policy) -> timedelta:
    """Return the length of a part."""
    return DAY / max(1, policy.slots)


def begin_of(now: datetime, policy: Policy) -> datetime:
    """Return when the part that contains ``now`` began."""
    midnight, length = now.replace(hour=0, minute=0, second=0, microsecond=0), length_of(policy)
    return midnight + (now - midnight) // length * length


def is_first(now: datetime, policy: Policy) -> bool:
    """Whether a sweep at ``now`` is the first in its part: the part began after the previous sweep."""
    return policy.slots > 0 and now - begin_of(now, policy) < policy.sweep_every


def first_sweeps(since: datetime | None, now: datetime, policy: Policy) -> list[datetime]:
    """Return the sweeps after ``since`` and up to ``now`` that are the first in their parts, the latest first.

    :param since: ``None`` if there is only the sweep at ``now``.
    """
    count = 1 if since is None else max(1, -((since - now) // policy.sweep_every))
    times = (now - number * policy.sweep_every for number in range(count))
    return [at for at in times if is_first(at, policy)]


def sweeps_until_next(now: datetime, policy: Policy) -> int:
    """Return after how many sweeps the next one is the first in its part."""
    most = length_of(policy) // policy.sweep_every + 2
    later = (number for number in range(1, most) if is_first(now + number * policy.sweep_every, policy))
    return next(later, most)


# ---- in sweeps to come ----------------------------------------------------------------------------------------------


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


def slots_to_come(
    snapshot: AccountSnapshot,
    policy: Policy,
    now: datetime,
    used: UsedSlots,
    broken: int,
    since: datetime | None = None,
) -> Slots:
    """Return the slots from a sweep at ``now`` on; see :class:`Slots` and :meth:`UsedSlots.planned`."""
    every = policy.sweep_every
    if not used.counted:
        today = [0] * used.planned(policy, now, since).creates_left or [sweeps_until_next(now, policy)]
        return Slots(now, every, -(-length_of(policy) // every), 1, today, broken)
    period = quota_window(policy) // every
    # As in the sweep itself, a slot that is free within minutes counts as free.
    free = (-((now + SLOT_TOLERANCE - at) // every) for at in free_from(used.creates, policy, now))
    today = [min(period, max(0, sweep)) for sweep in free]
    return Slots(now, every, period, slots_a_day(snapshot, policy, now), today, broken)
