"""Ending keys whose time has come: superseded ones after their grace, and orphans. Never the key in use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.audit import change
from rotator.context import AccountContext
from rotator.core.consumers import not_adopted
from rotator.core.directory import Others
from rotator.core.holdings import Holdings
from rotator.core.labels import key_label, parse_key_name, parse_retire_label
from rotator.core.lifecycle import read_lifecycle
from rotator.core.model import AccountSnapshot, Action, Key, Reason, SecretEntry
from rotator.core.orphans import ORPHAN_AGE, stored_here
from rotator.core.spec import parse_spec
from rotator.core.times import plus
from rotator.core.values import decode
from rotator.errors import BadSecretValue, Changed, KeyNotFound, Refused, SecretNotFound, StoreError
from rotator.rotation import release_pending, unlabel
from rotator.telling import REVOKED

LOOK = timedelta(seconds=60)
"""How old the look that proves a key to be an orphan may be. Whoever stores a key that late waits for longer."""


@dataclass(slots=True)
class Revocation:
    """One key's end."""

    context: AccountContext
    action: Action

    def revoke(self) -> None:
        """Revoke a superseded key whose grace is over (or clean up after one that is dead already).

        :raises RotatorError: nothing was revoked, or the answer is missing and the next sweep repeats it.
        """
        key_id = self.action.key_id
        assert key_id is not None
        target = self._target(key_id)
        if self.action.reason is Reason.KEY_DEAD and target is not None and target.enabled:
            raise Changed(f"key {key_id} was not listed, or listed as disabled, and lives: its grace goes on")
        current_key = self._expected_current()
        if target is not None and target.enabled:
            self._current_works(current_key, key_id)
        # The secret is looked at last, right before the call that ends the key.
        entry = self._look(key_id, current_key)
        if target is not None and target.enabled:
            self._put(entry.name, target, self.action.version_id)
        self._clean(entry, key_id)
        fields = {"secret_arn": entry.arn, "secret": entry.name, "version_id": self.action.version_id, "key_id": key_id}
        self.context.tell(REVOKED, {**fields, "reason": str(self.action.reason)})

    def revoke_orphan(self) -> None:
        """Revoke a key of this deployment that was made and never stored.

        :raises RotatorError: it is no orphan after all, or can't be proven to be one; nothing was changed.
        """
        key_id = self.action.key_id
        assert key_id is not None
        target = self._target(key_id)
        if target is None or not target.enabled:
            raise Changed(f"key {key_id} is gone or disabled already")
        name = parse_key_name(target.name)
        if name is None or name.deployment != self.context.services.policy.deployment:
            raise Refused(f"key {key_id} is not named by this deployment any more")
        if target.valid_from is None or plus(target.valid_from, ORPHAN_AGE) > self._now():
            raise Changed(f"key {key_id} is too young to be an orphan")
        store = self.context.services.store
        mine, others = self.context.snapshot.secrets, Others.of(self.context.snapshot.others)
        looked = self._now()
        for listed in (*(entry for entry in mine if name.may_belong_to(entry.name)), *others.named_like(name)):
            arn, entry = listed.arn, store.describe(listed.arn)
            spec = parse_spec(entry.tags)
            if isinstance(spec, tuple) or spec.hold is not None or entry.primary_region not in (None, "", entry.region):
                raise Changed(f"{entry.name} is left alone now, so it proves nothing about key {key_id}")
            if self._has_new_value(entry, listed):
                raise Changed(f"{entry.name} was given a value that was not looked into yet: it may be key {key_id}")
            if stored_here(target, name, entry) or key_id in read_lifecycle(entry).key_ids():
                raise Changed(f"key {key_id} is stored in {entry.name}")
            if name.version_id in entry.versions and self._holds(entry, name.version_id, key_id):
                raise Refused(
                    f"key {key_id} is stored in {entry.name} under another key's label",
                    advice=f"Take the wrong label off version {name.version_id}: the next sweep puts the right one on.",
                )
            if name.version_id not in entry.versions and name.version_id in store.version_dates(arn):
                raise Refused(
                    f"key {key_id} was stored in {entry.name}, revoked later, and enabled again by somebody",
                    advice="If it is not needed any more, end it with `rotator revoke --key-id`.",
                )
        fields = self._fields(self.action.secret, name.version_id)
        if self._now() - looked > LOOK:
            raise Changed(f"whether key {key_id} is an orphan was looked up too long ago")
        self.context.services.audit.emit("key.orphan_found", "success", **fields)
        self._put(self.action.secret, target, name.version_id)
        self.context.tell(REVOKED, {"secret_arn": self.action.arn or None, **fields})

    def _has_new_value(self, entry: SecretEntry, listed: SecretEntry) -> bool:
        """Whether somebody stored a value by hand since the listing: it may be the orphan's, to rescue it."""
        life = read_lifecycle(entry)
        unlabelled = life.unlabelled
        return unlabelled and life.current_version != read_lifecycle(listed).current_version

    def _holds(self, entry: SecretEntry, version_id: str, key_id: str) -> bool:
        """Whether a version's value is this key's, whatever its label says."""
        spec = parse_spec(entry.tags)
        field = "api_key" if isinstance(spec, tuple) else spec.value_field
        try:
            stored = self.context.services.store.read_version(entry.arn, version_id)
            value = decode(stored.text, field, entry.name).key
        except (BadSecretValue, SecretNotFound):
            return False
        found = self.context.provider.find_by_value(value)
        return found is not None and found.id == key_id

    # ---- steps ------------------------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        return self.context.services.clock.now()

    def _fields(self, secret: str, version_id: str | None) -> dict[str, object]:
        return {
            "account": self.context.account,
            "secret": secret,
            "version_id": version_id,
            "key_id": self.action.key_id,
            "reason": str(self.action.reason),
        }

    def _target(self, key_id: str) -> Key | None:
        """The key to be ended; asked for freshly where the list does not show it, or shows it as an orphan."""
        listed = self.context.snapshot.keys.get(key_id)
        if listed is not None and self.action.reason is not Reason.ORPHAN:
            return listed
        try:
            return self.context.provider.get_key(key_id).key
        except KeyNotFound:
            return None

    def _expected_current(self) -> str | None:
        entry = next((entry for entry in self.context.snapshot.secrets if entry.arn == self.action.arn), None)
        if entry is None:
            return None
        resolution = self.context.snapshot.resolutions.get(entry.arn)
        return read_lifecycle(entry).current_key or (resolution.key_id if resolution else None)

    def _current_works(self, current_key: str | None, key_id: str) -> None:
        if current_key is None or current_key == key_id:
            raise Refused(f"key {key_id} is not revoked: what {self.action.secret} holds now is not known")
        current = self.context.provider.get_key(current_key).key
        if not current.alive(self._now()):
            raise Refused(
                f"key {key_id} is not revoked: key {current_key}, which {self.action.secret} holds now, does not work",
                advice="The next sweep replaces it first.",
            )
        holdings = Holdings.of(self.context.snapshot)
        others = holdings.others_holding(key_id, self.action.arn)
        if others:
            raise Refused(f"key {key_id} is not revoked: {', '.join(others)} holds it as current")
        lately = holdings.others_in_grace(key_id, self.action.arn, self._now())
        if lately:
            raise Changed(f"key {key_id} is not revoked: {', '.join(lately)} held it too, its grace is not over there")
        self._not_elsewhere(key_id)

    def _not_elsewhere(self, key_id: str) -> None:
        """No secret whose key is not known holds the key: a copy made by hand, say.

        Another account's own sweep gives it its label. One of this account was looked up at Infobip, which knew no such
        key; that is not relied upon here. The values are compared and sent nowhere.

        :raises Refused: one does, or can't be read.
        """
        snapshot = self.context.snapshot
        found = ((entry, snapshot.resolutions.get(entry.arn)) for entry in snapshot.secrets)
        own = (entry for entry, resolution in found if resolution is not None and resolution.key_id is None)
        mine = (entry for entry in own if entry.arn != self.action.arn)
        unlabelled = (*mine, *Others.of(snapshot.others).unlabelled())
        if not unlabelled or self.action.version_id is None:
            return
        store, spec = self.context.services.store, parse_spec(_tags(snapshot, self.action.arn))
        field = "api_key" if isinstance(spec, tuple) else spec.value_field
        stored = store.read_version(self.action.arn, self.action.version_id)
        value = decode(stored.text, field, self.action.secret).key.reveal()
        for entry in unlabelled:
            try:
                held = value in store.read_current(entry.arn).text.reveal()
            except (BadSecretValue, SecretNotFound):
                continue
            except StoreError as error:
                text = f"key {key_id} is not revoked: {entry.name} may hold it and can't be read: {error}"
                raise Refused(text) from None
            if held:
                where = "" if entry in snapshot.secrets else " of another account"
                raise Refused(f"key {key_id} is not revoked: {entry.name}{where} holds it as current")

    def _look(self, key_id: str, current_key: str | None) -> SecretEntry:
        entry = self.context.services.store.describe(self.action.arn)
        spec = parse_spec(entry.tags)
        if isinstance(spec, tuple):
            raise Refused(f"{entry.name}: {spec[0].tag} {spec[0].detail}", advice=spec[0].mend)
        if spec.hold is not None:
            raise Refused(f'{entry.name} is on hold: "{spec.hold}"')
        if spec.account != self.context.account or entry.deleted_at is not None:
            raise Changed(f"{entry.name} was moved to another account or scheduled for deletion")
        life = read_lifecycle(entry)
        if life.problem is not None:
            raise Refused(f"{entry.name}: {life.problem}")
        if life.current_key != current_key or current_key == key_id:
            raise Changed(f"{entry.name} has another current key than the plan saw")
        due = next((item for item in life.retiring if item.key_id == key_id), None)
        dead = self.action.reason is Reason.KEY_DEAD
        if due is None or (due.revoke_at > self._now() and not dead):
            raise Changed(f"key {key_id} of {entry.name} is not due any more")
        if not dead:
            # A consumer that has read the new value stays one that has; the tag may have been set since the plan.
            readers = self.context.snapshot.readers.get(entry.arn)
            waits = not_adopted(entry, spec, life, due, self.context.snapshot.keys, readers, self._now())
            if waits is not None:
                raise Changed(f"{entry.name}: {waits.detail}")
        return entry

    def _put(self, secret: str, target: Key, version_id: str | None) -> None:
        if not self.context.budget.take_update():
            raise Changed(f"today's updates are used up, key {target.id} waits", advice="The next sweep goes on.")
        revoke_key(self.context, target, self._now(), self._fields(secret, version_id))

    def _clean(self, entry: SecretEntry, key_id: str) -> None:
        """Take the key's labels off. What is left by a crash is found as a dead key's labels by the next sweep."""
        clean_labels(self.context, entry, key_id, str(self.action.reason))


