"""Plan one secret: actions now, skips and their reasons, and whether early rotation is possible."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TypeVar

from rotator.durations import DAY, plus
from rotator.message import KeyId, Message
from rotator.model import Key
from rotator.plan import Action, ActionKind, Alert, Questions, Quota, Severity
from rotator.policy.daily_limit import no_slot_left
from rotator.policy.draft import Finding
from rotator.policy.emergency_ids import made_in_emergency
from rotator.policy.failed_attempts import MAX_REJECTED, REMEMBERED
from rotator.policy.labels import PENDING, retire_label
from rotator.policy.lifecycle import is_abandoned
from rotator.policy.ownership import OwnershipProof
from rotator.policy.revocations import plan_revocation
from rotator.policy.rules import (
    ROTATE_BLOCKED,
    ROTATE_WHEN,
    SKIP_MOVE_WHEN,
    SKIP_WHEN,
    Decision,
    first,
    is_urgent,
    window_closed,
)
from rotator.policy.scheduling import Candidate
from rotator.policy.secret_draft import SecretDraft, removal
from rotator.reasons import Reason
from rotator.text import printable

T = TypeVar("T", Action, Candidate)
HOUR = timedelta(hours=1)
MARGIN = HOUR
"""How far a retire label's time may be from what the tags say, since clocks differ and sweeps take a while."""


def plan_everything(secret: SecretDraft) -> Candidate | None:
    """Plan everything about this secret: collect what the rules find.

    :returns: the rotation to schedule, due or not; ``None`` if there is none.
    """
    candidate = None
    for found in _findings(secret):
        if isinstance(found, Candidate):
            candidate = found
        else:
            secret.draft.collect([found])
    return candidate


def _findings(secret: SecretDraft) -> Iterator[Finding | Candidate]:
    view = secret.view
    skipped = first(SKIP_MOVE_WHEN if secret.draft.moves else SKIP_WHEN, view, secret.draft.now)
    if skipped is not None:
        yield from _skipped(secret, skipped)
    elif view.mislabelled is not None:
        yield from _mislabelled(secret, view.mislabelled)
    else:
        yield from _suspicious_labels(secret)
        yield from _labels(secret)
        yield from _current_key(secret)
        yield from _rotation(secret)
        for item in view.life.retiring:
            yield from plan_revocation(secret, item)


def _skipped(secret: SecretDraft, decision: Decision) -> Iterator[Finding]:
    """Skip the secret, and yield what may help."""
    if decision.reason is Reason.KEY_NOT_FOUND and secret.view.key_id is not None:
        yield from secret.ask_elsewhere(secret.view.key_id)
    if decision.reason is Reason.FOREIGN_ROTATION and (why := _abandoned(secret)) is not None:
        version = secret.view.life.foreign_pending
        yield secret.action(ActionKind.LABEL, why.reason, None, version, why.message, label=PENDING)
        decision = why
    yield from secret.skip(decision, everything=True)


def _abandoned(secret: SecretDraft) -> Decision | None:
    """Return why ``AWSPENDING`` is removed from the empty version that a failed rotation by Secrets Manager left."""
    entry, version = secret.view.entry, secret.view.life.foreign_pending
    if version is None or not is_abandoned(entry, secret.draft.policy, secret.draft.now):
        return None
    return Decision.of(
        Reason.FOREIGN_ROTATION,
        "Secrets Manager's own rotation to version {version} has stopped; AWSPENDING is removed if the version has "
        "no value, so that sweeps continue; the log of the function has the cause",
        Severity.WARNING,
        version=KeyId(version),
    )


def _mislabelled(secret: SecretDraft, key_id: str) -> Iterator[Finding]:
    """Plan to correct the label, because the value decides which key it names."""
    life = secret.view.life
    labelled, key = KeyId(life.current_key or ""), KeyId(key_id)
    template = "the label names key {labelled}, but the value is key {key}"
    corrected = f"{template}; the label is corrected"
    yield secret.alert(Reason.UNPROVEN_LABEL, corrected, life.current_key, labelled=labelled, key=key)
    message = Message.of(template, labelled=labelled, key=key)
    yield secret.action(ActionKind.LABEL, Reason.MISLABELLED, key_id, life.current_version, message)


def _own_fields(secret: SecretDraft) -> Iterator[Alert]:
    """Report fields that another program has filled and that the rotation overwrites."""
    found = secret.view.resolution
    if found is None or not found.own_fields:
        return
    yield secret.alert(
        Reason.FIELD_OVERWRITTEN,
        "the next rotation overwrites {fields} in the value, which another program wrote; if consumers read them, "
        "rename them first or set rotator:hold",
        secret.view.key_id,
        fields=", ".join(found.own_fields),
    )


