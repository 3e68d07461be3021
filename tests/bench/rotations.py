"""How many calls one rotation costs, and the end of the old key's grace: counted in a world of one secret."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rotator.engine.reconcile import Reconciler
from tests.world import DAY, HOUR, World

GRACE = 72 * HOUR


def calls_of_a_rotation() -> dict[str, Any]:
    """Calls by operation: of the rotation itself, and of ending the old key, without the sweep's own lists."""
    world = World()
    world.secret("idle", left=80 * DAY)
    idle = _calls(world)
    world.secret("due", left=20 * DAY, rotated=True)
    rotation = _calls(world) - idle
    world.pass_time(GRACE)
    grace_over = _calls(world) - idle
    return {"rotation": _sorted(rotation), "end_of_grace": _sorted(grace_over)}


def _calls(world: World) -> Counter[str]:
    """What a sweep calls, the daily verification apart."""
    world.store.calls.clear()
    world.infobip.calls.clear()
    services = world.services()
    services.previous = world.clock.now()
    if not Reconciler(services).sweep().ok:
        raise AssertionError("the sweep failed")
    counts = Counter(f"secretsmanager {operation}" for operation, _ in world.store.calls)
    for call in world.infobip.calls:
        where = "key" if "/api-keys/" in call.path else call.path.rpartition("/")[2]
        counts[f"infobip {call.method} {where}"] += 1
    return counts


def _sorted(counts: Counter[str]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {"secretsmanager": {}, "infobip": {}}
    for name, count in sorted(counts.items()):
        whose, _, operation = name.partition(" ")
        found[whose][operation] = count
    return found
