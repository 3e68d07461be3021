"""What acting on one account needs: its ports, its settings, and what is left of its daily budget."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from rotator.core.durations import human_duration
from rotator.core.guards import DAY, MAX_SKEW, Slots
from rotator.core.model import AccountSnapshot, Policy, SecretEntry
from rotator.core.secret import Secret
from rotator.errors import Changed
from rotator.ports import AuditSink, Clock, EventSink, KeyProvider, Metrics, ReaderLog, SecretStore
from rotator.telling import tell

LONGEST_WAIT: Final = timedelta(minutes=1)
"""How long a create waits for a slot that is about to become free."""


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
    """What scheduled work may still do today; ``None`` is no limit (an operator's command or an emergency).

    Accounts that turn out to be one and the same at Infobip share one. Thread safe.

    :param frees: when slots of creates become free that are still taken, by Infobip's clock, in order.
    :param total: how many keys the account had when its quota was counted: keys are never deleted, so more of them
        than this run created since were created by others.
    """

    creates: int | None = None
    updates: int | None = None
    frees: list[datetime] = field(default_factory=list)
    total: int | None = None
    _created: int = 0
    _by_others: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @staticmethod
    def of(slots: Slots, policy: Policy, now: datetime, total: int | None = None) -> Budget:
        """What the day's limits leave to scheduled work; slots that are free soon are waited for."""
        free, soon = slots.quota(policy), slots.planned(policy, now)
        # Where the reserve is in use, the slots that become free first are the reserve's.
        first = max(0, free.creates_used - (policy.daily_limit - policy.reserve))
        frees = sorted(at + DAY for at in slots.creates)[first:][: soon.creates_left - free.creates_left]
        return Budget(soon.creates_left, soon.updates_left, frees, total)

    @property
    def limited(self) -> bool:
        """Whether there is a limit to keep."""
        return self.creates is not None

    def take_create(self, now: datetime, total: int | None = None) -> timedelta | None:
        """Use one create; ``None`` when none is left, else how long to wait until its slot is free.

        :param total: how many keys the account has now, where that was asked.
        """
        with self._lock:
            if self.creates is None:
                return timedelta(0)
            if total is not None and self.total is not None:
                others = max(0, total - self.total - self._created)
                self.creates -= max(0, others - self._by_others)
                self._by_others = max(self._by_others, others)
            if self.creates <= 0:
                return None
            wait = timedelta(0)
            if self.creates <= len(self.frees):
                wait = max(wait, self.frees[-self.creates] - now)  # the earlier ones are taken, by others if not by us
                if wait > LONGEST_WAIT:
                    return None
            self.creates -= 1
            self._created += 1
            return wait

    def take_update(self) -> bool:
        """Use one update; false when none is left."""
        with self._lock:
            if self.updates is None:
                return True
            self.updates -= 1
            return self.updates >= 0


@dataclass(frozen=True)
class InfobipClock:
    """Infobip's clock, by which expiry, grace and the day's limits are measured: this machine's, and its skew."""

    clock: Clock
    provider: KeyProvider

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        return self.clock.now() + (self.provider.skew() or timedelta(0))

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment."""
        return self.clock.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait that many seconds."""
        self.clock.sleep(seconds)


@dataclass
class AccountContext:
    """One account, while it is being worked on. The clock of its services is Infobip's."""

    services: Services
    provider: KeyProvider
    snapshot: AccountSnapshot
    budget: Budget

    def __post_init__(self) -> None:
        if not isinstance(self.services.clock, InfobipClock):
            self.services = replace(self.services, clock=InfobipClock(self.services.clock, self.provider))

    @property
    def account(self) -> str:
        """The account's name, as its tags say it."""
        return self.snapshot.account

    def now(self) -> datetime:
        """The time by Infobip's clock."""
        return self.services.clock.now()

    def checked_now(self) -> datetime:
        """The same, right before something is done that a wrong clock must not do.

        :raises Changed: this machine's clock differs too much from Infobip's; it may have been set a moment ago.
        """
        skew = self.provider.skew()
        if skew is not None and abs(skew) > MAX_SKEW:
            raise Changed(
                f"this machine's clock differs by {human_duration(abs(skew))} from Infobip's; nothing was changed",
                advice="Set the clock (NTP); the next sweep goes on.",
            )
        return self.now()

    def revoke_at(self, grace: timedelta) -> datetime:
        """When a grace period that begins now is over.

        :raises Changed: this machine's clock differs too much from Infobip's.
        """
        # Infobip tells whole seconds: where the clocks differ, it may be that much later there.
        return self.checked_now() + grace + timedelta(seconds=1 if self.provider.skew() else 0)

    def tell(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        """Tell consumers; failing to is never a failure of the work."""
        tell(self.services.events, detail_type, **{"account": self.account, **detail})
