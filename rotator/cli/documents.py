"""Results as JSON: the field names that users' automation relies on. Times are ``2026-12-01T10:00:00Z``, ids whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Final, NotRequired, TypedDict

from rotator.message import Message, utc_text
from rotator.model import OfSecret, location_fields
from rotator.plan import AccountPlan, Action, ActionKind, Alert, Outcome, Plan, Quota, Result, Severity, Skip
from rotator.policy.forecast import AtRisk
from rotator.policy.lifecycle import Retiring
from rotator.policy.status import SecretState, State
from rotator.reasons import Reason

Document = dict[str, Any]
Time = Annotated[str, "time"]
"""``2026-12-01T10:00:00Z``."""
Date = Annotated[str, "date"]
"""``2026-12-01``."""


class ProblemShape(TypedDict):
    """What went wrong, and what to do."""

    message: str
    advice: str | None


class ErrorDocument(TypedDict):
    """In place of a command's own document, if it failed before it had one."""

    error: ProblemShape


class AccountError(TypedDict):
    """An account that could not be read."""

    account: str
    error: str


class QuotaShape(TypedDict):
    """An account's daily quota. The use is null where it was not counted."""

    creates_used: int | None
    creates_limit: int
    updates_used: int | None
    updates_limit: int
    reserve: int


class OfSecretShape(TypedDict):
    """What is about one secret; its AWS account's id and region only if there is more than one store."""

    aws_account: NotRequired[str]
    region: NotRequired[str]


class ActionShape(OfSecretShape):
    """A change that a sweep makes."""

    kind: ActionKind
    secret: str
    key_id: str | None
    reason: Reason
    due_at: Time
    deadline: Time | None
    version_id: str | None
    detail: str | None


class SkipShape(OfSecretShape):
    """A secret that is skipped."""

    secret: str
    reason: Reason
    detail: str


class AlertShape(OfSecretShape):
    """Something that a person must know."""

    kind: Reason
    secret: str | None
    key_id: str | None
    detail: str
    severity: Severity


class AccountPlanShape(TypedDict):
    """One account: actions in the order in which they are done."""

    account: str
    quota: QuotaShape
    actions: list[ActionShape]
    skipped: list[SkipShape]
    alerts: list[AlertShape]
    error: NotRequired[str]


class PlanDocument(TypedDict):
    """``plan``."""

    generated_at: Time
    accounts: list[AccountPlanShape]


class ResultShape(ActionShape):
    """An action and its outcome."""

    outcome: Outcome
    error: str | None
    new_key_id: NotRequired[str]
    new_version_id: NotRequired[str]


class AccountResultShape(ResultShape):
    """An action, its outcome and its account."""

    account: str


class SweptAccount(AccountPlanShape):
    """One account of a sweep."""

    results: list[ResultShape]


class ResultsDocument(TypedDict):
    """``rotate``, ``adopt``."""

    results: list[AccountResultShape]


class SweepDocument(TypedDict):
    """``run``: the plan with its results, by account and all together."""

    generated_at: Time
    accounts: list[SweptAccount]
    results: list[AccountResultShape]


class RetiringShape(TypedDict):
    """A key in its grace period."""

    key_id: str
    revoke_at: Time


class SecretStateShape(OfSecretShape):
    """One managed secret."""

    account: str
    secret: str
    key_id: str | None
    version_id: str | None
    state: State
    expires_at: Time | None
    days_left: float | None
    next_action: ActionKind | None
    next_action_at: Time | None
    hold: str | None
    overdue: bool
    retiring: list[RetiringShape]


class AtRiskShape(OfSecretShape):
    """A key that expires before it is replaced."""

    secret: str
    key_id: str | None
    expires_at: Time
    reason: Reason
    too_late_from: Time
    replaced_at: Time | None


_SHAPES: Final[dict[type, Any]] = {
    Plan: PlanDocument,
    AccountPlan: AccountPlanShape,
    Quota: QuotaShape,
    Skip: SkipShape,
    Alert: AlertShape,
    SecretState: SecretStateShape,
    Retiring: RetiringShape,
    AtRisk: AtRiskShape,
}
"""Parts of the model that are shown with some of their fields; others are shown with all."""
_LOCATION: Final = OfSecretShape.__annotations__.keys()


def time_text(moment: datetime | None) -> str | None:
    """A time in UTC to the second, or ``None``."""
    return None if moment is None else utc_text(moment)


def as_json(value: object) -> Any:
    """Return times, constants and messages as strings, dataclasses as objects, the rest unchanged."""
    match value:
        case datetime():
            return time_text(value)
        case Enum() | Message():
            return str(value)
        case list() | tuple():
            return [as_json(each) for each in value]
        case _ if not dataclasses.is_dataclass(value):
            return value
        case Action():
            return shaped(ActionShape, value, detail=value.detail or None)
    found = shaped(_SHAPES.get(type(value), type(value)), value)
    if isinstance(value, AccountPlan) and value.error is None:  # it is there only if the account could not be read
        del found["error"]
    return found


def shaped(shape: type, item: object, **given: object) -> Document:
    """Return the fields of a shape: those given, and for the others the item's attributes of these names."""
    if isinstance(item, OfSecret):
        given |= location_fields(item.location)
    names = [name for name in shape.__annotations__ if name in given or name not in _LOCATION]
    return {name: as_json(given[name] if name in given else getattr(item, name)) for name in names}


def fields(item: object, *names: str) -> Document:
    """These attributes of an object, by name."""
    return {name: as_json(getattr(item, name)) for name in names}


def errors_field(plans: Iterable[AccountPlan]) -> Document:
    """Return the accounts that could not be read, as ``errors``; empty if there are none."""
    errors = [fields(plan, "account", "error") for plan in plans if plan.error is not None]
    return {"errors": errors} if errors else {}


def sweep_document(plan: Plan, results: Sequence[Result]) -> Document:
    """``run --json``: the plan with its results, by account and all together."""
    document: Document = as_json(plan)
    for account in document["accounts"]:
        account["results"] = [_result(each) for each in results if each.action.account == account["account"]]
    return document | results_document(results)


def results_document(results: Sequence[Result]) -> Document:
    """Results of any accounts."""
    return {"results": [{"account": result.action.account, **_result(result)} for result in results]}


def _result(result: Result) -> Document:
    """One action and its outcome; the new ids only if something was created."""
    made = result.promoted
    new = {"new_key_id": made.key_id, "new_version_id": made.version_id} if made is not None else {}
    action: Document = as_json(result.action)
    return action | fields(result, "outcome", "error") | new
