"""A sweep in numbers and sentences, for the logs and answers of what runs unattended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from rotator.engine.reconcile import NO_ACCOUNT, Sweep
from rotator.model import AccountPlan, Outcome, Severity

ACTOR: Final = "scheduler"
"""Who acts in the audit where no person does."""


def counts(done: Sweep) -> dict[str, int]:
    """A sweep in numbers. ``planned`` are all actions; what became of them is ``done``, ``failed`` and ``deferred``."""
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
    """What failed, and what is to be fixed, in sentences."""
    for plan in done.plan.accounts:
        if plan.error is not None:
            yield f"account {plan.account} was not swept: {plan.error}"
    for result in done.results:
        if result.outcome is Outcome.FAILED:
            yield f"{result.action.kind} of {result.action.secret} failed: {result.error}"
    yield from errors_of(done.plan.accounts)


def errors_of(plans: Iterable[AccountPlan]) -> Iterator[str]:
    """What is to be fixed, by a sentence each."""
    for plan in plans:
        for alert in plan.alerts if plan.error is None else ():
            if alert.severity is Severity.ERROR:
                yield f"{alert.secret or plan.account}: {alert.kind}: {alert.detail}"
