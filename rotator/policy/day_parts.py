"""The day's slots if its use can't be counted, because the account has more disabled keys than Infobip lists. Pure.

The day is divided by Infobip's clock, from midnight UTC on, into as many equal parts as scheduled work has slots (the
limit less the reserve). Only the first sweep in each part uses one create and one update, so that scheduled work stays
within its slots and the reserve is kept, whatever is not seen.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from rotator.model import Policy

DAY: Final = timedelta(days=1)


def length_of(policy: Policy) -> timedelta:
    """Return the length of a part."""
    return DAY / max(1, policy.daily_limit - policy.reserve)


def begin_of(now: datetime, policy: Policy) -> datetime:
    """Return when the part that contains ``now`` began."""
    midnight, length = now.replace(hour=0, minute=0, second=0, microsecond=0), length_of(policy)
    return midnight + (now - midnight) // length * length


def is_first(now: datetime, policy: Policy) -> bool:
    """Whether a sweep at ``now`` is the first in its part: the part began after the previous sweep."""
    return policy.daily_limit > policy.reserve and now - begin_of(now, policy) < policy.sweep_every


def first_sweeps(since: datetime | None, now: datetime, policy: Policy) -> list[datetime]:
    """Return the sweeps after ``since`` and up to ``now`` that are the first in their parts, the latest first.

    :param since: ``None`` if there is only the sweep at ``now``.
    """
    count = 1 if since is None else max(1, -((since - now) // policy.sweep_every))
    times = (now - number * policy.sweep_every for number in range(count))
    return [at for at in times if is_first(at, policy)]


def sweeps_until_next(now: datetime, policy: Policy) -> int:
    """Return after how many sweeps the next one is the first in its part."""
    most = length_of(policy) // policy.sweep_every + 2
    later = (number for number in range(1, most) if is_first(now + number * policy.sweep_every, policy))
    return next(later, most)
