"""A call to Infobip and its answer, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

import requests

from rotator.infobip.retry import Effort
from rotator.secret import Secret


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds to connect, between two reads, and for one whole attempt; bytes of a body, unpacked."""

    connect: float = 5.0
    read: float = 20.0
    total: float = 30.0
    body: int = 5 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever the status. The body stays out of ``repr``: it may hold secrets.

    ``where`` is method, path and host, for messages; ``retry_after`` is what the far end asked for.
    ``maybe_done``: an earlier attempt of the same call went out and got no clear answer.
    """

    where: str
    status: int
    body: bytes = field(default=b"", repr=False)
    retry_after: timedelta | None = None
    tries: int = 1
    seconds: float = 0.0
    maybe_done: bool = False

    @property
    def ok(self) -> bool:
        """Whether it is a 2xx."""
        return 200 <= self.status < 300

    @property
    def effort(self) -> str:
        """``" (4 tries in 12 s)"``, or nothing after a single try."""
        return effort_text(self.tries, self.seconds)


@dataclass(frozen=True, slots=True)
class Call:
    """A call to be made. Secrets in ``params``, ``body`` and ``form`` stay wrapped until the bytes are made.

    ``write``: a lost answer is an ``OutcomeUnknown``. ``read_body`` false: the status is all that is wanted.
    """

    method: str
    path: str
    params: Mapping[str, str | Secret] = field(default_factory=dict)
    body: Mapping[str, object] | None = None
    form: Mapping[str, str | Secret] | None = None
    effort: Effort = Effort.PATIENT
    write: bool = False
    read_body: bool = True


class Authorizer(Protocol):
    """What the transport needs of an authentication method."""

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the header on."""
        ...

    def refused(self, r: requests.PreparedRequest) -> bool:
        """It was answered with 401: drop what is out of date, and say whether another attempt makes sense."""
        ...


def effort_text(tries: int, seconds: float) -> str:
    """``" (4 tries in 12 s)"``, or nothing after a single try."""
    return "" if tries == 1 else f" ({tries} tries in {seconds:.0f} s)"
