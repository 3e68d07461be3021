"""What an auditor's evidence costs: audit lines of hourly sweeps of 500 secrets, made while they are read."""

from __future__ import annotations

import gc
import hashlib
import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from rotator.evidence.history import History

BEGIN = datetime(2026, 9, 1, tzinfo=UTC)
SECRETS = 500
PER_RUN = 460
"""Lines of a sweep; 2,160 of them, in 90 days, are a million lines."""
EVENTS = ("key.created", "key.verified", "secret.promoted", "key.retiring", "key.revoked", "alert.raised")


def evidence_cost(count: int, say: Callable[[str], None]) -> dict[str, Any]:
    """The processor time, and its ratio to parsing and hashing the same lines; the most memory that Python held."""
    say(f"evidence of {count:,} audit lines")
    made = list(lines(count))
    gc.collect()
    begun = time.process_time()
    for line in made:
        json.loads(line)
        hashlib.sha256(line).hexdigest()
    parsed = time.process_time()
    read(iter(made))
    seconds, ratio = time.process_time() - parsed, (time.process_time() - parsed) / (parsed - begun)
    del made
    return {"lines": count, "cpu_seconds": seconds, "cpu_to_parsing": ratio, "peak_bytes": peak_of(count)}


def peak_of(count: int) -> int:
    """The most memory that Python held at once for so many lines, in bytes."""
    gc.collect()
    tracemalloc.start()
    try:
        read(lines(count))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def read(source: Iterator[bytes]) -> History:
    """Read them as ``rotator evidence`` does."""
    history = History("default", BEGIN, BEGIN + timedelta(days=90))
    history.read("bench", lambda _size: next(source, b""))
    return history


def lines(count: int) -> Iterator[bytes]:
    """Whole lines, chained as the rotator chains them."""
    digest = ""
    for number in range(count):
        run, seq = divmod(number, PER_RUN)
        digest = digest if seq else "0" * 64
        secret = number % SECRETS
        entry = {
            "timestamp": f"{BEGIN + timedelta(hours=run % 2_160, seconds=seq):%Y-%m-%dT%H:%M:%S}.000Z",
            "level": "info",
            "event": EVENTS[number % len(EVENTS)],
            "outcome": "failure" if number % len(EVENTS) == len(EVENTS) - 1 else "success",
            **{"run_id": f"00000000-0000-4000-8000-{run:012}", "seq": seq + 1, "prev": digest, "deployment": "default"},
            **{"actor": "scheduler", "trigger": "schedule", "account": "main", "secret": f"prod/team/{secret}"},
            **{"version_id": f"{secret:032x}", "key_id": f"{secret + SECRETS * (number // 500_000):032X}"},
            **{"reason": "expiring", "incident": None, "error": None, "duration_ms": 12, "detail": "x" * 60},
        }
        line = json.dumps(entry).encode()
        digest = hashlib.sha256(line).hexdigest()
        yield line + b"\n"
