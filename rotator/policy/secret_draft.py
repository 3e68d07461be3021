"""One secret in an account's draft, and what can be found about it: actions, skips, alerts and questions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from shlex import quote

from rotator.durations import plus
from rotator.message import KeyId, Message
from rotator.model import Elsewhere, Key
from rotator.plan import Action, ActionKind, Alert, Questions, Severity, Skip
from rotator.policy.clock_skew import MAX_SKEW
from rotator.policy.draft import Draft, Finding
from rotator.policy.emergency_ids import made_in_emergency
from rotator.policy.labels import parse_key_label, parse_key_name, parse_retire_label
from rotator.policy.lifecycle import Retiring, replaced_at
from rotator.policy.ownership import OwnershipProof
from rotator.policy.rules import Decision, View
from rotator.reasons import Reason
from rotator.text import printable, some_of


@dataclass(slots=True)
class SecretDraft:
    """One secret in a draft. Its methods return findings and write nothing."""

    draft: Draft
    view: View

    def ownership(self, version_id: str, key_id: str) -> OwnershipProof:
        """Return the ownership proof of a label."""
        return self.draft.ownership.of(self.view.entry, version_id, key_id)

    def ask_value(self, version_id: str) -> Questions:
        """Return the question for the value of one of the secret's versions."""
        return Questions(values={(self.view.entry.arn, version_id)})

    def check_label(self, version_id: str, key_id: str) -> Alert | Questions | None:
        """Return the alert about a label that is to be ignored, or the question for the value."""
        ownership = self.ownership(version_id, key_id)
        if ownership is OwnershipProof.UNREAD:
            return self.ask_value(version_id)
        if ownership is not OwnershipProof.NONE:
            return None
        return self.alert(
            Reason.UNPROVEN_LABEL,
            "version {version} is labelled with key {key}, but its value is a different key; the label is ignored; "
            "remove it with `aws secretsmanager update-secret-version-stage`",
            key_id,
            Severity.ERROR,
            version=KeyId(version_id),
            key=KeyId(key_id),
        )

    def grace_until(self, item: Retiring) -> datetime | None:
        """Return the end of grace if a label's time is too early to be right; ``None`` if the label can be right.

        A label's time is only a hint. The rotator, even in an emergency, never writes a time before the creation of the
        key that replaced this one (or of this key, if an older one is in use again).
        """
        keys, grace = self.draft.snapshot.keys, self.view.spec.grace if self.view.spec else timedelta(0)
        key = keys.get(item.key_id)
        emergency = made_in_emergency(self.view.entry.arn, self.view.life.current_version)
        if key is None or key.valid_from is None or emergency:
            return None
        for other in self.view.life.retiring:
            older = keys.get(other.key_id)
            if older and older.valid_from and older.valid_from < key.valid_from and other.revoke_at > item.revoke_at:
                return None  # a rollback: an older key replaced this one, and has been replaced since
        made = replaced_at(self.view.life, key, keys) or key.valid_from
        return None if item.revoke_at >= plus(made, -MAX_SKEW) else plus(made, grace)

    def is_foreign(self, key: Key) -> bool:
        """Whether another deployment or another secret's rotation created a key, so that sweeps never revoke it."""
        return self.draft.ownership.is_foreign(self.view.entry, key)

    def owned_elsewhere(self, key_id: str) -> tuple[Key, str | None] | None:
        """Return a superseded key that this account does not have, and the account that has it, if it was found."""
        snapshot = self.draft.snapshot
        found = None if key_id in snapshot.keys else snapshot.elsewhere.get(key_id)
        if found is None or found.key is None or key_id in snapshot.unreadable_keys:
            return None
        return found.key, found.account

    def label_removal(self, version_id: str, key_id: str, due_at: datetime | None = None) -> Action | None:
        """Return the removal of a superseded key's labels if it no longer authenticates; else ``None``."""
        now = self.draft.now
        key, account = self.owned_elsewhere(key_id) or (self.draft.snapshot.keys.get(key_id), None)
        if key is None or (key.enabled and not key.expired(now)):
            return None
        why = "has expired" if key.enabled else "is disabled"
        where = "" if account is None else " in account {account}"
        message = Message.of(f"it {why}{where}; its labels are removed", account=account)
        due = min(now, due_at or now)
        return self.action(ActionKind.REVOKE, Reason.KEY_NOT_ACTIVE, key.id, version_id, message, due_at=due)

    def ask_elsewhere(self, key_id: str) -> Iterator[Questions]:
        """Yield the question which other account has a key that this one does not have."""
        if key_id not in self.draft.snapshot.elsewhere:
            yield Questions(elsewhere={(self.view.entry.arn, key_id)})

    def report_superseded(self, key_id: str) -> Iterator[Finding]:
        """Report a superseded key that no sweep revokes: this account does not have it, or it is not this secret's."""
        key = self.draft.snapshot.keys.get(key_id)
        if key is not None:
            yield from self.report_foreign(key)
        elif key_id not in self.draft.snapshot.unreadable_keys:
            yield from self.ask_elsewhere(key_id)
            yield self._not_found(key_id, self.draft.snapshot.elsewhere.get(key_id) or Elsewhere())

    def _not_found(self, key_id: str, found: Elsewhere) -> Alert:
        account = self.draft.snapshot.account
        if found.key is not None:
            return self.alert(
                Reason.KEY_NOT_FOUND,
                "the Infobip account {account} has no key {key}, which a label names; account {owner} has it; sweeps "
                "never revoke it; if no consumer uses it: "
                "`rotator revoke --key-id {id} --account {there} --reason ...`",
                key_id,
                account=account,
                key=KeyId(key_id),
                owner=found.account,
                id=key_id,
                there=quote(printable(found.account or "")),
            )
        return self.alert(
            Reason.KEY_NOT_FOUND,
            "the Infobip account {account} has no key {key}, which a label names"
            + (", and {unasked} could not be asked" if found.unasked else "")
            + "; the label stays; if the key is not needed, remove it: `{commands}`",
            key_id,
            account=account,
            key=KeyId(key_id),
            unasked=some_of(found.unasked, 3),
            commands=" && ".join(self._removals(key_id)),
        )

    def _removals(self, key_id: str) -> Iterator[str]:
        """Yield the commands that remove a key's labels."""
        for version, labels in sorted(self.view.entry.versions.items()):
            for label in sorted(labels):
                retires = parse_retire_label(label)
                if key_id in (parse_key_label(label), retires[0] if retires is not None else None):
                    yield removal(self.view.entry.name, label, version)

    def report_foreign(self, key: Key) -> Iterator[Alert]:
        """Report a key that another deployment or another secret's rotation created."""
        view, draft, name = self.view, self.draft, parse_key_name(key.name)
        if name is None or not self.is_foreign(key):
            return
        yield self.alert(
            Reason.OTHER_DEPLOYMENT_KEY,
            "key {key} belongs to {owner} according to its name, so sweeps never revoke it; {when}: `rotator revoke "
            "--key-id {id} --account {account} --strategy revoke-only --reason ...`",
            key.id,
            key=KeyId(key.id),
            owner="another secret"
            if name.deployment == draft.policy.deployment
            else f"deployment {name.deployment} (this is deployment {draft.policy.deployment}, ROTATOR_DEPLOYMENT)",
            when="once it is replaced and no longer needed" if key.id == view.key_id else "if it is no longer needed",
            id=key.id,
            account=draft.snapshot.account,
        )

    def action(
        self,
        kind: ActionKind,
        reason: Reason,
        key_id: str | None,
        version_id: str | None,
        message: Message,
        *,
        label: str | None = None,
        due_at: datetime | None = None,
        deadline: datetime | None = None,
    ) -> Action:
        """Return an action on this secret, by default due now."""
        entry = self.view.entry
        return Action(
            kind,
            self.draft.snapshot.account,
            entry.name,
            reason,
            due_at or self.draft.now,
            key_id=key_id,
            version_id=version_id,
            deadline=deadline,
            message=message,
            label=label,
            arn=entry.arn,
            location=entry.location,
        )

    def skip(self, decision: Decision, key_id: str | None = None, *, everything: bool = False) -> Iterator[Finding]:
        """Skip the secret's rotation, or the revocation of a key. A decision with a severity is also an alert.

        :param everything: skip the rotation and all revocations.
        """
        entry = self.view.entry
        what = entry.name, decision.reason, decision.message, entry.arn, key_id, everything
        yield Skip(*what, location=entry.location)
        if decision.severity is not None:
            yield self._alert(decision.reason, decision.message, key_id or self.view.key_id, decision.severity)

    def alert(
        self,
        kind: Reason,
        template: str,
        key_id: str | None = None,
        severity: Severity = Severity.WARNING,
        **values: object,
    ) -> Alert:
        """Return an alert about this secret."""
        return self._alert(kind, Message.of(template, **values), key_id, severity)

    def _alert(self, kind: Reason, message: Message, key_id: str | None, severity: Severity) -> Alert:
        entry = self.view.entry
        return Alert(kind, message, entry.name, key_id, severity, location=entry.location)


def removal(secret: str, label: str, version_id: str) -> str:
    """Return the command that removes a label, quoted for a shell: labels and version ids are untrusted input."""
    return (
        f"aws secretsmanager update-secret-version-stage --secret-id {quote(printable(secret))} "
        f"--version-stage {quote(printable(label))} --remove-from-version-id {quote(printable(version_id))}"
    )
