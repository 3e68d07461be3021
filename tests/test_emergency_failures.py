"""What goes wrong: replacing, killing, looking, cleaning up. A leaked key dies all the same, or that is said."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from rotator.engine.emergency import Strategy
from rotator.errors import StoreUnavailable
from rotator.model import ActionKind, Outcome
from rotator.sandbox.faults import Fault, FaultKind
from tests.emergencies import (
    CREATE,
    DENIED,
    LIST,
    NAME,
    PROBE,
    READ,
    REPLACE_FIRST,
    REVOKE_FIRST,
    REVOKE_ONLY,
    alive,
    calm,
    fault,
    in_grace,
    refuse,
    revoke,
)
from tests.world import World


def _limit(world: World) -> None:
    world.infobip.options.daily_creates = world.infobip.creates_used(world.accounts["main"])


def _nothing_is_told(world: World) -> None:
    """Infobip takes changes and answers no question."""
    fault(world, FaultKind.STATUS_BEFORE, READ, status=503)
    fault(world, FaultKind.STATUS_BEFORE, LIST, status=503)


WAYS: dict[str, tuple[Callable[[World], object], str]] = {
    "the daily limit is reached": (_limit, "429"),
    "creating is forbidden": (lambda world: fault(world, FaultKind.STATUS_BEFORE, CREATE, status=403), "403"),
    "Infobip fails": (lambda world: fault(world, FaultKind.STATUS_BEFORE, CREATE, status=500), "500"),
    "the answer is lost": (lambda world: fault(world, FaultKind.HANG_BEFORE, CREATE), "not known whether"),
    "the value can't be read": (refuse("read_current", DENIED), "AccessDenied"),
    "storing is denied": (refuse("stage", DENIED), "AccessDenied"),
    "storing fails": (refuse("stage", StoreUnavailable("throttled")), "throttled"),
    "promoting is denied": (refuse("promote", DENIED), "AccessDenied"),
    "the new key is refused": (lambda world: fault(world, FaultKind.STATUS_BEFORE, PROBE, status=401), "does not auth"),
    "the probe tells nothing": (
        lambda world: fault(world, FaultKind.STATUS_BEFORE, PROBE, status=500),
        "works is not known",
    ),
    "a bug": (refuse("stage", ZeroDivisionError("value")), "a bug in rotator: ZeroDivisionError"),
    "the tags can't be read": (lambda world: world.store.tag(NAME, {"rotator:grace": "soon"}), "rotator:grace"),
    "it is a replica": (lambda world: world.store.make_replica(NAME), "replica"),
    "a service owns it": (lambda world: world.store.set_owning_service(NAME), "managed by rds"),
    "it is being deleted": (lambda world: world.store.delete(NAME), "scheduled for deletion"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("strategy", [REPLACE_FIRST, REVOKE_FIRST])
def test_the_keys_die_even_when_replacing_fails_and_the_result_says_so(way: str, strategy: Strategy) -> None:
    arrange, said = WAYS[way]
    world = World()
    old, current = in_grace(world, rotated=True)
    arrange(world)
    report = revoke(world, strategy)
    assert not report.ok
    assert not report.replaced
    assert any(NAME in error and said in error for error in report.errors), report.errors
    assert not alive(world, old)
    assert not alive(world, current)
    assert set(report.revoked) == {old.id, current.id}
    assert [(s.what, s.ok) for s in report.steps if s.what == "promoted"] == [("promoted", False)]
    assert world.events_named("rotation.failed", "failure")
    assert world.events_named("emergency.completed", "failure")
    # When the trouble is over, ordinary sweeps bring it back.
    world.infobip.faults.clear()
    world.infobip.options.daily_creates = 40
    world.store.before = None
    world.store.restore(NAME)
    world.store.set_owning_service(NAME, None)
    world.store.make_replica(NAME, "eu-central-1")
    world.store.untag(NAME, "rotator:grace")
    calm(world)


@pytest.mark.parametrize("strategy", list(Strategy))
def test_reads_of_single_keys_are_not_needed(strategy: Strategy) -> None:
    """One key is proven by name, by a list; the other by value, by a search."""
    world = World()
    old, current = in_grace(world)
    fault(world, FaultKind.STATUS_BEFORE, READ, status=503)
    report = revoke(world, strategy)
    assert report.ok, report.errors
    assert not alive(world, old)
    assert not alive(world, current)
    assert world.consumer_works(NAME) is (strategy is not REVOKE_ONLY)
    world.infobip.faults.clear()
    calm(world)


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_failing_search_by_value_is_not_needed(strategy: Strategy) -> None:
    """The labelled key is read by its id, and its value is compared."""
    world = World()
    key = world.managed(NAME)
    world.infobip.faults.add(
        Fault(FaultKind.STATUS_BEFORE, when=lambda each: "apiKeySecret" in each.query, count=None, status=500)
    )
    report = revoke(world, strategy)
    assert report.ok, report.errors
    assert report.revoked == (key.id,)
    assert not alive(world, key)
    assert world.consumer_works(NAME) is (strategy is not REVOKE_ONLY)


@pytest.mark.parametrize("way", ["no question is answered", "it is being deleted"])
@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_key_that_nothing_proves_stays_enabled(way: str, strategy: Strategy) -> None:
    """Only a label says whose it is. The error names the command that revokes it all the same."""
    world = World()
    old, current = in_grace(world)
    if way == "it is being deleted":
        world.store.delete(NAME)  # its values can't be read any more
        unproven = [old]
    else:
        _nothing_is_told(world)
        unproven = [old, current]
    report = revoke(world, strategy)
    assert not report.ok
    assert [key for key in (old, current) if alive(world, key)] == unproven
    for key in unproven:
        (error,) = (error for error in report.errors if key.id in error and "nothing proves" in error)
        assert f"`rotator revoke --key-id {key.id} --account main`" in error
        assert [s.ok for s in report.steps if (s.what, s.key_id) == ("revoked", key.id)] == [False]
        revoke(world, REVOKE_ONLY, key_id=key.id, account="main")
        assert not alive(world, key)


def test_an_unproven_key_in_grace_is_due_at_the_next_sweep() -> None:
    world = World()
    old, current = in_grace(world)
    _nothing_is_told(world)
    report = revoke(world)
    (error,) = (error for error in report.errors if old.id in error)
    assert "The next sweep tries again." in error
    assert not any("next sweep" in error for error in report.errors if current.id in error)
    world.infobip.faults.clear()
    world.pass_time(timedelta(minutes=1))
    world.sweep()
    assert not alive(world, old)
    assert alive(world, current)


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_wrong_label_does_not_protect_the_current_key(strategy: Strategy) -> None:
    """Whoever may write labels must not be able to send an emergency to another secret's key."""
    world = World()
    other = world.managed("prod/other")
    key = world.managed(NAME, scopes=["sms:manage"])
    world.store.tag(NAME, {"rotator:scopes": "sms:manage"})
    version = next(iter(world.labels(NAME)))
    world.store.label_by_hand(NAME, f"rotator:key:{key.id}", None, version)
    world.store.label_by_hand(NAME, f"rotator:key:{other.id}", version)
    report = revoke(world, strategy)
    assert not alive(world, key)
    assert alive(world, other)
    assert world.consumer_works("prod/other")
    assert world.consumer_works(NAME) is (strategy is not REVOKE_ONLY)
    assert report.revoked == (key.id,)
    (error,) = report.errors
    assert f"key {other.id}, which a label of {NAME} names, is not revoked" in error
    assert f"its value is key {key.id}, which is revoked" in error


