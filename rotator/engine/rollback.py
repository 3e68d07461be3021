"""Rollback: a key in its grace period becomes current again, and the newer key gets a full grace period.

A hold prevents it, like every change except an emergency revocation. The steps have this order so that the next sweep
completes a rollback that was interrupted at any call:

1. the previous key is verified, before anything is changed;
2. its retire labels are removed (a key in ``AWSCURRENT`` must never carry one). If interrupted here, it is a superseded
   version without a label, and the next sweep gives it a full grace period;
3. if its grace period was nearly over, this waits for a revocation that may be in flight and verifies the key again;
4. the secret is described again, and ``AWSCURRENT`` moves by compare-and-swap;
5. the newer version gets its retire label. If interrupted before, the next sweep does it, with the full grace period.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from rotator.audit_events import Event
from rotator.durations import human_duration
from rotator.engine.context import AccountContext, Budget, Services
from rotator.engine.key_ids import whole_key_id
from rotator.engine.observe import connected, find_secret, observe_fleet
from rotator.engine.proofs import ownership_proof
from rotator.engine.revoke import MAX_CHECK_AGE
from rotator.engine.rotation.promote import REVOKE_IN_FLIGHT
from rotator.engine.secret_changes import (
    managed_account,
    move_current,
    remove_retire_labels,
    require_as_planned,
    retire_version,
    unlabel,
)
from rotator.errors import (
    BadSecretValue,
    KeyNotFound,
    ProviderUnavailable,
    Refused,
    RotatorError,
    StateChanged,
    StoreError,
)
from rotator.model import AccountSnapshot, Key, SecretEntry, Spec
from rotator.policy.clock_skew import MAX_SKEW, clock_skew
from rotator.policy.labels import PENDING
from rotator.policy.lifecycle import Lifecycle, Retiring, read_lifecycle
from rotator.policy.ownership import OwnershipProof
from rotator.policy.rollback_target import (
    cant_go_back,
    check_usable,
    emergency_versions,
    previous_key,
    require_allowed,
    rolled_back_from,
)
from rotator.policy.rules import (
    ROTATE_WHEN,
    SKIP_MOVE_WHEN,
    Decision,
    View,
    first,
    make_view,
    renew_at,
    window_closed,
)
from rotator.policy.tags import RESERVED_FIELDS
from rotator.policy.values import changed_fields, decode
from rotator.ports import KeyProvider, ProbeVerdict
from rotator.reasons import Reason
from rotator.secret import Secret
from rotator.telemetry.consumer_events import ROTATED
from rotator.text import printable

NEARLY_OVER: Final = 2 * MAX_SKEW
"""A grace period that ends within this may be over by another machine's clock, which may be revoking the key now."""
_REPEAT: Final = "Check with `rotator status`, and repeat the command if still needed."


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The result of a rollback.

    :param key_id: the key in ``AWSCURRENT`` now, in version ``version_id``.
    :param retired_key_id: the newer key, which works until ``retired_until``.
    :param retired_until: ``None`` if its label could not be written; the next sweep does it, with a full grace period.
    :param due: why the next sweep will rotate the current key, if it will.
    :param waits: why that rotation waits (its window), if it does.
    :param changed_fields: other fields of a JSON value that went back with the key.
    :param next_rotation_at: when a rotation is, or was, due by the key's expiry and age.
    :param already: whether it was already rolled back, so that nothing was changed.
    :param others: the other keys in their grace period.
    :param dry_run: whether all this would be so, but nothing was changed.
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
    next_rotation_at: datetime | None
    changed_fields: tuple[str, ...] = ()
    already: bool = False
    others: tuple[str, ...] = ()
    dry_run: bool = False


