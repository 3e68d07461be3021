"""Plan one secret: actions now, skips and their reasons, and whether early rotation is possible."""

from __future__ import annotations

from datetime import datetime, timedelta

from rotator.durations import DAY, plus
from rotator.message import KeyId, Message
from rotator.model import Action, ActionKind, Quota, Severity
from rotator.policy.daily_limit import no_slot_left
from rotator.policy.draft import Rank
from rotator.policy.emergency_ids import made_in_emergency
from rotator.policy.failed_attempts import MAX_REJECTED, REMEMBERED
from rotator.policy.labels import PENDING, retire_label
from rotator.policy.lifecycle import is_abandoned
from rotator.policy.ownership import OwnershipProof
from rotator.policy.revocations import plan_revocation
from rotator.policy.rules import (
    BROKEN,
    ROTATE_BLOCKED,
    ROTATE_WHEN,
    SKIP_MOVE_WHEN,
    SKIP_WHEN,
    URGENT,
    Decision,
    first,
    window_closed,
)
from rotator.policy.scheduling import Candidate
from rotator.policy.secret_draft import SecretDraft, removal
from rotator.reasons import Reason
from rotator.text import printable

HOUR = timedelta(hours=1)
MAX_LABEL_CHECKS = 25
"""How many doubtful labels a sweep checks. After a change of the deployment's name every label is doubtful."""
MARGIN = HOUR
"""How far a retire label's time may be from what the tags say, since clocks differ and sweeps take a while."""


def plan_everything(secret: SecretDraft) -> Candidate | None:
    """Plan everything about this secret.

    :returns: the rotation to schedule, due or not; ``None`` if there is none.
    """
    draft, view = secret.draft, secret.view
    left = first(SKIP_MOVE_WHEN if draft.moves else SKIP_WHEN, view, draft.now)
    if left is not None:
        if left.reason is Reason.KEY_NOT_FOUND and view.key_id is not None:
            secret.find_elsewhere(view.key_id)
        if left.reason is Reason.FOREIGN_ROTATION:
            left = _abandoned(secret) or left
        secret.skip(left, everything=True)
        return None
    if secret.view.mislabelled is not None:
        _mislabelled(secret, secret.view.mislabelled)
        return None
    _suspicious_labels(secret)
    _labels(secret)
    _shared_key(secret)
    _check_current_label(secret)
    if view.key is not None:
        secret.report_foreign_key(view.key)
    _no_expiry(secret)
    _not_begun(secret)
    candidate = _rotation(secret)
    for item in secret.view.life.retiring:
        plan_revocation(secret, item)
    return candidate


def _abandoned(secret: SecretDraft) -> Decision | None:
    """Plan to remove ``AWSPENDING`` from the empty version that a failed rotation by Secrets Manager left."""
    entry, version = secret.view.entry, secret.view.life.foreign_pending
    if version is None or not is_abandoned(entry, secret.draft.policy, secret.draft.now):
        return None
    why = Decision.of(
        Reason.FOREIGN_ROTATION,
        "Secrets Manager's own rotation to version {version} has stopped; AWSPENDING is removed if the version has "
        "no value, so that sweeps continue; the log of the function has the cause",
        Severity.WARNING,
        version=KeyId(version),
    )
    secret.add(secret.action(ActionKind.LABEL, why.reason, None, version, why.message, label=PENDING))
    return why


def _mislabelled(secret: SecretDraft, key_id: str) -> None:
    """Plan to correct the label, because the value decides which key it names."""
    life = secret.view.life
    labelled, key = KeyId(life.current_key or ""), KeyId(key_id)
    template = "the label names key {labelled}, but the value is key {key}"
    corrected = f"{template}; the label is corrected"
    secret.alert(Reason.UNPROVEN_LABEL, corrected, life.current_key, labelled=labelled, key=key)
    message = Message.of(template, labelled=labelled, key=key)
    secret.add(secret.action(ActionKind.LABEL, Reason.MISLABELLED, key_id, life.current_version, message))


def _not_begun(secret: SecretDraft) -> None:
    """Alert about a key that is not valid yet, since consumers are refused. A disabled one is replaced at once."""
    key = secret.view.key
    if key is None or not key.enabled or key.begun(secret.draft.now):
        return
    template = "key {key} is not valid until {start}, and consumers fail until then; store another key"
    secret.alert(Reason.KEY_NOT_ACTIVE, template, key.id, Severity.ERROR, key=KeyId(key.id), start=key.valid_from)


def _no_expiry(secret: SecretDraft) -> None:
    """Alert about a key that is never rotated: it has no expiry and its secret has no ``rotator:max-age``."""
    view = secret.view
    if view.key is None or view.key.valid_to is not None or view.spec is None or view.spec.max_age is not None:
        return
    template = "key {key} has no expiry, so it is never rotated; set rotator:max-age, for example 90d"
    secret.alert(Reason.NO_EXPIRY, template, view.key.id, key=KeyId(view.key.id))


