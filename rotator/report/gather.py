"""Gather a report's data about an account: each secret's dates, the plan's alerts, the forecast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from rotator.durations import plus
from rotator.model import AccountSnapshot, Policy, Which
from rotator.plan import AccountPlan
from rotator.policy.forecast import AccountForecast, forecast_account
from rotator.policy.planner import plan_account
from rotator.policy.rules import make_view, renew_at
from rotator.policy.status import URGENCY, SecretState, State, states

URGENT_WITHIN: Final = timedelta(days=30)
"""A key that expires within this time, and that no rotation will replace in time, is urgent."""
URGENT_STATES: Final = frozenset({State.EXPIRED, State.BROKEN, State.MISCONFIGURED})
_ATTENTION: Final = frozenset({State.UNADOPTED, State.EMPTY})


class RowLevel(StrEnum):
    """Whether a secret needs a person; the values are the page's classes."""

    URGENT = "bad"
    ATTENTION = "warn"
    NONE = ""


@dataclass(frozen=True, slots=True)
class SecretSpan:
    """A line of the timeline.

    :param begins: when its key was created, if Infobip shows it.
    :param due: when its rotation is due; ``None``: never.
    :param grace_until: the end of its key's grace period if it is rotated when due.
    """

    state: SecretState
    begins: datetime | None
    due: datetime | None
    grace_until: datetime | None
    level: RowLevel = RowLevel.NONE


@dataclass(frozen=True, slots=True)
class AccountReport:
    """One account. It has no rows and no forecast if it could not be read (see ``plan.error``)."""

    plan: AccountPlan
    rows: tuple[SecretSpan, ...] = ()
    forecast: AccountForecast | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the page shows.

    :param audit: parsed audit lines, the newest first; ``None`` if no file was given.
    :param audit_skipped: the number of lines at the file's end that could not be read.
    """

    generated_at: datetime
    deployment: str
    accounts: tuple[AccountReport, ...]
    audit: tuple[Mapping[str, Any], ...] | None = None
    audit_skipped: int = 0


def gather_account(snapshot: AccountSnapshot, policy: Policy, now: datetime, *, days: int) -> AccountReport:
    """Return an account's present state, its plan and its forecast."""
    plan = plan_account(snapshot, policy, now)
    if plan.error is not None:
        return AccountReport(plan)
    forecast = forecast_account(snapshot, policy, now, days=days)
    expiries = {risk.which: risk.expires_at for risk in reversed(forecast.at_risk)}
    views = {entry.which: make_view(snapshot, entry) for entry in snapshot.secrets}
    rows = []
    for state in states(snapshot, plan.actions, now, plan.alerts):
        view = views[state.which]
        due = renew_at(view.spec, view.key)
        grace = None if due is None or view.spec is None else plus(max(due, now), view.spec.grace)
        begins = view.key.valid_from if view.key else None
        rows.append(SecretSpan(state, begins, due, grace, _level(state, expiries, now)))
    rows.sort(key=_urgency)
    return AccountReport(plan, tuple(rows), forecast)


def _level(state: SecretState, expiries: Mapping[Which, datetime], now: datetime) -> RowLevel:
    """Judge by what will happen, not by the state's name. A held key is urgent only if it expires soon.

    :param expiries: by secret, the first expiry of a key that is not replaced in time.
    """
    expires_at = expiries.get(state.which)
    if state.state in URGENT_STATES or state.overdue or (expires_at is not None and expires_at < now + URGENT_WITHIN):
        return RowLevel.URGENT
    return RowLevel.ATTENTION if state.state in _ATTENTION or expires_at is not None else RowLevel.NONE


def _urgency(row: SecretSpan) -> tuple[int, int, float, str]:
    left = row.state.days_left
    position = URGENCY.index(row.state.state)
    return list(RowLevel).index(row.level), position, float("inf") if left is None else left, row.state.title
