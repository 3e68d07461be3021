"""A world with the rotator that runs in it: a test of it runs at two levels, and each gives the same kind of result."""

from __future__ import annotations

from abc import abstractmethod
from datetime import timedelta
from typing import cast

from rotator.sandbox.state import SimKey
from tests.support.eyes import Eyes
from tests.support.faulty_infobip import FaultyInfobip
from tests.support.infobip_faults import InfobipFaults
from tests.support.moments import HOUR
from tests.support.swept import Swept
from tests.support.verbs import Verbs


class Rotator(Verbs, Eyes):
    """The engine in memory (``engine.py``), or the command line over HTTP (``tests/safety/harness.py``)."""

    environment: dict[str, str]
    """Its settings, as ``ROTATOR_…``."""

    @abstractmethod
    def label(self, name: str, label: str, version: str | None, remove_from: str | None = None) -> None:
        """Move a label, as any principal with write access can."""

    @abstractmethod
    def tag(self, name: str, **tags: str) -> None:
        """Set tags: ``value_field="x"`` is ``rotator:value-field``."""

    @abstractmethod
    def untag(self, name: str, *tags: str) -> None:
        """Remove tags, by their whole names."""

    @abstractmethod
    def sweep(self) -> Swept:
        """One sweep of everything; its document is that of ``run --json``."""

    @abstractmethod
    def plan(self) -> Swept:
        """What a sweep would do; its document is that of ``plan --json``."""

    @abstractmethod
    def rotate(self, name: str) -> SimKey:
        """Rotate a secret now; gives the new current key."""

    @abstractmethod
    def unreadable(self, name: str, unreadable: bool = True) -> None:
        """The value of that secret cannot be read by the rotator from now on, or can again."""

    def sweeps(self, count: int, every: timedelta = HOUR) -> list[Swept]:
        """That many sweeps, each after that time."""
        found = []
        for _ in range(count):
            self.pass_time(every)
            found.append(self.sweep())
        return found

    @property
    def faults(self) -> InfobipFaults:
        """What Infobip does wrong."""
        return InfobipFaults(cast(FaultyInfobip, self.infobip))

    def enabled(self) -> dict[str, SimKey]:
        return {key.id: key for key in self.infobip.keys() if key.enabled}

    def rotator_keys(self) -> list[SimKey]:
        """Every key that a rotator named, oldest first."""
        return [key for key in self.infobip.keys() if "/rotator:" in key.name]

    def calls(self) -> list[str]:
        """Method, path and the names of the parameters of every request that Infobip got."""
        return [" ".join([call.method, call.path, *call.params]) for call in self.infobip.calls]
