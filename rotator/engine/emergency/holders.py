"""Which keys a secret holds, and which secrets hold a key: by labels, and by values where there is no label."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from rotator.engine.emergency.targets import CURRENT, PENDING, RETIRING, SUPERSEDED, Revocation
from rotator.engine.observe import Fleet
from rotator.errors import BadSecretValue
from rotator.model import SecretEntry
from rotator.policy.labels import key_label
from rotator.policy.lifecycle import Lifecycle, read_lifecycle
from rotator.policy.tags import spec_or_none
from rotator.policy.values import decode
from rotator.ports import SecretStore
from rotator.secret import Secret


def revocations_of(entry: SecretEntry, life: Lifecycle | None = None) -> Iterator[Revocation]:
    """Every key that a secret's labels name: the current one first, each once."""
    life = life or read_lifecycle(entry)
    seen: set[str] = set()
    if life.current_key is not None:
        seen.add(life.current_key)
        yield Revocation(life.current_key, CURRENT, entry.name, entry.arn, life.current_version)
    for item in life.retiring:
        if item.key_id not in seen:
            seen.add(item.key_id)
            yield Revocation(item.key_id, RETIRING, entry.name, entry.arn, item.version_id, item.revoke_at)
    # Stored and never promoted: nobody needs it, and whoever could read the secret could read it as well.
    if life.pending_key is not None and life.pending_key not in seen:
        seen.add(life.pending_key)
        yield Revocation(life.pending_key, PENDING, entry.name, entry.arn, life.pending_version)
    for key_id, version in sorted(life.holders.items()):
        if key_id not in seen:
            yield Revocation(key_id, SUPERSEDED, entry.name, entry.arn, version)


def managed_entries(fleet: Fleet, first: str | None = None) -> list[SecretEntry]:
    """Every managed secret; those of the account ``first`` before the others."""
    accounts = sorted(fleet.accounts, key=lambda name: (name != first, name))
    return [entry for name in accounts for entry in fleet.managed.get(name, ())]


def is_unlabelled(entry: SecretEntry) -> bool:
    """Whether it has a current value that no label names the key of."""
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


def current_holders(entries: Collection[SecretEntry], key_ids: Collection[str], besides: str) -> list[SecretEntry]:
    """The secrets, other than the one with the ARN ``besides``, whose current key by label is one of these."""
    return [entry for entry in entries if entry.arn != besides and read_lifecycle(entry).current_key in key_ids]


def holds_value(store: SecretStore, entry: SecretEntry, value: Secret) -> bool:
    """Whether a secret's current value is that key (one call).

    :raises StoreError: it can't be read.
    """
    spec = spec_or_none(entry.tags)
    field = "api_key" if spec is None else spec.value_field
    try:
        return decode(store.read_current(entry.arn).text, field, entry.name).key == value
    except BadSecretValue:
        return False
