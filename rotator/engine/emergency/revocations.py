"""Ending keys, and what is left to the next sweep where that fails."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from rotator.engine.emergency.incident import Work
from rotator.engine.emergency.targets import CURRENT, ORPHAN, Revocation
from rotator.engine.revoke import revoke_key
from rotator.engine.secret_changes import retire_version, unlabel
from rotator.errors import KeyNotFound, RotatorError
from rotator.model import Key
from rotator.policy.labels import parse_retire_label, retire_label
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.ownership import OwnershipProof
from rotator.telemetry.consumer_events import REVOKED


@dataclass
class Revoker:
    """Ends keys one after another; one that can't be ended never keeps the others alive."""

    work: Work
    failed: dict[str, tuple[Revocation, str]] = field(default_factory=dict)
    not_found: dict[str, Revocation] = field(default_factory=dict)
    unproven: dict[str, tuple[Revocation, OwnershipProof]] = field(default_factory=dict)

    def revoke_all(self, revocations: Iterable[Revocation], *, again: bool = False) -> None:
        """End each key that is not known to be dead.

        :param again: also those that could not be ended, found or proven before; the clean-up tries them once more.
        """
        for revocation in revocations:
            tried = revocation.key_id in {*self.failed, *self.not_found, *self.unproven}
            if revocation.key_id not in self.work.revoked and (again or not tried):
                self._revoke(revocation)

    def missing_proof(self, revocation: Revocation) -> OwnershipProof | None:
        """Why a key may not be revoked; ``None`` where it is proven to belong to its version, or needs no proof."""
        named = revocation.key_id == self.work.plan.named or revocation.role == ORPHAN
        if named or revocation.version_id in self.work.made:
            return None
        proof = self.work.proof(revocation)
        return None if proof.ok else proof

    def left(self) -> set[str]:
        """The keys that were tried and may still be enabled."""
        return {*self.failed, *self.unproven}

    def _revoke(self, revocation: Revocation) -> None:
        work = self.work
        missing = self.missing_proof(revocation)
        if missing is not None:
            self._leave_unproven(revocation, missing)
            self._revoke_held(revocation)
            return
        self.unproven.pop(revocation.key_id, None)
        target = work.keys.get(revocation.key_id) or Key(revocation.key_id, "", None, True, None, None)
        try:
            context = work.context()
            revoke_key(
                context, target, context.now(), work.fields(revocation.secret, revocation.version_id, revocation.key_id)
            )
        except RotatorError as error:
            not_found = isinstance(error, KeyNotFound)
            if not ((not_found or error.outcome_unknown) and self._is_disabled(revocation.key_id)):
                self.failed[revocation.key_id] = (revocation, str(error))
                return
            if not_found:
                # A 404 may be anybody's on the way: the labels stay, and the next sweep asks for the whole list.
                self.failed.pop(revocation.key_id, None)
                self.not_found[revocation.key_id] = revocation
                work.not_found.add(revocation.key_id)
                return
        except Exception as error:  # whatever it is, the other keys must die
            self.failed[revocation.key_id] = (revocation, f"a bug in rotator: {type(error).__name__}")
            return
        self.failed.pop(revocation.key_id, None)
        self.not_found.pop(revocation.key_id, None)
        work.not_found.discard(revocation.key_id)
        work.revoked.add(revocation.key_id)
        work.step("revoked", revocation.secret, revocation.key_id)
        detail = {
            "secret_arn": revocation.arn or None,
            **work.fields(revocation.secret, revocation.version_id, revocation.key_id),
        }
        work.context().publish(REVOKED, detail)

    def _leave_unproven(self, revocation: Revocation, proof: OwnershipProof) -> None:
        """Nothing is left to do where the key is disabled already (by another run of this incident, say)."""
        work = self.work
        first, _ = self.unproven.get(revocation.key_id, (revocation, proof))  # its role before it was replaced
        try:
            if work.provider.get_key(revocation.key_id).key.enabled:
                self.unproven[revocation.key_id] = (first, proof)
                return
        except KeyNotFound:
            self.unproven.pop(revocation.key_id, None)
            self.not_found[revocation.key_id] = revocation
            work.not_found.add(revocation.key_id)
            return
        except RotatorError:
            self.unproven[revocation.key_id] = (first, proof)
            return
        self.unproven.pop(revocation.key_id, None)
        work.revoked.add(revocation.key_id)
        work.step("revoked", revocation.secret, revocation.key_id)

    def _revoke_held(self, revocation: Revocation) -> None:
        """What consumers have is the key that their value is, whatever a wrong label says."""
        held = self.work.held.get((revocation.arn, revocation.version_id or ""))
        key_id = held.key_id if held is not None else None
        if (
            revocation.role == CURRENT
            and key_id is not None
            and key_id != revocation.key_id
            and key_id not in self.work.revoked
        ):
            self._revoke(replace(revocation, key_id=key_id))

    def _is_disabled(self, key_id: str) -> bool:
        """After a lost or doubtful answer: what Infobip shows."""
        try:
            return not self.work.provider.get_key(key_id).key.enabled
        except KeyNotFound:
            return True
        except RotatorError:
            return False

    # ---- what stays alive -------------------------------------------------------------------------------------------

    def give_up(self) -> None:
        """Report every key that could not be ended, and make it due at the next sweep where that can be said."""
        for revocation, proof in self.unproven.values():
            text = unproven_text(self.work, revocation, proof)
            # A sweep revokes it on a proof only, so a label that is wrong does no harm.
            due = proof is OwnershipProof.UNREADABLE and self._make_due(revocation)
            self.work.report.errors.append(f"{text} The next sweep tries again." if due else text)
            self.work.step("revoked", revocation.secret, revocation.key_id, "not proven to be this secret's", ok=False)
        for revocation in self.not_found.values():
            self._make_due(revocation)
            self.work.step("revoked", revocation.secret, revocation.key_id)
        for revocation, error in self.failed.values():
            work = self.work
            due = self._make_due(revocation)
            what = f"key {revocation.key_id} of {revocation.secret} is NOT known to be revoked: {error}"
            then = "The next sweep tries again; repeat the command to do it now." if due else "Repeat the command."
            stop = "" if what.endswith((".", "!", "?")) else "."
            work.report.errors.append(f"{what}{stop} {then}")
            work.step("revoked", revocation.secret, revocation.key_id, "failed", ok=False)
            fields = work.fields(revocation.secret, revocation.version_id, revocation.key_id)
            work.services.audit.emit("revocation.failed", "failure", **fields, error=error)

    def _make_due(self, revocation: Revocation) -> bool:
        """Whether the next sweep will end it: its retire label says now, and none says later."""
        if revocation.role == ORPHAN or not revocation.arn:
            return False  # found by its age, at most half an hour from now
        work = self.work
        context = work.context()
        try:
            entry = work.services.store.describe(revocation.arn)
            life = read_lifecycle(entry)
            version = life.holders.get(revocation.key_id, revocation.version_id)
            if version is None or version == life.current_version:
                return False  # a label can't end the key that consumers get
            now = work.now()
            label = retire_label(revocation.key_id, now)
            if label not in entry.versions.get(version, frozenset()):
                retire_version(context, entry, version, revocation.key_id, now, work.reason)
            for holder, labels in entry.versions.items():
                for other in labels:  # of two the later one counts
                    parsed = parse_retire_label(other)
                    if parsed is not None and parsed[0] == revocation.key_id and other != label:
                        unlabel(context, entry, other, holder, work.reason)
        except RotatorError:
            return False
        return True


def unproven_text(work: Work, revocation: Revocation, proof: OwnershipProof) -> str:
    """That a key is not revoked because only a label says whose it is, and how to revoke it all the same."""
    held = work.held.get((revocation.arn, revocation.version_id or ""))
    why = (
        "its value can't be read or searched for" if proof is OwnershipProof.UNREADABLE else "its value is not that key"
    )
    if held is not None and held.key_id is not None:
        why = f"its value is key {held.key_id}" + (", which is revoked" if revocation.role == CURRENT else "")
    return (
        f"key {revocation.key_id}, which a label of {revocation.secret} names, is not revoked: nothing proves that it "
        f"belongs to this secret ({why}). If it leaked: "
        f"`rotator revoke --key-id {revocation.key_id} --account {work.plan.account}`."
    )
