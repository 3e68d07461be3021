"""Keys that no secret contains: failed attempts, orphans of this deployment, and unknown keys, only reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from rotator.durations import FIRST, plus
from rotator.message import KeyId, Message
from rotator.model import AccountSnapshot, Action, ActionKind, Alert, Key, SecretEntry
from rotator.policy.draft import Draft, Rank
from rotator.policy.emergency_ids import made_in_emergency
from rotator.policy.guards import DAY, MAX_REJECTED, MAX_SKEW
from rotator.policy.holdings import Holdings
from rotator.policy.labels import CURRENT, PREVIOUS, KeyName, parse_key_name, parse_retire_label, secret_id
from rotator.policy.ownership import Ownership
from rotator.policy.rules import SKIP_MOVE_WHEN, SKIP_WHEN, View, first, make_view
from rotator.policy.tags import account_of
from rotator.reasons import Reason
from rotator.text import printable, quoted

GIVEN_UP_WITHIN: Final = timedelta(minutes=5)
REMEMBERED: Final = timedelta(days=3)
"""How long a rejection makes pauses longer. More than the longest pause, so that pauses do not start over each day."""
FIRST_PAUSE: Final = timedelta(hours=1)
"""The pause after ``MAX_REJECTED`` rejections, for a secret that can't wait for a day."""
LONG_PAUSE: Final = timedelta(hours=4)
"""The pause doubles with each further rejection, up to this: six tries a day."""
LONGEST_PAUSE: Final = timedelta(hours=12)
"""The limit if several secrets of an account pause, which together try no more often than one would."""


@dataclass(frozen=True, slots=True)
class FailedAttempts:
    """Keys of this deployment that no secret names, with their parsed names, gathered once for an account.

    A rejected replacement is a key that was created and disabled within minutes. So is a key that consumers had and
    that an emergency revoked soon after, or a key that lost a race. These two do not mean that the next replacement
    would be rejected. The differences:

    - a key that a label still names, or whose version was current once, was promoted;
    - a key that an emergency created shows this in its version id; no sweep requested it, or would request it again;
    - a key older than the current one, or as old within minutes, was followed by a success, or lost to one.

    :param unstored: keys that work and whose value can still be read.
    :param rejected: keys, perhaps rejected, that were created in the last days, ended within minutes and have no label.
    :param paused: how many secrets pause because their replacements were rejected too often.
    """

    unstored: tuple[tuple[Key, KeyName], ...]
    rejected: tuple[tuple[Key, KeyName], ...]
    paused: int = 0
    today: frozenset[str] = frozenset()
    """The secrets, by their id in key names, for which keys were created in the last 24 hours."""

    @staticmethod
    def of(
        snapshot: AccountSnapshot, holdings: Holdings, ownership: Ownership, now: datetime, views: Iterable[View] = ()
    ) -> FailedAttempts:
        """Go through an account's keys.

        :param views: its secrets.
        """
        unstored: list[tuple[Key, KeyName]] = []
        rejected: list[tuple[Key, KeyName]] = []
        today: set[str] = set()
        for key in holdings.loose:
            if key.value_readable and key.alive(now) and key.valid_from is not None:
                name = ownership.own_name(key)
                if name is not None:
                    unstored.append((key, name))
        for key in snapshot.keys.values():
            if key.valid_from is not None and now - DAY < key.valid_from <= now:
                name = ownership.own_name(key)
                if name is not None and name.secret_id is not None:
                    today.add(name.secret_id)
            if not key.enabled and _is_brief(key, now) and not holdings.names(key.id):
                name = ownership.own_name(key)
                if name is not None:
                    rejected.append((key, name))
        found = FailedAttempts(tuple(unstored), tuple(rejected), today=frozenset(today))
        often = Counter(name.secret for _, name in rejected)
        if max(often.values(), default=0) >= MAX_REJECTED:  # nearly never, so names are rarely compared
            found = replace(found, paused=sum(len(found.rejected_for(view, now)) >= MAX_REJECTED for view in views))
        return found

    def created_today(self, entry: SecretEntry) -> bool:
        """Whether a key was created for a secret in the last 24 hours, promoted or not."""
        return bool(self.today) and secret_id(entry.arn) in self.today

    def rejected_for(self, view: View, now: datetime) -> tuple[datetime, ...]:
        """Return when a secret's recently rejected replacements were created, in order."""
        since = None if view.key is None else view.key.valid_from
        if since is None or since > now:
            since = FIRST
        made = (key.valid_from for key, name in self.rejected if _is_rejected(name, view.entry))
        return tuple(sorted(at for at in made if at is not None and at - since > GIVEN_UP_WITHIN))

    def retry_at(self, rejected: Sequence[datetime]) -> datetime:
        """Return when a secret that can't wait for a day is retried, after at least ``MAX_REJECTED`` rejections.

        The pause ends some minutes early, so that a sweep that comes early does not miss it.
        """
        pause = min(LONG_PAUSE, FIRST_PAUSE * (1 << min(len(rejected) - MAX_REJECTED, 8)))
        return rejected[-1] + min(LONGEST_PAUSE, pause * max(1, self.paused)) - GIVEN_UP_WITHIN

    def unstored_for(self, entry: SecretEntry, since: datetime | None) -> tuple[Key, str] | None:
        """Return the newest key that an interrupted run created for a secret but did not store, and its version id.

        :param since: when the secret's current key was created; older keys are ignored.
        """
        mine = [
            (key, name.version_id)
            for key, name in self.unstored
            if name.is_for(entry.name, entry.arn)
            and name.version_id not in entry.versions
            and (since is None or (key.valid_from or FIRST) > since)
        ]
        return max(mine, key=lambda item: (item[0].valid_from or FIRST, item[0].id), default=None)


