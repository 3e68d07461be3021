"""A new key for each secret that loses its own, with all the checks of a rotation and none of its waiting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from rotator.engine.emergency.holders import revocations_of
from rotator.engine.emergency.incident import Work, spec_of
from rotator.engine.emergency.label_cleanup import clean, labels_needed, without_keys
from rotator.engine.emergency.revocations import Revoker
from rotator.engine.emergency.targets import CURRENT, RETIRING, SUPERSEDED, Revocation
from rotator.engine.rotation import Rotation
from rotator.errors import Changed, LostRace, Refused, RotatorError
from rotator.model import Action, ActionKind, Reason, SecretEntry
from rotator.policy.labels import key_label
from rotator.policy.lifecycle import AWS_LABELS, read_lifecycle
from rotator.telemetry.audit import change
from rotator.telemetry.consumer_events import FAILED

MOST_TRIES: Final = 3
"""Each but the first one means that somebody else promoted a key, or put a value there, in the seconds between."""


@dataclass
class Replacer:
    """Replaces the current keys of secrets. What fails is in the report, and never keeps a key alive."""

    work: Work
    revoker: Revoker

    def replace_all(self, entries: Iterable[SecretEntry]) -> tuple[Revocation, ...]:
        """Give each secret a new key. Returns the key that the secret concerned held until then."""
        held = [revocation for entry in entries if (revocation := self._replace(entry)) is not None]
        return tuple(revocation for revocation in held if self._is_main(revocation.arn))

    def _is_main(self, arn: str) -> bool:
        return self.work.plan.secret is not None and self.work.plan.secret.arn == arn

    def _replace(self, entry: SecretEntry) -> Revocation | None:
        if self.work.replaced_before(entry):
            return None
        try:
            return self._until_won(entry)
        except RotatorError as error:
            self._failed(entry, error)
        except Exception as error:  # a mistake of ours must not keep a leaked key alive
            self._failed(entry, error)
        return None

    def _until_won(self, entry: SecretEntry) -> Revocation | None:
        """Where somebody was faster: look again, whether what they promoted is what is needed.

        :raises RotatorError: nothing was promoted.
        """
        for left in reversed(range(MOST_TRIES)):
            try:
                return self._once(entry)
            except RotatorError as error:
                entry = self._look_after(error, entry.arn)
                if not self.still_needed(entry):
                    return None
                if not left or not isinstance(error, (Changed, LostRace)):
                    raise
        return None

    def _look_after(self, error: RotatorError, arn: str) -> SecretEntry:
        try:
            fresh = self.work.fresh(arn)
        except RotatorError:
            raise error from None
        if isinstance(error, Changed) and self._is_main(arn):
            # The listing was older than what consumers had when the incident began, up to five minutes.
            self.work.mark_compromised(
                revocation for revocation in revocations_of(fresh) if not self.work.is_newer(revocation)
            )
        return fresh

    def still_needed(self, fresh: SecretEntry) -> bool:
        """Not where this incident or another rotation replaced it meanwhile, nor where it holds no key that ends."""
        if self.work.replaced_before(fresh):
            return False
        current = next((revocation for revocation in revocations_of(fresh) if revocation.role == CURRENT), None)
        if current is not None and self.work.is_newer(current):
            self.work.replaced_by_others.add(fresh.arn)
            self.work.step("promoted", fresh.name, current.key_id, "by another rotation, which was faster")
            return False
        revoking = {revocation.key_id for revocation in self.work.plan.revocations}
        return self._is_main(fresh.arn) or (current is not None and current.key_id in revoking)

    def check(self, entry: SecretEntry) -> None:
        """Everything that is checked before a key is created. Changes nothing.

        :raises RotatorError: no replacement can be made.
        """
        freed = {
            revocation.key_id for revocation in self._freeing(entry) if self.revoker.missing_proof(revocation) is None
        }
        self._rotation(without_keys(entry, freed) if freed else entry).check()

    def _once(self, entry: SecretEntry) -> Revocation | None:
        """:raises RotatorError: nothing was promoted; what was made is revoked, or found by the next sweep."""
        work = self.work
        entry = self._with_room(entry)
        rotation = self._rotation(entry)
        version_id, key_id = rotation.action.version_id, rotation.action.key_id
        key = work.keys.get(key_id or "")
        if version_id is not None and key_id is not None and entry.arn in work.unlabelled:
            self._adopt(entry, version_id, key_id)
        try:
            made = rotation.rotate(work.version_id(entry.arn))
        finally:
            if rotation.old_value is not None and key_id is not None:
                work.values.setdefault(key_id, rotation.old_value)
        work.promoted.add(entry.arn)
        work.step("created", entry.name, made.key_id)
        work.step("promoted", entry.name, None)
        if key is not None and spec_of(entry).verify:
            work.admitted.add(key.allowed_ips)  # the new key has the same, and was used from here
        return Revocation(key_id, CURRENT, entry.name, entry.arn, version_id) if key_id is not None else None

    def _rotation(self, entry: SecretEntry) -> Rotation:
        """What replaces its current key; the labels are those that are there when it begins.

        :raises RotatorError: what Secrets Manager shows rules a replacement out.
        """
        work, life = self.work, read_lifecycle(entry)
        if life.current_version is None:
            raise Refused(f"{entry.name} has no value to be replaced")
        self._check_writable(entry)
        if life.current_key is not None:
            work.proof(Revocation(life.current_key, CURRENT, entry.name, entry.arn, life.current_version))
            work.key(life.current_key)  # a rotation does not read again what is known of the old key
        action = Action(
            ActionKind.ROTATE,
            work.plan.account,
            entry.name,
            Reason.EMERGENCY,
            work.begun,
            key_id=life.current_key,
            version_id=life.current_version,
            arn=entry.arn,
        )
        return Rotation(work.context(entry), action, audit_reason=work.reason, emergency=True, entry=entry)

    def _check_writable(self, entry: SecretEntry) -> None:
        """Before a key is made that could not be stored."""
        if entry.deleted_at is not None:
            advice = "Restore it first: aws secretsmanager restore-secret."
            raise Changed(f"{entry.name} is scheduled for deletion", advice=advice)
        if labels_needed(entry) > AWS_LABELS:
            raise Refused(
                f"{entry.name} has no room for a new key's label: a secret can have {AWS_LABELS} staging labels",
                advice="Remove staging labels that nobody needs: aws secretsmanager update-secret-version-stage.",
            )
        if entry.primary_region and entry.primary_region != entry.region:
            advice = f"Run the command in {entry.primary_region}."
            raise Refused(f"{entry.name} is a replica of a secret in {entry.primary_region}", advice=advice)
        if entry.owning_service:
            raise Refused(f"{entry.name} is managed by {entry.owning_service}")

    def _adopt(self, entry: SecretEntry, version_id: str, key_id: str) -> None:
        """Label the current version: if this run is killed, the next one still knows which key was in it."""
        work = self.work
        real = read_lifecycle(work.services.store.describe(entry.arn))
        if real.current_version != version_id:
            raise Changed(f"{entry.name} has another current version than was seen")
        if real.current_key is None:
            with change(work.services.audit, "key.adopted", **work.fields(entry.name, version_id, key_id)):
                work.services.store.add_label(
                    entry.arn, key_label(key_id), version_id, remove_from=real.holders.get(key_id)
                )
        work.unlabelled.discard(entry.arn)

    def _with_room(self, entry: SecretEntry) -> SecretEntry:
        """Where the labels of keys in grace leave no room for a new one's, these end first: they end in any case."""
        freeing = self._freeing(entry)
        if not freeing:
            return entry
        self.revoker.revoke_all(freeing)
        clean(self.work, entry)
        return self.work.fresh(entry.arn)

    def _freeing(self, entry: SecretEntry) -> tuple[Revocation, ...]:
        """The keys whose labels have to go before there is room for a new one's."""
        if not self._is_main(entry.arn) or labels_needed(entry) <= AWS_LABELS:
            return ()
        return tuple(revocation for revocation in revocations_of(entry) if revocation.role in (RETIRING, SUPERSEDED))

    def _failed(self, entry: SecretEntry, error: Exception) -> None:
        work = self.work
        text = str(error) if isinstance(error, RotatorError) else f"a bug in rotator: {type(error).__name__}"
        work.report.errors.append(f"{entry.name} has no new key: {text}")
        work.step("promoted", entry.name, None, "failed", ok=False)
        life = read_lifecycle(entry)
        fields = work.fields(entry.name, life.current_version, life.current_key)
        said = f"{type(error).__name__}: {text}"
        work.services.audit.emit("rotation.failed", "failure", **fields, error=said)
        work.context().publish(FAILED, {"secret_arn": entry.arn, **fields, "error": said})
