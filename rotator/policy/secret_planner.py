"""One secret's part of the plan: what is done to it now, what is left and why, what could be done early."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.durations import plus
from rotator.message import KeyId, Message
from rotator.model import AccountSnapshot, Action, ActionKind, Key, Policy, Reason, SecretEntry, Severity
from rotator.policy.draft import Draft, Rank, Waiting
from rotator.policy.emergency_ids import made_in_emergency
from rotator.policy.gate import not_adopted
from rotator.policy.guards import DAY, MAX_REJECTED
from rotator.policy.holdings import Holdings
from rotator.policy.labels import parse_key_name, retire_label
from rotator.policy.lifecycle import Retiring, read_lifecycle
from rotator.policy.orphans import REMEMBERED, FailedAttempts
from rotator.policy.ownership import Ownership, OwnershipProof
from rotator.policy.rules import (
    BROKEN,
    ROTATE_BLOCKED,
    ROTATE_WHEN,
    SKIP_WHEN,
    URGENT,
    Decision,
    View,
    first,
    window_closed,
)
from rotator.policy.scheduling import Candidate
from rotator.policy.tags import spec_or_none, tag_problems
from rotator.policy.windows import is_open, next_open
from rotator.text import printable, some_of

HOUR = timedelta(hours=1)
MARGIN = HOUR
"""How far from what the tags say a retire label's time may be: clocks differ, and sweeps take a while."""


def make_view(snapshot: AccountSnapshot, entry: SecretEntry) -> View:
    """One secret of the snapshot with all that its decisions depend on."""
    resolution = snapshot.resolutions.get(entry.arn) if snapshot.resolutions else None
    resolved = resolution.key_id if resolution else None
    life = read_lifecycle(entry, resolved)
    spec = spec_or_none(entry.tags)
    key_id = life.current_key or resolved
    return View(
        entry=entry,
        spec=spec,
        problems=() if spec is not None else tag_problems(entry.tags),
        life=life,
        key_id=key_id,
        key=snapshot.keys.get(key_id) if key_id else None,
        unresolved=resolution.problem if resolution else "",
        unreadable=resolution.unreadable if resolution else False,
        mislabelled=resolved if resolved is not None and life.current_key not in (None, resolved) else None,
    )


@dataclass(frozen=True, slots=True)
class Planning:
    """What the plans of an account's secrets have in common.

    :param trust_missing: whether a key that is not listed may be taken for missing.
    :param candidates: gets every secret that is rotated, or could be.
    """

    draft: Draft
    snapshot: AccountSnapshot
    policy: Policy
    holdings: Holdings
    now: datetime
    attempts: FailedAttempts
    ownership: Ownership
    trust_missing: bool
    candidates: list[Candidate]


