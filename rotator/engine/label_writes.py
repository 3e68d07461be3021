"""Writes of staging labels, each with its audit line. Values are stored by the rotation alone."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from rotator.audit_events import Event
from rotator.engine.context import AccountContext
from rotator.errors import LostRace, Refused, SecretNotFound, StoreError
from rotator.message import utc_text
from rotator.model import SecretEntry
from rotator.policy.labels import CURRENT, PENDING, key_label, parse_retire_label, retire_label
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.ownership import Ownership
from rotator.ports import SecretStore
from rotator.telemetry.consumer_events import RETIRED


def move_current(
    store: SecretStore, entry: SecretEntry, to_version: str, from_version: str | None, *, advice: str = ""
) -> None:
    """Move ``AWSCURRENT`` by compare-and-swap; retry once if the answer was lost or AWS could not answer.

    :raises LostRace: another process made another version current.
    :raises StoreError: it did not move, or whether it did is not known.
    """
    for last in (False, True):
        try:
            store.promote(entry.arn, to_version, from_version)
            return
        except StoreError as error:
            if not (error.outcome_unknown or error.retryable):
                raise
            current = read_lifecycle(store.describe(entry.arn)).current_version
            if current == to_version:
                return
            if current != from_version:
                text = f"AWSCURRENT of {entry.name} changed during the operation"
                raise LostRace(text, advice=advice) from None
            if last:
                raise


def label_key(context: AccountContext, entry: SecretEntry, key_id: str, version_id: str, reason: str) -> None:
    """Label a version with its key, and remove that label from another version."""
    holder = read_lifecycle(entry).holders.get(key_id)
    if holder == version_id:
        return
    if holder is not None:
        release_pending(context, entry, holder, reason)
    fields = {**entry.secret_fields, "version_id": version_id, "key_id": key_id, "reason": reason}
    with context.change(Event.KEY_ADOPTED, **fields):
        context.services.store.add_label(entry.arn, key_label(key_id), version_id, remove_from=holder)


def retire_version(
    context: AccountContext, entry: SecretEntry, version_id: str, key_id: str, revoke_at: datetime, reason: str
) -> datetime:
    """Label a superseded version with the time from which its key is to be revoked. Returns the time in the label.

    :raises Refused: another deployment or another secret's rotation made the key, so a sweep never revokes it.
    """
    key = context.snapshot.keys.get(key_id)
    if key is not None and Ownership(context.snapshot, context.services.policy.deployment).is_foreign(entry, key):
        raise Refused(
            f"key {key_id} of {entry.name} belongs to another secret or deployment, according to its name; "
            "it was not retired"
        )
    fields = {**entry.secret_fields, "version_id": version_id, "key_id": key_id, "reason": reason}
    with context.change(Event.KEY_RETIRING, **fields) as out:
        label = retire_label(key_id, revoke_at)
        context.services.store.add_label(entry.arn, label, version_id)
        _, revoke_at = parse_retire_label(label) or (key_id, revoke_at)  # whole seconds
        out["revoke_at"] = utc_text(revoke_at)
    context.publish(RETIRED, secret_arn=entry.arn, revoke_at=out["revoke_at"], **fields)
    return revoke_at


def unlabel(context: AccountContext, entry: SecretEntry, label: str, version_id: str, reason: str) -> None:
    """Take a label off, and write that to the audit. A label that is not found is no error."""
    fields = {**entry.secret_fields, "version_id": version_id, "reason": reason, "label": label}
    with context.change(Event.SECRET_UNLABELLED, **fields), suppress(SecretNotFound):
        context.services.store.remove_label(entry.arn, label, version_id)


def release_pending(context: AccountContext, entry: SecretEntry, version_id: str | None, reason: str) -> None:
    """Take ``AWSPENDING`` off a version that is about to lose its key's label, unless it is current.

    Without the key's label it would look like another function's rotation, and the secret would be skipped for ever.
    """
    labels = entry.versions.get(version_id or "", frozenset())
    if version_id is not None and PENDING in labels and CURRENT not in labels:
        unlabel(context, entry, PENDING, version_id, reason)


def clean_labels(context: AccountContext, entry: SecretEntry, key_id: str, reason: str) -> None:
    """Remove every label that names a key from a secret."""
    holders = [version for version, labels in sorted(entry.versions.items()) if key_label(key_id) in labels]
    for version in holders:
        release_pending(context, entry, version, reason)
    remove_retire_labels(context, entry, key_id, reason)
    for version in holders:
        unlabel(context, entry, key_label(key_id), version, reason)


def remove_retire_labels(context: AccountContext, entry: SecretEntry, key_id: str, reason: str, but: str = "") -> None:
    """Remove the retire labels that name a key, except ``but``."""
    for version, labels in sorted(entry.versions.items()):
        for label in sorted(labels - {but}):
            parsed = parse_retire_label(label)
            if parsed is not None and parsed[0] == key_id:
                unlabel(context, entry, label, version, reason)


def unstage(context: AccountContext, entry: SecretEntry, key_id: str, version_id: str, reason: str) -> None:
    """Remove the labels of a version that will not be promoted."""
    # AWSPENDING first: after an interruption this is a superseded version with a disabled key.
    for label in (PENDING, key_label(key_id)):
        unlabel(context, entry, label, version_id, reason)
