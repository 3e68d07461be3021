"""The sweep: observe, plan, apply, verify values. Accounts go side by side, one account's secrets one after another."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from rotator.audit_events import Event
from rotator.durations import DAY
from rotator.engine.answers import Answers
from rotator.engine.apply import apply
from rotator.engine.context import AccountContext, Budget, InfobipClock, Services
from rotator.engine.copies import CurrentValues
from rotator.engine.daily_check import DailyCheck
from rotator.engine.observe import Fleet, connected, observe_account, observe_fleet
from rotator.engine.sweep import NO_ACCOUNT, Sweep, errors_in, first_expiry, measure
from rotator.errors import (
    BadCredentials,
    ConfigurationError,
    InternalError,
    MissingRole,
    ProviderThrottled,
    ProviderUnavailable,
    RotatorError,
    SecretNotFound,
    SessionBusy,
)
from rotator.message import Message
from rotator.model import AccountSnapshot
from rotator.plan import AccountPlan, ActionKind, Alert, Outcome, Plan, Quota, Result, Severity, Skip
from rotator.policy.daily_limit import slots_used
from rotator.policy.daily_selection import to_verify
from rotator.policy.overdue import with_outcomes
from rotator.policy.planner import plan_account
from rotator.policy.status import SecretState, states
from rotator.ports import KeyProvider
from rotator.reasons import Reason
from rotator.telemetry.audit import AuditUnavailable
from rotator.telemetry.consumer_events import FAILED, publish
from rotator.telemetry.metrics import NOT_OBSERVED

_LOG = logging.getLogger(__name__)
T = TypeVar("T")
MAX_PARALLEL = 8
GIVE_UP_AFTER = 3
"""After this many unanswered actions in a row an account's sweep ends, because Infobip is down."""
MAX_NAMED = 10
"""If an unknown account has more secrets than this, they share one alert."""
ENDS_THE_SWEEP = (ProviderThrottled, BadCredentials, MissingRole, SessionBusy, AuditUnavailable)
"""Errors that make every further action at this account pointless."""
OUT_OF_TIME = "not enough time left in this run; the next sweep continues"


@dataclass
class _Run:
    """The data that the accounts of one plan or sweep share."""

    values: CurrentValues
    secret: str | None = None
    at: datetime | None = None
    force: bool = False
    dry_run: bool = False
    begun: datetime | None = None
    _budgets: dict[str, Budget] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def budget(self, plan: AccountPlan, budget: Budget) -> Budget:
        """The day's limits of an account; two names of one account at Infobip share them."""
        if plan.infobip_account is None:
            return budget
        with self._lock:
            return self._budgets.setdefault(plan.infobip_account, budget)


