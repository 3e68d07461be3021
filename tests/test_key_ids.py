"""Key ids as people give them: whole, or as they are shown, where that names one key."""

from __future__ import annotations

import pytest

from rotator.engine.adopt import adopt
from rotator.engine.key_ids import whole_key_id
from rotator.engine.rollback import rollback
from rotator.engine.rotate_now import rotate_now
from rotator.plan import Outcome
from rotator.reasons import Reason
from rotator.text import short_id
from tests.emergencies import REVOKE_ONLY, EmergencyWorld, refused
from tests.world import NAME

ONE, TWO, THREE = "57370A1B2C3D4E5F60718293A4B548AE", "5737" + "0" * 24 + "48AE", "90AB" + "1" * 24 + "11C2"


@pytest.mark.parametrize("text", [ONE, "90ab…11c2", "90AB...11C2", "90AB..11C2", "no-such-form", "K1"])
def test_short_id_names_its_key(text: str) -> None:
    assert whole_key_id(text, [ONE, TWO, THREE], "account main") == (THREE if "…" in text or ".." in text else text)


def test_ambiguous_short_id_is_refused() -> None:
    with refused(None, "account main", f"{TWO}, {ONE}"):
        whole_key_id(short_id(ONE), [ONE, THREE, TWO], "account main")


def test_short_form_of_no_key_is_refused() -> None:
    with refused(Reason.KEY_NOT_FOUND, "account main", "1111…2222"):
        whole_key_id("1111…2222", [ONE], "account main")


def test_emergency_finds_key_by_it(world: EmergencyWorld) -> None:
    key = world.secret(NAME)
    stranger = world.infobip.add_key(world.accounts["main"], "made by hand")
    assert world.revoke(key_id=short_id(stranger.id), account="main").revoked == (stranger.id,)
    assert world.revoke(REVOKE_ONLY, key_id=short_id(key.id).replace("…", "..."), account="main").revoked == (key.id,)


def test_emergency_refuses_ambiguous_id(world: EmergencyWorld) -> None:
    key = world.secret(NAME)
    world.secret("prod/other")
    twin = f"{key.id[:4]}{'0' * 24}{key.id[-4:]}"  # a label may name anything
    world.store.label_by_hand("prod/other", f"rotator:key:{twin}", next(iter(world.labels("prod/other"))))
    with refused(None, "account main", key.id, twin):
        world.revoke(key_id=short_id(key.id), account="main")
    assert world.works(key)


def test_rollback_and_adopt_take_it(world: EmergencyWorld) -> None:
    old = world.secret(NAME)
    rotate_now(world.services(), NAME, "test")
    newer = world.current_key(NAME)
    with refused(Reason.GRACE_OVER, newer.id):
        rollback(world.services(), NAME, "test", short_id(newer.id))
    assert rollback(world.services(), NAME, "test", short_id(old.id)).key_id == old.id
    by_hand = world.secret("prod/new", adopted=False)
    with refused(Reason.MISLABELLED, by_hand.id, old.id):
        adopt(world.services(), "prod/new", short_id(old.id))
    assert adopt(world.services(), "prod/new", short_id(by_hand.id)).outcome is Outcome.DONE
