"""What a sweep may still create and update: free slots, those that are free soon, and what others take meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

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


def taken(found: Budget, most: int = 9) -> int:
    """How many creates it gives now."""
    return sum(found.take_create(NOW) is not None for _ in range(most))


def test_without_a_limit_there_is_always_a_slot() -> None:
    free = Budget()
    assert free.creates is None
    assert [free.take_create(NOW, 1000) for _ in range(50)] == [AT_ONCE] * 50
    assert all(free.take_update(NOW) is not None for _ in range(50))


@pytest.mark.parametrize(
    ("ago", "creates"),
    [
        ((), 5),
        ((HOUR,), 4),
        ((HOUR,) * 5, 0),
        ((HOUR,) * 9, 0),
        ((DAY - 10 * MINUTE,), 4),  # its slot is free too late to be waited for
    ],
)
def test_what_the_day_leaves(ago: tuple[timedelta, ...], creates: int) -> None:
    found = budget(*ago)
    assert found.creates is not None
    assert taken(found) == creates
    assert found.take_create(NOW) is None


def test_updates_are_counted_for_themselves() -> None:
    found = Budget.of(UsedSlots((), (NOW - HOUR,) * 3), FIVE, NOW)
    assert [found.take_update(NOW) is not None for _ in range(4)] == [True, True, False, False]
    assert taken(found) == 5


def test_updates_that_nobody_has_counted_are_free() -> None:
    found = Budget.of(UsedSlots((), None), FIVE, NOW)
    assert [found.take_update(NOW) is not None for _ in range(6)] == [True] * 5 + [False]


def test_a_slot_that_is_about_to_be_free_is_waited_for() -> None:
    found = budget(DAY - 30 * SECOND, DAY - 40 * SECOND, HOUR, HOUR)
    waits = [found.take_create(NOW) for _ in range(4)]
    assert waits == [AT_ONCE, 30 * SECOND, 40 * SECOND, None]


def test_it_is_waited_for_a_minute_at_most() -> None:
    assert LONGEST_WAIT == MINUTE
    for left, expected in ((MINUTE, MINUTE), (MINUTE + SECOND, None)):
        found = budget(DAY - left, *[HOUR] * 4)
        assert found.take_create(NOW) == expected
    late = budget(DAY - 5 * MINUTE, *[HOUR] * 4)
    assert late.take_create(NOW) is None
    assert late.take_create(NOW + 4 * MINUTE) == MINUTE  # the sweep has gone on meanwhile
    assert late.take_create(NOW + 9 * MINUTE) is None


def test_a_slot_that_became_free_meanwhile_is_not_waited_for() -> None:
    found = budget(DAY - 2 * MINUTE, *[HOUR] * 4)
    assert found.take_create(NOW + 3 * MINUTE) == AT_ONCE


def test_of_an_overdrawn_day_the_first_slots_are_the_reserves() -> None:
    """An emergency used both slots of the reserve: the two that are free first are its own."""
    found = budget(*(DAY - n * 10 * SECOND for n in (1, 2, 3)), *[HOUR] * 4)
    assert found.take_create(NOW) == 30 * SECOND
    assert found.take_create(NOW) is None


def test_what_others_create_meanwhile_is_taken_off() -> None:
    found = budget(total=100)
    assert found.take_create(NOW, 100) == AT_ONCE
    assert found.take_create(NOW, 101) == AT_ONCE  # that one is its own
    assert found.take_create(NOW, 104) == AT_ONCE  # two of others: none is left
    assert found.take_create(NOW, 105) is None


def test_what_others_created_is_taken_off_once() -> None:
    found = budget(total=100)
    assert found.take_create(NOW, 102) == AT_ONCE
    assert found.take_create(NOW, 103) == AT_ONCE
    assert found.take_create(NOW, 104) == AT_ONCE
    assert found.take_create(NOW, 105) is None


def test_a_count_that_shrinks_gives_nothing_back() -> None:
    found = budget(total=100)
    assert found.take_create(NOW, 104) == AT_ONCE
    assert found.take_create(NOW, 90) is None


@pytest.mark.parametrize(("at_first", "then"), [(None, 999), (100, None), (None, None)])
def test_without_a_count_only_its_own_creates_count(at_first: int | None, then: int | None) -> None:
    found = budget(total=at_first)
    assert [found.take_create(NOW, then) for _ in range(6)] == [AT_ONCE] * 5 + [None]


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
