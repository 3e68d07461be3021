"""A sweep's result: whether it succeeded, its numbers and sentences for logs and answers, and its metrics."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from rotator.engine.context import Budget, Services
from rotator.errors import RotatorError
from rotator.model import AccountSnapshot, SecretEntry
from rotator.plan import AccountPlan, Alert, Outcome, Plan, Quota, Result, Severity
from rotator.policy.values import recorded_end
from rotator.ports import SecretStore
from rotator.reasons import Reason
from rotator.secret import Secret
from rotator.telemetry.metrics import AccountMetrics, count_samples, state_samples, sweep_samples

_LOG = logging.getLogger(__name__)
ACTOR: Final = "scheduler"
"""The actor in the audit if no person acts."""
MOST_VALUES_READ: Final = 500
"""Per account; the expiries of further ones count as not recorded."""
NO_ACCOUNT: Final = "(no account)"
"""The account that is shown for secrets whose tags name none."""


@dataclass(frozen=True, slots=True)
class FirstExpiry:
    """Which of an account's keys expires first, by what the secrets' values record.

    :param recorded: how many of its ``secrets`` record an expiry.
    """

    at: datetime
    secret: str
    recorded: int
    secrets: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep's plan and its results.

    :param expiries: by account that could not be swept, if that was asked for and any value records an expiry.
    """

    plan: Plan
    results: tuple[Result, ...] = ()
    expiries: Mapping[str, FirstExpiry] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether it succeeded and leaves nothing to be fixed."""
        return self.succeeded and not any(map(errors_in, self.plan.accounts))

    @property
    def succeeded(self) -> bool:
        """Whether every account was swept without a failure (exit code 0).

        A secret with a wrong tag has its own alert. It must not hide for weeks whether sweeps still run.
        """
        failed = any(result.outcome is Outcome.FAILED for result in self.results)
        done = any(result.outcome is Outcome.DONE for result in self.results)
        stuck = any(a.kind is Reason.OVERDUE and a.by_account for plan in self.plan.accounts for a in plan.alerts)
        return not failed and (done or not stuck) and all(plan.ran_through for plan in self.plan.accounts)


def first_expiry(store: SecretStore, entries: Iterable[SecretEntry]) -> FirstExpiry | None:
    """Return when the first key expires, by the values of the first :data:`MOST_VALUES_READ` secrets."""
    present = [entry for entry in entries if entry.deleted_at is None]
    try:
        values = store.read_many([entry.arn for entry in present[:MOST_VALUES_READ]])
    except RotatorError:
        return None
    texts = [(entry.name, text) for entry in present if isinstance(text := values.get(entry.arn), Secret)]
    recorded = sorted((at, name) for name, text in texts if (at := recorded_end(text)) is not None)
    return FirstExpiry(*recorded[0], len(recorded), len(present)) if recorded else None


def errors_in(plan: AccountPlan) -> tuple[Alert, ...]:
    """An account's alerts that an operator must fix."""
    return tuple(alert for alert in plan.alerts if alert.severity is Severity.ERROR)


def counts(done: Sweep) -> dict[str, int]:
    """A sweep in numbers. ``planned`` counts all actions; ``done``, ``failed`` and ``deferred`` are their outcomes."""
    plans = [plan for plan in done.plan.accounts if plan.account != NO_ACCOUNT]
    outcomes = Counter(result.outcome for result in done.results)
    return {
        "accounts": len(plans),
        "accounts_failed": sum(1 for plan in plans if plan.error is not None),
        "planned": sum(len(plan.actions) for plan in plans),
        "done": outcomes[Outcome.DONE],
        "failed": outcomes[Outcome.FAILED],
        "deferred": outcomes[Outcome.DEFERRED],
        "skipped": sum(len(plan.skipped) for plan in plans),
        "alerts": sum(len(plan.alerts) for plan in done.plan.accounts),
    }


def problems(done: Sweep) -> Iterator[str]:
    """Yield what failed and what an operator must fix, in sentences."""
    for plan in done.plan.accounts:
        if plan.error is not None:
            yield f"account {plan.account} was not swept: {plan.error}"
    for result in done.results:
        if result.outcome is Outcome.FAILED:
            yield f"{result.action.kind} of {result.action.title} failed: {result.error}"
    yield from errors_of(done.plan.accounts)


def errors_of(plans: Iterable[AccountPlan]) -> Iterator[str]:
    """Yield one sentence for each error that an operator must fix."""
    for plan in plans:
        for alert in errors_in(plan) if plan.error is None else ():
            yield f"{alert.title or plan.account}: {alert.kind}: {alert.detail}"


def measure(
    services: Services,
    begun: datetime,
    plan: AccountPlan,
    results: tuple[Result, ...],
    snapshot: AccountSnapshot | None,
    budget: Budget | None,
) -> None:
    """Publish an account's metrics after its sweep, if the services have metrics; never raises.

    :param snapshot: the plan's snapshot, if the account could be observed.
    :param budget: the daily budget after the work, if there was any.
    """
    if services.metrics is None:
        return
    try:
        now = services.clock.now()
        state = None
        if snapshot is not None and plan.error is None:
            state = state_samples(snapshot, plan, now, results, _left(plan.quota, budget))
        failed = any(result.outcome is Outcome.FAILED for result in results)
        timing = sweep_samples(plan.ran_through and not failed, begun, now)
        services.metrics.publish(AccountMetrics(plan.account, now, state, timing, count_samples(plan, results)))
    except Exception as error:  # metrics must not stop the work
        _LOG.warning("metrics of account %s were not published: %s", plan.account, type(error).__name__)
        _LOG.debug("unexpected", exc_info=error)


def _left(quota: Quota, budget: Budget | None) -> Quota:
    """The quota after the work, if the budget has limits."""
    if budget is None or budget.creates is None or budget.updates is None:
        return quota
    if quota.creates_used is None or quota.updates_used is None:
        return quota
    creates, updates = quota.creates_used + budget.creates.taken, quota.updates_used + budget.updates.taken
    return replace(quota, creates_used=creates, updates_used=updates)