def test_a_key_in_another_field_of_the_leaked_value_is_revoked() -> None:
    """``rotator:value-field`` was changed: the labelled key is what the old field holds, and leaked with the rest."""
    world = World()
    key = world.managed(NAME, extra={"token": "none yet"})
    world.store.tag(NAME, {"rotator:value-field": "token"})
    report = revoke(world, REVOKE_ONLY)
    assert report.ok, report.errors
    assert not alive(world, key)


@pytest.mark.parametrize(
    "way", ["it is a replica", "a service owns it", "the tags can't be read", "the value can't be read"]
)
def test_no_key_is_made_where_it_could_not_be_used(way: str) -> None:
    world = World()
    in_grace(world)
    WAYS[way][0](world)
    before = len(world.infobip.keys())
    assert not revoke(world).ok
    assert len(world.infobip.keys()) == before


def test_a_replacement_that_could_not_be_proven_is_finished_by_the_next_sweep() -> None:
    world = World()
    in_grace(world)
    fault(world, FaultKind.STATUS_BEFORE, PROBE, status=500)
    assert not revoke(world).ok
    world.infobip.faults.clear()
    before = len(world.infobip.keys())
    (result,) = world.sweep().results
    assert (result.action.kind, result.outcome) == (ActionKind.RESUME, Outcome.DONE)
    assert world.consumer_works(NAME)
    assert len(world.infobip.keys()) == before


def test_the_reserve_is_used() -> None:
    world = World()
    world.managed(NAME)
    for _ in range(35):  # what scheduled work may use, and more
        world.infobip.add_key(world.accounts["main"], "used up")
    assert revoke(world).ok
    assert world.consumer_works(NAME)
