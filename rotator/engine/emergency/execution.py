"""Execute a plan: the order of the steps and the re-reads before each change. A failure never keeps a key enabled.

A dry run executes the same code up to each change: it makes every check and changes nothing. After an interruption the
same command completes the rest. The next sweep removes the labels of revoked keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from rotator.audit_events import Event
from rotator.engine.apply import label_current, report_failed
from rotator.engine.context import AccountContext, Budget, Services
from rotator.engine.emergency.accounts import Accounts
from rotator.engine.emergency.facts import Facts
from rotator.engine.emergency.incident import Incident
from rotator.engine.emergency.targets import (
    EmergencyPlan,
    EmergencyReport,
    EmergencyStep,
    KeyRole,
    StepKind,
    Suspect,
)
from rotator.engine.probing import PROPAGATION, RevocationResult, verify_revocation
from rotator.engine.rotation import Rotation
from rotator.engine.secret_changes import clean_labels, remove_retire_labels, retire_version, with_label
from rotator.errors import InternalError, KeyNotFound, LostRace, Refused, RotatorError, StateChanged, sentence
from rotator.model import AccountSnapshot, Resolution, SecretEntry, Spec
from rotator.plan import ActionKind
from rotator.policy.labels import key_label, retire_label
from rotator.policy.lifecycle import AWS_LABELS, labels_after_rotation, read_lifecycle
from rotator.policy.rules import NOT_OURS, first, make_view
from rotator.policy.suspects import is_older
from rotator.policy.tags import account_of, spec_or_none
from rotator.ports import ProbeVerdict
from rotator.reasons import Reason
from rotator.telemetry.consumer_events import REVOKED
from rotator.text import printable, quoted

MOST_TRIES: Final = 3
"""Each retry means that another process promoted a key, or stored a value, in the seconds between."""
_WAY_OUT: Final = "Fix this first, or use the strategy revoke-only if you accept the outage."


@dataclass
class Execution:
    """Carries out one plan. A failure is not raised: it is in the report.

    :param begun: when the command began.
    """

    services: Services
    incident: Incident
    plan: EmergencyPlan
    report: EmergencyReport
    reason: str
    begun: datetime
    _revoked: dict[str, bool] = field(default_factory=dict)
    """The revoked keys, and whether Infobip's response showed each disabled."""
    _failed: dict[str, tuple[Suspect, str]] = field(default_factory=dict)
    _until: datetime | None = None

    @property
    def facts(self) -> Facts:
        """The data read so far."""
        return self.incident.facts

    @property
    def accounts(self) -> Accounts:
        """The Infobip accounts, and the secrets here."""
        return self.facts.accounts

    def execute(self) -> None:
        """Follow the strategy, then revoke what was stored in the named secret since, and verify."""
        plan = self.plan
        self.report.errors += plan.errors
        if plan.strategy.revokes_at_once:
            self._revoke(plan.suspects)
        for entry in plan.replaced:
            self._replace(entry)
        self._revoke(plan.suspects)
        if plan.secret is not None and not self.report.dry_run:
            self._read_again(plan.secret)
        self._revoke([suspect for suspect, _ in self._failed.values()])  # once more
        for suspect, why in self._failed.values():
            self._report_unrevoked(suspect, why)
        for suspect, error in plan.unproven:
            self._add(EmergencyStep.revoking(suspect, "failed", error, Reason.UNPROVEN_LABEL))
        if not self.report.dry_run:
            self._clean_labels_elsewhere()
            self._verify()

    # ---- revoking ---------------------------------------------------------------------------------------------------

    def _revoke(self, suspects: Iterable[Suspect]) -> None:
        """Revoke keys one by one; a failure never stops the remaining revocations."""
        for suspect in suspects:
            if suspect.key.id in self._revoked:
                continue
            try:
                self._revoked[suspect.key.id] = self._revoke_one(suspect)
                self._failed.pop(suspect.key.id, None)
            except Exception as error:  # even after a bug the other keys must be revoked
                why = InternalError.unless_known(error, f"the revocation of key {suspect.key.id}")
                self._failed[suspect.key.id] = (suspect, str(why))
                continue
            self._add(EmergencyStep.revoking(suspect, "" if suspect.key.enabled else "already disabled"))

    def _revoke_one(self, suspect: Suspect) -> bool:
        """Revoke one key in its own account. Returns whether Infobip's response showed it disabled.

        :raises RotatorError: it may still be enabled. A key that is not found is not known to be disabled.
        """
        if self.report.dry_run or not suspect.key.enabled:
            return not suspect.key.enabled
        context = self._context(suspect.account)
        try:
            context.revoke(suspect.key, suspect.fields)
        except RotatorError as error:
            if not error.outcome_unknown or context.provider.get_key(suspect.key.id).key.enabled:
                raise
        context.publish(REVOKED, secret_arn=suspect.arn or None, **suspect.fields)
        return True

    def _report_unrevoked(self, suspect: Suspect, why: str) -> None:
        """Report a key that was not revoked and, if possible, label it so that the next sweep revokes it."""
        due = self._make_due(suspect)
        again = "The next sweep retries; repeat the command to do it now." if due else "Repeat the command."
        error = f"{suspect.shown} MAY STILL BE ENABLED: {sentence(why)} {again}"
        self._add(EmergencyStep.revoking(suspect, "failed", error))
        with suppress(RotatorError):  # the account's management secret may be what failed
            context = self._context(suspect.account)
            context.emit(Event.REVOCATION_FAILED, "failure", **suspect.fields, error=why)

    def _make_due(self, suspect: Suspect) -> bool:
        """Set the retire label of a superseded key to now; false if a sweep will not revoke it."""
        version = suspect.version_id
        if self.report.dry_run or not suspect.arn or version is None:
            return False
        try:
            entry = self.services.store.describe(suspect.arn)
            if account_of(entry.tags) != suspect.account or read_lifecycle(entry).current_version == version:
                return False
            if key_label(suspect.key.id) not in entry.versions.get(version, frozenset()):
                return False
            context = self._context(suspect.account)
            now = context.now()
            retire_version(context, entry, version, suspect.key.id, now, self.reason)
            keep = retire_label(suspect.key.id, now)
            remove_retire_labels(context, entry, suspect.key.id, self.reason, but=keep)
        except RotatorError:
            return False
        return True

    # ---- replacing --------------------------------------------------------------------------------------------------

    def _replace(self, listed: SecretEntry) -> None:
        """Replace the key; if another process changed the secret first, re-read it and check if that is sufficient."""
        problem: RotatorError = StateChanged(f"{listed.name} changed during each of {MOST_TRIES} attempts")
        entry, described = listed, listed is self.plan.secret and not self._revoked  # just now, by the planner
        for _ in range(MOST_TRIES):
            try:
                entry = entry if described else self.services.store.describe(listed.arn)
                described = False
                self.facts.forget()
                current = self.facts.current_key(entry)
                if self._is_suspect(current, entry):
                    self._rotate(entry, current)
                else:
                    self._keep(entry, current)
                return
            except (StateChanged, LostRace) as error:
                problem = error
            except Exception as error:  # even a bug must not keep a leaked key enabled
                problem = InternalError.unless_known(error, f"the replacement of the key of {listed.name}")
                break
        self._report_unreplaced(entry, problem)

    def _keep(self, entry: SecretEntry, current: Suspect) -> None:
        """Report a current key that is not suspect: another process stored it, or it was there before."""
        account = current.account
        if is_older(current.key.valid_from, self.facts.at_infobip(self.begun, account), self.facts.now(account)):
            self.report.notes.append(
                f"the current key {current.key.id} of {entry.title} is not to be revoked; it was not replaced and "
                "stays enabled"
            )
        else:
            note = "by a concurrent rotation"
            self._add(EmergencyStep.replacing(StepKind.PROMOTED, account, entry, current.key.id, note))

    def _is_suspect(self, suspect: Suspect, entry: SecretEntry) -> bool:
        made_here = suspect.key.id in self.incident.made_keys(entry)
        return self.plan.rule.suspect(suspect.key, entry.arn, self.facts.now(suspect.account), made_here=made_here)

    def _rotate(self, entry: SecretEntry, current: Suspect) -> None:
        """:raises RotatorError: nothing was promoted; a key that was created is revoked, or found by the next sweep."""
        account = account_of(entry.tags) or ""
        current = self._in_account(current, account, entry)
        entry = self._labelled(entry, current)
        life = read_lifecycle(entry)
        context = self._context(account, entry, current)
        unwritable = first(NOT_OURS, make_view(context.snapshot, entry), context.now())
        if unwritable is not None:
            raise Refused(f"{entry.name}: {unwritable.detail}", reason=unwritable.reason)
        # An emergency sets no retire labels.
        if labels_after_rotation(life, entry) - len(life.superseded) - 1 > AWS_LABELS:
            raise Refused(
                f"{entry.name} can't get the new key's staging label (the limit is {AWS_LABELS} per secret)",
                advice="Remove unneeded staging labels with `aws secretsmanager update-secret-version-stage`.",
                reason=Reason.LABEL_LIMIT,
            )
        action = context.action(ActionKind.ROTATE, Reason.EMERGENCY, entry, life.current_key, life.current_version)
        rotation = Rotation(context, action, audit_reason=self.reason, emergency=True, entry=entry)
        if self.report.dry_run:
            rotation.check()
            self._check_probe(context, entry, current)
            self._add_promoted(account, entry, None)
            return
        made = rotation.rotate()
        self._add(EmergencyStep.replacing(StepKind.CREATED, account, entry, made.key_id))
        self._add_promoted(account, entry, made.key_id)

    def _add_promoted(self, account: str, entry: SecretEntry, key_id: str | None) -> None:
        """Report a replacement, and if no named secret or key shows it, why the secret gets one."""
        self._add(EmergencyStep.replacing(StepKind.PROMOTED, account, entry, key_id))
        shown = {suspect.arn for suspect in self.plan.suspects}
        if entry.arn not in shown and (self.plan.secret is None or entry.arn != self.plan.secret.arn):
            then = "also gets a new key" if self.report.dry_run else "also got a new key"
            self.report.notes.append(f"{entry.title} contains a key to revoke and {then}")

    def _in_account(self, current: Suspect, account: str, entry: SecretEntry) -> Suspect:
        """The current key as the tag's account shows it: another account may show it as well.

        :raises Refused: the tag's account does not have it; only ``rotator rotate`` moves a secret.
        :raises RotatorError: that account did not answer.
        """
        if current.account == account:
            return current
        try:
            fetched = self.accounts.provider(account).get_key(current.key.id)
        except KeyNotFound:
            command = f"rotator rotate {printable(entry.argument)} --reason R"
            move = f", or tag it rotator:scopes and move it to that account with `{command}`"
            raise Refused(
                f"its current key {current.key.id} belongs to account {printable(current.account)}, and the tag "
                f"rotator:account is {quoted(account)}",
                advice=f"Correct the tag{move if read_lifecycle(entry).at_work else ''}.",
                reason=Reason.KEY_NOT_FOUND,
            ) from None
        return replace(current, located=replace(current.located, account=account, key=fetched.key))

    def _labelled(self, entry: SecretEntry, current: Suspect) -> SecretEntry:
        """The secret with the label of its current value's key and no other key's: the value decides.

        The label is written first, so that a run that follows an interruption still knows which key was current.
        """
        life, version = read_lifecycle(entry), current.version_id
        if life.at_work == {current.key.id} or version is None:
            return entry
        if self.report.dry_run:
            return with_label(entry, current.key.id, version)
        reason = Reason.MISLABELLED if life.at_work else Reason.UNADOPTED
        context = self._context(current.account)
        action = context.action(ActionKind.LABEL, reason, entry, current.key.id, version)
        label_current(context, action, despite_hold=True)
        return self.services.store.describe(entry.arn)

    def _check_probe(self, context: AccountContext, entry: SecretEntry, current: Suspect) -> None:
        """Check for a dry run that a key with the current one's ``allowedIPs`` can be probed from here.

        :raises Refused: it can't, so a replacement would be rejected.
        """
        spec, key, value = _spec_of(entry), current.key, current.located.value
        if not spec.verify or not key.allowed_ips or value is None or not key.alive(context.now()):
            return
        probe = context.provider.probe(value, spec.verify_path)
        if probe.verdict is not ProbeVerdict.AUTHENTICATES:
            raise Refused(
                f"a replacement with the allowedIPs of key {key.id} can't be verified from here ({probe.detail})",
                advice="Tag the secret rotator:verify=skip, or run the command from an allowed address.",
            )

    def _report_unreplaced(self, entry: SecretEntry, error: RotatorError) -> None:
        why = str(error).removeprefix(f"{entry.name}: ")
        text = f"{entry.title} did not get a new key: {why}"
        if self.report.dry_run:
            then = "If you continue, its key is revoked anyway, and its consumers fail until it has a new one."
            then = then if self.plan.suspects else "If you continue, nothing is revoked."
            text = f"cannot create a replacement key for {entry.title}: {sentence(why)} {then} {_WAY_OUT}"
        account, life = account_of(entry.tags) or "", read_lifecycle(entry)
        self._add(EmergencyStep.replacing(StepKind.PROMOTED, account, entry, None, "failed", text, error.reason))
        with suppress(RotatorError):  # the account may be unknown; the outcome of the emergency is audited anyway
            context = self._context(account)
            version, key_id = life.current_version, life.current_key
            report_failed(context, context.action(ActionKind.ROTATE, Reason.EMERGENCY, entry, key_id, version), error)

    # ---- what changed during the execution --------------------------------------------------------------------------

    def _read_again(self, listed: SecretEntry) -> None:
        """Revoke suspects that the named secret got during the emergency; replace one that became current."""
        for _ in range(MOST_TRIES):
            try:
                entry = self.services.store.describe(listed.arn)
            except RotatorError as error:
                self.report.errors.append(f"{listed.title} could not be read again after the revocation: {error}")
                return
            found = self.facts.keys_of(entry)
            self.report.errors += [error for error in found.errors if error not in self.report.errors]
            known = {*self._revoked, *self._failed}
            new = [
                suspect
                for suspect in found.keys
                if suspect.key.id not in known and suspect.key.enabled and self._is_suspect(suspect, entry)
            ]
            if not new:
                return
            if self.plan.strategy.replaces and any(suspect.role == KeyRole.CURRENT for suspect in new):
                self._replace(entry)
            self._revoke(new)

    def _clean_labels_elsewhere(self) -> None:
        """Remove the labels of revoked keys from secrets of other accounts, whose sweeps don't find these keys."""
        by_key = self.accounts.fleet.directory.by_key
        accounts = {suspect.key.id: suspect.account for suspect in self.plan.suspects}
        for key_id in self._revoked.keys() & accounts.keys():
            for listed in by_key.get(key_id, ()):
                if account_of(listed.tags) == accounts[key_id]:
                    continue
                try:
                    entry = self.services.store.describe(listed.arn)
                    if read_lifecycle(entry).current_key != key_id:
                        clean_labels(self._context(accounts[key_id]), entry, key_id, self.reason)
                except RotatorError as error:
                    self.report.errors.append(
                        f"could not remove the labels of key {key_id} from {listed.title}: {error}"
                    )

    # ---- verification -----------------------------------------------------------------------------------------------

    def _verify(self) -> None:
        """Verify each revocation, and that already disabled keys are rejected; anything else is an error."""
        for position, step in enumerate(self.report.steps):
            suspect = step.suspect
            if step.what != StepKind.REVOKED or not step.ok or suspect is None:
                continue
            found, error = self._verified(suspect, shown=self._revoked[suspect.key.id])
            self.report.errors += [error] if not found.verified else []
            note = f"{step.note}; {found.note}" if step.note else found.note
            done = replace(step, verified=found.verified, note=note, error=error if found.works else None)
            self.report.steps[position] = done
        for suspect in self.plan.disabled:
            found, error = self._verified(suspect, shown=True)
            if found.works:
                self._add(EmergencyStep.revoking(suspect, found.note, error))

    def _verified(self, suspect: Suspect, *, shown: bool) -> tuple[RevocationResult, str]:
        """Verify one key. The second value is the error to report if it is not verified."""
        provider, clock = self.accounts.provider(suspect.account), self.services.clock  # one for keys of all accounts
        self._until = self._until or clock.now() + PROPAGATION
        spec = _spec_of(self.accounts.entry(suspect.arn))
        what = (suspect.key.id, suspect.located.value, spec.verify_path)
        found = verify_revocation(provider, clock, *what, self._until, shown=shown)
        return found, f"{suspect.shown} is {found.note}. Check it in Infobip's portal; repeat the command."

    # ---- parts ------------------------------------------------------------------------------------------------------

    def _add(self, step: EmergencyStep) -> None:
        self.report.add(replace(step, after=self.services.clock.now() - self.begun))

    def _context(
        self, account: str, entry: SecretEntry | None = None, current: Suspect | None = None
    ) -> AccountContext:
        """The context for changes in one account, without a daily budget, so that the reserve is used.

        :param entry: the secret for which a key may be made. Its version id then shows that this incident made it.
        :param current: its current key, which its value was found to be.
        """
        arn = entry.arn if entry is not None else ""

        def new_version_id() -> str:
            return self.incident.new_version_id(arn, self.services.new_version_id())

        keys, held = {}, {}
        if current is not None:
            keys = {current.key.id: current.key}
            held = {(arn, current.version_id or ""): Resolution(current.key.id)}
        secrets = (entry,) if entry is not None else ()
        snapshot = AccountSnapshot(account, secrets, keys, values=held)
        services = replace(self.services, new_version_id=new_version_id)
        return AccountContext(services, self.accounts.provider(account), snapshot, Budget())


def _spec_of(entry: SecretEntry | None) -> Spec:
    """A secret's spec, or the defaults if it can't be read."""
    return (spec_or_none(entry.tags) if entry is not None else None) or Spec(account="")
