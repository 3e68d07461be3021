"""Audit lines as events of the Open Cybersecurity Schema Framework (OCSF) 1.5, for SIEMs: ``--audit-format ocsf``.

Source: https://schema.ocsf.io/1.5.0. Fields without an equivalent are in ``unmapped``, so no information is lost.
:func:`native` restores the fields that ``rotator audit verify`` checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from rotator import __version__

VERSION: Final = "1.5.0"
_PRODUCT: Final = {"name": "infobip-key-rotator", "vendor_name": "infobip-key-rotator", "version": __version__}
_ENTITY_MANAGEMENT: Final = (3, 3004)
_AUTHENTICATION: Final = (3, 3002)
_DETECTION_FINDING: Final = (2, 2004)
_INCIDENT_FINDING: Final = (2, 2005)
_APPLICATION_LIFECYCLE: Final = (6, 6002)
_OTHER: Final = 99
_SEVERITIES: Final = {"info": 1, "warning": 3, "error": 4}
_STATUSES: Final = {"success": 1, "failure": 2, "denied": 2}
_NEW, _IN_PROGRESS, _RESOLVED = 1, 2, 4
_CLOSE: Final = 3
# Fields of an audit line that have an equivalent in every class. The others are unmapped.
_MAPPED: Final = {"timestamp", "level", "event", "run_id", "seq", "duration_ms", "error", "reason"}


class _Class(NamedTuple):
    """An OCSF class (category and uid) and one of its activities."""

    category: int
    uid: int
    activity: int


CLASSES: Final = {
    "key.created": _Class(*_ENTITY_MANAGEMENT, 1),  # Create
    "key.adopted": _Class(*_ENTITY_MANAGEMENT, 6),  # Enroll
    "key.revoked": _Class(*_ENTITY_MANAGEMENT, 9),  # Disable
    "secret.staged": _Class(*_ENTITY_MANAGEMENT, 3),  # Update
    "secret.promoted": _Class(*_ENTITY_MANAGEMENT, 10),  # Activate
    "secret.rolled_back": _Class(*_ENTITY_MANAGEMENT, 10),
    "key.retiring": _Class(*_ENTITY_MANAGEMENT, 3),
    "key.verified": _Class(*_AUTHENTICATION, 1),  # Logon
    "key.rejected": _Class(*_AUTHENTICATION, 1),
    "key.orphan_found": _Class(*_DETECTION_FINDING, 1),  # Create
    "alert.raised": _Class(*_DETECTION_FINDING, 1),
    "rotation.failed": _Class(*_DETECTION_FINDING, 1),
    "revocation.failed": _Class(*_DETECTION_FINDING, 1),
    "emergency.requested": _Class(*_INCIDENT_FINDING, 1),
    "emergency.completed": _Class(*_INCIDENT_FINDING, _CLOSE),
    "sweep.started": _Class(*_APPLICATION_LIFECYCLE, 3),  # Start
    "sweep.completed": _Class(*_APPLICATION_LIFECYCLE, 4),  # Stop
}
"""By the event of an audit line."""


def to_ocsf(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Convert an audit line's fields (:data:`rotator.telemetry.audit.FIELDS`) to an OCSF event."""
    event, outcome = entry["event"], entry["outcome"]
    ours = CLASSES.get(event, _Class(*_ENTITY_MANAGEMENT, _OTHER))
    if event == "emergency.completed" and outcome != "success":
        ours = ours._replace(activity=2)  # Update: it is not over
    actor = {"name": entry["actor"] or "unknown"}
    subject = {"name": entry.get("secret") or entry.get("account"), "uid": entry.get("key_id")}
    found: dict[str, Any] = {
        "class_uid": ours.uid,
        "category_uid": ours.category,
        "activity_id": ours.activity,
        "type_uid": ours.uid * 100 + ours.activity,
        "time": round(datetime.fromisoformat(entry["timestamp"]).timestamp() * 1000),
        "severity_id": _SEVERITIES.get(entry["level"], 0),
        "status_id": _STATUSES.get(outcome, _OTHER),
        "status": outcome,
        "metadata": {
            "version": VERSION,
            "product": _PRODUCT,
            "event_code": event,
            "correlation_uid": entry["run_id"],
            "sequence": entry["seq"],
        },
        "unmapped": {name: value for name, value in entry.items() if value is not None and name not in _MAPPED},
    }
    if ours.activity == _OTHER:
        found["activity_name"] = event
    if entry.get("reason"):
        found["message"] = entry["reason"]
    if entry.get("error"):
        found["status_detail"] = entry["error"]
    if entry.get("duration_ms") is not None:
        found["duration"] = entry["duration_ms"]
    found |= _of_class(ours, entry, actor, {name: value for name, value in subject.items() if value})
    return found


def _of_class(ours: _Class, entry: Mapping[str, Any], actor: dict[str, Any], subject: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that the class requires."""
    info = {
        "uid": entry.get("incident") or f"{entry['run_id']}/{entry['seq']}",
        "title": entry.get("reason") or entry["event"],
        "types": [entry["event"]],
    }
    match ours[:2]:
        case (_, 3002):
            return {"user": subject or actor, "service": {"name": "Infobip"}, "actor": {"user": actor}}
        case (_, 2004):
            return {
                "finding_info": info,
                "status_id": _NEW,
                "status": "New",
                "resources": [subject] if subject else [],
            }
        case (_, 2005):
            over = ours.activity == _CLOSE
            state = {"status_id": _RESOLVED if over else _IN_PROGRESS, "status": "Resolved" if over else "In Progress"}
            return {"finding_info_list": [info], "assignee": actor, **state}
        case (_, 6002):
            return {"app": _PRODUCT}
        case _:
            return {"entity": {"type": "API key", **(subject or {"name": "unknown"})}, "actor": {"user": actor}}


def native(event: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the fields that show whether lines were altered or removed; ``None`` if it is not such an event."""
    metadata, rest = event.get("metadata"), event.get("unmapped")
    if "class_uid" not in event or not isinstance(metadata, dict) or not isinstance(rest, dict):
        return None
    fields = {"run_id": "correlation_uid", "seq": "sequence", "event": "event_code"}
    return {**rest, **{ours: metadata.get(theirs) for ours, theirs in fields.items()}}
