"""When sweeps are due while the machine's clock is set."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.clock import uptime
from rotator.timetable import SOON, STEP, Schedule, Timetable, make_schedule
from tests.clocks import SettableClocks

START = datetime(2026, 3, 2, 9, 10, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
HOURLY = make_schedule("1h", None, None, "0s")
ON_THE_HOUR = make_schedule(None, "0 * * * *", None, "0s")
AT_THREE = make_schedule(None, "0 3 * * *", None, "0s")
BOTH = pytest.mark.parametrize("schedule", [HOURLY, ON_THE_HOUR], ids=str)


class Loop:
    """What the scheduler does with a timetable, and when sweeps began: by the wall clock, and since the start."""

    def __init__(self, schedule: Schedule, wall: datetime = START) -> None:
        self.clocks = SettableClocks(wall)
        self.timetable = Timetable(schedule, self.clocks.both)
        self.begun: list[datetime] = []
        self.after: list[timedelta] = []
        self._start = self.clocks.seconds
        self.run(timedelta(0))

    @property
    def passed(self) -> timedelta:
        return timedelta(seconds=self.clocks.seconds - self._start)

    def run(self, length: timedelta, each: Callable[[], None] = lambda: None) -> None:
        """Let time pass, a minute at most at a time."""
        until = self.passed + length
        while True:
            each()
            if self.timetable.remaining() <= 0:
                self.timetable.advance()
                self.begun.append(self.clocks.wall)
                self.after.append(self.passed)
            if self.passed >= until:
                return
            wait = min(timedelta(seconds=self.timetable.remaining()), MINUTE, until - self.passed)
            self.clocks.pass_time(max(wait, timedelta(milliseconds=1)))


def test_the_first_is_due_at_once_and_then_by_the_schedule() -> None:
    loop = Loop(HOURLY)
    loop.run(2 * HOUR)
    assert loop.after == [timedelta(0), HOUR, 2 * HOUR]
    loop = Loop(ON_THE_HOUR)
    loop.run(2 * HOUR)
    assert loop.begun == [START, START + 50 * MINUTE, START + 110 * MINUTE]


def test_an_interval_is_at_most_its_jitter_longer() -> None:
    loop = Loop(make_schedule("1h", None, None, "3m"))
    loop.run(200 * HOUR)
    gaps = [later - sooner for sooner, later in pairwise(loop.after)]
    assert all(HOUR <= gap <= HOUR + 3 * MINUTE for gap in gaps)
    assert len(set(gaps)) > 100  # replicas don't march in step


def test_a_cron_with_jitter_keeps_its_beat() -> None:
    loop = Loop(make_schedule(None, "0 * * * *", None, "10m"))
    loop.run(50 * HOUR)
    hours = [moment.replace(minute=0, second=0, microsecond=0) for moment in loop.begun]
    assert hours == [START.replace(minute=0) + n * HOUR for n in range(len(hours))]
    assert all(moment.minute <= 10 for moment in loop.begun)


@pytest.mark.parametrize("step", [-30 * DAY, -2 * HOUR, 2 * HOUR, 30 * DAY, 20_000 * DAY], ids=str)
@BOTH
def test_a_clock_that_is_set_neither_stops_nor_repeats_sweeps(schedule: Schedule, step: timedelta) -> None:
    loop = Loop(schedule)
    loop.run(15 * MINUTE)
    loop.clocks.set_by(step)
    loop.run(DAY)
    assert 24 <= len(loop.begun) - 1 <= 26
    assert loop.after[1] == 15 * MINUTE  # what was done under the wrong clock is done again
    assert all(later - sooner <= HOUR for sooner, later in pairwise(loop.after))
    if schedule is ON_THE_HOUR:
        assert {at.minute for at in loop.begun[2:]} == {0}


@pytest.mark.parametrize("step", [-30 * DAY, 30 * DAY], ids=str)
def test_a_daily_cron_goes_by_the_right_clock_at_once(step: timedelta) -> None:
    loop = Loop(AT_THREE)
    loop.clocks.set_by(step)
    loop.run(3 * DAY)
    assert loop.after[:2] == [timedelta(0), SOON]
    assert [at.hour for at in loop.begun[2:]] == [3, 3, 3]
    assert loop.begun[2] - loop.begun[1] < DAY


@BOTH
def test_a_clock_that_is_set_again_and_again_is_no_storm(schedule: Schedule) -> None:
    loop = Loop(schedule)
    steps = iter([HOUR, -HOUR] * 10_000)
    loop.run(6 * HOUR, lambda: loop.clocks.set_by(next(steps)))
    gaps = [later - sooner for sooner, later in pairwise(loop.after)]
    assert min(gaps) >= SOON - SECOND
    assert max(gaps) <= HOUR


@pytest.mark.parametrize("step", [STEP, -STEP], ids=str)
def test_small_corrections_move_a_cron_and_no_interval(step: timedelta) -> None:
    for schedule, minutes in ((HOURLY, 60 * MINUTE), (ON_THE_HOUR, 50 * MINUTE - step)):
        loop = Loop(schedule)
        loop.clocks.set_by(step)
        loop.run(61 * MINUTE)
        assert loop.after[1] == minutes


def test_a_cron_never_finds_its_own_time_twice() -> None:
    loop = Loop(ON_THE_HOUR)
    loop.clocks.pass_time(50 * MINUTE - timedelta(milliseconds=30))  # as early as the scheduler may be
    loop.timetable.advance()
    assert loop.timetable.remaining() > 3599


def test_a_step_of_the_clock_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    loop = Loop(HOURLY)
    with caplog.at_level(logging.WARNING):
        loop.run(MINUTE)
        loop.clocks.set_by(-30 * DAY)
        loop.run(10 * MINUTE)
        loop.clocks.set_by(2 * HOUR)
        loop.run(10 * MINUTE)
    assert [record.getMessage() for record in caplog.records] == [
        "this machine's clock was set back by 30 d; the next sweep begins in 4 min",
        "this machine's clock was set forward by 2 h; the next sweep begins at once",
    ]


def test_a_late_one_says_by_how_much() -> None:
    loop = Loop(HOURLY)
    loop.clocks.pass_time(4 * HOUR)  # as where the machine was suspended
    assert loop.timetable.remaining() == -3 * 3600
    assert loop.timetable.advance() == (START + HOUR, 3 * HOUR)
    assert loop.timetable.remaining() == 3600


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 90), st.integers(-(10**7), 10**7)), max_size=8),
    st.sampled_from([HOURLY, ON_THE_HOUR, make_schedule("1h", None, None, "5m")]),
)
def test_however_it_is_set_a_sweep_comes_in_time(acts: list[tuple[int, int]], schedule: Schedule) -> None:
    loop = Loop(schedule)
    for minutes, seconds in acts:
        loop.run(minutes * MINUTE)
        loop.clocks.set_by(timedelta(seconds=seconds))
    loop.run(3 * HOUR)
    gaps = [later - sooner for sooner, later in pairwise(loop.after)]
    # A small step back is followed by no sweep: it makes one of a cron later by as much.
    assert max(gaps) <= HOUR + 5 * MINUTE + len(acts) * STEP
    # Each step may bring one sweep by itself and one time of a cron once more.
    assert len(gaps) <= loop.passed / HOUR + 2 * len(acts) + 1


def test_the_uptime_goes_on() -> None:
    first = uptime()
    assert uptime() >= first > 0
