"""An account with more disabled keys than Infobip lists: its use of the day can't be counted, and the limits hold."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import pytest

from rotator.engine.sweep import Sweep
from rotator.model import Policy
from rotator.policy.daily_limit import begin_of
from rotator.reasons import Reason
from tests.support.infobip_faults import InfobipFaults
from tests.world import DAY, HOUR, World

MINUTE = timedelta(minutes=1)


def busy_world(count: int, every: timedelta, *, left: timedelta = 20 * DAY, grace: str = "72h") -> World:
    """Secrets whose keys are due."""
    world = World(policy=Policy(sweep_every=every))
    for number in range(count):
        world.secret(f"prod/{number:03}", left=left, grace=grace)
    InfobipFaults(world.infobip).cut_the_list_of_disabled_keys()
    return world


def sweeps(world: World, span: timedelta) -> list[Sweep]:
    done = []
    end = world.clock.now() + span
    while world.clock.now() + world.policy.sweep_every <= end:
        world.pass_time(world.policy.sweep_every)
        done.append(world.sweep())
    return done


def at(world: World, event: str) -> list[datetime]:
    return [datetime.fromisoformat(line["timestamp"]) for line in world.events_named(event)]


def in_parts(world: World, event: str) -> Counter[datetime]:
    """How often something was done in each part of the day."""
    return Counter(begin_of(moment, world.policy) for moment in at(world, event))


@pytest.mark.parametrize(("every", "a_day"), [(10 * MINUTE, 32), (HOUR, 24), (6 * HOUR, 4)])
def test_each_part_has_one_of_each(every: timedelta, a_day: int) -> None:
    world = busy_world(a_day * 2, every, grace="6h")
    done = sweeps(world, DAY)
    assert set(in_parts(world, "key.created").values()) == {1}
    assert len(at(world, "key.created")) == a_day
    assert set(in_parts(world, "key.revoked").values()) <= {1}
    assert all(sweep.succeeded for sweep in done)
    sweeps(world, DAY)
    assert len(at(world, "key.created")) == 2 * a_day
    assert set(in_parts(world, "key.created").values()) == {1}
    assert set(in_parts(world, "key.revoked").values()) == {1}
    account = world.accounts["main"]
    assert max(world.infobip.creates_used(account), world.infobip.updates_used(account)) <= 32


def test_next_sweep_uses_nothing_more() -> None:
    world = busy_world(3, HOUR)
    for _ in range(3):
        world.sweep()
        world.pass_time(MINUTE)
    assert len(at(world, "key.created")) == 1


def test_two_names_share_one_part() -> None:
    world = busy_world(3, HOUR)
    user = next(iter(world.infobip.state.users.values()))
    world.accounts["alias"] = world.accounts["main"]
    world.management(user, "alias")
    world.secret("prod/alias", account="alias", left=20 * DAY)
    sweep = world.sweep()
    assert len(at(world, "key.created")) == 1
    assert {a.kind for plan in sweep.plan.accounts for a in plan.alerts} >= {Reason.SHARED_ACCOUNT}


def test_rotation_with_coming_slot_in_time() -> None:
    world = busy_world(30, HOUR)
    found = [a.kind for sweep in sweeps(world, 30 * HOUR) for plan in sweep.plan.accounts for a in plan.alerts]
    assert set(found) == {Reason.LISTING_INCOMPLETE}


def test_keys_are_replaced_in_time() -> None:
    world = busy_world(60, HOUR, left=4 * DAY)
    sweeps(world, 4 * DAY)
    assert all(world.consumer_works(name) for name in world.names())
    assert len({world.current_key(name).id for name in world.names()} & {k.id for k in world.first_keys.values()}) == 0
