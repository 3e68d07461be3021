"""What the parts of one emergency share while it is carried out, or a dry run goes through it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Final

from rotator.engine.context import AccountContext, Budget, Services
from rotator.engine.emergency.targets import (
    EmergencyPlan,
    EmergencyReport,
    Revocation,
    Role,
    Step,
    StepKind,
    Strategy,
    is_unlabelled,
    with_label,
)
from rotator.engine.observe import management_of, resolve_version, value_field
from rotator.errors import KeyNotFound, RotatorError
from rotator.model import AccountSnapshot, Key, Resolution, SecretEntry, Spec
from rotator.policy.emergency_ids import emergency_version_id, made_for_incident
from rotator.policy.labels import key_name, parse_key_name
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.ownership import OwnershipProof
from rotator.policy.tags import spec_or_none
from rotator.policy.values import decode
from rotator.ports import KeyProvider
from rotator.secret import Secret

JUST_BEFORE: Final = timedelta(seconds=5)
"""Clocks give whole seconds, and no leak is reported of a key that is younger than this."""


@dataclass
class Incident:
    """One plan, being carried out.

    :param reason: the operator's own words.
    :param name: the operator's name of the incident.
    :param begun: when it began.
    :param keys: keys as Infobip showed them.
    :param values: values of keys that are revoked, to verify it with. Never shown.
    :param held: which key the value of a version was found to be, by the secret's ARN and the version id.
    :param unlabelled: ARNs whose current version still lacks its key label.
    :param made: version ids that were chosen in this run.
    :param promoted: ARNs that have a new key.
    :param replaced_by_others: ARNs whose new key another rotation made, since the incident began.
    :param revoked: keys that Infobip confirmed to be revoked; in a dry run, those that would be.
    :param not_found: keys that Infobip says it does not have, by id.
    :param compromised: keys that consumers had when the incident began, or that were named: revoked in any case.
    :param admitted: ``allowedIPs`` of keys that authenticated from here: they do not shut this machine out.
    """

    services: Services
    provider: KeyProvider
    plan: EmergencyPlan
    report: EmergencyReport
    reason: str
    name: str | None
    begun: datetime
    keys: dict[str, Key] = field(init=False)
    values: dict[str, Secret] = field(init=False)
    held: dict[tuple[str, str], Resolution] = field(default_factory=dict)
    unlabelled: set[str] = field(init=False)
    made: set[str] = field(default_factory=set)
    promoted: set[str] = field(default_factory=set)
    replaced_by_others: set[str] = field(default_factory=set)
    revoked: set[str] = field(default_factory=set)
    not_found: dict[str, Revocation] = field(default_factory=dict)
    compromised: set[str] = field(default_factory=set)
    admitted: set[frozenset[str]] = field(default_factory=set)
    _proofs: dict[tuple[str, str, str], OwnershipProof] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys, self.values = dict(self.plan.keys), dict(self.plan.values)
        self.unlabelled = set(self.plan.unlabelled)
        self.report.keys = self.keys
        self.mark_compromised(self.plan.revocations)
        choose = self.services.new_version_id

        def chosen() -> str:
            version_id = choose()
            self.made.add(version_id)
            return version_id

        self.services = replace(self.services, new_version_id=chosen)

    @property
    def dry_run(self) -> bool:
        """Whether everything is checked and nothing is changed."""
        return self.report.dry_run

    def now(self) -> datetime:
        """The time."""
        return self.services.clock.now()

    def version_id(self, arn: str) -> str:
        """A version id for a replacement, which says later that this incident made it."""
        version_id = emergency_version_id(arn, self.name, self.services.new_version_id())
        self.made.add(version_id)
        return version_id

    # ---- for the record ---------------------------------------------------------------------------------------------

    def context(self) -> AccountContext:
        """What acting needs; without a daily budget, so that the reserve is used."""
        management = management_of(self.plan.fleet, self.plan.account)
        snapshot = AccountSnapshot(self.plan.account, management, (), dict(self.keys), held=dict(self.held))
        return AccountContext(self.services, self.provider, snapshot, Budget())

    def fields(self, secret: str, version_id: str | None, key_id: str | None) -> dict[str, Any]:
        """Audit fields; the account stands in the context, the reason and the incident are bound to every line."""
        return {"secret": secret, "version_id": version_id, "key_id": key_id}

    def step(
        self,
        what: StepKind,
        secret: str,
        key_id: str | None,
        note: str = "",
        *,
        error: str | None = None,
        revocation: Revocation | None = None,
    ) -> None:
        """Note a step in the report."""
        after = self.now() - self.begun
        self.report.steps.append(Step(what, secret, key_id, after, note, error, revocation))

    # ---- which keys leaked ------------------------------------------------------------------------------------------

    def replaced_before(self, entry: SecretEntry) -> bool:
        """Whether this incident made what consumers get now, and that is not what was named this time."""
        if self.plan.named is None and self.plan.strategy is Strategy.REVOKE_ONLY:
            return False  # the whole secret was named, and no key is wanted in it
        life = read_lifecycle(entry)
        mine = self.plan.named is None or self.plan.named != life.current_key
        return mine and made_for_incident(entry.arn, self.name, life.current_version)

    def mark_compromised(self, items: Iterable[Revocation]) -> None:
        """These are revoked in any case; not a stored key that no consumer had yet, which may be promoted meanwhile."""
        named = self.plan.named
        self.compromised |= {item.key_id for item in items if item.role != Role.PENDING or item.key_id == named}

    def is_newer(self, item: Revocation) -> bool:
        """Whether another rotation stored the key since the incident began: it is no leak, but what helps.

        Only where its name shows that it is a rotation's. What was made by hand may be an old one that is put back.
        """
        if item.key_id == self.plan.named or item.key_id in self.compromised:
            return False
        try:
            key = self.key(item.key_id)
            name = parse_key_name(key.name) if key is not None else None
            own = name is not None and name.deployment == self.services.policy.deployment
            if key is None or name is None or not own or name.version_id != item.version_id:
                return False
            # AWS shows no time of its own: where this machine's clock differs from Infobip's, it is this one that errs.
            since = self.begun + (self.provider.skew() or timedelta(0)) - JUST_BEFORE
            if key.valid_from is not None and key.valid_from >= since:
                return True
            stored = self.services.store.version_dates(item.arn).get(name.version_id)
        except RotatorError:
            return False
        return stored is not None and stored >= since

    # ---- ownership --------------------------------------------------------------------------------------------------

    def ownership_proof(self, item: Revocation) -> OwnershipProof:
        """The proof of ownership for the version whose label names a key; found once, if it can be.

        By name, where Infobip shows it alone under the name that the version's key has; else by value.
        """
        about = (item.arn, item.version_id or "", item.key_id)
        known = self._proofs.get(about) or self._find_ownership_proof(item)
        if known is not OwnershipProof.UNREADABLE:  # it may be readable a moment later
            self._proofs[about] = known
        return known

    def held_key(self, item: Revocation) -> str | None:
        """The key that the version's value was found to be, whatever its label says; ``None`` where it was not read."""
        held = self.held.get((item.arn, item.version_id or ""))
        return held.key_id if held is not None else None

    def _find_ownership_proof(self, item: Revocation) -> OwnershipProof:
        plan = self.plan
        every = chain((plan.secret,) if plan.secret else (), plan.replaced, plan.fleet.every())
        entry = next((entry for entry in every if entry.arn == item.arn), None)
        if entry is None or item.version_id is None:
            return OwnershipProof.NONE
        try:
            name = key_name(entry.name, entry.arn, self.services.policy.deployment, item.version_id)
            known = self.keys.get(item.key_id)
            searched = known is None or known.name == name
            found = {key.id: key for key in self.provider.find_by_name(name)} if searched else {}
            self.keys.update(found)  # a namesake too: a rotation asks once more
            namesakes = any(key.enabled for key in found.values() if key.id != item.key_id)
            if item.key_id in found and not namesakes:
                return OwnershipProof.BY_NAME
        except (RotatorError, ValueError):
            pass  # then its value decides
        try:
            held = resolve_version(self.services.store, self.provider, entry, item.version_id)
        except RotatorError:
            return OwnershipProof.UNREADABLE
        if not held.unreadable:
            self.held[(entry.arn, item.version_id)] = held
        if item.key_id == held.key_id or item.key_id in held.holds:  # in another field: it leaked with the rest
            return OwnershipProof.BY_VALUE
        if held.unreadable and self._has_value(entry, item, item.version_id):
            self.held[(entry.arn, item.version_id)] = Resolution(item.key_id)
            return OwnershipProof.BY_VALUE
        return OwnershipProof.UNREADABLE if held.unreadable else OwnershipProof.NONE

    def _has_value(self, entry: SecretEntry, item: Revocation, version_id: str) -> bool:
        """Whether Infobip shows the labelled key with the very value of its version, where a search is not answered.

        A leaked key must not stay enabled because the search by value fails.
        """
        try:
            value = self.value(entry, version_id)
            return self.provider.get_key(item.key_id).value == value
        except RotatorError:
            return False

    # ---- reading ----------------------------------------------------------------------------------------------------

    def value(self, entry: SecretEntry, version_id: str) -> Secret:
        """The key's value in a version.

        :raises RotatorError: it can't be read.
        """
        stored = self.services.store.read_version(entry.arn, version_id)
        return decode(stored.text, value_field(entry), entry.name).key

    def key(self, key_id: str) -> Key | None:
        """A key, asked for once; ``None`` where Infobip has no such key."""
        if key_id not in self.keys:
            try:
                self.keys[key_id] = self.provider.get_key(key_id).key
            except KeyNotFound:
                return None
        return self.keys[key_id]

    def fresh(self, arn: str) -> SecretEntry:
        """A secret as it is now; the key of an unlabelled current value is found out, and its label put in.

        :raises StoreError: it can't be described.
        """
        entry = self.services.store.describe(arn)
        self.unlabelled.discard(arn)
        if not is_unlabelled(entry):
            return entry
        try:
            key_id = resolve_version(self.services.store, self.provider, entry).key_id
        except RotatorError:
            key_id = None
        again = self.services.store.describe(arn)
        if read_lifecycle(again).current_version != read_lifecycle(entry).current_version:
            return again  # another version was promoted in between: what was read is not what was described
        if key_id is None:
            return entry
        self.unlabelled.add(arn)
        return with_label(entry, key_id)


def spec_of(entry: SecretEntry | None) -> Spec:
    """A secret's spec, or the defaults where there is none that can be read."""
    spec = spec_or_none(entry.tags) if entry is not None else None
    return spec or Spec(account="")
