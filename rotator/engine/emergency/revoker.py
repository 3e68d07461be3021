"""Revoking keys one after another, and what is left to the next sweep where that fails."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from rotator.engine.emergency.incident import Incident
from rotator.engine.emergency.targets import Revocation, Role, StepKind
from rotator.engine.revoke import revoke_key
from rotator.engine.secret_changes import remove_retire_labels, retire_version
from rotator.errors import KeyNotFound, RotatorError
from rotator.model import Key
from rotator.policy.labels import retire_label
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.ownership import OwnershipProof
from rotator.telemetry.consumer_events import REVOKED as REVOKED_EVENT


@dataclass
class Revoker:
    """Revokes keys; one that can't be revoked never keeps another one enabled.

    :param failed: keys that may still be enabled, with the error.
    :param unproven: keys that only a label connects with the secret; they stay.
    """

    incident: Incident
    failed: dict[str, tuple[Revocation, str]] = field(default_factory=dict)
    unproven: dict[str, tuple[Revocation, OwnershipProof]] = field(default_factory=dict)

    def revoke_all(self, items: Iterable[Revocation], *, again: bool = False) -> None:
        """Revoke each key that is not known to be revoked.

        :param again: also those that could not be revoked, found or proven before; the clean-up tries them once more.
        """
        for item in items:
            tried = item.key_id in {*self.failed, *self.incident.not_found, *self.unproven}
            if item.key_id not in self.incident.revoked and (again or not tried):
                self._revoke(item)

    def missing_ownership_proof(self, item: Revocation) -> OwnershipProof | None:
        """Why a key may not be revoked; ``None`` where it is proven to belong to its version, or needs no proof."""
        named = item.key_id == self.incident.plan.named or item.role == Role.ORPHAN
        if named or item.version_id in self.incident.made:
            return None
        ownership = self.incident.ownership_proof(item)
        return None if ownership.ok else ownership

    def may_revoke(self, item: Revocation) -> bool:
        """Whether a key is proven to belong to its version, or needs no proof; also where that can't be found out."""
        return self.missing_ownership_proof(item) is not OwnershipProof.NONE

    def stays(self, item: Revocation) -> bool:
        """Whether a current key is not revoked for want of a proof, and its value is not known to be another one."""
        return self.missing_ownership_proof(item) is not None and self.incident.held_key(item) is None

    def _revoke(self, item: Revocation) -> None:
        incident, key_id = self.incident, item.key_id
        missing = self.missing_ownership_proof(item)
        if missing is not None:
            self._keep_unproven(item, missing)
            self._revoke_held(item)
            return
        if incident.dry_run:
            key = incident.key(key_id)
            self._done(item, "" if key and key.enabled else "disabled already" if key else "not found at Infobip")
            return
        context, fields = incident.context(), incident.fields(item.secret, item.version_id, key_id)
        target = incident.keys.get(key_id) or Key(key_id, "", None, True, None, None)
        try:
            revoke_key(context, target, context.now(), fields)
        except RotatorError as error:
            not_found = isinstance(error, KeyNotFound)
            if not ((not_found or error.outcome_unknown) and self._is_disabled(key_id)):
                self.failed[key_id] = (item, str(error))
                return
            if not_found:
                self._note_not_found(item)
                return
        except Exception as error:  # whatever it is, the other keys must be revoked
            self.failed[key_id] = (item, f"a bug in rotator: {type(error).__name__}")
            return
        self._done(item)
        context.publish(REVOKED_EVENT, secret_arn=item.arn or None, **fields)

    def _done(self, item: Revocation, note: str = "") -> None:
        self._forget(item.key_id)
        self.incident.revoked.add(item.key_id)
        self.incident.step(StepKind.REVOKED, item.secret, item.key_id, note, revocation=item)

    def _note_not_found(self, item: Revocation) -> None:
        """A 404 may come from anything on the way: the labels stay, and the next sweep asks for the whole list."""
        self._forget(item.key_id)
        self.incident.not_found[item.key_id] = item

    def _forget(self, key_id: str) -> None:
        for kept in (self.failed, self.unproven, self.incident.not_found):
            kept.pop(key_id, None)

    def _keep_unproven(self, item: Revocation, ownership: OwnershipProof) -> None:
        """Nothing is left to do where the key is disabled already (by another run of this incident, say)."""
        first, _ = self.unproven.get(item.key_id, (item, ownership))  # its role before it was replaced
        try:
            enabled = self.incident.provider.get_key(item.key_id).key.enabled
        except KeyNotFound:
            self._note_not_found(item)
            return
        except RotatorError:
            enabled = True
        if enabled:
            self.unproven[item.key_id] = (first, ownership)
        else:
            self._done(item)

    def _revoke_held(self, item: Revocation) -> None:
        """What consumers have is the key that their value is, whatever a wrong label says."""
        key_id = self.incident.held_key(item)
        known = key_id in (None, item.key_id) or key_id in self.incident.revoked
        if item.role == Role.CURRENT and key_id is not None and not known:
            self._revoke(replace(item, key_id=key_id))

    def _is_disabled(self, key_id: str) -> bool:
        """After a lost or doubtful answer: what Infobip shows."""
        try:
            return not self.incident.provider.get_key(key_id).key.enabled
        except KeyNotFound:
            return True
        except RotatorError:
            return False

    # ---- what stays enabled -----------------------------------------------------------------------------------------

    def report_rest(self) -> None:
        """Report every key that could not be revoked, and make it due at the next sweep where a label can do that."""
        incident = self.incident
        for item, ownership in self.unproven.values():
            # A sweep revokes it on a proof only, so a label that is wrong does no harm.
            due = ownership is OwnershipProof.UNREADABLE and self._make_due(item)
            error = self._unproven_text(item, ownership) + (" The next sweep tries again." if due else "")
            self._failed(item, "not proven to be this secret's", error)
        for item in incident.not_found.values():
            self._make_due(item)
            note = "not found at Infobip" if incident.dry_run else ""
            incident.step(StepKind.REVOKED, item.secret, item.key_id, note, revocation=item)
        for item, why in self.failed.values():
            due = self._make_due(item)
            what = f"key {item.key_id} of {item.secret} is NOT known to be revoked: {why}"
            then = "The next sweep tries again; repeat the command to do it now." if due else "Repeat the command."
            error = f"{what}{'' if what.endswith(('.', '!', '?')) else '.'} {then}"
            self._failed(item, "failed", error)
            fields = incident.fields(item.secret, item.version_id, item.key_id)
            incident.context().emit("revocation.failed", "failure", **fields, error=why)

    def _failed(self, item: Revocation, note: str, error: str) -> None:
        self.incident.report.errors.append(error)
        self.incident.step(StepKind.REVOKED, item.secret, item.key_id, note, error=error, revocation=item)

    def _make_due(self, item: Revocation) -> bool:
        """Whether the next sweep will revoke it: its retire label says now, and none says later."""
        if item.role == Role.ORPHAN or not item.arn or self.incident.dry_run:
            return False  # an orphan is found by its age, at most half an hour from now
        context, reason, store = self.incident.context(), self.incident.reason, self.incident.services.store
        try:
            entry = store.describe(item.arn)
            life = read_lifecycle(entry)
            version = life.holders.get(item.key_id, item.version_id)
            if version is None or version == life.current_version:
                return False  # no label makes a sweep revoke the key that consumers get
            now = self.incident.now()
            label = retire_label(item.key_id, now)
            if label not in entry.versions.get(version, frozenset()):
                retire_version(context, entry, version, item.key_id, now, reason)
            remove_retire_labels(context, entry, item.key_id, reason, but=label)  # of two the later one counts
        except RotatorError:
            return False
        return True

    def _unproven_text(self, item: Revocation, ownership: OwnershipProof) -> str:
        held = self.incident.held_key(item)
        unreadable = ownership is OwnershipProof.UNREADABLE
        why = "its value can't be read or searched for" if unreadable else "its value is not that key"
        if held is not None:
            why = f"its value is key {held}" + (", which is revoked" if item.role == Role.CURRENT else "")
        command = f"rotator revoke --key-id {item.key_id} --account {self.incident.plan.account}"
        return (
            f"key {item.key_id}, which a label of {item.secret} names, is not revoked: nothing proves that it belongs "
            f"to this secret ({why}). If it leaked: `{command}`."
        )
