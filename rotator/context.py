"""What acting on one account needs: its ports, its settings, and what is left of its daily budget."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from rotator.core.model import AccountSnapshot, Policy, Quota, SecretEntry
from rotator.core.secret import Secret
from rotator.ports import AuditSink, Clock, EventSink, KeyProvider, Metrics, ReaderLog, SecretStore
from rotator.telling import tell


class Connect(Protocol):
    """Makes a provider from a management secret's entry and value."""

    def __call__(self, entry: SecretEntry, text: Secret, /, *, emergency: bool = False) -> KeyProvider:
        """Make it.

        :param emergency: where a login fails, Basic is used with the same credentials: a session that another process
            holds must not keep a leaked key enabled.
        :raises ConfigurationError: the value cannot be used.
        """
        ...


def random_version_id() -> str:
    """A version id (``ClientRequestToken``): a UUID, as AWS's SDKs choose it."""
    return str(uuid.uuid4())


def always() -> bool:
    """There is time enough."""
    return True


@dataclass
class Services:
    """What every account shares.

    :param new_version_id: chooses version ids; passed in, so that a simulation is reproducible.
    :param may_start: whether a sweep may begin one more action; false where the process will soon be stopped.
    :param metrics: where sweeps are measured, if anywhere.
    :param readers: tells who read a secret; asked only for secrets with the tag ``rotator:gate``.
    """

    store: SecretStore
    connect: Connect
    audit: AuditSink
    events: EventSink
    clock: Clock
    policy: Policy
    new_version_id: Callable[[], str] = random_version_id
    may_start: Callable[[], bool] = always
    metrics: Metrics | None = None
    readers: ReaderLog | None = None


@dataclass
class Budget:
    """What scheduled work may still do today; ``None`` is no limit (an operator's command or an emergency)."""

    creates: int | None = None
    updates: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @staticmethod
    def of(quota: Quota) -> Budget:
        """What a quota leaves to scheduled work."""
        return Budget(quota.creates_left, quota.updates_left)

    def take_create(self) -> bool:
        """Use one creation; false when none is left."""
        with self._lock:
            if self.creates is None:
                return True
            self.creates -= 1
            return self.creates >= 0

    def take_update(self) -> bool:
        """Use one update; false when none is left."""
        with self._lock:
            if self.updates is None:
                return True
            self.updates -= 1
            return self.updates >= 0


@dataclass
class AccountContext:
    """One account, while it is being worked on."""

    services: Services
    provider: KeyProvider
    snapshot: AccountSnapshot
    budget: Budget

    @property
    def account(self) -> str:
        """The account's name, as its tags say it."""
        return self.snapshot.account

    def tell(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        """Tell consumers; failing to is never a failure of the work."""
        tell(self.services.events, detail_type, **{"account": self.account, **detail})
