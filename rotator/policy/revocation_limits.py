"""How many revocations a sweep may do: its share of the account's keys, and today's updates. Pure."""

from __future__ import annotations

from rotator.message import KeyId, Message
from rotator.model import Action, Alert, Quota, Severity, Skip
from rotator.policy.daily_limit import no_slot_left
from rotator.policy.draft import Draft
from rotator.reasons import Reason

MAX_REVOKE_SHARE = 0.25
REVOKE_LIMIT_FLOOR = 5
"""A sweep revokes at most this share of an account's active keys, or this number if that is more."""


def limit_revocations(draft: Draft, *, force: bool) -> None:
    """Spread revocations over sweeps; block orphans that are too many to be accidents.

    One sweep revokes at most a quarter of the account's active keys, or ``REVOKE_LIMIT_FLOOR`` if that is more:
    revocations after grace first, the longest overdue first, then orphans.

    :param force: lift the limit.
    """
    revoking = sorted((item for item in draft.ranked if item[1].costs_update), key=lambda item: item[1].due_at)
    active = sum(1 for key in draft.snapshot.keys.values() if key.alive(draft.now))
    limit = max(REVOKE_LIMIT_FLOOR, int(MAX_REVOKE_SHARE * active))
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
        owners = {action.which: action for _, action in orphans}.values()
        draft.skipped += [
            Skip(each.secret, Reason.TOO_MANY_ORPHANS, waits, location=each.location)
            for each in sorted(owners, key=lambda action: action.secret)
        ]
    for item in orphans if len(orphans) > limit else orphans[max(0, limit - len(due)) :]:
        draft.ranked.remove(item)


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
