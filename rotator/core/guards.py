"""What a sweep may not do however right each single action looks: too many at once, or more than a day allows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from rotator.core.decisions import View
from rotator.core.draft import Draft
from rotator.core.durations import human_duration
from rotator.core.model import (
    AccountSnapshot,
    Action,
    ActionKind,
    Key,
    Policy,
    Quota,
    Reason,
    Severity,
    Skip,
)

DAY = timedelta(hours=24)
MAX_SKEW = timedelta(minutes=5)
"""Beyond this, expiry and grace can't be judged. AWS refuses requests at the same distance."""
MAX_REJECTED = 4
"""Replacements for one secret that may be rejected in 24 hours: more would use up what others need to be rotated."""
GUARD_SHARE = 0.25
GUARD_COUNT = 5
GUARD_ALL = 3
"""So many secrets, and none of their keys is listed: that is another account's list."""


def quota_used(keys: Iterable[Key], policy: Policy, now: datetime) -> Quota:
    """What the keys themselves tell of the last 24 hours by Infobip's clock, which counts.

    A creation shows in ``validFrom``; a revocation by this program in the end that it sets on a disabled key. Infobip's
    clock may be behind ours by ``MAX_SKEW``, and tells whole seconds: so what is that much older than a day counts too,
    for Infobip may still count it.
    """
    since = now - DAY - MAX_SKEW
    creates = updates = 0
    until = now + MAX_SKEW
    for key in keys:
        if key.valid_from is not None and key.valid_from > since:
            creates += 1
        if not key.enabled and key.valid_to is not None and since < key.valid_to <= until:
            updates += 1
    return Quota(creates, policy.daily_limit, updates, policy.daily_limit, policy.reserve)


def clock_skew(snapshot: AccountSnapshot) -> str | None:
    """What is wrong with this machine's clock, if it is too far from Infobip's."""
    if snapshot.skew is None or abs(snapshot.skew) <= MAX_SKEW:
        return None
    direction = "behind" if snapshot.skew > timedelta(0) else "ahead of"
    return (
        f"this machine's clock is {human_duration(abs(snapshot.skew))} {direction} Infobip's; expiry and grace can't "
        "be judged by it, so nothing is done; set the clock (NTP)"
    )


def mass_missing(views: list[View]) -> str | None:
    """Many keys gone at once is a wrong account or a broken listing, not many accidents."""
    missing = sum(1 for view in views if view.key is None and view.key_id is not None)
    if not missing:
        return None
    labelled = sum(1 for view in views if view.key_id is not None)
    none_left = missing == labelled >= GUARD_ALL
    if not none_left and (missing <= GUARD_COUNT or missing <= GUARD_SHARE * labelled):
        return None
    return (
        f"{missing} of {labelled} managed keys are not listed by Infobip; that looks like another account or "
        "a broken answer, so no key is replaced for being missing; check the management secret's base_url, account_id"
    )


def guard_mass_revocation(draft: Draft, snapshot: AccountSnapshot, *, force: bool) -> None:
    """A plan that would end more than a quarter of the account's keys is more likely a mistake than a wish."""
    revoking = [action for _, action in draft.ranked if action.costs_update]
    if force or len(revoking) <= GUARD_COUNT:
        return
    enabled = sum(1 for key in snapshot.keys.values() if key.enabled)
    if len(revoking) <= GUARD_SHARE * enabled:
        return
    draft.ranked = [item for item in draft.ranked if item[1].kind is not ActionKind.REVOKE]
    detail = (
        f"{len(revoking)} of {enabled} enabled keys would be revoked at once, more than {GUARD_SHARE:.0%}; nothing is "
        "revoked; look at the plan, then `rotator run --force` if it is right"
    )
    draft.alert(Reason.MASS_REVOCATION, detail, severity=Severity.ERROR)
    for name in sorted({action.secret for action in revoking}):
        draft.skipped.append(Skip(name, Reason.MASS_REVOCATION, "its revocation waits for `rotator run --force`"))


def within_budget(draft: Draft, actions: list[Action], quota: Quota, coming: int = 0) -> list[Action]:
    """Cut off what today's limits do not allow; what is most urgent comes first already.

    :param coming: how many revocations come due before an update that is used now can be used again: an orphan, which
        nobody uses, takes none of theirs.
    """
    creates, updates = quota.creates_left, quota.updates_left
    kept: list[Action] = []
    for action in actions:
        if action.kind is ActionKind.ROTATE:
            if creates <= 0:
                _over_budget(draft, action, "creates", quota.creates_limit, quota.reserve)
                continue
            creates -= 1
        elif action.costs_update:
            if updates <= (coming if action.reason is Reason.ORPHAN else 0):
                _over_budget(draft, action, "updates", quota.updates_limit, quota.reserve)
                continue
            updates -= 1
        kept.append(action)
    return kept


def _over_budget(draft: Draft, action: Action, what: str, limit: int, reserve: int) -> None:
    detail = f"{action.kind} ({action.reason}) waits: today's {limit} {what} less {reserve} in reserve are used up"
    draft.leave(action.secret, Reason.DAILY_LIMIT, detail)
