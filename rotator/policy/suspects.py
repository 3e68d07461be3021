"""Which keys an emergency revokes. Pure.

Read top-down, :meth:`Suspects.include` is the rule; nothing else decides it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rotator.model import BEGINS_WITHIN


@dataclass(frozen=True, slots=True)
class Suspects:
    """The suspects of one emergency, as far as they are known when it starts.

    :param named: the id of the key that a person named, by its id or by its value.
    :param collected: the ids of the keys that the named secret contained at the start; empty if a key was named.
    :param since: keys of the named secret that are seen later are suspect if they were created before this, by
        Infobip's clock: when the command began, or for a retry when the incident's replacement was created. ``None`` if
        a key was named: other keys of its secret are not suspect.
    """

    named: str | None = None
    collected: frozenset[str] = frozenset()
    since: datetime | None = None

    def include(self, key_id: str, created: datetime | None, now: datetime, *, made_here: bool = False) -> bool:
        """Whether a key is to be revoked.

        :param created: its ``validFrom``, if known.
        :param now: by Infobip's clock.
        :param made_here: whether this run made the key, or an earlier run of the same incident.
        """
        if key_id == self.named:
            return True
        if made_here:
            return False
        return key_id in self.collected or (self.since is not None and is_older(created, self.since, now))


def is_older(created: datetime | None, since: datetime, now: datetime) -> bool:
    """Whether a key counts as created before ``since``.

    An unknown age counts as older. So does a ``validFrom`` in the future, which says nothing about the creation.
    """
    return created is None or created < since or created > now + BEGINS_WITHIN
