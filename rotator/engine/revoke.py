"""Revoking superseded keys whose grace period is over, and orphans. Never the key in use.

Right before the call everything that a revocation depends on is read again, and the planner is asked again: it must
plan the same revocation. The engine has no rules of its own.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from rotator.audit_events import Event
from rotator.engine.context import AccountContext, limit_used_up
from rotator.engine.copies import search_again
from rotator.engine.observe import with_secret
from rotator.engine.secret_changes import clean_labels
from rotator.engine.version_values import with_values
from rotator.errors import StateChanged
from rotator.model import AccountSnapshot, SecretEntry
from rotator.plan import Action
from rotator.policy.final_check import require_planned
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.planner import plan_secret
from rotator.policy.tags import account_of, role
from rotator.reasons import Reason
from rotator.telemetry.consumer_events import REVOKED

MAX_CHECK_AGE: Final = timedelta(seconds=60)
"""The maximum age of the final check. A run that stores an old key, or rolls back at the end of grace, waits longer."""


def revoke(context: AccountContext, action: Action) -> None:
    """Revoke a superseded key or an orphan, or remove the labels of a key that no longer authenticates.

    :raises RotatorError: nothing was revoked, or the answer was lost and the next sweep tries again.
    """
    checked_at = context.now()
    entry, snapshot = read_again(context, action)
    assert action.key_id is not None
    key = snapshot.keys.get(action.key_id) or snapshot.elsewhere[action.key_id].key
    assert key is not None
    reason = str(action.reason)
    fields = entry.version_fields(action.version_id, key.id, reason)
    if action.reason is Reason.ORPHAN:
        context.emit(Event.KEY_ORPHAN_FOUND, "success", **fields)
    if action.costs_update:
        if not context.use_update():
            raise limit_used_up("updates", f"key {key.id} was not revoked")
        if context.now() - checked_at > MAX_CHECK_AGE:
            raise StateChanged(f"the final check before the revocation of key {key.id} is too old")
        context.revoke(key, fields)
    if action.reason is not Reason.ORPHAN:
        clean_labels(context, entry, key.id, reason)
    if action.costs_update or not key.enabled:
        context.publish(REVOKED, secret_arn=entry.arn, **fields)


def read_again(context: AccountContext, action: Action) -> tuple[SecretEntry, AccountSnapshot]:
    """Read what a planned action depends on again, and check that it would still be planned.

    :returns: the secret, and the snapshot with all that was read.
    :raises Refused: a rule of the planner forbids it now.
    :raises StateChanged: it is no longer due, or the secret belongs to another account now.
    """
    store, provider = context.services.store, context.provider
    entry = store.describe(action.arn)
    if role(entry.tags) != "key" or account_of(entry.tags) != context.account:
        raise StateChanged(f"{entry.name} no longer belongs to account {context.account}")
    current = read_lifecycle(entry).current_key
    # Of a key to be revoked the list is recent enough: revoking it twice does no harm.
    again = {Reason.GRACE_OVER: current, Reason.ORPHAN: action.key_id}.get(action.reason)
    snapshot = with_secret(store, provider, context.snapshot, entry, [again] if again is not None else [])
    if action.reason is Reason.ORPHAN:
        versions = frozenset(entry.versions) | frozenset(store.version_dates(entry.arn))
        snapshot = replace(snapshot, versions={entry.arn: versions})
    if action.costs_update:
        snapshot = search_again(store, context.snapshot, snapshot, action)
    policy = context.services.policy
    draft = plan_secret(snapshot, policy, context.checked_now(), entry.arn)
    unread = [(entry, version) for _, version in sorted(draft.questions.values)]
    if unread:
        snapshot = with_values(store, provider, snapshot, unread)
        draft = plan_secret(snapshot, policy, context.checked_now(), entry.arn)
    require_planned(draft, action)
    return entry, snapshot
