"""What a change to a secret depends on: whose it is, whether it is still as planned, its grace period."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from rotator.engine.context import AccountContext
from rotator.errors import BadSecretValue, Refused, SecretNotFound, StateChanged
from rotator.model import Key, SecretEntry, Spec
from rotator.policy.emergency_ids import made_in_emergency
from rotator.policy.labels import CURRENT, PREVIOUS
from rotator.policy.lifecycle import Lifecycle, read_lifecycle, stored_after
from rotator.policy.tags import account_of, parse_spec, role
from rotator.ports import SecretStore
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
