"""A world of two Infobip accounts, each with a host of its own, and what the rotator does there.

``main`` has ``SMS`` and ``VOICE``, ``other`` has ``MAIL``. A host serves the users and the keys of its own account, and
of that one's sub-accounts, so a key of another account is refused there as an unknown one is.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

from rotator.engine.emergency import EmergencyReport, Strategy
from rotator.engine.rotate_now import rotate_now
from rotator.engine.sweep import Sweep
from rotator.infobip.client import InfobipClient
from rotator.infobip.credentials import parse_credentials
from rotator.model import SecretEntry
from rotator.ports import KeyProvider
from rotator.sandbox.exchange import Drop, Request, Response
from rotator.sandbox.infobip import InfobipWorld
from rotator.sandbox.state import SimKey, SimUser
from rotator.secret import Secret
from tests import emergencies, leaks
from tests.chaos.worlds import CREATE, MINUTE, PROBE, SMS, TOKEN, VOICE, four_steps, kill_sweep_at, roll_back
from tests.doubles.in_process import InProcessAdapter
from tests.world import DAY, HOUR, World

MAIN, OTHER = "main", "other"
MAIL = "prod/mail"


def user_of(request: Request) -> str:
    """The user who sends a request with Basic authentication; ``""`` for any other."""
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    return base64.b64decode(value).decode().partition(":")[0] if kind == "Basic" else ""


@dataclass(frozen=True)
class Host:
    """One account's base URL."""

    infobip: InfobipWorld
    account_id: str

    @property
    def clock(self) -> Any:
        """The world's."""
        return self.infobip.clock

    def handle(self, request: Request) -> Response | Drop:
        """Answer as the account's own host does: the credentials of another account are unknown here."""
        if self._is_known(request):
            return self.infobip.handle(request)
        return self.infobip.handle(replace(request, headers={**request.headers, "authorization": "App unknown"}))

    def _is_known(self, request: Request) -> bool:
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        if kind == "App":
            key = self.infobip.key_of(value)
            owner = None if key is None else key.account_id
        else:
            user = self.infobip.state.users.get(user_of(request))
            owner = None if user is None else user.account_id
        account = self.infobip.state.accounts.get(owner or "")
        return account is not None and self.account_id in (account.id, account.parent)


class TwoAccounts(World):
    """Two accounts.

    :param parent: ``main`` is a sub-account of ``other``, whose users see its keys too.
    """

    def __init__(self, *, parent: bool = False) -> None:
        super().__init__()
        other = self._add(OTHER, None)
        self._add(MAIN, other if parent else None)

    def _add(self, name: str, parent: str | None) -> str:
        account = self.infobip.add_account(name, parent=parent)
        self.accounts[name] = account.id
        self.management(self.infobip.add_user(account, f"ops-{name}"), name)
        return account.id

    def management(self, user: SimUser, account: str = MAIN, **other: str) -> None:
        """With the account's own host."""
        super().management(user, account, base_url=f"https://{account}.api.infobip.com", **other)

    def connect(self, entry: SecretEntry, text: Secret, /, *, emergency: bool = False) -> KeyProvider:
        """The real client, its connections ending at the host that the credentials name."""
        credentials = parse_credentials(entry.name, text)
        name = (urlsplit(credentials.base_url).hostname or "").partition(".")[0]
        host = cast("InfobipWorld", Host(self.infobip, self.accounts[name]))
        return InfobipClient(
            credentials,
            self.clock,
            redactor=self.redactor,
            rng=random.Random(self.rng.random()),
            adapters=lambda: InProcessAdapter(host),
            fall_back_to_basic=emergency,
        )

    def add_key(self, account: str = MAIN, name: str = "made in the portal") -> SimKey:
        """A key that no secret holds."""
        key = self.infobip.add_key(self.accounts[account], name)
        leaks.register(str(key.value))
        return key


# ---- worlds ---------------------------------------------------------------------------------------------------------


def due(*, parent: bool = False, adopted: bool = True) -> TwoAccounts:
    """The key of ``SMS`` is due. Its tag gives the scopes, so nothing but the rules keeps it in its account."""
    world = TwoAccounts(parent=parent)
    world.secret(SMS, left=20 * DAY, extra={"note": "first"}, adopted=adopted)
    world.store.tag(SMS, {"rotator:scopes": "sms:manage"})
    world.secret(VOICE, left=200 * DAY, lifetime=265 * DAY, extra={"note": "first"})
    world.secret(MAIL, account=OTHER, left=200 * DAY, lifetime=265 * DAY, extra={"note": "first"})
    return world


