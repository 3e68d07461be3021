"""The guards alone: what counts, and from when to when."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.model import Action, ActionKind, Key, Policy, Quota, Reason
from rotator.policy.draft import Draft, Rank
from rotator.policy.guards import (
    UsedSlots,
    clock_skew,
    limit_revocations,
    mass_missing,
    slots_used,
    within_budget,
)
from rotator.policy.planner import make_view
from tests.policy.build import DAY, HOUR, MINUTE, NOW, SECOND, at, key, secret, snap


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


@pytest.mark.parametrize(
    ("ago", "used", "planned"),
    [
        (DAY - SECOND, 1, 0),
        (DAY - 10 * MINUTE, 1, 0),
        (DAY - 10 * MINUTE - SECOND, 1, 1),
        (HOUR, 1, 1),
    ],
)
def test_a_slot_that_is_free_within_10_minutes_is_planned_with(ago: timedelta, used: int, planned: int) -> None:
    slots, policy = UsedSlots((NOW - ago,), (NOW - ago,)), Policy(daily_limit=10, reserve=3)
    assert slots.quota(policy) == Quota(used, 10, used, 10, 3)
    assert slots.planned(policy, NOW) == Quota(planned, 10, planned, 10, 3)


def test_planned_updates_are_not_known_either() -> None:
    assert UsedSlots((), None).planned(Policy(), NOW) == Quota(0, 40, None, 40, 8)


def test_nothing_is_left_rather_than_less_than_nothing() -> None:
    quota = Quota(creates_used=30, creates_limit=40, updates_used=50, updates_limit=40, reserve=12)
    assert (quota.creates_left, quota.updates_left) == (0, 0)


@pytest.mark.parametrize("skew", [None, timedelta(0), 5 * MINUTE, -5 * MINUTE])
def test_a_clock_that_is_good_enough(skew: timedelta | None) -> None:
    assert clock_skew(snap(skew=skew)) is None


def test_a_clock_that_is_not_says_in_which_direction() -> None:
    behind, ahead = (str(clock_skew(snap(skew=sign * (5 * MINUTE + SECOND)))) for sign in (1, -1))
    assert "5 min 1 s behind Infobip's" in behind
    assert "5 min 1 s ahead of Infobip's" in ahead


def test_one_key_in_grace_that_is_found_shows_the_right_account() -> None:
    entry = secret("s", {"v2": "CURRENT key:K2", "v1": "PREVIOUS key:K1 retire:K1:+1d"})
    for keys, mass in (([key()], False), ([], True), ([key("unmanaged")], True)):
        snapshot = snap([entry], keys)
        assert (mass_missing([make_view(snapshot, entry)], snapshot) is not None) is mass


def action(kind: ActionKind, number: int, **more: object) -> Action:
    fields = {"due_at": NOW, "key_id": f"K{number}", "costs_update": kind is ActionKind.REVOKE, **more}
    return Action(kind, "main", f"s{number}", Reason.GRACE_OVER, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "enabled", "force", "kept"),
    [
        (5, 5, False, 5),
        (6, 24, False, 6),
        (7, 24, False, 6),
        (6, 23, False, 5),
        (6, 23, True, 6),
        (6, 0, False, 5),
        (40, 90, False, 22),
        (0, 0, False, 0),
    ],
)
def test_how_many_keys_one_sweep_revokes(count: int, enabled: int, force: bool, kept: int) -> None:
    draft = Draft()
    for number in range(count):  # the last one is due longest
        due_at, arn = NOW - number * MINUTE, f"arn:{number}"
        draft.add(Rank.REVOKE, action(ActionKind.REVOKE, number, due_at=due_at, arn=arn))
    draft.add(Rank.LABEL, action(ActionKind.LABEL, 99))
    keys = [*(key(f"K{n}") for n in range(enabled)), *(key(f"D{n}", enabled=False) for n in range(50))]
    limit_revocations(draft, snap(keys=keys), NOW, force=force)
    kinds = [action.kind for action in draft.actions()]
    assert kinds.count(ActionKind.LABEL) == 1
    revoked = [action.secret for action in draft.actions() if action.kind is ActionKind.REVOKE]
    assert revoked == [f"s{number}" for number in reversed(range(count - kept, count))]
    left = [f"s{number}" for number in range(count - kept)]
    assert sorted(skip.secret for skip in draft.skipped) == sorted(left)
    assert {skip.reason for skip in draft.skipped} <= {Reason.REVOCATION_LIMIT}
    assert {arn for arn, _ in draft.waiting} == {f"arn:{name[1:]}" for name in left}
    assert draft.alerts == []


def test_none_is_postponed_indefinitely_by_the_limit() -> None:
    """Thirty keys of forty are due at once, and new ones come due at each sweep: the oldest go first."""
    waiting, revoked = list(range(30)), list[int]()
    for sweep in range(4):
        draft = Draft()
        for number in waiting:
            due_at = NOW + number * MINUTE
            draft.add(Rank.REVOKE, action(ActionKind.REVOKE, number, due_at=due_at))
        limit_revocations(draft, snap(keys=[key(f"K{n}") for n in range(40)]), NOW, force=False)
        done = [int(item.secret[1:]) for item in draft.actions()]
        assert len(done) == 10
        revoked += done
        waiting = [number for number in waiting if number not in done] + [
            100 * sweep + number for number in range(30, 40)
        ]
    assert revoked[:30] == list(range(30))


def test_creates_and_updates_are_counted_apart_and_what_is_free_is_kept() -> None:
    wanted = [
        action(ActionKind.LABEL, 1),
        action(ActionKind.ROTATE, 2),
        action(ActionKind.REVOKE, 3),
        action(ActionKind.ROTATE, 4),
        action(ActionKind.REVOKE, 5),
        action(ActionKind.REVOKE, 6, costs_update=False),
        action(ActionKind.RESUME, 7),
    ]
    draft = Draft()
    kept = within_budget(draft, wanted, Quota(0, 3, 0, 3, 2))
    assert [item.secret for item in kept] == ["s1", "s2", "s3", "s6", "s7"]
    assert [(skip.secret, skip.reason) for skip in draft.skipped] == [
        ("s4", Reason.DAILY_LIMIT),
        ("s5", Reason.DAILY_LIMIT),
    ]
    assert draft.alerts == []


def test_the_order_of_a_draft_is_by_rank_then_time_then_names() -> None:
    draft = Draft()
    late, soon = action(ActionKind.ROTATE, 1, deadline=at("+2d")), action(ActionKind.ROTATE, 2, deadline=at("+1d"))
    since = action(ActionKind.ROTATE, 3, due_at=at("-1d"))
    twins = [action(ActionKind.REVOKE, 4, key_id=key_id) for key_id in ("B", "A", None)]
    for rank, each in [
        (Rank.ROTATE, late),
        (Rank.ROTATE, soon),
        (Rank.ROTATE, since),
        *((Rank.REVOKE, t) for t in twins),
    ]:
        draft.add(rank, each)
    assert draft.actions() == [twins[2], twins[1], twins[0], since, soon, late]
