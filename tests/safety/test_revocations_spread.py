"""Revocations after grace are spread over sweeps and never blocked; many orphans at once are."""

from __future__ import annotations

import uuid
from datetime import timedelta

from tests.safety.harness import DAY, HOUR, Region, SimKey

MINUTE = timedelta(minutes=1)


def rotated_fleet(region: Region, count: int) -> list[str]:
    """That many secrets, rotated by one sweep; gives the ids of their old keys."""
    old = [region.secret(f"prod/api-{number:02}", left=20 * DAY, grace="1h").id for number in range(count)]
    region.sweep()
    return old


def sweep_within_limit(region: Region) -> set[str]:
    """One sweep; gives the ids of the keys that it revoked, at most a quarter of those enabled or five."""
    before = region.system.enabled()
    region.sweep()
    revoked = before.keys() - region.system.enabled().keys()
    assert len(revoked) <= max(5, len(before) // 4)
    return revoked


def orphans(region: Region, count: int) -> list[SimKey]:
    """Keys that were made for versions that no secret has."""
    region.secret("prod/api")
    names = [region.key_name("prod/api", str(uuid.uuid4())) for _ in range(count)]
    return [region.key(name, age=40 * MINUTE) for name in names]


def test_rotated_fleet_loses_its_old_keys(region: Region) -> None:
    old = set(rotated_fleet(region, 10))
    for _ in range(4):
        region.system.advance(HOUR)
        sweep_within_limit(region)
    assert not old & region.system.enabled().keys(), "revocations were postponed without anything being wrong"


def test_many_orphans_are_kept_with_alert(region: Region) -> None:
    """Threat: many keys that seem to be orphans. None is revoked without --force."""
    made = orphans(region, 10)
    ran = region.sweep()
    region.sweeps(2)
    assert all(region.works(key) for key in made)
    assert ran.alerts("too-many-orphans")


def test_many_orphans_block_no_grace_over(region: Region) -> None:
    """Threat: many apparent orphans that block the other revocations. Those continue."""
    old = set(rotated_fleet(region, 3))
    made = orphans(region, 10)
    region.sweeps(2)
    assert not old & region.system.enabled().keys()
    assert all(region.works(key) for key in made)
