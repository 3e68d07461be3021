"""The three strategies over a whole secret: who dies, who works, what is left, and in how many calls."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from rotator.engine.emergency import Strategy
from rotator.model import Reason
from tests.emergencies import (
    NAME,
    REPLACE_FIRST,
    REVOKE_FIRST,
    REVOKE_ONLY,
    Tape,
    alive,
    calm,
    in_grace,
    named,
    names_of,
    plan_for,
    revoke,
)
from tests.world import DAY, HOUR, World


def test_replace_first_keeps_the_consumer_working_at_every_moment_and_kills_every_old_key() -> None:
    world = World()
    old, current = in_grace(world)
    seen: list[bool] = []
    world.infobip.observers.append(lambda _request, _answer: seen.append(world.consumer_works(NAME)))
    report = revoke(world)
    assert (report.ok, report.errors) == (True, [])
    assert seen
    assert all(seen)
    assert not alive(world, old)
    assert not alive(world, current)
    assert set(report.revoked) == {old.id, current.id}
    assert report.replaced == (NAME,)
    new = world.current_key(NAME)
    assert new.scopes == current.scopes
    assert [(step.what, step.key_id, step.note) for step in report.steps] == [
        ("created", new.id, ""),
        ("promoted", new.id, ""),
        ("revoked", current.id, "verified: 401"),
        ("revoked", old.id, "verified: 401"),
    ]
    assert names_of(world) == {new.id}
    assert world.sweep().results == ()
    calm(world)


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_plan_is_only_read_and_says_who_dies(strategy: Strategy) -> None:
    world = World()
    old, current = in_grace(world)
    before = world.labels(NAME)
    plan = plan_for(world, strategy, secret=NAME)
    assert [(revocation.key_id, revocation.role) for revocation in plan.revocations] == [
        (current.id, "current"),
        (old.id, "retiring"),
    ]
    assert plan.revocations[1].revoke_at is not None
    assert [entry.name for entry in plan.replaced] == ([] if strategy is REVOKE_ONLY else [NAME])
    assert world.labels(NAME) == before
    assert not [
        call for call in world.infobip.calls if call.method in ("PUT", "POST") and call.time == world.clock.now()
    ]


def test_revoke_first_kills_before_it_makes_anything() -> None:
    world = World()
    old, current = in_grace(world)
    with Tape(world) as tape:
        report = revoke(world, REVOKE_FIRST)
    assert report.ok
    assert tape.calls.index("PUT key") < tape.calls.index("POST keys")
    assert not alive(world, old)
    assert not alive(world, current)
    assert world.consumer_works(NAME)
    calm(world)


def test_revoke_only_leaves_a_dead_key_that_the_next_sweep_replaces() -> None:
    world = World()
    old, current = in_grace(world)
    report = revoke(world, REVOKE_ONLY)
    assert report.ok
    assert not report.replaced
    assert [step.note for step in report.steps] == ["verified: 401"] * 2
    assert not alive(world, old)
    assert not world.consumer_works(NAME)
    assert names_of(world) == {current.id}  # so that the next sweep knows what it replaces
    sweep = world.sweep()
    assert [result.action.reason for result in sweep.results] == [Reason.KEY_DISABLED]
    assert world.consumer_works(NAME)
    calm(world)


def test_revoke_only_with_a_hold_stays_as_it_is() -> None:
    world = World()
    _, current = in_grace(world)
    world.store.tag(NAME, {"rotator:hold": "frozen"})
    assert revoke(world, REVOKE_ONLY).ok
    assert world.sweep().results == ()
    assert world.current_key(NAME).id == current.id
    assert not world.consumer_works(NAME)


@pytest.mark.parametrize("strategy", [REPLACE_FIRST, REVOKE_FIRST])
def test_a_hold_a_window_and_a_foreign_rotation_do_not_stop_an_emergency(strategy: Strategy) -> None:
    world = World()
    key = world.managed(NAME, hold="audit freeze", window="Sun 01:00-02:00 UTC")
    world.store.start_rotation(NAME)
    assert revoke(world, strategy).ok
    assert not alive(world, key)
    assert world.consumer_works(NAME)


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("plain", [False, True])
def test_an_unadopted_secret_is_read_to_know_its_key(strategy: Strategy, plain: bool) -> None:
    world = World()
    key = world.managed(NAME, adopted=False, plain=plain)
    report = revoke(world, strategy)
    assert report.ok, report.errors
    assert report.revoked == (key.id,)
    assert not alive(world, key)
    if strategy is not REVOKE_ONLY:
        assert world.consumer_works(NAME)
        assert world.store.consumer_read(NAME).startswith("{") is not plain
    calm(world)


def test_a_json_value_keeps_its_other_fields() -> None:
    world = World()
    world.managed(NAME, extra={"sender": "Example"})
    assert revoke(world).ok
    assert json.loads(world.store.consumer_read(NAME))["sender"] == "Example"


@pytest.mark.parametrize("strategy", [REPLACE_FIRST, REVOKE_FIRST])
@pytest.mark.parametrize("adopted", [False, True])
def test_a_secret_that_shares_the_key_is_replaced_as_well(strategy: Strategy, adopted: bool) -> None:
    world = World()
    key = world.managed(NAME)
    world.store.copy_secret_with_tags(NAME, "prod/copy")
    if adopted:
        world.sweep()
    report = revoke(world, strategy)
    assert report.ok, report.errors
    assert set(report.replaced) == {NAME, "prod/copy"}
    assert report.revoked == (key.id,)
    assert world.consumer_works(NAME)
    assert world.consumer_works("prod/copy")
    assert world.current_key(NAME).id != world.current_key("prod/copy").id
    calm(world)
    calm(world, "prod/copy")


def test_another_secret_that_holds_a_key_in_grace_as_current_is_replaced_and_keeps_its_own_older_key() -> None:
    world = World()
    older = world.managed("prod/copy", hold="frozen")
    retiring = next(iter(world.labels("prod/copy")))
    world.store.label_by_hand("prod/copy", f"rotator:retire:{older.id}:20260310T000000Z", retiring)
    shared = world.managed(NAME, left=5 * DAY, age=85 * DAY)
    version = world.store.put_value_by_hand("prod/copy", json.dumps({"api_key": shared.value}))
    world.store.label_by_hand("prod/copy", f"rotator:key:{shared.id}", version)
    assert world.sweep(secret=NAME).ok
    assert world.current_key("prod/copy").id == shared.id != world.current_key(NAME).id
    report = revoke(world)
    assert report.ok, report.errors
    assert set(report.replaced) == {NAME, "prod/copy"}
    assert not alive(world, shared)
    assert world.consumer_works("prod/copy")
    assert names_of(world, "prod/copy") >= {older.id}
    assert older.id not in report.revoked
    assert alive(world, older)


def test_another_accounts_copy_is_said_and_left() -> None:
    world = World()
    key = world.managed(NAME)
    world.account("other")
    world.store.create_secret("other/copy", world.tags("other"), json.dumps({"api_key": key.value}))
    version = next(iter(world.labels("other/copy")))
    world.store.label_by_hand("other/copy", f"rotator:key:{key.id}", version)
    plan = plan_for(world, secret=NAME)
    assert [entry.name for entry in plan.replaced] == [NAME]
    assert any("other/copy" in note and "other" in note for note in plan.notes)


def test_an_empty_secret_has_nothing_to_end_and_gets_no_key() -> None:
    world = World()
    world.account()
    world.store.create_secret(NAME, world.tags(scopes="sms:manage"))
    report = revoke(world)
    assert report.ok
    assert report.steps == []
    assert not world.infobip.keys()


def test_a_full_set_of_labels_makes_room_for_the_new_key_by_ending_the_old_ones_first() -> None:
    world = World()
    world.managed(NAME)
    retired = []
    for number in range(8):  # 8 keys in grace: 16 labels, and the current one's 3
        key = world.infobip.add_key(world.accounts["main"], f"old {number}")
        version = world.store.put_value_by_hand(NAME, json.dumps({"api_key": key.value}))
        world.store.label_by_hand(NAME, f"rotator:key:{key.id}", version)
        at = world.clock.now() + 48 * HOUR + timedelta(minutes=number)
        world.store.label_by_hand(NAME, f"rotator:retire:{key.id}:{at:%Y%m%dT%H%M%SZ}", version)
        retired.append(key)
    last = world.infobip.add_key(world.accounts["main"], "current")
    version = world.store.put_value_by_hand(NAME, json.dumps({"api_key": last.value}))
    world.store.label_by_hand(NAME, f"rotator:key:{last.id}", version)
    assert sum(len(labels) for labels in world.labels(NAME).values()) == 20
    report = revoke(world)
    assert report.ok, report.errors
    assert not any(alive(world, key) for key in [*retired, last, world.first_keys[NAME]])
    assert world.consumer_works(NAME)
    assert names_of(world) == {world.current_key(NAME).id}


# ---- calls ----------------------------------------------------------------------------------------------------------


def _fleet(*, rotated: bool) -> World:
    """A hundred secrets; the one concerned holds a key that the rotator, or a person, created."""
    world = World()
    for number in range(98):
        world.managed(f"fleet/{number:03}", age=10 * DAY)
    if rotated:
        in_grace(world)
    else:
        world.managed(NAME)
    return world


BY_NAME = ["GET keys"]
BY_VALUE = ["GET keys", "read_version", "GET keys by apiKeySecret"]
NAMED = ["GET keys by apiKeySecret"]


@pytest.mark.parametrize(
    ("rotated", "by", "asked", "calls"),
    [
        (True, "secret", BY_NAME, 9),
        (True, "key", BY_NAME, 9),
        (True, "value", [*NAMED, *BY_NAME], 10),
        (False, "secret", [*BY_VALUE, "GET key"], 12),
        (False, "key", [*BY_VALUE, "GET key"], 12),
        (False, "value", [*NAMED, *BY_VALUE[1:]], 11),
    ],
)
def test_replace_first_revokes_with_its_ninth_call(rotated: bool, by: str, asked: list[str], calls: int) -> None:
    """Where the rotator created the key: it is proven by name. A key created by hand is proven by its value."""
    world = _fleet(rotated=rotated)
    key = world.current_key(NAME)
    with Tape(world) as tape:
        assert revoke(world, incident="INC-7", **named(by, key)).ok
    first, rest = ["list_secrets", "read_current"], ["read_current", "POST keys", "stage", "probe", "promote"]
    assert tape.until_kill() == [*first, *asked, *rest, "PUT key"]
    assert len(tape.until_kill()) == calls
    assert not alive(world, key)


@pytest.mark.parametrize(
    ("rotated", "by", "look"),
    [
        (True, "secret", ["describe", *BY_NAME]),
        (False, "secret", ["describe", *BY_VALUE]),
        (True, "key", []),
        (False, "key", []),
        (True, "value", NAMED),
        (False, "value", NAMED),
    ],
)
@pytest.mark.parametrize("strategy", [REVOKE_FIRST, REVOKE_ONLY])
def test_revoke_first_revokes_with_its_fifth_call(strategy: Strategy, rotated: bool, by: str, look: list[str]) -> None:
    """The seventh where a key of a named secret was created by hand; with no proof, the third or fourth."""
    world = _fleet(rotated=rotated)
    key = world.current_key(NAME)
    with Tape(world) as tape:
        assert revoke(world, strategy, **named(by, key)).ok
    assert tape.until_kill() == ["list_secrets", "read_current", *look, "PUT key"]
    assert not alive(world, key)
