"""What an emergency is about: the target that was named, the keys to revoke, and the plan. Plain data."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from rotator.engine.observe import Fleet
from rotator.model import Key, SecretEntry
from rotator.policy.labels import key_label, parse_retire_label
from rotator.policy.lifecycle import Lifecycle, read_lifecycle
from rotator.secret import Secret

CURRENT: Final = "current"
RETIRING: Final = "retiring"
SUPERSEDED: Final = "superseded"
PENDING: Final = "pending"
ORPHAN: Final = "orphan"


class Strategy(StrEnum):
    """What comes first: a new key for the consumers, or the revocation."""

    REPLACE_FIRST = "replace-first"
    REVOKE_FIRST = "revoke-first"
    REVOKE_ONLY = "revoke-only"


@dataclass(frozen=True, slots=True)
class Target:
    """What leaked: a secret, a key id with its account, or a value (perhaps with its account)."""

    secret: str | None = None
    key_id: str | None = None
    account: str | None = None
    leaked: Secret | None = None


@dataclass(frozen=True, slots=True)
class Revocation:
    """A key to be revoked.

    :param role: ``current``, ``retiring``, ``superseded``, ``pending`` or ``orphan``.
    :param version_id: the version that holds it; ``None`` where no label names one.
    :param revoke_at: when its grace period would have ended.
    """

    key_id: str
    role: str
    secret: str
    arn: str
    version_id: str | None = None
    revoke_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class EmergencyPlan:
    """What is to be done in one account.

    :param revocations: the key that was named (or else the current one) first.
    :param replaced: the secrets that get a new key: the one concerned, and others that hold a key to be revoked.
    :param keys: keys as Infobip showed them, by id, as far as they were read.
    :param notes: sentences for the operator, without a full stop.
    :param secret: the secret concerned; ``None`` for an orphan, or where nothing is to be done.
    :param named: the key that was named by its id or value; ``None`` where the whole secret was.
    :param values: values of keys that are known already, by id, to verify the revocation with.
    :param unlabelled: ARNs whose current version carries no key label; the entries here have it.
    :param repeated: this incident has made the replacement already; only keys older than that are revoked.
    """

    account: str
    strategy: Strategy
    revocations: tuple[Revocation, ...]
    replaced: tuple[SecretEntry, ...]
    fleet: Fleet
    keys: Mapping[str, Key] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    secret: SecretEntry | None = None
    named: str | None = None
    values: Mapping[str, Secret] = field(default_factory=dict)
    unlabelled: frozenset[str] = frozenset()
    repeated: bool = False

    @property
    def named_revocation(self) -> Revocation | None:
        """The named key, if it is among those to be revoked."""
        return next((item for item in self.revocations if item.key_id == self.named), None)

    def is_main(self, arn: str) -> bool:
        """Whether that is the secret concerned."""
        return self.secret is not None and self.secret.arn == arn


# ---- what labels say ------------------------------------------------------------------------------------------------


def revocations_of(entry: SecretEntry, life: Lifecycle | None = None) -> Iterator[Revocation]:
    """Every key that a secret's labels name: the current one first, each once."""
    life = life or read_lifecycle(entry)
    seen: set[str] = set()
    # A pending key was stored and never promoted: no consumer needs it, and a reader of the secret could read it too.
    for key_id, role, version_id, revoke_at in (
        (life.current_key, CURRENT, life.current_version, None),
        *((item.key_id, RETIRING, item.version_id, item.revoke_at) for item in life.retiring),
        (life.pending_key, PENDING, life.pending_version, None),
        *((key_id, SUPERSEDED, version, None) for key_id, version in sorted(life.holders.items())),
    ):
        if key_id is not None and key_id not in seen:
            seen.add(key_id)
            yield Revocation(key_id, role, entry.name, entry.arn, version_id, revoke_at)


def is_unlabelled(entry: SecretEntry) -> bool:
    """Whether it has a current value whose key no label names."""
    return entry.deleted_at is None and read_lifecycle(entry).unlabelled


def with_label(entry: SecretEntry, key_id: str) -> SecretEntry:
    """The entry as it would be if its current version carried the label of the key that it was found to hold."""
    current = read_lifecycle(entry).current_version
    if current is None:
        return entry
    label = key_label(key_id)
    versions = {version: labels - {label} for version, labels in entry.versions.items()}
    versions[current] |= {label}
    return replace(entry, versions=versions)


def without_keys(entry: SecretEntry, key_ids: Collection[str]) -> SecretEntry:
    """The entry as it would be without the labels of these keys."""
    removed = set(map(key_label, key_ids))

    def stays(label: str) -> bool:
        parsed = parse_retire_label(label)
        return label not in removed and (parsed is None or parsed[0] not in key_ids)

    versions = {version: frozenset(filter(stays, labels)) for version, labels in entry.versions.items()}
    return replace(entry, versions=versions)


def managed_entries(fleet: Fleet, first: str) -> list[SecretEntry]:
    """Every managed secret; those of the account ``first`` before the others."""
    accounts = sorted(fleet.accounts, key=lambda name: (name != first, name))
    return [entry for name in accounts for entry in fleet.managed.get(name, ())]
