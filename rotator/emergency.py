"""Emergency revocation: who dies, what replaces it, and how it is carried out in as few calls as possible.

``replace-first`` lists, reads the management secret, reads the key, reads the value, creates, stores, probes,
promotes and then kills: nine calls. ``revoke-first`` lists, reads the management secret, looks at the secret, kills.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from rotator.context import AccountContext, Budget, Services
from rotator.core.labels import key_label, parse_key_name, retire_label
from rotator.core.lifecycle import Lifecycle, read_lifecycle
from rotator.core.model import AccountSnapshot, Action, ActionKind, Key, Reason, SecretEntry
from rotator.core.secret import Secret
from rotator.core.spec import parse_spec
from rotator.core.values import decode
from rotator.emergency_audit import BoundAudit
from rotator.errors import Changed, ConfigurationError, KeyNotFound, Refused, RotatorError
from rotator.observe import Fleet, account_of, management_of, observe_fleet, resolve_current
from rotator.ports import KeyProvider, ProbeVerdict
from rotator.revocation import clean_labels, revoke_key
from rotator.rotation import Rotation

PROOF = timedelta(seconds=60)
"""How long a revocation may take to show everywhere."""


class Strategy(StrEnum):
    """What comes first: a working consumer, or a dead key."""

    REPLACE_FIRST = "replace-first"
    REVOKE_FIRST = "revoke-first"
    REVOKE_ONLY = "revoke-only"


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be ended: one of a secret, a key id with its account, or a leaked value."""

    secret: str | None = None
    key_id: str | None = None
    account: str | None = None
    leaked: Secret | None = None


