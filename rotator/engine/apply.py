"""Apply a plan's actions, one result per action. Each action re-reads its secret first."""

from __future__ import annotations

import logging
from contextlib import suppress

from rotator.audit_events import Event
from rotator.engine.context import AccountContext
from rotator.engine.revoke import read_again, revoke
from rotator.engine.rotation import Rotation
from rotator.engine.secret_changes import grace_of, label_key, require_empty, require_managed, retire_version, unlabel
from rotator.errors import (
    InternalError,
    ProviderThrottled,
    ProviderUnavailable,
    RotatorError,
    StateChanged,
)
from rotator.model import SecretEntry
from rotator.plan import Action, ActionKind, Outcome, Promoted, Result
from rotator.policy.labels import CURRENT, PREVIOUS, key_label
from rotator.policy.lifecycle import is_abandoned, read_lifecycle
from rotator.policy.rules import make_view
from rotator.reasons import Reason
from rotator.telemetry.audit import AuditUnavailable
from rotator.telemetry.consumer_events import FAILED, ROTATED

_LOG = logging.getLogger(__name__)


def apply(
    context: AccountContext, action: Action, *, audit_reason: str = "", moves: bool = False
) -> tuple[Result, RotatorError | None]:
    """Apply one action. A failure is returned in the result, not raised.

    The error is returned too, so that the sweep can decide whether to go on. If Infobip throttles the account or
    something changed since the plan, the outcome is ``deferred``: nothing is lost, and the next sweep continues.

    :param audit_reason: an operator's own words, the reason in the audit.
    :param moves: whether a rotation may move the secret to this account from another one.
    """
    begin = context.services.clock.now()
    promoted: Promoted | None = None
    outcome = Outcome.DONE
    error: RotatorError | None = None
    try:
        promoted = _do(context, action, audit_reason, moves=moves)
    except (ProviderThrottled, StateChanged) as caught:
        outcome, error = Outcome.DEFERRED, caught
    except RotatorError as caught:
        outcome, error = Outcome.FAILED, caught
    except Exception as caught:  # one secret's failure never stops another's, not even by a bug
        _LOG.debug("unexpected", exc_info=caught)
        outcome, error = Outcome.FAILED, InternalError.of(caught, f"the {action.kind} of {action.secret}")
    if error is not None and outcome is Outcome.FAILED and not isinstance(error, AuditUnavailable):
        with suppress(AuditUnavailable):  # the failure is in the result, and the next intent fails loudly
            report_failed(context, action, error)
    result = Result(
        action=action,
        outcome=outcome,
        error=None if error is None else str(error),
        promoted=promoted,
        duration=context.services.clock.now() - begin,
        by_account=isinstance(error, (ProviderThrottled, ProviderUnavailable)),
    )
    return result, error


def _do(context: AccountContext, action: Action, audit_reason: str, *, moves: bool) -> Promoted | None:
    match action.kind:
        case ActionKind.ROTATE:
            return Rotation(context, action, audit_reason=audit_reason, moves=moves).rotate()
        case ActionKind.RESUME:
            return Rotation(context, action, moves=moves).resume()
        case ActionKind.LABEL:
            (label_current if action.label is None else remove_label)(context, action)
        case ActionKind.RETIRE:
            retire(context, action)
        case ActionKind.REVOKE:
            revoke(context, action)
    return None


def report_failed(context: AccountContext, action: Action, error: RotatorError) -> None:
    """Write a failed action to the audit; unless it was a revocation, send an event too."""
    event = Event.REVOCATION_FAILED if action.kind is ActionKind.REVOKE else Event.ROTATION_FAILED
    fields = action.version_fields(action.version_id, action.key_id, str(action.reason))
    fields["error"] = f"{type(error).__name__}: {error}"
    context.emit(event, "failure", **fields)
    if event is Event.ROTATION_FAILED:
        context.publish(FAILED, secret_arn=action.arn, **fields)


def label_current(context: AccountContext, action: Action, *, despite_hold: bool = False) -> None:
    """Put the key's label on the current version, in place of labels that its value contradicts.

    :raises RotatorError: the secret is not as the plan saw it.
    """
    assert action.version_id is not None
    assert action.key_id is not None
    entry = _read_again(context, action, despite_hold=despite_hold)
    life = read_lifecycle(entry)
    wrong = life.at_work - {action.key_id}
    if life.current_version != action.version_id or (action.reason is Reason.MISLABELLED) is not bool(wrong):
        raise StateChanged(f"AWSCURRENT of {entry.name} changed during the sweep")
    for each in sorted(wrong):
        # If interrupted after this, the version has no label, and the next sweep adopts it.
        unlabel(context, entry, key_label(each), action.version_id, str(action.reason))
    label_key(context, entry, action.key_id, action.version_id, str(action.reason))


def remove_label(context: AccountContext, action: Action) -> None:
    """Remove a label that the value, or the other labels, contradict, or that a stopped rotation left.

    :raises RotatorError: the secret is not as the plan saw it.
    """
    entry, version, label = _read_again(context, action), action.version_id, action.label
    assert version is not None
    assert label is not None
    labels = entry.versions.get(version, frozenset())
    if label not in labels:
        return  # an adoption in the same sweep has removed it
    match action.reason:
        case Reason.STALE_LABEL:
            wrong = (version, label) in read_lifecycle(entry, action.key_id).stale
        case Reason.FOREIGN_ROTATION:
            wrong = is_abandoned(entry, context.services.policy, context.now())
        case _:  # the value is not the labelled key, and no other key either
            wrong = CURRENT in labels
    if not wrong:
        raise StateChanged(f"label {label} of {entry.name} is no longer wrong")
    if action.reason is Reason.FOREIGN_ROTATION:
        require_empty(context.services.store, entry, version)
    unlabel(context, entry, label, version, str(action.reason))


def retire(context: AccountContext, action: Action) -> None:
    """Give a superseded version its retire label. Its full grace period starts now."""
    assert action.version_id is not None
    assert action.key_id is not None
    entry, snapshot = read_again(context, action)
    view = make_view(snapshot, entry)
    assert view.spec is not None
    version = view.life.current_version
    grace = grace_of(context, entry, view.spec, action.version_id, version or "", view.key)
    revoke_at = context.revoke_at(grace)
    retire_version(context, entry, action.version_id, action.key_id, revoke_at, str(action.reason))
    if PREVIOUS in entry.versions.get(action.version_id, ()):
        # The run that promoted the current version was interrupted, maybe before its event; or it was stored by hand.
        fields = entry.version_fields(version, view.key_id, str(action.reason))
        context.publish(ROTATED, secret_arn=entry.arn, **fields)


def _read_again(context: AccountContext, action: Action, *, despite_hold: bool = False) -> SecretEntry:
    entry = context.services.store.describe(action.arn)
    require_managed(entry, context.account, despite_hold=despite_hold)
    return entry
