"""The context for acting on one account: its ports, its settings, and what is left of its daily budget."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from rotator.audit_events import Event
from rotator.durations import human_duration
from rotator.engine.probing import probe_until
from rotator.errors import StateChanged
from rotator.model import AccountSnapshot, Key, Policy, SecretEntry, Spec
from rotator.plan import Action, ActionKind
from rotator.policy.clock_skew import MAX_SKEW
from rotator.policy.daily_limit import UsedSlots, free_soon
from rotator.ports import AuditSink, Clock, EventSink, KeyProvider, Probe, ProbeVerdict, ReaderLog, SecretStore
from rotator.reasons import Reason
from rotator.secret import Secret
from rotator.telemetry.audit import change
from rotator.telemetry.consumer_events import publish
from rotator.telemetry.metrics import Metrics

LONGEST_WAIT: Final = timedelta(minutes=1)
"""How long a create waits for a slot that is about to become free."""


Connect = Callable[..., KeyProvider]
"""Makes a provider from a management secret's entry and value; ``ConfigurationError`` if the value cannot be used.

With ``auth="…"``, that method is used instead of the configured one. With ``emergency=True``, Basic with the same
credentials follows a failed login: a session that another process holds must not keep a leaked key enabled.
"""


@dataclass
class Services:
    """The services that all accounts share.

    :param new_version_id: chooses version ids; passed in, so that a simulation is reproducible.
    :param may_start: whether a sweep may begin one more action; false if the process will soon be stopped.
    :param metrics: where sweeps are measured, if anywhere.
    :param readers: the access log; read only for secrets with the tag ``rotator:gate``.
    :param where: the region or stores whose secrets are listed, for messages.
    :param previous: when this process's previous sweep began, if it knows; else sweeps come every ``sweep_every``.
    """

    store: SecretStore
    connect: Connect
    audit: AuditSink
    events: EventSink
    clock: Clock
    policy: Policy
    new_version_id: Callable[[], str] = lambda: str(uuid.uuid4())
    may_start: Callable[[], bool] = lambda: True
    metrics: Metrics | None = None
    readers: ReaderLog | None = None
    previous: datetime | None = None
    where: str = "this AWS account and region"


@dataclass
class Limit:
    """What is left of a daily limit for scheduled work.

    :param free: when each slot that is left is free, by Infobip's clock, in order.
    :param taken: how many were taken so far.
    """

    free: list[datetime]
    taken: int = 0

    def take(self, now: datetime) -> timedelta | None:
        """Use a slot; ``None`` when none is left, else how long to wait until it is free."""
        wait = max(timedelta(0), self.free[0] - now) if self.free else None
        if wait is None or wait > LONGEST_WAIT:
            return None
        del self.free[0]
        self.taken += 1
        return wait


@dataclass
class Budget:
    """The creates and updates left to scheduled work; ``None`` is no limit (an operator's command or an emergency).

    Names of one and the same account at Infobip share one. Thread safe.

    :param total: how many keys the account had when its quota was counted: keys are never deleted, so more of them
        than this run created since were created by others.
    """

    creates: Limit | None = None
    updates: Limit | None = None
    total: int | None = None
    _created: int = 0
    _by_others: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @staticmethod
    def of(slots: UsedSlots, policy: Policy, now: datetime, total: int | None = None) -> Budget:
        """Return what the day's limits leave to scheduled work, including slots that are free soon."""
        free = [free_soon(used, policy, now) for used in (slots.creates, slots.updates or ())]
        most = slots.most(policy, now)
        if most is not None:
            limited = zip(free, most, strict=True)
            free = [each if len(each) <= at_most else [now] * at_most for each, at_most in limited]
        creates, updates = map(Limit, free)
        return Budget(creates, updates, total)

    def take_create(self, now: datetime, total: int | None = None) -> timedelta | None:
        """Use one create; ``None`` when none is left, else how long to wait until its slot is free.

        :param total: how many keys the account has now, if they were counted.
        """
        with self._lock:
            if self.creates is None:
                return timedelta(0)
            if total is not None and self.total is not None:
                others = max(0, total - self.total - self._created)
                del self.creates.free[: max(0, others - self._by_others)]  # others take those that are free first
                self._by_others = max(self._by_others, others)
            wait = self.creates.take(now)
            self._created += wait is not None
            return wait

    def has_update(self) -> bool:
        """Whether an update is left."""
        return self.updates is None or bool(self.updates.free)

    def take_update(self, now: datetime) -> timedelta | None:
        """Use one update; ``None`` when none is left, else how long to wait until its slot is free."""
        with self._lock:
            return timedelta(0) if self.updates is None else self.updates.take(now)


def limit_used_up(slots: str, undone: str) -> StateChanged:
    """The error for work that waits for a slot of the daily limit.

    :param slots: ``creates`` or ``updates``.
    :param undone: what was not done, as a clause.
    """
    text = f"the daily limit of {slots} is used up; {undone} yet"
    return StateChanged(text, advice="The next sweep retries.", reason=Reason.DAILY_LIMIT)


@dataclass(frozen=True)
class InfobipClock:
    """Infobip's clock, for expiry, grace periods and the day's limits: this machine's clock plus the skew."""

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
        """The time by Infobip's clock, for a step that must not be taken with a wrong clock.

        :raises StateChanged: this machine's clock differs too much from Infobip's; it may have been set a moment ago.
        """
        skew = self.provider.skew()
        if skew is not None and abs(skew) > MAX_SKEW:
            raise StateChanged(
                f"this machine's clock differs by {human_duration(abs(skew))} from Infobip's; nothing was changed",
                advice="Sync the clock with NTP; the next sweep continues.",
            )
        return self.now()

    def use_create(self) -> bool:
        """Use one create of the day's limit, once its slot is free; false if none is left.

        :raises ProviderError: the keys that others created meanwhile can't be counted.
        """
        total = self.provider.count_keys() if self.budget.creates is not None else None
        return self._wait(self.budget.take_create(self.now(), total))

    def use_update(self) -> bool:
        """Use one update of the day's limit, once its slot is free; false if none is left."""
        return self._wait(self.budget.take_update(self.now()))

    def _wait(self, length: timedelta | None) -> bool:
        if length is not None:
            self.services.clock.sleep(length.total_seconds())
        return length is not None

    def revoke_at(self, grace: timedelta) -> datetime:
        """When a grace period that begins now is over.

        :raises StateChanged: this machine's clock differs too much from Infobip's.
        """
        # Infobip shows whole seconds: if the clocks differ, its time may be up to a second later.
        return self.checked_now() + grace + timedelta(seconds=1 if self.provider.skew() else 0)

    def verify(self, spec: Spec, value: Secret, until: datetime | None = None, /, **fields: object) -> Probe | None:
        """Use a key, and write the result to the audit; ``None`` if ``rotator:verify`` is ``skip``.

        :param until: until when it may be too new to authenticate; by default it is used once.
        """
        if not spec.verify:
            self.emit(Event.KEY_VERIFIED, "success", **fields, detail="not probed: rotator:verify=skip")
            return None
        clock, wanted = self.services.clock, ProbeVerdict.AUTHENTICATES
        found = probe_until(self.provider, clock, value, spec.verify_path, wanted, until or clock.now())
        if found.verdict is wanted:
            self.emit(Event.KEY_VERIFIED, "success", **fields, detail=found.detail)
        else:
            self.emit(Event.KEY_VERIFIED, "failure", **fields, error=found.detail)
        return found

    def revoke(self, key: Key, fields: Mapping[str, Any]) -> None:
        """Revoke a key, and write that to the audit. Its expiry is set too, so that the next sweep counts the update.

        An expired key gets a new expiry as well: the call counts against Infobip's limit, so it must show.
        """
        expiry = self.now().replace(microsecond=0)
        if key.valid_from is not None and expiry <= key.valid_from:
            expiry = key.valid_from + timedelta(seconds=1)
        with self.change(Event.KEY_REVOKED, **fields):
            self.provider.revoke_key(key, expiry)

    # ---- for the record ---------------------------------------------------------------------------------------------

    def action(
        self, kind: ActionKind, reason: Reason, entry: SecretEntry, key_id: str | None, version_id: str | None
    ) -> Action:
        """An action on one secret, due now."""
        return Action(
            kind,
            self.account,
            entry.name,
            reason,
            self.now(),
            key_id=key_id,
            version_id=version_id,
            arn=entry.arn,
            location=entry.location,
        )

    def change(self, event: Event, **fields: Any) -> AbstractContextManager[dict[str, Any]]:
        """Audit a change: its intent before it and its result after it; see :func:`~rotator.telemetry.audit.change`."""
        return change(self.services.audit, event, account=self.account, **fields)

    def emit(self, event: Event, outcome: str, **fields: Any) -> None:
        """Write one audit line."""
        self.services.audit.emit(event, outcome, account=self.account, **fields)

    def publish(self, detail_type: str, **fields: Any) -> None:
        """Send consumers an event; if that fails, the work does not."""
        publish(self.services.events, detail_type, account=self.account, **fields)
