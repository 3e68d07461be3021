"""What people do to a managed secret and its keys, by hand and by other programs: each act, and what fixes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.engine.manual import rotate_now
from rotator.model import Reason
from rotator.policy.labels import CURRENT, PENDING, PREVIOUS, key_label, key_name, retire_label
from rotator.policy.lifecycle import Lifecycle, read_lifecycle
from rotator.sandbox.state import SimKey
from tests import leaks
from tests.world import DAY, HOUR, World

NAME = "prod/sms"
COPY = "prod/sms-copy"
OTHER = "other"


class NotNow(Exception):
    """There is nothing at this moment that the act could be done to."""


@dataclass(frozen=True)
class Act:
    """One thing that somebody does.

    :param sees: reasons of which the next plan names at least one (in an action, a skip or an alert); none: any plan.
    :param says: what stands in the alert or skip with that reason.
    :param fix: what the operator does about it, after which everything converges; ``None``: nothing is needed.
    :param strands: keys may be left alive that nothing proves to be ours.
    """

    name: str
    do: Callable[[World], object]
    sees: tuple[Reason, ...] = ()
    says: str = ""
    fix: Callable[[World], object] | None = None
    strands: bool = False


# ---- looking --------------------------------------------------------------------------------------------------------


def life(world: World) -> Lifecycle:
    return read_lifecycle(world.store.peek(NAME))


def current_version(world: World) -> str:
    version = life(world).current_version
    if version is None:
        raise NotNow
    return version


def current_key(world: World) -> str:
    return life(world).current_key or world.current_key(NAME).id


def retiring_key(world: World) -> str:
    items = life(world).retiring
    if not items:
        raise NotNow
    return items[0].key_id


def pending_key(world: World) -> str:
    key_id = life(world).pending_key
    if key_id is None:
        raise NotNow
    return key_id


def previous_version(world: World) -> str:
    found = [v for v, labels in world.store.peek(NAME).versions.items() if PREVIOUS in labels]
    if not found:
        raise NotNow
    return found[0]


def value_of(world: World, key_id: str) -> str:
    return str(world.infobip.key(key_id).value)


# ---- values ---------------------------------------------------------------------------------------------------------


def new_key(world: World, account: str = "main") -> SimKey:
    key = world.infobip.add_key(world.accounts[account], "made in the portal", scopes=("sms:manage",))
    leaks.register(str(key.value))
    return key


def put(world: World, value: str) -> None:
    world.store.put_value_by_hand(NAME, value)


def put_new_key(world: World) -> None:
    put(world, json.dumps({"api_key": str(new_key(world).value)}))


def put_new_keys(world: World) -> None:
    put_new_key(world)
    put_new_key(world)


def put_field(world: World) -> None:
    fields = json.loads(world.store.consumer_read(NAME))
    put(world, json.dumps({**fields, "edited": len(fields)}))


def put_fields(world: World) -> None:
    put_field(world)
    put_field(world)
    put_field(world)


def put_retiring(world: World) -> None:
    put(world, json.dumps({"api_key": value_of(world, retiring_key(world))}))


def put_pending(world: World) -> None:
    put(world, json.dumps({"api_key": value_of(world, pending_key(world))}))


def put_there_and_back(world: World) -> None:
    text = world.store.consumer_read(NAME)
    put_new_key(world)
    put(world, text)


def put_foreign(world: World) -> None:
    put(world, json.dumps({"api_key": str(new_key(world, OTHER).value)}))


# ---- the secret -----------------------------------------------------------------------------------------------------


def delete_and_restore(world: World) -> None:
    world.store.delete(NAME)
    world.store.restore(NAME)


def make_again(world: World) -> None:
    text, tags = world.store.consumer_read(NAME), dict(world.store.peek(NAME).tags)
    world.store.force_delete(NAME)
    world.store.create_secret(NAME, tags, text)


def rename(world: World) -> None:
    world.store.copy_secret_with_tags(NAME, COPY)
    world.store.force_delete(NAME)


def remove_tags(world: World) -> None:
    world.store.untag(NAME, *world.store.peek(NAME).tags)


# ---- labels ---------------------------------------------------------------------------------------------------------


def move(world: World, label: str, to: str | None) -> None:
    at = [version for version, labels in world.store.peek(NAME).versions.items() if label in labels]
    if to is None and not at:
        raise NotNow
    world.store.label_by_hand(NAME, label, to, at[0] if at else None)


def current_to_previous(world: World) -> None:
    move(world, CURRENT, previous_version(world))


def drop_key_label(world: World) -> None:
    move(world, key_label(world.current_key(NAME).id), None)


def drop_retire_label(world: World) -> None:
    item = next(iter(life(world).retiring), None)
    if item is None:
        raise NotNow
    move(world, retire_label(item.key_id, item.revoke_at), None)


def drop_retiring_labels(world: World) -> None:
    key_id = retiring_key(world)
    drop_retire_label(world)
    move(world, key_label(key_id), None)


def pending_to_previous(world: World) -> None:
    move(world, PENDING, previous_version(world))


def key_label_to_previous(world: World) -> None:
    move(world, key_label(current_key(world)), previous_version(world))


def swap_key_labels(world: World) -> None:
    mine, other = current_version(world), previous_version(world)
    theirs = next((k for k, v in life(world).holders.items() if v == other), None)
    if theirs is None:
        raise NotNow
    move(world, key_label(current_key(world)), None)
    move(world, key_label(theirs), mine)


def unswap_key_labels(world: World) -> None:
    move(world, key_label(str(life(world).current_key)), None)


def retire_current(world: World) -> None:
    move(world, retire_label(current_key(world), world.clock.now()), current_version(world))


def own_label(world: World) -> None:
    move(world, "team:blue", current_version(world))


# ---- keys and credentials -------------------------------------------------------------------------------------------


def revoked_key(world: World) -> str:
    found = [k.id for k in world.infobip.keys() if not k.enabled and "rotator:" in k.name]
    if not found:
        raise NotNow
    return found[0]


def older_name(world: World) -> str:
    """As this deployment named keys before names held a digest of the ARN."""
    return f"{NAME}/rotator:default:{world.new_id()}"


def foreign_name(world: World) -> str:
    return key_name(NAME, world.store.peek(NAME).arn, "another", world.new_id())


def off_and_on(world: World, key_id: str) -> None:
    world.infobip.portal_disable(key_id)
    world.infobip.portal_enable(key_id)


def new_password(world: World, *, stored: bool = True) -> None:
    user = world.infobip.state.users["user-main"]
    user.password = leaks.register(f"a new password {world.clock.now():%H%M%S}")
    if stored:
        store_password(world)


def store_password(world: World) -> None:
    value = json.loads(world.store.consumer_read("infobip/main"))
    password = world.infobip.state.users["user-main"].password
    world.store.put_value_by_hand("infobip/main", json.dumps({**value, "password": password}))


def start_rotation(world: World, *, value: bool) -> str:
    entry = world.store.peek(NAME)
    if any(PENDING in labels and CURRENT not in labels for labels in entry.versions.values()):
        raise NotNow  # AWS refuses it
    return world.store.start_rotation(NAME, None, str(new_key(world).value) if value else None)


def whole_rotation(world: World) -> None:
    version = start_rotation(world, value=True)
    world.store.label_by_hand(NAME, CURRENT, version, current_version(world))


def tag(**tags: str) -> Callable[[World], object]:
    named = {f"rotator:{name.replace('_', '-')}": value for name, value in tags.items()}
    return lambda world: world.store.tag(NAME, named)


def shorten_grace(world: World) -> None:
    tag(grace="1h")(world)
    world.grace = HOUR


def untag(*names: str) -> Callable[[World], object]:
    return lambda world: world.store.untag(NAME, *(f"rotator:{name}" for name in names))


def rotate(world: World) -> None:
    """Ask for a new key; a value that nobody adopted yet is skipped even so."""
    if life(world).current_key is None:
        return
    rotate_now(world.reconciler(), NAME, "asked for")


def later(world: World, by: timedelta = 400 * DAY) -> datetime:
    return world.clock.now() + by + HOUR
