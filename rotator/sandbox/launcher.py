"""``rotator sandbox``: a simulated Infobip and Secrets Manager with one clock, and an example fleet."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self

from rotator.errors import ConfigurationError
from rotator.sandbox.aws import MotoServer, create_managed, create_management, environment
from rotator.sandbox.clocks import OffsetClock
from rotator.sandbox.infobip import InfobipWorld
from rotator.sandbox.server import InfobipServer
from rotator.sandbox.state import MANAGE_ACCOUNT, SimAccount, SimKey, SimUser

ACCOUNT: Final = "main"
UNMANAGED_KEY: Final = "made by hand in the portal"
"""The name of a key that belongs to no secret here."""


@dataclass(frozen=True, slots=True)
class Example:
    """One managed secret of the example.

    :param age: days since its key was created; ``None``: it has no value yet.
    :param left: days until its key expires.
    :param adopted: whether its version already has the key's label.
    :param plain: whether its value is the key itself rather than JSON.
    """

    name: str
    age: float | None
    left: float
    scopes: tuple[str, ...]
    adopted: bool = True
    plain: bool = False
    field: str = "api_key"
    tags: Mapping[str, str] | None = None


EXAMPLES: Final = (
    Example("prod/sms/otp", 86, 4, ("sms:manage", "2fa:manage"), tags={"rotate-before": "4d"}),
    Example("prod/billing/sms", 40, 50, ("sms:manage",), tags={"grace": "24h"}),
    Example("prod/voice/alerts", 20, 70, ("voice:manage",), adopted=False, plain=True),
    Example("prod/whatsapp/bot", 61, 29, ("whatsapp:manage",), tags={"window": "Mon-Fri 09:00-17:00 Europe/Zagreb"}),
    Example(
        "prod/email/news",
        364,
        1,
        ("email:manage",),
        adopted=False,
        field="token",
        tags={"value-field": "token", "validity": "60d"},
    ),
    Example("prod/marketing", 80, 10, ("sms:manage",), tags={"hold": "audit freeze until 1 Dec"}),
    Example("prod/legacy", 30, 60, ("sms:manage",), tags={"grace": "soon"}),
    Example("prod/new", None, 0, (), tags={"scopes": "sms:manage sms:message:send"}),
)


@dataclass(frozen=True, slots=True)
class ExampleFleet:
    """The seeded account, its user, and the keys by secret name."""

    account: SimAccount
    user: SimUser
    keys: Mapping[str, SimKey]


def seed(world: InfobipWorld, client: Any, infobip_url: str) -> ExampleFleet:
    """Make the example fleet in an empty world and an empty Secrets Manager.

    :param client: a boto3 Secrets Manager client.
    """
    account = world.add_account(ACCOUNT)
    user = world.add_user(account, "ops-rotator")
    create_management(client, ACCOUNT, base_url=infobip_url, username=user.username, password=user.password)
    now = world.clock.now().replace(microsecond=0)
    keys = {}
    for example in EXAMPLES:
        if example.age is None:
            create_managed(client, example.name, ACCOUNT, tags=example.tags)
            continue
        key = world.add_key(
            account,
            example.name,
            scopes=example.scopes,
            created_at=now - timedelta(days=example.age),
            valid_to=now + timedelta(days=example.left),
        )
        value = {example.field: key.value, "sender": "Example"}
        if example.adopted:
            value |= {"key_id": key.id, "expires_at": f"{key.valid_to:%Y-%m-%dT%H:%M:%SZ}", "base_url": infobip_url}
        create_managed(
            client,
            example.name,
            ACCOUNT,
            key.value if example.plain else json.dumps(value),
            key_id=key.id if example.adopted else None,
            tags=example.tags,
        )
        keys[example.name] = key
    world.add_key(account, UNMANAGED_KEY, scopes=(MANAGE_ACCOUNT,))
    return ExampleFleet(account, user, keys)


class Sandbox:
    """A context manager with both servers and the example fleet.

    :param clock: the clock of both; by default the machine's with a movable offset.
    :param port: of the simulated Infobip; Secrets Manager gets the next one. 0 means any free ports.
    """

    fleet: ExampleFleet

    def __init__(self, *, clock: OffsetClock | None = None, world_seed: int = 1, port: int = 0) -> None:
        self.clock = clock or OffsetClock()
        self.world = InfobipWorld(self.clock, seed=world_seed)
        self.infobip = InfobipServer(self.world, port=port)
        self.aws = MotoServer(self.clock, port=port + 1 if port else 0)
        self._stack = contextlib.ExitStack()

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for the command line."""
        return environment(self.aws.url)

    def client(self) -> Any:
        """A boto3 Secrets Manager client."""
        return self.aws.client()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.aws)
            stack.enter_context(self.infobip)
            self.fleet = seed(self.world, self.client(), self.infobip.url)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, tb)


def serve_sandbox(port: int | None, stop: threading.Event, *, ready: Callable[[Sandbox], None]) -> None:
    """Run a sandbox until ``stop`` is set.

    :param port: of the simulated Infobip (Secrets Manager gets the next one); ``None`` means any free ports.
    :param ready: called once, when both servers respond.

    ``ConfigurationError`` if a port is taken or moto is missing.
    """
    if port is not None and not 0 < port < 65535:
        raise ConfigurationError(f"port {port} can't be used", advice="Use one from 1024 to 65534.")
    try:
        with Sandbox(port=port or 0) as sandbox:
            ready(sandbox)
            stop.wait()
    except OSError as e:
        where = f"port {port} or {port + 1}" if port is not None else "a free port"
        raise ConfigurationError(
            f"the sandbox can't listen on {where} ({e.strerror or type(e).__name__})",
            advice="Use another --port.",
        ) from None