def killed(request: tuple[str, str], ago: Any, *, parent: bool = False) -> TwoAccounts:
    """A sweep of ``SMS`` was killed right after a request."""
    world = due(parent=parent)
    assert kill_sweep_at(world, request, account=MAIN) == 1
    world.pass_time(ago)
    return world


def rotated(ago: Any, *, parent: bool = False) -> TwoAccounts:
    """The first key of ``SMS`` is in its grace period, or past it."""
    world = due(parent=parent)
    rotate_now(world.services(), SMS, "test")
    world.pass_time(ago)
    return world


def superseded(*, parent: bool = False) -> TwoAccounts:
    """``SMS`` was given another key by hand: the first one has no retire label yet."""
    world = due(parent=parent)
    key = world.add_key()
    world.ours.add(key.id)
    fields = json.loads(world.store.consumer_read(SMS))
    world.store.put_value_by_hand(SMS, json.dumps({**fields, "api_key": str(key.value)}))
    return world


FUNCTION = "arn:aws:lambda:eu-central-1:123456789012:function:rotator-rotation"


def announced(*, parent: bool = False) -> TwoAccounts:
    """Secrets Manager has begun a rotation."""
    world = due(parent=parent)
    world.policy = replace(world.policy, rotation_function=FUNCTION)
    world.store.start_rotation(SMS, TOKEN, function=FUNCTION)
    return world


# ---- flows ----------------------------------------------------------------------------------------------------------


def sweep(world: World) -> list[Sweep]:
    """Each account, one after the other: side by side the order of the calls would be another one each time."""
    return [world.sweep(account=account) for account in (MAIN, OTHER)]


@dataclass(frozen=True)
class Flow:
    """What the rotator does.

    :param make: the world before, with ``parent``.
    :param target: of an emergency: ``secret``, or ``key`` or ``value`` of the key that consumers get, or ``old key``.
    :param moves: it may give a secret a key of another account.
    :param goes_back: it brings back the whole value of an earlier version.
    """

    name: str
    make: Callable[..., TwoAccounts]
    act: Callable[[TwoAccounts], object]
    target: str = ""
    strategy: Strategy | None = None
    moves: bool = False
    goes_back: bool = False

    @property
    def scheduled(self) -> bool:
        """Whether it is a sweep."""
        return self.act is sweep


def named_key(world: World, target: str) -> SimKey | None:
    """The key that an emergency names; ``None`` where it names the secret."""
    if target == "secret":
        return None
    return world.infobip.key(world.first_keys[SMS].id) if target == "old key" else world.current_key(SMS)


def _emergency(target: str, strategy: Strategy) -> Flow:
    def act(world: TwoAccounts) -> EmergencyReport:
        key = named_key(world, target)
        if key is None:
            return world.revoke(strategy, secret=SMS)
        if target == "value":
            return world.revoke(strategy, leaked=emergencies.leaked(key))
        account = next(name for name, account_id in world.accounts.items() if account_id == key.account_id)
        return world.revoke(strategy, key_id=key.id, account=account)

    return Flow(f"{strategy} by {target}", partial(rotated, HOUR), act, target, strategy)


FLOWS = (
    Flow("rotation", due, sweep),
    Flow("resume of a stored version", partial(killed, PROBE, HOUR), sweep),
    Flow("resume of an unstored key", partial(killed, CREATE, MINUTE), sweep),
    Flow("adoption", partial(due, adopted=False), sweep),
    Flow("retirement", superseded, sweep),
    Flow("revocation", partial(rotated, 72 * HOUR), sweep),
    Flow("four steps", announced, lambda world: four_steps(world, SMS, tries=2)),
    Flow("rotate by hand", due, lambda world: rotate_now(world.services(), SMS, "test"), moves=True),
    Flow("rollback", partial(rotated, HOUR), roll_back, goes_back=True),
    Flow("rollback at the end of the grace period", partial(rotated, 72 * HOUR - MINUTE), roll_back, goes_back=True),
    *(
        _emergency(target, strategy)
        for target in ("secret", "key", "value", "old key")
        for strategy in Strategy
        if target != "old key" or strategy is Strategy.REPLACE_FIRST
    ),
)
