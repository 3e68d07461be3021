"""Revokes several leaked values, each in an emergency of its own; a failure does not stop the others."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from rotator.engine.emergency import Emergency
from rotator.engine.emergency.planning import UnknownValue
from rotator.engine.emergency.targets import EmergencyPlan, EmergencyReport, Strategy, Target
from rotator.errors import ConfigurationError, InternalError
from rotator.leaks import Leak
from rotator.secret import Secret
from rotator.telemetry.audit import AuditUnavailable

_LOG = logging.getLogger(__name__)


class LeakOutcome(StrEnum):
    """The outcome for one leaked value."""

    PLANNED = "planned"
    REVOKED = "revoked"
    DISABLED = "disabled-already"
    NOT_OURS = "not-ours"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class LeakResult:
    """One leaked value and its outcome.

    :param report: what was done, or would be; ``None`` if the plan failed.
    :param outcome: the key's own: what failed for a secret that contains it is in ``detail``.
    :param detail: why nothing was done, or what failed; a sentence without any value.
    """

    leak: Leak
    outcome: LeakOutcome
    plan: EmergencyPlan | None = None
    report: EmergencyReport | None = None
    detail: str = ""

    @property
    def key_id(self) -> str | None:
        """The key that the value belongs to, if an account knows it."""
        return self.plan.named.key.id if self.plan is not None and self.plan.named is not None else None


def revoke_each(
    emergency: Emergency,
    leaks: Iterable[Leak],
    strategy: Strategy,
    account: str | None = None,
    *,
    dry_run: bool = False,
) -> Iterator[LeakResult]:
    """Plan and carry out one emergency for each leaked value, in order, each after the previous one is done.

    A value that no account knows in lower case is searched for as spelt.

    :param account: only this account is asked; ``None``: all accounts.
    :raises RotatorError: the audit can't be written, or the configuration is invalid; yielded results stand.
    """
    try:
        for leak in leaks:
            lower = replace(leak, value=Secret(leak.value.reveal().lower()))  # as Infobip writes keys
            result = _revoke_leak(emergency, lower, strategy, account, dry_run=dry_run)
            if result.outcome is LeakOutcome.NOT_OURS and leak.value != lower.value:
                result = _revoke_leak(emergency, leak, strategy, account, dry_run=dry_run)
            yield result
    finally:
        emergency.send_events()  # after the last revocation


def _revoke_leak(
    emergency: Emergency, leak: Leak, strategy: Strategy, account: str | None, *, dry_run: bool
) -> LeakResult:
    plan: EmergencyPlan | None = None
    try:
        plan = emergency.plan(Target(account=account, leaked=leak.value), strategy)
        report = emergency.dry_run(plan) if dry_run else emergency.execute(plan, hold_events=True)
    except (AuditUnavailable, ConfigurationError):
        raise
    except UnknownValue as error:
        return LeakResult(leak, LeakOutcome.NOT_OURS, detail=error.message)
    except Exception as error:  # even after a bug the other keys must be revoked
        _LOG.debug("failed", exc_info=error)
        detail = str(InternalError.unless_known(error, "the look-up of a leaked value"))
        return LeakResult(leak, LeakOutcome.FAILED, plan, detail=detail)
    outcome = LeakOutcome.PLANNED if dry_run else LeakOutcome.REVOKED
    if plan.named is not None and not plan.named.key.enabled and not plan.replaced:
        outcome = LeakOutcome.DISABLED
    if not dry_run and not _named_is_revoked(plan, report):
        outcome = LeakOutcome.FAILED
    detail = "" if outcome is LeakOutcome.DISABLED else "; ".join(report.errors)
    return LeakResult(leak, outcome, plan, report, detail)


def _named_is_revoked(plan: EmergencyPlan, report: EmergencyReport) -> bool:
    """Whether the leaked key itself is verified to be revoked, whatever failed for a secret that contains it."""
    named = plan.named.key.id if plan.named is not None else None
    return any(step.suspect is not None and step.key_id == named and step.verified for step in report.steps)
