"""Alerts about work that is due and not done, whatever defers it. Pure.

A rotation, or a revocation after grace, is overdue if it has not happened a day after it was due (a tenth of the key's
lifetime, if that is shorter). The alert ``overdue`` reports it with the cause. Work that waits on purpose is not
overdue: for a hold, a closed window, ``rotator:gate``, or a slot that comes before the key expires.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from rotator.durations import plus
from rotator.message import KeyId, Message
from rotator.model import (
    AccountPlan,
    AccountSnapshot,
    Action,
    ActionKind,
    Alert,
    Key,
    Outcome,
    Reason,
    Result,
    Severity,
)
from rotator.policy.draft import Draft, Waiting
from rotator.policy.rules import View, renew_at

ALLOWED_DELAY: Final = timedelta(days=1)
_SHARE: Final = 10
_ON_PURPOSE: Final = frozenset(
    {Reason.HOLD, Reason.WINDOW, Reason.NOT_ADOPTED, Reason.DELETED, Reason.OWNED, Reason.REPLICA}
)
BY_ACCOUNT: Final = frozenset({Reason.LISTING_INCOMPLETE, Reason.CLOCK_SKEW})
NOT_DONE: Final = Message("no sweep has done it so far")


class Overdue(NamedTuple):
    """An overdue rotation or revocation. ``key_id``: the key to be revoked; ``None`` for a rotation."""

    view: View
    key_id: str | None
    due_at: datetime


def allowed_delay(key: Key | None) -> timedelta:
    """Return how late a key's rotation or revocation may be: a day, or a tenth of its lifetime if that is shorter."""
    if key is None or key.valid_from is None or key.valid_to is None:
        return ALLOWED_DELAY
    return max(timedelta(0), min(ALLOWED_DELAY, (key.valid_to - key.valid_from) / _SHARE))


def overdue(snapshot: AccountSnapshot, view: View, now: datetime) -> Iterator[Overdue]:
    """Yield the overdue rotation and revocations of one secret, whatever the cause."""
    if view.spec is None or view.spec.hold is not None:
        return
    due = renew_at(view)
    if due is not None and plus(due, allowed_delay(view.key)) <= now:
        yield Overdue(view, None, due)
    for item in view.life.retiring:
        key = snapshot.keys.get(item.key_id)
        if key is not None and key.alive(now) and plus(item.revoke_at, allowed_delay(key)) <= now:
            yield Overdue(view, item.key_id, item.revoke_at)


def report_overdue(
    draft: Draft, snapshot: AccountSnapshot, views: Sequence[View], actions: Sequence[Action], now: datetime
) -> None:
    """Add one alert with the cause for each overdue rotation or revocation."""
    new = {a.arn for a in actions if a.reason is Reason.UNADOPTED}
    rotating = {a.arn for a in actions if a.kind in (ActionKind.ROTATE, ActionKind.RESUME)}
    revoking = {(a.arn, a.key_id) for a in actions if a.kind is ActionKind.REVOKE}
    for view in views:
        for late in overdue(snapshot, view, now):
            arn = view.entry.arn
            planned = arn in rotating if late.key_id is None else (arn, late.key_id) in revoking
            waits = draft.waiting.get((arn, late.key_id))
            if (planned and arn in new) or (not planned and waits is None):
                # No sweep could have done it; or an ignored label or a foreign key, which has its own alert.
                continue
            cause = None if planned else waits
            if cause is not None and (cause.reason in _ON_PURPOSE or _has_slot(cause, late, now)):
                continue
            what = "its rotation" if late.key_id is None else "the revocation of key {key}"
            draft.alerts.append(
                Alert(
                    Reason.OVERDUE,
                    Message.of(
                        what + " was due {late} ago: {cause}",
                        key=KeyId(late.key_id or ""),
                        late=now - late.due_at,
                        cause=cause.message if cause else NOT_DONE,
                    ),
                    view.entry.name,
                    late.key_id or view.key_id,
                    Severity.ERROR,
                    by_account=cause is not None and (cause.reason in BY_ACCOUNT or not snapshot.complete),
                    action=ActionKind.ROTATE if late.key_id is None else ActionKind.REVOKE,
                )
            )


def with_outcomes(plan: AccountPlan, results: Sequence[Result]) -> AccountPlan:
    """Return the plan without alerts about overdue work that was done, and with this sweep's errors in the rest."""
    alerts = []
    for alert in plan.alerts:
        result = _result_of(alert, results) if alert.kind is Reason.OVERDUE else None
        if result is None:
            alerts.append(alert)
        elif result.outcome is not Outcome.DONE:
            error = result.error or result.outcome
            message = Message.of("{overdue}; this sweep: {error}", overdue=alert.message, error=error)
            alerts.append(replace(alert, message=message, by_account=alert.by_account or result.by_account))
    return replace(plan, alerts=tuple(alerts))


def _result_of(alert: Alert, results: Sequence[Result]) -> Result | None:
    """Return the result of the action that an alert is about, if it was planned."""
    for result in results:
        action = result.action
        if action.secret != alert.secret:
            continue
        if alert.action is ActionKind.REVOKE and action.kind is ActionKind.REVOKE and action.key_id == alert.key_id:
            return result
        if alert.action is ActionKind.ROTATE and action.kind in (ActionKind.ROTATE, ActionKind.RESUME):
            return result
    return None


def _has_slot(cause: Waiting, late: Overdue, now: datetime) -> bool:
    """Whether a rotation only waits for its slot, and its key has not expired."""
    key = late.view.key
    return cause.scheduled and late.key_id is None and key is not None and not key.expired(now)
