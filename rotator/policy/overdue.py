"""Alerts for overdue work, whatever deferred it. Pure.

A rotation, or a revocation after grace, is overdue if it has not happened a day after it was due (a tenth of the key's
lifetime, if that is shorter). A first key, and the adoption of a value, are due when the secret was last changed. The
alert ``overdue`` reports it with the cause. Four causes are meant and make nothing overdue: a hold, a closed window,
``rotator:gate``, and a slot that was scheduled before the key expires. Secrets that are not the rotator's to change
have no due work. Nothing else is exempt: work that every sweep plans and none does is overdue as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from rotator.durations import plus
from rotator.message import KeyId, Message
from rotator.model import Key
from rotator.plan import AccountPlan, Action, ActionKind, Alert, Outcome, Result, Severity, Skip
from rotator.policy.draft import Draft
from rotator.policy.ownership import OwnershipProof
from rotator.policy.rules import NOT_OURS, View, first, renew_at
from rotator.policy.secret_draft import SecretDraft
from rotator.policy.tags import HOLD_TAG, readable_times
from rotator.reasons import Reason

ALLOWED_DELAY: Final = timedelta(days=1)
_SHARE: Final = 10
_ON_PURPOSE: Final = frozenset({Reason.WINDOW, Reason.WAITING_FOR_CONSUMERS})
"""With a hold and a scheduled slot, which are judged by facts, these are the causes that make nothing overdue."""
BY_ACCOUNT: Final = frozenset({Reason.LISTING_INCOMPLETE, Reason.CLOCK_SKEW})
NOT_DONE_YET: Final = Message("no sweep has completed it yet")
_DONE_BY: Final = {
    ActionKind.ROTATE: (ActionKind.ROTATE, ActionKind.RESUME),
    ActionKind.LABEL: (ActionKind.LABEL,),
    ActionKind.REVOKE: (ActionKind.REVOKE, ActionKind.RETIRE),
}
"""By the kind of overdue work, the actions that do it or, for a revocation, begin its grace period."""


class Overdue(NamedTuple):
    """Overdue work on one secret.

    :param kind: ``rotate``, ``label`` (the adoption of its value) or ``revoke``.
    :param key_id: the key to be revoked; ``None`` for the other two.
    :param key: the key whose expiry makes it urgent.
    """

    view: View
    kind: ActionKind
    key_id: str | None
    due_at: datetime
    key: Key | None


def allowed_delay(key: Key | None) -> timedelta:
    """Return how late a key's rotation or revocation may be: a day, or a tenth of its lifetime if that is shorter.

    A disabled key's lifetime is not known: its revocation set its expiry.
    """
    lifetime = key.lifetime if key is not None and key.enabled else None
    return ALLOWED_DELAY if lifetime is None else max(timedelta(0), min(ALLOWED_DELAY, lifetime / _SHARE))


def overdue(draft: Draft, view: View) -> Iterator[Overdue]:
    """Yield the overdue work of one secret, whatever the cause."""
    for late in _due(draft, view):
        if plus(late.due_at, allowed_delay(late.key)) <= draft.now:
            yield late


def _due(draft: Draft, view: View) -> Iterator[Overdue]:
    """Yield a secret's work and since when it is due, or from when it will be."""
    entry, life, keys = view.entry, view.life, draft.snapshot.keys
    if HOLD_TAG in entry.tags or first(NOT_OURS, view, draft.now) is not None:
        return
    spec, changed = view.spec or readable_times(entry.tags), entry.last_changed
    key = keys.get(view.mislabelled) if view.mislabelled is not None else view.key
    renew = renew_at(spec, key)
    if life.current_version is None:
        if changed is not None:
            yield Overdue(view, ActionKind.ROTATE, None, changed, None)
        return
    if life.unlabelled and changed is not None:
        yield Overdue(view, ActionKind.LABEL, None, changed, key)
        renew = None if renew is None else max(renew, changed)  # before, no sweep could have known the key
    if renew is not None:
        yield Overdue(view, ActionKind.ROTATE, None, renew, key)
    secret = SecretDraft(draft, view)
    ends = [(i.version_id, i.key_id, max(i.revoke_at, secret.grace_until(i) or i.revoke_at)) for i in life.retiring]
    if changed is not None:  # without a retire label, the grace period of a superseded version begins in the next sweep
        ends += [(version_id, key_id, plus(changed, spec.grace)) for version_id, key_id in life.superseded]
    for version_id, key_id, end in ends:
        if (found := secret.owned_elsewhere(key_id)) is not None and found[0].alive(draft.now):
            yield Overdue(view, ActionKind.REVOKE, key_id, end, found[0])  # a person has to revoke it
        old = keys.get(key_id)
        if old is None and key_id not in draft.snapshot.unreadable_keys:
            continue  # not this account's key, which has an alert of its own
        if old is not None and (not old.alive(draft.now) or draft.ownership.is_foreign(entry, old)):
            continue  # nothing to revoke, or never revoked by a sweep
        if draft.ownership.of(entry, version_id, key_id) is not OwnershipProof.NONE:  # else the label is ignored
            yield Overdue(view, ActionKind.REVOKE, key_id, end, old)


def report_overdue(draft: Draft, actions: Sequence[Action]) -> None:
    """Add one alert with the cause for all overdue work."""
    cause_of = draft.causes()
    planned = {(a.arn, a.kind, a.key_id if a.kind in _DONE_BY[ActionKind.REVOKE] else None) for a in actions}
    for late in (late for view in draft.views for late in overdue(draft, view)):
        arn = late.view.entry.arn
        cause = cause_of(arn, late.key_id)
        if any((arn, kind, late.key_id) in planned for kind in _DONE_BY[late.kind]):
            cause = None
        elif cause is not None and late.kind is not ActionKind.LABEL and _on_purpose(draft, cause, late):
            continue
        draft.alerts.append(
            Alert(
                Reason.OVERDUE,
                Message.of(
                    _what(late) + " was due {late} ago: {cause}",
                    key=KeyId(late.key_id or ""),
                    late=draft.now - late.due_at,
                    cause=cause.message if cause else NOT_DONE_YET,
                ),
                late.view.entry.name,
                late.key_id or late.view.key_id,
                Severity.ERROR,
                by_account=cause is not None
                and (cause.by_account or cause.reason in BY_ACCOUNT or not draft.snapshot.complete),
                action=late.kind,
                location=late.view.entry.location,
            )
        )


def _what(late: Overdue) -> str:
    if late.kind is ActionKind.REVOKE:
        return "the revocation of key {key}"
    if late.kind is ActionKind.LABEL:
        return "the adoption of its value"
    return "its first key" if late.view.life.current_version is None else "its rotation"


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
        if action.which != alert.which or alert.action is None or action.kind not in _DONE_BY[alert.action]:
            continue
        if alert.action is not ActionKind.REVOKE or action.key_id == alert.key_id:
            return result
    return None


def _on_purpose(draft: Draft, cause: Skip, late: Overdue) -> bool:
    """Whether work waits for what an operator asked for, or a rotation only for a slot before its key expires."""
    if cause.reason in _ON_PURPOSE:
        return True
    in_time = cause.scheduled and late.view.entry.arn not in draft.late
    return in_time and late.key is not None and late.key.alive(draft.now) and late.key.valid_to is not None
