"""What operators and other programs do to a managed secret and its keys, what the next plan says, and what fixes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rotator.policy.labels import CURRENT, PENDING, PREVIOUS, key_label, key_name, retire_label
from rotator.policy.lifecycle import Lifecycle, Retiring, read_lifecycle
from rotator.reasons import Reason
from rotator.sandbox.state import SimKey
from tests import leaks
from tests.chaos import worlds
from tests.chaos.worlds import SMS
from tests.world import DAY, HOUR, World

COPY = "prod/sms-copy"
OTHER = "other"
"""Another Infobip account."""

Do = Callable[[World], object]


class NotNow(Exception):
    """There is nothing at this moment to which this could be done."""


@dataclass(frozen=True)
class Act:
    """One thing that an operator does.

    :param sees: reasons of which the next plan names at least one (in an action, a skip or an alert); none: any plan.
    :param says: part of the alert's or skip's text with that reason.
    :param fix: what the operator does about it, after which everything converges; ``None``: nothing is needed.
    :param unowned: keys may stay enabled that nothing proves to be ours.
    """

    name: str
    do: Do
    sees: tuple[Reason, ...] = ()
    says: str = ""
    fix: Do | None = None
    unowned: bool = False


def found(value: str | None) -> str:
    """Something that the secret may or may not have at this moment."""
    if value is None:
        raise NotNow
    return value


def life(world: World) -> Lifecycle:
    return read_lifecycle(world.store.peek(SMS))


def version_with(world: World, label: str) -> str:
    versions = world.store.peek(SMS).versions
    return found(next((version for version, labels in versions.items() if label in labels), None))


def current_key(world: World) -> str:
    return life(world).current_key or world.current_key(SMS).id


def retiring(world: World) -> Retiring:
    items = life(world).retiring
    if not items:
        raise NotNow
    return items[0]


def retiring_key(world: World) -> str:
    return retiring(world).key_id


def pending_key(world: World) -> str:
    return found(life(world).pending_key)


def revoked_key(world: World) -> str:
    return found(next((k.id for k in world.infobip.keys() if not k.enabled and "rotator:" in k.name), None))


# ---- values ---------------------------------------------------------------------------------------------------------


def new_key(world: World, account: str = "main") -> SimKey:
    key = world.infobip.add_key(world.accounts[account], "made in the portal", scopes=("sms:manage",))
    leaks.register(str(key.value))
    return key


def put(world: World, value: str) -> None:
    world.store.put_value_by_hand(SMS, value)


def put_key(world: World, key: SimKey) -> None:
    put(world, json.dumps({"api_key": str(key.value)}))


def put_new_key(world: World) -> None:
    put_key(world, new_key(world))


def put_field(world: World) -> None:
    fields = json.loads(world.store.consumer_read(SMS))
    put(world, json.dumps({**fields, "edited": len(fields)}))


def put_there_and_back(world: World) -> None:
    text = world.store.consumer_read(SMS)
    put_new_key(world)
    put(world, text)


# ---- the secret -----------------------------------------------------------------------------------------------------


def delete_and_restore(world: World) -> None:
    world.store.delete(SMS)
    world.store.restore(SMS)


def recreate(world: World) -> None:
    text, tags = world.store.consumer_read(SMS), dict(world.store.peek(SMS).tags)
    world.store.force_delete(SMS)
    world.store.create_secret(SMS, tags, text)


def tag(**tags: str) -> Do:
    named = {f"rotator:{name.replace('_', '-')}": value for name, value in tags.items()}
    return lambda world: world.store.tag(SMS, named)


def untag(name: str) -> Do:
    return lambda world: world.store.untag(SMS, f"rotator:{name}")


def shorten_grace(world: World) -> None:
    tag(grace="1h")(world)
    world.grace = HOUR


# ---- labels ---------------------------------------------------------------------------------------------------------


def move(world: World, label: str, to: str | None) -> None:
    at = [version for version, labels in world.store.peek(SMS).versions.items() if label in labels]
    if to is None and not at:
        raise NotNow
    world.store.label_by_hand(SMS, label, to, at[0] if at else None)


def take_off(label: Callable[[World], str]) -> Do:
    return lambda world: move(world, label(world), None)


def to_previous(label: Callable[[World], str]) -> Do:
    return lambda world: move(world, label(world), version_with(world, PREVIOUS))


def to_current(label: Callable[[World], str]) -> Do:
    return lambda world: move(world, label(world), version_with(world, CURRENT))


def served_label(world: World) -> str:
    """The label of the key that consumers get."""
    return key_label(world.current_key(SMS).id)


def current_label(world: World) -> str:
    return key_label(current_key(world))


def retiring_label(world: World) -> str:
    item = retiring(world)
    return retire_label(item.key_id, item.revoke_at)


def drop_retiring_labels(world: World) -> None:
    key_id = retiring_key(world)
    take_off(retiring_label)(world)
    move(world, key_label(key_id), None)


def swap_key_labels(world: World) -> None:
    mine, other = version_with(world, CURRENT), version_with(world, PREVIOUS)
    theirs = found(next((k for k, v in life(world).holders.items() if v == other), None))
    move(world, current_label(world), None)
    move(world, key_label(theirs), mine)


# ---- keys, credentials and other functions --------------------------------------------------------------------------


def older_name(world: World) -> str:
    """As this deployment named keys before names contained a digest of the ARN."""
    return f"{SMS}/rotator:default:{world.new_id()}"


def foreign_name(world: World) -> str:
    return key_name(SMS, world.store.peek(SMS).arn, "another", world.new_id())


def off_and_on(world: World, key_id: str) -> None:
    world.infobip.change_key(key_id, enabled=False)
    world.infobip.change_key(key_id, enabled=True)


def prolong(world: World, key_id: str) -> None:
    later: datetime = world.clock.now() + 400 * DAY + HOUR
    world.infobip.change_key(key_id, valid_to=later)


def revive(world: World) -> None:
    world.infobip.change_key(revoked_key(world), enabled=True)
    prolong(world, revoked_key(world))


def new_password(world: World) -> None:
    user = world.infobip.state.users["ops-main"]
    user.password = leaks.register(f"a new password {world.clock.now():%H%M%S}")


def store_password(world: World) -> None:
    value = json.loads(world.store.consumer_read("rotator/main"))
    password = world.infobip.state.users["ops-main"].password
    world.store.put_value_by_hand("rotator/main", json.dumps({**value, "password": password}))


def start_rotation(world: World, *, value: bool) -> str:
    entry = world.store.peek(SMS)
    if any(PENDING in labels and CURRENT not in labels for labels in entry.versions.values()):
        raise NotNow  # AWS refuses it
    return world.store.start_rotation(SMS, None, str(new_key(world).value) if value else None)


def whole_rotation(world: World) -> None:
    version = start_rotation(world, value=True)
    world.store.label_by_hand(SMS, CURRENT, version, version_with(world, CURRENT))


def rotate(world: World) -> None:
    """Ask for a new key; a value that was not adopted yet is skipped even so."""
    if life(world).current_key is not None:
        worlds.rotate(world)


# ---- the table ------------------------------------------------------------------------------------------------------


def several(*acts: Do) -> Do:
    def do(world: World) -> None:
        for act in acts:
            act(world)

    return do


def unrestrict(world: World) -> None:
    world.infobip.change_key(world.current_key(SMS).id, allowed_ips=())


def give_scopes(world: World) -> None:
    world.store.tag(SMS, world.tags(scopes="sms:manage"))
    if life(world).current_key is None:
        put_new_key(world)
    elif not world.consumer_works(SMS):
        rotate(world)  # the only secret here: every sweep takes its key's absence for another account's list


def in_the_portal(which: str, pick: Callable[[World], str]) -> tuple[Act, ...]:
    """What can be done in the portal to the current, the retiring or the pending key."""
    current = which == "current"

    def act(
        name: str, change: Callable[[World, str], object], *sees: Reason, fix: Do | None = None, **more: Any
    ) -> Act:
        do: Do = lambda world: change(world, pick(world))  # noqa: E731
        return Act(f"{name} the {which} key", do, sees if current else (), fix=fix if current else None, **more)

    return (
        act(
            "disable",
            lambda w, k: w.infobip.change_key(k, enabled=False),
            Reason.KEY_DISABLED,
            Reason.UNADOPTED,
            Reason.PENDING,
        ),
        act("disable and enable", off_and_on),
        act("prolong", prolong),
        act("rename", lambda w, k: w.infobip.change_key(k, name="another team's key")),
        act("give a name of the older form to", lambda w, k: w.infobip.change_key(k, name=older_name(w))),
        act(
            "give another deployment's name to",
            lambda w, k: w.infobip.change_key(k, name=foreign_name(w)),
            *(Reason.OTHER_DEPLOYMENT_KEY, Reason.UNADOPTED, Reason.PENDING),
            unowned=True,
        ),
        act("rescope", lambda w, k: w.infobip.change_key(k, scopes=frozenset({"sms:manage", "voice:manage"}))),
        act("restrict", lambda w, k: w.infobip.change_key(k, allowed_ips=("10.0.0.0/8",)), fix=unrestrict),
        act(
            "delete",
            lambda w, k: w.infobip.delete_key(k),
            *(Reason.KEY_NOT_FOUND, Reason.SCOPES_UNKNOWN, Reason.PENDING, Reason.UNADOPTED),
            fix=give_scopes,
        ),
    )


def wrong_value(name: str, put_it: Do, says: str) -> Act:
    return Act(f"put {name}", put_it, UNADOPTED, says, fix=put_new_key, unowned=True)


def left_rotation(name: str, *, value: bool) -> Act:
    drop_pending = take_off(lambda _: PENDING)
    return Act(name, lambda w: start_rotation(w, value=value), (Reason.FOREIGN_ROTATION,), PENDING, fix=drop_pending)


UNADOPTED = (Reason.UNADOPTED,)

ACTS: tuple[Act, ...] = (
    # tags
    Act("shorten the grace", shorten_grace),
    Act("lengthen the grace", tag(grace="10d")),
    Act("change the scopes", tag(scopes="sms:manage voice:manage")),
    Act("rotate earlier", tag(rotate_before="0.97"), fix=untag("rotate-before")),
    Act("misspell a duration", tag(grace="soon"), (Reason.MISCONFIGURED,), "rotator:grace", fix=untag("grace")),
    Act("hold", tag(hold="audit freeze"), (Reason.HOLD,), "audit freeze", fix=untag("hold")),
    Act("wait for consumers that cannot be listed", tag(gate="adoption")),
    Act("limit the age", tag(max_age="1d"), fix=untag("max-age")),
    Act(
        "change to an account without credentials",
        tag(account="nowhere"),
        (Reason.UNKNOWN_ACCOUNT,),
        "rotator:role=management",
        fix=tag(account="main"),
    ),
    Act(
        "change the account",
        tag(account=OTHER),
        (Reason.KEY_NOT_FOUND, Reason.UNADOPTED),
        fix=tag(account="main"),
    ),
    # Consumers move to another account only where an operator says so: it may as well be a mistake.
    Act("change the account for good", tag(account=OTHER, scopes="sms:manage"), fix=rotate, unowned=True),
    Act(
        "remove all tags",
        lambda w: w.store.untag(SMS, *w.store.peek(SMS).tags),
        fix=lambda w: w.store.tag(SMS, w.tags()),
    ),
    # values
    Act("put a new key", put_new_key, UNADOPTED, unowned=True),
    Act("put two new keys", several(put_new_key, put_new_key), UNADOPTED, unowned=True),
    Act("put the same key with another field", put_field, UNADOPTED),
    Act("put the same key three times", several(put_field, put_field, put_field), UNADOPTED),
    Act("put a new key and the old one again", put_there_and_back, UNADOPTED),
    Act("put the retiring key", lambda w: put_key(w, w.infobip.key(retiring_key(w))), UNADOPTED),
    Act("put the pending key", lambda w: put_key(w, w.infobip.key(pending_key(w))), UNADOPTED),
    wrong_value("garbage", lambda w: put(w, "changeme!"), "rotator:account"),
    wrong_value("broken JSON", lambda w: put(w, '{"api_key": '), "JSON"),
    wrong_value("JSON without the field", lambda w: put(w, '{"a": 1}'), "api_key"),
    wrong_value("another account's key", lambda w: put_key(w, new_key(w, OTHER)), "rotator:account"),
    # the secret
    Act("delete", lambda w: w.store.delete(SMS), (Reason.DELETED,), "restore", fix=lambda w: w.store.restore(SMS)),
    Act("delete and restore", delete_and_restore),
    Act("recreate it", recreate, UNADOPTED, unowned=True),
    Act(
        "copy it with its tags",
        lambda w: w.store.copy_secret_with_tags(SMS, COPY),
        (Reason.SHARED_KEY, Reason.UNADOPTED),
    ),
    # keys
    *in_the_portal("current", current_key),
    *in_the_portal("retiring", retiring_key),
    *in_the_portal("pending", pending_key),
    Act("enable a revoked key", lambda w: w.infobip.change_key(revoked_key(w), enabled=True), unowned=True),
    Act("enable and prolong a revoked key", revive, unowned=True),
    # another function
    left_rotation("begin a rotation and leave it", value=False),
    left_rotation("store in a rotation and leave it", value=True),
    Act("rotate by another function", whole_rotation, UNADOPTED, unowned=True),
    # credentials
    Act("change the password", several(new_password, store_password)),
    Act("change the password only at Infobip", new_password, fix=store_password),
    # labels
    Act("move AWSCURRENT back", to_previous(lambda _: CURRENT)),
    Act("remove the key's label", take_off(served_label), UNADOPTED),
    Act("remove the retire label", take_off(retiring_label), (Reason.SUPERSEDED, Reason.UNADOPTED)),
    Act("remove the labels of the retiring key", drop_retiring_labels, unowned=True),
    Act("remove AWSPENDING", take_off(lambda _: PENDING)),
    Act("move AWSPENDING to the previous version", to_previous(lambda _: PENDING)),
    Act(
        "move the key's label to the previous version",
        to_previous(current_label),
        (Reason.INCONSISTENT, Reason.UNADOPTED),
        fix=take_off(served_label),
    ),
    Act(
        "put the previous key's label on the current version",
        swap_key_labels,
        fix=lambda w: move(w, key_label(str(life(w).current_key)), None),
        unowned=True,
    ),
    Act("put a retire label on the current version", to_current(lambda w: retire_label(current_key(w), w.clock.now()))),
    Act("put a label of one's own", to_current(lambda _: "team:blue")),
)
