"""When a superseded key is revoked, what blocks it, and how many a sweep revokes.

Read top-down, the lists are the specification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter

from rotator.durations import plus
from rotator.message import KeyId, Message
from rotator.plan import Action, ActionKind, Alert, Questions, Quota, Severity, Skip
from rotator.policy.daily_limit import no_slot_left
from rotator.policy.draft import Draft, Finding
from rotator.policy.gate import LOOK_BACK, promoted_at, unread_by_consumers
from rotator.policy.lifecycle import Retiring
from rotator.policy.ownership import OwnershipProof
from rotator.policy.rules import Decision
from rotator.policy.secret_draft import SecretDraft
from rotator.policy.windows import next_open
from rotator.reasons import Reason
from rotator.text import some_of

Block = Callable[[SecretDraft, Retiring], Decision | Questions | None]
"""Why a revocation waits or is blocked; questions alone if nothing that is known stops it, but this must be read."""


def plan_revocation(secret: SecretDraft, item: Retiring) -> Iterator[Finding]:
    """Plan to revoke a key whose grace period is over, or to remove the labels of one that no longer authenticates."""
    snapshot, now = secret.draft.snapshot, secret.draft.now
    cleaned = secret.label_removal(item.version_id, item.key_id, item.revoke_at)
    if cleaned is not None:
        yield cleaned
        return
    yield from secret.report_superseded(item.key_id)
    key = snapshot.keys.get(item.key_id)
    # A label that can't be right is an alert of its own.
    is_due = max(item.revoke_at, secret.grace_until(item) or item.revoke_at) <= now
    if key is None and is_due and item.key_id in snapshot.unreadable_keys:
        why = "it is not in Infobip's list and could not be read by its id"
        yield from secret.skip(_refused(item, Reason.LISTING_INCOMPLETE, why, Severity.WARNING), item.key_id)
    elif is_due and (found := secret.owned_elsewhere(item.key_id)) is not None:
        why = "account {owner} has it, and sweeps revoke no key of another account"
        yield from secret.skip(_refused(item, Reason.KEY_NOT_FOUND, why, None, owner=found[1]), item.key_id)
    elif key is not None and is_due and not secret.is_foreign(key):
        yield from _revocation(secret, item)


def _revocation(secret: SecretDraft, item: Retiring) -> Iterator[Finding]:
    """Plan to revoke a key whose grace period is over, unless it waits, its label is wrong, or something blocks it."""
    waits, asked = _first(WAITS, secret, item)
    yield from asked
    if waits is None:
        proof = secret.check_label(item.version_id, item.key_id)
        if proof is not None:
            yield proof
        if isinstance(proof, Alert):
            return
        waits, asked = _first(BLOCKED, secret, item)
        yield from asked
    if waits is not None:
        yield from secret.skip(waits, item.key_id)
        return
    message = Message.of("grace period ended {time} ago", time=secret.draft.now - item.revoke_at)
    what = item.key_id, item.version_id, message
    yield secret.action(ActionKind.REVOKE, Reason.GRACE_OVER, *what, due_at=item.revoke_at)


def _first(
    blocks: tuple[Block, ...], secret: SecretDraft, item: Retiring
) -> tuple[Decision | None, Sequence[Questions]]:
    """Return the first decision, and what all blocks up to it have to know."""
    asked = []
    for block in blocks:
        found = block(secret, item)
        asks = found.asks if isinstance(found, Decision) else found
        asked += [asks] if asks is not None else []
        if isinstance(found, Decision):
            return found, asked
    return None, asked


# ---- what it waits for ----------------------------------------------------------------------------------------------


def outside_window(secret: SecretDraft, item: Retiring) -> Decision | None:
    """The secret's window is closed."""
    window, now = secret.view.spec.window if secret.view.spec else None, secret.draft.now
    if window is None or secret.draft.is_open(window):
        return None
    template = "revocation of key {key} waits for its window, which opens {opens:%a} {opens}"
    return Decision.of(Reason.WINDOW, template, key=KeyId(item.key_id), opens=next_open(window, now))


