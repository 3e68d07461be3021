"""Keys that no secret contains: orphans of this deployment, and unknown keys, which are only reported."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from rotator.durations import plus
from rotator.message import KeyId, Message
from rotator.model import AccountSnapshot, Key, SecretEntry
from rotator.plan import Action, ActionKind, Alert, Questions
from rotator.policy.draft import Draft, Finding
from rotator.policy.labels import parse_key_name
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.rules import SKIP_MOVE_WHEN, SKIP_WHEN, first, make_view
from rotator.policy.tags import account_of
from rotator.reasons import Reason
from rotator.text import printable, quoted, some_of

ORPHAN_AGE = timedelta(minutes=30)
"""Younger keys may belong to a run that is still in progress."""
PRUNED_FROM = 95
"""With this many versions, AWS may have removed some, because it keeps about 100."""
PRUNED_AFTER = timedelta(hours=24)
"""AWS removes no younger version."""
REPORT_UNKNOWN = timedelta(days=14)


def plan_orphans(draft: Draft) -> Iterator[Finding]:
    """Plan to revoke, or report, keys of this deployment that the secret in their name does not contain."""
    snapshot, holdings, ownership, now = draft.snapshot, draft.holdings, draft.ownership, draft.now
    if snapshot.unlisted:
        return  # a secret that was not listed may contain any of them
    account = printable(snapshot.account, limit=60)
    resuming = {action.key_id for action in draft.planned if action.kind is ActionKind.RESUME}
    unread = [each.title for each in snapshot.unreadable if read_lifecycle(each).current_key is None]
    # Nearly every key has its secret, so only the names of the others are parsed.
    loose = [key for key in holdings.loose if key.alive(now)]
    for key in sorted(loose, key=lambda key: key.id):
        name = ownership.own_name(key)
        if name is None or key.id in resuming or key.valid_from is None or plus(key.valid_from, ORPHAN_AGE) > now:
            continue
        owner = holdings.owner(name)
        if name.secret_id is None:
            what = f"has a name in the old format for {printable(name.secret)}, which does not prove ownership"
            yield _report(account, key, what)
        elif owner is None:
            # A secret of that name may be listed here, but with another ARN.
            where = "an unknown ARN (a deleted secret, or one in another region or AWS account that may use it)"
            yield _report(account, key, f"is named after {printable(name.secret)} with {where}")
        elif name.version_id in owner.versions:
            yield _report(
                account,
                key,
                f"has the name of version {name.version_id} of {owner.name} but no label there: it was re-enabled, its "
                "labels were removed, or another key was given its name",
                owner,
            )
        elif not shows_nothing(snapshot, owner, now):
            yield _to_be_read(snapshot, owner, key)
            doubt = orphan_doubt(snapshot, owner, key, name.version_id, now)
            if doubt:
                yield _report(account, key, doubt, owner)
            elif unread:
                names = some_of(sorted(unread), 3)
                what = f"was never stored under its own version, but {names} can't be read and may contain it"
                yield _report(account, key, what, owner, Reason.UNREADABLE)
            else:
                yield _revocation(snapshot, owner, key, name.version_id)


def _to_be_read(snapshot: AccountSnapshot, owner: SecretEntry, key: Key) -> Questions:
    """Return what must be read before a key is known to be an orphan: all values, and all versions of its secret."""
    return Questions(
        copies={} if key.id in snapshot.copies else {key.id: None},
        versions=set() if owner.arn in snapshot.versions else {owner.arn},
    )


def shows_nothing(snapshot: AccountSnapshot, owner: SecretEntry, now: datetime) -> bool:
    """Whether a secret is skipped (a stale replica, say), so that it can't show whether a key is an orphan."""
    rules = SKIP_WHEN if account_of(owner.tags) == snapshot.account else SKIP_MOVE_WHEN
    skipped = first(rules, make_view(snapshot, owner), now)
    return skipped is not None and skipped.reason not in (Reason.UNADOPTED, Reason.EMPTY)


def orphan_doubt(snapshot: AccountSnapshot, owner: SecretEntry, key: Key, version_id: str, now: datetime) -> str:
    """Return the reason why a key may not be an orphan, or ``""``."""
    holders = snapshot.copies.get(key.id, ())
    if holders:
        return f"was never stored under its own version but is in {', '.join(holders)}"
    versions = snapshot.versions.get(owner.arn, frozenset())
    if version_id in versions:
        return f"has the name of version {version_id} of {owner.name}, which exists: it was re-enabled"
    made = key.valid_from
    if len(versions) >= PRUNED_FROM and made is not None and plus(made, PRUNED_AFTER) <= now:
        return f"may have been stored in {owner.name}: AWS keeps about 100 versions and it has {len(versions)}"
    return ""


def _revocation(snapshot: AccountSnapshot, owner: SecretEntry, key: Key, version_id: str) -> Action:
    assert key.valid_from is not None
    return Action(
        ActionKind.REVOKE,
        snapshot.account,
        owner.name,
        Reason.ORPHAN,
        due_at=plus(key.valid_from, ORPHAN_AGE),
        key_id=key.id,
        version_id=version_id,
        message=Message("created but never stored"),
        arn=owner.arn,
        location=owner.location,
    )


def _report(
    account: str, key: Key, what: str, owner: SecretEntry | None = None, kind: Reason = Reason.KEY_REENABLED
) -> Alert:
    """Return the alert about a key that may be in use elsewhere, so that an operator decides."""
    kind = Reason.ORPHAN_UNPROVEN if owner is None else kind
    message = Message.of(
        "key {key} {what}; if it is not in use, revoke it: `rotator revoke --key-id {id} --account {account} --reason "
        "...`",
        key=KeyId(key.id),
        what=what,
        id=key.id,
        account=account,
    )
    secret, location = (owner.name, owner.location) if owner is not None else (None, None)
    return Alert(kind, message, secret, key.id, location=location)


def report_unknown(draft: Draft) -> Iterator[Alert]:
    """Report keys that no secret contains and that expire soon. They are never changed."""
    if draft.snapshot.unlisted:
        return
    ending = [key for key in draft.holdings.loose if key.valid_to is not None and key.alive(draft.now)]
    for key in sorted(ending, key=lambda key: key.id):
        if key.valid_to is None or parse_key_name(key.name) is not None:
            continue
        left = key.valid_to - draft.now
        if left <= REPORT_UNKNOWN:
            message = Message.of(
                "key {key} {name} expires in {left} and is in no managed secret; to manage it, tag its secret and run "
                "`rotator adopt`",
                key=KeyId(key.id),
                name=quoted(key.name),
                left=left,
            )
            yield Alert(Reason.UNKNOWN_KEY_EXPIRING, message, key_id=key.id)
