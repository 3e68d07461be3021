"""``rotator rehearse``: try on the account's real services what the rotator assumes and can't know, then clean up.

A rehearsal has a secret of its own, keys of its own, and a deployment name of its own, so no sweep takes any of
them for managed ones. Interrupted at any point, what it leaves is found by name and tag (:meth:`Rehearsal.clean`).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from rotator.audit_events import Event
from rotator.engine.context import InfobipClock, Services
from rotator.engine.observe import connected, management_of, observe_account, observe_fleet
from rotator.engine.rehearsal.assumptions import ASSUMPTIONS, DEFAULT_PARTS, CheckedAssumption, Part, checked
from rotator.engine.rehearsal.checks import AwsChecks, Flow, InfobipChecks
from rotator.errors import KeyNotFound, Refused, RotatorError, StoreOutcomeUnknown
from rotator.key_format import is_deployment
from rotator.model import Key, SecretEntry, Spec
from rotator.plan import Quota
from rotator.policy.daily_limit import slots_used
from rotator.policy.labels import parse_key_name
from rotator.policy.tags import ACCOUNT_TAG, ROLE_TAG, SCOPES_TAG, VALIDITY_TAG, parse_spec
from rotator.ports import REHEARSAL_PREFIX, REHEARSAL_TAG, AuditSink, KeyProvider, RehearsalStore
from rotator.telemetry.consumer_events import NoEvents

ACCOUNT_NOTE_TAG: Final = "rotator:rehearsal-account"
_VALIDITY: Final = "1d"


def rehearsing(deployment: str) -> str:
    """Return the deployment name of a deployment's rehearsals: at most 32 characters, and no other deployment's."""
    if is_deployment(name := f"{deployment}.rehearsal"):
        return name
    # Too long. Only a cut name ends so, and the digest distinguishes cut names.
    return f"{deployment[:5]}.{hashlib.sha256(deployment.encode()).hexdigest()[:16]}-rehearsal"


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What earlier rehearsals of this deployment left, or another one is using at this moment."""

    secrets: tuple[SecretEntry, ...] = ()
    keys: tuple[Key, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.secrets or self.keys)


@dataclass(frozen=True, slots=True)
class RehearsalPlan:
    """What a rehearsal will do and cost.

    :param creates: of the day's limit; likewise ``updates``.
    :param seconds: about how long it takes.
    :param quota: what is used and left of the limit.
    """

    account: str
    secret: str
    scopes: tuple[str, ...]
    parts: tuple[Part, ...]
    creates: int
    updates: int
    seconds: int
    quota: Quota
    leftovers: Leftovers


@dataclass(slots=True)
class RehearsalReport:
    """The outcome.

    :param on_row: called with each row at once.
    :param left: what could not be removed, with the error.
    :param error: why the rehearsal stopped, if it did.
    """

    plan: RehearsalPlan
    on_row: Callable[[CheckedAssumption], None] = field(repr=False)
    rows: list[CheckedAssumption] = field(default_factory=list)
    creates: int = 0
    updates: int = 0
    left: list[str] = field(default_factory=list)
    error: str | None = None

    def add(self, row: CheckedAssumption) -> None:
        """Add a row."""
        self.rows.append(row)
        self.on_row(row)

    @property
    def ok(self) -> bool:
        """Whether it ran to its end, everything that the rotator needs holds, and nothing is left."""
        return self.error is None and not self.left and not any(row.breaks for row in self.rows)


@dataclass(frozen=True, slots=True)
class _NoAlerts:
    """An audit without alerts: the account's other keys and a grace period of a second concern no operator here."""

    audit: AuditSink

    def emit(self, event: Event, outcome: str, **fields: Any) -> None:
        """Write one line."""
        if event is not Event.ALERT_RAISED:
            self.audit.emit(event, outcome, **fields)


