"""The day's slots: what keys tell of them, what a sweep may still create and update, and its limit of revocations."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from rotator.engine.context import LONGEST_WAIT, Budget, Limit
from rotator.model import Key, Policy
from rotator.plan import Action, ActionKind, Quota
from rotator.policy.daily_limit import UsedSlots, slots_used
from rotator.policy.draft import Draft
from rotator.policy.revocations import limit_revocations
from rotator.reasons import Reason
from tests.policy.build import DAY, HOUR, MINUTE, NOW, POLICY, SECOND, key, snap

FIVE = Policy(daily_limit=7, reserve=2)
"""Five slots a day for scheduled work."""
AT_ONCE = timedelta(0)


def made(*ago: timedelta) -> UsedSlots:
    """Creates and updates that were made so long ago."""
    used = tuple(sorted(NOW - each for each in ago))
    return UsedSlots(used, used)


def budget(*ago: timedelta, total: int | None = None) -> Budget:
    return Budget.of(made(*ago), FIVE, NOW, total)


def test_without_limit_there_is_always_slot() -> None:
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
def test_slots_left_today(ago: tuple[timedelta, ...], waits: list[timedelta | None]) -> None:
    found = budget(*ago)
    assert [found.take_create(NOW) for _ in waits] == waits
    assert LONGEST_WAIT == MINUTE


def test_sweep_goes_on_meanwhile() -> None:
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
def test_creates_of_others_are_deducted(first: int | None, totals: list[tuple[int | None, bool]]) -> None:
    found = budget(total=first)
    assert [found.take_create(NOW, total) == AT_ONCE for total, _ in totals] == [given for _, given in totals]


def test_others_take_first_free_slots() -> None:
    """Two slots are free in 10 and in 20 seconds; another sweep has taken one: 20 seconds are to be waited."""
    found = Budget.of(made(DAY - 10 * SECOND, DAY - 20 * SECOND, *[HOUR] * 3), FIVE, NOW, 100)
    assert found.take_create(NOW, 101) == 20 * SECOND
    assert found.take_create(NOW, 102) is None


def test_shared_budget_is_not_exceeded() -> None:
    found = Budget(Limit([NOW] * 200), Limit([NOW] * 200))
    with ThreadPoolExecutor(8) as pool:
        creates = [*pool.map(lambda _: found.take_create(NOW) is not None, range(400))]
        updates = [*pool.map(lambda _: found.take_update(NOW) is not None, range(400))]
    assert (sum(creates), sum(updates)) == (200, 200)


@pytest.mark.parametrize(
    ("one", "creates", "updates"),
    [
        (key(age=DAY), 0, 0),
        (key(age=DAY - SECOND), 1, 0),
        (key(age=0 * DAY), 1, 0),
        (key(age=-MINUTE), 1, 0),
        (key(age=-MINUTE - SECOND), 0, 0),  # made with a date that lies ahead: nothing tells when
        (key(age=-HOUR), 0, 0),
        (key(age=None), 0, 0),
        (key(left=-HOUR), 0, 0),
        (key(left=-HOUR, enabled=False), 0, 1),
        (key(left=-DAY, enabled=False), 0, 0),
        (key(left=-DAY + SECOND, enabled=False), 0, 1),
        (key(left=MINUTE, enabled=False), 0, 1),
        (key(left=MINUTE + SECOND, enabled=False), 0, 0),
        (key(left=None, enabled=False), 0, 0),
        (key(age=HOUR, left=-MINUTE, enabled=False), 1, 1),
    ],
)
def test_what_keys_tell_of_last_24_hours(one: Key, creates: int, updates: int) -> None:
    quota = slots_used(snap(keys=[one, key("K2")]), NOW).quota(Policy(daily_limit=10, reserve=3))
    assert quota == Quota(creates, 10, updates, 10, 3)
    assert (quota.creates_left, quota.updates_left) == (7 - creates, 7 - updates)


def test_slots_tell_their_times_in_order() -> None:
    keys = [key("A", age=HOUR), key("B", age=9 * HOUR), key("C", age=2 * DAY, left=-HOUR, enabled=False)]
    assert slots_used(snap(keys=keys), NOW) == UsedSlots((NOW - 9 * HOUR, NOW - HOUR), (NOW - HOUR,))


def test_use_unknown_without_disabled_keys() -> None:
    idle = replace(snap(keys=[key(age=HOUR)]), disabled_keys=False)
    assert slots_used(idle, NOW) == UsedSlots((NOW - HOUR,), None)
    quota = slots_used(idle, NOW).quota(Policy())
    assert (quota.creates_used, quota.updates_used) == (None, None)
    assert (quota.creates_left, quota.updates_left) == (31, 32)  # at most
    assert UsedSlots((), None).planned(Policy(), NOW) == Quota(0, 40, None, 40, 8)


@pytest.mark.parametrize(
    ("ago", "used", "planned"),
    [(DAY - SECOND, 1, 0), (DAY - 10 * MINUTE, 1, 0), (DAY - 10 * MINUTE - SECOND, 1, 1), (HOUR, 1, 1)],
)
def test_slot_free_soon_is_planned_with(ago: timedelta, used: int, planned: int) -> None:
    slots, policy = UsedSlots((NOW - ago,), (NOW - ago,)), Policy(daily_limit=10, reserve=3)
    assert slots.quota(policy) == Quota(used, 10, used, 10, 3)
    assert slots.planned(policy, NOW) == Quota(planned, 10, planned, 10, 3)


def test_left_is_never_negative() -> None:
    quota = Quota(creates_used=30, creates_limit=40, updates_used=50, updates_limit=40, reserve=12)
    assert (quota.creates_left, quota.updates_left) == (0, 0)


def action(number: int, **more: object) -> Action:
    fields = {"due_at": NOW, "key_id": f"K{number}", **more}
    return Action(ActionKind.REVOKE, "main", f"s{number}", Reason.GRACE_OVER, **fields)  # type: ignore[arg-type]


def test_limit_postpones_none_for_ever() -> None:
    """Thirty keys of forty are due at once, and new ones come due at each sweep: the oldest go first."""
    waiting, revoked = list(range(30)), list[int]()
    for sweep in range(4):
        draft = Draft(snap(keys=[key(f"K{n}") for n in range(40)]), POLICY, NOW)
        for number in waiting:
            due_at = NOW + number * MINUTE
            draft.planned.append(action(number, due_at=due_at))
        limit_revocations(draft, force=False)
        done = [int(item.secret[1:]) for item in draft.actions()]
        assert len(done) == 10
        revoked += done
        waiting = [number for number in waiting if number not in done] + [
            100 * sweep + number for number in range(30, 40)
        ]
    assert revoked[:30] == list(range(30))
