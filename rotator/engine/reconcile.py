"""The sweep: observe the world, plan, apply. Accounts go side by side, one account's secrets one after another."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from rotator.engine.apply import apply
from rotator.engine.context import AccountContext, Budget, InfobipClock, Services
from rotator.engine.evidence import CurrentValues, Evidence
from rotator.engine.measure import Meter
from rotator.engine.observe import Fleet, management_of, observe_account, observe_fleet
from rotator.engine.readers import with_readers
from rotator.errors import (
    BadCredentials,
    ConfigurationError,
    InternalError,
    MissingRole,
    ProviderThrottled,
    ProviderUnavailable,
    RotatorError,
    SessionBusy,
)
from rotator.model import (
    AccountPlan,
    AccountSnapshot,
    Alert,
    Outcome,
    Plan,
    Quota,
    Reason,
    Result,
    Severity,
    Skip,
)
from rotator.policy.guards import slots_used
from rotator.policy.overdue import with_outcomes
from rotator.ports import KeyProvider
from rotator.telemetry.audit_file import AuditUnavailable
from rotator.telemetry.consumer_events import FAILED, publish
from rotator.telemetry.metrics import NOT_OBSERVED

_LOG = logging.getLogger(__name__)
T = TypeVar("T")
MAX_PARALLEL = 8
GIVE_UP_AFTER = 3
"""Actions in a row that Infobip does not answer, after which an account's sweep ends: it is down, not unlucky."""
MOST_NAMED = 10
"""Secrets of an account that is not known: with more, the alert is one for all of them."""
ENDS_THE_SWEEP = (ProviderThrottled, BadCredentials, MissingRole, SessionBusy, AuditUnavailable)
"""What makes every further action at this account pointless."""
OUT_OF_TIME = "not begun: the process is about to end; the next sweep goes on"
NO_ACCOUNT = "(no account)"


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep planned and did. ``ok``: every account could be observed, nothing failed, nothing is to be fixed."""

    plan: Plan
    results: tuple[Result, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it succeeded and leaves nothing to be fixed."""
        return self.succeeded and all(plan_ok(plan) for plan in self.plan.accounts)

    @property
    def succeeded(self) -> bool:
        """Whether the exit code is 0, and a monitor of sweeps is content: it ran through, and nothing failed.

        A secret with a wrong tag is an alert of its own, and must not hide for weeks whether sweeps still come.
        """
        failed = any(result.outcome is Outcome.FAILED for result in self.results)
        done = any(result.outcome is Outcome.DONE for result in self.results)
        stuck = any(a.kind is Reason.OVERDUE and a.by_account for plan in self.plan.accounts for a in plan.alerts)
        return not failed and (done or not stuck) and all(plan.ran_through for plan in self.plan.accounts)


def plan_ok(plan: AccountPlan) -> bool:
    """Whether an account could be observed and has nothing that an operator must fix."""
    return plan.error is None and not any(alert.severity is Severity.ERROR for alert in plan.alerts)


@dataclass
class _Run:
    """What the accounts of one sweep share."""

    fleet: Fleet
    values: CurrentValues
    secret: str | None = None
    force: bool = False
    dry_run: bool = False
    _budgets: dict[str, Budget] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def budget(self, plan: AccountPlan, budget: Budget) -> Budget:
        """The day's limits of an account; two names of one account at Infobip share them."""
        if plan.infobip_account is None:
            return budget
        with self._lock:
            return self._budgets.setdefault(plan.infobip_account, budget)


def _with_shared_accounts(plans: Sequence[AccountPlan]) -> tuple[AccountPlan, ...]:
    """The plans, with an alert in each of those whose names stand for one account at Infobip."""
    names: dict[str, list[str]] = defaultdict(list)
    for plan in plans:
        if plan.infobip_account is not None:
            names[plan.infobip_account].append(plan.account)
    found = []
    for plan in plans:
        others = [name for name in names.get(plan.infobip_account or "", ()) if name != plan.account]
        if others:
            detail = (
                f"Infobip's account {plan.infobip_account} has the names {', '.join(sorted([plan.account, *others]))} "
                "here; they share one daily limit; tag all its secrets with one name of rotator:account"
            )
            alert = Alert(Reason.SHARED_ACCOUNT, detail, severity=Severity.WARNING)
            plan = replace(plan, alerts=(*plan.alerts, alert))
        found.append(plan)
    return tuple(found)