def _tags(snapshot: AccountSnapshot, arn: str) -> Mapping[str, str]:
    """A secret's tags, as they were observed."""
    return next((entry.tags for entry in snapshot.secrets if entry.arn == arn), {})


def revoke_key(context: AccountContext, target: Key, now: datetime, fields: dict[str, object]) -> None:
    """The call that ends a key, in the audit. Its end is set too: by it the next sweep counts today's updates.

    That goes for a key whose end had passed before as well: the call counts against Infobip's limit, so it must show.
    """
    end = now.replace(microsecond=0)
    if target.valid_from is not None and end <= target.valid_from:
        end = target.valid_from + timedelta(seconds=1)
    with change(context.services.audit, "key.revoked", **fields):
        context.provider.revoke_key(target.id, end)


def clean_labels(context: AccountContext, entry: SecretEntry, key_id: str, reason: str) -> None:
    """Remove every label that names a key from a secret."""
    for version, labels in sorted(entry.versions.items()):
        if key_label(key_id) in labels:
            release_pending(context, entry, version, reason)
        ours = sorted(label for label in labels if (parsed := parse_retire_label(label)) and parsed[0] == key_id)
        if key_label(key_id) in labels:
            ours.append(key_label(key_id))
        for label in ours:
            try:
                unlabel(context, entry, label, version, reason)
            except SecretNotFound:
                return