@dataclass(frozen=True, slots=True)
class Kill:
    """A key that will be ended. ``role``: current, retiring, superseded, pending or orphan."""

    key_id: str
    role: str
    secret: str
    arn: str
    version_id: str | None = None
    revoke_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class EmergencyPlan:
    """Everything that ``--yes`` would do in one account."""

    account: str
    strategy: Strategy
    kills: tuple[Kill, ...]
    replaced: tuple[SecretEntry, ...]
    fleet: Fleet
    keys: dict[str, Key] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done: ``what`` (created, promoted, revoked), to which key or secret, after how long."""

    what: str
    secret: str
    key_id: str | None
    after: timedelta
    note: str = ""
    ok: bool = True


@dataclass(slots=True)
class EmergencyReport:
    """What became of it. ``ok``: every key is dead and every secret that should be replaced was."""

    account: str
    strategy: Strategy
    steps: list[Step] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.errors

    @property
    def revoked(self) -> tuple[str, ...]:
        """The keys that are dead now."""
        return tuple(step.key_id for step in self.steps if step.what == "revoked" and step.ok and step.key_id)

    @property
    def replaced(self) -> tuple[str, ...]:
        """The secrets that have a new key."""
        return tuple(step.secret for step in self.steps if step.what == "promoted" and step.ok)


class Emergency:
    """Plans and carries out one emergency revocation."""

    def __init__(self, services: Services, reason: str, incident: str | None = None) -> None:
        self.reason, self.incident = reason, incident
        audit = BoundAudit(services.audit, {"reason": reason, "incident": incident})
        self.services = replace(services, audit=audit)

    # ---- who ------------------------------------------------------------------------------------------------------

    def plan(self, target: Target, strategy: Strategy) -> tuple[EmergencyPlan, ...]:
        """What would be done, one plan an account (a leaked value may be looked for in several).

        :raises RotatorError: the target is unknown, or provably none of ours.
        """
        fleet = observe_fleet(self.services.store)
        if target.secret is not None:
            entry = fleet.find(target.secret) or self.services.store.describe(target.secret)
            return (self._plan_secret(fleet, entry, account_of(entry), strategy),)
        if target.leaked is not None:
            return self._plan_leaked(fleet, target, strategy)
        if target.key_id is None or target.account is None:
            raise ConfigurationError("name a secret, or a key id together with its account")
        return (self._plan_key(fleet, target.account, target.key_id, strategy),)

    def _plan_secret(self, fleet: Fleet, entry: SecretEntry, account: str, strategy: Strategy) -> EmergencyPlan:
        management_of(fleet, account)
        life = self._lifecycle(fleet, entry, account)
        current = life.current_key
        kills = list(_kills(entry, life))
        done = self.incident is not None and life.current_version == self._version_id(entry)
        notes: list[str] = []
        if done:
            kills = [kill for kill in kills if kill.role != "current"]
            notes.append(f"{entry.name} has the key that incident {self.incident} made already; only older keys are ended")
        sharing = [] if current is None or done else _holders_of(fleet, current, entry)
        notes += [f"{other.name} holds the same key and is replaced as well" for other in sharing]
        wanted = strategy is not Strategy.REVOKE_ONLY and not done
        replaced = (entry, *sharing) if wanted else ()
        if not kills:
            notes.append(f"{entry.name} has no other key to end")
        return EmergencyPlan(account, strategy, tuple(kills), replaced, fleet, notes=tuple(notes))

    def _lifecycle(self, fleet: Fleet, entry: SecretEntry, account: str) -> Lifecycle:
        life = read_lifecycle(entry)
        if life.current_version is None or life.current_key is not None:
            return life
        with self._connected(fleet, account) as provider:
            resolution = resolve_current(self.services.store, provider, entry)
        if resolution.key_id is None:
            raise Refused(f"the key of {entry.name} can't be named: {resolution.problem}")
        return replace(read_lifecycle(entry, resolution.key_id), current_key=resolution.key_id)

    def _plan_key(self, fleet: Fleet, account: str, key_id: str, strategy: Strategy) -> EmergencyPlan:
        entries = [entry for name in fleet.accounts for entry in fleet.managed.get(name, ())]
        lives = {entry.arn: read_lifecycle(entry) for entry in entries}
        unlabelled = [e for e in entries if lives[e.arn].current_version and not lives[e.arn].current_key]
        if unlabelled and not any(key_id in life.key_ids() for life in lives.values()):
            with self._connected(fleet, account) as provider:
                for entry in unlabelled:
                    found = resolve_current(self.services.store, provider, entry).key_id
                    if found is not None:
                        lives[entry.arn] = replace(read_lifecycle(entry, found), current_key=found)
        current = [entry for entry in entries if lives[entry.arn].current_key == key_id]
        if current:
            return self._plan_secret(fleet, current[0], account_of(current[0]), strategy)
        for entry in entries:
            for kill in _kills(entry, lives[entry.arn]):
                if kill.key_id == key_id:
                    return EmergencyPlan(account_of(entry), strategy, (kill,), (), fleet)
        return self._plan_unlabelled(fleet, account, key_id, strategy)

    def _plan_unlabelled(self, fleet: Fleet, account: str, key_id: str, strategy: Strategy) -> EmergencyPlan:
        """A key that no secret names: ours only by its own name, or not ours."""
        with self._connected(fleet, account) as provider:
            try:
                key = provider.get_key(key_id).key
            except KeyNotFound:
                raise Refused(
                    f"Infobip's account {account} has no key {key_id}", advice="Check the id and the account."
                ) from None
        if not key.enabled:
            return EmergencyPlan(account, strategy, (), (), fleet, notes=(f"key {key_id} is dead already",))
        name = parse_key_name(key.name)
        if name is not None and name.deployment == self.services.policy.deployment:
            kill = Kill(key_id, "orphan", name.secret, "", name.version_id)
            return EmergencyPlan(account, strategy, (kill,), (), fleet, {key_id: key})
        raise Refused(
            f"key {key_id} is not managed here, so it is not ended: no managed secret holds it",
            advice="End it in Infobip's portal, or take its secret under management with `rotator adopt` first.",
        )

    def _plan_leaked(self, fleet: Fleet, target: Target, strategy: Strategy) -> tuple[EmergencyPlan, ...]:
        assert target.leaked is not None
        accounts = fleet.accounts if target.account is None else (target.account,)
        errors: list[str] = []
        for account in accounts:
            try:
                with self._connected(fleet, account) as provider:
                    found = provider.find_by_value(target.leaked)
            except RotatorError as error:
                errors.append(f"{account}: {error}")
                continue
            if found is not None:
                return (self._plan_key(fleet, account, found.id, strategy),)
        where = ", ".join(accounts) or "none"
        if errors:
            raise Refused(f"not every account could be asked for the leaked key: {'; '.join(errors)}")
        raise Refused(
            f"the leaked value is no key of these accounts: {where}",
            advice="If it is another account's, end it in Infobip's portal.",
        )

    def look(self, plan: EmergencyPlan) -> EmergencyPlan:
        """The same plan with each key as Infobip shows it now, for people to read before they say yes."""
        keys = dict(plan.keys)
        with self._connected(plan.fleet, plan.account) as provider:
            for kill in plan.kills:
                try:
                    keys[kill.key_id] = provider.get_key(kill.key_id).key
                except KeyNotFound:
                    continue
        return replace(plan, keys=keys)

    # ---- how --------------------------------------------------------------------------------------------------------

    def execute(self, plan: EmergencyPlan) -> EmergencyReport:
        """Carry a plan out. Never raises for what fails on the way: that is in the report, and the killing goes on."""
        report = EmergencyReport(plan.account, plan.strategy)
        begin = self.services.clock.now()
        said = {"account": plan.account, "secret": plan.kills[0].secret if plan.kills else None}
        self.services.audit.emit("emergency.requested", "attempt", **said, strategy=str(plan.strategy))
        try:
            with self._connected(plan.fleet, plan.account) as provider:
                run = _Run(self, plan, provider, report, begin)
                run.execute()
        except RotatorError as error:
            report.errors.append(str(error))
        outcome = "success" if report.ok else "failure"
        self.services.audit.emit(
            "emergency.completed",
            outcome,
            **said,
            error="; ".join(report.errors) or None,
            revoked=list(report.revoked),
            replaced=list(report.replaced),
            duration_ms=int((self.services.clock.now() - begin).total_seconds() * 1000),
        )
        detail = {"account": plan.account, "revoked": list(report.revoked), "replaced": list(report.replaced)}
        self.services.events.send(
            "Emergency Revocation", {**detail, "reason": self.reason, "incident": self.incident, "outcome": outcome}
        )
        return report

    def _connected(self, fleet: Fleet, account: str) -> _Connected:
        return _Connected(self.services, fleet, account)

    def _version_id(self, entry: SecretEntry) -> str:
        """One replacement an incident: repeating the command finds what it made, and makes no second one."""
        if self.incident is None:
            return self.services.new_version_id()
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{entry.arn}#{self.incident}"))


class _Connected:
    """A provider for the time of a ``with`` block."""

    def __init__(self, services: Services, fleet: Fleet, account: str) -> None:
        entry = management_of(fleet, account)
        self._provider = services.connect(entry, services.store.read_current(entry.arn).text)

    def __enter__(self) -> KeyProvider:
        return self._provider

    def __exit__(self, *_: object) -> None:
        self._provider.close()


@dataclass(slots=True)
class _Run:
    """The carrying out of one plan."""

    emergency: Emergency
    plan: EmergencyPlan
    provider: KeyProvider
    report: EmergencyReport
    begin: datetime
    values: dict[str, Secret] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)

    def execute(self) -> None:
        """In the order of the strategy."""
        if self.plan.strategy is Strategy.REPLACE_FIRST:
            self._replace_all()
            self._kill_all(self.plan.kills)
        else:
            self._kill_all(self._fresh_kills())
            if self.plan.strategy is Strategy.REVOKE_FIRST:
                self._replace_all()
        self._clean_up()
        self._prove()

    # ---- replacing ------------------------------------------------------------------------------------------------

    def _replace_all(self) -> None:
        for entry in self.plan.replaced:
            try:
                self._replace(entry)
            except Changed:
                # The listing may be five minutes old: look again, once.
                self._try(lambda entry=entry: self._replace(self._services.store.describe(entry.arn)), entry.name)  # type: ignore[misc]
            except RotatorError as error:
                self._failed("promoted", entry.name, None, f"{entry.name} has no new key: {error}")

    def _try(self, work: Callable[[], None], secret: str) -> None:
        try:
            work()
        except RotatorError as error:
            self._failed("promoted", secret, None, f"{secret} has no new key: {error}")

    def _replace(self, entry: SecretEntry) -> None:
        life = read_lifecycle(entry)
        key_id = life.current_key or next((k.key_id for k in self.plan.kills if k.arn == entry.arn), None)
        context = self._context(entry, key_id)
        if life.current_version is not None and life.current_key is None and key_id is not None:
            context.services.store.add_label(entry.arn, key_label(key_id), life.current_version)
            entry = context.services.store.describe(entry.arn)
        version_id = self.emergency._version_id(entry)
        if version_id in entry.versions:
            version_id = self._services.new_version_id()
        action = Action(
            ActionKind.ROTATE,
            self.plan.account,
            entry.name,
            Reason.EMERGENCY,
            self.begin,
            key_id=key_id,
            version_id=life.current_version,
            arn=entry.arn,
        )
        rotation = Rotation(context, action, trigger_reason=self.emergency.reason, emergency=True, entry=entry)
        made = rotation.rotate(version_id)
        self._step("created", entry.name, made.key_id)
        self._step("promoted", entry.name, None)
        if rotation.old_value is not None and key_id is not None:
            self.values[key_id] = rotation.old_value

    def _context(self, entry: SecretEntry, key_id: str | None) -> AccountContext:
        keys: dict[str, Key] = {}
        if key_id is not None:
            try:
                keys[key_id] = self.provider.get_key(key_id).key
            except KeyNotFound:
                pass  # then rotator:scopes must say what the replacement may do
        snapshot = AccountSnapshot(
            self.plan.account, management_of(self.plan.fleet, self.plan.account), (entry,), keys
        )
        return AccountContext(self._services, self.provider, snapshot, Budget())

    # ---- killing ----------------------------------------------------------------------------------------------------

    def _fresh_kills(self) -> tuple[Kill, ...]:
        """The listing may be stale: look at each secret once before killing without a replacement."""
        kills = list(self.plan.kills)
        wanted = {kill.key_id for kill in kills}
        for arn in dict.fromkeys(kill.arn for kill in kills if kill.arn):
            whole = any(kill.role == "current" for kill in kills if kill.arn == arn)
            try:
                entry = self._services.store.describe(arn)
            except RotatorError:
                continue
            for kill in _kills(entry, read_lifecycle(entry)) if whole else ():
                if kill.key_id not in wanted and kill.role != "pending":
                    kills.append(kill)
        return tuple(kills)

    def _kill_all(self, kills: Iterable[Kill]) -> None:
        for kill in kills:
            if kill.key_id in self.dead:
                continue
            target = self.plan.keys.get(kill.key_id) or Key(kill.key_id, "", None, True, None, None)
            fields: dict[str, object] = {
                "account": self.plan.account,
                "secret": kill.secret,
                "version_id": kill.version_id,
                "key_id": kill.key_id,
            }
            try:
                revoke_key(self._context_for_kill(), target, self._services.clock.now(), fields)
            except KeyNotFound:
                self._step("revoked", kill.secret, kill.key_id, "gone from Infobip already")
                self.dead.add(kill.key_id)
            except RotatorError as error:
                self._failed("revoked", kill.secret, kill.key_id, f"key {kill.key_id} is NOT revoked: {error}")
                self._leave_to_sweep(kill)
            else:
                self.dead.add(kill.key_id)
                self._step("revoked", kill.secret, kill.key_id)

    def _context_for_kill(self) -> AccountContext:
        management = management_of(self.plan.fleet, self.plan.account)
        return AccountContext(
            self._services, self.provider, AccountSnapshot(self.plan.account, management, (), {}), Budget()
        )

    def _leave_to_sweep(self, kill: Kill) -> None:
        """What could not be killed is due at once, so that the next sweep tries again."""
        if not kill.version_id or not kill.arn:
            return
        try:
            label = retire_label(kill.key_id, self._services.clock.now())
            if kill.role == "current" and kill.secret not in self.report.replaced:
                return
            self._services.store.add_label(kill.arn, label, kill.version_id)
        except RotatorError:
            return  # the report says already that this key lives

    # ---- afterwards -------------------------------------------------------------------------------------------------

    def _clean_up(self) -> None:
        """Kill what the listing did not show yet, and take the dead keys' labels off superseded versions."""
        whole = {kill.arn for kill in self.plan.kills if kill.role == "current"}
        arns = dict.fromkeys([kill.arn for kill in self.plan.kills if kill.arn] + [e.arn for e in self.plan.replaced])
        for arn in arns:
            try:
                entry = self._services.store.describe(arn)
                life = read_lifecycle(entry)
                if arn in whole or any(e.arn == arn for e in self.plan.replaced):
                    self._kill_all(kill for kill in _kills(entry, life) if kill.role in ("retiring", "superseded"))
                for key_id in sorted(self.dead & set(life.key_ids())):
                    if key_id == life.current_key:
                        continue  # the label tells the next sweep that the current key is dead
                    version = life.holders.get(key_id)
                    if version is not None and key_id not in self.values:
                        self._remember(entry, version, key_id)
                    clean_labels(self._context_for_kill(), entry, key_id, str(Reason.EMERGENCY))
            except RotatorError as error:
                self.report.errors.append(f"the labels of {arn} were not cleaned, the next sweep does it: {error}")

    def _remember(self, entry: SecretEntry, version_id: str, key_id: str) -> None:
        """Read a dead key's value, to prove by using it once more that it is dead."""
        spec = parse_spec(entry.tags)
        try:
            stored = self._services.store.read_version(entry.arn, version_id)
            self.values[key_id] = decode(stored.text, "api_key" if isinstance(spec, tuple) else spec.value_field, "").key
        except RotatorError:
            return  # no proof then; the report says so

    def _prove(self) -> None:
        """Use each dead key once more until it is refused."""
        until = self._services.clock.now() + PROOF
        for position, step in enumerate(self.report.steps):
            if step.what != "revoked" or not step.ok or step.key_id is None or step.note:
                continue
            value = self.values.get(step.key_id)
            if value is None:
                self.report.steps[position] = replace(step, note="not proven: its value can't be read")
                continue
            wait = 0.5
            probe = self.provider.probe(value, "/account/1/balance")
            while probe.verdict is not ProbeVerdict.REJECTED and self._services.clock.now() < until:
                self._services.clock.sleep(wait)
                wait = min(wait * 2, 8.0)
                probe = self.provider.probe(value, "/account/1/balance")
            if probe.verdict is ProbeVerdict.REJECTED:
                self.report.steps[position] = replace(step, note="proven dead: 401")
            elif probe.verdict is ProbeVerdict.AUTHENTICATES:
                self.report.errors.append(f"key {step.key_id} was revoked and STILL authenticates after {PROOF}")
                self.report.steps[position] = replace(step, note="still authenticates", ok=False)
            else:
                self.report.steps[position] = replace(step, note=f"not proven: {probe.detail}")

    @property
    def _services(self) -> Services:
        return self.emergency.services

    def _step(self, what: str, secret: str, key_id: str | None, note: str = "") -> None:
        self.report.steps.append(Step(what, secret, key_id, self._services.clock.now() - self.begin, note))

    def _failed(self, what: str, secret: str, key_id: str | None, error: str) -> None:
        after = self._services.clock.now() - self.begin
        self.report.steps.append(Step(what, secret, key_id, after, "failed", ok=False))
        self.report.errors.append(error)


def _kills(entry: SecretEntry, life: Lifecycle) -> Iterable[Kill]:
    """Every key of a secret: the current one first."""
    if life.current_key is not None:
        yield Kill(life.current_key, "current", entry.name, entry.arn, life.current_version)
    for item in life.retiring:
        yield Kill(item.key_id, "retiring", entry.name, entry.arn, item.version_id, item.revoke_at)
    for version, key_id in life.superseded:
        yield Kill(key_id, "superseded", entry.name, entry.arn, version)


def _holders_of(fleet: Fleet, key_id: str, besides: SecretEntry) -> list[SecretEntry]:
    entries = (entry for name in fleet.accounts for entry in fleet.managed.get(name, ()))
    return [entry for entry in entries if entry.arn != besides.arn and read_lifecycle(entry).current_key == key_id]
