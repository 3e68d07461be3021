"""By key id and by leaked value: whose key it is, what else dies with it, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rotator.engine.emergency import Strategy
from rotator.errors import KeyNotFound, Refused
from rotator.policy.labels import key_name
from rotator.sandbox.faults import Fault, FaultKind
from rotator.sandbox.state import Options, SimKey
from tests.emergencies import (
    NAME,
    REPLACE_FIRST,
    REVOKE_FIRST,
    REVOKE_ONLY,
    Tape,
    alive,
    calm,
    in_grace,
    leaked,
    plan_for,
    revoke,
)
from tests.world import HOUR, World

BY = ["key", "value"]


def target(by: str, key: SimKey, account: str | None = "main") -> dict[str, Any]:
    if by == "key":
        return {"key_id": key.id, "account": account}
    return {"leaked": leaked(key), "account": None}


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("by", BY)
def test_naming_the_current_key_ends_every_key_of_its_secret(by: str, strategy: Strategy) -> None:
    world = World()
    old, current = in_grace(world)
    report = revoke(world, strategy, **target(by, current))
    assert report.ok, report.errors
    assert set(report.revoked) == {old.id, current.id}
    assert not alive(world, old)
    assert not alive(world, current)
    assert world.consumer_works(NAME) is (strategy is not REVOKE_ONLY)
    calm(world)


@pytest.mark.parametrize("strategy", [REPLACE_FIRST, REVOKE_FIRST])
@pytest.mark.parametrize("by", BY)
def test_naming_a_key_in_grace_ends_it_at_once_and_the_current_one_once_it_is_replaced(
    by: str, strategy: Strategy
) -> None:
    world = World()
    old, current = in_grace(world)
    seen: list[bool] = []
    world.infobip.observers.append(lambda _request, _answer: seen.append(world.consumer_works(NAME)))
    with Tape(world) as tape:
        report = revoke(world, strategy, **target(by, old))
    assert report.ok, report.errors
    assert report.revoked == (old.id, current.id)
    assert tape.calls.index("PUT key") < tape.calls.index("POST keys")
    assert all(seen)  # nobody said that the current one leaked: no consumer pays for it, in any strategy
    calm(world)


@pytest.mark.parametrize("by", BY)
def test_revoke_only_of_a_key_in_grace_leaves_the_current_one(by: str) -> None:
    world = World()
    old, current = in_grace(world)
    plan = plan_for(world, REVOKE_ONLY, **target(by, old))
    assert [revocation.key_id for revocation in plan.revocations] == [old.id]
    assert any("stays" in note for note in plan.notes)
    report = revoke(world, REVOKE_ONLY, **target(by, old))
    assert (report.ok, report.revoked) == (True, (old.id,))
    assert world.current_key(NAME).id == current.id
    assert world.consumer_works(NAME)
    calm(world)


@pytest.mark.parametrize("strategy", [REPLACE_FIRST, REVOKE_FIRST])
@pytest.mark.parametrize("by", BY)
def test_a_current_key_that_was_not_named_stays_where_replacing_it_fails(by: str, strategy: Strategy) -> None:
    world = World()
    old, current = in_grace(world)
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, method="POST", status=403))
    report = revoke(world, strategy, **target(by, old))
    assert not report.ok
    assert any(current.id in error and "stays" in error for error in report.errors)
    assert not alive(world, old)
    assert world.consumer_works(NAME)
    calm(world)


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("by", BY)
def test_the_key_of_an_unadopted_secret_is_found(by: str, strategy: Strategy) -> None:
    world = World()
    key = world.managed(NAME, adopted=False)
    world.managed("prod/other", adopted=False)
    report = revoke(world, strategy, **target(by, key))
    assert report.ok, report.errors
    assert report.revoked == (key.id,)
    assert world.consumer_works("prod/other")
    calm(world)


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("reveal", [True, False])
def test_an_orphan_of_this_deployment_is_ended(by: str, reveal: bool) -> None:
    world = World(options=Options(reveal=reveal))
    world.managed(NAME)
    name = key_name(NAME, world.store.peek(NAME).arn, "default", world.new_id())
    orphan = world.infobip.add_key(world.accounts["main"], name)
    report = revoke(world, **target(by, orphan))
    assert report.ok
    assert report.revoked == (orphan.id,)
    proven = by == "value" or reveal
    assert report.steps[0].note.startswith("verified" if proven else "not verified")
    assert not alive(world, orphan)
    assert world.consumer_works(NAME)
    assert world.current_key(NAME).id == world.first_keys[NAME].id


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("whose", ["somebody's own", "staging"])
def test_a_key_that_is_provably_not_ours_is_refused(by: str, whose: str) -> None:
    world = World()
    world.managed(NAME)
    name = key_name(NAME, world.store.peek(NAME).arn, whose, "0" * 32) if whose == "staging" else whose
    foreign = world.infobip.add_key(world.accounts["main"], name)
    with pytest.raises(Refused, match="not managed here"):
        revoke(world, **target(by, foreign))
    assert alive(world, foreign)
    said = [(line["event"], line["outcome"]) for line in world.lines()]
    assert said == [("emergency.requested", "attempt"), ("emergency.completed", "denied")]


@pytest.mark.parametrize("by", BY)
def test_a_dead_key_is_harmless(by: str) -> None:
    world = World()
    old, current = in_grace(world)
    world.infobip.portal_disable(old.id)
    report = revoke(world, **target(by, old))
    assert (report.ok, report.steps) == (True, [])
    assert world.current_key(NAME).id == current.id
    lost = world.infobip.add_key(world.accounts["main"], "not ours", enabled=False)
    assert revoke(world, **target(by, lost)).ok


def test_a_key_that_infobip_does_not_know_is_refused() -> None:
    world = World()
    world.managed(NAME)
    with pytest.raises(Refused, match="has no key") as caught:
        revoke(world, key_id="0" * 32, account="main")
    assert not isinstance(caught.value, KeyNotFound)


def test_a_key_that_was_just_stored_is_not_taken_for_an_orphan() -> None:
    world = World(staleness=timedelta(minutes=5))
    _, current = in_grace(world)
    world.pass_time(HOUR)
    assert revoke(world).ok
    new = world.current_key(NAME)
    world.pass_time(timedelta(minutes=2))  # the listing still shows `current`
    report = revoke(world, key_id=new.id, account="main")
    assert report.ok, report.errors
    assert new.id in report.revoked
    assert current.id not in report.revoked
    assert world.consumer_works(NAME)
    world.pass_time(HOUR)
    calm(world)


def test_a_key_by_its_name_in_a_secret_that_can_not_be_read_is_still_known_as_current() -> None:
    world = World()
    world.managed(NAME)
    assert revoke(world).ok
    current = world.current_key(NAME)
    version = next(v for v, labels in world.labels(NAME).items() if "AWSCURRENT" in labels)
    world.store.label_by_hand(NAME, f"rotator:key:{current.id}", None, version)
    world.store.deny_kms(NAME)
    plan = plan_for(world, key_id=current.id, account="main")
    assert [(revocation.key_id, revocation.role) for revocation in plan.revocations] == [(current.id, "current")]
