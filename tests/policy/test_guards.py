"""The day's slots, and the limit of a sweep over several of them; single sweeps are in ``test_planner_guards``."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.model import Action, ActionKind, Key, Policy, Quota, Reason
from rotator.policy.draft import Draft, Rank
from rotator.policy.guards import UsedSlots, limit_revocations, slots_used
from tests.policy.build import DAY, HOUR, MINUTE, NOW, SECOND, key, snap


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
def test_what_the_keys_tell_of_the_last_24_hours(one: Key, creates: int, updates: int) -> None:
    quota = slots_used(snap(keys=[one, key("K2")]), NOW).quota(Policy(daily_limit=10, reserve=3))
    assert quota == Quota(creates, 10, updates, 10, 3)
    assert (quota.creates_left, quota.updates_left) == (7 - creates, 7 - updates)


def test_slots_tell_when_each_was_used_in_order() -> None:
    keys = [key("A", age=HOUR), key("B", age=9 * HOUR), key("C", age=2 * DAY, left=-HOUR, enabled=False)]
    assert slots_used(snap(keys=keys), NOW) == UsedSlots((NOW - 9 * HOUR, NOW - HOUR), (NOW - HOUR,))


def test_used_updates_are_not_known_where_disabled_keys_were_not_listed() -> None:
    idle = replace(snap(keys=[key(age=HOUR)]), history=False)
    assert slots_used(idle, NOW) == UsedSlots((NOW - HOUR,), None)
    quota = slots_used(idle, NOW).quota(Policy())
    assert (quota.creates_used, quota.updates_used, quota.updates_left) == (1, None, 32)
    assert UsedSlots((), None).planned(Policy(), NOW) == Quota(0, 40, None, 40, 8)


@pytest.mark.parametrize(
    ("ago", "used", "planned"),
    [(DAY - SECOND, 1, 0), (DAY - 10 * MINUTE, 1, 0), (DAY - 10 * MINUTE - SECOND, 1, 1), (HOUR, 1, 1)],
)
def test_a_slot_that_is_free_within_10_minutes_is_planned_with(ago: timedelta, used: int, planned: int) -> None:
    slots, policy = UsedSlots((NOW - ago,), (NOW - ago,)), Policy(daily_limit=10, reserve=3)
    assert slots.quota(policy) == Quota(used, 10, used, 10, 3)
    assert slots.planned(policy, NOW) == Quota(planned, 10, planned, 10, 3)


def test_nothing_is_left_rather_than_less_than_nothing() -> None:
    quota = Quota(creates_used=30, creates_limit=40, updates_used=50, updates_limit=40, reserve=12)
    assert (quota.creates_left, quota.updates_left) == (0, 0)


def action(number: int, **more: object) -> Action:
    fields = {"due_at": NOW, "key_id": f"K{number}", "costs_update": True, **more}
    return Action(ActionKind.REVOKE, "main", f"s{number}", Reason.GRACE_OVER, **fields)  # type: ignore[arg-type]


def test_none_is_postponed_indefinitely_by_the_limit() -> None:
    """Thirty keys of forty are due at once, and new ones come due at each sweep: the oldest go first."""
    waiting, revoked = list(range(30)), list[int]()
    for sweep in range(4):
        draft = Draft()
        for number in waiting:
            due_at = NOW + number * MINUTE
            draft.ranked.append((Rank.REVOKE, action(number, due_at=due_at)))
        limit_revocations(draft, snap(keys=[key(f"K{n}") for n in range(40)]), NOW, force=False)
        done = [int(item.secret[1:]) for item in draft.actions()]
        assert len(done) == 10
        revoked += done
        waiting = [number for number in waiting if number not in done] + [
            100 * sweep + number for number in range(30, 40)
        ]
    assert revoked[:30] == list(range(30))
