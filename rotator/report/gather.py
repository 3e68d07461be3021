"""What a report tells of an account: each secret's dates, the plan's alerts, the forecast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rotator.durations import plus
from rotator.model import AccountPlan, AccountSnapshot, Policy
from rotator.policy.forecast import AccountForecast, forecast_account
from rotator.policy.planner import make_view, plan_account
from rotator.policy.rules import renew_at
from rotator.policy.status import URGENCY, SecretState, states


@dataclass(frozen=True, slots=True)
class SecretRow:
    """A line of the timeline.

    :param begins: when its key was made, as far as Infobip tells.
    :param due: when its rotation is due; ``None``: never.
    :param grace_until: until when its key would live on if it were rotated on that day.
    """

    state: SecretState
    begins: datetime | None
    due: datetime | None
    grace_until: datetime | None


@dataclass(frozen=True, slots=True)
class AccountReport:
    """One account; without rows and forecast where it could not be observed, which ``plan.error`` tells."""

    plan: AccountPlan
    rows: tuple[SecretRow, ...] = ()
    forecast: AccountForecast | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All of it.

    :param audit: parsed audit lines, the newest first; ``None`` where no file was given.
    :param audit_skipped: how many lines of the file's end could not be read.
    """

    generated_at: datetime
    deployment: str
    accounts: tuple[AccountReport, ...]
    audit: tuple[Mapping[str, Any], ...] | None = None
    audit_skipped: int = 0


def gather_account(snapshot: AccountSnapshot, policy: Policy, now: datetime, *, days: int) -> AccountReport:
    """One account as it is, as it is planned, and as it will be."""
    plan = plan_account(snapshot, policy, now)
    if plan.error is not None:
        return AccountReport(plan)
    views = {entry.name: make_view(snapshot, entry) for entry in snapshot.secrets}
    rows = []
    for state in states(snapshot, plan.actions, now):
        view = views[state.secret]
        due = renew_at(view)
        grace = None if due is None or view.spec is None else plus(max(due, now), view.spec.grace)
        rows.append(SecretRow(state, view.key.valid_from if view.key else None, due, grace))
    rows.sort(key=_urgency)
    return AccountReport(plan, tuple(rows), forecast_account(snapshot, policy, now, days=days))


def _urgency(row: SecretRow) -> tuple[int, float, str]:
    left = row.state.days_left
    return URGENCY.index(row.state.state), float("inf") if left is None else left, row.state.secret
