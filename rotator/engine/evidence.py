"""What proves whose key a version holds, and who else holds a key: read only where a plan asks for it.

An idle sweep reads no value. A plan that is about to rotate or revoke says what it needs to know
(:class:`~rotator.model.Questions`); what is found out here goes into the snapshot, and the plan is made again.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from rotator.engine.context import AccountContext
from rotator.engine.observe import Fleet, resolve_versions, with_history
from rotator.errors import BadSecretValue, KeyNotFound, RotatorError, SecretNotFound, StoreError
from rotator.model import AccountPlan, AccountSnapshot, Key, Policy, Questions, SecretEntry
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.ownership import Ownership, OwnershipProof, is_current
from rotator.policy.planner import plan_account
from rotator.policy.spec import parse_spec
from rotator.policy.values import contains, decode
from rotator.ports import KeyProvider, SecretStore
from rotator.secret import Secret

MOST_ROUNDS: Final = 3
"""How often a plan is made again because of what was found out: a rotation that is refused makes room for another."""


@dataclass
class CurrentValues:
    """The content of every managed secret seen here, read once a sweep, by the first account that needs it."""

    store: SecretStore
    fleet: Fleet
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _found: Mapping[str, Secret | StoreError] | None = field(default=None, repr=False)

    def read(self) -> Mapping[str, Secret | StoreError]:
        """By ARN; an error stands for one that can't be read, and one without a value is left out."""
        with self._lock:
            if self._found is None:
                arns = [entry.arn for entry in self.fleet.every() if entry.deleted_at is None]
                self._found = self.store.read_many(arns)
            return self._found


@dataclass(frozen=True, slots=True)
class Evidence:
    """Finds out what a plan of one account needs to know."""

    store: SecretStore
    provider: KeyProvider
    fleet: Fleet
    values: CurrentValues

    def plan(
        self,
        snapshot: AccountSnapshot,
        policy: Policy,
        now: datetime,
        *,
        force: bool = False,
        secret: str | None = None,
    ) -> tuple[AccountSnapshot, AccountPlan]:
        """What a sweep would do, proven as far as it can be, and the snapshot that it rests on.

        :raises ProviderError: Infobip can't be asked.
        """
        plan = plan_account(snapshot, policy, now, force=force, secret=secret)
        for _ in range(MOST_ROUNDS):
            if not plan.questions or plan.error is not None:
                break
            snapshot = self.answer(snapshot, plan.questions, now)
            plan = plan_account(snapshot, policy, now, force=force, secret=secret)
        return snapshot, plan

    def answer(self, snapshot: AccountSnapshot, questions: Questions, now: datetime) -> AccountSnapshot:
        """The snapshot with what was asked for.

        :raises ProviderError: Infobip can't be asked.
        """
        if questions.history and not snapshot.history:
            snapshot = with_history(self.provider, snapshot)
        snapshot = resolved(self.store, self.provider, snapshot, self._wanted(snapshot, questions))
        snapshot = self._with_versions(snapshot, questions.histories)
        if not questions.copies:
            return snapshot
        contents = self.values.read()
        failed = {arn for arn, content in contents.items() if isinstance(content, StoreError)}
        unreadable = tuple(entry.name for entry in self.fleet.every() if entry.arn in failed)
        copies = {
            key_id: self._holders(snapshot, key_id, holder, contents, now)
            for key_id, holder in questions.copies.items()
        }
        return replace(snapshot, copies={**snapshot.copies, **copies}, unreadable=unreadable)

    def _with_versions(self, snapshot: AccountSnapshot, arns: Collection[str]) -> AccountSnapshot:
        """Where they can't be listed nothing is noted: then a revocation is refused when it comes to it."""
        found = dict(snapshot.versions)
        for arn in sorted(arns):
            with contextlib.suppress(StoreError):
                found[arn] = frozenset(self.store.version_dates(arn))
        return replace(snapshot, versions=found)

    def _wanted(self, snapshot: AccountSnapshot, questions: Questions) -> list[tuple[SecretEntry, str]]:
        entries = {entry.arn: entry for entry in snapshot.secrets}
        return [(entries[arn], version_id) for arn, version_id in sorted(questions.versions)]

    def _holders(
        self,
        snapshot: AccountSnapshot,
        key_id: str,
        holder: tuple[str, str] | None,
        contents: Mapping[str, Secret | StoreError],
        now: datetime,
    ) -> tuple[str, ...]:
        """The managed secrets that hold a key in ``AWSCURRENT``, in any field, or have it in grace."""
        value = self._value(snapshot, key_id, holder)
        own = holder[0] if holder is not None else ""
        names = set()
        for entry in self.fleet.every():
            content = contents.get(entry.arn)
            if isinstance(content, Secret) and value is not None and contains(content, value):
                names.add(entry.name)
        for entry in self.fleet.directory.naming(key_id):
            if entry.arn != own and entry.deleted_at is None and self._claims(entry, key_id, value, contents, now):
                names.add(entry.name)
        return tuple(sorted(names))

    def _claims(
        self,
        entry: SecretEntry,
        key_id: str,
        value: Secret | None,
        contents: Mapping[str, Secret | StoreError],
        now: datetime,
    ) -> bool:
        """Whether another secret's label that names a key is true, as far as that can be told; else it counts."""
        life = read_lifecycle(entry)
        over = {item.version_id for item in life.retiring if item.key_id == key_id and item.revoke_at <= now}
        for version_id in {life.holders.get(key_id), *(i.version_id for i in life.retiring if i.key_id == key_id)}:
            if version_id is None or version_id in over:
                continue
            if value is None:
                return True
            if isinstance(contents.get(entry.arn), StoreError):
                continue  # that it can't be read is noted beside
            if is_current(entry, version_id):
                continue  # its content was searched
            try:
                if contains(self.store.read_version(entry.arn, version_id).text, value):
                    return True
            except (SecretNotFound, BadSecretValue):
                continue
            except StoreError:
                return True
        return False

    def _value(self, snapshot: AccountSnapshot, key_id: str, holder: tuple[str, str] | None) -> Secret | None:
        """A key's value: what its version holds, or else what Infobip shows."""
        if holder is not None:
            entry = next(entry for entry in snapshot.secrets if entry.arn == holder[0])
            try:
                return decode(self.store.read_version(*holder).text, value_field(entry), entry.name).key
            except RotatorError:
                pass
        try:
            return self.provider.get_key(key_id).value
        except KeyNotFound:
            return None


