"""What other clients create after the listing counts too: the day's limit and its reserve hold."""

from __future__ import annotations

from tests.safety.harness import DAY, Region


def test_creates_of_another_client_are_counted(region: Region) -> None:
    for number in range(5):
        region.secret(f"prod/api-{number}", left=20 * DAY)
    region.system.environment |= {"ROTATOR_DAILY_LIMIT": "6", "ROTATOR_RESERVE": "2"}

    def another_client() -> None:
        for number in range(3):
            region.system.key(f"of another client {number}", left=90 * DAY, begins=region.system.clock.now())

    region.system.faults.before_create(another_client)
    region.sweep()
    assert len(region.system.rotator_keys()) <= 2, "three others and two of its own: one more than the limit allows"
