"""Rotations that did not finish: keys that were created and not stored, and replacements that were rejected. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from rotator.durations import DAY, FIRST
from rotator.model import AccountSnapshot, Key, SecretEntry
from rotator.policy.clock_skew import MAX_SKEW
from rotator.policy.emergency_ids import made_in_emergency
from rotator.policy.holdings import Holdings
from rotator.policy.labels import CURRENT, PREVIOUS, KeyName, parse_retire_label, secret_id
from rotator.policy.ownership import Ownership
from rotator.policy.rules import View

MAX_REJECTED = 4
"""How many replacements for a secret may be rejected in 24 hours. More would use up slots that others need."""
GIVEN_UP_WITHIN: Final = timedelta(minutes=5)
REMEMBERED: Final = timedelta(days=3)
"""How long a rejection makes pauses longer. More than the longest pause, so that pauses do not start over each day."""
FIRST_PAUSE: Final = timedelta(hours=1)
"""The pause after ``MAX_REJECTED`` rejections, for a secret that can't wait for a day."""
LONG_PAUSE: Final = timedelta(hours=4)
"""The pause doubles with each further rejection, up to this: six attempts per day."""
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

    def created_today(self, arn: str) -> bool:
        """Whether a key was created for a secret in the last 24 hours, promoted or not."""
        return bool(self.today) and secret_id(arn) in self.today

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
