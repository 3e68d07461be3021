"""Results as JSON: the field names that users' automation relies on. Times are ``2026-12-01T10:00:00Z``, ids whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rotator.model import AccountPlan, Action, Alert, Plan, Result, Skip
from rotator.policy.status import SecretState

if TYPE_CHECKING:
    from rotator.engine.emergency import EmergencyPlan, EmergencyReport

Document = dict[str, Any]


def time_text(moment: datetime | None) -> str | None:
    """A time in UTC to the second, or ``None``."""
    return None if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def plan_document(plan: Plan) -> Document:
    """``plan --json``."""
    return {
        "generated_at": time_text(plan.generated_at),
        "accounts": [account_document(account) for account in plan.accounts],
    }


def sweep_document(plan: Plan, results: Sequence[Result]) -> Document:
    """``run --json``: the plan with what became of it, by account and all together."""
    document = plan_document(plan)
    for account in document["accounts"]:
        account["results"] = [
            result_document(result) for result in results if result.action.account == account["account"]
        ]
    document["results"] = [{"account": result.action.account, **result_document(result)} for result in results]
    return document


def account_document(plan: AccountPlan) -> Document:
    """One account of ``plan --json``; ``error`` only where it could not be observed."""
    quota = plan.quota
    document: Document = {
        "account": plan.account,
        "quota": {
            "creates_used": quota.creates_used,
            "creates_limit": quota.creates_limit,
            "updates_used": quota.updates_used,
            "updates_limit": quota.updates_limit,
            "reserve": quota.reserve,
        },
        "actions": [action_document(action) for action in plan.actions],
        "skipped": [skip_document(skip) for skip in plan.skipped],
        "alerts": [alert_document(alert) for alert in plan.alerts],
    }
    if plan.error is not None:
        document["error"] = plan.error
    return document


def action_document(action: Action) -> Document:
    """One action."""
    return {
        "kind": str(action.kind),
        "secret": action.secret,
        "key_id": action.key_id,
        "reason": str(action.reason),
        "due_at": time_text(action.due_at),
        "deadline": time_text(action.deadline),
        "version_id": action.version_id,
        "detail": action.detail or None,
    }


def result_document(result: Result) -> Document:
    """One action and what became of it; the new ids only where something was made."""
    document = {**action_document(result.action), "outcome": str(result.outcome), "error": result.error}
    if result.new_key_id is not None:
        document["new_key_id"] = result.new_key_id
    if result.new_version_id is not None:
        document["new_version_id"] = result.new_version_id
    return document


def skip_document(skip: Skip) -> Document:
    """One secret that is skipped."""
    return {"secret": skip.secret, "reason": str(skip.reason), "detail": skip.detail}


def alert_document(alert: Alert) -> Document:
    """One thing to know or to fix."""
    return {
        "kind": str(alert.kind),
        "secret": alert.secret,
        "key_id": alert.key_id,
        "detail": alert.detail,
        "severity": str(alert.severity),
    }


def status_document(states: Iterable[SecretState], broken: Sequence[AccountPlan]) -> Document:
    """``status --json``; ``errors`` only where an account could not be observed."""
    document: Document = {"secrets": [state_document(state) for state in states]}
    errors = [{"account": plan.account, "error": plan.error} for plan in broken if plan.error is not None]
    if errors:
        document["errors"] = errors
    return document


def state_document(state: SecretState) -> Document:
    """One managed secret."""
    return {
        "account": state.account,
        "secret": state.secret,
        "key_id": state.key_id,
        "version_id": state.version_id,
        "state": str(state.state),
        "expires_at": time_text(state.expires_at),
        "days_left": state.days_left,
        "next_action": None if state.next_action is None else str(state.next_action),
        "next_action_at": time_text(state.next_action_at),
        "retiring": [{"key_id": item.key_id, "revoke_at": time_text(item.revoke_at)} for item in state.retiring],
        "hold": state.hold,
        "overdue": state.overdue,
    }


def emergency_document(plan: EmergencyPlan, report: EmergencyReport | None, run: Document) -> Document:
    """``revoke --json`` for one account: what is meant, and what was done where it was done.

    :param run: fields that stand in every account's document: ``run_id`` and ``incident``.
    """
    return {
        "account": plan.account,
        "strategy": str(plan.strategy),
        "kills": [
            {
                "key_id": revocation.key_id,
                "role": revocation.role,
                "secret": revocation.secret,
                "version_id": revocation.version_id,
                "revoke_at": time_text(revocation.revoke_at),
            }
            for revocation in plan.revocations
        ],
        "replaced": [entry.name for entry in plan.replaceable],
        "notes": list(plan.notes),
        "confirmed": report is not None,
        "steps": [
            {
                "what": step.what,
                "secret": step.secret,
                "key_id": step.key_id,
                "seconds": round(step.after.total_seconds(), 1),
                "note": step.note or None,
                "ok": step.ok,
            }
            for step in (report.steps if report is not None else ())
        ],
        "errors": list(report.errors if report is not None else plan.errors),
        **run,
    }
