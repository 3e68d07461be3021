from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest

from rotator.clock import SystemClock
from rotator.sandbox.clocks import DEFAULT_START, OffsetClock, VirtualClock


def test_virtual_time_moves_only_when_told() -> None:
    clock = VirtualClock()
    assert clock.now() == clock.now() == DEFAULT_START
    clock.sleep(90)
    clock.sleep(-5)
    clock.advance(timedelta(days=-1))
    assert clock.now() == DEFAULT_START + timedelta(seconds=90) - timedelta(days=1)
    clock.set(DEFAULT_START)
    clock.sleep(0.5)
    assert clock.monotonic() == 90 + 86400 - 90 + 0.5  # what passed: it never decreases


def test_times_are_in_utc_and_need_offset() -> None:
    clock = VirtualClock(datetime(2026, 12, 1, 12, tzinfo=timezone(timedelta(hours=2))))
    assert clock.now().isoformat() == "2026-12-01T10:00:00+00:00"
    with pytest.raises(ValueError, match="offset"):
        clock.set(datetime(2026, 12, 1))
    clock.set(datetime(2027, 1, 1, tzinfo=UTC))
    assert clock.now() == datetime(2027, 1, 1, tzinfo=UTC)


def test_offset_clock_follows_its_base() -> None:
    base = VirtualClock()
    clock = OffsetClock(base, timedelta(minutes=-7))
    assert clock.now() == base.now() - timedelta(minutes=7)
    clock.set(DEFAULT_START + timedelta(days=30))
    assert clock.monotonic() == 0  # a step is no time that passed
    base.advance(timedelta(hours=1))
    clock.sleep(60)
    clock.advance(timedelta(seconds=-30))
    assert clock.now() == DEFAULT_START + timedelta(days=30, hours=1, seconds=30)
    assert clock.monotonic() == 3660
    assert base.now() == DEFAULT_START + timedelta(hours=1)


def test_offset_clock_follows_machine() -> None:
    before, passed = datetime.now(UTC), SystemClock().monotonic()
    clock = OffsetClock()
    assert before <= clock.now() <= datetime.now(UTC)
    assert passed <= clock.monotonic() <= SystemClock().monotonic()


def test_no_step_is_lost_between_threads() -> None:
    clock = VirtualClock()

    def step() -> None:
        for _ in range(500):
            clock.sleep(1)

    threads = [threading.Thread(target=step) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.now() == DEFAULT_START + timedelta(seconds=2000)
