"""Many leaked values at once: each is looked up, and ended, as a single one is; one that fails stops no other."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from rotator.engine.emergency import Emergency
from rotator.engine.emergency.findings import Leak
from rotator.engine.emergency.outcome import EmergencyReport
from rotator.engine.emergency.plan import UnknownValue
from rotator.engine.emergency.targets import EmergencyPlan, Strategy, Target
from rotator.errors import ConfigurationError, InternalError, RotatorError
from rotator.telemetry.audit import AuditUnavailable

_LOG = logging.getLogger(__name__)


class LeakOutcome(StrEnum):
    """What became of one leaked value."""

    PLANNED = "planned"
    ENDED = "ended"
    COVERED = "covered"
    DEAD = "dead-already"
    NOT_OURS = "not-ours"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class LeakResult:
    """One leaked value and what became of it.

    :param plan: what would be or was done; ``None`` where nothing is to be done for this value by itself.
    :param report: what was done.
    :param detail: why nothing was, or what went wrong; as a sentence without any value.
    """

    leak: Leak
    outcome: LeakOutcome
    plan: EmergencyPlan | None = None
    report: EmergencyReport | None = None
    detail: str = ""

    @property
    def key_id(self) -> str | None:
        """The key that the value belongs to, where an account knows it."""
        return self.plan.named if self.plan is not None else None


@dataclass
class Intake:
    """Plans, or carries out, one emergency for each leaked value.

    :param account: only this account is asked; ``None``: every one.
    """

    emergency: Emergency
    strategy: Strategy
    account: str | None = None
    _ending: set[str] = field(default_factory=set)

    def go(self, leaks: Iterable[Leak], *, confirmed: bool) -> Iterator[LeakResult]:
        """One after another, in order; each is planned when the one before it is done.

        Two leaked keys of one secret end together: the second is then covered by the first, and not replaced again.

        :param confirmed: do it, rather than only look.
        :raises RotatorError: nothing can be written down, or nothing is configured; what was yielded was done.
        """
        try:
            yield from self._each(leaks, confirmed=confirmed)
        finally:
            self.emergency.send_events()  # no event before the last kill

    def _each(self, leaks: Iterable[Leak], *, confirmed: bool) -> Iterator[LeakResult]:
        for leak in leaks:
            try:
                plan = self._plan(leak)
            except (AuditUnavailable, ConfigurationError):
                raise
            except UnknownValue as error:
                yield LeakResult(leak, LeakOutcome.NOT_OURS, detail=error.message)
                continue
            except RotatorError as error:
                yield LeakResult(leak, LeakOutcome.FAILED, detail=str(error))
                continue
            except Exception as error:  # whatever it is, the other keys must die
                _LOG.debug("unexpected", exc_info=error)
                told = InternalError.of(error, "the look-up of a leaked value").message
                yield LeakResult(leak, LeakOutcome.FAILED, detail=told)
                continue
            yield self._one(leak, plan, confirmed=confirmed)

    def _plan(self, leak: Leak) -> EmergencyPlan:
        (plan,) = self.emergency.plan(Target(account=self.account, leaked=leak.value), self.strategy)
        return plan

    def _one(self, leak: Leak, plan: EmergencyPlan, *, confirmed: bool) -> LeakResult:
        if plan.named in self._ending:
            return LeakResult(leak, LeakOutcome.COVERED, plan, detail="it ends with another key of this report")
        if not plan.revocations and not plan.replaced:
            return LeakResult(leak, LeakOutcome.DEAD, plan, detail="; ".join(plan.notes))
        if not confirmed:
            try:
                plan = self.emergency.preview(plan)
            except RotatorError as error:
                return LeakResult(leak, LeakOutcome.FAILED, plan, detail=str(error))
            self._ending |= {revocation.key_id for revocation in plan.revocations}
            return LeakResult(leak, LeakOutcome.PLANNED, plan)
        report = self.emergency.execute(plan, hold_events=True)
        self._ending |= set(report.revoked)
        outcome = LeakOutcome.ENDED if report.ok else LeakOutcome.FAILED
        return LeakResult(leak, outcome, plan, report, "; ".join(report.errors))
