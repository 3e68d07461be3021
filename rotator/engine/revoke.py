"""Revoking superseded keys whose grace period is over, and orphans. Never the key in use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from rotator.durations import plus
from rotator.engine.context import AccountContext
from rotator.engine.evidence import ownership_proof, unproven
from rotator.engine.observe import value_field, with_secret
from rotator.engine.secret_changes import clean_labels, require_as_planned, require_managed
from rotator.errors import BadSecretValue, KeyNotFound, Refused, StateChanged, StoreError
from rotator.model import Action, Key, SecretEntry
from rotator.policy.gate import not_adopted
from rotator.policy.labels import parse_key_name
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.orphans import ORPHAN_AGE, orphan_doubt, shows_nothing
from rotator.policy.ownership import Ownership
from rotator.policy.rules import make_view
from rotator.policy.values import contains, decode
from rotator.reasons import Reason
from rotator.secret import Secret
from rotator.telemetry.consumer_events import REVOKED

MAX_CHECK_AGE: Final = timedelta(seconds=60)
"""The maximum age of the reads that show a key to be an orphan. A run that stores such an old key waits for longer."""


@dataclass(slots=True)
class Revocation:
    """One key's revocation."""

    context: AccountContext
    action: Action

    def revoke(self) -> None:
        """Revoke a superseded key whose grace is over (or clean up after one that is not active any more).

        A key that is not found keeps its labels: it may be another account's.

        :raises RotatorError: nothing was revoked, or the answer was lost and the next sweep tries again.
        """
        key_id, version_id = self.action.key_id, self.action.version_id
        assert key_id is not None
        assert version_id is not None
        cleaning = self.action.reason is Reason.KEY_NOT_ACTIVE
        target = self._target(key_id)
        if target is None:
            raise StateChanged(f"key {key_id} is not found any more; its labels stay")
        active = target.enabled and not target.expired(self._now())
        if cleaning and active:
            raise StateChanged(
                f"key {key_id} is active although Infobip's list showed it missing or inactive; its grace "
                "period continues"
            )
        # The secret is read last, right before the call that revokes the key.
        if active:
            self._check_current(key_id)
        entry = self._read_again(key_id)
        if active:
            self._check_owner(entry, version_id, target)
            self._check_not_in_use(entry, version_id, target)
            self._put(entry.name, target, version_id)
        clean_labels(self.context, entry, key_id, str(self.action.reason))
        if not cleaning or not target.enabled:
            self.context.publish(REVOKED, secret_arn=entry.arn, **self._fields(entry.name, version_id))

    def revoke_orphan(self) -> None:
        """Revoke a key of this deployment that was made and never stored.

        :raises RotatorError: it is no orphan after all, or may not be one; nothing was changed.
        """
        key_id = self.action.key_id
        assert key_id is not None
        target = self._target(key_id)
        if target is None or not target.enabled:
            raise StateChanged(f"key {key_id} was not found or is already disabled")
        name = parse_key_name(target.name)
        if self.context.snapshot.copies.get(key_id) != ():
            raise StateChanged(f"key {key_id} was not revoked: the managed secrets have not been searched for it")
        if name is None or name.deployment != self.context.services.policy.deployment:
            raise Refused(f"the name of key {key_id} no longer belongs to this deployment")
        if target.valid_from is None or plus(target.valid_from, ORPHAN_AGE) > self._now():
            raise StateChanged(f"key {key_id} is too new to be treated as an orphan")
        store, checked_at = self.context.services.store, self._now()
        entry = store.describe(self.action.arn)
        require_managed(entry, self.context.account, despite_hold=True)
        # The current key may have been created in this sweep, after the list was read.
        fresh = with_secret(store, self.context.provider, self.context.snapshot, entry)
        if shows_nothing(fresh, entry, self._now()):
            raise StateChanged(f"{entry.name} is currently skipped, so key {key_id} can't be confirmed as an orphan")
        if not name.is_for(entry.name, entry.arn):
            raise Refused(f"the name of key {key_id} no longer belongs to {entry.name}")
        if self._has_new_value(entry):
            raise StateChanged(f"{entry.name} has a new value that has not been read yet; it may be key {key_id}")
        if key_id in read_lifecycle(entry).named:
            raise StateChanged(f"key {key_id} is stored in {entry.name}")
        versions = frozenset(entry.versions) | frozenset(store.version_dates(entry.arn))
        snapshot = replace(self.context.snapshot, versions={entry.arn: versions})
        doubt = orphan_doubt(snapshot, entry, target, name.version_id, self._now())
        if doubt:
            advice = "If it is not in use, revoke it with `rotator revoke --key-id`."
            raise Refused(f"key {key_id} was not revoked: it {doubt}", advice=advice)
        fields = self._fields(self.action.secret, name.version_id)
        if self._now() - checked_at > MAX_CHECK_AGE:
            raise StateChanged(f"the orphan check of key {key_id} is too old")
        self.context.emit("key.orphan_found", "success", **fields)
        self._put(self.action.secret, target, name.version_id)
        self.context.publish(REVOKED, secret_arn=self.action.arn or None, **fields)

    def _has_new_value(self, entry: SecretEntry) -> bool:
        """Whether a value was stored by hand since the listing: it may be the orphan's value."""
        life, listed = read_lifecycle(entry), self._planned_entry()
        before = read_lifecycle(listed).current_version if listed is not None else None
        return life.unlabelled and life.current_version != before

    # ---- steps ------------------------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        return self.context.now()

    def _fields(self, secret: str, version_id: str | None) -> dict[str, object]:
        reason = str(self.action.reason)
        return {"secret": secret, "version_id": version_id, "key_id": self.action.key_id, "reason": reason}

    def _target(self, key_id: str) -> Key | None:
        """The key to be revoked; read now if the list does not show it, or shows it as an orphan.

        A key of another account is never revoked from here, but it loses its labels once that account disabled it.
        """
        listed = self.context.snapshot.keys.get(key_id)
        if listed is None and self.action.reason is Reason.KEY_NOT_ACTIVE:
            found = self.context.snapshot.elsewhere.get(key_id)
            listed = found.key if found is not None else None
        if listed is not None and self.action.reason is not Reason.ORPHAN:
            return listed
        try:
            return self.context.provider.get_key(key_id).key
        except KeyNotFound:
            return None

    def _current(self) -> tuple[str | None, str | None]:
        """The current version and its key, as the plan saw them."""
        entry = self._planned_entry()
        if entry is None:
            return None, None
        view = make_view(self.context.snapshot, entry)
        return view.life.current_version, view.key_id

    def _planned_entry(self) -> SecretEntry | None:
        return next((entry for entry in self.context.snapshot.secrets if entry.arn == self.action.arn), None)

    def _check_current(self, key_id: str) -> None:
        """Check that consumers get another key, and that it works as far as Infobip shows."""
        _, current_key = self._current()
        if current_key is None or current_key == key_id:
            raise Refused(f"key {key_id} was not revoked: the current key of {self.action.secret} is unknown")
        current = self.context.provider.get_key(current_key).key
        if not current.alive(self._now()):
            raise Refused(
                f"key {key_id} was not revoked: key {current_key}, the current key of {self.action.secret}, does not "
                "work",
                advice="The next sweep replaces it first.",
            )

    def _read_again(self, key_id: str) -> SecretEntry:
        """Read the secret again, and check that it is still as the plan saw it."""
        entry = self.context.services.store.describe(self.action.arn)
        version, current_key = self._current()
        spec, life = require_as_planned(self.context, entry, version, current_key)
        if current_key == key_id:
            raise StateChanged(f"key {key_id} is the current key of {entry.name}")
        if self.action.reason is Reason.KEY_NOT_ACTIVE:
            return entry
        due = next((item for item in life.retiring if item.key_id == key_id), None)
        if due is None or due.version_id != self.action.version_id or due.revoke_at > self.context.checked_now():
            raise StateChanged(f"the revocation of key {key_id} of {entry.name} is no longer due")
        # The plan's reads of the new value still count, but the tag may have been set since the plan.
        readers = self.context.snapshot.readers.get(entry.arn)
        waits = not_adopted(entry, spec, life, due, self.context.snapshot.keys, readers, self._now())
        if waits is not None:
            raise StateChanged(f"{entry.name}: {waits.detail}")
        return entry

    def _check_owner(self, entry: SecretEntry, version_id: str, target: Key) -> None:
        """Check the labels: the target must belong to its version, and the current key to the current version.

        :raises Refused: there is no ownership proof.
        """
        if Ownership(self.context.snapshot, self.context.services.policy.deployment).is_foreign(entry, target):
            raise Refused(
                f"key {target.id} of {entry.name} belongs to another secret or deployment, according to its name"
            )
        version, key_id = self._current()
        for at, key in ((version_id, target.id), (version, key_id)):
            assert at is not None
            assert key is not None
            proof = ownership_proof(self.context, entry, at, key)
            if not proof.ok:
                raise Refused(f"key {target.id} is not revoked: {unproven(entry, at, key, proof)}")

    def _check_not_in_use(self, entry: SecretEntry, version_id: str, target: Key) -> None:
        """Check that no managed secret holds the key: this one as it is now, all others as read for this sweep.

        :raises Refused: one does, or can't be read.
        """
        snapshot = self.context.snapshot
        found = snapshot.copies.get(target.id)
        if found is None:
            raise StateChanged(f"key {target.id} is not revoked: the managed secrets were not searched for it")
        if found:
            raise Refused(f"key {target.id} was not revoked: it is still in {', '.join(found)}")
        store = self.context.services.store
        content = store.read_many([entry.arn]).get(entry.arn)
        try:
            value = decode(store.read_version(entry.arn, version_id).text, value_field(entry), entry.name).key
        except (BadSecretValue, StoreError):
            return  # proven by name: an unreadable value, or one that is no key, is not in use
        if isinstance(content, Secret) and contains(content, value):
            raise Refused(f"key {target.id} is not revoked: {entry.name} still holds it")

    def _put(self, secret: str, target: Key, version_id: str | None) -> None:
        self.context.checked_now()
        if not self.context.use_update():
            raise StateChanged(
                f"the daily limit of updates is used up; key {target.id} was not revoked yet",
                advice="The next sweep retries.",
            )
        revoke_key(self.context, target, self._now(), self._fields(secret, version_id))


def revoke_key(context: AccountContext, target: Key, now: datetime, fields: dict[str, object]) -> None:
    """Revoke a key, and write that to the audit. Its expiry is set too, so that the next sweep counts the update.

    An expired key gets a new expiry as well: the call counts against Infobip's limit, so it must show.
    """
    expiry = now.replace(microsecond=0)
    if target.valid_from is not None and expiry <= target.valid_from:
        expiry = target.valid_from + timedelta(seconds=1)
    with context.change("key.revoked", **fields):
        context.provider.revoke_key(target, expiry)
