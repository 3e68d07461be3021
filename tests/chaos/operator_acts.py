"""The table of what operators do, what the next plan says of it, and what fixes it."""

from __future__ import annotations

from typing import Any

from rotator.model import Reason
from tests.chaos import operators as op
from tests.chaos.operators import NAME, Act
from tests.world import World

_UNADOPTED = (Reason.UNADOPTED,)


def _keys(which: str, pick: object) -> tuple[Act, ...]:
    """What can be done in the portal to the current, the retiring or the pending key."""
    assert callable(pick)
    current = which == "current"

    def act(name: str, change: object, sees: tuple[Reason, ...] = (), **more: Any) -> Act:
        assert callable(change)

        def do(world: World) -> None:
            change(world, pick(world))

        return Act(f"{name} the {which} key", do, sees if current else (), **more)

    return (
        act(
            "disable", lambda w, k: w.infobip.portal_disable(k), (Reason.KEY_DISABLED, Reason.UNADOPTED, Reason.PENDING)
        ),
        act("disable and enable", op.off_and_on),
        act("prolong", lambda w, k: w.infobip.portal_prolong(k, op.later(w))),
        act("rename", lambda w, k: w.infobip.portal_rename(k, "somebody's key")),
        act("give a name of the older form to", lambda w, k: w.infobip.portal_rename(k, op.older_name(w))),
        act(
            "give another deployment's name to",
            lambda w, k: w.infobip.portal_rename(k, op.foreign_name(w)),
            (Reason.FOREIGN_KEY, Reason.UNADOPTED, Reason.PENDING),
            strands=True,
        ),
        act("rescope", lambda w, k: w.infobip.portal_rescope(k, ("sms:manage", "voice:manage"))),
        act("restrict", lambda w, k: w.infobip.portal_restrict(k, ("10.0.0.0/8",)), fix=_open if current else None),
        act(
            "delete",
            lambda w, k: w.infobip.portal_delete(k),
            (Reason.MASS_MISSING, Reason.NO_SCOPES, Reason.PENDING, Reason.UNADOPTED),
            fix=_scopes if current else None,
        ),
    )


def _right_value(world: World) -> None:
    op.put_new_key(world)


def _scopes(world: World) -> None:
    world.store.tag(NAME, world.tags(scopes="sms:manage"))
    if op.life(world).current_key is None:
        op.put_new_key(world)
    elif not world.consumer_works(NAME):
        op.rotate(world)  # the only secret here: every sweep takes its key's absence for another account's list


def _open(world: World) -> None:
    world.infobip.portal_restrict(world.current_key(NAME).id, ())


def _restore(world: World) -> None:
    world.store.restore(NAME)


def _tags_again(world: World) -> None:
    world.store.tag(NAME, world.tags())


def _drop_pending(world: World) -> None:
    op.move(world, "AWSPENDING", None)


