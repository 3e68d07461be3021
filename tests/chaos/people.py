"""What people do to the secrets of two accounts: edit values, change accounts and credentials, add copies of keys."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rotator.errors import RotatorError
from rotator.secret import Secret
from tests.chaos.two_accounts import MAIL, MAIN, OTHER, TwoAccounts
from tests.chaos.worlds import SMS, VOICE
from tests.world import World

Do = Callable[[TwoAccounts], object]


def put(world: World, name: str, fields: dict[str, Any]) -> None:
    """A person edits the value that is current now."""
    text = world.store.consumer_read(name)
    with contextlib.suppress(RotatorError):
        world.store.put_value_by_hand(name, json.dumps({**json.loads(text), **fields}))


def tag(world: World, **tags: str) -> None:
    world.store.tag(SMS, {f"rotator:{name.replace('_', '-')}": value for name, value in tags.items()})


def served(world: World) -> str:
    """The value of the key that consumers of ``SMS`` get now."""
    return world.current_value(SMS)


def first(world: World) -> str:
    """The value of the first key of ``SMS``."""
    return str(world.first_keys[SMS].value)


def use_another_field(world: TwoAccounts) -> None:
    put(world, SMS, {"backup": str(world.add_key().value)})
    tag(world, value_field="backup")


def move_by_hand(world: TwoAccounts) -> None:
    put(world, SMS, {"api_key": str(world.add_key(OTHER).value)})
    tag(world, account=OTHER)


def swap_credentials(world: TwoAccounts) -> None:
    world.store.put_value_by_hand(f"rotator/{MAIN}", world.store.consumer_read(f"rotator/{OTHER}"))


def restore_credentials(world: TwoAccounts) -> None:
    user = world.infobip.state.users[f"ops-{MAIN}"]
    value = {"base_url": f"https://{MAIN}.api.infobip.com", "username": user.username, "password": str(user.password)}
    world.store.put_value_by_hand(f"rotator/{MAIN}", json.dumps(value))


def add_binary_copy(world: TwoAccounts) -> None:
    """Another managed secret, whose value is binary."""
    world.store.create_secret("prod/binary", world.tags())
    world.store.put_value_by_hand("prod/binary", b"\x00\xffkey=" + first(world).encode() + b"\x00")


def add_version(world: World, value: str) -> None:
    """``PutSecretValue`` with a label of its own."""
    with world.store._changing(SMS) as record:
        record.put(world.new_id(), Secret(json.dumps({"token": value})), ("team:blue",), world.clock.now())


@dataclass(frozen=True)
class Act:
    """What one person does.

    :param fix: what corrects it, where it was a mistake.
    :param credentials: it takes the way to the account's keys away.
    :param slow: it takes some seconds. Which of two keys was stored later is not to be seen within one.
    """

    name: str
    do: Do
    fix: Do | None = None
    credentials: bool = False
    slow: bool = False


def _untag_field(world: TwoAccounts) -> None:
    world.store.untag(SMS, "rotator:value-field")


NOTHING = Act("does nothing", lambda _: None)
ACTS = (
    # edits the value
    Act("edits a field", lambda w: put(w, SMS, {"note": "edited"})),
    Act("pastes a new key", lambda w: put(w, SMS, {"api_key": str(w.add_key().value)}), slow=True),
    Act("pastes the first key", lambda w: put(w, SMS, {"api_key": first(w)}), slow=True),
    Act(
        "pastes a key of another account",
        lambda w: put(w, SMS, {"api_key": str(w.add_key(OTHER).value)}),
        fix=lambda w: tag(w, account=OTHER),
        slow=True,
    ),
    Act("names a field that is not there", lambda w: tag(w, value_field="token"), fix=_untag_field),
    Act("names another field with a key", use_another_field, slow=True),
    # changes the account
    Act("changes the account", lambda w: tag(w, account=OTHER), fix=lambda w: tag(w, account=MAIN)),
    Act("misspells the account", lambda w: tag(w, account="mian"), fix=lambda w: tag(w, account=MAIN)),
    Act("moves the secret by hand", move_by_hand, slow=True),
    Act("stores another account's credentials", swap_credentials, fix=restore_credentials, credentials=True),
    # adds copies
    Act("adds the current key as a second field", lambda w: put(w, SMS, {"fallback": served(w)})),
    Act("adds the first key as a second field", lambda w: put(w, SMS, {"fallback": first(w)})),
    Act("adds another key as a second field", lambda w: put(w, SMS, {"fallback": str(w.add_key().value)})),
    Act("adds the first key to a secret", lambda w: put(w, VOICE, {"legacy": first(w)})),
    Act("adds the current key to another account's secret", lambda w: put(w, MAIL, {"legacy": served(w)})),
    Act("adds a binary copy of the first key", add_binary_copy),
    Act("adds a version with the current key", lambda w: add_version(w, served(w))),
    Act("adds a version with another key", lambda w: add_version(w, str(w.add_key().value))),
)
