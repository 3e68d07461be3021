"""Rollback: the previous key becomes current again while it is in grace, and the newer one gets a full grace.

A hold stands against it as against every change but an emergency: who holds a secret wants it as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from rotator.engine.context import AccountContext, Budget, Services
from rotator.engine.evidence import ownership_proof
from rotator.engine.observe import management_of, observe_fleet
from rotator.engine.reconcile import Reconciler
from rotator.engine.rollback.previous_key import Previous, refuse_if_skipped
from rotator.engine.rollback.switch import Switch
from rotator.engine.secret_changes import account_of
from rotator.errors import KeyNotFound, Refused, StoreError
from rotator.model import AccountSnapshot, Key, SecretEntry
from rotator.policy.guards import clock_skew
from rotator.policy.lifecycle import Lifecycle, read_lifecycle
from rotator.policy.ownership import OwnershipProof
from rotator.policy.planner import make_view
from rotator.policy.rollback_target import emergency_versions, previous_key, rolled_back_from
from rotator.policy.rules import ROTATE_WHEN, Decision, first, renew_at, window_closed
from rotator.ports import KeyProvider
from rotator.text import printable

__all__ = ["RolledBack", "rollback"]


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What a rollback did.

    :param key_id: the key in ``AWSCURRENT`` now, in version ``version_id``.
    :param retired_key_id: the newer key, which lives on until ``retired_until``.
    :param retired_until: ``None`` where its label could not be written; the next sweep does it, with the full grace.
    :param due: why the next sweep will rotate the key that is current now, if it will.
    :param waits: what that rotation waits for (its window), if it does.
    :param changed_fields: other fields of a JSON value that went back with the key.
    :param next_due: when a rotation is, or was, due by the key's end and age.
    :param already: it was rolled back before, and nothing was changed this time.
    :param others: the other keys in grace, which can be named.
    """

    account: str
    secret: str
    key_id: str
    version_id: str
    expires_at: datetime | None
    retired_key_id: str | None
    retired_version_id: str | None
    retired_until: datetime | None
    due: Decision | None
    waits: Decision | None
    next_due: datetime | None
    changed_fields: tuple[str, ...] = ()
    already: bool = False
    others: tuple[str, ...] = ()


def rollback(reconciler: Reconciler, secret: str, reason: str, key_id: str | None = None) -> RolledBack:
    """Make the previous key of a secret current again.

    Given again it changes nothing, however many keys are in grace: who means another one names it.

    :param reason: the operator's own words, for the audit.
    :param key_id: which of several keys in grace; by default the one that was current last.
    :raises RotatorError: consumers get the same key as before; at most the previous key's grace begins anew.
    """
    services = reconciler.services
    entry = services.store.describe(secret)
    account = account_of(entry)
    life = read_lifecycle(entry)
    fleet = observe_fleet(services.store)
    alone = AccountSnapshot(account, management_of(fleet, account), (entry,), {})
    view = make_view(alone, entry)
    spec = refuse_if_skipped(view, services.clock.now())
    with reconciler.connected(fleet, account) as provider:
        keys = _keys(provider, life)
        snapshot = replace(alone, keys=keys, skew=provider.skew())
        wrong = clock_skew(snapshot)
        if wrong is not None:
            raise Refused(f"{printable(entry.name)} is not rolled back: {wrong}")
        context = AccountContext(services, provider, snapshot, Budget())
        if key_id in (None, life.current_key):  # a key that was named is refused by what its version holds
            life = _proven(context, entry, life)
        dates = _dates(services, entry)
        newer = rolled_back_from(life, keys, dates)
        if newer is not None and key_id in (None, life.current_key):
            return _already(snapshot, entry, newer, services.clock.now())
        item = previous_key(entry, life, dates, key_id)
        proof = Previous(context, entry, spec, item, reason)
        retired_until = Switch(proof, life).carry_out()
        now = context.now()
        after = replace(make_view(snapshot, entry), key_id=proof.key.id, key=proof.key)
        due = first(ROTATE_WHEN, after, now)
        return RolledBack(
            account=account,
            secret=entry.name,
            key_id=proof.key.id,
            version_id=item.version_id,
            expires_at=proof.key.valid_to,
            retired_key_id=life.current_key,
            retired_version_id=life.current_version,
            retired_until=retired_until,
            due=due,
            waits=window_closed(after, due, now) if due is not None else None,
            next_due=renew_at(after),
            changed_fields=proof.changed,
        )


def _proven(context: AccountContext, entry: SecretEntry, life: Lifecycle) -> Lifecycle:
    """The labels without those that name a key which their version's value is not: whoever may write one can forge it.

    :raises ProviderError: Infobip can't be asked.
    """
    if life.more is None:
        return life
    found = context.snapshot.keys
    left = [*life.superseded, *((item.version_id, item.key_id) for item in life.retiring)]
    wrong = {
        pair for pair in left if pair[1] in found and ownership_proof(context, entry, *pair) is OwnershipProof.NONE
    }
    superseded = tuple(pair for pair in life.superseded if pair not in wrong)
    retiring = tuple(item for item in life.retiring if (item.version_id, item.key_id) not in wrong)
    return replace(life, more=replace(life.more, superseded=superseded, retiring=retiring))


def _already(snapshot: AccountSnapshot, entry: SecretEntry, newer: tuple[str, str], now: datetime) -> RolledBack:
    """What there is to say of a secret that was rolled back before."""
    view = make_view(snapshot, entry)
    life, due = view.life, first(ROTATE_WHEN, view, now)
    assert life.current_key is not None
    assert life.current_version is not None
    return RolledBack(
        account=snapshot.account,
        secret=entry.name,
        key_id=life.current_key,
        version_id=life.current_version,
        expires_at=view.key.valid_to if view.key is not None else None,
        retired_key_id=newer[1],
        retired_version_id=newer[0],
        retired_until=next((item.revoke_at for item in life.retiring if item.key_id == newer[1]), None),
        due=due,
        waits=window_closed(view, due, now) if due is not None else None,
        next_due=renew_at(view),
        already=True,
        others=tuple(item.key_id for item in life.retiring),
    )


def _dates(services: Services, entry: SecretEntry) -> Mapping[str, datetime]:
    """When the versions were made. Without that right the keys' own beginnings do, unless an emergency made one."""
    try:
        return services.store.version_dates(entry.arn)
    except StoreError:
        if emergency_versions(entry):
            raise
        return {}


def _keys(provider: KeyProvider, life: Lifecycle) -> dict[str, Key]:
    """The current key, those in grace and those that wait for their retire label, read now."""
    found: dict[str, Key] = {}
    left = (*(key_id for _, key_id in life.superseded), *(item.key_id for item in life.retiring))
    for key_id in (life.current_key, *left):
        if key_id is not None and key_id not in found:
            try:
                found[key_id] = provider.get_key(key_id).key
            except KeyNotFound:
                continue
    return found
