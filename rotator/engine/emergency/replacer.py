"""A new key for each secret that loses its own, with all the checks of a rotation and none of its waiting."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from rotator.engine.apply import label
from rotator.engine.emergency.incident import Incident, spec_of
from rotator.engine.emergency.revoker import Revoker
from rotator.engine.emergency.targets import (
    Revocation,
    Role,
    StepKind,
    current_of,
    revocations_of,
    with_label,
    without_keys,
)
from rotator.engine.rotation import Rotation
from rotator.engine.secret_changes import clean_labels
from rotator.errors import Changed, LostRace, ProviderError, Refused, RotatorError
from rotator.model import ActionKind, Reason, SecretEntry
from rotator.policy.lifecycle import AWS_LABELS, labels_after_rotation, read_lifecycle
from rotator.policy.ownership import OwnershipProof
from rotator.telemetry.consumer_events import FAILED

MOST_TRIES: Final = 3
"""Each but the first one means that another process promoted a key, or stored a value, in the seconds between."""
_WAY_OUT: Final = "Fix this first, or use the strategy revoke-only on purpose."


@dataclass
class Replacer:
    """Replaces the current keys of secrets. What fails is in the report, and never keeps a key enabled."""

    incident: Incident
    revoker: Revoker

    def replace_all(self, entries: Iterable[SecretEntry]) -> tuple[Revocation, ...]:
        """Give each secret a new key. Returns the key that the secret concerned held until then."""
        held = [item for entry in entries if self._concerned(entry) and (item := self._replace(entry)) is not None]
        return tuple(item for item in held if self.incident.plan.is_main(item.arn))

    def _concerned(self, entry: SecretEntry) -> bool:
        """Whether it loses its key: not another secret's, which only a label without proof names for this one."""
        plan, current = self.incident.plan, current_of(entry)
        named = [item for item in plan.revocations if current is not None and item.key_id == current.key_id]
        return plan.is_main(entry.arn) or not named or any(map(self.revoker.may_revoke, named))

    def _replace(self, entry: SecretEntry) -> Revocation | None:
        if self.incident.replaced_before(entry):
            return None
        try:
            return self._until_won(entry)
        except ProviderError as error:
            if self.incident.dry_run:
                raise  # what can't be asked now says nothing about the execution
            self._failed(entry, error)
        except Exception as error:  # a mistake of ours must not keep a leaked key enabled
            self._failed(entry, error)
        return None

    def _until_won(self, entry: SecretEntry) -> Revocation | None:
        """Where another process was faster: describe again, whether what it promoted is what is needed.

        :raises RotatorError: nothing was promoted.
        """
        for left in reversed(range(MOST_TRIES)):
            try:
                return self._once(entry)
            except RotatorError as error:
                entry = self._after(error, entry.arn)
                if not self.still_needed(entry):
                    return None
                if not left or not isinstance(error, (Changed, LostRace)):
                    raise
        return None

    def _after(self, error: RotatorError, arn: str) -> SecretEntry:
        try:
            fresh = self.incident.fresh(arn)
        except RotatorError:
            raise error from None
        if isinstance(error, Changed) and self.incident.plan.is_main(arn):
            # The listing was older than what consumers had when the incident began, up to five minutes.
            self.incident.mark_compromised(item for item in revocations_of(fresh) if not self.incident.is_newer(item))
        return fresh

    def still_needed(self, fresh: SecretEntry) -> bool:
        """Not where this incident or another rotation replaced it meanwhile, or where it holds no key to be revoked."""
        incident = self.incident
        if incident.replaced_before(fresh):
            return False
        current = current_of(fresh)
        if current is not None and incident.is_newer(current):
            incident.replaced_by_others.add(fresh.arn)
            incident.step(StepKind.PROMOTED, fresh.name, current.key_id, "by another rotation, which was faster")
            return False
        revoking = {item.key_id for item in incident.plan.revocations}
        return incident.plan.is_main(fresh.arn) or (current is not None and current.key_id in revoking)

    def _once(self, entry: SecretEntry) -> Revocation | None:
        """:raises RotatorError: nothing was promoted; what was made is revoked, or found by the next sweep."""
        incident = self.incident
        entry = self._with_its_own_label(self._with_free_labels(entry))
        rotation, held = self._rotation(entry), current_of(entry)
        if incident.dry_run:
            rotation.check()
            incident.step(StepKind.PROMOTED, entry.name, None)
        else:
            if held is not None and entry.arn in incident.unlabelled:
                self._label(entry, held, Reason.UNADOPTED)
                incident.unlabelled.discard(entry.arn)
            self._rotate(rotation, entry, held)
        incident.promoted.add(entry.arn)
        return held

    def _rotate(self, rotation: Rotation, entry: SecretEntry, held: Revocation | None) -> None:
        incident = self.incident
        key = incident.keys.get(held.key_id) if held is not None else None
        try:
            made = rotation.rotate(incident.version_id(entry.arn))
        finally:
            if rotation.old_value is not None and held is not None:
                incident.values.setdefault(held.key_id, rotation.old_value)
        incident.step(StepKind.CREATED, entry.name, made.key_id)
        incident.step(StepKind.PROMOTED, entry.name, made.key_id)
        if key is not None and spec_of(entry).verify:
            incident.admitted.add(key.allowed_ips)  # the new key has the same, and was used from here

    def _rotation(self, entry: SecretEntry) -> Rotation:
        """What replaces its current key; the labels are those that are there when it begins.

        :raises RotatorError: what Secrets Manager shows rules a replacement out.
        """
        incident, life = self.incident, read_lifecycle(entry)
        if life.current_version is None:
            raise Refused(f"{entry.name} has no value to be replaced")
        self._check_writable(entry)
        held = current_of(entry)
        if held is not None:
            incident.ownership_proof(held)
            incident.key(held.key_id)  # a rotation does not read again what is known of the old key
        context = incident.context()
        action = context.action(ActionKind.ROTATE, Reason.EMERGENCY, entry, life.current_key, life.current_version)
        return Rotation(context, action, audit_reason=incident.reason, emergency=True, entry=entry)

    def _check_writable(self, entry: SecretEntry) -> None:
        """Before a key is made that could not be stored."""
        if entry.deleted_at is not None:
            advice = "Restore it first: aws secretsmanager restore-secret."
            raise Changed(f"{entry.name} is scheduled for deletion", advice=advice)
        if _labels_needed(entry) > AWS_LABELS:
            raise Refused(
                f"{entry.name} can't carry a new key's label: a secret can have {AWS_LABELS} staging labels",
                advice="Remove staging labels that are not needed: aws secretsmanager update-secret-version-stage.",
            )
        if entry.primary_region and entry.primary_region != entry.region:
            advice = f"Run the command in {entry.primary_region}."
            raise Refused(f"{entry.name} is a replica of a secret in {entry.primary_region}", advice=advice)
        if entry.owning_service:
            raise Refused(f"{entry.name} is managed by {entry.owning_service}")

    def _label(self, entry: SecretEntry, held: Revocation, reason: Reason) -> None:
        """Label the current version: where this run is interrupted, the next one still knows which key was in it."""
        context = self.incident.context()
        action = context.action(ActionKind.LABEL, reason, entry, held.key_id, held.version_id)
        label(context, action, despite_hold=True)

    def _with_its_own_label(self, entry: SecretEntry) -> SecretEntry:
        """The value decides which key is current: a label that names another one is corrected."""
        incident, labelled = self.incident, current_of(entry)
        if labelled is None or incident.ownership_proof(labelled) is not OwnershipProof.NONE:
            return entry
        key_id = incident.held_key(labelled)
        if key_id is None:
            return entry
        if incident.dry_run:
            return with_label(without_keys(entry, {labelled.key_id}), key_id)
        self._label(entry, replace(labelled, key_id=key_id), Reason.MISLABELLED)
        return incident.fresh(entry.arn)

    def _with_free_labels(self, entry: SecretEntry) -> SecretEntry:
        """Where the labels of keys in grace leave none for a new key, these are revoked first: they are in any case."""
        if not self.incident.plan.is_main(entry.arn) or _labels_needed(entry) <= AWS_LABELS:
            return entry
        self.revoker.revoke_all(item for item in revocations_of(entry) if item.role in (Role.RETIRING, Role.SUPERSEDED))
        if self.incident.dry_run:
            return without_keys(entry, self.incident.revoked)
        clean(self.incident, entry)
        return self.incident.fresh(entry.arn)

    def _failed(self, entry: SecretEntry, error: Exception) -> None:
        incident = self.incident
        why = str(error) if isinstance(error, RotatorError) else f"a bug in rotator: {type(error).__name__}"
        text = f"{entry.name} has no new key: {why}"
        if incident.dry_run:
            text = self._cannot_replace(entry, why.removeprefix(f"{entry.name}: "))
        incident.report.errors.append(text)
        incident.step(StepKind.PROMOTED, entry.name, None, "failed", error=text)
        life = read_lifecycle(entry)
        fields = incident.fields(entry.name, life.current_version, life.current_key)
        named = f"{type(error).__name__}: {why}"
        context = incident.context()
        context.emit("rotation.failed", "failure", **fields, error=named)
        context.publish(FAILED, secret_arn=entry.arn, **fields, error=named)

    def _cannot_replace(self, entry: SecretEntry, why: str) -> str:
        """For a dry run: what follows from it. A current key that stays is reported by itself."""
        plan = self.incident.plan
        current = current_of(entry)
        stays = plan.is_main(entry.arn) and plan.named not in (None, current.key_id if current else None)
        stop = "" if why.endswith((".", "!", "?")) else "."
        then = (
            "If you continue, its current key is revoked all the same, and its consumers fail until it has a new one."
        )
        if stays or (current is not None and self.revoker.stays(current)):
            then = "If you continue, its current key stays as well."
        return f"no replacement can be made for {entry.name}: {why}{stop} {then} {_WAY_OUT}"


def clean(incident: Incident, entry: SecretEntry) -> None:
    """Take every revoked key's labels off a secret, but the current one's: the next sweep knows by it what to replace.

    A version without labels can be lost at any time, so its value is read before, to verify the revocation with. A key
    that Infobip says it does not have keeps its labels: the next sweep asks for the whole list before it believes that.
    What is cut off here is done by the next sweep.

    :raises RotatorError: not all labels were taken off.
    """
    life = read_lifecycle(entry)
    for key_id in sorted((incident.revoked | incident.not_found.keys()) & life.named):
        version = life.holders.get(key_id)
        if version is not None and key_id not in incident.values:
            with suppress(RotatorError):  # the verification has to do without it, and says so
                incident.values[key_id] = incident.value(entry, version)
        if key_id in incident.revoked and key_id != life.current_key:
            clean_labels(incident.context(), entry, key_id, incident.reason)


def _labels_needed(entry: SecretEntry) -> int:
    """How many labels the secret carries once a replacement is promoted; an emergency sets no retire labels."""
    life = read_lifecycle(entry)
    return labels_after_rotation(life, entry) - len(life.superseded) - 1
