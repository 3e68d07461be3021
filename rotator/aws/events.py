"""Tells consumers over EventBridge: rotated, retired, failed, revoked. What can't be sent is logged, never raised."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from rotator.redact import Redactor

SOURCE: Final = "infobip-key-rotator"
CONNECT_TIMEOUT: Final = 2.0
READ_TIMEOUT: Final = 3.0
ATTEMPTS: Final = 2

_log = logging.getLogger(__name__)


class EventBridge:
    """An :class:`~rotator.ports.EventSink` on an event bus. Thread safe.

    A detail holds names, ids and reasons, and is redacted all the same: an error's text comes from outside.

    :param bus: the event bus's name or ARN.
    :param connect: makes an ``events`` client; called once, at the first event, so that a run without any pays nothing.
    """

    def __init__(self, bus: str, connect: Callable[[], Any], redactor: Redactor) -> None:
        self._bus = bus
        self._connect = connect
        self._redactor = redactor
        self._lock = threading.Lock()
        self._client: Any = None

    def send(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        """Send one event; never raises, and waits for ten seconds at most."""
        try:
            scrubbed = self._redactor.scrub(dict(detail))
            entry: dict[str, Any] = {
                "Source": SOURCE,
                "DetailType": detail_type,
                "Detail": json.dumps(scrubbed),
                "EventBusName": self._bus,
            }
            arn = scrubbed.get("secret_arn")
            if isinstance(arn, str) and arn:
                entry["Resources"] = [arn]
            refused = self._made_client().put_events(Entries=[entry]).get("FailedEntryCount", 0)
        except Exception as error:  # whatever it is: the work that the event tells of is done already
            self._say_lost(detail_type, type(error).__name__)
            return
        if refused:
            self._say_lost(detail_type, "refused by EventBridge")

    def _made_client(self) -> Any:
        with self._lock:  # botocore's sessions are not thread safe, its clients are
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _say_lost(self, detail_type: str, why: str) -> None:
        _log.warning(
            'the event "%s" was not sent to %s (%s); check that the bus exists and that events:PutEvents is allowed',
            detail_type,
            self._bus,
            why,
        )