def not_read_by_consumers(secret: SecretDraft, item: Retiring) -> Decision | None:
    """The secret has ``rotator:gate``, and consumers have not read the new value."""
    view, snapshot, arn = secret.view, secret.draft.snapshot, secret.view.entry.arn
    if view.spec is None or not view.spec.gate:
        return None
    readers = snapshot.readers.get(arn)
    found = unread_by_consumers(view, item, snapshot.keys, readers, secret.draft.now)
    if found is None or readers is not None:
        return found
    since = plus(promoted_at(item, view.life, snapshot.keys, view.spec.grace), -LOOK_BACK)
    return replace(found, asks=Questions(readers={arn: (item.revoke_at, since)}))


WAITS: tuple[Block, ...] = (
    outside_window,  # makes sure that revocations too are done when the operator prefers them
    not_read_by_consumers,  # makes sure that consumers have read the new value, for one more grace period at most
)

# ---- what blocks it -------------------------------------------------------------------------------------------------


def _refused(
    item: Retiring, reason: Reason, why: str, severity: Severity | None = Severity.ERROR, **values: object
) -> Decision:
    return Decision.of(reason, f"key {{key}} is not revoked: {why}", severity, key=KeyId(item.key_id), **values)


def owner_unreadable(secret: SecretDraft, item: Retiring) -> Decision | None:
    """The key is not proven by name, and its value, or Infobip's answer about it, can't be read."""
    ownership, entry = secret.draft.ownership, secret.view.entry
    if ownership.of(entry, item.version_id, item.key_id) is not OwnershipProof.UNREADABLE:
        return None
    found = ownership.resolution(entry, item.version_id)
    problem = found.problem if found else ""
    return _refused(item, Reason.UNREADABLE, "its ownership can't be verified: {problem}", problem=problem)


def held_elsewhere(secret: SecretDraft, item: Retiring) -> Decision | Questions | None:
    """Another secret contains the key, by its value, or by its labels until the values are searched."""
    draft, key_id, arn = secret.draft, item.key_id, secret.view.entry.arn
    copies = draft.snapshot.copies.get(key_id)
    if copies is not None:
        return _shared(item, "it is still in {names}", copies)
    asks = Questions(copies={key_id: (arn, item.version_id)})
    found = _shared(item, "it is still in {names} as current", draft.holdings.others_holding(key_id, arn)) or _shared(
        item, "its grace period in {names} is not over", draft.holdings.others_in_grace(key_id, arn, draft.now)
    )
    return asks if found is None else replace(found, asks=asks)


def _shared(item: Retiring, why: str, others: tuple[str, ...]) -> Decision | None:
    return _refused(item, Reason.SHARED_KEY, why, Severity.WARNING, names=", ".join(others)) if others else None


def may_be_held_elsewhere(secret: SecretDraft, item: Retiring) -> Decision | None:
    """The key is proven by value only, and the values of some secrets, or whole stores, can't be read.

    A secret whose value was searched for the key does not count, even if its own key is unknown.
    """
    snapshot = secret.draft.snapshot
    unread: tuple[str, ...] = tuple(entry.title for entry in snapshot.unreadable)
    if item.key_id not in snapshot.copies:
        unread = (*secret.draft.holdings.unknown, *unread)
    unread = (*unread, *snapshot.unlisted)
    ownership = secret.draft.ownership.of(secret.view.entry, item.version_id, item.key_id)
    if not unread or ownership is OwnershipProof.BY_NAME:
        return None
    names = some_of(sorted(set(unread)), 3)
    return _refused(item, Reason.UNREADABLE, "{names} can't be read and may contain it", names=names)


def current_broken(secret: SecretDraft, item: Retiring) -> Decision | None:
    """The current key does not work, or is this one."""
    view = secret.view
    if view.key is not None and view.key.alive(secret.draft.now) and view.key_id != item.key_id:
        return None
    return _refused(item, Reason.CURRENT_KEY_BROKEN, "the current key does not work")


