"""The clock of a running sandbox, for commands that use it. Not for production."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import Final

from rotator.errors import ConfigurationError


class RemoteClock:
    """The clock of a running sandbox, read over its control endpoint. ``sleep`` advances it.

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
        """Return the sandbox's time, aware, in UTC; ``ConfigurationError`` if no sandbox answers."""
        return self._call(None)[0]

    def monotonic(self) -> float:
        """Return the seconds elapsed on the sandbox's clock; ``ConfigurationError`` if no sandbox answers."""
        return self._call(None)[1]

    def sleep(self, seconds: float) -> None:
        """Advance the sandbox's clock by the given seconds, at once."""
        if seconds > 0:
            self._call({"advance_seconds": seconds})

    def _call(self, body: dict[str, object] | None) -> tuple[datetime, float]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url, data=data, headers={"Content-Type": "application/json"})  # noqa: S310 - the scheme was checked
        # An empty ProxyHandler: a loopback address must not use the environment's proxy.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=self.TIMEOUT_SECONDS) as answer:
                shown = json.load(answer)
                return datetime.fromisoformat(str(shown["now"])).astimezone(UTC), float(shown["monotonic"])
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise ConfigurationError(
                f"No sandbox is running at {self._url} ({type(e).__name__}).",
                advice="Start `rotator sandbox` and set the variables that it prints, or unset ROTATOR_SANDBOX_URL.",
            ) from None