class Rehearsal:
    """One account's rehearsals.

    :param store: with the calls that create and delete rehearsals' secrets.
    """

    def __init__(self, services: Services, store: RehearsalStore, account: str) -> None:
        deployment = rehearsing(services.policy.deployment)
        self.services = replace(
            services,
            store=store,
            audit=_NoAlerts(services.audit),
            events=NoEvents(),
            metrics=None,
            readers=None,
            policy=replace(services.policy, deployment=deployment),
        )
        self.store, self.account, self.deployment = store, account, deployment
        self.fleet = observe_fleet(store)
        self.management = management_of(self.fleet, account)

    # ---- before -----------------------------------------------------------------------------------------------------

    def plan(self, scopes: Sequence[str], parts: Sequence[Part] = DEFAULT_PARTS) -> RehearsalPlan:
        """Plan a rehearsal. Changes nothing.

        :raises RotatorError: the account can't be read, or the scopes are invalid.
        :raises Refused: too little is left of the day's limits.
        """
        self._spec(scopes)
        with connected(self.services, self.fleet, self.account) as provider:
            snapshot = observe_account(self.store, provider, self.fleet, self.account, disabled_keys=True)
            now = InfobipClock(self.services.clock, provider).now()
            quota = slots_used(snapshot, now).quota(self.services.policy)
            found = self._find(snapshot.keys.values())
        creates, updates, seconds = (sum(each) for each in zip(*(_COST[part] for part in parts), strict=True))
        plan = RehearsalPlan(
            self.account,
            f"{REHEARSAL_PREFIX}{uuid.uuid4().hex[:8]}",
            tuple(sorted(scopes)),
            tuple(parts),
            creates,
            updates,
            seconds,
            quota,
            found,
        )
        for what, needed, left in (("creates", creates, quota.creates_left), ("updates", updates, quota.updates_left)):
            if needed > left:
                raise Refused(
                    f"the rehearsal needs {needed} {what}, but {left} of today's {quota.creates_limit} are left "
                    f"({quota.reserve} are reserved for emergencies)",
                    advice="Nothing was changed. Repeat the command tomorrow, or use --only with fewer parts.",
                )
        return plan

    def _spec(self, scopes: Sequence[str]) -> dict[str, str]:
        """The tags that the engine sees.

        :raises RotatorError: the scopes are invalid.
        """
        tags = {**({SCOPES_TAG: " ".join(sorted(scopes))} if scopes else {}), VALIDITY_TAG: _VALIDITY}
        parse_spec({ROLE_TAG: "key", ACCOUNT_TAG: self.account, **tags}, "--scopes")
        return tags

    # ---- the rehearsal ----------------------------------------------------------------------------------------------

    def run(self, plan: RehearsalPlan, on_row: Callable[[CheckedAssumption], None] = lambda _: None) -> RehearsalReport:
        """Carry out a plan, then remove everything that it made, however it ends.

        :param on_row: called with each row at once.
        """
        report = RehearsalReport(plan, on_row)
        arn = None
        try:
            for part in plan.parts:
                if arn is None and part in (Part.FLOW, Part.AWS):
                    tags = {REHEARSAL_TAG: self.deployment, ACCOUNT_NOTE_TAG: self.account}
                    try:
                        arn = self.store.create(plan.secret, tags)
                    except StoreOutcomeUnknown:
                        arn = plan.secret  # it may exist; its name is as good to delete it
                        raise
                self._run_part(part, plan, arn or "", report)
        except RotatorError as error:
            report.error = f"the rehearsal stopped: {error}"
        finally:
            self._remove(plan, arn, report)
        return report

    def _run_part(self, part: Part, plan: RehearsalPlan, arn: str, report: RehearsalReport) -> None:
        """Run one part; what it could not try, because a call failed, is reported as not tested."""
        failure: RotatorError | None = None
        try:
            for row in self._rows(part, plan, arn):
                report.add(row)
        except RotatorError as error:
            failure = error
        tried = {row.assumption.id for row in report.rows}
        for assumption in ASSUMPTIONS.values():
            if assumption.part is part and assumption.id not in tried:
                report.add(checked(assumption.id, None, "an earlier step failed", failure))

    def _rows(self, part: Part, plan: RehearsalPlan, arn: str) -> Iterator[CheckedAssumption]:
        match part:
            case Part.INFOBIP:
                with connected(self.services, self.fleet, self.account) as provider:
                    name = f"{plan.secret}/rotator:{self.deployment}:{_NO_SECRET}:{uuid.uuid4()}"
                    clock, path = InfobipClock(self.services.clock, provider), Spec(self.account).verify_path
                    yield from InfobipChecks(provider, clock, name, frozenset(plan.scopes), path).rows()
            case Part.FLOW:
                tags = self._spec(plan.scopes)
                view = self.store.view(self.management, arn, plan.secret, tags)
                yield from Flow(replace(self.services, store=view), self.account, plan.secret, tags).rows()
            case Part.AWS:
                yield from AwsChecks(self.store, self.services.clock, arn).rows()
            case _:
                yield self._log_in(part)

    def _log_in(self, part: Part) -> CheckedAssumption:
        provider = None
        try:
            text = self.store.read_current(self.management.arn).text
            provider = self.services.connect(self.management, text, auth=str(part))
            provider.count_keys()
        except RotatorError as error:
            return checked(str(part), False, error=error)
        finally:
            if provider is not None:
                provider.close()
        return checked(str(part), True)

    # ---- the end ----------------------------------------------------------------------------------------------------

    def _remove(self, plan: RehearsalPlan, arn: str | None, report: RehearsalReport) -> None:
        try:
            with connected(self.services, self.fleet, self.account) as provider:
                keys = [key for key in provider.list_keys().keys if key.name.startswith(f"{plan.secret}/")]
                report.creates, report.updates = len(keys), sum(1 for key in keys if not key.enabled)
                for key in keys:
                    if key.enabled:
                        report.updates += self._disable(provider, key, report.left)
        except RotatorError as error:
            report.left.append(f"keys named {plan.secret}/… were not disabled: {error}")
        if arn is not None:
            self._delete(SecretEntry(arn=arn, name=plan.secret, tags={}, versions={}), report.left)

    def clean(self) -> tuple[Leftovers, tuple[str, ...]]:
        """Disable the keys and delete the secrets of all rehearsals of this deployment and account.

        :returns: what was found, and what could not be removed.
        :raises RotatorError: the keys or the secrets can't be listed; nothing was changed.
        """
        left: list[str] = []
        with connected(self.services, self.fleet, self.account) as provider:
            found = self._find(provider.list_keys(enabled=True).keys)
            for key in found.keys:
                self._disable(provider, key, left)
        for entry in found.secrets:
            self._delete(entry, left)
        return found, tuple(left)

    def _find(self, keys: Iterable[Key]) -> Leftovers:
        """Enabled keys and secrets that are named and tagged as rehearsals of this deployment and account."""
        secrets = tuple(
            entry
            for entry in self.store.rehearsals()
            if (entry.tags.get(REHEARSAL_TAG), entry.tags.get(ACCOUNT_NOTE_TAG)) == (self.deployment, self.account)
        )
        return Leftovers(secrets, tuple(key for key in keys if key.enabled and self._is_own(key)))

    def _is_own(self, key: Key) -> bool:
        name = parse_key_name(key.name)
        return name is not None and name.deployment == self.deployment and name.secret.startswith(REHEARSAL_PREFIX)

    def _disable(self, provider: KeyProvider, key: Key, left: list[str]) -> bool:
        try:
            provider.revoke_key(key, self.services.clock.now().replace(microsecond=0))
        except KeyNotFound:
            return False
        except RotatorError as error:
            left.append(f"key {key.id} is still enabled: {error}")
            return False
        return True

    def _delete(self, entry: SecretEntry, left: list[str]) -> None:
        try:
            self.store.delete(entry)
        except RotatorError as error:
            left.append(f"secret {entry.name} was not deleted: {error}")


_NO_SECRET: Final = "0" * 10
"""In the names of the keys that no secret stores, the place of a secret's id."""
_COST: Final = {
    Part.INFOBIP: (2, 3, 30),
    Part.FLOW: (4, 7, 30),
    Part.AWS: (0, 0, 30),
    Part.BASIC: (0, 0, 5),
    Part.IBSSO: (0, 0, 5),
    Part.OAUTH2: (0, 0, 5),
}
"""By part: creates, at most so many updates, the removal at the end included, and about so many seconds."""