def _own_fields(secret: SecretDraft) -> None:
    """Alert about fields that another program has filled and that the rotation overwrites."""
    found = secret.view.resolution
    if found is None or not found.own_fields:
        return
    secret.alert(
        Reason.FIELD_OVERWRITTEN,
        "the next rotation overwrites {fields} in the value, which another program wrote; if consumers read them, "
        "rename them first or set rotator:hold",
        secret.view.key_id,
        fields=", ".join(found.own_fields),
    )


def _suspicious_labels(secret: SecretDraft) -> None:
    """Report labels that the rotator can't have written as they are, so that an operator decides.

    A retire label's time is only a hint. One that is too early is followed unless it lies before the replacement's
    creation, because an emergency whose revocation failed writes a label that is due at once.
    """
    view, now = secret.view, secret.draft.now
    assert view.spec is not None
    for version, label in view.life.malformed:
        _report_label(secret, version, label, "was not written by the rotator")
    if not view.life.retiring or made_in_emergency(view.entry.arn, view.life.current_version):
        return
    for item in view.life.retiring:
        key = secret.draft.snapshot.keys.get(item.key_id)
        label = retire_label(item.key_id, item.revoke_at)
        if item.revoke_at > plus(now, view.spec.grace + MARGIN):
            _report_label(secret, item.version_id, label, "has a time later than rotator:grace allows")
        elif secret.grace_until(item) is not None:
            _report_label(secret, item.version_id, label, "has a time before the replacement key was created")
        elif key and key.valid_from and item.revoke_at < plus(key.valid_from, view.spec.grace - MARGIN):
            _report_label(
                secret, item.version_id, label, "has a time less than one grace period after the key was created"
            )


def _report_label(secret: SecretDraft, version_id: str, label: str, why: str) -> None:
    secret.alert(
        Reason.INCONSISTENT,
        "the label {label} {why}; find out who wrote it; to remove it: `{command}`",
        label=printable(label),
        why=why,
        command=removal(secret.view.entry.name, label, version_id),
    )


def _labels(secret: SecretDraft) -> None:
    life, view = secret.view.life, secret.view
    assert view.spec is not None
    if life.unlabelled:
        message = Message.of("key {key} found at Infobip", key=KeyId(view.key_id or ""))
        secret.add(secret.action(ActionKind.LABEL, Reason.UNADOPTED, view.key_id, life.current_version, message))
    for version, label in life.stale:
        text = Message.text(label)
        secret.add(secret.action(ActionKind.LABEL, Reason.STALE_LABEL, view.key_id, version, text, label=label))
    if life.current_version is None:
        return  # nothing is superseded while nothing is current
    for version, key_id in life.superseded:
        known = key_id in secret.draft.snapshot.keys
        if secret.to_be_ended(version, key_id) and not (known and secret.is_unproven(version, key_id)):
            message = Message.of("to be revoked {time}", time=secret.draft.now + view.spec.grace)
            secret.add(secret.action(ActionKind.RETIRE, Reason.SUPERSEDED, key_id, version, message))


def _shared_key(secret: SecretDraft) -> None:
    key_id = secret.view.key_id
    others = secret.draft.holdings.others_holding(key_id, secret.view.entry.arn) if key_id else ()
    if others:
        template = "the same key is also in {names}; give each secret its own key with `rotator rotate`"
        secret.alert(Reason.SHARED_KEY, template, key_id, names=", ".join(others))


def _check_current_label(secret: SecretDraft) -> None:
    """Check a label on the current version that a key's name, or another secret's label, contradicts.

    The value is read even if nothing is due. A wrong label would hide the expiry of the key that consumers have.
    """
    entry, life, key, draft = secret.view.entry, secret.view.life, secret.view.key, secret.draft
    if key is None or life.current_version is None or life.current_key is None:
        return
    if draft.ownership.of(entry, life.current_version, key.id) is not OwnershipProof.UNREAD:
        return
    doubtful = (
        draft.ownership.is_foreign(entry, key)
        or draft.ownership.is_made_for(entry, life.current_version)
        or draft.holdings.is_named_elsewhere(key.id, entry)
    )
    if doubtful and len(draft.checks) < MAX_LABEL_CHECKS:
        draft.checks.add((entry.arn, life.current_version))


