"""Ending keys, and what is left to the next sweep where that fails."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from rotator.engine.emergency.incident import Work
from rotator.engine.emergency.targets import CURRENT, ORPHAN, Kill
from rotator.engine.revoke import revoke_key
from rotator.engine.rotation import retire_version, unlabel
from rotator.errors import KeyNotFound, RotatorError
from rotator.model import Key
from rotator.policy.labels import parse_retire_label, retire_label
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.ownership import Proof
from rotator.telemetry.consumer_events import REVOKED


@dataclass
class Killing:
    """Ends keys one after another; one that can't be ended never keeps the others alive."""

    work: Work
    failed: dict[str, tuple[Kill, str]] = field(default_factory=dict)
    gone: dict[str, Kill] = field(default_factory=dict)
    unproven: dict[str, tuple[Kill, Proof]] = field(default_factory=dict)

    def kill_all(self, kills: Iterable[Kill], *, again: bool = False) -> None:
        """End each key that is not known to be dead.

        :param again: also those that could not be ended, found or proven before; the clean-up tries them once more.
        """
        for kill in kills:
            tried = kill.key_id in {*self.failed, *self.gone, *self.unproven}
            if kill.key_id not in self.work.dead and (again or not tried):
                self._kill(kill)

    def missing_proof(self, kill: Kill) -> Proof | None:
        """Why a key may not be revoked; ``None`` where it is proven to belong to its version, or needs no proof."""
        named = kill.key_id == self.work.plan.named or kill.role == ORPHAN
        if named or kill.version_id in self.work.made:
            return None
        proof = self.work.proof(kill)
        return None if proof.ok else proof

    def left(self) -> set[str]:
        """The keys that were tried and may still be enabled."""
        return {*self.failed, *self.unproven}

    def _kill(self, kill: Kill) -> None:
        work = self.work
        missing = self.missing_proof(kill)
        if missing is not None:
            self._leave_unproven(kill, missing)
            self._kill_held(kill)
            return
        self.unproven.pop(kill.key_id, None)
        target = work.keys.get(kill.key_id) or Key(kill.key_id, "", None, True, None, None)
        try:
            context = work.context()
            revoke_key(context, target, context.now(), work.fields(kill.secret, kill.version_id, kill.key_id))
        except RotatorError as error:
            gone = isinstance(error, KeyNotFound)
            if not ((gone or error.outcome_unknown) and self._is_dead(kill.key_id)):
                self.failed[kill.key_id] = (kill, str(error))
                return
            if gone:
                # A 404 may be anybody's on the way: the labels stay, and the next sweep asks for the whole list.
                self.failed.pop(kill.key_id, None)
                self.gone[kill.key_id] = kill
                work.gone.add(kill.key_id)
                return
        except Exception as error:  # whatever it is, the other keys must die
            self.failed[kill.key_id] = (kill, f"a bug in rotator: {type(error).__name__}")
            return
        self.failed.pop(kill.key_id, None)
        self.gone.pop(kill.key_id, None)
        work.gone.discard(kill.key_id)
        work.dead.add(kill.key_id)
        work.step("revoked", kill.secret, kill.key_id)
        detail = {"secret_arn": kill.arn or None, **work.fields(kill.secret, kill.version_id, kill.key_id)}
        work.context().publish(REVOKED, detail)

    def _leave_unproven(self, kill: Kill, proof: Proof) -> None:
        """Nothing is left to do where the key is disabled already (by another run of this incident, say)."""
        work = self.work
        first, _ = self.unproven.get(kill.key_id, (kill, proof))  # its role before it was replaced
        try:
            if work.provider.get_key(kill.key_id).key.enabled:
                self.unproven[kill.key_id] = (first, proof)
                return
        except KeyNotFound:
            self.unproven.pop(kill.key_id, None)
            self.gone[kill.key_id] = kill
            work.gone.add(kill.key_id)
            return
        except RotatorError:
            self.unproven[kill.key_id] = (first, proof)
            return
        self.unproven.pop(kill.key_id, None)
        work.dead.add(kill.key_id)
        work.step("revoked", kill.secret, kill.key_id)

    def _kill_held(self, kill: Kill) -> None:
        """What consumers have is the key that their value is, whatever a wrong label says."""
        held = self.work.held.get((kill.arn, kill.version_id or ""))
        key_id = held.key_id if held is not None else None
        if kill.role == CURRENT and key_id is not None and key_id != kill.key_id and key_id not in self.work.dead:
            self._kill(replace(kill, key_id=key_id))

    def _is_dead(self, key_id: str) -> bool:
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
        for kill, proof in self.unproven.values():
            text = unproven_text(self.work, kill, proof)
            # A sweep revokes it on a proof only, so a label that is wrong does no harm.
            due = proof is Proof.UNREADABLE and self._make_due(kill)
            self.work.report.errors.append(f"{text} The next sweep tries again." if due else text)
            self.work.step("revoked", kill.secret, kill.key_id, "not proven to be this secret's", ok=False)
        for kill in self.gone.values():
            self._make_due(kill)
            self.work.step("revoked", kill.secret, kill.key_id)
        for kill, error in self.failed.values():
            work = self.work
            due = self._make_due(kill)
            what = f"key {kill.key_id} of {kill.secret} is NOT known to be revoked: {error}"
            then = "The next sweep tries again; repeat the command to do it now." if due else "Repeat the command."
            stop = "" if what.endswith((".", "!", "?")) else "."
            work.report.errors.append(f"{what}{stop} {then}")
            work.step("revoked", kill.secret, kill.key_id, "failed", ok=False)
            fields = work.fields(kill.secret, kill.version_id, kill.key_id)
            work.services.audit.emit("revocation.failed", "failure", **fields, error=error)

    def _make_due(self, kill: Kill) -> bool:
        """Whether the next sweep will end it: its retire label says now, and none says later."""
        if kill.role == ORPHAN or not kill.arn:
            return False  # found by its age, at most half an hour from now
        work = self.work
        context = work.context()
        try:
            entry = work.services.store.describe(kill.arn)
            life = read_lifecycle(entry)
            version = life.holders.get(kill.key_id, kill.version_id)
            if version is None or version == life.current_version:
                return False  # a label can't end the key that consumers get
            now = work.now()
            label = retire_label(kill.key_id, now)
            if label not in entry.versions.get(version, frozenset()):
                retire_version(context, entry, version, kill.key_id, now, work.reason)
            for holder, labels in entry.versions.items():
                for other in labels:  # of two the later one counts
                    parsed = parse_retire_label(other)
                    if parsed is not None and parsed[0] == kill.key_id and other != label:
                        unlabel(context, entry, other, holder, work.reason)
        except RotatorError:
            return False
        return True


def unproven_text(work: Work, kill: Kill, proof: Proof) -> str:
    """That a key is not revoked because only a label says whose it is, and how to revoke it all the same."""
    held = work.held.get((kill.arn, kill.version_id or ""))
    why = "its value can't be read or searched for" if proof is Proof.UNREADABLE else "its value is not that key"
    if held is not None and held.key_id is not None:
        why = f"its value is key {held.key_id}" + (", which is revoked" if kill.role == CURRENT else "")
    return (
        f"key {kill.key_id}, which a label of {kill.secret} names, is not revoked: nothing proves that it belongs to "
        f"this secret ({why}). If it leaked: `rotator revoke --key-id {kill.key_id} --account {work.plan.account}`."
    )
