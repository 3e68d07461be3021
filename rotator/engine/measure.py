"""Measures one account's sweep for whoever wants to know; a sweep is never disturbed by it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from rotator.engine.context import Budget, Services
from rotator.model import AccountPlan, AccountSnapshot, Outcome, Quota, Result
from rotator.telemetry.metrics import Report, count_samples, no_counts, state_samples, sweep_samples

_LOG = logging.getLogger(__name__)


class Meter:
    """One account's sweep, from its beginning. Does nothing where the services have no metrics; never raises."""

    def __init__(self, services: Services, account: str) -> None:
        self._metrics = services.metrics
        self._clock = services.clock
        self._account = account
        self._snapshot: AccountSnapshot | None = None
        self._begun = self._clock.now() if self._metrics is not None else None

    def before(self, snapshot: AccountSnapshot, plan: AccountPlan) -> None:
        """The account was observed and planned; nothing was changed yet."""
        self._snapshot = snapshot

        def report(now: datetime) -> Report:
            return Report(self._account, now, state_samples(snapshot, plan, now), counts=no_counts())

        self._publish(report)

    def after(self, plan: AccountPlan, results: tuple[Result, ...], budget: Budget | None = None) -> None:
        """The work is over. ``budget`` is what the work left of the plan's."""

        def report(now: datetime) -> Report:
            state = None
            if self._snapshot is not None and plan.error is None:
                state = state_samples(self._snapshot, plan, now, results, _left(plan.quota, budget))
            failed = any(result.outcome is Outcome.FAILED for result in results)
            sweep = sweep_samples(plan.ran_through and not failed, self._begun or now, now)
            return Report(self._account, now, state, sweep, count_samples(plan, results))

        self._publish(report)

    def _publish(self, report: Callable[[datetime], Report]) -> None:
        if self._metrics is None:
            return
        try:
            self._metrics.publish(report(self._clock.now()))
        except Exception as error:  # what measures must not stop what it measures
            _LOG.warning("metrics of account %s were not published: %s", self._account, type(error).__name__)
            _LOG.debug("unexpected", exc_info=error)


def _left(quota: Quota, budget: Budget | None) -> Quota:
    """The quota after the work; a budget without a limit tells nothing."""
    if budget is None or budget.creates is None or budget.updates is None:
        return quota
    used = None if quota.updates_used is None else quota.updates_used + budget.updates.taken
    return replace(quota, creates_used=quota.creates_used + budget.creates.taken, updates_used=used)
