"""Sweep-wide guards: too many revocations at once, the daily limit, clock skew."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.message import KeyId, Message
from rotator.model import BEGINS_WITHIN, AccountSnapshot, Action, ActionKind, Alert, Policy, Quota, Severity, Skip
from rotator.policy.day_parts import begin_of, first_sweeps
from rotator.policy.draft import Draft
from rotator.reasons import Reason

DAY = timedelta(hours=24)
MAX_SKEW = timedelta(minutes=5)
"""With a larger skew, expiry and grace can't be judged. AWS refuses requests at the same skew."""
MAX_REJECTED = 4
"""How many replacements for a secret may be rejected in 24 hours. More would use up slots that others need."""
REVOKE_SHARE = 0.25
REVOKE_AT_LEAST = 5
"""A sweep revokes at most this share of an account's active keys, or this number if that is more."""
SOON = timedelta(minutes=10)
"""A slot that is free within this time counts as free. Otherwise a daily sweep would find yesterday's slots still used,
because yesterday's sweep took seconds or minutes to use them."""


@dataclass(frozen=True, slots=True)
class UsedSlots:
    """When creates and updates of the last 24 hours were made, by Infobip's clock; each slot is free a day later.

    :param counted: whether these are all of them. If not, the day is divided; see :mod:`~rotator.policy.day_parts`.
    """

    creates: tuple[datetime, ...]
    updates: tuple[datetime, ...] | None
    counted: bool = True

    def quota(self, policy: Policy) -> Quota:
        """Return the used slots as numbers."""
        updates = None if self.updates is None or not self.counted else len(self.updates)
        return Quota(len(self.creates), policy.daily_limit, updates, policy.daily_limit, policy.reserve)

    def planned(self, policy: Policy, now: datetime, since: datetime | None = None) -> Quota:
        """Return the quota for a sweep that begins now. Slots that are free soon are free when it gets to them.

        :param since: the time of the previous sweep, if this one stands for all sweeps between the two.
        """
        after = now + SOON - DAY
        creates = sum(1 for at in self.creates if at > after)
        updates = None if self.updates is None else sum(1 for at in self.updates if at > after)
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


def clock_skew(snapshot: AccountSnapshot) -> Message | None:
    """Return what is wrong with this machine's clock, if it is too far from Infobip's."""
    if snapshot.skew is None or abs(snapshot.skew) <= MAX_SKEW:
        return None
    direction = "behind" if snapshot.skew > timedelta(0) else "ahead of"
    return Message.of(
        "this machine's clock is {skew} {direction} Infobip's, so expiry and grace periods can't be evaluated; nothing "
        "is changed; sync the clock with NTP",
        skew=abs(snapshot.skew),
        direction=direction,
    )


def limit_revocations(draft: Draft, snapshot: AccountSnapshot, now: datetime, *, force: bool) -> None:
    """Spread revocations over sweeps; block orphans that are too many to be accidents.

    One sweep revokes at most a quarter of the account's active keys, or ``REVOKE_AT_LEAST`` if that is more:
    revocations after grace first, the longest overdue first, then orphans.

    :param force: lift the limit.
    """
    revoking = sorted((item for item in draft.ranked if item[1].costs_update), key=lambda item: item[1].due_at)
    active = sum(1 for key in snapshot.keys.values() if key.alive(now))
    limit = max(REVOKE_AT_LEAST, int(REVOKE_SHARE * active))
    if force or len(revoking) <= limit:
        return
    orphans = [item for item in revoking if item[1].reason is Reason.ORPHAN]
    due = [item for item in revoking if item[1].reason is not Reason.ORPHAN]
    for item in due[limit:]:
        action = item[1]
        message = Message.of(
            "revocation of key {key} waits for the next sweep: a sweep revokes at most {limit} keys",
            key=KeyId(action.key_id or ""),
            limit=limit,
        )
        draft.defer(action, Reason.REVOCATION_LIMIT, message)
        draft.ranked.remove(item)
    if len(orphans) > limit:
        message = Message.of(
            "{orphans} of {active} active keys look like orphans, more than a sweep may revoke ({limit}); none is "
            "revoked; review the plan and, if it is correct, run `rotator run --force`",
            orphans=len(orphans),
            active=active,
            limit=limit,
        )
        draft.alerts.append(Alert(Reason.TOO_MANY_ORPHANS, message, severity=Severity.ERROR))
        waits = Message("its orphans wait for `rotator run --force`")
        names = sorted({action.secret for _, action in orphans})
        draft.skipped += [Skip(name, Reason.TOO_MANY_ORPHANS, waits) for name in names]
    for item in orphans if len(orphans) > limit else orphans[max(0, limit - len(due)) :]:
        draft.ranked.remove(item)


_USED_UP = "today's {limit} {what} less {reserve} in reserve are used, or needed for more urgent keys"
_ONE_PER_PART = "scheduled work uses one create and one update in each of {parts} equal parts of the day"


def uncounted(policy: Policy) -> Message:
    """Return the alert's text for an account whose creates and updates of today can't be counted."""
    return Message.of(
        "Infobip does not list all disabled keys of the account, so today's creates and updates can't be counted; "
        + _ONE_PER_PART
        + ", and the reserve of {reserve} is kept for emergencies",
        parts=max(1, policy.daily_limit - policy.reserve),
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


def limit_updates(draft: Draft, actions: list[Action], quota: Quota, coming: int = 0) -> list[Action]:
    """Return the actions that today's updates allow, the most urgent first, and defer the other revocations.

    :param coming: how many revocations come due before an update that is used now is free again; orphans leave
        these updates free.
    """
    left = quota.updates_left
    kept: list[Action] = []
    for action in actions:
        if not action.costs_update:
            kept.append(action)
        elif left > (coming if action.reason is Reason.ORPHAN else 0):
            left -= 1
            kept.append(action)
        else:
            draft.defer(action, Reason.DAILY_LIMIT, no_slot_left(action, quota))
    return kept