class Reconciler:
    """Plans and sweeps over :class:`~rotator.engine.context.Services`."""

    def __init__(self, services: Services) -> None:
        self.services = services

    # ---- reading ----------------------------------------------------------------------------------------------------

    def plan(self, *, account: str | None = None, secret: str | None = None, at: datetime | None = None) -> Plan:
        """Plan a sweep now or at another time. Today's use of the limits is counted even if nothing is due.

        :raises RotatorError: the secrets can't be listed, or the account or secret named is not known.
        """
        fleet = observe_fleet(self.services.store)
        run = _Run(CurrentValues(self.services.store, fleet), secret, at)

        def plan_one(name: str) -> AccountPlan:
            return self.observed(
                fleet, name, lambda provider: self._planned(provider, run, name, disabled_keys=True)[2]
            )

        plans = _with_shared_accounts(self._side_by_side(fleet.chosen(account, secret), plan_one))
        return Plan(at or self.services.clock.now(), (*plans, *self._stray(fleet, account, secret)))

    def snapshots(
        self, *, account: str | None = None, secret: str | None = None, disabled_keys: bool = False
    ) -> tuple[tuple[AccountSnapshot, ...], tuple[AccountPlan, ...]]:
        """Every account's snapshot, and a plan with ``error`` for each account that can't be observed.

        :param disabled_keys: with the disabled keys too.
        """
        fleet, store = observe_fleet(self.services.store), self.services.store

        def observe(name: str) -> AccountSnapshot | AccountPlan:
            return self.observed(
                fleet, name, lambda provider: observe_account(store, provider, fleet, name, disabled_keys=disabled_keys)
            )

        observed = self._side_by_side(fleet.chosen(account, secret), observe)
        failed = tuple(each for each in observed if isinstance(each, AccountPlan))
        stray = self._stray(fleet, account, secret)
        return tuple(each for each in observed if isinstance(each, AccountSnapshot)), (*failed, *stray)

    def states(
        self, *, account: str | None = None, secret: str | None = None
    ) -> tuple[tuple[SecretState, ...], tuple[AccountPlan, ...]]:
        """Every managed secret's state, and a plan with ``error`` for each account that could not be read."""
        snapshots, failed = self.snapshots(account=account, secret=secret)
        now = self.services.clock.now()
        found: list[SecretState] = []
        for snapshot in snapshots:
            plan = plan_account(snapshot, self.services.policy, now)
            which = {each.which for each in snapshot.secrets if secret in (None, each.name, each.arn)}
            found += [each for each in states(snapshot, plan.actions, now, plan.alerts) if each.which in which]
        return tuple(found), failed

    # ---- doing ------------------------------------------------------------------------------------------------------

    def sweep(
        self,
        *,
        account: str | None = None,
        secret: str | None = None,
        force: bool = False,
        dry_run: bool = False,
        expiries: bool = False,
    ) -> Sweep:
        """One sweep. Unless it is a dry run or for one secret, it also verifies the values whose time it is.

        :param expiries: read when the first key of an account expires if the account can't be swept.
        :raises RotatorError: the secrets can't be listed, or the account or secret named is not known.
        """
        audit, begun = self.services.audit, self.services.clock.now()
        audit.emit(Event.SWEEP_STARTED, "attempt", account=account, secret=secret)
        try:
            fleet = observe_fleet(self.services.store)
            names = fleet.chosen(account, secret)
        except RotatorError as error:
            audit.emit(Event.SWEEP_COMPLETED, "failure", account=account, secret=secret, error=_text(error))
            if not dry_run and not isinstance(error, ConfigurationError | SecretNotFound):
                publish(self.services.events, FAILED, account=account, reason=NOT_OBSERVED, error=_text(error))
            raise
        run = _Run(CurrentValues(self.services.store, fleet), secret, force=force, dry_run=dry_run, begun=begun)
        done = self._side_by_side(names, lambda name: self._sweep_one(run, name))
        stray = self.raise_stray(fleet, account, secret)
        swept = _with_shared_accounts([plan for plan, _ in done])
        self.raise_alerts(swept, lambda alert: alert.kind is Reason.SHARED_ACCOUNT)
        plan = Plan(self.services.clock.now(), (*swept, *stray))
        sweep = Sweep(plan, tuple(result for _, results in done for result in results))
        failed = sum(1 for result in sweep.results if result.outcome is Outcome.FAILED)
        not_swept = [item.account for item in plan.accounts if item.error is not None]
        problems = [f"{failed} actions failed"] if failed else []
        problems += [f"accounts not swept: {', '.join(not_swept)}"] if not_swept else []
        audit.emit(
            Event.SWEEP_COMPLETED,
            "success" if sweep.succeeded else "failure",
            account=account,
            secret=secret,
            error="; ".join(problems) or (None if sweep.succeeded else "an account has errors; see its alerts"),
            actions=len(sweep.results),
            to_fix=sum(len(errors_in(plan)) for plan in plan.accounts),
            dry_run=dry_run,
        )
        if not expiries:
            return sweep
        broken = [item.account for item in swept if item.error is not None]
        found = {name: first_expiry(self.services.store, fleet.managed.get(name, ())) for name in broken}
        return replace(sweep, expiries={name: each for name, each in found.items() if each is not None})

    def raise_stray(
        self, fleet: Fleet, account: str | None = None, secret: str | None = None
    ) -> tuple[AccountPlan, ...]:
        """Raise the alerts of secrets that name no account, which no single account's sweep raises."""
        stray = self._stray(fleet, account, secret)
        self.raise_alerts(stray)
        return stray

    def _sweep_one(self, run: _Run, account: str) -> tuple[AccountPlan, tuple[Result, ...]]:
        begun = self.services.clock.now()
        results: list[Result] = []
        swept = self.observed(run.values.fleet, account, lambda provider: self._work(provider, run, account, results))
        plan, snapshot, budget = (swept, None, None) if isinstance(swept, AccountPlan) else swept
        if run.dry_run or plan.error is not None:
            self.raise_alerts((plan,))
        measure(self.services, begun, plan, tuple(results), snapshot, budget)
        if plan.error is not None and not run.dry_run:
            reason = str(plan.alerts[0].kind) if plan.alerts else NOT_OBSERVED
            publish(self.services.events, FAILED, account=account, reason=reason, error=plan.error)
        return plan, tuple(results)

    def _work(
        self, provider: KeyProvider, run: _Run, account: str, results: list[Result]
    ) -> tuple[AccountPlan, AccountSnapshot, Budget]:
        """Plan one account, and unless this is a dry run, carry out the plan and raise its alerts.

        :param results: what was done is added to it, so that it stands if the rest fails.
        :returns: the plan after the work, its snapshot, and what is left of the day's limits.
        """
        now, snapshot, plan = self._planned(provider, run, account)
        budget = run.budget(plan, Budget.of(slots_used(snapshot, now), self.services.policy, now, snapshot.total))
        if plan.error is not None or run.dry_run:
            return plan, snapshot, budget
        context = AccountContext(self.services, provider, snapshot, budget)
        # Whether something is overdue depends on what this sweep does about it.
        self.raise_alerts((plan,), lambda alert: alert.kind is not Reason.OVERDUE)
        results += self._apply_all(context, plan)
        plan = with_outcomes(plan, results)
        self.raise_alerts((plan,), lambda alert: alert.kind is Reason.OVERDUE)
        if run.begun is not None and run.secret is None:
            checked = self._verify_values(context, run.begun)
            self.raise_alerts((replace(plan, alerts=tuple(checked.alerts)),))
            results += checked.results
            actions = (*plan.actions, *(result.action for result in checked.results))
            plan = replace(plan, actions=actions, alerts=(*plan.alerts, *checked.alerts))
        return plan, snapshot, budget

    def _verify_values(self, context: AccountContext, begun: datetime) -> DailyCheck:
        """Verify the values whose minute of the day lies between the previous sweep and this one."""
        since = begun - self.services.policy.sweep_every
        if self.services.previous is not None:
            since = max(self.services.previous, begun - DAY)
        check = DailyCheck(context)
        check.run(to_verify(context.snapshot, since, begun))
        return check

    def _apply_all(self, context: AccountContext, plan: AccountPlan) -> Iterator[Result]:
        """Apply the actions in order. One secret's failure stops no other, unless nothing at this account can go on."""
        stopped: str | None = None
        silent = 0
        given_up: set[str] = set()  # ARNs
        for action in plan.actions:
            if stopped is None and not self.services.may_start():
                stopped = OUT_OF_TIME
            if stopped is not None:
                yield Result(action, Outcome.DEFERRED, f"not started: {stopped}", by_account=True)
                continue
            if action.arn in given_up:
                yield Result(action, Outcome.DEFERRED, "not started: an earlier step for this secret failed")
                continue
            result, error = apply(context, action)
            yield result
            silent = silent + 1 if isinstance(error, ProviderUnavailable) else 0
            if error is not None and (isinstance(error, ENDS_THE_SWEEP) or silent >= GIVE_UP_AFTER):
                stopped = error.message
            if error is not None and action.kind in (ActionKind.LABEL, ActionKind.RESUME):
                given_up.add(action.arn)

    def raise_alerts(self, plans: Sequence[AccountPlan], wanted: Callable[[Alert], bool] | None = None) -> None:
        """Write the ``wanted`` alerts to the audit; without a filter, all alerts and the failures that have none."""
        for plan in plans:
            for alert in plan.alerts:
                if wanted is None or wanted(alert):
                    fields = {**alert.secret_fields, "key_id": alert.key_id, "reason": str(alert.kind)}
                    outcome = "failure" if alert.severity is Severity.ERROR else "success"
                    self.services.audit.emit(
                        Event.ALERT_RAISED, outcome, account=plan.account, **fields, detail=alert.detail
                    )
            if wanted is None and plan.error is not None and not plan.alerts:
                self.services.audit.emit(Event.ROTATION_FAILED, "failure", account=plan.account, error=plan.error)

    # ---- parts ------------------------------------------------------------------------------------------------------

    def observed(self, fleet: Fleet, account: str, work: Callable[[KeyProvider], T]) -> T | AccountPlan:
        """Run ``work`` for one account. A failure, even a bug, becomes a plan with ``error``; the others continue."""
        try:
            with connected(self.services, fleet, account) as provider:
                return work(provider)
        except RotatorError as caught:
            error = caught
        except Exception as caught:
            _LOG.debug("unexpected", exc_info=caught)
            error = InternalError.of(caught, f"account {account}")
        return self._not_observed(fleet, account, error)

    def _planned(
        self, provider: KeyProvider, run: _Run, account: str, *, disabled_keys: bool = False
    ) -> tuple[datetime, AccountSnapshot, AccountPlan]:
        """Observe and plan one account. Returns the plan's time by Infobip's clock, its snapshot and the plan."""
        snapshot = observe_account(
            self.services.store, provider, run.values.fleet, account, disabled_keys=disabled_keys
        )
        now = run.at or InfobipClock(self.services.clock, provider).now()
        snapshot, plan = Answers(self.services, provider, run.values).plan(
            snapshot, self.services.policy, now, force=run.force, secret=run.secret
        )
        return now, snapshot, plan

    def _not_observed(self, fleet: Fleet, account: str, error: RotatorError) -> AccountPlan:
        managements = len(fleet.managements.get(account, ()))
        if managements == 1 or not isinstance(error, ConfigurationError):
            return AccountPlan(account, self._unused_quota(), error=str(error))
        reason = Reason.DUPLICATE_MANAGEMENT if managements > 1 else Reason.UNKNOWN_ACCOUNT
        # Usually one secret's tag is misspelt, so the secrets are named, unless there are too many.
        found = sorted(fleet.managed.get(account, ()), key=lambda entry: entry.name)
        named = [(each.name, each.location) for each in found] if 0 < len(found) <= MAX_NAMED else [(None, None)]
        alerts = tuple(
            Alert(reason, Message.text(error), name, severity=Severity.ERROR, location=location)
            for name, location in named
        )
        skipped = tuple(Skip(each.name, reason, Message.text(error), location=each.location) for each in found)
        return AccountPlan(account, self._unused_quota(), skipped=skipped, alerts=alerts, error=str(error))

    def _stray(self, fleet: Fleet, account: str | None, secret: str | None) -> tuple[AccountPlan, ...]:
        """Return a plan for secrets without a valid account tag, or if none is managed, under a placeholder account.

        A store that can't be listed is in it even if only one account or secret is asked for.
        """
        some = account is not None or secret is not None
        alerts = tuple(a for a in fleet.alerts if not some or a.kind is Reason.STORE_UNREACHABLE)
        if not some and not fleet.managed and not alerts:
            message = "no secret in {where} has the tag rotator:role=key; check the region and the AWS account"
            alerts += (Alert(Reason.NO_MANAGED_SECRET, Message.of(message, where=self.services.where)),)
        if not alerts:
            return ()
        skipped = tuple(
            Skip(each.secret, each.kind, each.message, location=each.location) for each in alerts if each.secret
        )
        return (AccountPlan(NO_ACCOUNT, self._unused_quota(), skipped=skipped, alerts=alerts),)

    def _unused_quota(self) -> Quota:
        policy = self.services.policy
        return Quota(None, policy.daily_limit, None, policy.daily_limit, policy.reserve)

    def _side_by_side(self, accounts: tuple[str, ...], work: Callable[[str], T]) -> list[T]:
        if len(accounts) <= 1:
            return [work(name) for name in accounts]
        with ThreadPoolExecutor(min(MAX_PARALLEL, len(accounts)), "account") as pool:
            return list(pool.map(work, accounts))


def _with_shared_accounts(plans: Sequence[AccountPlan]) -> tuple[AccountPlan, ...]:
    """Return the plans, with an alert in each whose account at Infobip has several names here."""
    names: dict[str, list[str]] = defaultdict(list)
    for plan in plans:
        if plan.infobip_account is not None:
            names[plan.infobip_account].append(plan.account)
    found = []
    for plan in plans:
        sharing = sorted(names.get(plan.infobip_account or "", ()))
        if len(sharing) > 1:
            message = Message.of(
                "Infobip account {id} is tagged under several names ({names}), which share one daily limit; use one "
                "rotator:account name for all its secrets",
                id=plan.infobip_account,
                names=", ".join(sharing),
            )
            plan = replace(plan, alerts=(*plan.alerts, Alert(Reason.SHARED_ACCOUNT, message)))
        found.append(plan)
    return tuple(found)


def _text(error: RotatorError) -> str:
    return f"{type(error).__name__}: {error}"
