"""Where the day's use can't be counted, each part of the day has one create and one update, for its first sweep."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from rotator.engine.context import Budget
from rotator.model import AccountSnapshot, Policy
from rotator.plan import Quota
from rotator.policy.daily_limit import (
    UsedSlots,
    begin_of,
    first_sweeps,
    is_first,
    length_of,
    slots_used,
    sweeps_until_next,
)
from rotator.policy.forecast import forecast_account
from rotator.policy.planner import plan_account
from rotator.reasons import Reason
from tests.policy.build import DAY, HOUR, MINUTE, NOW, SECOND, key, secret, snap


def sweeps(every: timedelta, start: datetime = NOW, days: int = 1) -> list[datetime]:
    return [start + number * every for number in range(1, days * DAY // every + 1)]


@pytest.mark.parametrize("start", [NOW, NOW + 7 * MINUTE + 3 * SECOND])
@pytest.mark.parametrize("every", [MINUTE, 10 * MINUTE, 45 * MINUTE, HOUR, 5 * HOUR, DAY])
@pytest.mark.parametrize(("limit", "reserve"), [(40, 8), (40, 0), (7, 2), (3, 2), (400, 8)])
def test_one_first_sweep_in_each_part(limit: int, reserve: int, every: timedelta, start: datetime) -> None:
    policy = Policy(daily_limit=limit, reserve=reserve, sweep_every=every)
    first = [at for at in sweeps(every, start, days=3) if is_first(at, policy)]
    parts = Counter(begin_of(at, policy) for at in first)
    assert set(parts.values()) == {1}
    in_a_day = [at for at in sweeps(every, start) if is_first(at, policy)]
    assert len(in_a_day) <= limit - reserve
    if every <= length_of(policy):
        assert len(in_a_day) == limit - reserve
    if every >= length_of(policy):
        assert len(in_a_day) == DAY // every
    assert first_sweeps(start, start + DAY, policy) == in_a_day[::-1] or DAY % every
    assert all(is_first(at + sweeps_until_next(at, policy) * every, policy) for at in first)


def test_no_part_if_all_is_reserve() -> None:
    assert not any(is_first(at, Policy(daily_limit=8, reserve=8)) for at in sweeps(MINUTE))


@pytest.mark.parametrize(
    ("creates", "updates", "most"),
    [
        ((), (), (1, 1)),
        ((NOW - MINUTE,), (NOW - HOUR,), (1, 1)),  # in the part before: NOW is the first moment of one
        ((NOW,), (), (0, 1)),
        ((), (NOW + SECOND,), (1, 0)),
        ((NOW, NOW + SECOND), (NOW,), (0, 0)),
    ],
)
def test_what_is_seen_in_part_is_deducted(
    creates: tuple[datetime, ...], updates: tuple[datetime, ...], most: tuple[int, int]
) -> None:
    assert begin_of(NOW, Policy()) == NOW
    assert UsedSlots(creates, updates, counted=False).most(Policy(), NOW) == most


def test_quota_and_budget_hold_one_of_each() -> None:
    slots = UsedSlots((), (), counted=False)
    quota = slots.planned(Policy(), NOW)
    assert (quota.creates_left, quota.updates_left) == (1, 1)
    assert slots.quota(Policy()) == Quota(None, 40, None, 40, 8, (32, 32))
    budget = Budget.of(slots, Policy(), NOW)
    assert [budget.take_create(NOW) is not None for _ in range(2)] == [True, False]
    assert [budget.take_update(NOW) is not None for _ in range(2)] == [True, False]
    later = NOW + 30 * MINUTE
    short = Policy(sweep_every=10 * MINUTE)
    assert (slots.planned(short, later).creates_left, slots.planned(short, later).updates_left) == (0, 0)
    assert Budget.of(slots, short, later).take_create(later) is None


def test_use_that_is_seen_counts_against_day() -> None:
    """The visible creates of a day are all slots of scheduled work: the part's create is not used either."""
    slots = UsedSlots(tuple(NOW - HOUR - number * MINUTE for number in range(32)), (), counted=False)
    assert slots.planned(Policy(), NOW).creates_left == 0
    assert Budget.of(slots, Policy(), NOW).take_create(NOW) is None


def uncounted(count: int, left: timedelta) -> AccountSnapshot:
    secrets = [secret(f"s{number:03}", {"v1": f"CURRENT key:K{number}"}) for number in range(count)]
    keys = [key(f"K{number}", left=left, age=90 * DAY - left) for number in range(count)]
    return replace(snap(secrets, keys=keys), disabled_complete=False)


def test_one_rotation_planned_rest_waits() -> None:
    plan = plan_account(uncounted(5, 20 * DAY), Policy(), NOW)
    assert [action.kind.value for action in plan.actions] == ["rotate"]
    assert [skip.reason for skip in plan.skipped] == [Reason.DAILY_LIMIT] * 4
    (alert,) = [alert for alert in plan.alerts if alert.kind is Reason.LISTING_INCOMPLETE]
    assert alert.message.values == {"parts": 32, "reserve": 8}
    assert plan.quota.updates_used is None


def test_none_is_planned_later_in_part() -> None:
    plan = plan_account(uncounted(5, 20 * DAY), Policy(sweep_every=10 * MINUTE), NOW + 30 * MINUTE)
    assert plan.actions == ()
    assert {skip.reason for skip in plan.skipped} == {Reason.DAILY_LIMIT}


def test_late_counts_slots_of_sweeps() -> None:
    """Forty keys that expire in a day: hourly sweeps have 24 slots for them."""
    plan = plan_account(uncounted(40, DAY + MINUTE), Policy(), NOW)
    (alert,) = [alert for alert in plan.alerts if alert.kind is Reason.EXPIRES_BEFORE_ROTATION]
    assert 14 <= alert.count <= 16
    assert alert.message.values["a_day"] == 24


def test_forecast_knows_parts() -> None:
    found = forecast_account(uncounted(60, 20 * DAY), Policy(), NOW, days=4)
    assert found.per_day == 24
    assert [day.rotations for day in found.days][:2] == [24, 24]
    assert sum(day.rotations for day in found.days) == 60


def test_counted_histories_are_as_before() -> None:
    snapshot = uncounted(5, 20 * DAY)
    assert slots_used(replace(snapshot, disabled_complete=True), NOW).counted
    assert slots_used(replace(snapshot, disabled_keys=False), NOW).counted
    assert not slots_used(snapshot, NOW).counted
    assert len(plan_account(replace(snapshot, disabled_complete=True), Policy(), NOW).actions) == 5
