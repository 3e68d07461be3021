"""A small example fleet: one account, eight managed secrets, one of each sort that an operator meets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from rotator.sandbox.aws import create_managed, create_management
from rotator.sandbox.infobip import InfobipWorld
from rotator.sandbox.state import MANAGE_ACCOUNT, SimAccount, SimKey, SimUser

ACCOUNT: Final = "main"
FOREIGN_KEY: Final = "made by hand in the portal"


@dataclass(frozen=True, slots=True)
class Example:
    """One managed secret of the example.

    :param age: days since its key was created; ``None``: it has no value yet.
    :param left: days until its key ends.
    :param adopted: whether its version has the key's label already.
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
    Example("prod/sms/otp", 86, 4, ("sms:manage", "2fa:manage")),
    Example("prod/billing/sms", 40, 50, ("sms:manage",), tags={"grace": "24h"}),
    Example("prod/voice/alerts", 20, 70, ("voice:manage",), adopted=False, plain=True),
    Example("prod/whatsapp/bot", 65, 25, ("whatsapp:manage",), tags={"window": "Mon-Fri 09:00-17:00 Europe/Zagreb"}),
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
class Fleet:
    """What was seeded: the account, its user, the keys by secret name, and a key that belongs to nobody here."""

    account: SimAccount
    user: SimUser
    keys: Mapping[str, SimKey]
    foreign: SimKey


def seed(world: InfobipWorld, client: Any, infobip_url: str, *, auth: str = "basic") -> Fleet:
    """Make the example fleet in an empty world and an empty Secrets Manager.

    :param client: a boto3 Secrets Manager client.
    """
    account = world.add_account(ACCOUNT)
    user = world.add_user(account, "ops-rotator")
    create_management(client, ACCOUNT, base_url=infobip_url, username=user.username, password=user.password, auth=auth)
    keys = {}
    for example in EXAMPLES:
        key = None if example.age is None else _key(world, account, example)
        if key is not None:
            keys[example.name] = key
        create_managed(
            client,
            example.name,
            ACCOUNT,
            None if key is None else _value(key, example, infobip_url),
            key_id=key.id if key is not None and example.adopted else None,
            tags=example.tags,
        )
    foreign = world.add_key(account, FOREIGN_KEY, scopes=(MANAGE_ACCOUNT,))
    return Fleet(account, user, keys, foreign)


def _key(world: InfobipWorld, account: SimAccount, example: Example) -> SimKey:
    now = world.clock.now().replace(microsecond=0)
    return world.add_key(
        account,
        example.name,
        scopes=example.scopes,
        created_at=now - timedelta(days=example.age or 0),
        valid_to=now + timedelta(days=example.left),
    )


def _value(key: SimKey, example: Example, infobip_url: str) -> str:
    if example.plain:
        return key.value
    value = {example.field: key.value, "sender": "Example"}
    if example.adopted:
        value |= {"key_id": key.id, "expires_at": f"{key.valid_to:%Y-%m-%dT%H:%M:%SZ}", "base_url": infobip_url}
    return json.dumps(value)
