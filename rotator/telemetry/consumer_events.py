"""Events for consumers and people: each has the same fields, and ``None`` where one does not apply."""

from __future__ import annotations

from typing import Any, Final

from rotator.ports import EventSink

ROTATED: Final = "API Key Rotated"
RETIRED: Final = "API Key Retired"
REVOKED: Final = "API Key Revoked"
FAILED: Final = "Rotation Failed"
EMERGENCY: Final = "Emergency Revocation"

FIELDS: Final = ("account", "secret", "secret_arn", "version_id", "key_id", "reason", "incident")


def publish(events: EventSink, detail_type: str, **fields: Any) -> None:
    """Send one event; failing to is never a failure of the work.

    :param fields: what is known of :data:`FIELDS`, and what this kind of event has beside them.
    """
    events.send(detail_type, {**dict.fromkeys(FIELDS), **fields})
