"""Carries out a plan: the order of the steps, and what is read again before it is acted on.

``replace-first`` lists, reads the management secret, finds the key by its name, reads the value, creates, stores,
probes, promotes and then revokes: nine calls. Promotion compares and swaps, so the secret is not described again unless
that fails. ``revoke-first`` and ``revoke-only`` list, read the management secret, describe the secret, find the key and
revoke: five calls. For a key that was named it is three, because it needs no proof and does not wait for the secret.
A key that was created by hand takes two more calls for its proof by value, and one for its rights if it is replaced.

At the end the secret is always described again. This decides which further keys are revoked
(:meth:`~rotator.engine.emergency.incident.Incident.is_suspect`), and failed revocations are tried again.

A dry run executes the same code up to each change: it makes every check and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from rotator.engine.apply import label, report_failed
from rotator.engine.emergency.incident import Incident
from rotator.engine.emergency.revoker import KeyState, Revoker
from rotator.engine.emergency.targets import (
    EmergencyPlan,
    Revocation,
    Role,
    StepKind,
    Strategy,
    current_of,
    is_unlabelled,
    revocations_of,
    spec_of,
    with_label,
    without_keys,
)
from rotator.engine.observe import resolve_version
from rotator.engine.rotation import Rotation
from rotator.engine.secret_changes import clean_labels
from rotator.errors import Changed, InternalError, LostRace, ProviderError, Refused, RotatorError
from rotator.model import ActionKind, Reason, SecretEntry
from rotator.policy.lifecycle import AWS_LABELS, labels_after_rotation, read_lifecycle
from rotator.policy.ownership import OwnershipProof
from rotator.policy.rules import NOT_OURS, first, make_view

MOST_TRIES: Final = 3
"""Each retry means that another process promoted a key, or stored a value, in the seconds between."""
_WAY_OUT: Final = "Fix this first, or use the strategy revoke-only on purpose."


@dataclass
class Execution:
    """Carries out one plan. Failures on the way are not raised: they are in the report.

    :raises ProviderError: only in a dry run, if Infobip can't be asked.
    """

    incident: Incident
    revoker: Revoker = field(init=False)
    replacing: list[SecretEntry] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.revoker = Revoker(self.incident)

    @property
    def plan(self) -> EmergencyPlan:
        """The plan that is carried out."""
        return self.incident.plan

    def execute(self) -> None:
        """Follow the strategy, then revoke what the secret shows by now, clean the labels and verify."""
        incident, plan, secret = self.incident, self.plan, self.plan.secret
        replace_first = plan.strategy is Strategy.REPLACE_FIRST
        named = plan.named_revocation
        if named is not None and not (replace_first and self._is_current(named)):
            self.revoker.revoke_all([named])  # consumers no longer get it, or the strategy revokes first
        if secret is not None and not replace_first:
            # Read the secret again before anyone can react to the incident; the listing may be out of date.
            secret = self._described(secret)
            incident.began_with(secret)
            self._revoke_suspects(secret)
        if plan.strategy is not Strategy.REVOKE_ONLY:
            self._replace_all(secret)
        if secret is not None and secret.arn in incident.promoted:
            # Except a pending one, which may have been promoted meanwhile.
            self.revoker.revoke_all(item for item in plan.revocations if item.role != Role.PENDING)
        for entry in {entry.arn: entry for entry in (*self.replacing, secret) if entry is not None}.values():
            self._finish(entry)
        self.revoker.revoke_all(
            [each.item for each in self.revoker.tried.values() if each.item.role == Role.ORPHAN], again=True
        )
        self.revoker.report_rest()
        if not incident.dry_run:
            self.revoker.verify()

    # ---- revoking ---------------------------------------------------------------------------------------------------

    def _is_current(self, item: Revocation) -> bool:
        """Whether consumers get that key now, perhaps because of a rollback within the last minutes."""
        secret = self.plan.secret
        if item.role == Role.CURRENT or secret is None:
            return item.role == Role.CURRENT
        return read_lifecycle(self._described(secret)).current_key == item.key_id

    def _described(self, secret: SecretEntry) -> SecretEntry:
        """The secret as it is now, or as it was listed if it can't be described."""
        with suppress(RotatorError):
            secret = self.incident.fresh(secret.arn)
        return self.incident.as_valued(secret)

    def _revoke_suspects(self, entry: SecretEntry, *, again: bool = False) -> None:
        """Revoke the suspects among the keys that the secret shows and those that only the listing knew."""
        shown = {item.key_id: item for item in revocations_of(entry)}
        items = [*shown.values(), *(item for item in self.plan.revocations if item.key_id not in shown)]
        suspects = [item for item in items if self.incident.is_suspect(item, entry)]
        self.revoker.revoke_all(suspects, again=again)

    def _finish(self, listed: SecretEntry) -> None:
        """Revoke the keys that were not listed or failed before, and take the revoked keys' labels off."""
        incident = self.incident
        try:
            entry, error = incident.fresh(listed.arn), None
        except RotatorError as caught:
            entry, error = listed, caught
        if self.plan.is_main(entry.arn):
            entry = incident.as_valued(entry)
            self._revoke_suspects(entry, again=True)
            self._report_kept(entry)
        if not incident.dry_run:
            try:
                if error is not None:
                    raise error
                self._clean(entry)
            except RotatorError as caught:
                text = f"the labels of {entry.name} were not cleaned, the next sweep does it: {caught}"
                incident.report.errors.append(text)

    def _clean(self, entry: SecretEntry) -> None:
        """Take revoked keys' labels off, except the current key's, which tells the next sweep what to replace.

        A version without labels can be lost at any time, so its value is read first, to verify the revocation with. A
        key that Infobip does not find keeps its labels, because the next sweep checks that with the whole list. If the
        run is interrupted here, the next sweep finishes the job.

        :raises RotatorError: not all labels were taken off.
        """
        incident, life, revoked = self.incident, read_lifecycle(entry), self.revoker.having(KeyState.REVOKED)
        for key_id in sorted((revoked | self.revoker.having(KeyState.NOT_FOUND)) & life.named):
            version = life.holders.get(key_id)
            if version is not None and key_id not in incident.values:
                with suppress(RotatorError):  # the verification then has to do without it
                    incident.values[key_id] = incident.value(entry, version)
            if key_id in revoked and key_id != life.current_key:
                clean_labels(incident.context(), entry, key_id, incident.reason)

    def _report_kept(self, entry: SecretEntry) -> None:
        """Report an error if the current key stays although a new one was wanted."""
        plan, incident, current = self.plan, self.incident, read_lifecycle(entry).current_key
        wanted = plan.strategy is not Strategy.REVOKE_ONLY and not plan.repeated and entry.arn not in incident.promoted
        if current is None or not wanted or incident.replaced_before(entry) or current in self.revoker.tried:
            return
        why = "was not named" if plan.named is not None else "was put there after this incident began"
        incident.report.errors.append(
            f"the current key {current} of {entry.name} {why} and stays, since nothing has replaced it"
        )

    # ---- a new key for each secret that loses its own: all the checks of a rotation and none of its waiting ----------

    def _replace_all(self, secret: SecretEntry | None) -> None:
        """Replace the key of each secret that loses it. A failure is reported, and never keeps a key enabled.

        :param secret: the secret concerned, as it was seen last.
        """
        incident, plan = self.incident, self.plan
        for entry in chain(plan.replaced, self._unlabelled_holders()):
            self.replacing.append(entry)
            main = plan.is_main(entry.arn)
            if main and secret is not None:
                entry = secret
            described = main and plan.strategy is Strategy.REVOKE_FIRST
            if not (main or self._loses_its_key(entry)) or incident.replaced_before(entry):
                continue
            if described and not self._still_needed(entry):
                continue  # a rotation was faster than this
            try:
                self._until_won(entry)
            except RotatorError as error:
                if incident.dry_run and isinstance(error, ProviderError):
                    raise  # Infobip may answer later, when the plan is executed
                self._failed(entry, error)
            except Exception as error:  # a bug must not keep a leaked key enabled
                self._failed(entry, InternalError.of(error, f"the replacement of the key of {entry.name}"))

    def _unlabelled_holders(self) -> Iterator[SecretEntry]:
        """Secrets of the account that are not adopted yet (a copy, say) and hold a key to be revoked."""
        incident, plan = self.incident, self.plan
        revoking = {item.key_id for item in plan.revocations} | self.revoker.tried.keys()
        for entry in plan.fleet.managed.get(plan.account, ()) if revoking else ():
            if plan.is_main(entry.arn) or not is_unlabelled(entry):
                continue
            try:
                key_id = resolve_version(incident.services.store, incident.provider, entry).key_id
            except RotatorError as error:
                text = f"whether {entry.name} holds a key to be revoked is not known: {error.message}"
                incident.report.notes.append(text)
                continue
            if key_id is not None and key_id in revoking:
                incident.report.notes.append(f"{entry.name} holds a key to be revoked, and gets a new one as well")
                incident.to_label[entry.arn] = Reason.UNADOPTED
                yield with_label(entry, key_id)

    def _loses_its_key(self, entry: SecretEntry) -> bool:
        """Whether this other secret really loses its key. False if only an unproven label links it to a revocation."""
        current = current_of(entry)
        named = [item for item in self.plan.revocations if current is not None and item.key_id == current.key_id]
        missing = map(self.revoker.missing_ownership_proof, named)
        return not named or any(each is not OwnershipProof.NONE for each in missing)

    def _until_won(self, entry: SecretEntry) -> None:
        """Try to replace; if another process won, read again and check whether its key will do.

        :raises RotatorError: nothing was promoted.
        """
        incident = self.incident
        for left in reversed(range(MOST_TRIES)):
            try:
                self._replace(entry)
                return
            except RotatorError as error:
                try:
                    entry = incident.fresh(entry.arn)
                except RotatorError:
                    raise error from None
                if isinstance(error, Changed) and self.plan.is_main(entry.arn):
                    incident.began_with(entry)
                if not self._still_needed(entry):
                    return
                if not left or not isinstance(error, (Changed, LostRace)):
                    raise

    def _still_needed(self, fresh: SecretEntry) -> bool:
        """Whether it still needs a new key: False if its key was replaced meanwhile, or it holds none to be revoked."""
        incident, current = self.incident, current_of(fresh)
        if incident.replaced_before(fresh):
            return False
        if current is not None and incident.is_newer(current):
            incident.promoted.add(fresh.arn)
            incident.step(StepKind.PROMOTED, fresh.name, current.key_id, "by another rotation, which was faster")
            return False
        revoking = {item.key_id for item in self.plan.revocations}
        return self.plan.is_main(fresh.arn) or (current is not None and current.key_id in revoking)

    def _replace(self, entry: SecretEntry) -> None:
        """:raises RotatorError: nothing was promoted; what was made is revoked, or found by the next sweep."""
        incident = self.incident
        entry = incident.as_valued(self._with_free_labels(entry))
        life, held = read_lifecycle(entry), current_of(entry)
        if life.current_version is None:
            raise Refused(f"{entry.name} has no value to be replaced")
        context = incident.context(entry.arn)
        unwritable = first(NOT_OURS, make_view(context.snapshot, entry), incident.now())
        if unwritable is not None:
            raise Changed(f"{entry.name}: {unwritable.detail}")
        if _labels_needed(entry) > AWS_LABELS:
            raise Refused(
                f"{entry.name} can't carry a new key's label: a secret can have {AWS_LABELS} staging labels",
                advice="Remove staging labels that are not needed: aws secretsmanager update-secret-version-stage.",
            )
        key = None
        if held is not None:
            incident.ownership_proof(held)
            key = incident.key(held.key_id)  # the rotation then does not read the old key again
        context = incident.context(entry.arn)
        action = context.action(ActionKind.ROTATE, Reason.EMERGENCY, entry, life.current_key, life.current_version)
        rotation = Rotation(context, action, audit_reason=incident.reason, emergency=True, entry=entry)
        if incident.dry_run:
            rotation.check()
            incident.step(StepKind.PROMOTED, entry.name, None)
            incident.promoted.add(entry.arn)
            return
        if held is not None and (why := incident.to_label.pop(entry.arn, None)) is not None:
            # If interrupted after this, the next run still knows which key was in it.
            action = context.action(ActionKind.LABEL, why, entry, held.key_id, held.version_id)
            label(context, action, despite_hold=True)
        try:
            made = rotation.rotate()
        finally:
            if rotation.old_value is not None and held is not None:
                incident.values.setdefault(held.key_id, rotation.old_value)
        incident.step(StepKind.CREATED, entry.name, made.key_id)
        incident.step(StepKind.PROMOTED, entry.name, made.key_id)
        incident.promoted.add(entry.arn)
        if key is not None and spec_of(entry).verify:
            incident.admitted.add(key.allowed_ips)  # the new key has the same, and was used from here

    def _with_free_labels(self, entry: SecretEntry) -> SecretEntry:
        """Revoke the keys in grace first if their labels leave none for a new key: they are revoked in any case."""
        if not self.plan.is_main(entry.arn) or _labels_needed(entry) <= AWS_LABELS:
            return entry
        self.revoker.revoke_all(item for item in revocations_of(entry) if item.role in (Role.RETIRING, Role.SUPERSEDED))
        if self.incident.dry_run:
            return without_keys(entry, self.revoker.having(KeyState.REVOKED) - {read_lifecycle(entry).current_key})
        self._clean(entry)
        return self.incident.fresh(entry.arn)

    def _failed(self, entry: SecretEntry, error: RotatorError) -> None:
        incident, life, context = self.incident, read_lifecycle(entry), self.incident.context()
        why = str(error).removeprefix(f"{entry.name}: ")
        text = self._cannot_replace(entry, why) if incident.dry_run else f"{entry.name} has no new key: {why}"
        incident.report.errors.append(text)
        incident.step(StepKind.PROMOTED, entry.name, None, "failed", error=text)
        action = context.action(ActionKind.ROTATE, Reason.EMERGENCY, entry, life.current_key, life.current_version)
        report_failed(context, action, error)

    def _cannot_replace(self, entry: SecretEntry, why: str) -> str:
        """The error text for a dry run, with the consequence. A current key that stays is reported separately, too."""
        current = current_of(self.incident.as_valued(entry))
        unnamed = self.plan.is_main(entry.arn) and self.plan.named not in (None, current.key_id if current else None)
        stop = "" if why.endswith((".", "!", "?")) else "."
        then = (
            "If you continue, its current key is revoked all the same, and its consumers fail until it has a new one."
        )
        if unnamed or (current is not None and self.revoker.missing_ownership_proof(current) is not None):
            then = "If you continue, its current key stays as well."
        return f"no replacement can be made for {entry.name}: {why}{stop} {then} {_WAY_OUT}"


def _labels_needed(entry: SecretEntry) -> int:
    """How many labels the secret carries once a replacement is promoted; an emergency sets no retire labels."""
    life = read_lifecycle(entry)
    return labels_after_rotation(life, entry) - len(life.superseded) - 1
