"""The arithmetic of a daily limit, against all schedules that there are."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rotator.core.capacity import HORIZON, Crowd, day_of, must_start_today, places, too_late, until
from tests.core.build import DAY, HOUR, NOW, SECOND

Job = tuple[int, bool]
"""The days on which it may be done, as bits, and whether it is due now."""


def days(job: Job) -> list[int]:
    return [day for day in range(8) if job[0] >> day & 1]


def least_today(jobs: list[Job], per_day: int) -> tuple[int, int] | None:
    """By trying every schedule: how few jobs that are not due must be done today, and how few that are then."""
    best = None
    for chosen in itertools.product(*(days(job) or [0] for job in jobs)):
        taken = Counter(day for day in chosen if day)
        if any(count > per_day for count in taken.values()):
            continue
        today = [job for job, day in zip(jobs, chosen, strict=True) if day == 0]
        found = sum(not due for _, due in today), sum(due for _, due in today)
        best = found if best is None else min(best, found)
    return best


def crowds_of(jobs: list[Job]) -> list[Crowd]:
    return [Crowd(mask, count, due) for (mask, due), count in Counter(jobs).items()]


def ask(jobs: list[Job], per_day: int) -> tuple[int, int]:
    crowds = crowds_of(jobs)
    left = must_start_today(crowds, per_day)
    assert all(0 <= count <= crowd.count for count, crowd in zip(left, crowds, strict=True))
    return (
        sum(count for count, crowd in zip(left, crowds, strict=True) if not crowd.due),
        sum(count for count, crowd in zip(left, crowds, strict=True) if crowd.due),
    )


def with_today(mask: int) -> int:
    return mask | 1


any_days = st.integers(0, 15).map(with_today)
until_a_day = st.integers(0, 4).map(until)
jobs_of = st.lists(st.tuples(st.one_of(until_a_day, any_days), st.booleans()), max_size=7)
not_today_either = st.lists(st.tuples(st.one_of(until_a_day, st.integers(1, 15)), st.booleans()), max_size=7)


@given(not_today_either, st.integers(1, 3))
@example([(0b011, False), (0b010, False)], 1)
@example([(0b011, False), (0b110, False), (0b100, True)], 1)
@settings(max_examples=600)
def test_what_can_not_be_done_today_gets_the_place_of_one_that_can(jobs: list[Job], per_day: int) -> None:
    """Jobs without today among their days are in, wherever a schedule has them in; and no more go today than must."""
    crowds = crowds_of(jobs)
    left = must_start_today(crowds, per_day)
    lost = sum(count for count, crowd in zip(left, crowds, strict=True) if not crowd.days & 1)
    best = least_today(jobs, per_day)
    assert (lost == 0) == (best is not None)
    if best is not None:
        assert ask(jobs, per_day) == best


@given(jobs_of, st.integers(0, 3))
@example([(0b111, False), (0b101, False), (0b011, True)], 1)
@example([(0b1011, False), (0b0101, False), (0b1101, True), (0b0011, False)], 1)
@settings(max_examples=600)
def test_no_schedule_does_with_less_today(jobs: list[Job], per_day: int) -> None:
    assert ask(jobs, per_day) == least_today(jobs, per_day)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=9), st.integers(1, 2))
@settings(max_examples=300)
def test_whoever_does_what_it_says_every_day_is_in_time_if_anybody_can_be(
    ends: list[tuple[int, bool]], per_day: int
) -> None:
    """Day by day: only what can't wait, the ones that end first going first. Nothing ends before it was done."""
    counts = Counter(end for end, _ in ends)
    feasible = all(sum(counts[d] for d in range(day + 1)) <= per_day * (day + 1) for day in range(6))
    left = sorted(end for end, _ in ends)
    for today in range(6):
        today_jobs = [(until(end - today), False) for end in left]
        must, _ = ask(today_jobs, per_day)
        left = left[min(must, per_day) :]
        if feasible:
            assert must <= per_day
            assert all(end > today for end in left)
    assert not feasible or not left


