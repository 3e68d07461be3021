"""The state of one emergency while it or its dry run is carried out; above all, which keys are suspect."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Final

from rotator.engine.context import AccountContext, Budget, Services
from rotator.engine.emergency.targets import (
    EmergencyPlan,
    EmergencyReport,
    Revocation,
    Role,
    Step,
    StepKind,
    Strategy,
    current_of,
    is_unlabelled,
    revocations_of,
    with_label,
)
from rotator.engine.observe import management_of, resolve_version, value_field
from rotator.errors import KeyNotFound, RotatorError
from rotator.model import AccountSnapshot, Key, Reason, Resolution, SecretEntry
from rotator.policy.emergency_ids import emergency_version_id, made_for_incident
from rotator.policy.labels import key_name, parse_key_name
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.ownership import OwnershipProof
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
    :param values: values of keys that are revoked, to verify the revocations. Never shown.
    :param held: which key the value of a version was found to be, by the secret's ARN and the version id.
    :param to_label: ARNs whose current version lacks its key's label so far (the entries here have it), and why.
    :param made: version ids that were chosen in this run.
    :param promoted: ARNs that have a new key, from here or by another rotation since the incident began.
    :param in_use: keys that consumers had when the incident began: revoked even while no other key is current.
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
    to_label: dict[str, Reason] = field(init=False)
    made: set[str] = field(default_factory=set)
    promoted: set[str] = field(default_factory=set)
    in_use: set[str] = field(init=False)
    admitted: set[frozenset[str]] = field(default_factory=set)
    _proofs: dict[tuple[str, str, str], OwnershipProof] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plan, leak = self.plan, self.plan.leak
        self.keys = {leak.key_id: leak.key} if leak and leak.key else {}
        self.values = {leak.key_id: leak.value} if leak and leak.value else {}
        self.report.keys = self.keys
        self.to_label = {plan.secret.arn: Reason.UNADOPTED} if plan.secret and plan.unlabelled else {}
        # Without the pending key, which no consumer had yet and which may be promoted meanwhile.
        self.in_use = {item.key_id for item in plan.revocations if item.role != Role.PENDING}

    @property
    def dry_run(self) -> bool:
        """Whether everything is checked and nothing is changed."""
        return self.report.dry_run

    def now(self) -> datetime:
        """The time."""
        return self.services.clock.now()

    def context(self, arn: str = "") -> AccountContext:
        """The context for actions, without a daily budget, so that the reserve is used.

        :param arn: the secret for which a key may be made. Its version id then shows that this incident made it.
        """
        management = management_of(self.plan.fleet, self.plan.account)
        snapshot = AccountSnapshot(self.plan.account, management, (), dict(self.keys), held=dict(self.held))
        services = replace(self.services, new_version_id=lambda: self._version_id(arn))
        return AccountContext(services, self.provider, snapshot, Budget())

    def _version_id(self, arn: str) -> str:
        version_id = emergency_version_id(arn, self.name, self.services.new_version_id())
        self.made.add(version_id)
        return version_id

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

    # ---- which keys are suspect -------------------------------------------------------------------------------------

    def is_suspect(self, item: Revocation, entry: SecretEntry) -> bool:
        """Whether a key is to be revoked, by what its secret shows now.

        True for the named key, the plan's keys, and keys seen later that are no newer than the incident. True for the
        current key only if consumers had it when the incident began, and no other key was named.
        """
        plan = self.plan
        if item.key_id == plan.named:
            return True
        planned = item.key_id in {each.key_id for each in plan.revocations}
        if item.version_id in self.made or (plan.repeated and not planned):
            return False
        replaced = self.dry_run and entry.arn in self.promoted  # its current key would be replaced
        if item.key_id == read_lifecycle(entry).current_key and not replaced:
            return plan.named is None and item.key_id in self.in_use and not self.replaced_before(entry)
        return planned or item.key_id in self.in_use or not self.is_newer(item)

    def replaced_before(self, entry: SecretEntry) -> bool:
        """Whether this incident made the key that consumers get now, and this command does not name it."""
        if self.plan.named is None and self.plan.strategy is Strategy.REVOKE_ONLY:
            return False  # the whole secret was named, and no key is wanted in it
        life = read_lifecycle(entry)
        mine = self.plan.named is None or self.plan.named != life.current_key
        return mine and made_for_incident(entry.arn, self.name, life.current_version)

    def began_with(self, entry: SecretEntry) -> None:
        """Note the keys that consumers had at the beginning: the listing may be five minutes out of date."""
        shown = (item for item in revocations_of(entry) if item.role != Role.PENDING)
        self.in_use |= {item.key_id for item in shown if not self.is_newer(item)}

    def is_newer(self, item: Revocation) -> bool:
        """Whether another rotation stored the key since the incident began, so that it did not leak.

        True only if its name shows that a rotation made it. A value stored by hand may be an old key.
        """
        if item.key_id == self.plan.named or item.key_id in self.in_use:
            return False
        try:
            key = self.key(item.key_id)
            name = parse_key_name(key.name) if key is not None else None
            own = name is not None and name.deployment == self.services.policy.deployment
            if key is None or name is None or not own or name.version_id != item.version_id:
                return False
            # AWS does not show its clock. If this machine's clock and Infobip's differ, this machine's is wrong.
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

        By name, if Infobip shows only this key under the name of the version's key; else by value.
        """
        about = (item.arn, item.version_id or "", item.key_id)
        known = self._proofs.get(about) or self._find_ownership_proof(item)
        if known is not OwnershipProof.UNREADABLE:  # it may be readable a moment later
            self._proofs[about] = known
        return known

    def held_key(self, item: Revocation) -> str | None:
        """The key that the version's value was found to be, whatever its label says; ``None`` if it was not read."""
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
        if held.unreadable and self._has_value(entry, item, item.version_id):
            held = Resolution(item.key_id)
        if held.unreadable:
            return OwnershipProof.UNREADABLE
        self.held[(entry.arn, item.version_id)] = held
        # A key in another field leaked with the rest.
        return OwnershipProof.BY_VALUE if item.key_id in {held.key_id, *held.holds} else OwnershipProof.NONE

    def _has_value(self, entry: SecretEntry, item: Revocation, version_id: str) -> bool:
        """Whether Infobip shows the labelled key with its version's value. Asked if the search by value fails.

        A leaked key must not stay enabled because of that failure.
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
        """A key, read once; ``None`` if Infobip has no such key."""
        if key_id not in self.keys:
            try:
                self.keys[key_id] = self.provider.get_key(key_id).key
            except KeyNotFound:
                return None
        return self.keys[key_id]

    def fresh(self, arn: str) -> SecretEntry:
        """Describe a secret. If its current value is unlabelled, find its key and add the label to the entry.

        :raises StoreError: it can't be described.
        """
        entry = self.services.store.describe(arn)
        self.to_label.pop(arn, None)
        if not is_unlabelled(entry):
            return entry
        try:
            key_id = resolve_version(self.services.store, self.provider, entry).key_id
        except RotatorError:
            key_id = None
        again = self.services.store.describe(arn)
        if read_lifecycle(again).current_version != read_lifecycle(entry).current_version:
            return again  # another version was promoted in between, so the value that was read may be its own
        if key_id is None:
            return entry
        self.to_label[arn] = Reason.UNADOPTED
        return with_label(entry, key_id)

    def as_valued(self, entry: SecretEntry) -> SecretEntry:
        """Return the entry with the label of its current value's key, instead of any other: the value decides."""
        labelled, at_work = current_of(entry), read_lifecycle(entry).at_work
        proof = self.ownership_proof(labelled) if labelled is not None else OwnershipProof.UNREADABLE
        if labelled is None or (len(at_work) == 1 and proof is not OwnershipProof.NONE):
            return entry
        key_id = labelled.key_id if proof.ok else self.held_key(labelled)
        if key_id is None:
            return entry
        self.to_label[entry.arn] = Reason.MISLABELLED
        if at_work & self.in_use:
            self.in_use.add(key_id)
        return with_label(entry, key_id)
