"""Finds other secrets that contain a key, before it is revoked: in their current values, or in their grace period."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from rotator.engine.observe import Fleet
from rotator.engine.version_values import stored_key
from rotator.errors import BadSecretValue, KeyNotFound, SecretNotFound, StoreError
from rotator.model import AccountSnapshot, SecretEntry
from rotator.plan import Action
from rotator.policy.lifecycle import read_lifecycle, unsettled
from rotator.policy.ownership import is_current
from rotator.policy.values import contains
from rotator.ports import KeyProvider, SecretStore
from rotator.reasons import Reason
from rotator.secret import Secret


@dataclass
class CurrentValues:
    """The content of every managed secret seen here, read once a sweep, by the first account that needs it.

    ``AWSCURRENT`` is read for every key that is searched for, other versions only for orphans.
    """

    store: SecretStore
    fleet: Fleet
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _found: Mapping[str, Secret | StoreError] | None = field(default=None, repr=False)
    _unsettled: list[tuple[SecretEntry, Secret]] | None = field(default=None, repr=False)

    def read(self) -> Mapping[str, Secret | StoreError]:
        """The contents by ARN: an error for a secret that can't be read, and no entry for one without a value."""
        with self._lock:
            if self._found is None:
                arns = [entry.arn for entry in self.fleet.every() if entry.deleted_at is None]
                self._found = self.store.read_many(arns)
            return self._found

    def read_unsettled(self) -> Sequence[tuple[SecretEntry, Secret]]:
        """The content of every pending and retiring version seen here; one that can't be read is left out."""
        with self._lock:
            if self._unsettled is None:
                self._unsettled = []
                for entry in self.fleet.every():
                    for version_id in () if entry.deleted_at is not None else unsettled(entry):
                        with suppress(StoreError):
                            self._unsettled.append((entry, self.store.read_content(entry.arn, version_id)))
            return self._unsettled

    def holders(
        self,
        provider: KeyProvider,
        snapshot: AccountSnapshot,
        key_id: str,
        holder: tuple[str, str] | None,
        now: datetime,
    ) -> tuple[str, ...]:
        """The managed secrets that contain a key in ``AWSCURRENT``, in any field, or have it in its grace period.

        An orphan is also searched for in the values of pending and retiring versions, because no label names it.

        :param holder: the ARN and version that the key is proven for; labels of that secret do not count. ``None`` for
            an orphan.
        """
        value, contents = self._value(provider, snapshot, key_id, holder), self.read()
        own = holder[0] if holder is not None else ""
        names = set()
        for entry in self.fleet.every():
            content = contents.get(entry.arn)
            if isinstance(content, Secret) and value is not None and contains(content, value):
                names.add(entry.name)
        if holder is None and value is not None:
            names.update(entry.name for entry, text in self.read_unsettled() if contains(text, value))
        for entry in self.fleet.directory.by_key.get(key_id, ()):
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
            if isinstance(self.read().get(entry.arn), StoreError) or is_current(entry, version_id):
                continue  # the snapshot notes that it can't be read, or its content was searched
            try:
                if contains(self.store.read_version(entry.arn, version_id).text, value):
                    return True
            except (SecretNotFound, BadSecretValue):
                continue
            except StoreError:
                return True
        return False

    def _value(
        self, provider: KeyProvider, snapshot: AccountSnapshot, key_id: str, holder: tuple[str, str] | None
    ) -> Secret | None:
        """A key's value, from its version or else from Infobip."""
        if holder is not None:
            entry = next(entry for entry in snapshot.secrets if entry.arn == holder[0])
            value = stored_key(self.store, entry, holder[1])
            if value is not None:
                return value
        try:
            return provider.get_key(key_id).value
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
