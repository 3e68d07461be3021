"""What ``revoke --json`` and the handler of emergencies answer, by outcome."""

from __future__ import annotations

from typing import Any


def revoked(document: dict[str, Any], outcome: str = "done") -> list[str]:
    """The ids of keys with that outcome, in ``revoke --json`` or the handler's answer."""
    return [key["key_id"] for key in document["keys"] if key["outcome"] == outcome]


def replaced(document: dict[str, Any], outcome: str = "done") -> list[str]:
    """The secrets whose replacement has that outcome."""
    return [each["secret"] for each in document["replacements"] if each["outcome"] == outcome]
