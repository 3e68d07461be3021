"""Clocks that can be moved, so that ninety days pass in a second."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, runtime_checkable

from rotator.clock import SystemClock
from rotator.errors import ConfigurationError
from rotator.ports import Clock

DEFAULT_START: Final = datetime(2026, 9, 1, 10, 0, 0, tzinfo=UTC)


@runtime_checkable
class MovableClock(Clock, Protocol):
    """A clock that obeys; time never moves but by these calls and, for some, by itself."""

    def advance(self, by: timedelta) -> None:
        """Move time by that much, backwards where it is negative."""
        ...

    def set(self, to: datetime) -> None:
        """Move time to that moment; ``ValueError`` where it has no offset."""
        ...


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a time needs an offset; add +00:00 if it is in UTC")
    return moment.astimezone(UTC)


class VirtualClock:
    """Time that stands still until somebody moves it; ``sleep`` moves it instead of waiting.

    :param start: the first moment, aware; a fixed one by default, so that runs can be repeated.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._lock = threading.Lock()
        self._now = _utc(start or DEFAULT_START)

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        with self._lock:
            return self._now

    def sleep(self, seconds: float) -> None:
        """Move time by ``seconds``, at once; negative ones are ignored, as a sleep can't go back."""
        if seconds > 0:
            self.advance(timedelta(seconds=seconds))

    def advance(self, by: timedelta) -> None:
        """Move time by that much."""
        with self._lock:
            self._now += by

    def set(self, to: datetime) -> None:
        """Move time to that moment."""
        moment = _utc(to)
        with self._lock:
            self._now = moment


class OffsetClock:
    """Another clock's time (the machine's by default) plus an offset that can be moved; ``sleep`` moves the offset.

    It also serves as a clock that is wrong: give it the right clock and an offset.
    """

    def __init__(self, base: Clock | None = None, offset: timedelta = timedelta(0)) -> None:
        self._base: Clock = base or SystemClock()
        self._lock = threading.Lock()
        self._offset = offset

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        with self._lock:
            return self._base.now() + self._offset

    def sleep(self, seconds: float) -> None:
        """Move the offset by ``seconds``, at once."""
        if seconds > 0:
            self.advance(timedelta(seconds=seconds))

    def advance(self, by: timedelta) -> None:
        """Move the offset by that much."""
        with self._lock:
            self._offset += by

    def set(self, to: datetime) -> None:
        """Choose the offset so that it is that moment now."""
        moment = _utc(to)
        with self._lock:
            self._offset = moment - self._base.now()


class RemoteClock:
    """The clock of a running sandbox, asked over its control endpoint; ``sleep`` moves it.

    :param url: the simulated Infobip's base URL; the sandbox listens on a loopback address only.
    """

    TIMEOUT_SECONDS: Final = 5.0

    def __init__(self, url: str) -> None:
        if not url.startswith("http://"):
            raise ConfigurationError(
                "The sandbox's address does not start with http://.",
                advice="Copy ROTATOR_SANDBOX_URL from what `rotator sandbox` printed, or unset it.",
            )
        self._url = url.rstrip("/") + "/sandbox/clock"

    def now(self) -> datetime:
        """The sandbox's time, aware, in UTC; ``ConfigurationError`` where no sandbox answers."""
        return self._call(None)

    def sleep(self, seconds: float) -> None:
        """Let that many of the sandbox's seconds pass, at once."""
        if seconds > 0:
            self._call({"advance_seconds": seconds})

    def advance(self, by: timedelta) -> None:
        """Move the sandbox's time by that much."""
        self._call({"advance_seconds": by.total_seconds()})

    def set(self, to: datetime) -> None:
        """Move the sandbox's time to that moment."""
        self._call({"set": _utc(to).isoformat()})

    def _call(self, body: dict[str, object] | None) -> datetime:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url, data=data, headers={"Content-Type": "application/json"})  # noqa: S310 - the scheme was checked
        # An empty ProxyHandler: a loopback address is never reached through a proxy, whatever the environment says.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=self.TIMEOUT_SECONDS) as answer:
                return datetime.fromisoformat(str(json.load(answer)["now"])).astimezone(UTC)
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise ConfigurationError(
                f"No sandbox tells the time at {self._url} ({type(e).__name__}).",
                advice="Start `rotator sandbox` and use the environment that it prints, or unset ROTATOR_SANDBOX_URL.",
            ) from None