def _only(plans: Iterable[AccountPlan], kind: Reason) -> tuple[AccountPlan, ...]:
    """The plans with the alerts of one kind only, to raise these."""
    return tuple(replace(plan, alerts=tuple(a for a in plan.alerts if a.kind is kind)) for plan in plans)


def _without_overdue(plan: AccountPlan) -> AccountPlan:
    """The plan without what is overdue: that is told when it is known what this sweep did about it."""
    return replace(plan, alerts=tuple(alert for alert in plan.alerts if alert.kind is not Reason.OVERDUE))


class Reconciler:
    """Plans and sweeps over :class:`~rotator.engine.context.Services`."""

    def __init__(self, services: Services) -> None:
        self.services = services

    # ---- reading ----------------------------------------------------------------------------------------------------

    def plan(self, *, account: str | None = None, secret: str | None = None, at: datetime | None = None) -> Plan:
        """What a sweep would do now, or at another time.

        :raises RotatorError: the secrets can't be listed, or the account or secret named is not known.
        """
        fleet = observe_fleet(self.services.store)
        accounts = self._chosen(fleet, account, secret)
        values = CurrentValues(self.services.store, fleet)
        plans = self._side_by_side(accounts, lambda name: self._plan_one(fleet, values, name, at, secret))
        planned = _with_shared_accounts(plans)
        return Plan(at or self.services.clock.now(), (*planned, *self._stray(fleet, account, secret)))

    def snapshots(
        self, *, account: str | None = None, secret: str | None = None, history: bool = False
    ) -> tuple[tuple[AccountSnapshot, ...], tuple[AccountPlan, ...]]:
        """Every account's snapshot, and a plan with ``error`` for each account that can't be observed.

        :param history: with the disabled keys too.
        """
        fleet = observe_fleet(self.services.store)
        good: list[AccountSnapshot] = []
        bad: list[AccountPlan] = []

        def look(name: str) -> AccountSnapshot | AccountPlan:
            try:
                with self.connected(fleet, name) as provider:
                    return observe_account(self.services.store, provider, fleet, name, history=history)
            except RotatorError as error:
                return self._not_observed(fleet, name, error)

        for seen in self._side_by_side(self._chosen(fleet, account, secret), look):
            if isinstance(seen, AccountSnapshot):
                good.append(seen)
            else:
                bad.append(seen)
        return tuple(good), (*bad, *self._stray(fleet, account, secret))

    # ---- doing ------------------------------------------------------------------------------------------------------

    def sweep(
        self, *, account: str | None = None, secret: str | None = None, force: bool = False, dry_run: bool = False
    ) -> Sweep:
        """One sweep.

        :raises RotatorError: the secrets can't be listed, or the account or secret named is not known.
        """
        audit = self.services.audit
        audit.emit("sweep.started", "attempt", account=account, secret=secret)
        try:
            fleet = self._fleet(account, dry_run=dry_run)
            accounts = self._chosen(fleet, account, secret)
            run = _Run(fleet, CurrentValues(self.services.store, fleet), secret, force=force, dry_run=dry_run)
            done = self._side_by_side(accounts, lambda name: self._sweep_one(run, name))
        except RotatorError as error:
            audit.emit("sweep.completed", "failure", account=account, secret=secret, error=_text(error))
            raise
        stray = self.say_stray(fleet) if account is None and secret is None else ()
        swept = _with_shared_accounts([plan for plan, _ in done])
        self._say_alerts(_only(swept, Reason.SHARED_ACCOUNT))
        plan = Plan(self.services.clock.now(), (*swept, *stray))
        sweep = Sweep(plan, tuple(result for _, results in done for result in results))
        failed = sum(1 for result in sweep.results if result.outcome is Outcome.FAILED)
        broken = [item.account for item in plan.accounts if item.error is not None]
        problems = [f"{failed} actions failed"] if failed else []
        problems += [f"accounts not swept: {', '.join(broken)}"] if broken else []
        audit.emit(
            "sweep.completed",
            "success" if sweep.succeeded else "failure",
            account=account,
            secret=secret,
            error="; ".join(problems) or (None if sweep.succeeded else "an account has errors, see its alerts"),
            actions=len(sweep.results),
            to_fix=sum(_errors(plan) for plan in plan.accounts),
            dry_run=dry_run,
        )
        return sweep

    def say_stray(self, fleet: Fleet) -> tuple[AccountPlan, ...]:
        """Raise the alerts of secrets that name no account, which the sweeps of single accounts say nothing of."""
        stray = self._stray(fleet, None, None)
        self._say_alerts(stray)
        return stray

    def _fleet(self, account: str | None, *, dry_run: bool) -> Fleet:
        """:raises RotatorError: the secrets can't be listed, so no account can be swept."""
        try:
            return observe_fleet(self.services.store)
        except RotatorError as error:
            if not dry_run:
                publish(self.services.events, FAILED, account=account, reason=NOT_OBSERVED, error=_text(error))
            raise

    def _sweep_one(self, run: _Run, account: str) -> tuple[AccountPlan, tuple[Result, ...]]:
        meter, fleet, dry_run = Meter(self.services, account), run.fleet, run.dry_run
        try:
            with self.connected(fleet, account) as provider:
                now, snapshot, plan = self._planned(provider, run, account)
                if plan.error is None:
                    meter.before(snapshot, plan)
                if dry_run or plan.error is not None:
                    self._say_alerts((plan,))
                    meter.after(plan, ())
                    self._tell_not_swept(plan, dry_run=dry_run)
                    return plan, ()
                self._say_alerts((_without_overdue(plan),))
                budget = Budget.of(slots_used(snapshot, now), self.services.policy, now, snapshot.total)
                context = AccountContext(self.services, provider, snapshot, run.budget(plan, budget))
                results = tuple(self._apply_all(context, plan))
                plan = with_outcomes(plan, results)
                self._say_alerts(_only((plan,), Reason.OVERDUE))
                meter.after(plan, results, context.budget)
                return plan, results
        except RotatorError as error:
            plan = self._not_observed(fleet, account, error)
        except Exception as error:  # one account's failure never stops another's, not even by a bug
            _LOG.debug("unexpected", exc_info=error)
            plan = self._not_observed(fleet, account, InternalError.of(error, f"account {account}"))
        self._say_alerts((plan,))
        meter.after(plan, ())
        self._tell_not_swept(plan, dry_run=dry_run)
        return plan, ()

    def _apply_all(self, context: AccountContext, plan: AccountPlan) -> Iterator[Result]:
        """In order; one secret's failure never stops another's, unless nothing at this account can go on."""
        stopped: RotatorError | None = None
        silent = 0
        given_up: set[str] = set()
        in_time = True
        for action in plan.actions:
            in_time = in_time and self.services.may_start()
            if not in_time:
                yield Result(action, Outcome.DEFERRED, OUT_OF_TIME, by_account=True)
                continue
            if stopped is not None:
                yield Result(action, Outcome.DEFERRED, f"not begun: {stopped.message}", by_account=True)
                continue
            if action.secret in given_up:
                yield Result(action, Outcome.DEFERRED, "not begun: an earlier step for this secret did not succeed")
                continue
            result, error = apply(context, action)
            yield result
            silent = silent + 1 if isinstance(error, ProviderUnavailable) else 0
            if isinstance(error, ENDS_THE_SWEEP) or silent >= GIVE_UP_AFTER:
                stopped = error
            if error is not None and action.kind.value in ("label", "resume"):
                given_up.add(action.secret)

    # ---- parts ------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def connected(self, fleet: Fleet, account: str) -> Iterator[KeyProvider]:
        """A provider for one account, its session ended afterwards.

        :raises RotatorError: no or several management secrets, or one that can't be read.
        """
        entry = management_of(fleet, account)
        provider = self.services.connect(entry, self.services.store.read_current(entry.arn).text)
        try:
            yield provider
        finally:
            provider.close()

    def _planned(
        self, provider: KeyProvider, run: _Run, account: str, at: datetime | None = None
    ) -> tuple[datetime, AccountSnapshot, AccountPlan]:
        """One account, observed and planned, and by Infobip's clock when."""
        snapshot = observe_account(self.services.store, provider, run.fleet, account)
        now = at or InfobipClock(self.services.clock, provider).now()
        snapshot = with_readers(self.services, snapshot, now, run.secret)
        evidence = Evidence(self.services.store, provider, run.fleet, run.values)
        snapshot, plan = evidence.plan(snapshot, self.services.policy, now, force=run.force, secret=run.secret)
        return now, snapshot, plan

    def _plan_one(
        self, fleet: Fleet, values: CurrentValues, account: str, at: datetime | None, secret: str | None
    ) -> AccountPlan:
        try:
            with self.connected(fleet, account) as provider:
                return self._planned(provider, _Run(fleet, values, secret), account, at)[2]
        except RotatorError as error:
            return self._not_observed(fleet, account, error)
        except Exception as error:
            _LOG.debug("unexpected", exc_info=error)
            return self._not_observed(fleet, account, InternalError.of(error, f"account {account}"))

    def _not_observed(self, fleet: Fleet, account: str, error: RotatorError) -> AccountPlan:
        policy = self.services.policy
        quota = Quota(0, policy.daily_limit, 0, policy.daily_limit, policy.reserve)
        reason = None
        if isinstance(error, ConfigurationError) and len(fleet.managements.get(account, ())) != 1:
            duplicate = len(fleet.managements.get(account, ())) > 1
            reason = Reason.DUPLICATE_MANAGEMENT if duplicate else Reason.UNKNOWN_ACCOUNT
        if reason is None:
            return AccountPlan(account, quota, error=str(error))
        # Most often it is one secret's tag that is misspelt, so the secrets are named; not thousands of them, though.
        names = sorted(entry.name for entry in fleet.managed.get(account, ()))
        named = names if 0 < len(names) <= MOST_NAMED else [None]
        alerts = tuple(Alert(reason, str(error), name, severity=Severity.ERROR) for name in named)
        skipped = tuple(Skip(name, reason, str(error)) for name in names)
        return AccountPlan(account, quota, skipped=skipped, alerts=alerts, error=str(error))

    def _stray(self, fleet: Fleet, account: str | None, secret: str | None) -> tuple[AccountPlan, ...]:
        """Secrets that name no account: shown under an account of their own."""
        if not fleet.alerts or account is not None or secret is not None:
            return ()
        policy = self.services.policy
        quota = Quota(0, policy.daily_limit, 0, policy.daily_limit, policy.reserve)
        skipped = tuple(Skip(alert.secret or "", alert.kind, alert.detail) for alert in fleet.alerts)
        return (AccountPlan(NO_ACCOUNT, quota, skipped=skipped, alerts=fleet.alerts),)

    def _chosen(self, fleet: Fleet, account: str | None, secret: str | None) -> tuple[str, ...]:
        if secret is not None:
            entry = fleet.find(secret)
            if entry is None:
                raise ConfigurationError(
                    f"{secret} is no managed secret here",
                    advice="Check its name and the region, and that it is tagged rotator:role=key and rotator:account.",
                )
            names = tuple(name for name in fleet.accounts if entry in fleet.managed.get(name, ()))
            if account is not None and account not in names:
                raise ConfigurationError(
                    f"{secret} belongs to account {names[0]}, not to {account}",
                    advice="Leave --account out, or correct it.",
                )
            return names
        return fleet.chosen(account)

    def _side_by_side(self, accounts: tuple[str, ...], work: Callable[[str], T]) -> list[T]:
        if len(accounts) <= 1:
            return [work(name) for name in accounts]
        with ThreadPoolExecutor(min(MAX_PARALLEL, len(accounts)), "account") as pool:
            return list(pool.map(work, accounts))

    def _say_alerts(self, plans: tuple[AccountPlan, ...]) -> None:
        for plan in plans:
            for alert in plan.alerts:
                fields = {"account": plan.account, "secret": alert.secret, "key_id": alert.key_id}
                failure = "failure" if alert.severity is Severity.ERROR else "success"
                self.services.audit.emit("alert.raised", failure, **fields, reason=str(alert.kind), detail=alert.detail)
            if plan.error is not None and not plan.alerts:
                self.services.audit.emit("rotation.failed", "failure", account=plan.account, error=plan.error)

    def _tell_not_swept(self, plan: AccountPlan, *, dry_run: bool) -> None:
        if plan.error is not None and not dry_run:
            reason = str(plan.alerts[0].kind) if plan.alerts else NOT_OBSERVED
            publish(self.services.events, FAILED, account=plan.account, reason=reason, error=plan.error)


def _errors(plan: AccountPlan) -> int:
    return sum(1 for alert in plan.alerts if alert.severity is Severity.ERROR)


def _text(error: RotatorError) -> str:
    return f"{type(error).__name__}: {error}"


__all__ = ["NO_ACCOUNT", "Reconciler", "Sweep", "plan_ok"]
