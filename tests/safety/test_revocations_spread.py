"""Revocations after grace are spread over sweeps and never blocked; many orphans at once are."""

from __future__ import annotations

import uuid
from datetime import timedelta

from tests.safety.harness import DAY, HOUR, SimKey
from tests.support.rotator import Rotator

MINUTE = timedelta(minutes=1)


def rotated_fleet(rotator: Rotator, count: int) -> list[str]:
    """That many secrets, rotated by one sweep; gives the ids of their old keys."""
    old = [rotator.secret(f"prod/api-{number:02}", left=20 * DAY, grace="1h").id for number in range(count)]
    rotator.sweep()
    return old


def sweep_within_limit(rotator: Rotator) -> set[str]:
    """One sweep; gives the ids of the keys that it revoked, at most a quarter of those enabled or five."""
    before = rotator.enabled()
    rotator.sweep()
    revoked = before.keys() - rotator.enabled().keys()
    assert len(revoked) <= max(5, len(before) // 4)
    return revoked


def orphans(rotator: Rotator, count: int) -> list[SimKey]:
    """Keys that were made for versions that no secret has."""
    rotator.secret("prod/api")
    names = [rotator.key_name("prod/api", str(uuid.uuid4())) for _ in range(count)]
    return [rotator.key(name, age=40 * MINUTE) for name in names]


def test_rotated_fleet_loses_its_old_keys(rotator: Rotator) -> None:
    old = set(rotated_fleet(rotator, 10))
    for _ in range(4):
        rotator.pass_time(HOUR)
        sweep_within_limit(rotator)
    assert not old & rotator.enabled().keys(), "revocations were postponed without anything being wrong"


def test_many_orphans_are_kept_with_alert(rotator: Rotator) -> None:
    """Threat: many keys that seem to be orphans. None is revoked without --force."""
    made = orphans(rotator, 10)
    ran = rotator.sweep()
    rotator.sweeps(2)
    assert all(rotator.works(key) for key in made)
    assert ran.alerts("too-many-orphans")


def test_many_orphans_block_no_grace_over(rotator: Rotator) -> None:
    """Threat: many apparent orphans that block the other revocations. Those continue."""
    old = set(rotated_fleet(rotator, 3))
    made = orphans(rotator, 10)
    rotator.sweeps(2)
    assert not old & rotator.enabled().keys()
    assert all(rotator.works(key) for key in made)