@dataclass(slots=True)
class SecretPlanner:
    """One secret's part of the plan."""

    common: Planning
    view: View

    def plan(self) -> None:
        """Everything about this secret."""
        common, view = self.common, self.view
        left = first(SKIP_WHEN, self.view, self.common.now)
        if left is not None:
            self._leave(left)
            for item in view.life.retiring:
                common.draft.waiting[(view.entry.arn, item.key_id)] = Waiting(left.reason, left.message)
            return
        if self.view.mislabelled is not None:
            self._mislabelled(self.view.mislabelled)
            return
        if view.life.more is not None:  # else there are no labels but the current key's
            self._suspicious_labels()
        self._labels()
        self._shared_key()
        self._foreign_key(view.key)
        self._no_expiry()
        self._not_begun()
        self._rotation()
        for item in self.view.life.retiring:
            self._revocation(item)

    def _mislabelled(self, key_id: str) -> None:
        """The value decides: the key that it is gets the label."""
        life, name = self.view.life, self.view.entry.name
        template = "the label names key {labelled}; the value is key {key}"
        message = Message.of(template, labelled=KeyId(life.current_key or ""), key=KeyId(key_id))
        alert = Message(f"{template}; the label is corrected", message.values)
        self.common.draft.alert(Reason.UNPROVEN_LABEL, alert, name, life.current_key)
        self._add(Rank.LABEL, ActionKind.LABEL, Reason.MISLABELLED, key_id, life.current_version, message)

    def _foreign_key(self, key: Key | None) -> None:
        """A key that another deployment or another secret's rotation made is used, and never revoked by a sweep."""
        view, common = self.view, self.common
        if key is None or not common.ownership.is_foreign(view.entry, key):
            return
        name = parse_key_name(key.name)
        assert name is not None
        message = Message.of(
            "key {key} is named for {owner} ({name}); sweeps never revoke it; {when}: `rotator revoke --key-id {id} "
            "--account {account} --strategy revoke-only --reason ...`",
            key=KeyId(key.id),
            owner=f"deployment {name.deployment}" if name.deployment != common.policy.deployment else "another secret",
            name=printable(key.name, limit=80),
            when="once it is replaced and not needed" if key.id == view.key_id else "if it is not needed any more",
            id=key.id,
            account=common.snapshot.account,
        )
        common.draft.alert(Reason.FOREIGN_KEY, message, view.entry.name, key.id)

    def _not_begun(self) -> None:
        """A key that is not valid yet: consumers are refused until it is. A disabled one is replaced at once."""
        key = self.view.key
        if key is None or not key.enabled or key.begun(self.common.now):
            return
        message = Message.of(
            "key {key} is valid from {start} only, and consumers are refused until then; store another key",
            key=KeyId(key.id),
            start=key.valid_from,
        )
        self.common.draft.alert(Reason.KEY_NOT_ACTIVE, message, self.view.entry.name, key.id, Severity.ERROR)

    def _no_expiry(self) -> None:
        """A key that never expires and has no greatest age is never rotated."""
        view = self.view
        if view.key is None or view.key.valid_to is not None or view.spec is None or view.spec.max_age is not None:
            return
        message = Message.of(
            "key {key} has no expiry, so it is never rotated; tag the secret rotator:max-age, such as 90d",
            key=KeyId(view.key.id),
        )
        self.common.draft.alert(Reason.NO_EXPIRY, message, view.entry.name, view.key.id)

    def _own_fields(self) -> None:
        """Fields of the value that the rotation overwrites, and that somebody else has filled."""
        version = self.view.life.current_version
        found = self.common.ownership.resolution(self.view.entry, version) if version is not None else None
        if found is None or not found.own_fields:
            return
        message = Message.of(
            "the rotation overwrites {fields} in its value, which the rotator did not write; if consumers read them, "
            "rename them first, or hold the secret with rotator:hold",
            fields=", ".join(found.own_fields),
        )
        self.common.draft.alert(Reason.FIELD_OVERWRITTEN, message, self.view.entry.name, self.view.key_id)

    def _proof(self, version_id: str, key_id: str) -> OwnershipProof:
        """What proves a label; what would have to be read for it is noted."""
        proof = self.common.ownership.proof(self.view.entry, version_id, key_id)
        if proof is OwnershipProof.UNREAD:
            self.common.draft.versions.add((self.view.entry.arn, version_id))
        return proof

    def _is_unproven(self, version_id: str, key_id: str) -> bool:
        """Whether a label is to be ignored: the value was read, and it is another key or none."""
        if self._proof(version_id, key_id) is not OwnershipProof.NONE:
            return False
        message = Message.of(
            "version {version} is labelled with key {key}, and its value is not that key; the label is ignored; remove "
            "it with `aws secretsmanager update-secret-version-stage`",
            version=KeyId(version_id),
            key=KeyId(key_id),
        )
        self.common.draft.alert(Reason.UNPROVEN_LABEL, message, self.view.entry.name, key_id, Severity.ERROR)
        return True

    def _suspicious_labels(self) -> None:
        """Labels that the rotator can't have written as they are. They are reported, and a person decides.

        A retire label is a hint of the time. One that is too early is followed all the same: an emergency whose
        revocation failed writes one that is due at once.
        """
        view, now = self.view, self.common.now
        assert view.spec is not None
        for version, label in view.life.malformed:
            self._report_label(version, label, "is none that the rotator writes")
        if made_in_emergency(view.entry.arn, view.life.current_version):
            return
        for item in view.life.retiring:
            key = self.common.snapshot.keys.get(item.key_id)
            label = retire_label(item.key_id, item.revoke_at)
            if item.revoke_at > plus(now, view.spec.grace + MARGIN):
                self._report_label(item.version_id, label, "is later than the tag rotator:grace allows")
            elif key and key.valid_from and item.revoke_at < plus(key.valid_from, view.spec.grace - MARGIN):
                self._report_label(item.version_id, label, "is earlier than a grace period after the key was created")

    def _report_label(self, version_id: str, label: str, why: str) -> None:
        message = Message.of(
            "the label {label} {why}; find out who wrote it; to remove it: `aws "
            "secretsmanager update-secret-version-stage --secret-id {name} --version-stage {label} "
            "--remove-from-version-id {version}`",
            label=printable(label),
            why=why,
            name=self.view.entry.name,
            version=version_id,
        )
        self.common.draft.alert(Reason.INCONSISTENT, message, self.view.entry.name)

    def _labels(self) -> None:
        life, view = self.view.life, self.view
        assert view.spec is not None
        if life.unlabelled:
            message = Message.of("key {key} found at Infobip", key=KeyId(view.key_id or ""))
            self._add(Rank.LABEL, ActionKind.LABEL, Reason.UNADOPTED, view.key_id, life.current_version, message)
        for version, label in life.stale:
            message = Message.text(label)
            self._add(Rank.LABEL, ActionKind.LABEL, Reason.STALE_LABEL, view.key_id, version, message, label=label)
        if life.current_version is None:
            return  # nothing is superseded while nothing is current
        for version, key_id in life.superseded:
            key = self.common.snapshot.keys.get(key_id)
            if key is not None and not self._is_active(key):
                self._clean(version, key_id, key)
            elif key is not None and self.common.ownership.is_foreign(view.entry, key):
                self._foreign_key(key)
            elif key is None or not self._is_unproven(version, key_id):
                message = Message.of("revoked from {time} on", time=self.common.now + view.spec.grace)
                self._add(Rank.RETIRE, ActionKind.RETIRE, Reason.SUPERSEDED, key_id, version, message)

    def _is_active(self, key: Key) -> bool:
        return key.enabled and not key.expired(self.common.now)

    def _clean(self, version_id: str, key_id: str, key: Key | None, due_at: datetime | None = None) -> None:
        """Take the labels of a key off that does not authenticate any more, whoever is to thank for it."""
        why = "is not found at Infobip" if key is None else "is disabled" if not key.enabled else "has expired"
        message, due = Message(f"it {why}; its labels go"), min(self.common.now, due_at or self.common.now)
        self._add(Rank.REVOKE, ActionKind.REVOKE, Reason.KEY_NOT_ACTIVE, key_id, version_id, message, due_at=due)

    def _shared_key(self) -> None:
        key_id = self.view.key_id
        others = self.common.holdings.others_holding(key_id, self.view.entry.arn) if key_id else ()
        if others:
            message = Message.of(
                "{names} holds the same key; give each secret a key of its own: `rotator rotate` does",
                names=", ".join(others),
            )
            self.common.draft.alert(Reason.SHARED_KEY, message, self.view.entry.name, key_id)

    def _rotation(self) -> None:
        view, life = self.view, self.view.life
        pending = life.pending_version
        if pending is not None and not (life.pending_key and self._is_unproven(pending, life.pending_key)):
            message = Message.of("key {key} was stored and not promoted", key=KeyId(life.pending_key or ""))
            end = view.key.valid_to if view.key else None
            self._add(
                Rank.RESUME,
                ActionKind.RESUME,
                Reason.PENDING,
                life.pending_key,
                life.pending_version,
                message,
                deadline=end,
            )
            return
        decision = first(ROTATE_WHEN, view, self.common.now)
        end = view.key.valid_to if view.key is not None else None
        if decision is None:
            if end is not None:
                self.common.candidates.append(Candidate(view, end, start=self))
            return
        if decision.reason is Reason.KEY_MISSING and not self.common.trust_missing:
            self._leave(self._not_listed(view.key_id))
            return
        blocked = first(ROTATE_BLOCKED, view, self.common.now)
        if blocked is not None:
            self._leave(blocked)
            return
        waits = window_closed(view, decision, self.common.now)
        if waits is None:
            self(decision)
            self.common.candidates.append(Candidate(view, None if decision.reason in BROKEN else end, decision))
        elif end is None:
            self._leave(waits)
        else:
            self.common.candidates.append(Candidate(view, end, decision, waits, self, self._leave))

    def __call__(self, decision: Decision) -> None:
        """Plan the rotation (now, or when the daily limit wants it early), or finish what a killed run left of one."""
        view, life = self.view, self.view.life
        unstored = self.common.attempts.unstored_for(view.entry, view.key.valid_from if view.key else None)
        if unstored is not None:
            key, version_id = unstored
            self._add(
                Rank.RESUME,
                ActionKind.RESUME,
                decision.reason,
                key.id,
                version_id,
                Message.of("key {key} was created and not stored", key=KeyId(key.id)),
                deadline=decision.deadline,
            )
            return
        if life.current_version is not None and life.current_key is not None and view.key is not None:
            proof = self._proof(life.current_version, life.current_key)
            if proof is OwnershipProof.UNREADABLE:
                why = self.common.ownership.resolution(view.entry, life.current_version)
                message = Message.of(
                    "{reason}, but which key its value is is not known: {problem}",
                    reason=decision.reason,
                    problem=why.problem if why else "",
                )
                self._leave(Decision(Reason.UNREADABLE, message, severity=Severity.ERROR))
                return
        self._own_fields()
        soon = decision.deadline is not None and decision.deadline - self.common.now <= URGENT
        urgent = soon or decision.reason in BROKEN
        waits = self._rejected_too_often(decision, urgent=urgent)
        if waits is not None:
            self._leave(waits)
            return
        rank = Rank.ROTATE_URGENT if urgent else Rank.ROTATE
        if self.common.attempts.created_today(view.entry):
            # Whoever may write one secret can make it need a new key again and again: others' creates go first.
            rank = Rank.ROTATE_AGAIN
        self._add(
            rank,
            ActionKind.ROTATE,
            decision.reason,
            view.key_id,
            life.current_version,
            decision.message,
            due_at=decision.due_at,
            deadline=decision.deadline,
        )

    def _rejected_too_often(self, decision: Decision, *, urgent: bool) -> Decision | None:
        """Whether it is left at the replacements that were rejected: for a day, or for a while where that is too long.

        :param urgent: consumers have no working key, or will have none in a day.
        """
        rejected = self.common.attempts.rejected_for(self.view, self.common.now)
        within, again = REMEMBERED if urgent else DAY, Message("it is tried again when they are older")
        count = sum(1 for made in rejected if made > self.common.now - within)
        if count < MAX_REJECTED:
            return None
        if urgent:
            retry_at = self.common.attempts.retry_at(rejected)
            if retry_at <= self.common.now:
                return None
            again = Message.of("it is tried again from {retry_at} on", retry_at=retry_at)
        message = Message.of(
            "{reason}, but {count} replacements were rejected within {hours} hours; {again}; fix what the failed "
            "rotations say, then `rotator rotate`",
            reason=decision.reason,
            count=count,
            hours=within // HOUR,
            again=again,
        )
        return Decision(Reason.DAILY_LIMIT, message, severity=Severity.ERROR)

    def _revocation(self, item: Retiring) -> None:
        key = self.common.snapshot.keys.get(item.key_id)
        if key is None and self.common.snapshot.complete and not self.common.trust_missing:
            if item.revoke_at <= self.common.now:
                self._leave(self._not_listed(item.key_id), item.key_id)
            return
        if key is None and self.view.key is None:
            return  # neither key is listed: the account's tag is more likely wrong than that both are gone
        if not self._is_active(key) if key is not None else self.common.snapshot.complete:
            self._clean(item.version_id, item.key_id, key, item.revoke_at)
            return
        if key is not None and self.common.ownership.is_foreign(self.view.entry, key):
            self._foreign_key(key)
            return
        if item.revoke_at > self.common.now:
            return
        waits = self._waits_for_window(item) or self._waits_for_consumers(item)
        if waits is None and self._is_unproven(item.version_id, item.key_id):
            return
        blocked = waits or self._revocation_blocked(item)
        if blocked is not None:
            self._leave(blocked, item.key_id)
            return
        self._add(
            Rank.REVOKE,
            ActionKind.REVOKE,
            Reason.GRACE_OVER,
            item.key_id,
            item.version_id,
            Message.of("grace period over for {time}", time=self.common.now - item.revoke_at),
            due_at=item.revoke_at,
            costs_update=True,
        )

    def _not_listed(self, key_id: str | None) -> Decision:
        reason = Reason.MASS_MISSING if self.common.snapshot.complete else Reason.LISTING_INCOMPLETE
        return Decision(
            reason, Message.of("key {key} is not listed, and the listing is not reliable", key=KeyId(key_id or ""))
        )

    def _revocation_blocked(self, item: Retiring) -> Decision | None:
        view, key_id = self.view, item.key_id

        def refused(reason: Reason, why: str, severity: Severity = Severity.ERROR, **values: object) -> Decision:
            message = Message.of(f"key {{key}} is not revoked: {why}", key=KeyId(key_id), **values)
            return Decision(reason, message, severity=severity)

        proof = self.common.ownership.proof(view.entry, item.version_id, key_id)
        if proof is OwnershipProof.UNREADABLE:
            why = self.common.ownership.resolution(view.entry, item.version_id)
            problem = why.problem if why else ""
            return refused(Reason.UNREADABLE, "nothing proves whose it is: {problem}", problem=problem)
        holders = self._holders(item)
        if holders:
            return refused(Reason.SHARED_KEY, "{holders}", Severity.WARNING, holders=holders)
        unread = self._unread(key_id)
        if unread and proof is not OwnershipProof.BY_NAME:
            names = some_of(sorted(set(unread)), 3)
            return refused(Reason.UNREADABLE, "{names} can't be read and may hold it", names=names)
        if view.key is None or not view.key.alive(self.common.now) or view.key_id == key_id:
            return refused(Reason.BROKEN_CURRENT, "the key behind AWSCURRENT does not work")
        if view.life.current_version is not None and view.life.current_key is not None:
            current = self._proof(view.life.current_version, view.life.current_key)
            if current is OwnershipProof.UNREADABLE:
                why_not = "which key the current value is is not known: {problem}"
                return refused(Reason.UNREADABLE, why_not, problem=view.unresolved)
        return None

    def _unread(self, key_id: str) -> tuple[str, ...]:
        """The secrets that may hold a key, because their values can't be read.

        A value that was searched for the key does not count, whatever else can't be told about it.
        """
        snapshot = self.common.snapshot
        if key_id in snapshot.copies:
            return snapshot.unreadable
        return (*self.common.holdings.unknown, *snapshot.unreadable)

    def _waits_for_window(self, item: Retiring) -> Decision | None:
        window = self.view.spec.window if self.view.spec else None
        if window is None or is_open(window, self.common.now):
            return None
        opens = next_open(window, self.common.now)
        message = Message.of(
            "revoking key {key} waits for its window, which opens {opens:%a} {opens}",
            key=KeyId(item.key_id),
            opens=opens,
        )
        return Decision(Reason.WINDOW, message)

    def _holders(self, item: Retiring) -> str:
        """Who still has a key that is due for revocation: by their values, or by labels until these were searched."""
        common, key_id, arn = self.common, item.key_id, self.view.entry.arn
        found = common.snapshot.copies.get(key_id)
        if found is not None:
            return f"{', '.join(found)} still holds it" if found else ""
        common.draft.copies[key_id] = (arn, item.version_id)
        others = common.holdings.others_holding(key_id, arn)
        if others:
            return f"{', '.join(others)} still holds it as current"
        lately = common.holdings.others_in_grace(key_id, arn, common.now)
        return f"{', '.join(lately)} held it too, and its grace there is not over" if lately else ""

    def _waits_for_consumers(self, item: Retiring) -> Decision | None:
        view, snapshot = self.view, self.common.snapshot
        if view.spec is None or not view.spec.gate:
            return None
        readers = snapshot.readers.get(view.entry.arn)
        return not_adopted(view.entry, view.spec, view.life, item, snapshot.keys, readers, self.common.now)

    def _add(
        self,
        rank: Rank,
        kind: ActionKind,
        reason: Reason,
        key_id: str | None,
        version_id: str | None,
        message: Message,
        *,
        label: str | None = None,
        due_at: datetime | None = None,
        deadline: datetime | None = None,
        costs_update: bool = False,
    ) -> None:
        entry = self.view.entry
        self.common.draft.add(
            rank,
            Action(
                kind,
                self.common.snapshot.account,
                entry.name,
                reason,
                due_at or self.common.now,
                key_id=key_id,
                version_id=version_id,
                deadline=deadline,
                message=message,
                label=label,
                arn=entry.arn,
                costs_update=costs_update,
            ),
        )

    def _leave(self, decision: Decision, key_id: str | None = None) -> None:
        self.common.draft.waiting[(self.view.entry.arn, key_id)] = Waiting(decision.reason, decision.message)
        self.common.draft.skip(
            self.view.entry.name,
            decision.reason,
            decision.message,
            key_id=key_id or self.view.key_id,
            severity=decision.severity,
        )
