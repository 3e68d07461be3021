"""How long a call to AWS or Infobip may take, and a log line about one that takes long."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

CONNECT_TIMEOUT: Final = 5.0
_LOG: Final = logging.getLogger(__name__)


class SlowCalls:
    """Logs what a call waits for, once, after some seconds. Thread safe.

    A call that makes another one first, such as a login, waits for that one.

    :param after: seconds.
    """

    def __init__(self, after: float) -> None:
        self.after = after
        self._thread = threading.local()

    @contextmanager
    def watch(self, what: str) -> Iterator[None]:
        """Watch one call."""
        self.begin(what)
        try:
            yield
        finally:
            self.end()

    def begin(self, what: str) -> None:
        """Watch a call until :meth:`end`, in the same thread."""
        calls: list[str] = vars(self._thread).setdefault("calls", [])
        calls.append(what)
        if len(calls) == 1:
            self._thread.timer = threading.Timer(self.after, self._announce, [calls])
            self._thread.timer.daemon = True
            self._thread.timer.start()

    def end(self) -> None:
        """End the call that began last."""
        self._thread.calls.pop()
        if not self._thread.calls:
            self._thread.timer.cancel()

    def _announce(self, calls: list[str]) -> None:
        for what in calls[-1:]:
            _LOG.warning("still waiting for %s after %g s", what, self.after)


@dataclass(frozen=True, slots=True)
class Patience:
    """The bounds of each call.

    The look-up of a host's name is not bounded. :attr:`connect` counts for each of the host's addresses, for a proxy's
    tunnel, for the TLS handshake and for sending. What of it exceeds ``total`` leaves no time for the response.

    :param read: seconds to wait for a response; a connection gets as many, at most :data:`CONNECT_TIMEOUT`.
    :param attempts: the most attempts at a call to AWS, and at one to Infobip that gets no response.
    :param slow_calls: logs what a call waits for, for people.
    :param total: seconds for a connection to Infobip and its whole response.
    :param body: the most bytes of a decompressed response of Infobip.
    """

    read: float = 20.0
    attempts: int = 4
    slow_calls: SlowCalls | None = None
    total: float = 30.0
    body: int = 5 * 1024 * 1024

    @property
    def connect(self) -> float:
        """Seconds to connect."""
        return min(CONNECT_TIMEOUT, self.read)

    @classmethod
    def of_people(cls, timeout: float | None, *, unattended: bool) -> Patience:
        """Return the bounds of a command: shorter if a person waits for it, unless it names a timeout.

        :param timeout: seconds.
        """
        read = timeout or (cls().read if unattended else 10.0)
        return cls(read, cls().attempts if unattended else 2, SlowCalls(min(5.0, read / 2)), 1.5 * read)
