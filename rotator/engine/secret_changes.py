"""Changes to a secret: what they depend on (whose it is, whether it is still as planned), and label writes.

Each label write has its audit line. Values are stored by the rotation alone.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from rotator.audit_events import Event
from rotator.engine.context import AccountContext
from rotator.errors import BadSecretValue, LostRace, Refused, SecretNotFound, StateChanged, StoreError
from rotator.message import utc_text
from rotator.model import Key, SecretEntry, Spec
from rotator.policy.emergency_ids import made_in_emergency
from rotator.policy.labels import (
    CURRENT,
    PENDING,
    PREVIOUS,
    key_label,
    parse_key_label,
    parse_retire_label,
    retire_label,
)
from rotator.policy.lifecycle import Lifecycle, read_lifecycle, stored_after
from rotator.policy.ownership import Ownership
from rotator.policy.tags import account_of, parse_spec, role
from rotator.ports import SecretStore
from rotator.telemetry.consumer_events import RETIRED
from rotator.text import printable


def managed_account(entry: SecretEntry) -> str:
    """The account that a managed secret belongs to.

    :raises Refused: it is not tagged as managed.
    """
    account = account_of(entry.tags)
    if role(entry.tags) == "management":
        raise Refused(
            f"{printable(entry.name)} is a management secret: it contains Infobip credentials, not a key",
            advice="Use a secret that contains a key; `rotator status` lists them.",
        )
    if role(entry.tags) != "key" or not account:
        raise Refused(
            f"{printable(entry.name)} is not managed",
            advice=(
                "Tag it: aws secretsmanager tag-resource --secret-id "
                f"{printable(entry.name)} --tags Key=rotator:role,Value=key Key=rotator:account,Value=<account>."
            ),
        )
    return account


def require_managed(entry: SecretEntry, account: str, *, despite_hold: bool = False) -> Spec:
    """Return the spec of a secret that was just read, if this account may still change it.

    :param despite_hold: an emergency does not wait for a hold.
    :raises StateChanged: it is not managed any more, belongs to another account, or is scheduled for deletion.
    :raises Refused: its tags can't be read, or it is on hold.
    """
    if role(entry.tags) != "key":
        raise StateChanged(f"{entry.name} no longer has the tag rotator:role=key")
    spec = parse_spec(entry.tags, entry.name)
    if spec.account != account:
        raise StateChanged(f"{entry.name} now belongs to account {spec.account}")
    if entry.deleted_at is not None:
        raise StateChanged(f"{entry.name} is scheduled for deletion")
    if spec.hold is not None and not despite_hold:
        raise Refused(f'{entry.name} is on hold: "{spec.hold}"', advice="Remove the tag rotator:hold to continue.")
    return spec


def require_as_planned(
    context: AccountContext,
    entry: SecretEntry,
    version_id: str | None,
    key_id: str | None,
    *,
    despite_hold: bool = False,
    advice: str = "",
) -> tuple[Spec, Lifecycle]:
    """Return the spec and the labels of a secret that was just read, if it still holds what the plan saw.

    :param version_id: the current version in the plan, and ``key_id`` its key.
    :raises StateChanged: it holds something else, or must not be changed any more; see :func:`require_managed`.
    :raises Refused: its tags or labels contradict each other, or it is on hold.
    """
    spec = require_managed(entry, context.account, despite_hold=despite_hold)
    life = read_lifecycle(entry)
    if life.problem is not None:
        raise Refused(f"{entry.name}: {life.problem}")
    if (life.current_version, life.current_key) != (version_id, key_id):
        raise StateChanged(f"AWSCURRENT of {entry.name} changed during the operation", advice=advice)
    return spec, life


def require_empty(store: SecretStore, entry: SecretEntry, version_id: str) -> None:
    """Check that the pending version of a rotation by Secrets Manager has no value.

    :raises Refused: it has one, which another program stored.
    """
    with suppress(BadSecretValue):
        try:
            store.read_version(entry.arn, version_id)
        except SecretNotFound:
            return
    raise Refused(
        f"version {version_id} of {entry.name} contains a value that the rotator did not store; it stays pending",
        advice="Finish that rotation, or remove AWSPENDING with `aws secretsmanager update-secret-version-stage`.",
    )


def grace_of(
    context: AccountContext, entry: SecretEntry, spec: Spec, version_id: str, replacement: str, key: Key | None
) -> timedelta:
    """Return how long the key of a version works after another version replaced it.

    A sweep that finishes an interrupted emergency gives no grace period to the key that the emergency found in
    ``AWSCURRENT``. A version that was replaced before, and a value that was stored after the emergency had asked for
    its key, contain other keys.

    :param replacement: the version that replaced it, and ``key`` its key.
    :raises StoreError: the versions can't be listed.
    """
    if not made_in_emergency(entry.arn, replacement):
        return spec.grace
    dates = context.services.store.version_dates(entry.arn)
    later = stored_after(dates, version_id, replacement)
    if later is False and key is not None and key.valid_from is not None:
        later = dates[version_id] > key.valid_from + timedelta(seconds=1)  # Infobip shows whole seconds
    replaced = entry.versions.get(version_id, frozenset()) & {CURRENT, PREVIOUS}
    return timedelta(0) if replaced and not later else spec.grace


# ---- label writes ---------------------------------------------------------------------------------------------------


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
    fields = entry.version_fields(version_id, key_id, reason)
    with context.change(Event.KEY_ADOPTED, **fields):
        context.services.store.add_label(entry.arn, key_label(key_id), version_id, remove_from=holder)


def with_label(entry: SecretEntry, key_id: str, version_id: str) -> SecretEntry:
    """Return the secret as if that version carried the label of this key alone, and no other version did."""
    wanted = key_label(key_id)
    versions = {version: labels - {wanted} for version, labels in entry.versions.items()}
    others = frozenset(label for label in versions[version_id] if parse_key_label(label) is None)
    return replace(entry, versions={**versions, version_id: others | {wanted}})


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
    fields = entry.version_fields(version_id, key_id, reason)
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
