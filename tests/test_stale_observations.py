"""A process that stood still, or looked too early: what it saw then is not believed when it goes on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from rotator.engine.rotate_now import rotate_now
from rotator.plan import Outcome
from rotator.policy.labels import key_name
from rotator.sandbox.exchange import Request, Response
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import DAY, HOUR, World

NAME = "prod/sms"
LIST, KEY, PROBE = "api-keys$", "api-keys/", "balance"
PAUSE = timedelta(minutes=11)


def due() -> World:
    world = World()
    world.secret(NAME, left=20 * DAY)
    return world


def then(world: World, method: str, path: str, act: Callable[[], object], *, before: bool = False) -> Fault:
    """Let something happen at the next such request."""
    kind = FaultKind.HOOK_BEFORE if before else FaultKind.HOOK_AFTER

    def hook(_request: Request, _answer: Response | None) -> None:
        act()

    return world.infobip.faults.add(Fault(kind, method=method, path=path, hook=hook))


def made(world: World) -> str:
    """The id of the newest key."""
    return world.infobip.keys()[-1].id


def stood_still(world: World) -> None:
    """Eleven minutes pass, in which somebody ends the new key."""
    world.pass_time(PAUSE)
    world.infobip.change_key(made(world), enabled=False)


def rests(world: World) -> None:
    """Consumers have a key that works, and sweeps bring it to an end."""
    assert world.consumer_works(NAME)
    oks = []
    for _ in range(3):
        world.pass_time(HOUR)
        oks.append(world.sweep().ok)
    assert oks[-1]
    assert world.consumer_works(NAME)
    assert world.current_key(NAME).id not in {key.id for key in world.infobip.keys() if not key.enabled}
    assert not any("AWSPENDING" in labels and "AWSCURRENT" not in labels for labels in world.labels(NAME).values())


def test_new_key_is_read_again_after_pause() -> None:
    world = due()
    old = world.current_key(NAME)
    pause = then(world, "GET", PROBE, lambda: stood_still(world))
    (result,) = world.sweep().results
    assert pause.hits == 1
    assert result.outcome is Outcome.DEFERRED
    assert made(world) in str(result.error)
    assert world.current_key(NAME).id == old.id
    rests(world)


@pytest.mark.parametrize(("killed_at", "age"), [(("GET", PROBE), HOUR), (("POST", LIST), timedelta(minutes=1))])
def test_killed_runs_key_is_read_after_pause(killed_at: tuple[str, str], age: timedelta) -> None:
    """A stored version, and a key that was not stored."""

    def kill() -> None:
        raise KeyboardInterrupt

    world = due()
    old = world.current_key(NAME)
    killed = then(world, *killed_at, kill)
    with pytest.raises(KeyboardInterrupt):
        world.sweep()
    assert killed.hits == 1
    world.pass_time(age)
    then(world, "GET", PROBE, lambda: stood_still(world))
    (result,) = world.sweep().results
    assert made(world) in str(result.error)
    assert world.current_key(NAME).id == old.id
    rests(world)


def test_first_key_is_read_before_storing() -> None:
    """Storing it makes it current: afterwards would be too late."""
    world = due()
    world.create("prod/new", scopes="sms:manage")
    world.sweep(secret=NAME)
    then(world, "GET", PROBE, lambda: stood_still(world))
    (result,) = world.sweep(secret="prod/new").results
    assert made(world) in str(result.error)
    assert world.try_read("prod/new") is None
    world.pass_time(HOUR)
    world.sweep()
    assert world.consumer_works("prod/new")


def test_late_key_waits_for_orphans() -> None:
    """Another sweep looked right before it was stored; its call that ends the key arrives within the next minute."""
    world = due()
    old = world.current_key(NAME)
    move = world.clock.advance

    def stored_late(op: str, _secret: str) -> None:
        if op != "stage":
            return
        world.store.before = None
        move(timedelta(minutes=31))
        arrives, key_id = world.clock.now() + timedelta(seconds=50), made(world)

        def advance(by: timedelta) -> None:
            move(by)
            if world.clock.now() >= arrives:
                world.infobip.change_key(key_id, enabled=False)

        world.clock.advance = advance  # type: ignore[method-assign]

    world.store.before = stored_late
    (result,) = world.sweep().results
    assert made(world) in str(result.error)
    assert world.current_key(NAME).id == old.id
    world.clock.advance = move  # type: ignore[method-assign]
    rests(world)


@pytest.mark.parametrize("way", ["disabled", "gone"])
def test_old_key_stays_if_current_disabled(world: World, way: str) -> None:
    """The listing is minutes old where an account is large: the key in use is read again, right before."""
    old = world.secret(NAME)
    rotate_now(world.services(), NAME, "test")
    world.pass_time(72 * HOUR)
    current = world.current_key(NAME)
    infobip = world.infobip
    end = partial(infobip.change_key, enabled=False) if way == "disabled" else infobip.delete_key
    then(world, "GET", LIST, lambda: end(current.id))
    (result,) = world.sweep().results
    assert result.action.key_id == old.id
    assert result.outcome is Outcome.FAILED
    assert world.infobip.key(old.id).enabled


def test_429_ends_sweep_of_one_account() -> None:
    world = due()
    world.secret("prod/voice", left=19 * DAY, lifetime=89 * DAY)
    world.secret("other/mail", account="other", left=20 * DAY)
    mine = world.accounts["main"]
    throttled = Fault(FaultKind.THROTTLE, method="POST", path=LIST, when=lambda request: b"prod/" in request.body)
    world.infobip.faults.add(throttled)
    results = {result.action.secret: result for result in world.sweep().results}
    assert results["prod/voice"].outcome is results[NAME].outcome is Outcome.DEFERRED
    assert results["other/mail"].outcome is Outcome.DONE
    assert throttled.hits == throttled.matched == 1
    assert world.infobip.creates_used(mine) == 0
    world.infobip.faults.clear()
    world.pass_time(HOUR)
    assert all(result.outcome is Outcome.DONE for result in world.sweep().results)


@pytest.mark.parametrize(("seconds", "outcome"), [(60, Outcome.DONE), (61, Outcome.DEFERRED)])
def test_orphan_evidence_is_minute_old(world: World, seconds: int, outcome: Outcome) -> None:
    """A run that stores such an old key waits for longer than that, and then finds it ended."""
    world.secret(NAME, left=80 * DAY)
    start = world.clock.now() - HOUR
    name = key_name(NAME, world.store.peek(NAME).arn, "default", "0" * 36)
    orphan = world.infobip.add_key(world.accounts["main"], name, valid_from=start, valid_to=start + 9 * DAY)

    def slow(_op: str, _secret: str) -> None:
        if world.store.calls[-2:] == [("describe", NAME), ("version_dates", NAME)]:
            world.clock.advance(timedelta(seconds=seconds))

    world.store.before = slow
    (result,) = world.sweep().results
    assert (result.action.key_id, result.outcome) == (orphan.id, outcome)
    assert world.infobip.key(orphan.id).enabled == (outcome is not Outcome.DONE)