ACTS: tuple[Act, ...] = (
    # tags
    Act("shorten the grace", op.shorten_grace),
    Act("lengthen the grace", op.tag(grace="10d")),
    Act("change the scopes", op.tag(scopes="sms:manage voice:manage")),
    Act("rotate earlier", op.tag(rotate_before="0.97"), fix=op.untag("rotate-before")),
    Act("misspell a duration", op.tag(grace="soon"), (Reason.MISCONFIGURED,), "rotator:grace", fix=op.untag("grace")),
    Act("hold", op.tag(hold="audit freeze"), (Reason.HOLD,), "audit freeze", fix=op.untag("hold")),
    Act("wait for consumers, whom nobody can see", op.tag(gate="adoption")),
    Act("limit the age", op.tag(max_age="1d"), fix=op.untag("max-age")),
    Act(
        "change to an account without credentials",
        op.tag(account="nowhere"),
        (Reason.UNKNOWN_ACCOUNT,),
        "rotator:role=management",
        fix=op.tag(account="main"),
    ),
    Act(
        "change the account",
        op.tag(account=op.OTHER),
        (Reason.MASS_MISSING, Reason.UNADOPTED),
        fix=op.tag(account="main"),
    ),
    # Consumers move to another account only where an operator says so: it may as well be a mistake.
    Act(
        "change the account for good",
        op.tag(account=op.OTHER, scopes="sms:manage"),
        fix=op.rotate,
        strands=True,
    ),
    Act("remove all tags", op.remove_tags, fix=_tags_again),
    # values
    Act("put a new key", op.put_new_key, _UNADOPTED, strands=True),
    Act("put two new keys", op.put_new_keys, _UNADOPTED, strands=True),
    Act("put the same key with another field", op.put_field, _UNADOPTED),
    Act("put the same key thrice", op.put_fields, _UNADOPTED),
    Act("put a new key and the old one again", op.put_there_and_back, _UNADOPTED),
    Act("put the retiring key", op.put_retiring, _UNADOPTED),
    Act("put the pending key", op.put_pending, _UNADOPTED),
    Act("put rubbish", lambda w: op.put(w, "changeme!"), _UNADOPTED, "no key of this", fix=_right_value, strands=True),
    Act("put broken JSON", lambda w: op.put(w, '{"api_key": '), _UNADOPTED, "JSON", fix=_right_value, strands=True),
    Act(
        "put JSON without the field",
        lambda w: op.put(w, '{"a": 1}'),
        _UNADOPTED,
        "api_key",
        fix=_right_value,
        strands=True,
    ),
    Act("put another account's key", op.put_foreign, _UNADOPTED, "rotator:account", fix=_right_value, strands=True),
    # the secret
    Act("delete", lambda w: w.store.delete(NAME), (Reason.DELETED,), "restore", fix=_restore),
    Act("delete and restore", op.delete_and_restore),
    Act("make it again", op.make_again, _UNADOPTED, strands=True),
    Act(
        "copy it with its tags",
        lambda w: w.store.copy_secret_with_tags(NAME, op.COPY),
        (Reason.SHARED_KEY, Reason.UNADOPTED),
    ),
    # keys
    *_keys("current", op.current_key),
    *_keys("retiring", op.retiring_key),
    *_keys("pending", op.pending_key),
    Act("enable a revoked key", lambda w: w.infobip.portal_enable(op.revoked_key(w)), strands=True),
    Act(
        "enable and prolong a revoked key",
        lambda w: (
            w.infobip.portal_enable(op.revoked_key(w)),
            w.infobip.portal_prolong(op.revoked_key(w), op.later(w)),
        ),
        strands=True,
    ),
    # another function
    Act(
        "begin a rotation and leave it",
        lambda w: op.start_rotation(w, value=False),
        (Reason.FOREIGN_ROTATION,),
        "AWSPENDING",
        fix=_drop_pending,
    ),
    Act(
        "store in a rotation and leave it",
        lambda w: op.start_rotation(w, value=True),
        (Reason.FOREIGN_ROTATION,),
        "AWSPENDING",
        fix=_drop_pending,
    ),
    Act("rotate by another function", op.whole_rotation, _UNADOPTED, strands=True),
    # credentials
    Act("change the password", op.new_password),
    Act("change the password only at Infobip", lambda w: op.new_password(w, stored=False), fix=op.store_password),
    # labels
    Act("move AWSCURRENT back", op.current_to_previous),
    Act("remove the key's label", op.drop_key_label, _UNADOPTED),
    Act("remove the retire label", op.drop_retire_label, (Reason.SUPERSEDED, Reason.UNADOPTED)),
    Act("remove the labels of the retiring key", op.drop_retiring_labels, strands=True),
    Act("remove AWSPENDING", lambda w: op.move(w, "AWSPENDING", None)),
    Act("move AWSPENDING to the previous version", op.pending_to_previous),
    Act(
        "move the key's label to the previous version",
        op.key_label_to_previous,
        (Reason.INCONSISTENT, Reason.UNADOPTED),
        fix=op.drop_key_label,
    ),
    Act(
        "put the previous key's label on the current version",
        op.swap_key_labels,
        fix=op.unswap_key_labels,
        strands=True,
    ),
    Act("put a retire label on the current version", op.retire_current),
    Act("put a label of one's own", op.own_label),
)
