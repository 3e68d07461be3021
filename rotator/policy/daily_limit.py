"""The daily limit: which of its slots are used, and which a sweep may use. Pure.

A slot is one create or one update. Where today's use can't be counted, because the account has more disabled keys than
Infobip lists, the day is divided by Infobip's clock, from midnight UTC on, into as many equal parts as scheduled work
has slots (the limit less the reserve). Only the first sweep in each part uses one create and one update, so that
scheduled work stays within its slots and the reserve is kept, whatever is not seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.durations import DAY
from rotator.message import Message
from rotator.model import BEGINS_WITHIN, AccountSnapshot, Action, ActionKind, Policy, Quota

SLOT_TOLERANCE = timedelta(minutes=10)
"""A slot that is free within this time counts as free. Otherwise a daily sweep would find yesterday's slots still used,
because yesterday's sweep took seconds or minutes to use them."""


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
    counted = not snapshot.history or snapshot.history_complete
    return UsedSlots(tuple(sorted(creates)), tuple(sorted(updates)) if snapshot.history else None, counted)


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
