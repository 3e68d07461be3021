"""How long the planner takes: pure arithmetic over a fleet of one account."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from rotator.model import AccountSnapshot, Key, Policy, SecretEntry
from rotator.policy.planner import plan_account

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
LIFE = timedelta(days=90)
TAGS = {"rotator:role": "key", "rotator:account": "main"}
SCOPES = frozenset({"sms:manage"})


def planner_times(sizes: list[int], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """One row a size. ``growth`` is the time for ``n log n`` relative to the smallest size: 1 is exactly that."""
    rows: list[dict[str, Any]] = []
    for count in sizes:
        say(f"plan for {count:,} keys")
        snapshot = fleet(count)
        # Infobip raised the limit with the fleet: twice what the fleet needs.
        policy = Policy(daily_limit=8 + max(32, count * 2 // 60))
        seconds = min(_once(snapshot, policy) for _ in range(5))
        rows.append({"keys": count, "cpu_seconds": seconds, "cpu_microseconds_a_key": seconds / count * 1e6})
    first = rows[0]["cpu_seconds"] / _n_log_n(rows[0]["keys"]) if rows else 1.0
    for row in rows:
        row["growth"] = row["cpu_seconds"] / _n_log_n(row["keys"]) / first
    return rows


def fleet(count: int) -> AccountSnapshot:
    """An account in the middle of its life: keys of 90 days that end evenly, 30 to 90 days from now; nothing is due."""
    secrets, keys = [], {}
    for index in range(count):
        key_id, version = f"{index:032X}", f"{index:08x}-0000-4000-8000-000000000000"
        name = f"prod/service-{index:07}/infobip"
        end = NOW + timedelta(days=30) + timedelta(days=60) * (index + 1) / count
        keys[key_id] = Key(key_id, f"{name}/rotator:default:{version}", "A", True, end - LIFE, end, SCOPES)
        versions = {
            version: frozenset(("AWSCURRENT", "AWSPENDING", f"rotator:key:{key_id}")),
            f"{index:08x}-0000-4000-8000-00000000000a": frozenset(("AWSPREVIOUS",)),
        }
        arn = f"arn:aws:secretsmanager:eu-central-1:123456789012:secret:{name}-AbCdEf"
        secrets.append(SecretEntry(arn, name, TAGS, versions))
    return AccountSnapshot("main", tuple(secrets), keys)


def _once(snapshot: AccountSnapshot, policy: Policy) -> float:
    gc.collect()
    begun = time.process_time()
    plan = plan_account(snapshot, policy, NOW)
    took = time.process_time() - begun
    if plan.actions or plan.skipped or plan.alerts:
        raise AssertionError(f"not an idle fleet: {plan.actions[:1]} {plan.skipped[:1]} {plan.alerts[:1]}")
    return took


def _n_log_n(count: int) -> float:
    return count * math.log2(count)
