"""What a sweep may still create and update: free slots, those that are free soon, and what others take meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from rotator.engine.context import LONGEST_WAIT, Budget, Limit
from rotator.model import Policy
from rotator.policy.guards import UsedSlots
from tests.policy.build import DAY, HOUR, MINUTE, NOW, SECOND

FIVE = Policy(daily_limit=7, reserve=2)
"""Five slots a day for scheduled work."""
AT_ONCE = timedelta(0)


def made(*ago: timedelta) -> UsedSlots:
    """Creates and updates that were made so long ago."""
    used = tuple(sorted(NOW - each for each in ago))
    return UsedSlots(used, used)


def budget(*ago: timedelta, total: int | None = None) -> Budget:
    return Budget.of(made(*ago), FIVE, NOW, total)


def test_without_a_limit_there_is_always_a_slot() -> None:
    free = Budget()
    assert free.creates is None
    assert [free.take_create(NOW, 1000) for _ in range(50)] == [AT_ONCE] * 50
    assert all(free.take_update(NOW) is not None for _ in range(50))


@pytest.mark.parametrize(
    ("ago", "waits"),
    [
        ((), [AT_ONCE] * 5 + [None]),
        ((HOUR,), [AT_ONCE] * 4 + [None]),
        ((HOUR,) * 9, [None]),
        ((DAY - 10 * MINUTE,), [AT_ONCE] * 4 + [None]),  # its slot is free too late to be waited for
        ((DAY - 30 * SECOND, DAY - 40 * SECOND, HOUR, HOUR), [AT_ONCE, 30 * SECOND, 40 * SECOND, None]),
        ((DAY - MINUTE, *[HOUR] * 4), [MINUTE, None]),
        ((DAY - MINUTE - SECOND, *[HOUR] * 4), [None]),
        # An emergency used both slots of the reserve: the two that are free first are its own.
        ((*(DAY - n * 10 * SECOND for n in (1, 2, 3)), *[HOUR] * 4), [30 * SECOND, None]),
    ],
)
def test_what_the_day_leaves(ago: tuple[timedelta, ...], waits: list[timedelta | None]) -> None:
    found = budget(*ago)
    assert [found.take_create(NOW) for _ in waits] == waits
    assert LONGEST_WAIT == MINUTE


def test_the_sweep_goes_on_meanwhile() -> None:
    late = budget(DAY - 5 * MINUTE, *[HOUR] * 4)
    assert late.take_create(NOW) is None
    assert late.take_create(NOW + 4 * MINUTE) == MINUTE
    assert late.take_create(NOW + 9 * MINUTE) is None
    assert budget(DAY - 2 * MINUTE, *[HOUR] * 4).take_create(NOW + 3 * MINUTE) == AT_ONCE


@pytest.mark.parametrize(("used", "free"), [((NOW - HOUR,) * 3, 2), (None, 5)])
def test_updates_are_counted_for_themselves(used: tuple[datetime, ...] | None, free: int) -> None:
    """Those that were not counted, since disabled keys were not listed, are free."""
    found = Budget.of(UsedSlots((), used), FIVE, NOW)
    assert [found.take_update(NOW) is not None for _ in range(free + 1)] == [True] * free + [False]
    assert sum(found.take_create(NOW) is not None for _ in range(9)) == 5


@pytest.mark.parametrize(
    ("first", "totals"),
    [
        (100, [(100, True), (101, True), (104, True), (105, False)]),  # 101 is its own; then two of others: none left
        (100, [(102, True), (103, True), (104, True), (105, False)]),  # taken off once
        (100, [(104, True), (90, False)]),  # a count that shrinks gives nothing back
        *((first, [(then, True)] * 5 + [(then, False)]) for first, then in ((None, 999), (100, None), (None, None))),
    ],
)
def test_what_others_create_meanwhile_is_taken_off(first: int | None, totals: list[tuple[int | None, bool]]) -> None:
    found = budget(total=first)
    assert [found.take_create(NOW, total) == AT_ONCE for total, _ in totals] == [given for _, given in totals]


def test_others_take_the_slots_that_are_free_first() -> None:
    """Two slots are free in 10 and in 20 seconds; another sweep has taken one: 20 seconds are to be waited."""
    found = Budget.of(made(DAY - 10 * SECOND, DAY - 20 * SECOND, *[HOUR] * 3), FIVE, NOW, 100)
    assert found.take_create(NOW, 101) == 20 * SECOND
    assert found.take_create(NOW, 102) is None


def test_accounts_that_share_one_never_take_more_than_there_is() -> None:
    found = Budget(Limit(200), Limit(200))
    with ThreadPoolExecutor(8) as pool:
        creates = [*pool.map(lambda _: found.take_create(NOW) is not None, range(400))]
        updates = [*pool.map(lambda _: found.take_update(NOW) is not None, range(400))]
    assert (sum(creates), sum(updates)) == (200, 200)
