"""Revokes several leaked values, each in an emergency of its own; a failure does not stop the others."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from rotator.engine.emergency import Emergency
from rotator.engine.emergency.planning import UnknownValue
from rotator.engine.emergency.targets import EmergencyPlan, EmergencyReport, Strategy, Target
from rotator.errors import ConfigurationError, InternalError, RotatorError
from rotator.leaks import Leak
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


@dataclass
class Intake:
    """Plans and carries out one emergency for each leaked value.

    :param account: only this account is asked; ``None``: all accounts.
    """

    emergency: Emergency
    strategy: Strategy
    account: str | None = None
    dry_run: bool = False

    def go(self, leaks: Iterable[Leak]) -> Iterator[LeakResult]:
        """Handle the leaks in order; each is planned after the previous one is done.

        :raises RotatorError: the audit can't be written, or the configuration is invalid; yielded results stand.
        """
        try:
            for leak in leaks:
                yield self._one(leak)
        finally:
            self.emergency.send_events()  # after the last revocation

    def _one(self, leak: Leak) -> LeakResult:
        plan: EmergencyPlan | None = None
        try:
            plan = self.emergency.plan(Target(account=self.account, leaked=leak.value), self.strategy)
            report = self.emergency.dry_run(plan) if self.dry_run else self.emergency.execute(plan, hold_events=True)
        except (AuditUnavailable, ConfigurationError):
            raise
        except UnknownValue as error:
            return LeakResult(leak, LeakOutcome.NOT_OURS, detail=error.message)
        except RotatorError as error:
            return LeakResult(leak, LeakOutcome.FAILED, plan, detail=str(error))
        except Exception as error:  # even after a bug the other keys must be revoked
            _LOG.debug("unexpected", exc_info=error)
            detail = InternalError.of(error, "the look-up of a leaked value").message
            return LeakResult(leak, LeakOutcome.FAILED, plan, detail=detail)
        outcome = LeakOutcome.PLANNED if self.dry_run else LeakOutcome.REVOKED
        if plan.named is not None and not plan.named.key.enabled and not plan.replaced:
            outcome = LeakOutcome.DISABLED
        if not report.ok and not self.dry_run:
            outcome = LeakOutcome.FAILED
        detail = "" if outcome is LeakOutcome.DISABLED else "; ".join(report.errors)
        return LeakResult(leak, outcome, plan, report, detail)
