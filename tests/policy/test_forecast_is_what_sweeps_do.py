"""The forecast of a random fleet, and what real sweeps of it then do, day by day."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from rotator.model import Policy
from rotator.policy.forecast import AccountForecast, forecast_account
from rotator.policy.labels import key_label
from rotator.secret import Secret
from tests import leaks
from tests.world import DAY, HOUR, START, World

DAYS: Final = 24
EVERY: Final = 5 * HOUR
TAGS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"rotate_before": "5d"},
    {"validity": "20d", "rotate_before": "4d", "grace": "2d"},
    {"max_age": "15d", "grace": "1d"},
    {"validity": "8d", "rotate_before": "0.5", "grace": "3d"},
    {"window": "Mon-Fri 09:00-17:00 Europe/Zagreb"},
    {"window": "daily 22:00-03:00 UTC", "validity": "12d", "rotate_before": "2d"},
    {"window": "Sun 01:00-09:00 UTC", "rotate_before": "10d"},
    {"hold": "audit"},
    {"grace": "soon"},
)


def random_world(seed: int) -> World:
    """Up to 25 secrets whose keys were created by hand a while ago; some have no label yet, some expire soon."""
    rng = random.Random(seed)
    world = World(seed=seed, policy=Policy(daily_limit=rng.randint(3, 9), reserve=rng.randint(0, 2), sweep_every=EVERY))
    for number in range(rng.randint(8, 25)):
        left, age = rng.randint(1, rng.choice((150, 500, 1000))) * HOUR, rng.randint(8, 80) * DAY
        world.secret(f"s{number:02}", left=left, lifetime=left + age, adopted=rng.random() < 0.8, **rng.choice(TAGS))
    return world


def sweeps(world: World) -> set[tuple[str, datetime]]:
    """Sweep for all the days; gives the secrets whose keys expired before they were replaced, and when that was."""
    missed: set[tuple[str, datetime]] = set()
    while world.clock.now() < START + DAYS * DAY:
        _note_expired(world, missed, timedelta(0))
        world.sweep()
        _note_expired(world, missed, timedelta.resolution)
        world.pass_time(world.policy.sweep_every)
    _note_expired(world, missed, timedelta(0))
    return missed


def _note_expired(world: World, missed: set[tuple[str, datetime]], ahead: timedelta) -> None:
    for name in world.names():
        expires = world.current_key(name).valid_to
        if expires < world.clock.now() + ahead:
            missed.add((name, expires))


def forecast(world: World) -> AccountForecast:
    """The forecast of a world as it is now."""
    (snapshot,), _ = world.reconciler().snapshots()
    return forecast_account(snapshot, world.policy, world.clock.now(), days=DAYS)


def by_day(moments: Iterable[datetime]) -> list[int]:
    """How many are on each of the days."""
    counts = Counter((moment - START) // DAY for moment in moments)
    return [counts[day] for day in range(DAYS)]


def done(world: World, event: str) -> list[int]:
    """How often sweeps did something, by the audit trail."""
    return by_day(datetime.fromisoformat(line["timestamp"]) for line in world.events_named(event))


@pytest.mark.parametrize("seed", range(5))
def test_each_days_rotations_and_expiries(seed: int) -> None:
    world = random_world(seed)
    told = forecast(world)
    missed = sweeps(world)
    assert [day.rotations for day in told.days] == done(world, "secret.promoted")
    assert [day.revocations for day in told.days] == done(world, "key.revoked")
    assert {(risk.secret, risk.expires_at) for risk in told.at_risk} == missed
    assert sum(done(world, "secret.promoted")) > 5


def test_revocation_waits_for_limit_of_sweep() -> None:
    """Twelve keys whose grace is over at once: a quarter of the 24 in a sweep, then five, then the last (rule 9)."""
    world = World(policy=Policy(sweep_every=12 * HOUR))
    for number in range(12):
        world.secret(f"s{number:02}", left=9 * DAY)
    told = forecast(world)
    sweeps(world)
    assert [day.revocations for day in told.days] == done(world, "key.revoked")
    assert [day.revocations for day in told.days][:6] == [0, 0, 0, 11, 1, 0]


def test_stored_replacement_needs_no_create() -> None:
    world = World(policy=Policy(daily_limit=4, reserve=1, sweep_every=EVERY))
    for number in range(9):
        world.secret(f"s{number:02}", left=30 * DAY, grace="1d")
    stored = world.infobip.add_key(world.accounts["main"], "by hand", scopes=("sms:manage",))
    value = Secret(json.dumps({"api_key": leaks.register(str(stored.value))}))
    world.store.stage("s00", world.new_id(), value, ("AWSPENDING", key_label(stored.id)))
    told = forecast(world)
    sweeps(world)
    assert [day.rotations for day in told.days] == done(world, "key.created")
    assert [day.revocations for day in told.days] == done(world, "key.revoked")
