"""Find ownership proofs, other secrets that contain a key, and a secret's readers, when a plan needs them.

An idle sweep reads no value. A plan that is about to rotate or revoke says what it needs to know
(:class:`~rotator.model.Questions`). The answers found here go into the snapshot, and the plan is made again.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from rotator.engine.context import AccountContext, Services
from rotator.engine.observe import MAX_READS, Fleet, connected, with_history
from rotator.engine.version_values import stored_key, with_values
from rotator.errors import (
    BadSecretValue,
    InvalidRequest,
    KeyNotFound,
    ReadersUnknown,
    RotatorError,
    SecretNotFound,
    StoreError,
)
from rotator.model import (
    AccountPlan,
    AccountSnapshot,
    Action,
    Elsewhere,
    Key,
    Policy,
    Questions,
    Reads,
    SecretEntry,
    Unread,
)
from rotator.policy.gate import NOT_READ
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.ownership import Ownership, OwnershipProof, is_current
from rotator.policy.planner import plan_account
from rotator.policy.values import contains
from rotator.ports import KeyProvider, SecretStore
from rotator.reasons import Reason
from rotator.secret import Secret

MAX_ROUNDS: Final = 4
"""How often a plan is made again with new answers: a refused rotation leaves its slot to another."""
MAX_LOG_TIME: Final = timedelta(minutes=2)
"""How long one account's sweep may read the access log. The next sweep reads what is left."""


@dataclass
class CurrentValues:
    """The content of every managed secret seen here, read once a sweep, by the first account that needs it."""

    store: SecretStore
    fleet: Fleet
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _found: Mapping[str, Secret | StoreError] | None = field(default=None, repr=False)

    def read(self) -> Mapping[str, Secret | StoreError]:
        """The contents by ARN: an error for a secret that can't be read, and no entry for one without a value."""
        with self._lock:
            if self._found is None:
                arns = [entry.arn for entry in self.fleet.every() if entry.deleted_at is None]
                self._found = self.store.read_many(arns)
            return self._found


@dataclass(frozen=True, slots=True)
class Evidence:
    """Answers the questions of one account's plan."""

    services: Services
    provider: KeyProvider
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
        """Plan a sweep with every ownership proof that can be found. Returns the plan's snapshot and the plan.

        :raises ProviderError: Infobip does not answer.
        """
        plan = plan_account(snapshot, policy, now, force=force, secret=secret)
        for _ in range(MAX_ROUNDS):
            if not plan.questions or plan.error is not None:
                break
            snapshot = self.answer(snapshot, plan.questions, now)
            plan = plan_account(snapshot, policy, now, force=force, secret=secret)
        return snapshot, plan

    def answer(self, snapshot: AccountSnapshot, questions: Questions, now: datetime) -> AccountSnapshot:
        """Return the snapshot with the answers.

        :raises ProviderError: Infobip does not answer.
        """
        if questions.history and not snapshot.history:
            snapshot = with_history(self.provider, snapshot)
        entries = {entry.arn: entry for entry in snapshot.secrets}
        wanted = [(entries[arn], version_id) for arn, version_id in sorted(questions.versions)]
        snapshot = with_values(self.values.store, self.provider, snapshot, wanted)
        versions = dict(snapshot.versions)
        for arn in sorted(questions.histories):
            # If the versions can't be listed, nothing is noted, and the revocation is refused before it is made.
            with contextlib.suppress(StoreError):
                versions[arn] = frozenset(self.values.store.version_dates(arn))
        snapshot = replace(snapshot, versions=versions)
        if questions.elsewhere:
            lost = sorted({key_id for _, key_id in questions.elsewhere})
            snapshot = replace(snapshot, elsewhere={**snapshot.elsewhere, **self._elsewhere(snapshot.account, lost)})
        if questions.readers:
            snapshot = replace(snapshot, readers={**snapshot.readers, **self._readers(entries, questions.readers)})
        if not questions.copies:
            return snapshot
        failed = {arn for arn, content in self.values.read().items() if isinstance(content, StoreError)}
        unreadable = tuple(entry for entry in self.values.fleet.every() if entry.arn in failed)
        asked = questions.copies.items()
        copies = {key_id: self._holders(snapshot, key_id, holder, now) for key_id, holder in asked}
        return replace(snapshot, copies={**snapshot.copies, **copies}, unreadable=unreadable)

    def _elsewhere(self, account: str, lost: Sequence[str]) -> Mapping[str, Elsewhere]:
        """Where keys are that an account does not have: each is read by its id in the other accounts until it is found.

        An account that can't be asked, or not any more because this sweep has read enough, is noted.
        """
        fleet, left, reads = self.values.fleet, list(lost), 0
        found: dict[str, Elsewhere] = {}
        unasked: list[str] = []
        for other in sorted(fleet.managements.keys() - {account}):
            if not left:
                break
            reads += len(left)
            if reads > MAX_READS or not self.services.may_start():
                unasked.append(other)
                continue
            try:
                with connected(self.services, fleet, other) as provider:
                    for key_id in list(left):
                        with contextlib.suppress(KeyNotFound, InvalidRequest):  # a label may name anything
                            found[key_id] = Elsewhere(other, provider.get_key(key_id).key)
                            left.remove(key_id)
            except RotatorError:
                unasked.append(other)
        return {**{key_id: Elsewhere(unasked=tuple(unasked)) for key_id in left}, **found}

    def _readers(
        self, entries: Mapping[str, SecretEntry], asked: Mapping[str, tuple[datetime, datetime]]
    ) -> Mapping[str, Reads | Unread]:
        """Who read each secret, by ARN. The secret whose revocation is overdue longest comes first.

        If the log can't be read for one secret, this is noted for it and for all that follow.
        """
        services, begun = self.services, self.services.clock.now()
        found: dict[str, Reads | Unread] = {}
        failed: Unread | None = None
        for arn, (_, since) in sorted(asked.items(), key=lambda item: (item[1][0], item[0])):
            late = services.clock.now() - begun > MAX_LOG_TIME or not services.may_start()
            try:
                found[arn] = failed or (NOT_READ if late else read_log(services, entries[arn], since))
            except RotatorError as error:
                found[arn] = failed = Unread(str(error))
        return found

    def _holders(
        self, snapshot: AccountSnapshot, key_id: str, holder: tuple[str, str] | None, now: datetime
    ) -> tuple[str, ...]:
        """The managed secrets that hold a key in ``AWSCURRENT``, in any field, or have it in grace."""
        value, contents = self._value(snapshot, key_id, holder), self.values.read()
        own = holder[0] if holder is not None else ""
        names = set()
        for entry in self.values.fleet.every():
            content = contents.get(entry.arn)
            if isinstance(content, Secret) and value is not None and contains(content, value):
                names.add(entry.name)
        for entry in self.values.fleet.directory.by_key.get(key_id, ()):
            if entry.arn != own and entry.deleted_at is None and self._claims(entry, key_id, value, now):
                names.add(entry.name)
        return tuple(sorted(names))

    def _claims(self, entry: SecretEntry, key_id: str, value: Secret | None, now: datetime) -> bool:
        """Whether another secret's label names the key rightly; it counts if that can't be found out."""
        life = read_lifecycle(entry)
        over = {item.version_id for item in life.retiring if item.key_id == key_id and item.revoke_at <= now}
        for version_id in {life.holders.get(key_id), *(i.version_id for i in life.retiring if i.key_id == key_id)}:
            if version_id is None or version_id in over:
                continue
            if value is None:
                return True
            if isinstance(self.values.read().get(entry.arn), StoreError) or is_current(entry, version_id):
                continue  # the snapshot notes that it can't be read, or its content was searched
            try:
                if contains(self.values.store.read_version(entry.arn, version_id).text, value):
                    return True
            except (SecretNotFound, BadSecretValue):
                continue
            except StoreError:
                return True
        return False

    def _value(self, snapshot: AccountSnapshot, key_id: str, holder: tuple[str, str] | None) -> Secret | None:
        """A key's value, from its version or else from Infobip."""
        if holder is not None:
            entry = next(entry for entry in snapshot.secrets if entry.arn == holder[0])
            value = stored_key(self.values.store, entry, holder[1])
            if value is not None:
                return value
        try:
            return self.provider.get_key(key_id).value
        except KeyNotFound:
            return None


