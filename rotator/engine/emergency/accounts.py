"""Connections to Infobip accounts, each management secret read once however often an emergency connects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rotator.engine.context import Services
from rotator.engine.observe import Fleet, management_of
from rotator.ports import KeyProvider
from rotator.secret import Secret


class Accounts:
    """Makes providers; in an emergency every call before the one that ends the key counts."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._texts: dict[str, Secret] = {}

    @contextmanager
    def connected(self, fleet: Fleet, account: str) -> Iterator[KeyProvider]:
        """A provider for the time of a ``with`` block.

        :raises RotatorError: no or several management secrets, or one that can't be read or used.
        """
        entry = management_of(fleet, account)
        text = self._texts.get(entry.arn)
        if text is None:
            text = self._texts[entry.arn] = self._services.store.read_current(entry.arn).text
        provider = self._services.connect(entry, text, emergency=True)
        try:
            yield provider
        finally:
            provider.close()
