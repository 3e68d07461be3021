"""What failed rotations left at Infobip, looked through once for a whole account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rotator.core.guards import DAY
from rotator.core.holdings import Holdings
from rotator.core.labels import KeyName
from rotator.core.model import AccountSnapshot, Key, Policy, SecretEntry
from rotator.core.orphans import own_name
from rotator.core.times import FIRST

GIVEN_UP_WITHIN: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Keys of this deployment that no secret names, with their names read.

    :param unstored: alive, and their value can still be read.
    :param rejected: made in the last 24 hours and ended within minutes: never promoted.
    """

    unstored: tuple[tuple[Key, KeyName], ...]
    rejected: tuple[tuple[Key, KeyName], ...]

    @staticmethod
    def of(snapshot: AccountSnapshot, holdings: Holdings, policy: Policy, now: datetime) -> Leftovers:
        """Look through an account's keys."""
        unstored: list[tuple[Key, KeyName]] = []
        rejected: list[tuple[Key, KeyName]] = []
        for key in holdings.loose:
            if key.value_readable and key.alive(now) and key.valid_from is not None:
                name = own_name(key, policy)
                if name is not None:
                    unstored.append((key, name))
        since = now - DAY
        for key in snapshot.keys.values():
            if not key.enabled and key.valid_from is not None and key.valid_to is not None and key.valid_from > since:
                name = own_name(key, policy)
                if name is not None and key.valid_to - key.valid_from <= GIVEN_UP_WITHIN:
                    rejected.append((key, name))
        return Leftovers(tuple(unstored), tuple(rejected))

    def rejected_for(self, entry: SecretEntry) -> int:
        """How many replacements for a secret were rejected in the last 24 hours."""
        return sum(1 for _, name in self.rejected if name.may_belong_to(entry.name))

    def unstored_for(self, entry: SecretEntry, since: datetime | None) -> tuple[Key, str] | None:
        """The newest key that a killed run made for a secret and could not store, and the version id that it is for.

        :param since: when the secret's current key was made; older ones are not meant.
        """
        mine = [
            (key, name.version_id)
            for key, name in self.unstored
            if name.secret == entry.name
            and name.version_id not in entry.versions
            and (since is None or (key.valid_from or FIRST) > since)
        ]
        return max(mine, key=lambda item: (item[0].valid_from or FIRST, item[0].id), default=None)
