"""A slot that was used at noon is free at noon: sweeps once a day use every slot every day."""

from __future__ import annotations

from tests.safety.harness import DAY, Region

PER_DAY, DAYS = 5, 4


def test_daily_sweeps_use_every_slot_every_day(region: Region) -> None:
    names = [f"prod/api-{number:02}" for number in range(DAYS * PER_DAY)]
    for name in names:
        region.secret(name, left=5 * DAY, rotate_before="30d")
    region.system.environment |= {"ROTATOR_DAILY_LIMIT": "7", "ROTATOR_RESERVE": "2"}
    made = []
    for _ in range(DAYS):
        before = len(region.system.rotator_keys())
        region.sweep()
        made.append(len(region.system.rotator_keys()) - before)
        region.system.advance(DAY)
    assert made == [PER_DAY] * DAYS
