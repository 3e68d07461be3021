"""``rotate_now``: what stands against a new key for one secret, and what does not."""

from __future__ import annotations

import json

import pytest

from rotator.engine.manual import rotate_now
from rotator.errors import Refused
from rotator.model import Outcome, Reason
from tests.world import DAY, HOUR, World

NAME = "prod/sms"


def test_an_unrevocable_retiring_key_does_not_stop_it() -> None:
    world = World()
    old = world.managed(NAME)
    rotate_now(world.reconciler(), NAME, "first")
    world.store.create_secret("prod/copy", world.tags(), json.dumps({"api_key": old.value}))
    world.pass_time(73 * HOUR)
    (plan,) = world.reconciler().plan(secret=NAME).accounts
    assert [str(skip.reason) for skip in plan.skipped] == ["shared-key"]
    held = world.current_key(NAME).id
    (result,) = rotate_now(world.reconciler(), NAME, "second")
    assert (result.outcome, result.new_key_id) == (Outcome.DONE, world.current_key(NAME).id)
    assert held != result.new_key_id
    assert world.infobip.authenticates(old.value)  # still held by the copy


@pytest.mark.parametrize(
    ("tags", "said"),
    [({"hold": "freeze"}, "hold: .*freeze"), ({"grace": "soon"}, "misconfigured: rotator:grace")],
    ids=["hold", "misconfigured"],
)
def test_what_leaves_the_secret_alone_does(tags: dict[str, str], said: str) -> None:
    world = World()
    key = world.managed(NAME, **tags)  # type: ignore[arg-type]
    with pytest.raises(Refused, match=said):
        rotate_now(world.reconciler(), NAME, "test")
    assert world.current_key(NAME).id == key.id


def test_unknown_scopes_do_so_even_where_nothing_is_due() -> None:
    world = World()
    world.managed(NAME, scopes=())
    keys = world.infobip.keys()
    with pytest.raises(Refused, match=r"no-scopes: .*tag rotator:scopes"):
        rotate_now(world.reconciler(), NAME, "test")
    assert world.infobip.keys() == keys


def test_a_listing_that_lacks_every_key_does_not() -> None:
    """It stops sweeps, for it may be another account's list; this command is the way out that their alert names."""
    world = World()
    names = [f"prod/{number}" for number in range(4)]
    for name in names:
        world.infobip.delete_key(world.managed(name, left=200 * DAY, scopes=("sms:manage",)).id)
        world.store.tag(name, world.tags(scopes="sms:manage"))
    sweep = world.sweep()
    assert {skip.reason for skip in sweep.plan.accounts[0].skipped} == {Reason.MASS_MISSING}
    (alert,) = [alert for plan in sweep.plan.accounts for alert in plan.alerts if alert.kind is Reason.MASS_MISSING]
    assert "`rotator rotate SECRET`" in alert.detail
    (result,) = rotate_now(world.reconciler(), names[0], "the account is right")
    assert (result.action.reason, result.outcome) == (Reason.REQUESTED, Outcome.DONE)
    assert world.consumer_works(names[0])
    assert len(world.infobip.keys()) == 1


def test_neither_does_it_move_a_secret_without_tagged_scopes() -> None:
    world = World()
    world.infobip.delete_key(world.managed(NAME).id)
    with pytest.raises(Refused, match=r"no-scopes: .*tag rotator:scopes"):
        rotate_now(world.reconciler(), NAME, "test")
    assert world.infobip.keys() == ()
