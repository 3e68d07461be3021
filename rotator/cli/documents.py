"""Results as JSON: the field names that users' automation relies on. Times are ``2026-12-01T10:00:00Z``, ids whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Final

from rotator.cli.shapes import (
    AccountPlanShape,
    ActionShape,
    AlertShape,
    AtRiskShape,
    OfSecretShape,
    PlanDocument,
    QuotaShape,
    RetiringShape,
    SecretStateShape,
    SkipShape,
)
from rotator.message import Message, utc_text
from rotator.model import AccountPlan, Action, Alert, OfSecret, Plan, Quota, Result, Skip, location_fields
from rotator.policy.forecast import AtRisk
from rotator.policy.lifecycle import Retiring
from rotator.policy.status import SecretState

Document = dict[str, Any]
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
    new = {name: text for name, text in fields(result, "new_key_id", "new_version_id").items() if text is not None}
    action: Document = as_json(result.action)
    return action | fields(result, "outcome", "error") | new