def rollback(
    services: Services, secret: str, reason: str, key_id: str | None = None, *, dry_run: bool = False
) -> RolledBack:
    """Make the previous key of a secret current again.

    Repeating it changes nothing, however many keys are in their grace period: to go further back, specify the key.

    :param reason: the operator's own words, for the audit.
    :param key_id: the key to go back to; by default the one that was current last.
    :param dry_run: check and verify all that a rollback would, then change nothing.
    :raises RotatorError: consumers get the same key as before; at most the previous key's grace period starts again.
    """
    entry = find_secret(services.store, secret)
    account = managed_account(entry)
    life = read_lifecycle(entry)
    if key_id is not None:
        key_id = whole_key_id(key_id, life.named, printable(entry.name))
    fleet = observe_fleet(services.store)
    snapshot = AccountSnapshot(account, (entry,), {})
    spec = require_allowed(make_view(snapshot, entry), services.clock.now(), SKIP_MOVE_WHEN)
    with connected(services, fleet, account) as provider:
        snapshot = replace(snapshot, keys=_keys(provider, life), skew=provider.skew())
        wrong = clock_skew(snapshot)
        if wrong is not None:
            raise Refused(f"{printable(entry.name)} was not rolled back: {wrong}", reason=Reason.CLOCK_SKEW)
        require_allowed(make_view(snapshot, entry), services.clock.now())
        context = AccountContext(services, provider, snapshot, Budget())
        specified = key_id not in (None, life.current_key)
        if not specified:  # a key that was specified is checked with its version's value
            life = _without_wrong_labels(context, entry, life)
        dates = _dates(services, entry)
        newer = rolled_back_from(life, snapshot.keys, dates)
        if newer is not None and not specified:
            return _already(context, entry, newer)
        item = previous_key(entry, life, dates, snapshot.keys, services.clock.now(), key_id)
        return _Rollback(context, entry, spec, life, item, reason).carry_out(dry_run=dry_run)


