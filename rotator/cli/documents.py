"""Results as JSON: the field names that users' automation relies on. Times are ``2026-12-01T10:00:00Z``, ids whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from rotator.message import Message
from rotator.model import AccountPlan, Action, Alert, Plan, Result
from rotator.policy.status import SecretState

Document = dict[str, Any]


def time_text(moment: datetime | None) -> str | None:
    """A time in UTC to the second, or ``None``."""
    return None if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def as_json(value: object) -> Any:
    """A value of the model: times, constants and messages as texts, everything else as it is."""
    match value:
        case datetime():
            return time_text(value)
        case Enum() | Message():
            return str(value)
        case list() | tuple():
            return [as_json(each) for each in value]
        case _:
            return value


def fields(item: object, *names: str) -> Document:
    """These attributes of a dataclass, by name."""
    return {name: as_json(getattr(item, name)) for name in names}


def errors_of(plans: Iterable[AccountPlan]) -> list[Document]:
    """The accounts that could not be observed."""
    return [fields(plan, "account", "error") for plan in plans if plan.error is not None]


def plan_document(plan: Plan) -> Document:
    """``plan --json``."""
    return {
        "generated_at": time_text(plan.generated_at),
        "accounts": [account_document(account) for account in plan.accounts],
    }


def sweep_document(plan: Plan, results: Sequence[Result]) -> Document:
    """``run --json``: the plan with its results, by account and all together."""
    document = plan_document(plan)
    for account in document["accounts"]:
        account["results"] = [
            result_document(result) for result in results if result.action.account == account["account"]
        ]
    return document | results_document(results)


def results_document(results: Sequence[Result]) -> Document:
    """Results of any accounts."""
    return {"results": [{"account": result.action.account, **result_document(result)} for result in results]}


def account_document(plan: AccountPlan) -> Document:
    """One account of ``plan --json``; ``error`` only where it could not be observed."""
    document: Document = {
        "account": plan.account,
        "quota": fields(plan.quota, "creates_used", "creates_limit", "updates_used", "updates_limit", "reserve"),
        "actions": [action_document(action) for action in plan.actions],
        "skipped": [fields(skip, "secret", "reason", "detail") for skip in plan.skipped],
        "alerts": [alert_document(alert) for alert in plan.alerts],
    }
    return document if plan.error is None else document | {"error": plan.error}


def action_document(action: Action) -> Document:
    """One action."""
    named = fields(action, "kind", "secret", "key_id", "reason", "due_at", "deadline", "version_id")
    return named | {"detail": action.detail or None}


def result_document(result: Result) -> Document:
    """One action and its outcome; the new ids only where something was created."""
    new = {name: text for name, text in fields(result, "new_key_id", "new_version_id").items() if text is not None}
    return action_document(result.action) | fields(result, "outcome", "error") | new


def alert_document(alert: Alert) -> Document:
    """One error or warning."""
    return fields(alert, "kind", "secret", "key_id", "detail", "severity")


def status_document(states: Iterable[SecretState], broken: Sequence[AccountPlan]) -> Document:
    """``status --json``; ``errors`` only where an account could not be observed."""
    document: Document = {"secrets": [state_document(state) for state in states]}
    errors = errors_of(broken)
    return document | {"errors": errors} if errors else document


def state_document(state: SecretState) -> Document:
    """One managed secret."""
    known = fields(state, "account", "secret", "key_id", "version_id", "state", "expires_at", "days_left")
    coming = fields(state, "next_action", "next_action_at", "hold", "overdue")
    return known | coming | {"retiring": [fields(item, "key_id", "revoke_at") for item in state.retiring]}