@pytest.mark.parametrize(
    ("count", "day", "per_day", "today"),
    [
        (10, 1, 10, 0),
        (11, 1, 10, 1),
        (61, 1, 32, 29),
        (1500, 46, 32, 28),
        (1472, 46, 32, 0),
        (3, 0, 10, 3),  # ends today: for whoever asks to look at today's places
        (5, 3, 0, 5),
        (100_000, HORIZON, 32, 100_000 - 32 * HORIZON),
    ],
)
def test_one_date_for_all(count: int, day: int, per_day: int, today: int) -> None:
    assert must_start_today([Crowd(until(day), count)], per_day) == [today]


def test_what_is_due_makes_room_only_where_it_can() -> None:
    crowd, helps, does_not = Crowd(until(2), 21), Crowd(until(1), 5, due=True), Crowd(until(9), 5, due=True)
    assert must_start_today([crowd], 10) == [1]
    assert must_start_today([crowd, helps], 10) == [1, 5]
    assert must_start_today([crowd, does_not], 10) == [1, 0]


def test_windows_that_open_seldom_are_kept_free_for_those_who_need_them() -> None:
    everyday, saturday = Crowd(until(6), 62), Crowd(1 | 1 << 5, 10)
    assert must_start_today([everyday, saturday], 10) == [12, 0]
    assert must_start_today([saturday, everyday], 10) == [0, 12]
    assert must_start_today([Crowd(1 | 1 << 5, 12)], 10) == [2]


def test_a_move_makes_room() -> None:
    """Each of two windows has one other day; greedily chosen days would leave one job over."""
    assert must_start_today([Crowd(0b1101, 1), Crowd(0b1011, 1), Crowd(0b0011, 1)], 1) == [0, 0, 0]


@pytest.mark.parametrize(
    ("left", "day"),
    [(-DAY, -1), (timedelta(0), 0), (DAY - SECOND, 0), (DAY, 1), (9 * DAY, 9), (9999 * DAY, HORIZON)],
)
def test_days_are_whole(left: timedelta, day: int) -> None:
    assert day_of(NOW + left, NOW, DAY) == day
    assert day_of(NOW + left, NOW, 2 * DAY) <= max(day, 0)


# ---- places ---------------------------------------------------------------------------------------------------------


def test_places_come_back_in_the_order_in_which_they_were_used() -> None:
    used = [NOW - 2 * HOUR, NOW - 20 * HOUR, NOW - 30 * HOUR]
    assert places(used, 5, NOW, DAY) == [NOW, NOW, NOW, NOW + 4 * HOUR, NOW + 22 * HOUR]
    assert places([], 2, NOW, DAY) == [NOW, NOW]
    assert places(used, 0, NOW, DAY) == []


def test_what_an_emergency_took_of_the_reserve_comes_back_first() -> None:
    used = [NOW - hours * HOUR for hours in (1, 2, 3, 4)]
    assert places(used, 2, NOW, DAY) == [NOW + 22 * HOUR, NOW + 23 * HOUR]


def test_who_comes_too_late_takes_no_place() -> None:
    free = [NOW, NOW + 5 * HOUR]
    ends = [NOW, NOW + HOUR, NOW + 2 * HOUR, NOW + 6 * HOUR, NOW + DAY, NOW + DAY + HOUR]
    assert too_late(ends, free, DAY) == [1, 2, 5]
    assert too_late(ends, free, DAY, first=1) == [0, 1, 2, 5]
    assert too_late(ends, [], DAY) == list(range(6))


@given(st.lists(st.integers(0, 9), max_size=8), st.lists(st.integers(0, 3), min_size=1, max_size=3))
def test_nobody_could_have_been_taken_in_instead(ends: list[int], free: list[int]) -> None:
    """As many as any choice of jobs could have in time."""
    ends.sort()
    free.sort()
    turns = sorted(place + 4 * again for place in free for again in range(8))
    most = 0
    for size in range(len(ends), -1, -1):
        for chosen in itertools.combinations(ends, size):
            if all(turn <= end for turn, end in zip(turns, chosen, strict=False)):
                most = max(most, size)
        if most:
            break
    late = too_late([NOW + end * HOUR for end in ends], [NOW + place * HOUR for place in free], 4 * HOUR)
    assert len(ends) - len(late) == most
