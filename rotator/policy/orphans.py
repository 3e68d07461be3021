"""Keys that no secret holds: orphans of this deployment, which go, and unknown ones, which are only reported."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from rotator.message import KeyId, Message
from rotator.model import AccountSnapshot, Action, ActionKind, Key, Reason, SecretEntry
from rotator.policy.directory import Directory, Others
from rotator.policy.draft import Draft, Rank
from rotator.policy.holdings import Holdings
from rotator.policy.labels import parse_key_name
from rotator.policy.moments import plus
from rotator.policy.ownership import Ownership
from rotator.text import printable, quoted

ORPHAN_AGE = timedelta(minutes=30)
"""Younger ones may belong to a run that is still at it."""
PRUNED_FROM = 95
"""Versions from which on AWS may have removed some: it keeps about 100."""
PRUNED_AFTER = timedelta(hours=24)
"""AWS removes no version that is younger."""
REPORT_UNKNOWN = timedelta(days=14)


def plan_orphans(
    draft: Draft,
    snapshot: AccountSnapshot,
    holdings: Holdings,
    ownership: Ownership,
    now: datetime,
    is_skipped: Callable[[SecretEntry], bool],
) -> None:
    """Keys of this deployment whose version does not exist in the secret that their name says.

    :param is_skipped: whether a secret is, for whatever reason; such a one (a replica that lags behind, say) proves
        nothing about its keys.
    """
    own, others = Directory({"": snapshot.secrets}), Others.of(snapshot.others)
    account = printable(snapshot.account, limit=60)
    resuming = {action.key_id for _, action in draft.ranked if action.kind is ActionKind.RESUME}
    # Nearly every key has its secret: names are parsed of the others only.
    loose = [key for key in holdings.loose if key.alive(now)]
    for key in sorted(loose, key=lambda key: key.id):
        name = ownership.own_name(key)
        if name is None or key.id in resuming or key.valid_from is None or plus(key.valid_from, ORPHAN_AGE) > now:
            continue
        owner = own.named(name) or others.named(name)
        if name.secret_id is None:
            what = f"has a name of the older form for {printable(name.secret)}, which proves nothing"
            _report(draft, account, key, what)
        elif owner is None:
            # Its name may well be seen here, with another ARN.
            where = "an ARN that is not seen here: of another region or AWS account, where it may be in use, or deleted"
            _report(draft, account, key, f"is named for {printable(name.secret)} of {where}")
        elif name.version_id in owner.versions:
            _report(
                draft,
                account,
                key,
                f"has the name of version {name.version_id} of {owner.name}, and no label of it: it was enabled again, "
                "its labels were taken off, or another key was given its name",
                owner,
            )
        elif not is_skipped(owner):
            draft.copies[key.id] = None
            draft.histories.add(owner.arn)
            doubt = _doubt(snapshot, owner, key, name.version_id, now)
            if doubt:
                _report(draft, account, key, doubt, owner)
            else:
                draft.add(Rank.ORPHAN, _revocation(snapshot, owner, key, name.version_id))


def _doubt(snapshot: AccountSnapshot, owner: SecretEntry, key: Key, version_id: str, now: datetime) -> str:
    """Why a key may not be an orphan after all, by what was read since it was found; ``""`` if nothing says so."""
    holders = snapshot.copies.get(key.id, ())
    if holders:
        return f"was never stored under its own version, but {', '.join(holders)} holds it"
    versions = snapshot.versions.get(owner.arn, frozenset())
    if version_id in versions:
        return f"has the name of version {version_id} of {owner.name}, which is deprecated: it was enabled again"
    made = key.valid_from
    if len(versions) >= PRUNED_FROM and made is not None and plus(made, PRUNED_AFTER) <= now:
        return f"may have been stored in {owner.name}: AWS keeps about 100 versions, and {len(versions)} are there"
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
        costs_update=True,
    )


def _report(draft: Draft, account: str, key: Key, what: str, owner: SecretEntry | None = None) -> None:
    """A key that may be in use where it can't be seen from here: a person decides."""
    kind = Reason.ORPHAN_UNPROVEN if owner is None else Reason.KEY_REENABLED
    message = Message.of(
        "key {key} {what}; if it is not in use, revoke it: `rotator revoke --key-id {id} --account {account} --reason "
        "...`",
        key=KeyId(key.id),
        what=what,
        id=key.id,
        account=account,
    )
    draft.alert(kind, message, owner.name if owner is not None else None, key.id)


def report_unknown(draft: Draft, holdings: Holdings, now: datetime) -> None:
    """Keys that nobody rotates and that end soon: said, never touched."""
    ending = [key for key in holdings.loose if key.valid_to is not None and key.alive(now)]
    for key in sorted(ending, key=lambda key: key.id):
        if key.valid_to is None or parse_key_name(key.name) is not None:
            continue
        left = key.valid_to - now
        if left <= REPORT_UNKNOWN:
            message = Message.of(
                "key {key} {name} expires in {left} and no managed secret holds it; `rotator adopt` takes it under "
                "management",
                key=KeyId(key.id),
                name=quoted(key.name),
                left=left,
            )
            draft.alert(Reason.UNKNOWN_KEY_EXPIRING, message, key_id=key.id)
