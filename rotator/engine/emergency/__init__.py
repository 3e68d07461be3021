"""Emergency revocation: who dies (``plan``), how (``run``), and what became of it (``report``).

By a secret, by one of its keys, or by a leaked value. Nothing waits for a grace period, a hold or a window, and the
daily reserve is used. Repeating a command is harmless: with an incident's name no second replacement is made for 24
hours, and after that the name is refused.
"""

from __future__ import annotations

import dataclasses

from rotator.engine.context import Services
from rotator.engine.emergency.accounts import Accounts
from rotator.engine.emergency.bound_audit import BoundAudit
from rotator.engine.emergency.execution import Run
from rotator.engine.emergency.held_events import HeldEvents
from rotator.engine.emergency.incident import Work
from rotator.engine.emergency.outcome import EmergencyReport, Step
from rotator.engine.emergency.plan import Planning
from rotator.engine.emergency.preview import impossible_replacements, unproven_keys
from rotator.engine.emergency.targets import EmergencyPlan, Revocation, Strategy, Target
from rotator.engine.emergency.verification import VERIFY_TIMEOUT
from rotator.errors import KeyNotFound, RotatorError
from rotator.telemetry.consumer_events import EMERGENCY, publish

__all__ = [
    "VERIFY_TIMEOUT",
    "BoundAudit",
    "Emergency",
    "EmergencyPlan",
    "EmergencyReport",
    "Revocation",
    "Step",
    "Strategy",
    "Target",
]


class Emergency:
    """Plans and carries out one emergency revocation.

    :param reason: the operator's own words; it stands in every audit line.
    :param incident: the operator's name for the incident; a command with the same one is a retry for 24 hours.
    :param chosen: whether a person gave it that name; by default, if there is one.
    """

    def __init__(
        self, services: Services, reason: str, incident: str | None = None, *, chosen: bool | None = None
    ) -> None:
        self.reason, self.incident = reason, incident
        self._chosen = incident is not None if chosen is None else chosen
        audit = BoundAudit(services.audit, {"reason": reason, "incident": incident})
        self._events = HeldEvents(services.events, {"reason": reason, "incident": incident})
        self.services = dataclasses.replace(services, audit=audit, events=self._events)
        self._accounts = Accounts(self.services)

    def plan(self, target: Target, strategy: Strategy) -> tuple[EmergencyPlan, ...]:
        """What would be done, one plan an account. Changes nothing.

        :raises RotatorError: the target is unknown, can't be named, or is provably none of ours.
        """
        planning = Planning(self.services, self._accounts, strategy, self.incident, self._chosen)
        try:
            return (planning.plan(target),)
        except RotatorError as error:
            said = {"account": target.account, "secret": target.secret, "key_id": target.key_id}
            self.services.audit.emit("emergency.requested", "attempt", **said, strategy=str(strategy))
            self.services.audit.emit("emergency.completed", "denied", **said, error=error)
            raise

    def preview(self, plan: EmergencyPlan) -> EmergencyPlan:
        """The same plan with each key as Infobip shows it now, for people to read before they say yes.

        Replacements are checked as far as that changes nothing: what is impossible is said before.

        :raises RotatorError: Infobip can't be asked.
        """
        keys = dict(plan.keys)
        with self._accounts.connected(plan.fleet, plan.account) as provider:
            for revocation in plan.revocations:
                try:
                    keys[revocation.key_id] = provider.get_key(revocation.key_id).key
                except KeyNotFound:
                    continue
            plan = dataclasses.replace(plan, keys=keys)
            report = EmergencyReport(plan.account, plan.strategy)
            begun = self.services.clock.now()
            work = Work(self.services, provider, plan, report, self.reason, self.incident, begun)
            impossible, unproven = impossible_replacements(work), unproven_keys(work)
            return dataclasses.replace(plan, impossible=impossible, unproven=unproven)

    def execute(self, plan: EmergencyPlan, *, hold_events: bool = False) -> EmergencyReport:
        """Carry a plan out. Never raises for what fails on the way: that is in the report, and the killing goes on.

        :param hold_events: keep the events of it until :meth:`send_events`, for there are further keys to kill.
        :raises AuditUnavailable: not even the request could be written down; nothing was changed.
        """
        try:
            return self._execute(plan)
        finally:
            if not hold_events:
                self.send_events()

    def send_events(self) -> None:
        """Send the events of what was done so far; never raises."""
        self._events.release()

    def _execute(self, plan: EmergencyPlan) -> EmergencyReport:
        audit, clock = self.services.audit, self.services.clock
        report = EmergencyReport(plan.account, plan.strategy)
        begun = clock.now()
        secret = plan.secret.name if plan.secret else plan.revocations[0].secret if plan.revocations else None
        said = {"account": plan.account, "secret": secret, "key_id": plan.named}
        audit.emit("emergency.requested", "attempt", **said, strategy=str(plan.strategy))
        if plan.revocations or plan.replaced:
            try:
                with self._accounts.connected(plan.fleet, plan.account) as provider:
                    Run(Work(self.services, provider, plan, report, self.reason, self.incident, begun)).execute()
            except RotatorError as failure:
                report.errors.append(str(failure))
            except Exception as mistake:  # the end is written down whatever happens
                report.errors.append(f"a bug in rotator: {type(mistake).__name__}. Repeat the command")
        outcome = "success" if report.ok else "failure"
        done = {"revoked": list(report.revoked), "replaced": list(report.replaced)}
        duration = int((clock.now() - begun).total_seconds() * 1000)
        error = "; ".join(report.errors) or None
        audit.emit("emergency.completed", outcome, **said, error=error, **done, duration_ms=duration)
        told = {**said, **_leaked(plan), **done, "strategy": str(plan.strategy), "outcome": outcome, "error": error}
        publish(self.services.events, EMERGENCY, **told)
        return report


def _leaked(plan: EmergencyPlan) -> dict[str, str | None]:
    """For the event: the key that was named, or else the one that was current, and where it stood."""
    revocation = plan.named_revocation or (plan.revocations[0] if plan.revocations else None)
    arn = plan.secret.arn if plan.secret else revocation.arn if revocation else None
    key_id = revocation.key_id if revocation else plan.named
    return {"secret_arn": arn or None, "version_id": revocation.version_id if revocation else None, "key_id": key_id}
