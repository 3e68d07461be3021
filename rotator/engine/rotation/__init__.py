"""Rotation: version id first, create, compare, store, probe, promote, retire. Every step can be the last one.

What a crash leaves behind, and who finds it: a key without a version (named for it, so an orphan); a stored version
that is not promoted (pending, resumed by the next sweep); a superseded version without a retire label (labelled by
the next sweep).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

from rotator.engine.context import AccountContext
from rotator.engine.evidence import ownership_proof, unproven
from rotator.engine.observe import require_managed
from rotator.engine.rotation.create import Creation, differing_fields
from rotator.engine.rotation.give_up import Flow, release_pending, retire_version, unlabel
from rotator.engine.rotation.promote import Promoted, Promotion
from rotator.errors import Changed, KeyNotFound, Refused, ReplacementRejected
from rotator.model import Action, ActionKind, Key, Reason, SecretEntry, Spec
from rotator.policy.labels import PENDING
from rotator.policy.lifecycle import Lifecycle, read_lifecycle
from rotator.policy.values import decode, encode_replacement, recorded_elsewhere
from rotator.ports import FetchedKey, ProbeVerdict, StoredValue
from rotator.secret import Secret

__all__ = ["Promoted", "Rotation", "differing_fields", "release_pending", "retire_version", "unlabel"]


@dataclass(slots=True)
class Rotation:
    """One secret's rotation, from a fresh look at it to the old version's retire label.

    :param audit_reason: an operator's own words, which stand in the audit as the reason.
    :param emergency: a hold does not stop it, and no retire label is set (the old key dies at once).
    :param entry: what was just seen of the secret, where every call counts; promotion compares and swaps in any case.
    """

    context: AccountContext
    action: Action
    audit_reason: str = ""
    emergency: bool = False
    entry: SecretEntry | None = None
    old_value: Secret | None = field(default=None, init=False)
    flow: Flow = field(init=False)

    def __post_init__(self) -> None:
        self.flow = Flow(self.context, self.action, self.audit_reason)

    def rotate(self, version_id: str | None = None) -> Promoted:
        """Replace the current key.

        :raises RotatorError: nothing was promoted; what was made is revoked, or found by the next sweep.
        """
        creation, life, stored = self._prepare()
        fetched, version_id, _ = creation.make(version_id or self.context.services.new_version_id())
        return self._store_and_promote(creation.entry, creation.spec, life, fetched, stored, version_id)

    def rehearse(self) -> None:
        """Everything that :meth:`rotate` checks before a key is created. Changes nothing.

        :raises RotatorError: no replacement can be made.
        """
        creation, _, _ = self._prepare()
        creation.request(self.context.services.new_version_id())

    def _prepare(self) -> tuple[Creation, Lifecycle, StoredValue | None]:
        entry, spec, life = self._look()
        creation = Creation(self.flow, entry, spec, self._proven(entry, life, self._old_key()))
        stored = self._current_value(entry, life)
        if stored is not None:
            self.old_value = decode(stored.text, spec.value_field, entry.name).key
        self._rehearse(entry, spec, stored)
        self._is_missing(entry, spec, stored)
        return creation, life, stored

    def resume(self) -> Promoted:
        """Finish what a killed run began: a stored version that is not promoted, or a key that was not stored.

        :raises RotatorError: it can't be finished; what was made is revoked and its labels go.
        """
        entry, spec, life = self._look()
        key_id, version_id = self.action.key_id, self.action.version_id
        assert key_id is not None
        assert version_id is not None
        creation = Creation(self.flow, entry, spec, self._proven(entry, life, self._old_key(life)))
        if version_id not in entry.versions:
            return self._resume_unstored(creation, life, key_id, version_id)
        return self._check_stored(creation, life, key_id, version_id).finish()

    # ---- parts ------------------------------------------------------------------------------------------------------

    def _check_stored(self, creation: Creation, life: Lifecycle, key_id: str, version_id: str) -> Promotion:
        """A stored version, compared and probed: what is left to do is to promote it."""
        entry, spec = creation.entry, creation.spec
        if life.pending_version != version_id or life.pending_key != key_id:
            raise Changed(f"{entry.name}: version {version_id} is not pending any more")
        if self._is_older_than_current(entry, life, version_id):
            self.flow.unlabel(entry, PENDING, version_id)
            raise Changed(
                f"{entry.name} was given another value after version {version_id} was stored, which is retired"
            )
        self.flow.looked = self.flow.now()
        try:
            key = self.context.provider.get_key(key_id).key
        except KeyNotFound:
            self.flow.unstage(entry, key_id, version_id)
            raise Changed(
                f"key {key_id} of the pending version of {entry.name} is gone; its labels were removed"
            ) from None
        proof = ownership_proof(self.context, entry, version_id, key_id, key)
        if not proof.ok:
            raise Refused(f"{unproven(entry, version_id, key_id, proof)}; it is not promoted")
        if not key.alive(self.flow.now()):
            self.flow.give_up(entry, key_id, version_id, staged=True, revoke=key.enabled)
            raise Changed(
                f"key {key_id} of the pending version of {entry.name} does not live any more; it was given up"
            )
        if creation.old is None and not spec.scopes:
            # It was compared before it was stored, and what it was compared with is gone: nothing better is left.
            creation = replace(creation, old=key)
        creation.compare(key, creation.request(version_id), version_id, resumed=True, staged=True)
        stored = self.context.services.store.read_version(entry.arn, version_id)
        value = decode(stored.text, spec.value_field, entry.name).key
        promotion = Promotion(self.flow, entry, spec, life, key, version_id, self.emergency)
        promotion.probe(value, staged=True)
        promotion.still_lives(value)
        return promotion

    def _look(self) -> tuple[SecretEntry, Spec, Lifecycle]:
        """A fresh look: is everything still as the plan saw it?"""
        entry = self.entry or self.context.services.store.describe(self.action.arn or self.action.secret)
        spec = require_managed(entry, self.context.account, despite_hold=self.emergency)
        life = read_lifecycle(entry)
        if life.problem is not None:
            raise Refused(f"{entry.name}: {life.problem}")
        if life.foreign_pending and not self.emergency:
            raise Changed(f"{entry.name}: another rotation is in progress")
        if self.action.kind is ActionKind.ROTATE:
            expected = (self.action.version_id, self.action.key_id)
            if (life.current_version, life.current_key) != expected:
                raise Changed(f"{entry.name} has another current version than the plan saw")
        elif life.unlabelled:
            raise Changed(f"{entry.name} has a current version that is not adopted yet")
        return entry, spec, life

    def _proven(self, entry: SecretEntry, life: Lifecycle, old: Key | None) -> Key | None:
        """The old key, whose rights the replacement gets, where it is proven to be what the secret holds.

        An emergency goes on without it, by the tagged scopes.

        :raises Refused: nothing proves it.
        """
        if old is None or life.current_version is None:
            return old
        proof = ownership_proof(self.context, entry, life.current_version, old.id, old)
        if proof.ok:
            return old
        if self.emergency:
            return None
        raise Refused(
            f"{entry.name} is not rotated: {unproven(entry, life.current_version, old.id, proof)}",
            advice="Nothing was changed. Store the right key, or take the label off; then the next sweep goes on.",
        )

    def _old_key(self, life: Lifecycle | None = None) -> Key | None:
        """The key to be replaced, read now: what was changed since the listing goes for its replacement too.

        :raises Changed: it is not as the plan saw it.
        """
        key_id = self.action.key_id
        if self.action.kind is ActionKind.RESUME:
            entry = next((e for e in self.context.snapshot.secrets if e.arn == self.action.arn), None)
            life = life or (read_lifecycle(entry) if entry else None)
            key_id = life.current_key if life else None
        if key_id is None:
            return None
        listed = self.context.snapshot.keys.get(key_id)
        if self.entry is not None and listed is not None:
            return listed  # in an emergency every call counts, and it was read a moment ago
        broken = self.action.reason in (Reason.KEY_MISSING, Reason.KEY_DISABLED)
        try:
            fresh = self.context.provider.get_key(key_id).key
        except KeyNotFound:
            if broken or self.action.kind is ActionKind.RESUME or listed is None:
                return None
            raise Changed(f"key {key_id} is gone from Infobip since it was listed") from None
        if broken and self.action.kind is ActionKind.ROTATE and fresh.alive(self.flow.now()):
            raise Changed(f"key {key_id} works again")
        return fresh

    def _current_value(self, entry: SecretEntry, life: Lifecycle) -> StoredValue | None:
        if life.current_version is None:
            return None
        stored = self.context.services.store.read_current(entry.arn)
        if stored.version_id != life.current_version:
            raise Changed(f"{entry.name} was given another value meanwhile")
        return stored

    def _is_missing(self, entry: SecretEntry, spec: Spec, stored: StoredValue | None) -> None:
        """Whether a key that Infobip does not list is gone, rather than another account's.

        The management secret may have been given other credentials: consumers must not be moved there for it.

        :raises Refused: it works, or was stored for another address.
        """
        if self.action.reason is not Reason.KEY_MISSING or stored is None or self.old_value is None:
            return
        probe = self.context.provider.probe(self.old_value, spec.verify_path)
        elsewhere = recorded_elsewhere(stored.text, self.context.provider.base_url)
        if probe.verdict is not ProbeVerdict.AUTHENTICATES and not elsewhere:
            return
        what = "was stored for another base_url" if elsewhere else f"works ({probe.detail})"
        raise Refused(
            f"key {self.action.key_id} of {entry.name} is not listed by Infobip's account {self.context.account}, and "
            f"{what}: it looks like another account's",
            advice="Correct the management secret or the tag rotator:account. If meant, `rotator rotate` moves it.",
        )

    def _rehearse(self, entry: SecretEntry, spec: Spec, stored: StoredValue | None) -> None:
        """Whether a replacement fits into the value, before a key is made for it.

        :raises BadSecretValue: it has no such field, or would be too large.
        """
        encode_replacement(
            stored.text if stored else None,
            spec.value_field,
            key=Secret("0" * 69),
            key_id="0" * 32,
            expires_at=self.flow.now() + spec.validity,
            base_url=self.context.provider.base_url,
            secret_name=entry.name,
        )

    def _store_and_promote(
        self,
        entry: SecretEntry,
        spec: Spec,
        life: Lifecycle,
        fetched: FetchedKey,
        stored: StoredValue | None,
        version_id: str,
    ) -> Promoted:
        promotion, value = self._store(entry, spec, life, fetched, stored, version_id)
        if stored is not None:
            promotion.probe(value, staged=True)
        promotion.still_lives(value)
        return promotion.finish()

    def _store(
        self,
        entry: SecretEntry,
        spec: Spec,
        life: Lifecycle,
        fetched: FetchedKey,
        stored: StoredValue | None,
        version_id: str,
    ) -> tuple[Promotion, Secret]:
        """Store a made key as a pending version; what is left to do is to probe and to promote it."""
        key, value = fetched.key, fetched.value
        if value is None:
            # An answer without the value: whatever it is, a consumer could not use it.
            value = self.context.provider.get_key(key.id).value
        if value is None:
            self.flow.give_up(entry, key.id, version_id, staged=False)
            raise ReplacementRejected(f"Infobip did not tell the value of the new key {key.id}; it was revoked")
        promotion = Promotion(self.flow, entry, spec, life, key, version_id, self.emergency)
        if stored is None:
            # AWS makes a secret's very first version current by itself: it has to be proven before it is stored.
            promotion.probe(value, staged=False)
            promotion.still_lives(value, staged=False)
        text = encode_replacement(
            stored.text if stored else None,
            spec.value_field,
            key=value,
            key_id=key.id,
            expires_at=key.valid_to,
            base_url=self.context.provider.base_url,
            secret_name=entry.name,
        )
        promotion.stage(text)
        promotion.outlast()
        return promotion, value

    def _resume_unstored(self, creation: Creation, life: Lifecycle, key_id: str, version_id: str) -> Promoted:
        entry = creation.entry
        self.flow.looked = self.flow.now()
        fetched = self.context.provider.get_key(key_id)
        if fetched.value is None or not fetched.key.alive(self.flow.now()):
            raise Changed(f"key {key_id}, made for {entry.name}, can't be read any more; it is revoked as an orphan")
        if version_id in self.context.services.store.version_dates(entry.arn):
            raise Changed(f"key {key_id} was stored in {entry.name} once and enabled again by somebody: skipped")
        stored = self._current_value(entry, life)
        creation.compare(fetched.key, creation.request(version_id), version_id, resumed=True)
        return self._store_and_promote(entry, creation.spec, life, fetched, stored, version_id)

    def _is_older_than_current(self, entry: SecretEntry, life: Lifecycle, version_id: str) -> bool:
        if life.current_version is None:
            return False
        dates = self.context.services.store.version_dates(entry.arn)
        current, pending = dates.get(life.current_version), dates.get(version_id)
        # Emulators date versions by the moment of asking: only a real distance tells.
        return current is not None and pending is not None and current - pending > timedelta(seconds=1)
