"""One secret's part of the plan: what is done to it now, what is left and why, what could be done early."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.durations import human_duration
from rotator.model import AccountSnapshot, Action, ActionKind, Key, Policy, Reason, SecretEntry, Severity
from rotator.policy.draft import Draft, Rank, Waiting
from rotator.policy.failed_attempts import REMEMBERED, Leftovers
from rotator.policy.gate import not_adopted
from rotator.policy.guards import DAY, MAX_REJECTED
from rotator.policy.holdings import Holdings
from rotator.policy.labels import parse_key_name
from rotator.policy.lifecycle import Retiring, read_lifecycle
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
from rotator.policy.spec import parse_spec
from rotator.policy.windows import is_open, next_open
from rotator.text import printable, short_id

HOUR = timedelta(hours=1)


def make_view(snapshot: AccountSnapshot, entry: SecretEntry) -> View:
    """One secret of the snapshot with all that its decisions depend on."""
    resolution = snapshot.resolutions.get(entry.arn) if snapshot.resolutions else None
    resolved = resolution.key_id if resolution else None
    life = read_lifecycle(entry, resolved)
    parsed = parse_spec(entry.tags)
    key_id = life.current_key or resolved
    return View(
        entry=entry,
        spec=None if isinstance(parsed, tuple) else parsed,
        problems=parsed if isinstance(parsed, tuple) else (),
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
    leftovers: Leftovers
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
                common.draft.waiting[(view.entry.arn, item.key_id)] = Waiting(left.reason, left.detail)
            return
        if self.view.mislabelled is not None:
            self._mislabelled(self.view.mislabelled)
            return
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
        detail = f"the label names key {short_id(life.current_key or '')}; the value is key {short_id(key_id)}"
        self.common.draft.alert(Reason.UNPROVEN_LABEL, f"{detail}; the label is corrected", name, life.current_key)
        self._add(Rank.LABEL, ActionKind.LABEL, Reason.MISLABELLED, key_id, life.current_version, detail=detail)

    def _foreign_key(self, key: Key | None) -> None:
        """A key that another deployment or another secret's rotation made is used, and never revoked by a sweep."""
        view, common = self.view, self.common
        if key is None or not common.ownership.is_foreign(view.entry, key):
            return
        name = parse_key_name(key.name)
        assert name is not None
        whose = f"deployment {name.deployment}" if name.deployment != common.policy.deployment else "another secret"
        when = "once it is replaced and not needed" if key.id == view.key_id else "if it is not needed any more"
        command = f"rotator revoke --key-id {key.id} --account {common.snapshot.account} --strategy revoke-only"
        detail = (
            f"key {key.id} is named for {whose} ({printable(key.name, limit=80)}); sweeps never revoke it; {when}: "
            f"`{command} --reason ...`"
        )
        common.draft.alert(Reason.FOREIGN_KEY, detail, view.entry.name, key.id)

    def _not_begun(self) -> None:
        """A key that is not valid yet: consumers are refused until it is. A disabled one is replaced at once."""
        key = self.view.key
        if key is None or not key.enabled or key.begun(self.common.now):
            return
        when = f"{key.valid_from:%d %b %H:%M} UTC"
        detail = f"key {key.id} is valid from {when} only, and consumers are refused until then; store another key"
        self.common.draft.alert(Reason.KEY_NOT_ACTIVE, detail, self.view.entry.name, key.id, Severity.ERROR)

    def _no_expiry(self) -> None:
        """A key that never expires and has no greatest age is never rotated."""
        view = self.view
        if view.key is None or view.key.valid_to is not None or view.spec is None or view.spec.max_age is not None:
            return
        detail = f"key {view.key.id} has no expiry, so it is never rotated; tag the secret rotator:max-age, such as 90d"
        self.common.draft.alert(Reason.NO_EXPIRY, detail, view.entry.name, view.key.id)

    def _own_fields(self) -> None:
        """Fields of the value that the rotation overwrites, and that somebody else has filled."""
        version = self.view.life.current_version
        found = self.common.ownership.resolution(self.view.entry, version) if version is not None else None
        if found is None or not found.own_fields:
            return
        names = ", ".join(found.own_fields)
        detail = (
            f"the rotation overwrites {names} in its value, which the rotator did not write; if consumers read them, "
            "rename them first, or hold the secret with rotator:hold"
        )
        self.common.draft.alert(Reason.FIELD_OVERWRITTEN, detail, self.view.entry.name, self.view.key_id)

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
        detail = (
            f"version {version_id} is labelled with key {key_id}, and its value is not that key; the label is ignored; "
            "take it off with `aws secretsmanager update-secret-version-stage`"
        )
        self.common.draft.alert(Reason.UNPROVEN_LABEL, detail, self.view.entry.name, key_id, Severity.ERROR)
        return True

    def _labels(self) -> None:
        life, view = self.view.life, self.view
        assert view.spec is not None
        if life.unlabelled:
            detail = f"key {short_id(view.key_id or '')} found at Infobip"
            self._add(Rank.LABEL, ActionKind.LABEL, Reason.UNADOPTED, view.key_id, life.current_version, detail=detail)
        for version, label in life.stale:
            self._add(Rank.LABEL, ActionKind.LABEL, Reason.STALE_LABEL, view.key_id, version, detail=label)
        if life.current_version is None:
            return  # nothing is superseded while nothing is current
        for version, key_id in life.superseded:
            key = self.common.snapshot.keys.get(key_id)
            if key is not None and not self._is_active(key):
                self._clean(version, key_id, key)
            elif key is not None and self.common.ownership.is_foreign(view.entry, key):
                self._foreign_key(key)
            elif key is None or not self._is_unproven(version, key_id):
                detail = f"revoked from {self.common.now + view.spec.grace:%d %b %H:%M} UTC on"
                self._add(Rank.RETIRE, ActionKind.RETIRE, Reason.SUPERSEDED, key_id, version, detail=detail)

    def _is_active(self, key: Key) -> bool:
        return key.enabled and not key.expired(self.common.now)

    def _clean(self, version_id: str, key_id: str, key: Key | None, due_at: datetime | None = None) -> None:
        """Take the labels of a key off that does not authenticate any more, whoever is to thank for it."""
        why = "is not found at Infobip" if key is None else "is disabled" if not key.enabled else "has expired"
        detail, due = f"it {why}; its labels go", min(self.common.now, due_at or self.common.now)
        self._add(Rank.REVOKE, ActionKind.REVOKE, Reason.KEY_NOT_ACTIVE, key_id, version_id, detail=detail, due_at=due)

    def _shared_key(self) -> None:
        key_id = self.view.key_id
        others = self.common.holdings.others_holding(key_id, self.view.entry.arn) if key_id else ()
        if others:
            detail = f"{', '.join(others)} holds the same key; give each secret a key of its own: `rotator rotate` does"
            self.common.draft.alert(Reason.SHARED_KEY, detail, self.view.entry.name, key_id)

    def _rotation(self) -> None:
        view, life = self.view, self.view.life
        pending = life.pending_version
        if pending is not None and not (life.pending_key and self._is_unproven(pending, life.pending_key)):
            detail = f"key {short_id(life.pending_key or '')} was stored and not promoted"
            end = view.key.valid_to if view.key else None
            self._add(
                Rank.RESUME,
                ActionKind.RESUME,
                Reason.PENDING,
                life.pending_key,
                life.pending_version,
                detail=detail,
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
        left_over = self.common.leftovers.unstored_for(view.entry, view.key.valid_from if view.key else None)
        if left_over is not None:
            key, version_id = left_over
            self._add(
                Rank.RESUME,
                ActionKind.RESUME,
                decision.reason,
                key.id,
                version_id,
                detail=f"key {short_id(key.id)} was made and not stored",
                deadline=decision.deadline,
            )
            return
        if life.current_version is not None and life.current_key is not None and view.key is not None:
            proof = self._proof(life.current_version, life.current_key)
            if proof is OwnershipProof.UNREADABLE:
                why = self.common.ownership.resolution(view.entry, life.current_version)
                detail = f"{decision.reason}, but what its value is can't be found out: {why.problem if why else ''}"
                self._leave(Decision(Reason.UNREADABLE, detail, severity=Severity.ERROR))
                return
        self._own_fields()
        soon = decision.deadline is not None and decision.deadline - self.common.now <= URGENT
        urgent = soon or decision.reason in BROKEN
        waits = self._rejected_too_often(decision, urgent=urgent)
        if waits is not None:
            self._leave(waits)
            return
        rank = Rank.ROTATE_URGENT if urgent else Rank.ROTATE
        if self.common.leftovers.created_today(view.entry):
            # Whoever may write one secret can make it need a new key again and again: others' creates go first.
            rank = Rank.ROTATE_AGAIN
        self._add(
            rank,
            ActionKind.ROTATE,
            decision.reason,
            view.key_id,
            life.current_version,
            detail=decision.detail,
            due_at=decision.due_at,
            deadline=decision.deadline,
        )

    def _rejected_too_often(self, decision: Decision, *, urgent: bool) -> Decision | None:
        """Whether it is left at the replacements that were rejected: for a day, or for a while where that is too long.

        :param urgent: consumers have no working key, or will have none in a day.
        """
        rejected = self.common.leftovers.rejected_for(self.view, self.common.now)
        within, again = REMEMBERED if urgent else DAY, "it is tried again when they are older"
        count = sum(1 for made in rejected if made > self.common.now - within)
        if count < MAX_REJECTED:
            return None
        if urgent:
            retry_at = self.common.leftovers.retry_at(rejected)
            if retry_at <= self.common.now:
                return None
            again = f"it is tried again from {retry_at:%d %b %H:%M} UTC on"
        detail = (
            f"{decision.reason}, but {count} replacements were rejected within {within // HOUR} hours; {again}; fix "
            "what the failed rotations say, then `rotator rotate`"
        )
        return Decision(Reason.DAILY_LIMIT, detail, severity=Severity.ERROR)

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
            detail=f"grace ended {human_duration(self.common.now - item.revoke_at)} ago",
            due_at=item.revoke_at,
            costs_update=True,
        )

    def _not_listed(self, key_id: str | None) -> Decision:
        reason = Reason.MASS_MISSING if self.common.snapshot.complete else Reason.LISTING_INCOMPLETE
        return Decision(reason, f"key {key_id} is not listed, and the listing is not to be trusted")

    def _revocation_blocked(self, item: Retiring) -> Decision | None:
        view, key_id = self.view, item.key_id
        proof = self.common.ownership.proof(view.entry, item.version_id, key_id)
        if proof is OwnershipProof.UNREADABLE:
            why = self.common.ownership.resolution(view.entry, item.version_id)
            detail = f"key {key_id} is not revoked: nothing proves whose it is: {why.problem if why else ''}"
            return Decision(Reason.UNREADABLE, detail, severity=Severity.ERROR)
        holders = self._holders(item)
        if holders:
            return Decision(Reason.SHARED_KEY, f"key {key_id} is not revoked: {holders}", severity=Severity.WARNING)
        unread = self._unread(key_id)
        if unread and proof is not OwnershipProof.BY_NAME:
            names = ", ".join(sorted(set(unread))[:3])
            detail = f"key {key_id} is not revoked: {names} can't be read and may hold it"
            return Decision(Reason.UNREADABLE, detail, severity=Severity.ERROR)
        if view.key is None or not view.key.alive(self.common.now) or view.key_id == key_id:
            detail = f"key {key_id} is not revoked: the key behind AWSCURRENT does not work"
            return Decision(Reason.BROKEN_CURRENT, detail, severity=Severity.ERROR)
        if view.life.current_version is not None and view.life.current_key is not None:
            current = self._proof(view.life.current_version, view.life.current_key)
            if current is OwnershipProof.UNREADABLE:
                detail = f"key {key_id} is not revoked: what the current value is can't be found out: {view.unresolved}"
                return Decision(Reason.UNREADABLE, detail, severity=Severity.ERROR)
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
        detail = f"revoking key {short_id(item.key_id)} waits for its window, which opens {opens:%a %d %b %H:%M} UTC"
        return Decision(Reason.WINDOW, detail)

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
        *,
        detail: str = "",
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
                detail=detail,
                arn=entry.arn,
                costs_update=costs_update,
            ),
        )

    def _leave(self, decision: Decision, key_id: str | None = None) -> None:
        self.common.draft.waiting[(self.view.entry.arn, key_id)] = Waiting(decision.reason, decision.detail)
        self.common.draft.leave(
            self.view.entry.name,
            decision.reason,
            decision.detail,
            key_id=key_id or self.view.key_id,
            severity=decision.severity,
        )