@dataclass(slots=True)
class _Rollback:
    """Roll back one secret.

    :param life: the secret's labels when it was described first.
    :param item: the superseded version to go back to.
    :param key: its key as Infobip last returned it, and ``verified_at`` when that was.
    """

    context: AccountContext
    entry: SecretEntry
    spec: Spec
    life: Lifecycle
    item: Retiring
    audit_reason: str
    key: Key = field(init=False)
    verified_at: datetime = field(init=False)

    @property
    def name(self) -> str:
        """The secret's name, for messages."""
        return printable(self.entry.name)

    def carry_out(self, *, dry_run: bool) -> RolledBack:
        """Roll back, or only check whether that is possible.

        :raises RotatorError: consumers get the same key as before; at most the previous key's grace period starts
            again.
        """
        clock = self.context.services.clock
        left = self.item.revoke_at - clock.now()
        if left <= timedelta(0):
            why = f"its grace period ended {human_duration(-left)} ago, and a sweep may be revoking it now"
            raise cant_go_back(self.entry, self.item.key_id, why, Reason.GRACE_OVER)
        hurried = left < NEARLY_OVER
        value, changed = self._value()
        self._verify(value)
        if dry_run:
            return replace(self._done(self.context.revoke_at(self.spec.grace), changed), dry_run=True)
        self._remove_pending()
        remove_retire_labels(self.context, self.entry, self.item.key_id, self.audit_reason)
        if hurried:
            clock.sleep(REVOKE_IN_FLIGHT.total_seconds())
        if hurried or clock.now() - self.verified_at > MAX_CHECK_AGE:
            self._verify(value)
        fresh = self._describe_again()
        with self.context.change(Event.SECRET_ROLLED_BACK, **self._fields(), from_key_id=self.life.current_key):
            store, before = self.context.services.store, self.life.current_version
            move_current(store, self.entry, self.item.version_id, before, advice=_REPEAT)
        return self._done(self._retire_newer(fresh), changed)

    def _done(self, retired_until: datetime | None, changed: tuple[str, ...]) -> RolledBack:
        view = replace(make_view(self.context.snapshot, self.entry), key_id=self.key.id, key=self.key)
        newer = (self.life.current_version, self.life.current_key)
        done = _result(self.context, view, newer, retired_until)
        return replace(done, version_id=self.item.version_id, changed_fields=changed)

    # ---- the previous key works -------------------------------------------------------------------------------------

    def _value(self) -> tuple[Secret, tuple[str, ...]]:
        """The previous version's key, checked against its label, and the names of its other fields that differ.

        :raises RotatorError: it can't be read, or is a different key.
        """
        stored = self.context.services.store.read_version(self.entry.arn, self.item.version_id)
        value = decode(stored.text, self.spec.value_field, self.entry.name)
        changed: tuple[str, ...] = ()
        with contextlib.suppress(BadSecretValue, StoreError):  # for display only, so an error is ignored
            current = self.context.services.store.read_current(self.entry.arn).text
            own = {self.spec.value_field, *RESERVED_FIELDS}
            changed = tuple(name for name in changed_fields(stored.text, current) if name not in own)
        ownership = ownership_proof(self.context, self.entry, self.item.version_id, self.item.key_id)
        if ownership is OwnershipProof.NONE and self.item.key_id in self.context.snapshot.keys:
            held = self.context.snapshot.values[(self.entry.arn, self.item.version_id)].key_id
            raise self._mislabelled(f"contains key {held}" if held else "contains a different value")
        return value, changed

    def _verify(self, value: Secret) -> None:
        """Check that the key is enabled, has enough time left, and authenticates.

        :raises RotatorError: it does not, or the checks failed.
        """
        key_id, provider = self.item.key_id, self.context.provider
        now = self.context.services.clock.now()
        try:
            fetched = provider.get_key(key_id)
        except KeyNotFound:
            fetched = None
        key = check_usable(self.entry, key_id, fetched.key if fetched else None, now)
        if fetched is not None and fetched.value is not None and fetched.value != value:
            raise self._mislabelled("contains a different value")
        self.key, self.verified_at = key, now
        probe = self.context.verify(self.spec, value, **self._fields())
        if probe is None or probe.verdict is ProbeVerdict.AUTHENTICATES:
            return
        if probe.verdict is ProbeVerdict.REJECTED:
            raise Refused(
                f"{self.name} was not rolled back: its previous key {key_id} does not authenticate ({probe.detail})",
                advice="If its allowedIPs exclude this machine, add the tag rotator:verify=skip.",
                reason=Reason.KEY_NOT_ACTIVE,
            )
        raise ProviderUnavailable(
            f"{self.name} was not rolled back: its previous key {key_id} could not be verified ({probe.detail})",
            advice="Repeat the command; if it keeps failing, check rotator:verify-path.",
        )

    def _mislabelled(self, what: str) -> Refused:
        return Refused(
            f"version {self.item.version_id} of {self.name} is labelled with key {self.item.key_id} but {what}",
            advice="Check it with `aws secretsmanager describe-secret` and remove the wrong label.",
            reason=Reason.MISLABELLED,
        )

    # ---- moving AWSCURRENT ------------------------------------------------------------------------------------------

    def _remove_pending(self) -> None:
        """Remove ``AWSPENDING`` from both versions: an AWS emulator may show the newer one as never promoted.

        This comes before the retire labels: a version with ``AWSPENDING`` and no retire label looks like a new one.
        """
        for version in (self.item.version_id, self.life.current_version):
            if version is not None and PENDING in self.entry.versions.get(version, ()):
                unlabel(self.context, self.entry, PENDING, version, self.audit_reason)

    def _describe_again(self) -> SecretEntry:
        """Describe the secret right before it changes, and check that it is still the same.

        :raises RotatorError: it is not.
        """
        fresh = self.context.services.store.describe(self.entry.arn)
        before = self.life
        _, life = require_as_planned(self.context, fresh, before.current_version, before.current_key, advice=_REPEAT)
        if life.holders.get(self.item.key_id) != self.item.version_id:
            raise StateChanged(
                f"the label of key {self.item.key_id} on {self.name} was removed during the rollback", advice=_REPEAT
            )
        require_allowed(make_view(self.context.snapshot, fresh), self.context.services.clock.now())
        return fresh

    def _retire_newer(self, fresh: SecretEntry) -> datetime | None:
        """Publish the rollback and retire the newer version. The next sweep completes what fails here."""
        context, version, key_id = self.context, self.life.current_version, self.life.current_key
        assert version is not None
        assert key_id is not None
        retired: datetime | None = None
        # Before the retire label: if interrupted here, the next sweep publishes it once more.
        context.publish(ROTATED, secret_arn=self.entry.arn, **self._fields(), rolled_back_from=key_id)
        with contextlib.suppress(RotatorError):
            until = context.revoke_at(self.spec.grace)
            retired = retire_version(context, self.entry, version, key_id, until, self.audit_reason)
        with contextlib.suppress(RotatorError):  # a stale label, which every sweep removes
            # Labels that a sweep added since the first description.
            remove_retire_labels(context, fresh, self.item.key_id, self.audit_reason)
        return retired

    def _fields(self) -> dict[str, object]:
        return self.entry.version_fields(self.item.version_id, self.item.key_id, self.audit_reason)


