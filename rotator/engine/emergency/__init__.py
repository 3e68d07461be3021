"""Emergency revocation of a secret, one key or a leaked value: the plan, the dry run and the execution.

Nothing waits for a grace period, a hold or a window, and the daily reserve is used. Repeating a command is harmless:
with an incident's name no second replacement is made for 24 hours, and after that the name is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rotator.engine.context import Services
from rotator.engine.emergency.execution import Execution
from rotator.engine.emergency.incident import Incident
from rotator.engine.emergency.planning import Accounts, Planner
from rotator.engine.emergency.revoker import VERIFY_TIMEOUT
from rotator.engine.emergency.targets import (
    EmergencyPlan,
    EmergencyReport,
    Step,
    StepKind,
    Strategy,
    Target,
    emergency_document,
)
from rotator.errors import InternalError, RotatorError
from rotator.telemetry.consumer_events import EMERGENCY, publish

__all__ = [
    "VERIFY_TIMEOUT",
    "Emergency",
    "EmergencyPlan",
    "EmergencyReport",
    "Step",
    "StepKind",
    "Strategy",
    "Target",
    "emergency_document",
]


class Emergency:
    """Plans and carries out one emergency revocation.

    :param reason: the operator's own words, for every audit line.
    :param incident: the operator's name for the incident; a command with the same one is a retry for 24 hours.
    :param chosen: whether a person gave it that name; by default, whether there is one.
    """

    def __init__(
        self, services: Services, reason: str, incident: str | None = None, *, chosen: bool | None = None
    ) -> None:
        self.reason, self.incident = reason, incident
        self._chosen = incident is not None if chosen is None else chosen
        self._record = _Record(services, {"reason": reason, "incident": incident})
        self.services = dataclasses.replace(services, audit=self._record, events=self._record)
        self._accounts = Accounts(self.services)

    def plan(self, target: Target, strategy: Strategy) -> EmergencyPlan:
        """Plan the revocation. Changes nothing.

        :raises RotatorError: the target is unknown, its key is not known, or it is provably none of ours.
        """
        try:
            return Planner(self.services, self._accounts, strategy, self.incident, self._chosen).plan(target)
        except RotatorError as error:
            fields = {"account": target.account, "secret": target.secret, "key_id": target.key_id}
            self.services.audit.emit("emergency.requested", "attempt", **fields, strategy=str(strategy))
            self.services.audit.emit("emergency.completed", "denied", **fields, error=error)
            raise
        finally:
            self._accounts.close()

    def dry_run(self, plan: EmergencyPlan) -> EmergencyReport:
        """Report what :meth:`execute` would do. Makes all the checks that it makes, and changes nothing.

        :raises RotatorError: Infobip can't be asked.
        """
        report = EmergencyReport(plan.account, plan.strategy, True, list(plan.notes))
        nothing = _Record(self.services, {}, muted=True)
        try:
            self._carry_out(dataclasses.replace(self.services, audit=nothing, events=nothing), plan, report)
        except RotatorError as error:
            again = "Repeat the command; the execution tries in any case."
            error.advice = error.advice or f"Nothing was changed. {again} Or disable the key in Infobip's portal."
            raise
        return report

    def execute(self, plan: EmergencyPlan, *, hold_events: bool = False) -> EmergencyReport:
        """Carry out a plan. A failure on the way is not raised: it is in the report, and the rest goes on.

        :param hold_events: keep the events until :meth:`send_events`, because there are more keys to revoke.
        :raises AuditUnavailable: the request could not be written to the audit; nothing was changed.
        """
        try:
            return self._execute(plan)
        finally:
            if not hold_events:
                self.send_events()

    def send_events(self) -> None:
        """Send the events of what was done so far; never raises."""
        self._record.release()

    def _execute(self, plan: EmergencyPlan) -> EmergencyReport:
        audit, clock = self.services.audit, self.services.clock
        report = EmergencyReport(plan.account, plan.strategy, False, list(plan.notes))
        begun = clock.now()
        first = plan.revocations[0] if plan.revocations else None
        secret = plan.secret.name if plan.secret else first.secret if first else None
        fields = {"account": plan.account, "secret": secret, "key_id": plan.named}
        audit.emit("emergency.requested", "attempt", **fields, strategy=str(plan.strategy))
        try:
            self._carry_out(self.services, plan, report)
        except RotatorError as failure:
            report.errors.append(str(failure))
        except Exception as mistake:  # the end is written to the audit even after a bug
            report.errors.append(f"{InternalError.of(mistake, 'the emergency').message}. Repeat the command.")
        outcome = "success" if report.ok else "failure"
        done = {"revoked": list(report.revoked), "replaced": list(report.replaced)}
        duration = int((clock.now() - begun).total_seconds() * 1000)
        error = "; ".join(report.errors) or None
        audit.emit("emergency.completed", outcome, **fields, error=error, **done, duration_ms=duration)
        # The event shows the key that was named, or else the one that was current, with its secret and version.
        leaked = plan.named_revocation or first
        arn = plan.secret.arn if plan.secret else leaked.arn if leaked else None
        where = {"secret_arn": arn or None, "version_id": leaked.version_id if leaked else None}
        event = {**fields, **where, "key_id": leaked.key_id if leaked else plan.named, **done}
        publish(self.services.events, EMERGENCY, **event, strategy=str(plan.strategy), outcome=outcome, error=error)
        return report

    def _carry_out(self, services: Services, plan: EmergencyPlan, report: EmergencyReport) -> None:
        if plan.revocations or plan.replaced:
            begun = services.clock.now()
            try:
                provider = self._accounts.provider(plan.fleet, plan.account)
                Execution(Incident(services, provider, plan, report, self.reason, self.incident, begun)).execute()
            finally:
                self._accounts.close()


class _Record:
    """The audit and the events of one emergency. ``bound`` fields are added to each, and override its own.

    Events are kept until they are released: no revocation waits for a slow event bus.

    :param muted: for a dry run: nothing is done, so nothing is written to the audit.
    """

    def __init__(self, services: Services, bound: Mapping[str, str | None], *, muted: bool = False) -> None:
        self._audit, self._events, self._muted = services.audit, services.events, muted
        self._bound = {name: value for name, value in bound.items() if value is not None}
        self._held: list[tuple[str, dict[str, Any]]] = []

    def emit(self, event: str, outcome: str, **fields: Any) -> None:
        """Write one line."""
        if not self._muted:
            self._audit.emit(event, outcome, **{**fields, **self._bound})

    def send(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        """Keep one event."""
        self._held.append((detail_type, {**detail, **self._bound}))

    def release(self) -> None:
        """Send everything that was kept, in order; never raises."""
        held, self._held = self._held, []
        for detail_type, detail in held:
            self._events.send(detail_type, detail)