def _suspicious_labels(secret: SecretDraft) -> Iterator[Alert]:
    """Report labels that the rotator can't have written as they are, so that an operator decides.

    A retire label's time is only a hint. One that is too early is followed unless it lies before the replacement's
    creation, because an emergency whose revocation failed writes a label that is due at once.
    """
    view, now = secret.view, secret.draft.now
    assert view.spec is not None
    for version, label in view.life.malformed:
        yield _report_label(secret, version, label, "was not written by the rotator")
    if not view.life.retiring or made_in_emergency(view.entry.arn, view.life.current_version):
        return
    for item in view.life.retiring:
        key = secret.draft.snapshot.keys.get(item.key_id)
        label = retire_label(item.key_id, item.revoke_at)
        if item.revoke_at > plus(now, view.spec.grace + MARGIN):
            yield _report_label(secret, item.version_id, label, "has a time later than rotator:grace allows")
        elif secret.grace_until(item) is not None:
            yield _report_label(secret, item.version_id, label, "has a time before the replacement key was created")
        elif key and key.valid_from and item.revoke_at < plus(key.valid_from, view.spec.grace - MARGIN):
            yield _report_label(
                secret, item.version_id, label, "has a time less than one grace period after the key was created"
            )


def _report_label(secret: SecretDraft, version_id: str, label: str, why: str) -> Alert:
    return secret.alert(
        Reason.INCONSISTENT,
        "the label {label} {why}; find out who wrote it; to remove it: `{command}`",
        label=printable(label),
        why=why,
        command=removal(secret.view.entry.name, label, version_id),
    )


def _labels(secret: SecretDraft) -> Iterator[Finding]:
    """Add, remove and correct labels; give each superseded version a retire label."""
    life, view = secret.view.life, secret.view
    assert view.spec is not None
    if life.unlabelled:
        message = Message.of("key {key} found at Infobip", key=KeyId(view.key_id or ""))
        yield secret.action(ActionKind.LABEL, Reason.UNADOPTED, view.key_id, life.current_version, message)
    for version, label in life.stale:
        text = Message.text(label)
        yield secret.action(ActionKind.LABEL, Reason.STALE_LABEL, view.key_id, version, text, label=label)
    if life.current_version is None:
        return  # nothing is superseded while nothing is current
    for version, key_id in life.superseded:
        yield from _retirement(secret, version, key_id)


def _retirement(secret: SecretDraft, version: str, key_id: str) -> Iterator[Finding]:
    """Plan a retire label for a superseded version, unless its key no longer authenticates or is not this secret's."""
    view, key = secret.view, secret.draft.snapshot.keys.get(key_id)
    assert view.spec is not None
    cleaned = secret.label_removal(version, key_id)
    if cleaned is not None:
        yield cleaned
        return
    yield from secret.report_superseded(key_id)
    if key is not None and secret.is_foreign(key):
        return
    proof = secret.check_label(version, key_id) if key is not None else None
    if proof is not None:
        yield proof
    if isinstance(proof, Alert):
        return
    message = Message.of("to be revoked {time}", time=secret.draft.now + view.spec.grace)
    yield secret.action(ActionKind.RETIRE, Reason.SUPERSEDED, key_id, version, message)


def _current_key(secret: SecretDraft) -> Iterator[Finding]:
    """Report what is wrong with the current key, and have its label checked if that is doubtful."""
    view, now = secret.view, secret.draft.now
    key, key_id = view.key, view.key_id
    others = secret.draft.holdings.others_holding(key_id, view.entry.arn) if key_id else ()
    if others:
        template = "the same key is also in {names}; give each secret its own key with `rotator rotate`"
        yield secret.alert(Reason.SHARED_KEY, template, key_id, names=", ".join(others))
    if key is None:
        return
    if view.life.current_version is not None and _is_doubtful(secret, view.life.current_version, key):
        yield Questions(doubtful={(view.entry.arn, view.life.current_version)})
    yield from secret.report_foreign(key)
    if key.valid_to is None and view.spec is not None and view.spec.max_age is None:
        template = "key {key} has no expiry, so it is never rotated; set rotator:max-age, for example 90d"
        yield secret.alert(Reason.NO_EXPIRY, template, key.id, key=KeyId(key.id))
    every, lifetime = secret.draft.policy.sweep_every, key.lifetime
    if key.enabled and lifetime is not None and lifetime <= every:
        template = (
            "key {key} may expire between two sweeps: it is valid for {lifetime}, and a sweep comes every {every} "
            "(ROTATOR_SWEEP_EVERY); sweep more often, or raise rotator:validity"
        )
        values = {"key": KeyId(key.id), "lifetime": lifetime, "every": every}
        yield secret.alert(Reason.EXPIRES_BEFORE_ROTATION, template, key.id, Severity.ERROR, **values)
    if key.enabled and not key.begun(now):  # a disabled one is replaced at once
        template = "key {key} is not valid until {start}, and consumers fail until then; store another key"
        values = {"key": KeyId(key.id), "start": key.valid_from}
        yield secret.alert(Reason.KEY_NOT_ACTIVE, template, key.id, Severity.ERROR, **values)


