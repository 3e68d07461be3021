"""Emergency revocation of a secret, one key or a leaked value: plan, dry run and execution.

Nothing waits for a grace period, a hold or a window, and the daily reserve is used. A command can be repeated: with
the same incident number no second replacement is created for 24 hours, and after that the number is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from rotator.audit_events import Event
from rotator.engine.context import Services
from rotator.engine.emergency.accounts import Accounts
from rotator.engine.emergency.execution import Execution
from rotator.engine.emergency.facts import Facts
from rotator.engine.emergency.incident import Incident
from rotator.engine.emergency.planning import Planner
from rotator.engine.emergency.targets import (
    EmergencyPlan,
    EmergencyReport,
    EmergencyStep,
    StepKind,
    Strategy,
    Suspect,
    Target,
    emergency_document,
)
from rotator.engine.observe import observe_fleet
from rotator.errors import InternalError, RotatorError
from rotator.telemetry.consumer_events import EMERGENCY, publish

__all__ = [
    "Emergency",
    "EmergencyPlan",
    "EmergencyReport",
    "EmergencyStep",
    "StepKind",
    "Strategy",
    "Target",
    "emergency_document",
    "not_revoked",
]


class Emergency:
    """Plans and carries out one emergency revocation, or several for one report of leaked keys.

    :param reason: the operator's own words, for every audit line.
    :param incident: the incident number; repeating it within 24 hours is a retry.
    :param chosen: whether a person chose that number; by default, whether there is one.
    :param on_step: called with each step of an execution as soon as it is done.
    """

    def __init__(
        self,
        services: Services,
        reason: str,
        incident: str | None = None,
        *,
        chosen: bool | None = None,
        on_step: Callable[[EmergencyStep], None] = lambda _: None,
    ) -> None:
        self.reason, self.incident = reason, incident
        self._chosen = incident is not None if chosen is None else chosen
        self._on_step = on_step
        self._record = _Record(services, {"reason": reason, "incident": incident})
        self.services = dataclasses.replace(services, audit=self._record, events=self._record)
        self._started: Incident | None = None
        self.running: tuple[EmergencyPlan, EmergencyReport] | None = None
        """The plan that is being executed and its report so far, if the execution was interrupted."""

    def plan(self, target: Target, strategy: Strategy) -> EmergencyPlan:
        """Plan the revocation. Changes nothing.

        :raises RotatorError: the target is unknown, or cannot be identified.
        """
        try:
            return Planner(self._start(), strategy).plan(target)
        except RotatorError as error:
            fields = {"account": target.account, "secret": target.secret, "key_id": target.key_id}
            self.services.audit.emit(Event.EMERGENCY_REQUESTED, "attempt", **fields, strategy=str(strategy))
            self.services.audit.emit(Event.EMERGENCY_COMPLETED, "denied", **fields, error=error)
            raise
        finally:
            self._close()

    def dry_run(self, plan: EmergencyPlan) -> EmergencyReport:
        """Report what :meth:`execute` would do. Makes the same checks and changes nothing."""
        report = EmergencyReport(plan.account, plan.strategy, True, list(plan.notes))
        nothing = _Record(self.services, {}, muted=True)
        self._carry_out(dataclasses.replace(self.services, audit=nothing, events=nothing), plan, report)
        return report

    def execute(self, plan: EmergencyPlan, *, hold_events: bool = False) -> EmergencyReport:
        """Carry out a plan. A failure is not raised: it is in the report, and the other steps continue.

        :param hold_events: keep the events until :meth:`send_events`, because more keys are to be revoked first.
        :raises AuditUnavailable: the request could not be written to the audit; nothing was changed.
        """
        try:
            return self._execute(plan)
        finally:
            if not hold_events:
                self.send_events()

    def send_events(self) -> None:
        """Send the events of the completed steps; never raises."""
        self._record.release()

    def _execute(self, plan: EmergencyPlan) -> EmergencyReport:
        audit, clock = self.services.audit, self.services.clock
        report = EmergencyReport(plan.account, plan.strategy, False, list(plan.notes), on_step=self._on_step)
        begun = clock.now()
        named = plan.named.key.id if plan.named is not None else None
        fields = {"account": plan.account, **plan.secret_fields, "key_id": named}
        audit.emit(Event.EMERGENCY_REQUESTED, "attempt", **fields, strategy=str(plan.strategy))
        self.running = (plan, report)
        try:
            self._carry_out(self.services, plan, report)
        except Exception as failure:  # the outcome is audited even after a bug
            report.errors.append(str(InternalError.unless_known(failure, "the emergency")))
        self.running = None
        for suspect in not_revoked(plan, report):
            report.errors.append(
                f"key {suspect.key.id} of account {suspect.account} was not revoked. Repeat the command."
            )
        outcome = "success" if report.ok else "failure"
        done = {"revoked": list(report.revoked), "replaced": list(report.replaced)}
        duration = int((clock.now() - begun).total_seconds() * 1000)
        error = "; ".join(report.errors) or None
        audit.emit(Event.EMERGENCY_COMPLETED, outcome, **fields, error=error, **done, duration_ms=duration)
        # The event shows the key that was named, or else the one that was current, with its secret and version.
        leaked = plan.named or next(iter(plan.suspects), None)
        arn = plan.secret.arn if plan.secret else leaked.arn if leaked else None
        where = {"secret_arn": arn or None, "version_id": leaked.version_id if leaked else None}
        event = {**fields, **where, "key_id": leaked.key.id if leaked else None, **done}
        publish(self.services.events, EMERGENCY, **event, strategy=str(plan.strategy), outcome=outcome, error=error)
        return report

    def _carry_out(self, services: Services, plan: EmergencyPlan, report: EmergencyReport) -> None:
        incident = self._start()
        try:
            Execution(services, incident, plan, report, self.reason, services.clock.now()).execute()
        finally:
            self._close()

    def _start(self) -> Incident:
        """What this command has read and created; it lists the secrets once, and reads their values once."""
        if self._started is None:
            facts = Facts(Accounts(self.services, observe_fleet(self.services.store)))
            self._started = Incident(facts, self.incident, self._chosen)
        return self._started

    def _close(self) -> None:
        if self._started is not None:
            self._started.facts.accounts.close()


def not_revoked(plan: EmergencyPlan, report: EmergencyReport) -> list[Suspect]:
    """The suspects of a plan that its report does not show as revoked, or as failed."""
    seen = {step.key_id for step in report.steps if step.what == StepKind.REVOKED}
    return [suspect for suspect in plan.suspects if suspect.key.id not in seen]


class _Record:
    """Audit and event sink of one emergency. ``bound`` fields are added to every line and take precedence.

    Events are kept until they are released: no revocation waits for a slow event bus.

    :param muted: for a dry run: nothing is done, so nothing is written to the audit.
    """

    def __init__(self, services: Services, bound: Mapping[str, str | None], *, muted: bool = False) -> None:
        self._audit, self._events, self._muted = services.audit, services.events, muted
        self._bound = {name: value for name, value in bound.items() if value is not None}
        self._held: list[tuple[str, dict[str, Any]]] = []

    def emit(self, event: Event, outcome: str, **fields: Any) -> None:
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
