"""What a test sees of a world, in memory or over HTTP: the labels of its secrets, and which keys work."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any, cast

from rotator.sandbox.clocks import OffsetClock
from rotator.sandbox.infobip import InfobipWorld
from rotator.sandbox.state import SimAccount, SimKey


class Eyes(ABC):
    """Looks at an Infobip and the secrets of one Secrets Manager; changes nothing."""

    infobip: InfobipWorld
    clock: OffsetClock

    @abstractmethod
    def labels(self, name: str) -> dict[str, set[str]]:
        """The labels by version; versions without any are left out."""

    @abstractmethod
    def text(self, name: str) -> str:
        """What a consumer reads."""

    def every_label(self, name: str) -> set[str]:
        """Of all its versions."""
        return {label for labels in self.labels(name).values() for label in labels}

    def version_of(self, name: str, key: SimKey) -> str:
        """The version that carries a key's label."""
        return next(version for version, labels in self.labels(name).items() if f"rotator:key:{key.id}" in labels)

    def current_version(self, name: str) -> str:
        """The one in ``AWSCURRENT``."""
        return next(version for version, labels in self.labels(name).items() if "AWSCURRENT" in labels)

    def value(self, name: str) -> dict[str, Any]:
        """The JSON that a consumer reads."""
        return cast(dict[str, Any], json.loads(self.text(name)))

    def current_value(self, name: str, value_field: str = "api_key") -> str:
        """The key that a consumer finds in a secret."""
        text = self.text(name)
        return str(json.loads(text)[value_field]) if text.startswith("{") else text

    def current_key(self, name: str, value_field: str = "api_key") -> SimKey:
        """The key at Infobip that a consumer reads."""
        key = self.infobip.key_of(self.current_value(name, value_field))
        assert key is not None
        return key

    def works(self, *keys: SimKey) -> bool:
        """Whether a consumer that has any of these keys' values gets in now."""
        return any(self.infobip.authenticates(key.value) for key in keys)

    def consumer_works(self, name: str) -> bool:
        """Whether a consumer that reads the secret now gets in."""
        return self.infobip.authenticates(self.current_value(name))

    def live(self, account: SimAccount | str | None = None) -> list[SimKey]:
        """Every key that authenticates now, of an account or of all."""
        now, accounts = self.clock.now(), self.infobip.state.accounts
        keys = [key for key in self.infobip.keys() if key.enabled and key.valid_to > now]
        return [key for key in keys if account in (None, of := accounts[key.account_id], of.name)]
