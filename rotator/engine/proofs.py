"""The ownership proof of a key for one version, with its value read if it is needed."""

from __future__ import annotations

from rotator.engine.context import AccountContext
from rotator.engine.version_values import with_values
from rotator.model import Key, SecretEntry
from rotator.policy.ownership import Ownership, OwnershipProof


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
