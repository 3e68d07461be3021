"""``rotate_now``: what stands against a new key for one secret, and what does not."""

from __future__ import annotations

import json

import pytest

from rotator.engine.manual import rotate_now
from rotator.errors import Refused
from rotator.model import Outcome
from tests.world import HOUR, World

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
