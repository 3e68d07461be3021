"""One secret's part of the plan: its actions, skips and alerts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from shlex import quote

from rotator.durations import plus
from rotator.message import KeyId, Message
from rotator.model import Action, ActionKind, Alert, Elsewhere, Key, Questions, Severity, Skip
from rotator.policy.clock_skew import MAX_SKEW
from rotator.policy.draft import Draft, Rank
from rotator.policy.emergency_ids import made_in_emergency
from rotator.policy.labels import parse_key_label, parse_key_name, parse_retire_label
from rotator.policy.lifecycle import Retiring, replaced_at
from rotator.policy.ownership import OwnershipProof
from rotator.policy.rules import Decision, View
from rotator.reasons import Reason
from rotator.text import printable, some_of


@dataclass(slots=True)
class SecretDraft:
    """One secret, and what is decided about it."""

    draft: Draft
    view: View

    def ownership(self, version_id: str, key_id: str) -> OwnershipProof:
        """Return the ownership proof of a label."""
        return self.draft.ownership.of(self.view.entry, version_id, key_id)

    def ask_value(self, version_id: str) -> Questions:
        """Return the question for the value of one of the secret's versions."""
        return Questions(versions={(self.view.entry.arn, version_id)})

    def is_unproven(self, version_id: str, key_id: str) -> bool:
        """Whether a label is to be ignored because the value is another key or none. If so, alert.

        A value that has not been read is to be read.
        """
        ownership = self.ownership(version_id, key_id)
        if ownership is OwnershipProof.UNREAD:
            self.draft.questions.include(self.ask_value(version_id))
        if ownership is not OwnershipProof.NONE:
            return False
        self.alert(
            Reason.UNPROVEN_LABEL,
            "version {version} is labelled with key {key}, but its value is a different key; the label is ignored; "
            "remove it with `aws secretsmanager update-secret-version-stage`",
            key_id,
            Severity.ERROR,
            version=KeyId(version_id),
            key=KeyId(key_id),
        )
        return True

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

    def is_active(self, key: Key) -> bool:
        """Whether a key is enabled and not expired."""
        return key.enabled and not key.expired(self.draft.now)

    def clean(self, version_id: str, key: Key, due_at: datetime | None = None, account: str | None = None) -> None:
        """Plan to remove the labels of a key that no longer authenticates.

        :param account: the account that has it, if that is another one.
        """
        why = "has expired" if key.enabled else "is disabled"
        where = "" if account is None else " in account {account}"
        message = Message.of(f"it {why}{where}; its labels are removed", account=account)
        due = min(self.draft.now, due_at or self.draft.now)
        self.add(self.action(ActionKind.REVOKE, Reason.KEY_NOT_ACTIVE, key.id, version_id, message, due_at=due))

    def to_be_ended(self, version_id: str, key_id: str, due_at: datetime | None = None) -> bool:
        """Return whether a superseded key is to be retired or revoked, as far as Infobip shows the key.

        If not, its labels are removed because it no longer authenticates, or the key is reported: another deployment or
        another secret's rotation created it, and sweeps never revoke it.
        """
        snapshot = self.draft.snapshot
        key = snapshot.keys.get(key_id)
        if key is None:
            return key_id in snapshot.unread or not self.not_found(version_id, key_id, due_at)
        if not self.is_active(key):
            self.clean(version_id, key, due_at)
            return False
        return not self.report_foreign_key(key)

    def find_elsewhere(self, key_id: str) -> Elsewhere | None:
        """Return which other account has a key that this one does not have; ``None`` if it was not searched for yet."""
        found = self.draft.snapshot.elsewhere.get(key_id)
        if found is None:
            self.draft.questions.elsewhere.add((self.view.entry.arn, key_id))
        return found

    def not_found(self, version_id: str, key_id: str, due_at: datetime | None = None) -> bool:
        """Handle a superseded key that the account does not have. Its labels stay, unless another account disabled it.

        :returns: whether its labels are to be removed.
        """
        found = self.find_elsewhere(key_id) or Elsewhere()
        if found.key is not None and not self.is_active(found.key):
            self.clean(version_id, found.key, due_at, found.account)
            return True
        account = self.draft.snapshot.account
        if found.key is not None:
            self.alert(
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
            return False
        self.alert(
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
        return False

    def _removals(self, key_id: str) -> Iterator[str]:
        """Yield the commands that remove a key's labels."""
        for version, labels in sorted(self.view.entry.versions.items()):
            for label in sorted(labels):
                retires = parse_retire_label(label)
                if key_id in (parse_key_label(label), retires[0] if retires is not None else None):
                    yield removal(self.view.entry.name, label, version)

    def report_foreign_key(self, key: Key) -> bool:
        """Alert about a key if another deployment or another secret's rotation created it, and return whether."""
        view, draft = self.view, self.draft
        if not draft.ownership.is_foreign(view.entry, key):
            return False
        name = parse_key_name(key.name)
        assert name is not None
        self.alert(
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
        return True

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

    def add(self, action: Action, rank: Rank | None = None) -> None:
        """Plan an action on this secret; most kinds have a rank of their own."""
        self.draft.ranked.append((Rank[action.kind.name] if rank is None else rank, action))

    def skip(self, decision: Decision, key_id: str | None = None, *, everything: bool = False) -> None:
        """Skip the secret's rotation, or the revocation of a key. A decision with a severity is also an alert.

        :param everything: skip the rotation and all revocations.
        """
        entry, draft = self.view.entry, self.draft
        skip = Skip(
            entry.name, decision.reason, decision.message, entry.arn, key_id, everything, location=entry.location
        )
        draft.skipped.append(skip)
        if decision.severity is not None:
            about = key_id or self.view.key_id
            self._add(decision.reason, decision.message, about, decision.severity)

    def alert(
        self,
        kind: Reason,
        template: str,
        key_id: str | None = None,
        severity: Severity = Severity.WARNING,
        **values: object,
    ) -> None:
        """Add an alert about this secret."""
        self._add(kind, Message.of(template, **values), key_id, severity)

    def _add(self, kind: Reason, message: Message, key_id: str | None, severity: Severity) -> None:
        entry = self.view.entry
        self.draft.alerts.append(Alert(kind, message, entry.name, key_id, severity, location=entry.location))


def removal(secret: str, label: str, version_id: str) -> str:
    """Return the command that removes a label, quoted for a shell: labels and version ids are untrusted input."""
    return (
        f"aws secretsmanager update-secret-version-stage --secret-id {quote(printable(secret))} "
        f"--version-stage {quote(printable(label))} --remove-from-version-id {quote(printable(version_id))}"
    )
