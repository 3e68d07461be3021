"""Rotation: choose a version id, create, compare, store, probe, promote, retire. A crash can follow any step.

Read top-down: :class:`Rotation` is the order of the steps. ``create`` and ``promote`` are the steps; their docstrings
describe the state after a crash and how it is finished. ``attempt`` has what they share, and giving up.
``four_steps`` is the same rotation in the pieces that Secrets Manager calls.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from rotator.engine.context import AccountContext
from rotator.engine.proofs import ownership_proof, unproven
from rotator.engine.rotation.attempt import Attempt
from rotator.engine.rotation.create import compare, key_request, make_key
from rotator.engine.rotation.promote import check_again_if_stale, probe, promote, stage
from rotator.engine.secret_changes import require_as_planned, unlabel
from rotator.errors import BadSecretValue, KeyNotFound, Refused, StateChanged
from rotator.model import Key, SecretEntry
from rotator.plan import Action, ActionKind, Promoted
from rotator.policy.labels import PENDING, key_name
from rotator.policy.lifecycle import Lifecycle, is_labelled, read_lifecycle, stored_after, was_never_current
from rotator.policy.ownership import OwnershipProof
from rotator.policy.rules import no_such_key
from rotator.policy.tags import RESERVED_FIELDS
from rotator.policy.values import changed_fields, decode, differs_only_in_key, encode_replacement
from rotator.ports import FetchedKey, StoredValue
from rotator.reasons import Reason
from rotator.secret import Secret


@dataclass(slots=True)
class Rotation:
    """One secret's rotation, from reading it again to the old version's retire label.

    :param audit_reason: an operator's own words, the reason in the audit.
    :param emergency: it ignores a hold and sets no retire label, because the old key is revoked next.
    :param moves: whether the secret may be moved to this Infobip account from another one; only `rotator rotate` may.
    :param own: whether no other process creates keys for this version, as in the four steps.
    :param listed: the secret before this run changed its labels; by default as in the snapshot.
    :param entry: the secret as it was just read, to save a call. Promotion compares and swaps in any case.
    """

    context: AccountContext
    action: Action
    audit_reason: str = ""
    emergency: bool = False
    moves: bool = False
    own: bool = False
    listed: SecretEntry | None = None
    entry: SecretEntry | None = None

    def rotate(self, version_id: str | None = None) -> Promoted:
        """Replace the current key.

        :raises RotatorError: nothing was promoted; a key that was created is revoked, or found by the next sweep.
        """
        attempt, stored = self.prepare(version_id or self.context.services.new_version_id())
        return self._store_and_promote(attempt, make_key(attempt), stored)

    def check(self) -> None:
        """Make every check that :meth:`rotate` makes before a key is created. Changes nothing.

        :raises RotatorError: no replacement can be created.
        """
        attempt, _ = self.prepare(self.context.services.new_version_id())
        key_request(attempt)

    def resume(self) -> Promoted:
        """Finish an interrupted run: promote its stored version, or store and promote its key.

        :raises RotatorError: it can't be finished: it is left to the next sweep, or was given up (its key revoked and
            its labels removed).
        """
        key_id, version_id = self.action.key_id, self.action.version_id
        assert key_id is not None
        assert version_id is not None
        attempt = self.begin(version_id)
        if version_id in attempt.entry.versions:
            return promote(attempt, self.check_stored(attempt, key_id))
        return self._resume_unstored(attempt, key_id)

    # ---- before a key is created ------------------------------------------------------------------------------------

    def begin(self, version_id: str) -> Attempt:
        """Read the secret and its current key again, and check that both are still as the plan saw them.

        :raises RotatorError: they are not, or the secret's key has no ownership proof; nothing was changed.
        """
        context, action = self.context, self.action
        entry = self.entry or context.services.store.describe(action.arn or action.secret)
        life = read_lifecycle(entry)
        planned = (action.version_id, action.key_id)
        if action.kind is ActionKind.RESUME:
            planned = (life.current_version, life.current_key)
        spec, life = require_as_planned(context, entry, *planned, despite_hold=self.emergency)
        if life.foreign_pending and not self.emergency:
            raise StateChanged(f"{entry.name}: another rotation is in progress")
        if action.kind is ActionKind.RESUME and life.unlabelled:
            raise StateChanged(f"the current version of {entry.name} is not adopted yet")
        reason = self.audit_reason or str(action.reason)
        attempt = Attempt(context, entry, spec, life, None, version_id, reason, self.emergency, own=self.own)
        if action.kind is ActionKind.RESUME and version_id in entry.versions:
            # First, because a changed rotator:value-field leaves the current key without an ownership proof, too.
            self._reject_unless_fitting(attempt, action.key_id or "")
        attempt.old = self._with_rights(entry, life, self._old_key(life.current_key))
        if attempt.old is None and life.current_version is not None and not self.moves:
            why = "its current key can't be identified"
            if life.current_key is not None:
                why = f"{Reason.KEY_NOT_FOUND}: {no_such_key(context.account, life.current_key, entry.argument)}"
            raise Refused(
                f"{entry.name} was not rotated: {why}", advice="Nothing was changed.", reason=Reason.KEY_NOT_FOUND
            )
        return attempt

    def _old_key(self, key_id: str | None) -> Key | None:
        """The key to replace, read now, so that its replacement gets changes made since the listing.

        :raises StateChanged: it is not as the plan saw it.
        """
        if key_id is None:
            return None
        listed = self.context.snapshot.keys.get(key_id)
        if self.entry is not None and listed is not None:
            return listed  # it was also read just now
        fresh = self._found(key_id)
        disabled = self.action.kind is ActionKind.ROTATE and self.action.reason is Reason.KEY_DISABLED
        if disabled and fresh is not None and fresh.alive(self.context.now()):
            raise StateChanged(f"key {key_id} works again")
        return fresh

    def _with_rights(self, entry: SecretEntry, life: Lifecycle, old: Key | None) -> Key | None:
        """The old key, whose rights the replacement gets, if there is an ownership proof.

        :raises Refused: there is no ownership proof.
        """
        if old is None or life.current_version is None:
            return old
        ownership = ownership_proof(self.context, entry, life.current_version, old.id, old)
        if ownership.ok:
            return old
        raise Refused(
            f"{entry.name} was not rotated: {unproven(entry, life.current_version, old.id, ownership)}",
            advice="Nothing was changed. Store the correct key, or remove the label; the next sweep then continues.",
            reason=Reason.UNPROVEN_LABEL,
        )

    def prepare(self, version_id: str) -> tuple[Attempt, StoredValue | None]:
        """Prepare everything before a key is created. Returns the attempt, and the current value if there is one.

        :raises RotatorError: no replacement can be created; nothing was changed.
        """
        attempt = self.begin(version_id)
        stored = self._current_value(attempt)
        if stored is not None:
            decode(stored.text, attempt.spec.value_field, attempt.entry.name)  # raises unless it contains a key
        # Check with a dummy of the same length that a replacement fits into the value.
        expires_at = attempt.now() + attempt.spec.validity
        _encoded(attempt, stored, Secret("0" * 69), "0" * 32, expires_at)
        return attempt, stored

    def _current_value(self, attempt: Attempt) -> StoredValue | None:
        if attempt.life.current_version is None:
            return None
        stored = self.context.services.store.read_current(attempt.entry.arn)
        if stored.version_id != attempt.life.current_version:
            raise StateChanged(f"the value of {attempt.entry.name} changed during the rotation")
        return stored

    # ---- from a key to a current version ----------------------------------------------------------------------------

    def _store_and_promote(self, attempt: Attempt, fetched: FetchedKey, stored: StoredValue | None) -> Promoted:
        value = self.store(attempt, fetched, stored)
        if stored is not None:
            probe(attempt, fetched.key, value)
        check_again_if_stale(attempt, fetched.key, value)
        return promote(attempt, fetched.key)

    def store(self, attempt: Attempt, fetched: FetchedKey, stored: StoredValue | None) -> Secret:
        """Store a new key as a pending version. It still has to be probed and promoted.

        :param stored: the current value, whose other fields stay.
        :raises RotatorError: it is not stored; the key was given up.
        """
        key, value = fetched.key, fetched.value
        if value is None:
            # The response has no value.
            value = self.context.provider.get_key(key.id).value
        if value is None:
            attempt.reject(key, "was returned without its value")
        if stored is None:
            # AWS makes a secret's first version current automatically, so its key is probed before it is stored.
            probe(attempt, key, value)
            check_again_if_stale(attempt, key, value)
        stage(attempt, key, _encoded(attempt, stored, value, key.id, key.valid_to))
        return value

    def _resume_unstored(self, attempt: Attempt, key_id: str) -> Promoted:
        """Store and promote a key that an interrupted run did not store, if its value can still be read."""
        entry = attempt.entry
        attempt.checked_at = attempt.now()
        fetched = self.context.provider.get_key(key_id)
        if fetched.value is None or not fetched.key.alive(attempt.now()):
            raise StateChanged(
                f"key {key_id}, created for {entry.name}, can no longer be read; it will be revoked as an orphan"
            )
        if attempt.version_id in self.context.services.store.version_dates(entry.arn):
            raise StateChanged(f"key {key_id} was stored in {entry.name} before and has been re-enabled; skipped")
        stored = self._current_value(attempt)
        compare(attempt, fetched.key, key_request(attempt), resumed=True)
        return self._store_and_promote(attempt, fetched, stored)

    def check_stored(self, attempt: Attempt, key_id: str) -> Key:
        """Compare and probe a stored version's key. It still has to be promoted.

        :raises RotatorError: it must not be promoted now: it stays pending for the next sweep, or was given up.
        """
        entry, spec, version_id = attempt.entry, attempt.spec, attempt.version_id
        attempt.checked_at = attempt.now()
        key = self._found(key_id)
        if key is None:
            if self._named_for(entry, version_id):  # the label is wrong: the version's key has a different id
                attempt.unstage(key_id)
            else:  # the key may belong to another account: the label stays
                unlabel(self.context, entry, PENDING, version_id, attempt.reason)
            raise StateChanged(
                f"key {key_id} of the pending version of {entry.name} was not found; the version is no longer pending",
                reason=Reason.KEY_NOT_FOUND,
            )
        ownership = ownership_proof(self.context, entry, version_id, key_id, key)
        if not ownership.ok:
            raise Refused(
                f"{unproven(entry, version_id, key_id, ownership)}; it was not promoted", reason=Reason.UNPROVEN_LABEL
            )
        if not key.alive(attempt.now()):
            attempt.give_up(key, revoke=key.enabled)
            raise StateChanged(
                f"key {key_id} of the pending version of {entry.name} is no longer active; it was not promoted",
                reason=Reason.KEY_NOT_ACTIVE,
            )
        if attempt.old is None and not spec.scopes:
            # The old key is not found, but the new one was compared with it before it was stored.
            attempt = replace(attempt, old=key)
        compare(attempt, key, key_request(attempt), resumed=True)
        stored = self.context.services.store.read_version(entry.arn, version_id)
        value = decode(stored.text, spec.value_field, entry.name)
        probe(attempt, key, value)
        check_again_if_stale(attempt, key, value)
        return key

    def _reject_unless_fitting(self, attempt: Attempt, key_id: str) -> None:
        """Give up a stored version unless it is newer than the current one and differs from it only in the key.

        The current value may have been edited since another process read it. Promotion moves from the version that is
        compared here.

        :raises StateChanged: it is no longer pending, or was given up.
        """
        entry, version_id, store = attempt.entry, attempt.version_id, self.context.services.store
        attempt.staged = True
        if (attempt.life.pending_version, attempt.life.pending_key) != (version_id, key_id):
            raise StateChanged(f"{entry.name}: version {version_id} is no longer pending")
        current = self._current_value(attempt)
        if current is None:
            return
        dates = store.version_dates(entry.arn)
        other_field = False
        listed = self.listed or next((each for each in self.context.snapshot.secrets if each.arn == entry.arn), entry)
        newer = stored_after(dates, version_id, current.version_id)
        if newer is None:  # versions of the same second can't be ordered by date
            newer = is_labelled(listed, current.version_id) and not self._is_older(key_id, attempt.life.current_key)
        if newer:
            with suppress(BadSecretValue):
                stored = store.read_version(entry.arn, version_id)
                if differs_only_in_key(stored.text, current.text, attempt.spec.value_field):
                    return
                other_field = len({*changed_fields(stored.text, current.text)} - {*RESERVED_FIELDS}) == 1
        key = self._found(key_id)
        ownership = None if key is None else ownership_proof(self.context, entry, version_id, key_id, key)
        never = was_never_current(entry, version_id, dates, listed)
        if key is not None and ownership is OwnershipProof.BY_NAME and never:
            # A process that is about to promote it read another current version, and fails. If the tag
            # rotator:value-field was changed since, that process may succeed, so it gets the time to do so.
            attempt.own = attempt.own or not other_field
            attempt.give_up(key, contested=True)
        else:  # an operator stored it, or consumers may have its key: it is retired like a superseded version
            unlabel(self.context, entry, PENDING, version_id, attempt.reason)
        raise StateChanged(
            f"version {version_id} of {entry.name} was not promoted: it is older than the current version, or differs "
            "from it in more than the key; it was given up, and the next rotation creates a new key",
            reason=Reason.SUPERSEDED,
        )

    def _is_older(self, key_id: str, current: str | None) -> bool:
        """Whether a pending version's key was created before the current one, which an operator then stored."""
        key, other = (self.context.snapshot.keys.get(each or "") for each in (key_id, current))
        made, before = (each.valid_from if each is not None else None for each in (key, other))
        return made is not None and before is not None and made < before

    def _named_for(self, entry: SecretEntry, version_id: str) -> bool:
        """Whether a key at Infobip is named after a version."""
        try:
            name = key_name(entry.name, entry.arn, self.context.services.policy.deployment, version_id)
        except ValueError:  # an operator stored the version: the rotator uses no such id
            return False
        return bool(self.context.provider.find_by_name(name))

    def _found(self, key_id: str) -> Key | None:
        """The key as Infobip shows it now; ``None`` if the account does not have it."""
        try:
            return self.context.provider.get_key(key_id).key
        except KeyNotFound:
            return None


def _encoded(
    attempt: Attempt, stored: StoredValue | None, value: Secret, key_id: str, expires_at: datetime | None
) -> Secret:
    """The new value: the current one with the new key in it.

    :raises BadSecretValue: it does not have the field, or would be too large.
    """
    return encode_replacement(
        stored.text if stored else None,
        attempt.spec.value_field,
        key=value,
        key_id=key_id,
        expires_at=expires_at,
        base_url=attempt.context.provider.base_url,
        secret_name=attempt.entry.name,
    )