def value_field(entry: SecretEntry) -> str:
    """The field of a JSON value that holds a secret's key, by its tags."""
    spec = parse_spec(entry.tags)
    return "api_key" if isinstance(spec, tuple) else spec.value_field


def resolved(
    store: SecretStore,
    provider: KeyProvider,
    snapshot: AccountSnapshot,
    wanted: Sequence[tuple[SecretEntry, str]],
) -> AccountSnapshot:
    """The snapshot with the keys that versions' values are found to be."""
    asked = [(entry, None if is_current(entry, version) else version) for entry, version in wanted]
    held, resolutions = dict(snapshot.held), dict(snapshot.resolutions)
    for (entry, version), found in zip(wanted, resolve_versions(store, provider, asked), strict=True):
        held[(entry.arn, version)] = found
        if is_current(entry, version):
            resolutions[entry.arn] = found
    return replace(snapshot, held=held, resolutions=resolutions)


def ownership_proof(
    context: AccountContext, entry: SecretEntry, version_id: str, key_id: str, key: Key | None = None
) -> OwnershipProof:
    """Does this key belong to this version, and what proves it? Every change that needs to know asks here.

    :param entry: the secret, read now.
    :param key: the key as Infobip showed it last; by default as the snapshot has it.
    :raises ProviderError: Infobip can't be asked.
    """
    deployment = context.services.policy.deployment
    proof = Ownership(context.snapshot, deployment).proof(entry, version_id, key_id, key)
    if proof is not OwnershipProof.UNREAD:
        return proof
    context.snapshot = resolved(context.services.store, context.provider, context.snapshot, [(entry, version_id)])
    return Ownership(context.snapshot, deployment).proof(entry, version_id, key_id, key)


def unproven(entry: SecretEntry, version_id: str, key_id: str, proof: OwnershipProof) -> str:
    """Why a key is not taken for a version's, as a clause."""
    if proof is OwnershipProof.UNREADABLE:
        return f"whether version {version_id} of {entry.name} holds key {key_id} can't be read now"
    return f"version {version_id} of {entry.name} is labelled with key {key_id}, and its value is not that key"


__all__ = ["CurrentValues", "Evidence", "ownership_proof", "resolved", "unproven", "value_field"]
