"""What the simulated Infobip knows: accounts, users, keys, sessions, options."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from rotator.model import Platform
from rotator.sandbox.json_bodies import ErrorStyle

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


class Role(StrEnum):
    """A user's role; only the first two may manage keys."""

    ACCOUNT_MANAGER = "account-manager"
    INTEGRATIONS_MANAGER = "integrations-manager"
    NONE = "none"


class NameFilter(StrEnum):
    """How the undocumented ``name`` filter compares."""

    EXACT = "exact"
    CONTAINS = "contains"


@dataclass(slots=True)
class Options:
    """How this world behaves where Infobip's documents leave it open, or where a test wants it worse.

    :param reveal: reads return the real value; else a mask.
    :param error_style: the shape of errors.
    :param propagation: how long a new key, or a change, takes to matter for authentication.
    :param listing_delay: how long a new key takes to show in listings (it can be read by id at once).
    :param daily_creates: successful creates an account in 24 rolling hours; ``None`` is without limit.
    :param daily_updates: successful updates an account in 24 rolling hours; ``None`` is without limit.
    :param per_second: requests an operation and account in one second; ``None`` is without limit.
    :param retry_after: a 429 says how long to wait.
    :param name_limit: characters that a key's name may have.
    :param name_filter: how the ``name`` filter compares.
    :param empty_scopes_get_all: an empty list of scopes in a create is as good as none: all scopes of the user.
    :param refuse_past_end: an update with a ``validTo`` that has passed is refused.
    :param api_key_refusal: status with which management operations refuse a good API key (401 or 403).
    :param session_busy_status: status with which a second session is refused.
    :param session_idle: after how much idleness a session ends.
    :param token_lifetime: how long an OAuth2 token lives.
    :param resources: paths that an API key can GET, with the scope that each needs.
    """

    reveal: bool = True
    error_style: ErrorStyle = ErrorStyle.DOCUMENTED
    propagation: timedelta = timedelta(0)
    listing_delay: timedelta = timedelta(0)
    daily_creates: int | None = 40
    daily_updates: int | None = 40
    per_second: int | None = None
    retry_after: bool = False
    name_limit: int = 255
    name_filter: NameFilter = NameFilter.EXACT
    empty_scopes_get_all: bool = True
    refuse_past_end: bool = False
    api_key_refusal: int = 401
    session_busy_status: int = 400
    session_idle: timedelta = timedelta(minutes=60)
    token_lifetime: timedelta = timedelta(hours=1)
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
    """Somebody who logs in. ``scopes`` are what keys get that are created without any."""

    username: str
    password: str = field(repr=False)
    account_id: str = ""
    role: Role = Role.ACCOUNT_MANAGER
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
        """Whether it authenticates from that address at that moment."""
        return self.enabled and self.valid_from <= now < self.valid_to and self.admits(ip)

    def admits(self, ip: str) -> bool:
        """Whether ``allowed_ips`` lets that address in; an empty list lets everybody in."""
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


@dataclass(frozen=True, slots=True)
class Call:
    """One request in the world's log: no values, no query values, no headers.

    :param status: what was sent, or ``None`` where nothing was (dropped, killed).
    :param principal: who it was, such as ``basic:ops`` or ``key:5737…``; ``""`` where unknown.
    :param params: names of the query's parameters.
    :param effect: whether the request reached the world's state, whatever the caller was told.
    """

    time: datetime
    method: str
    path: str
    status: int | None
    principal: str
    remote_ip: str
    params: tuple[str, ...] = ()
    effect: bool = True


def ip_range(text: str) -> tuple[int, int, int]:
    """IP version, first and last address of ``1.2.3.4``, ``1.2.3.0/24`` or ``1.2.3.4-1.2.3.9``.

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
