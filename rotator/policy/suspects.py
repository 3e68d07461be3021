"""The keys that an emergency revokes: one predicate, :meth:`Suspects.suspect`. Pure.

The planner asks it for the keys that it finds, the execution for keys that it meets later.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rotator.model import BEGINS_WITHIN, Key


@dataclass(frozen=True, slots=True)
class Suspects:
    """What one emergency knows of its suspects when it starts.

    :param named: the id of the key that a person named, by its id or by its value: no other key is suspect.
    :param arn: the secret that a person named instead.
    :param since: keys of that secret are suspect if they were created before this, by Infobip's clock: the start of the
        command, or for a retry the creation of the replacement that it repeats.
    :param found: the ids of the keys that the secret contained at the start; empty for a retry, which spares those
        that are newer than the replacement.
    """

    named: str | None = None
    arn: str = ""
    since: datetime | None = None
    found: frozenset[str] = frozenset()

    def suspect(self, key: Key, arn: str, now: datetime, *, made_here: bool = False) -> bool:
        """Whether a key that a secret contains is to be revoked.

        :param arn: the secret's; in other secrets than the named one only the ``found`` keys are suspect.
        :param now: by Infobip's clock.
        :param made_here: whether this run, or the one that it repeats, created the key.
        """
        if self.named is not None:
            return key.id == self.named
        if made_here or self.since is None:
            return False
        return key.id in self.found or (arn == self.arn and is_older(key.valid_from, self.since, now))


def is_older(created: datetime | None, since: datetime, now: datetime) -> bool:
    """Whether a key counts as created before ``since``.

    An unknown age counts as older. So does a ``validFrom`` in the future, which shows nothing about the creation.
    """
    return created is None or created < since or created > now + BEGINS_WITHIN
