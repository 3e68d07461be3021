"""Ownership proofs: does this key belong to this version? Pure.

A staging label is only a hint, because any principal that may write a secret can set one. Scopes are inherited, and
keys are revoked, only on an ownership proof. By *name*: at Infobip the key has exactly the name that the rotator gives
for this ARN, this deployment and this version id, and no other enabled key has that name. By *value*: the version's
value was read, and this is the only key with that value at Infobip.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum

from rotator.model import AccountSnapshot, Key, Resolution, SecretEntry
from rotator.policy.labels import KeyName, key_name, parse_key_name


class OwnershipProof(StrEnum):
    """The ownership proof of a key for the version whose label names it."""

    BY_NAME = "by-name"
    BY_VALUE = "by-value"
    UNREAD = "unread"
    """Not proven by name, and the value has not been read yet."""
    UNREADABLE = "unreadable"
    """Not proven by name, and the value, or Infobip's answer about it, can't be read now."""
    NONE = "none"
    """Not proven by name, and the value is not this key's, so the label is wrong."""

    @property
    def ok(self) -> bool:
        """Whether it is an ownership proof."""
        return self in (OwnershipProof.BY_NAME, OwnershipProof.BY_VALUE)


class Ownership:
    """Finds ownership proofs in one account's snapshot.

    :param deployment: this deployment's name.
    """

    def __init__(self, snapshot: AccountSnapshot, deployment: str) -> None:
        self._snapshot = snapshot
        self._deployment = deployment
        self._names: Counter[str] | None = None

    def of(self, entry: SecretEntry, version_id: str, key_id: str, key: Key | None = None) -> OwnershipProof:
        """Return the ownership proof of a key that a version's label names.

        :param key: the key as last shown by Infobip; by default the snapshot's.
        """
        key = key or self._snapshot.keys.get(key_id)
        if key is not None and self._by_name(entry, version_id, key):
            return OwnershipProof.BY_NAME
        found = self.resolution(entry, version_id)
        if found is None:
            return OwnershipProof.UNREAD
        if found.key_id == key_id:
            return OwnershipProof.BY_VALUE
        return OwnershipProof.UNREADABLE if found.unreadable else OwnershipProof.NONE

    def resolution(self, entry: SecretEntry, version_id: str) -> Resolution | None:
        """Return which key a version's value is, if it was read."""
        return self._snapshot.values.get((entry.arn, version_id))

    def is_foreign(self, entry: SecretEntry, key: Key) -> bool:
        """Whether a key's name says that another deployment, or another secret's rotation, made it."""
        name = parse_key_name(key.name)
        if name is None or name.secret_id is None:
            return False
        return name.deployment != self._deployment or not name.is_for(entry.name, entry.arn)

    def own_name(self, key: Key) -> KeyName | None:
        """Return the key's parsed name if this deployment gave it."""
        name = parse_key_name(key.name)
        return name if name is not None and name.deployment == self._deployment else None

    def is_made_for(self, entry: SecretEntry, version_id: str) -> bool:
        """Whether an enabled key is named after a version. If so, a label there that names another key is doubtful."""
        try:
            name = key_name(entry.name, entry.arn, self._deployment, version_id)
        except ValueError:  # an operator wrote the version, with an id that the rotator does not use
            return False
        return self._enabled_names()[name] > 0

    def _by_name(self, entry: SecretEntry, version_id: str, key: Key) -> bool:
        name = self.own_name(key)
        named = name is not None and name.version_id == version_id and name.is_for(entry.name, entry.arn)
        return named and not self._has_namesake(key)

    def _has_namesake(self, key: Key) -> bool:
        listed = self._snapshot.keys.get(key.id)
        itself = listed is not None and listed.enabled and listed.name == key.name
        return self._enabled_names()[key.name] > itself

    def _enabled_names(self) -> Counter[str]:
        if self._names is None:
            self._names = Counter(each.name for each in self._snapshot.keys.values() if each.enabled)
        return self._names


def other_deployments(current: Iterable[tuple[SecretEntry, Key | None]], deployment: str) -> tuple[str, ...]:
    """Return the other deployments that created all keys in use that a rotator created; none if this one created any.

    :param current: secrets with their current keys.
    """
    names = ((entry, parse_key_name(key.name)) for entry, key in current if key is not None)
    found = {name.deployment for entry, name in names if name is not None and name.is_for(entry.name, entry.arn)}
    return () if deployment in found else tuple(sorted(found))


def is_current(entry: SecretEntry, version_id: str) -> bool:
    """Whether a version carries ``AWSCURRENT``."""
    return "AWSCURRENT" in entry.versions.get(version_id, ())