def _is_brief(key: Key, now: datetime) -> bool:
    """Whether a disabled key was created recently and revoked or expired within minutes."""
    made, end = key.valid_from, key.valid_to
    if made is None or end is None:
        return False
    return now - REMEMBERED < made <= now + MAX_SKEW and end - made <= GIVEN_UP_WITHIN


def _is_rejected(name: KeyName, entry: SecretEntry) -> bool:
    """Whether scheduled work created a brief key for a secret, and nothing shows that consumers ever had it."""
    if not name.is_for(entry.name, entry.arn) or made_in_emergency(entry.arn, name.version_id):
        return False
    labels = entry.versions.get(name.version_id, frozenset())
    return CURRENT not in labels and PREVIOUS not in labels and not any(map(parse_retire_label, labels))


ORPHAN_AGE = timedelta(minutes=30)
"""Younger keys may belong to a run that is still in progress."""
PRUNED_FROM = 95
"""With this many versions, AWS may have removed some, because it keeps about 100."""
PRUNED_AFTER = timedelta(hours=24)
"""AWS removes no younger version."""
REPORT_UNKNOWN = timedelta(days=14)


def plan_orphans(
    draft: Draft,
    snapshot: AccountSnapshot,
    holdings: Holdings,
    ownership: Ownership,
    now: datetime,
) -> None:
    """Plan to revoke, or report, keys of this deployment that the secret in their name does not contain."""
    account = printable(snapshot.account, limit=60)
    resuming = {action.key_id for _, action in draft.ranked if action.kind is ActionKind.RESUME}
    # Nearly every key has its secret, so only the names of the others are parsed.
    loose = [key for key in holdings.loose if key.alive(now)]
    for key in sorted(loose, key=lambda key: key.id):
        name = ownership.own_name(key)
        if name is None or key.id in resuming or key.valid_from is None or plus(key.valid_from, ORPHAN_AGE) > now:
            continue
        owner = holdings.owner(name)
        if name.secret_id is None:
            what = f"has a name in the old format for {printable(name.secret)}, which does not prove ownership"
            _report(draft, account, key, what)
        elif owner is None:
            # A secret of that name may be listed here, but with another ARN.
            where = "an unknown ARN (a deleted secret, or one in another region or AWS account that may use it)"
            _report(draft, account, key, f"is named after {printable(name.secret)} with {where}")
        elif name.version_id in owner.versions:
            _report(
                draft,
                account,
                key,
                f"has the name of version {name.version_id} of {owner.name} but no label there: it was re-enabled, its "
                "labels were removed, or another key was given its name",
                owner,
            )
        elif not shows_nothing(snapshot, owner, now):
            if key.id not in snapshot.copies:
                draft.questions.copies[key.id] = None
            if owner.arn not in snapshot.versions:
                draft.questions.histories.add(owner.arn)
            doubt = orphan_doubt(snapshot, owner, key, name.version_id, now)
            if doubt:
                _report(draft, account, key, doubt, owner)
            else:
                draft.ranked.append((Rank.ORPHAN, _revocation(snapshot, owner, key, name.version_id)))


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
        costs_update=True,
    )


def _report(draft: Draft, account: str, key: Key, what: str, owner: SecretEntry | None = None) -> None:
    """Alert about a key that may be in use elsewhere, so that an operator decides."""
    kind = Reason.ORPHAN_UNPROVEN if owner is None else Reason.KEY_REENABLED
    message = Message.of(
        "key {key} {what}; if it is not in use, revoke it: `rotator revoke --key-id {id} --account {account} --reason "
        "...`",
        key=KeyId(key.id),
        what=what,
        id=key.id,
        account=account,
    )
    draft.alerts.append(Alert(kind, message, owner.name if owner is not None else None, key.id))


def report_unknown(draft: Draft, holdings: Holdings, now: datetime) -> None:
    """Report keys that no secret contains and that expire soon. They are never changed."""
    ending = [key for key in holdings.loose if key.valid_to is not None and key.alive(now)]
    for key in sorted(ending, key=lambda key: key.id):
        if key.valid_to is None or parse_key_name(key.name) is not None:
            continue
        left = key.valid_to - now
        if left <= REPORT_UNKNOWN:
            message = Message.of(
                "key {key} {name} expires in {left} and is in no managed secret; to manage it, tag its secret and run "
                "`rotator adopt`",
                key=KeyId(key.id),
                name=quoted(key.name),
                left=left,
            )
            draft.alerts.append(Alert(Reason.UNKNOWN_KEY_EXPIRING, message, key_id=key.id))