def search_again(
    store: SecretStore, listed: AccountSnapshot, snapshot: AccountSnapshot, action: Action
) -> AccountSnapshot:
    """Return the snapshot after the secret's own current value was searched again for a key that is to be revoked.

    All other values were searched when the revocation was planned. The key of an orphan is not searched for again: a
    value that was stored by hand since may be the orphan, so it counts as not searched.

    :param listed: the snapshot that the revocation was planned for.
    """
    assert action.key_id is not None
    assert action.version_id is not None
    before, entry = ({each.arn: each for each in of.secrets}.get(action.arn) for of in (listed, snapshot))
    assert entry is not None
    life, copies, unreadable = read_lifecycle(entry), dict(snapshot.copies), snapshot.unreadable
    if life.unlabelled and (before is None or life.current_version != read_lifecycle(before).current_version):
        copies.pop(action.key_id, None)
    if action.reason is Reason.GRACE_OVER:
        value = stored_key(store, entry, action.version_id)
        content = store.read_many([entry.arn]).get(entry.arn)
        if isinstance(content, StoreError):
            unreadable = (*unreadable, entry)
        elif content is not None and value is not None and contains(content, value):
            copies[action.key_id] = (*copies.get(action.key_id, ()), entry.name)
    return replace(snapshot, copies=copies, unreadable=unreadable)


def ownership_proof(
    context: AccountContext, entry: SecretEntry, version_id: str, key_id: str, key: Key | None = None
) -> OwnershipProof:
    """The ownership proof of a key for a version; its value is read if its name is not enough.

    :param entry: the secret, read now.
    :param key: the key as Infobip showed it last; by default as the snapshot has it.
    :raises ProviderError: Infobip does not answer.
    """
    deployment = context.services.policy.deployment
    ownership = Ownership(context.snapshot, deployment).of(entry, version_id, key_id, key)
    if ownership is not OwnershipProof.UNREAD:
        return ownership
    context.snapshot = with_values(context.services.store, context.provider, context.snapshot, [(entry, version_id)])
    return Ownership(context.snapshot, deployment).of(entry, version_id, key_id, key)


def unproven(entry: SecretEntry, version_id: str, key_id: str, ownership: OwnershipProof) -> str:
    """Why a key has no ownership proof for a version, as a clause."""
    if ownership is OwnershipProof.UNREADABLE:
        return f"can't check whether version {version_id} of {entry.name} contains key {key_id}"
    return f"version {version_id} of {entry.name} is labelled with key {key_id}, but its value is a different key"


def read_log(services: Services, entry: SecretEntry, since: datetime) -> Reads:
    """Who read one secret.

    :raises ReadersUnknown: there is no access log, or it can't be read.
    """
    if services.readers is None:
        raise ReadersUnknown("no access log is configured")
    return services.readers.reads(entry, since)