def _is_doubtful(secret: SecretDraft, version_id: str, key: Key) -> bool:
    """Whether a key's name, or another secret's label, contradicts the current version's label.

    Then the value is read even if nothing is due. A wrong label would hide the expiry of the key that consumers have.
    """
    entry, draft = secret.view.entry, secret.draft
    if secret.view.life.current_key is None or secret.ownership(version_id, key.id) is not OwnershipProof.UNREAD:
        return False
    return (
        secret.is_foreign(key)
        or draft.ownership.is_made_for(entry, version_id)
        or draft.holdings.is_named_elsewhere(key.id, entry)
    )


def _rotation(secret: SecretDraft) -> Iterator[Finding | Candidate]:
    """Resume an interrupted rotation, or yield the candidate for a new one, due or not."""
    view, life, now = secret.view, secret.view.life, secret.draft.now
    pending, end = life.pending_version, view.key.valid_to if view.key is not None else None
    if pending is not None:
        key_id = life.pending_key or ""
        known = key_id in secret.draft.snapshot.keys  # else the final check decides
        proof = secret.check_label(pending, key_id) if known else None
        if proof is not None:
            yield proof
        if not isinstance(proof, Alert):
            message = Message.of("key {key} was stored but not promoted", key=KeyId(key_id))
            yield secret.action(ActionKind.RESUME, Reason.PENDING, life.pending_key, pending, message, deadline=end)
            return
    decision = first(ROTATE_WHEN, view, now)
    if decision is None:
        if end is not None:
            yield Candidate(view)
        return
    blocked = first(ROTATE_BLOCKED, view, now)
    if blocked is not None:
        yield from secret.skip(blocked)
        return
    window = view.spec.window if view.spec else None
    waits = None if window is None or secret.draft.is_open(window) else window_closed(view, decision, now)
    if waits is not None and end is None:
        yield from secret.skip(waits)
        return
    candidate = Candidate(view, decision, waits, secret.draft.attempts.created_today(view.entry.arn))
    if waits is not None:
        yield candidate
    else:
        yield from _unless_prevented(secret, decision, candidate)


def rotate(secret: SecretDraft, candidate: Candidate, starts: Decision | None, quota: Quota) -> None:
    """Plan a rotation that has a slot, or record what a due one waits for.

    :param starts: why it has a slot in this sweep, due or scheduled early; ``None`` if it has none.
    """
    draft, waits, due = secret.draft, candidate.waits, candidate.decision
    if starts is not None and candidate.due:
        draft.collect([_rotate(secret, starts)])
    elif starts is not None:
        draft.collect(_unless_prevented(secret, starts, _rotate(secret, starts)))
    elif waits is not None:
        draft.collect(secret.skip(waits))
    elif due is not None:
        action = _rotate(secret, due)
        draft.defer(action, Reason.DAILY_LIMIT, no_slot_left(action, quota))


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


def _unless_prevented(secret: SecretDraft, decision: Decision, rotation: T) -> Iterator[Finding | T]:
    """Yield the rotation, unless something prevents it or an interrupted run has created its key already."""
    view, life = secret.view, secret.view.life
    unstored = secret.draft.attempts.unstored_for(view.entry, view.key.valid_from if view.key else None)
    if unstored is not None:
        key, version_id = unstored
        message = Message.of("key {key} was created but not stored", key=KeyId(key.id))
        what = ActionKind.RESUME, decision.reason, key.id, version_id, message
        yield secret.action(*what, deadline=decision.deadline)
        return
    if life.current_version is not None and life.current_key is not None and view.key is not None:
        ownership = secret.ownership(life.current_version, life.current_key)
        if ownership is OwnershipProof.UNREAD:
            yield secret.ask_value(life.current_version)
        if ownership is OwnershipProof.UNREADABLE:
            template, values = "{reason}, but its key can't be identified: {problem}", {"problem": view.unresolved}
            why = Decision.of(Reason.UNREADABLE, template, Severity.ERROR, reason=decision.reason, **values)
            yield from secret.skip(why)
            return
    yield from _own_fields(secret)
    waits = _rejected_too_often(secret, decision, urgent=is_urgent(decision, secret.draft.now))
    if waits is not None:
        yield from secret.skip(waits)
    else:
        yield rotation


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
