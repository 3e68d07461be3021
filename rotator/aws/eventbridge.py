"""Sends events to consumers over EventBridge: rotated, retired, failed, revoked. A failure is logged, never raised.

A run never waits long for it: timeouts are a few seconds, and after a failure the run sends no more events. Events that
were not sent are logged in full, so that an operator can send them by hand.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from botocore.exceptions import ConnectionClosedError

from rotator.redaction.redactor import Redactor

SOURCE: Final = "infobip-key-rotator"
PUBLISH_CONNECT_TIMEOUT: Final = 1.0
PUBLISH_READ_TIMEOUT: Final = 2.0
PUBLISH_ATTEMPTS: Final = 1

_log = logging.getLogger(__name__)


class EventBridge:
    """An :class:`~rotator.ports.EventSink` on an event bus, for one run. Thread safe.

    A detail contains names, ids and constants, which are kept, and untrusted input, which is redacted.

    :param bus: the event bus's name or ARN.
    :param connect: makes an ``events`` client, at the first event, so that a run without events pays nothing.
    """

    def __init__(self, bus: str, connect: Callable[[], Any], redactor: Redactor) -> None:
        self._bus = bus
        self._client = cache(connect)
        self._redactor = redactor
        self._stopped = False

    def send(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        """Send one event; never raises."""
        scrubbed: dict[str, Any] = {}
        lost = "not sent: an earlier event in this run failed"
        try:
            scrubbed = dict(self._redactor.scrub(dict(detail)))
            if not self._stopped:
                lost = "rejected by EventBridge" if self._refused(detail_type, scrubbed) else ""
        except Exception as error:  # of any kind, since the work itself is already done
            self._stopped = True
            lost = type(error).__name__
        if lost:
            _log.warning(
                'the event "%s" was not sent to %s (%s); check that the bus exists and '
                "that its policy allows events:PutEvents",
                detail_type,
                self._bus,
                lost,
                extra={"detail": scrubbed},
            )

    def _refused(self, detail_type: str, scrubbed: Mapping[str, Any]) -> bool:
        arn = scrubbed.get("secret_arn")
        entry = {
            "Source": SOURCE,
            "DetailType": detail_type,
            "Detail": json.dumps(scrubbed),
            "EventBusName": self._bus,
            "Resources": [arn] if arn else [],
        }
        try:
            answer = self._client().put_events(Entries=[entry])
        except ConnectionClosedError:  # a pooled connection that the server closed meanwhile
            answer = self._client().put_events(Entries=[entry])
        return bool(answer.get("FailedEntryCount"))
