"""When a call is made again, and how long to wait before: urllib3's :class:`Retry`, on an injected clock."""

from __future__ import annotations

import random
import re
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, Final

from urllib3 import BaseHTTPResponse
from urllib3.util import Retry

from rotator.ports import Clock

LONGEST_ASKED_WAIT: Final = 30.0
"""Seconds; a longer ``Retry-After`` ends the call at once."""


class Effort(Enum):
    """How hard a call tries. The value is the statuses after which it is made again."""

    PATIENT = frozenset({429, 500, 502, 503, 504})
    """Safe to repeat: also after a lost answer."""
    UNLESS_DONE = frozenset({429})
    """Again only where the far end certainly did nothing: no connection, or throttled."""
    ONCE = frozenset[int]()
    """One attempt, whatever becomes of it."""


class PatientRetry(Retry):
    """Exponential waits with jitter, through ``Clock.sleep``: about 1, 2, 4 seconds, 8 at most.

    :param clock: does the waiting, and dates ``Retry-After`` headers that hold a date.
    :param rng: jitter between a half and the whole of each wait.
    """

    RETRY_AFTER_STATUS_CODES = frozenset[int]()  # the statuses are the effort's, with or without the header
    DEFAULT_BACKOFF_MAX = 8

    def __init__(self, *args: Any, clock: Clock, rng: random.Random, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.clock = clock
        self.rng = rng

    @classmethod
    def of(cls, effort: Effort, clock: Clock, rng: random.Random) -> PatientRetry:
        """The retries of one call."""
        return cls(
            total=0 if effort is Effort.ONCE else 3,
            read=None if effort is Effort.PATIENT else 0,
            other=0,
            allowed_methods=None,  # all: whether a call may be repeated is the effort's word, not the method's
            status_forcelist=effort.value,
            backoff_factor=1.0,
            backoff_max=8,
            clock=clock,
            rng=rng,
        )

    def new(self, **kw: Any) -> PatientRetry:
        """The next state, with the same clock and randomness."""
        return super().new(clock=self.clock, rng=self.rng, **kw)

    def get_backoff_time(self) -> float:
        """Seconds to wait before the next attempt where the far end did not say."""
        ceiling: float = min(self.backoff_max, self.backoff_factor * 2.0 ** (len(self.history) - 1))
        return ceiling * (0.5 + 0.5 * self.rng.random())

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        """Seconds that ``Retry-After`` asks for; ``None`` where it is absent or makes no sense."""
        return retry_after(response.headers.get("Retry-After"), self.clock)

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        """Wait as long as ``Retry-After`` says, else the backoff."""
        asked = self.get_retry_after(response) if response is not None else None
        self.clock.sleep(asked or self.get_backoff_time())


def retry_after(header: str | None, clock: Clock) -> float | None:
    """The seconds of a ``Retry-After`` header (a number or a date), never negative, at most a day's worth of sense.

    Nonsense is ``None`` rather than an error: the header is a courtesy.
    """
    text = (header or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        return float(text)
    if not text:
        return None
    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        return max(0.0, (date - clock.now()) / timedelta(seconds=1))
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
