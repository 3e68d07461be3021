"""The guards alone: what counts, and from when to when."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotator.core.draft import Draft, Rank
from rotator.core.guards import clock_skew, guard_mass_revocation, mass_missing, quota_used, within_budget
from rotator.core.model import Action, ActionKind, Key, Policy, Quota, Reason
from rotator.core.planner import make_view
from tests.core.build import DAY, HOUR, MINUTE, NOW, SECOND, at, key, secret, snap


@pytest.mark.parametrize(
    ("one", "creates", "updates"),
    [
        (key(age=DAY + 5 * MINUTE), 0, 0),
        (key(age=DAY + 5 * MINUTE - SECOND), 1, 0),
        (key(age=DAY), 1, 0),
        (key(age=0 * DAY), 1, 0),
        (key(age=-HOUR), 1, 0),
        (key(age=None), 0, 0),
        (key(left=-HOUR), 0, 0),
        (key(left=-HOUR, enabled=False), 0, 1),
        (key(left=-DAY - 5 * MINUTE, enabled=False), 0, 0),
        (key(left=-DAY - 5 * MINUTE + SECOND, enabled=False), 0, 1),
        (key(left=-DAY, enabled=False), 0, 1),
        (key(left=5 * MINUTE, enabled=False), 0, 1),
        (key(left=5 * MINUTE + SECOND, enabled=False), 0, 0),
        (key(left=None, enabled=False), 0, 0),
        (key(age=HOUR, left=-MINUTE, enabled=False), 1, 1),
    ],
)
def test_what_the_keys_tell_of_a_day_and_the_5_minutes_of_a_clock_behind(one: Key, creates: int, updates: int) -> None:
    quota = quota_used([one, key("K2")], Policy(daily_limit=10, reserve=3), NOW)
    assert quota == Quota(creates, 10, updates, 10, 3)
    assert (quota.creates_left, quota.updates_left) == (7 - creates, 7 - updates)


def test_nothing_is_left_rather_than_less_than_nothing() -> None:
    quota = Quota(creates_used=30, creates_limit=40, updates_used=50, updates_limit=40, reserve=12)
    assert (quota.creates_left, quota.updates_left) == (0, 0)


@pytest.mark.parametrize("skew", [None, timedelta(0), 5 * MINUTE, -5 * MINUTE])
def test_a_clock_that_is_good_enough(skew: timedelta | None) -> None:
    assert clock_skew(snap(skew=skew)) is None


def test_a_clock_that_is_not_says_in_which_direction() -> None:
    behind, ahead = (clock_skew(snap(skew=sign * (5 * MINUTE + SECOND))) or "" for sign in (1, -1))
    assert "5 min 1 s behind Infobip's" in behind
    assert "5 min 1 s ahead of Infobip's" in ahead


@pytest.mark.parametrize(
    ("missing", "of", "mass"),
    [
        (5, 6, False),
        (6, 24, False),
        (6, 23, True),
        (1, 1, False),
        (2, 2, False),
        (3, 3, True),
        (3, 4, False),
        (0, 0, False),
        (0, 3, False),
    ],
)
def test_how_many_missing_keys_are_too_many(missing: int, of: int, mass: bool) -> None:
    entries = [secret(f"s{n}", {"v1": f"CURRENT key:K{n}"}) for n in range(of)]
    snapshot = snap(entries, [key(f"K{n}") for n in range(missing, of)])
    assert (mass_missing([make_view(snapshot, entry) for entry in entries]) is not None) is mass


def action(kind: ActionKind, number: int, **more: object) -> Action:
    fields = {"due_at": NOW, "key_id": f"K{number}", "costs_update": kind is ActionKind.REVOKE, **more}
    return Action(kind, "main", f"s{number}", Reason.GRACE_OVER, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "enabled", "force", "kept"),
    [(5, 5, False, 5), (6, 24, False, 6), (6, 23, False, 0), (6, 23, True, 6), (6, 0, False, 0), (0, 0, False, 0)],
)
def test_how_many_revocations_are_too_many(count: int, enabled: int, force: bool, kept: int) -> None:
    draft = Draft()
    for number in range(count):
        draft.add(Rank.REVOKE, action(ActionKind.REVOKE, number))
    draft.add(Rank.LABEL, action(ActionKind.LABEL, 99))
    keys = [*(key(f"K{n}") for n in range(enabled)), *(key(f"D{n}", enabled=False) for n in range(50))]
    guard_mass_revocation(draft, snap(keys=keys), force=force)
    kinds = [action.kind for action in draft.actions()]
    assert (kinds.count(ActionKind.REVOKE), kinds.count(ActionKind.LABEL)) == (kept, 1)
    assert len(draft.skipped) == (0 if kept == count else count)
    assert len(draft.alerts) == (0 if kept == count else 1)


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
