"""Replacements that were rejected, and keys that only seem so: what waits, for how long, and what it costs."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from rotator.engine.rotate_now import rotate_now
from rotator.plan import Outcome
from rotator.reasons import Reason
from rotator.sandbox.state import Options
from tests.emergencies import PROBE, REVOKE_ONLY, EmergencyWorld, Tape, named
from tests.support.faulty_infobip import FaultKind
from tests.world import DAY, HOUR, NAME, START

MINUTE = timedelta(minutes=1)


def creates(world: EmergencyWorld) -> int:
    return world.infobip.creates_used(world.accounts["main"])


@pytest.mark.parametrize("by", ["secret", "key", "value"])
def test_emergency_revocations_delay_nothing(world: EmergencyWorld, by: str) -> None:
    world.secret(NAME)
    for _ in range(6):
        assert world.revoke(REVOKE_ONLY, **named(by, world.current_key(NAME))).ok
        assert not world.consumer_works(NAME)
        sweep = world.sweep()
        assert Reason.KEY_DISABLED in [result.action.reason for result in sweep.results]
        assert world.consumer_works(NAME)
        world.pass_time(MINUTE)
    world.sweep()
    world.calm()


def test_keys_that_lost_race_delay_nothing() -> None:
    world = EmergencyWorld(options=Options(reveal=False))  # or the faster one would go on with the slower one's key
    world.secret(NAME)
    racing: list[int] = []

    def stop(when: str, _: int, what: str) -> None:
        if when == "before" and what == "stage" and not racing:
            racing.append(1)
            rotate_now(world.services(), NAME, "faster")

    for _ in range(5):
        racing.clear()
        with Tape(world) as tape:
            tape.stop = stop
            (slower,) = rotate_now(world.services(), NAME, "slower")
        assert slower.outcome is not Outcome.DONE
        world.pass_time(MINUTE)
    assert world.revoke(REVOKE_ONLY).ok
    world.sweep()
    assert world.consumer_works(NAME)


def tries(world: EmergencyWorld, *names: str) -> dict[str, list[timedelta]]:
    """When replacements were asked for, by secret."""
    found: dict[str, list[timedelta]] = {name: [] for name in names}
    for key in world.infobip.keys():
        secret, _, rest = key.name.partition("/rotator:")
        if rest:
            found[secret].append(key.created_at - START)
    return found


def _rejecting(names: tuple[str, ...]) -> EmergencyWorld:
    """Secrets without a working key, at an Infobip whose new keys never authenticate."""
    world = EmergencyWorld()
    for name in names:
        world.secret(name, left=-HOUR, lifetime=-HOUR + 90 * DAY)
    world.fault(FaultKind.STATUS_BEFORE, PROBE, status=401)
    return world


def test_broken_secret_retried_with_backoff() -> None:
    world = _rejecting((NAME,))
    for _ in range(72):
        world.sweep()
        world.pass_time(HOUR - 2 * MINUTE)  # with the probing, about one an hour
    made = [round(at / HOUR) for at in tries(world, NAME)[NAME]]
    assert made[:6] == [0, 1, 2, 3, 4, 6]
    assert {later - earlier for earlier, later in pairwise(made[5:])} <= {4, 5}
    assert len(made) >= 15
    world.infobip.faults.clear()
    for _ in range(5):
        world.pass_time(HOUR)
        world.sweep()
    assert world.consumer_works(NAME)


def test_many_rejected_leave_quota_to_others() -> None:
    names = tuple(f"prod/{number}" for number in range(8))
    world = _rejecting(names)
    world.sweep()
    for _ in range(47):
        world.pass_time(HOUR)
        world.sweep()
    made = [at for every in tries(world, *names).values() for at in every]
    assert len([at for at in made if at >= DAY]) <= 16
    assert creates(world) <= world.policy.daily_limit // 2
