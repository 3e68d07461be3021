"""Events for consumers and people. All have the same fields; ``None`` if one does not apply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rotator.ports import EventSink

ROTATED: Final = "API Key Rotated"
RETIRED: Final = "API Key Retired"
REVOKED: Final = "API Key Revoked"
FAILED: Final = "Rotation Failed"
EMERGENCY: Final = "Emergency Revocation"

DETAIL_FIELDS: Final = ("account", "secret", "secret_arn", "version_id", "key_id", "reason", "incident")


def publish(events: EventSink, detail_type: str, **fields: Any) -> None:
    """Send one event. A failure to send is never a failure of the work.

    :param fields: the known ones of :data:`DETAIL_FIELDS`, and others of this kind of event.
    """
    events.send(detail_type, {**dict.fromkeys(DETAIL_FIELDS), **fields})


class NoEvents:
    """An event sink that sends nothing: there is no bus, or no consumer."""

    def send(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        """Do nothing."""
