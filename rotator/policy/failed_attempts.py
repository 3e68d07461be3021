"""What failed rotations left at Infobip, looked through once for a whole account.

A replacement that was rejected is a key that was made and ended within minutes. So is one that consumers had and that
an emergency ended soon after, and one that lost a race; neither says that the next one would be rejected. They are told
apart by what there is to see:

- a key that a label still names, or whose version was current once, was promoted;
- the version id of a key that an emergency made says so: no sweep asked for it, and none would ask again for its sake;
- what is older than the current key, or was made within minutes of it, was followed by a success, or lost to one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from rotator.model import AccountSnapshot, Key, SecretEntry
from rotator.policy.emergency_ids import made_in_emergency
from rotator.policy.guards import DAY, MAX_REJECTED, MAX_SKEW
from rotator.policy.holdings import Holdings
from rotator.policy.labels import CURRENT, PREVIOUS, KeyName, parse_retire_label, secret_id
from rotator.policy.moments import FIRST
from rotator.policy.ownership import Ownership
from rotator.policy.rules import View

GIVEN_UP_WITHIN: Final = timedelta(minutes=5)
REMEMBERED: Final = timedelta(days=3)
"""How long a rejection makes pauses longer: more than the longest of them, so that they do not begin anew each day."""
FIRST_PAUSE: Final = timedelta(hours=1)
"""After ``MAX_REJECTED`` rejections: how long a secret waits that can't wait for a day."""
LONG_PAUSE: Final = timedelta(hours=4)
"""What the pause grows to, doubled by each further rejection: six tries a day."""
LONGEST_PAUSE: Final = timedelta(hours=12)
"""What it grows to where several secrets of an account are rejected: together they try no more often than one would."""


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Keys of this deployment that no secret names, with their names read.

    :param unstored: alive, and their value can still be read.
    :param rejected: made in the last days and ended within minutes, and named by no label: perhaps rejected.
    :param crowd: how many secrets were rejected so often that they pause.
    """

    unstored: tuple[tuple[Key, KeyName], ...]
    rejected: tuple[tuple[Key, KeyName], ...]
    crowd: int = 0
    today: frozenset[str] = frozenset()
    """What stands for the secrets, in the names of their keys, for which keys were created in the last 24 hours."""

    @staticmethod
    def of(
        snapshot: AccountSnapshot, holdings: Holdings, ownership: Ownership, now: datetime, views: Iterable[View] = ()
    ) -> Leftovers:
        """Look through an account's keys.

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
        found = Leftovers(tuple(unstored), tuple(rejected), today=frozenset(today))
        often = Counter(name.secret for _, name in rejected)
        if max(often.values(), default=0) >= MAX_REJECTED:  # nearly never: nobody's names are compared for nothing
            found = replace(found, crowd=sum(len(found.rejected_for(view, now)) >= MAX_REJECTED for view in views))
        return found

    def created_today(self, entry: SecretEntry) -> bool:
        """Whether a key was created for a secret in the last 24 hours, whatever became of it."""
        return bool(self.today) and secret_id(entry.arn) in self.today

    def rejected_for(self, view: View, now: datetime) -> tuple[datetime, ...]:
        """When the replacements for a secret were made that were rejected lately, in order."""
        since = None if view.key is None else view.key.valid_from
        if since is None or since > now:
            since = FIRST
        made = (key.valid_from for key, name in self.rejected if _is_rejected(name, view.entry))
        return tuple(sorted(at for at in made if at is not None and at - since > GIVEN_UP_WITHIN))

    def retry_at(self, rejected: Sequence[datetime]) -> datetime:
        """When a secret that can't wait for a day is tried again, after at least ``MAX_REJECTED`` rejections.

        A sweep that comes a few minutes early finds it ready: it was begun by one that came as early.
        """
        pause = min(LONG_PAUSE, FIRST_PAUSE * (1 << min(len(rejected) - MAX_REJECTED, 8)))
        return rejected[-1] + min(LONGEST_PAUSE, pause * max(1, self.crowd)) - GIVEN_UP_WITHIN

    def unstored_for(self, entry: SecretEntry, since: datetime | None) -> tuple[Key, str] | None:
        """The newest key that a killed run made for a secret and could not store, and the version id that it is for.

        :param since: when the secret's current key was made; older ones are not meant.
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
    """Whether a disabled key was made lately and ended within minutes."""
    made, end = key.valid_from, key.valid_to
    if made is None or end is None:
        return False
    return now - REMEMBERED < made <= now + MAX_SKEW and end - made <= GIVEN_UP_WITHIN


def _is_rejected(name: KeyName, entry: SecretEntry) -> bool:
    """Whether a brief key was made for a secret by scheduled work, and nothing tells that consumers ever had it."""
    if not name.is_for(entry.name, entry.arn) or made_in_emergency(entry.arn, name.version_id):
        return False
    labels = entry.versions.get(name.version_id, frozenset())
    return CURRENT not in labels and PREVIOUS not in labels and not any(map(parse_retire_label, labels))
