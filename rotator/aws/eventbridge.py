"""Events for consumers, over EventBridge: rotated, retired, failed, revoked. A failure is logged, never raised.

A run never waits long for it: a call that hangs is abandoned after three seconds, and after a failure or several slow
answers the run sends no more. What was not sent is in the log, whole, to be sent by hand where it matters.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from rotator.redaction.redactor import Redactor

SOURCE: Final = "infobip-key-rotator"
CONNECT_TIMEOUT: Final = 2.0
READ_TIMEOUT: Final = 2.0
ATTEMPTS: Final = 1
LONGEST: Final = 3.0
"""Seconds that one event may take in all; a connection's timeout counts for each of the bus's addresses."""
SLOW: Final = 1.0
PATIENCE: Final = 5.0
"""Seconds that one run spends on answers which take longer than ``SLOW``."""

_log = logging.getLogger(__name__)


class EventBridge:
    """An :class:`~rotator.ports.EventSink` on an event bus, for one run. Thread safe.

    A detail holds names, ids and constants, which stay as they are, and untrusted input, which is redacted.

    :param bus: the event bus's name or ARN.
    :param connect: makes an ``events`` client; called once, at the first event, so that a run without any pays nothing.
    :param timer: monotonic seconds, by which an answer is slow.
    """

    def __init__(
        self, bus: str, connect: Callable[[], Any], redactor: Redactor, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._bus = bus
        self._connect = connect
        self._redactor = redactor
        self._timer = timer
        self._lock = threading.Lock()
        self._client: Any = None
        self._waited = 0.0
        self._stopped_because = ""

    def fresh(self) -> EventBridge:
        """The same bus and client for another run, which sends again where this one stopped."""
        return EventBridge(self._bus, self._made_client, self._redactor, self._timer)

    def send(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        """Send one event; never raises, and waits for three seconds at most."""
        scrubbed: dict[str, Any] = {}
        try:
            scrubbed = dict(self._redactor.scrub(dict(detail)))
            if self._stopped_because:
                self._log_lost(detail_type, scrubbed, f"not tried: {self._stopped_because}")
                return
            refused = self._put(self._entry(detail_type, scrubbed))
        except Exception as error:  # of any kind: the work that the event is about is done already
            why = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
            self._stopped_because = f"an earlier event of this run was lost, {why}"
            self._log_lost(detail_type, scrubbed, why)
            return
        if refused:
            self._log_lost(detail_type, scrubbed, "refused by EventBridge")

    def _entry(self, detail_type: str, scrubbed: Mapping[str, Any]) -> dict[str, Any]:
        entry = {
            "Source": SOURCE,
            "DetailType": detail_type,
            "Detail": json.dumps(scrubbed),
            "EventBusName": self._bus,
        }
        arn = scrubbed.get("secret_arn")
        return {**entry, "Resources": [arn]} if isinstance(arn, str) and arn else entry

    def _put(self, entry: dict[str, Any]) -> int:
        """How many entries were refused.

        :raises Exception: it was not sent, or may not have been.
        """
        begun = self._timer()
        try:
            try:
                return _within(LONGEST, lambda: self._call(entry))
            except Exception:
                # A failure at once may come from a kept connection that the server closed meanwhile.
                if self._timer() - begun >= SLOW:
                    raise
                return _within(LONGEST - SLOW, lambda: self._call(entry))
        finally:
            took = self._timer() - begun
            if took >= SLOW:
                self._waited += took
                if self._waited >= PATIENCE:
                    self._stopped_because = "EventBridge answers too slowly"

    def _call(self, entry: dict[str, Any]) -> int:
        return int(self._made_client().put_events(Entries=[entry]).get("FailedEntryCount", 0))

    def _made_client(self) -> Any:
        with self._lock:  # botocore's sessions are not thread safe, its clients are
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _log_lost(self, detail_type: str, detail: Mapping[str, Any], why: str) -> None:
        _log.warning(
            'the event "%s" was not sent to %s (%s); check that the bus exists and that events:PutEvents is allowed',
            detail_type,
            self._bus,
            why,
            extra={"detail": dict(detail)},
        )


def _within(seconds: float, call: Callable[[], int]) -> int:
    """A call's result, if there is one in time; else the call is abandoned.

    :raises TimeoutError: it goes on in its thread.
    """
    outcome: list[int | Exception] = []

    def run() -> None:
        try:
            outcome.append(call())
        except Exception as error:  # raised below, in the calling thread
            outcome.append(error)

    thread = threading.Thread(target=run, name="event", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TimeoutError
    (found,) = outcome
    if isinstance(found, Exception):
        raise found
    return found
