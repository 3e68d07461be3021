"""Who read a secret, as an access log shows it. Plain frozen data; times are aware and in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Read:
    """One read of a secret's value that was allowed.

    :param principal: who: a role's or user's ARN without the session's name, or what else the log says. Outside text.
    :param current: whether it asked for ``AWSCURRENT``; false where it named a version that is not current now.
    """

    principal: str
    at: datetime
    current: bool = True


@dataclass(frozen=True, slots=True)
class Reads:
    """What the log says of one secret.

    :param since: from when on reads are known; later than asked for where the answer was cut or the log begins later.
    :param until: up to when they are known; the log lags.
    :param gap: why reads in between may be missing, as a clause; ``""`` where none is.
    """

    reads: tuple[Read, ...]
    since: datetime
    until: datetime
    gap: str = ""


@dataclass(frozen=True, slots=True)
class Unread:
    """The log was not read.

    :param problem: what happened, as a sentence without a stop, and what to do; ``""`` where there was no time for it.
    """

    problem: str
