"""The simulated Infobip's state: accounts, users, keys and their history, sessions, used quota, and options."""

from __future__ import annotations

import bisect
import ipaddress
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from rotator.model import Platform
from rotator.ports import Clock
from rotator.sandbox.exchange import ErrorStyle

LIMIT_PERIOD: Final = timedelta(hours=24)
"""The daily limits count creates and updates of the last 24 hours."""
SESSION_TIMEOUT: Final = timedelta(minutes=60)
"""A session ends after being idle for this long."""
MANAGE_ACCOUNT: Final = "account-management:manage"
DEFAULT_SCOPES: Final = frozenset(
    {
        MANAGE_ACCOUNT,
        "2fa:manage",
        "email:manage",
        "message:send",
        "numbers:manage",
        "sms:manage",
        "sms:message:send",
        "voice:manage",
        "whatsapp:manage",
        "whatsapp:message:send",
    }
)

value_observers: list[Callable[[str], None]] = []
"""Called with every secret text that any world creates, so that a test run can search its output for them."""


@dataclass(slots=True)
class Options:
    """Behaviour that Infobip's documents leave open, or that a test wants to be worse.

    :param reveal: reads return the real value; else a mask.
    :param propagation: how long a new key, or a change, takes to affect authentication.
    :param listing_delay: how long a new key takes to show in listings (it can be read by id at once).
    :param daily_creates: the most creates per account in 24 rolling hours, as ``daily_updates`` is of updates.
    :param retry_after: a 429 says how long to wait.
    :param name_contains: the undocumented ``name`` filter finds names that contain the text, in upper or lower case.
    :param list_sub_accounts: a list for no account in particular includes the keys of the user's sub-accounts.
    :param refuse_missing_account: an update of a sub-account's key without ``accountId`` is rejected; else the key gets
        the account of the calling user, as Infobip's description says.
    :param refuse_account: an update with ``accountId`` is rejected with this status.
    :param refuse_past_end: an update with a ``validTo`` that has passed is rejected.
    :param resources: paths that an API key can GET, with the scope that each needs.
    """

    reveal: bool = True
    error_style: ErrorStyle = ErrorStyle.DOCUMENTED
    propagation: timedelta = timedelta(0)
    listing_delay: timedelta = timedelta(0)
    daily_creates: int | None = 40
    daily_updates: int | None = 40
    retry_after: bool = False
    name_contains: bool = False
    list_sub_accounts: bool = False
    refuse_missing_account: bool = False
    refuse_account: int | None = None
    refuse_past_end: bool = False
    session_busy_status: int = 400
    resources: dict[str, str] = field(
        default_factory=lambda: {"/account/1/balance": MANAGE_ACCOUNT, "/sms/3/logs": "sms:manage"}
    )


@dataclass(frozen=True, slots=True)
class SimAccount:
    """An account; ``parent`` is the main account's id for a sub-account."""

    id: str
    name: str
    parent: str | None = None


@dataclass(slots=True)
class SimUser:
    """A user who can log in. Keys that are created without scopes get ``scopes``."""

    username: str
    password: str = field(repr=False)
    account_id: str = ""
    manages_keys: bool = True
    scopes: frozenset[str] = DEFAULT_SCOPES


@dataclass(frozen=True, slots=True)
class SimKey:
    """An API key, as it is at one moment; ``repr`` hides the value. Times are aware, in UTC, whole seconds."""

    id: str
    value: str = field(repr=False)
    account_id: str
    name: str
    created_at: datetime
    valid_from: datetime
    valid_to: datetime
    enabled: bool = True
    scopes: frozenset[str] = frozenset()
    permissions: frozenset[str] = frozenset({"PUBLIC_API"})
    allowed_ips: tuple[str, ...] = ()
    platform: tuple[Platform, ...] = ()

    def works(self, now: datetime, ip: str) -> bool:
        """Whether it authenticates from that address at that moment; an empty ``allowed_ips`` admits every address."""
        if not self.enabled or not self.valid_from <= now < self.valid_to:
            return False
        if not self.allowed_ips:
            return True
        address = ipaddress.ip_address(ip)
        ranges = map(ip_range, self.allowed_ips)
        return any(v == address.version and first <= int(address) <= last for v, first, last in ranges)


@dataclass(slots=True)
class Session:
    """An IBSSO session."""

    token: str = field(repr=False)
    username: str
    ip: str
    unsafe: bool
    last_used: datetime


@dataclass(frozen=True, slots=True)
class Token:
    """An OAuth2 access token."""

    token: str = field(repr=False)
    username: str
    expires_at: datetime


@dataclass(slots=True)
class LoggedCall:
    """One request in the world's log: no values, no query values, no headers.

    :param status: the status sent, or ``None`` if nothing was sent.
    :param principal: the caller, such as ``basic:ops`` or ``key:5737…``; ``""`` if unknown.
    :param params: names of the query's parameters.
    :param effect: whether the request reached the world's state, regardless of the response.
    """

    time: datetime
    method: str
    path: str
    remote_ip: str
    params: tuple[str, ...]
    status: int | None = None
    principal: str = ""
    effect: bool = False


