"""What a command or a handler could have changed."""

from __future__ import annotations

from typing import Any

from rotator.sandbox.infobip import InfobipWorld


def state_of(infobip: InfobipWorld, secrets_manager: Any) -> tuple[Any, ...]:
    """Everything that a command or a handler could have changed, at a simulated Infobip and in moto."""
    keys = tuple(sorted((key.id, key.enabled, key.valid_to) for key in infobip.keys()))
    listed = secrets_manager.list_secrets(MaxResults=100, IncludePlannedDeletion=True)["SecretList"]
    found = {
        each["Name"]: sorted((v, *sorted(labels)) for v, labels in each.get("SecretVersionsToStages", {}).items())
        for each in listed
    }
    return keys, found
