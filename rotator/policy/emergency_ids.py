"""Version ids of replacements created in an emergency. The id itself marks the version, since no other record exists.

Every attempt gets its own id, so the key of a failed attempt is never mistaken for the next attempt's. A later run
still recognises a version that an emergency created (older keys get no grace period), and its incident (so that
repeating the command creates no second replacement).
"""

from __future__ import annotations

import hashlib
import re
import uuid
from datetime import datetime, timedelta
from typing import Final

RETRY: Final = timedelta(hours=24)
"""For this long after the replacement was created, the same incident number is a retry."""
_HEX: Final = re.compile(r"[0-9a-f]{32}")
_SALT: Final = 12
_MARK: Final = 10
"""Hex digits. One in 2**40 other version ids would be mistaken for an emergency's."""


def emergency_version_id(arn: str, incident: str | None, seed: str) -> str:
    """Choose a version id, in the form of a UUID.

    :param arn: the secret's.
    :param incident: the incident number; ``None`` if there is none.
    :param seed: any text that was never used before, such as a random version id.
    """
    salt = _digest("salt", arn, seed)[:_SALT]
    for_incident = _digest("incident", arn, salt, incident) if incident else _digest("none", arn, salt, seed)
    text = salt + _digest("emergency", arn, salt)[:_MARK] + for_incident[:_MARK]
    return str(uuid.UUID(hex=text))


def made_in_emergency(arn: str, version_id: str | None) -> bool:
    """Whether an emergency revocation created a version of that secret."""
    text = (version_id or "").replace("-", "")
    if not _HEX.fullmatch(text):
        return False
    return text[_SALT : _SALT + _MARK] == _digest("emergency", arn, text[:_SALT])[:_MARK]


def made_for_incident(arn: str, incident: str | None, version_id: str | None) -> bool:
    """Whether an emergency revocation with that incident number created a version of that secret."""
    if not incident or version_id is None or not made_in_emergency(arn, version_id):
        return False
    text = version_id.replace("-", "")
    return text[_SALT + _MARK :] == _digest("incident", arn, text[:_SALT], incident)[:_MARK]


def is_retry(created_at: datetime, now: datetime) -> bool:
    """Whether the same incident number is still a retry; both times must be from the same clock."""
    return now - created_at <= RETRY


def _digest(*parts: str) -> str:
    # An argument that is not UTF-8 contains lone surrogates. It must not interrupt an emergency.
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