def _rotation(secret: SecretDraft) -> Candidate | None:
    view, life = secret.view, secret.view.life
    pending, end = life.pending_version, view.key.valid_to if view.key is not None else None
    known = life.pending_key in secret.draft.snapshot.keys  # else the final check decides
    if pending is not None and not (life.pending_key and known and secret.is_unproven(pending, life.pending_key)):
        message = Message.of("key {key} was stored but not promoted", key=KeyId(life.pending_key or ""))
        secret.add(secret.action(ActionKind.RESUME, Reason.PENDING, life.pending_key, pending, message, deadline=end))
        return None
    decision = first(ROTATE_WHEN, view, secret.draft.now)
    if decision is None:
        return Candidate(view) if end is not None else None
    blocked = first(ROTATE_BLOCKED, view, secret.draft.now)
    if blocked is not None:
        secret.skip(blocked)
        return None
    window = view.spec.window if view.spec else None
    is_open = window is None or secret.draft.is_open(window)
    waits = None if is_open else window_closed(view, decision, secret.draft.now)
    if waits is not None and end is None:
        secret.skip(waits)
        return None
    if waits is None and not _needs_key(secret, decision):
        return None
    return Candidate(view, decision, waits, secret.draft.attempts.created_today(view.entry))


def rotate(secret: SecretDraft, candidate: Candidate, starts: Decision | None, quota: Quota) -> None:
    """Plan a rotation that has a slot, or record what a due one waits for.

    :param starts: why it has a slot in this sweep, due or scheduled early; ``None`` if it has none.
    """
    if starts is not None and (candidate.due or _needs_key(secret, starts)):
        rank = Rank.ROTATE_URGENT if _is_urgent(starts, secret.draft.now) else Rank.ROTATE
        secret.add(_rotate(secret, starts), Rank.ROTATE_AGAIN if candidate.again else rank)
    elif starts is None and candidate.waits is not None:
        secret.skip(candidate.waits)
    elif starts is None and candidate.decision is not None:
        action = _rotate(secret, candidate.decision)
        secret.draft.defer(action, Reason.DAILY_LIMIT, no_slot_left(action, quota))


def _rotate(secret: SecretDraft, decision: Decision) -> Action:
    return secret.action(
        ActionKind.ROTATE,
        decision.reason,
        secret.view.key_id,
        secret.view.life.current_version,
        decision.message,
        due_at=decision.due_at,
        deadline=decision.deadline,
    )


def _needs_key(secret: SecretDraft, decision: Decision) -> bool:
    """Whether a rotation is to create a key: nothing prevents it, and no interrupted run has created one."""
    view, life = secret.view, secret.view.life
    unstored = secret.draft.attempts.unstored_for(view.entry, view.key.valid_from if view.key else None)
    if unstored is not None:
        key, version_id = unstored
        message = Message.of("key {key} was created but not stored", key=KeyId(key.id))
        secret.add(
            secret.action(ActionKind.RESUME, decision.reason, key.id, version_id, message, deadline=decision.deadline)
        )
        return False
    if life.current_version is not None and life.current_key is not None and view.key is not None:
        ownership = secret.ownership(life.current_version, life.current_key)
        if ownership is OwnershipProof.UNREAD:
            secret.draft.questions.include(secret.ask_value(life.current_version))
        if ownership is OwnershipProof.UNREADABLE:
            template, values = "{reason}, but its key can't be identified: {problem}", {"problem": view.unresolved}
            secret.skip(Decision.of(Reason.UNREADABLE, template, Severity.ERROR, reason=decision.reason, **values))
            return False
    _own_fields(secret)
    waits = _rejected_too_often(secret, decision, urgent=_is_urgent(decision, secret.draft.now))
    if waits is not None:
        secret.skip(waits)
    return waits is None


def _rejected_too_often(secret: SecretDraft, decision: Decision, *, urgent: bool) -> Decision | None:
    """Return why a rotation pauses after rejected replacements: for a day, or for less if it is urgent.

    :param urgent: whether consumers have no working key, or will have none in a day.
    """
    rejected = secret.draft.attempts.rejected_for(secret.view, secret.draft.now)
    within, again = REMEMBERED if urgent else DAY, Message("it is retried when they are more than a day old")
    count = sum(1 for made in rejected if made > secret.draft.now - within)
    if count < MAX_REJECTED:
        return None
    if urgent:
        retry_at = secret.draft.attempts.retry_at(rejected)
        if retry_at <= secret.draft.now:
            return None
        again = Message.of("the next attempt is at {retry_at}", retry_at=retry_at)
    return Decision.of(
        Reason.DAILY_LIMIT,
        "{reason}, but {count} replacements were rejected within {hours} hours; {again}; fix the cause that the "
        "failed rotations report, then run `rotator rotate`",
        Severity.ERROR,
        **{"reason": decision.reason, "count": count, "hours": within // HOUR, "again": again},
    )


def _is_urgent(decision: Decision, now: datetime) -> bool:
    """Whether consumers have no working key, or will have none in a day."""
    soon = decision.deadline is not None and decision.deadline - now <= URGENT
    return soon or decision.reason in BROKEN