class WorldState:
    """Everything mutable. Not thread safe: the world holds its lock around every use."""

    def __init__(self, clock: Clock, seed: int, options: Options) -> None:
        self.clock = clock
        self.options = options
        self.rng = random.Random(seed)  # noqa: S311 - values of a simulation, wanted the same in every run
        self.accounts: dict[str, SimAccount] = {}
        self.users: dict[str, SimUser] = {}
        self.keys: dict[str, SimKey] = {}
        self.by_account: dict[str, dict[str, SimKey]] = {}
        self.by_value: dict[str, str] = {}
        self.sessions: dict[str, Session] = {}
        self.tokens: dict[str, Token] = {}
        self.creates: dict[str, list[datetime]] = {}
        self.updates: dict[str, list[datetime]] = {}
        self.observers: list[Callable[[SimKey], None]] = []
        """Called with each new or changed key."""
        self.generation = 0
        """Grows with each change of a key. Results computed from all keys are valid until then."""
        self._tokens = random.Random(f"tokens {seed}")  # noqa: S311 - of their own: a login must not change later keys
        self._history: dict[str, list[tuple[datetime, SimKey]]] = {}

    def new_id(self) -> str:
        """Return 32 random upper-case hex digits, which do not sort by time."""
        return f"{self.rng.getrandbits(128):032X}"

    def new_value(self) -> str:
        """Return a key's value: 32 hex digits, a dash, a UUID."""
        tail = uuid.UUID(int=self.rng.getrandbits(128), version=4)
        return announced(f"{self.rng.getrandbits(128):032x}-{tail}")

    def new_token(self) -> str:
        """A session's or OAuth2 token."""
        return announced(str(uuid.UUID(int=self._tokens.getrandbits(128), version=4)))

    def store(self, key: SimKey, *, at_once: bool = False) -> SimKey:
        """Store a new or changed key; it affects authentication after the propagation time."""
        if (before := self.keys.get(key.id)) is not None and before.account_id != key.account_id:
            del self.by_account[before.account_id][key.id]
        effective = self.clock.now() + (timedelta(0) if at_once else self.options.propagation)
        self.keys[key.id] = key
        self.by_account.setdefault(key.account_id, {})[key.id] = key
        self.by_value[key.value] = key.id
        self._history.setdefault(key.id, []).append((effective, key))
        self.generation += 1
        for observer in tuple(self.observers):
            observer(key)
        return key

    def forget(self, key_id: str) -> None:
        """Remove a key, for authentication too."""
        self.generation += 1
        key = self.keys.pop(key_id)
        del self.by_account[key.account_id][key_id], self.by_value[key.value], self._history[key_id]

    def effective(self, value: str) -> SimKey | None:
        """Return the key with that value as authentication knows it now, or ``None`` if it is not known yet."""
        key_id = self.by_value.get(value)
        if key_id is None:
            return None
        now = self.clock.now()
        history = self._history[key_id]
        known = [key for since, key in history if since <= now]
        if not known:
            return None
        if len(known) > 1:  # superseded entries are never needed again, unless the clock goes back
            del history[: len(known) - 1]
        return known[-1]

    def used(self, log: dict[str, list[datetime]], account_id: str) -> int:
        """Return how many of ``log`` (creates or updates) fall into the last 24 hours."""
        times, now = log.get(account_id, []), self.clock.now()
        return bisect.bisect_right(times, now) - bisect.bisect_right(times, now - LIMIT_PERIOD)

    def count(self, log: dict[str, list[datetime]], account_id: str) -> None:
        """Add one to ``log``, now."""
        bisect.insort(log.setdefault(account_id, []), self.clock.now())

    def frees_in(self, log: dict[str, list[datetime]], account_id: str, limit: int) -> timedelta:
        """Return how long it takes until fewer than ``limit`` fall into the last 24 hours."""
        times = log.get(account_id, [])
        if not len(times) >= limit > 0:
            return LIMIT_PERIOD
        return max(timedelta(seconds=1), times[-limit] + LIMIT_PERIOD - self.clock.now())


def announced(value: str) -> str:
    """Report a secret text to every one of ``value_observers``, and return it."""
    for observer in tuple(value_observers):
        observer(value)
    return value


def default_permissions(platform: tuple[Platform, ...]) -> frozenset[str]:
    """Return a key's default permissions: none while it is linked to applications."""
    return frozenset() if platform else frozenset({"PUBLIC_API"})


def ip_range(text: str) -> tuple[int, int, int]:
    """Return IP version, first and last address of ``1.2.3.4``, ``1.2.3.0/24`` or ``1.2.3.4-1.2.3.9``.

    ``ValueError`` for anything else.
    """
    first, dash, last = text.partition("-")
    if dash:
        low, high = ipaddress.ip_address(first.strip()), ipaddress.ip_address(last.strip())
        if low.version != high.version or int(low) > int(high):
            raise ValueError("not a range of addresses")
        return low.version, int(low), int(high)
    network = ipaddress.ip_network(text, strict=False)
    return network.version, int(network[0]), int(network[-1])