def _already(context: AccountContext, entry: SecretEntry, newer: tuple[str, str]) -> RolledBack:
    """The result of a repeated command.

    :param newer: the version from which the secret was rolled back, and its key.
    """
    retiring = read_lifecycle(entry).retiring
    until = next((item.revoke_at for item in retiring if item.key_id == newer[1]), None)
    done = _result(context, make_view(context.snapshot, entry), newer, until)
    return replace(done, already=True, others=tuple(item.key_id for item in retiring))


def _result(
    context: AccountContext, view: View, newer: tuple[str | None, str | None], until: datetime | None
) -> RolledBack:
    """The result: the current key, and when it is rotated next.

    :param newer: the previously current version and its key.
    """
    now = context.now()
    due = first(ROTATE_WHEN, view, now)
    return RolledBack(
        account=context.account,
        secret=view.entry.name,
        key_id=view.key_id or "",
        version_id=view.life.current_version or "",
        expires_at=view.key.valid_to if view.key is not None else None,
        retired_key_id=newer[1],
        retired_version_id=newer[0],
        retired_until=until,
        due=due,
        waits=window_closed(view, due, now) if due is not None else None,
        next_rotation_at=renew_at(view.spec, view.key),
    )


def _without_wrong_labels(context: AccountContext, entry: SecretEntry, life: Lifecycle) -> Lifecycle:
    """Return the labels without those that name a different key than their version contains: labels can be forged.

    :raises ProviderError: Infobip did not respond.
    """
    found = context.snapshot.keys
    wrong = {
        pair
        for pair in life.old_versions
        if pair[1] in found and ownership_proof(context, entry, *pair) is OwnershipProof.NONE
    }
    superseded = tuple(pair for pair in life.superseded if pair not in wrong)
    retiring = tuple(item for item in life.retiring if (item.version_id, item.key_id) not in wrong)
    return replace(life, superseded=superseded, retiring=retiring)


def _dates(services: Services, entry: SecretEntry) -> Mapping[str, datetime]:
    """When the versions were created. Without permission, the keys' dates suffice, unless an emergency created one."""
    try:
        return services.store.version_dates(entry.arn)
    except StoreError:
        if emergency_versions(entry):
            raise
        return {}


def _keys(provider: KeyProvider, life: Lifecycle) -> dict[str, Key]:
    """The current key and the superseded ones, read now."""
    found: dict[str, Key] = {}
    for key_id in (life.current_key, *(key_id for _, key_id in life.old_versions)):
        if key_id is not None and key_id not in found:
            with contextlib.suppress(KeyNotFound):
                found[key_id] = provider.get_key(key_id).key
    return found