def current_unreadable(secret: SecretDraft, item: Retiring) -> Decision | Questions | None:
    """The current value can't be read, so the current key can't be identified."""
    life = secret.view.life
    if life.current_version is None or life.current_key is None:
        return None
    ownership = secret.ownership(life.current_version, life.current_key)
    if ownership is OwnershipProof.UNREAD:
        return secret.ask_value(life.current_version)
    if ownership is not OwnershipProof.UNREADABLE:
        return None
    why = "the current key can't be identified: {problem}"
    return _refused(item, Reason.UNREADABLE, why, problem=secret.view.unresolved)


BLOCKED: tuple[Block, ...] = (
    owner_unreadable,  # makes sure that the key has an ownership proof for this version
    held_elsewhere,  # makes sure that no other secret's consumers use the key
    may_be_held_elsewhere,  # makes sure of the same where values can't be read, unless the key's name is enough
    current_broken,  # makes sure that the current key is another one, and works
    current_unreadable,  # makes sure that the label of the current key is right
)

# ---- how many per sweep ----------------------------------------------------------------------------------------------

MAX_REVOKE_SHARE = 0.25
REVOKE_LIMIT_FLOOR = 5
"""A sweep revokes at most this share of an account's active keys, or this number if that is more."""


def limit_revocations(draft: Draft, *, force: bool) -> None:
    """Spread revocations over sweeps; block orphans that are too many to be accidents.

    One sweep revokes at most a quarter of the account's active keys, or ``REVOKE_LIMIT_FLOOR`` if that is more:
    revocations after grace first, the longest overdue first, then orphans.

    :param force: lift the limit.
    """
    revoking = sorted((action for action in draft.planned if action.costs_update), key=attrgetter("due_at"))
    active = sum(1 for key in draft.snapshot.keys.values() if key.alive(draft.now))
    limit = max(REVOKE_LIMIT_FLOOR, int(MAX_REVOKE_SHARE * active))
    if force or len(revoking) <= limit:
        return
    orphans = [action for action in revoking if action.reason is Reason.ORPHAN]
    due = [action for action in revoking if action.reason is not Reason.ORPHAN]
    for action in due[limit:]:
        message = Message.of(
            "revocation of key {key} waits for the next sweep: a sweep revokes at most {limit} keys",
            key=KeyId(action.key_id or ""),
            limit=limit,
        )
        draft.defer(action, Reason.REVOCATION_LIMIT, message)
        draft.planned.remove(action)
    if len(orphans) > limit:
        message = Message.of(
            "{orphans} of {active} active keys look like orphans, more than a sweep may revoke ({limit}); none is "
            "revoked; review the plan and, if it is correct, run `rotator run --force`",
            orphans=len(orphans),
            active=active,
            limit=limit,
        )
        draft.alerts.append(Alert(Reason.TOO_MANY_ORPHANS, message, severity=Severity.ERROR))
        waits = Message("its orphans wait for `rotator run --force`")
        owners = {action.which: action for action in orphans}.values()
        draft.skipped += [
            Skip(each.secret, Reason.TOO_MANY_ORPHANS, waits, location=each.location)
            for each in sorted(owners, key=lambda action: action.secret)
        ]
    for action in orphans if len(orphans) > limit else orphans[max(0, limit - len(due)) :]:
        draft.planned.remove(action)


def limit_updates(draft: Draft, actions: list[Action], quota: Quota, coming: int = 0) -> list[Action]:
    """Return the actions that today's updates allow, the most urgent first, and defer the other revocations.

    :param coming: how many revocations come due before an update that is used now is free again; orphans leave
        these updates free.
    """
    left = quota.updates_left
    kept: list[Action] = []
    for action in actions:
        if not action.costs_update:
            kept.append(action)
        elif left > (coming if action.reason is Reason.ORPHAN else 0):
            left -= 1
            kept.append(action)
        else:
            draft.defer(action, Reason.DAILY_LIMIT, no_slot_left(action, quota))
    return kept
