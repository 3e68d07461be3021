"""What is scheduled early, what is not, and the alert for keys that can't be rotated before they expire."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.model import AccountPlan, ActionKind, Alert, Key, Policy, Reason, SecretEntry, Severity
from rotator.policy.planner import make_view, plan_account
from rotator.policy.scheduling import MAX_NAMES, Slots, margin, quota_window
from tests.policy.build import DAY, HOUR, MINUTE, NOW, key, secret, snap, tagged

TEN = Policy(daily_limit=12, reserve=2)


def group(count: int, left: timedelta, begin: str = "s", **tags: str) -> tuple[list[SecretEntry], list[Key]]:
    """Secrets whose keys all expire then, none of them due: it is ten days before the expiry of 90."""
    tags = {"rotate_before": "5d", **tags}
    names = [f"{begin}{number:03}" for number in range(count)]
    return (
        [tagged(secret(name, {"v1": f"CURRENT key:{id_of(name)}"}), tags) for name in names],
        [key(id_of(name), left=left, age=90 * DAY - left) for name in names],
    )


def id_of(name: str) -> str:
    return "K" + "".join(letter for letter in name if letter.isalnum())


def planned(*groups: tuple[list[SecretEntry], list[Key]], policy: Policy = TEN) -> AccountPlan:
    secrets = [entry for entries, _ in groups for entry in entries]
    return plan_account(snap(secrets, [one for _, keys in groups for one in keys]), policy, NOW)


def early(plan: AccountPlan) -> list[str]:
    assert all(action.reason is Reason.CAPACITY for action in plan.actions), plan.actions
    return [action.secret for action in plan.actions]


def late(plan: AccountPlan) -> Alert | None:
    return next((alert for alert in plan.alerts if alert.kind is Reason.NOT_IN_TIME), None)


def names(count: int, begin: str = "s") -> list[str]:
    return [f"{begin}{number:03}" for number in range(count)]


# A key that is scheduled early is to be replaced 2.5 days before it expires: 10 d 11 h are 7 whole days of ten slots.
LEFT = 10 * DAY + 11 * HOUR


@pytest.mark.parametrize(("count", "expected"), [(1, 0), (70, 0), (71, 1), (75, 5), (80, 10), (90, 10)])
def test_no_more_than_needed_and_no_sooner(count: int, expected: int) -> None:
    plan = planned(group(count, LEFT))
    assert early(plan) == names(expected)
    assert plan.skipped == ()


def test_why_it_is_scheduled_early() -> None:
    action = planned(group(75, LEFT)).actions[0]
    assert action.kind is ActionKind.ROTATE
    assert action.detail == "10 d left; all later slots are taken (10 a day)"
    assert action.deadline == NOW + LEFT
    assert action.due_at == NOW
    assert action.key_id == "Ks000"


def test_what_expires_first_goes_first() -> None:
    plan = planned(group(60, LEFT, "b"), group(14, LEFT - HOUR, "c"), group(30, LEFT + 30 * DAY, "a"))
    assert early(plan) == names(4, "c")


def test_what_is_due_makes_room() -> None:
    """Five that are due and expire sooner are rotated anyway: five fewer of the others are scheduled early."""
    due = group(5, LEFT - DAY, "due", rotate_before="20d")
    plan = planned(group(73, LEFT), due)
    assert sorted(action.reason for action in plan.actions) == ["capacity"] * 3 + ["expiring"] * 5
    assert len(planned(group(65, LEFT), due).actions) == 5


def test_held_takes_no_slot_and_blocked_is_not_scheduled_early() -> None:
    held = group(20, LEFT, "a", hold="audit")
    assert early(planned(group(71, LEFT), held)) == names(1)
    entries, keys = group(71, LEFT)
    keys[0] = key("Ks000", left=LEFT, age=90 * DAY - LEFT, scopes=frozenset())
    assert early(planned((entries, keys))) == ["s001"]


def test_a_blocked_key_that_is_lost_makes_no_other_early() -> None:
    entries, keys = group(1, 30 * MINUTE, "a", rotate_before="10m", grace="1h")
    keys[0] = key("Ka000", left=30 * MINUTE, age=90 * DAY, scopes=frozenset())
    assert early(planned((entries, keys), group(9, 3 * DAY, rotate_before="1d"))) == []


def test_slots_that_were_used_today_are_not_used_twice() -> None:
    made = [key(f"N{n}", left=90 * DAY, age=HOUR) for n in range(8)]
    plan = planned(group(75, LEFT), ([], made))
    assert early(plan) == names(2)


def test_keys_without_an_end_are_no_group() -> None:
    entries, _ = group(100, LEFT)
    plan = planned((entries, [key(f"K{entry.name}", left=None) for entry in entries]))
    assert plan.actions == ()
    assert late(plan) is None


# ---- windows --------------------------------------------------------------------------------------------------------


def test_a_window_that_opens_later_today_is_waited_for() -> None:
    assert early(planned(group(20, LEFT, window="Mon 10:00-18:00 UTC"))) == []


def test_the_last_window_before_expiry_is_used_before_it_is_due() -> None:
    tags = {"window": "Mon 08:00-18:00 UTC", "rotate_before": "1d"}
    assert early(planned(group(1, 6 * DAY, **tags))) == names(1)
    assert early(planned(group(1, 13 * DAY, **tags))) == []
    assert early(planned(group(1, 6 * DAY, window="Tue 08:00-18:00 UTC", rotate_before="1d"))) == []


def test_a_due_rotation_waits_for_its_window_if_there_is_time() -> None:
    due = group(3, LEFT, "due", rotate_before="20d", window="Tue 08:00-18:00 UTC")
    plan = planned(group(60, LEFT), due)
    assert plan.actions == ()
    assert [(skip.secret, skip.reason) for skip in plan.skipped] == [(name, Reason.WINDOW) for name in names(3, "due")]


# ---- not in time -----------------------------------------------------------------------------------------------------


def test_what_can_not_be_done_in_time_is_an_alert_now() -> None:
    plan = planned(group(120, LEFT))
    alert = late(plan)
    assert alert is not None
    assert (alert.severity, alert.secret, alert.key_id) == (Severity.ERROR, None, None)
    # Today's ten, and ten on each of the ten days until they expire.
    assert alert.detail.startswith(
        "10 keys expire before daily quota is available (10 slots a day), from 12 Mar 20:00 UTC on: s110, s111, "
        "s112, s113, s114 and 5 more; "
    )
    for fix in ("`rotator rotate`", "ROTATOR_DAILY_LIMIT", "ROTATOR_RESERVE", "rotator:validity"):
        assert fix in alert.detail
    assert late(planned(group(110, LEFT))) is None
    assert len(plan.actions) == 10


def test_a_single_one_is_named() -> None:
    alert = late(planned(group(111, LEFT)))
    assert alert is not None
    assert (alert.secret, alert.key_id) == ("s110", "Ks110")
    assert alert.detail.startswith("1 key expires before")


def test_untrusted_names_are_printable_and_few() -> None:
    alert = late(planned(group(130, LEFT, "\x1b[31mevil\n")))
    assert alert is not None
    assert alert.detail.isprintable()
    assert alert.detail.count("evil") == MAX_NAMES


def test_a_broken_secret_without_a_slot_is_in_the_alert() -> None:
    made = [key(f"N{n}", left=90 * DAY, age=HOUR) for n in range(10)]
    broken = [secret("x", {"v1": "CURRENT key:KX"})], [key("KX", left=-DAY), *made]
    alert = late(planned(broken))
    assert alert is not None
    assert alert.secret == "x"
    assert "already" in alert.detail
    assert late(planned((broken[0], broken[1][:-1]))) is None


# ---- slots and times ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        (HOUR, DAY),
        (15 * MINUTE, DAY),
        (7 * MINUTE, 24 * HOUR + 2 * MINUTE),
        (5 * HOUR, 25 * HOUR),
        (DAY, DAY),
        (36 * HOUR, 36 * HOUR),
    ],
)
def test_a_slot_is_used_again_by_the_first_sweep_a_day_later(every: timedelta, expected: timedelta) -> None:
    assert quota_window(Policy(sweep_every=every)) == expected


def test_slots_come_back_in_the_order_in_which_they_were_used() -> None:
    slots = Slots(NOW, HOUR, 24, a_day=2, today=[0, 5], broken=0)
    expiries = [0, 1, 2, 6, 24, 25]
    assert slots.too_late(expiries) == [1, 2, 5]
    assert replace(slots, broken=1).too_late(expiries) == [0, 1, 2, 5]
    assert replace(slots, a_day=0).too_late(expiries) == [0, 1, 2, 3, 4, 5]


def test_what_starts_now_uses_a_slot_that_is_free_now() -> None:
    slots = Slots(NOW, HOUR, 24, a_day=2, today=[0, 5], broken=0)
    assert slots.too_late([0, 1, 5], 0) == [0]
    assert slots.too_late([4, 5, 23, 24], 1) == [0, 2]
    # A slot more that is free today only does not come back.
    assert replace(slots, today=[0, 0, 5], a_day=1).too_late([1, 25], 1) == []
    assert replace(slots, today=[0, 0, 5], a_day=1).too_late([1, 23], 2) == [0, 1]


@given(st.lists(st.integers(0, 9), max_size=8), st.lists(st.integers(0, 3), min_size=1, max_size=3))
def test_no_other_choice_has_fewer_that_are_too_late(expiries: list[int], free: list[int]) -> None:
    expiries.sort()
    free.sort()
    all_slots = sorted(slot + 4 * again for slot in free for again in range(8))
    most = max(
        size
        for size in range(len(expiries) + 1)
        if any(
            all(slot <= expiry for slot, expiry in zip(all_slots, chosen, strict=False))
            for chosen in itertools.combinations(expiries, size)
        )
    )
    late = Slots(NOW, HOUR, 4, a_day=len(free), today=free, broken=0).too_late(expiries)
    assert len(expiries) - len(late) == most


def test_a_slot_that_is_free_within_minutes_is_free() -> None:
    """Sweeps once a day, each creates some minutes after it began: yesterday's slots are used again today."""
    policy = replace(TEN, sweep_every=DAY)
    made = [key(f"N{n}", left=90 * DAY, age=DAY - 5 * MINUTE) for n in range(10)]
    assert early(planned(group(68, LEFT), ([], made), policy=policy)) == names(5)
    made = [key(f"N{n}", left=90 * DAY, age=DAY - 15 * MINUTE) for n in range(10)]
    assert early(planned(group(68, LEFT), ([], made), policy=policy)) == []


def test_slots_of_an_emergency_come_back_to_the_reserve_first() -> None:
    made = [key(f"N{n}", left=90 * DAY, age=(20 + n // 2 if n < 4 else 1) * HOUR) for n in range(12)]
    expiring = group(9, 5 * HOUR, rotate_before="1h", grace="1h")
    alert = late(planned(expiring, ([], made)))
    assert alert is not None
    assert alert.count == 7  # of twelve that are used two are the reserve's: two more are free again in time


@pytest.mark.parametrize(
    ("life", "tags", "expected"),
    [
        (90 * DAY, {}, 3 * DAY),
        (20 * DAY, {}, 2 * DAY),
        (90 * DAY, {"rotate_before": "4d"}, 2 * DAY),
        (90 * DAY, {"rotate_before": "0.01", "grace": "1h"}, 0.45 * DAY),
        (HOUR, {}, 6 * MINUTE),
    ],
)
def test_how_long_before_its_expiry(life: timedelta, tags: dict[str, str], expected: timedelta) -> None:
    entry = tagged(secret("s"), tags)
    snapshot = snap([entry], [key(left=life / 2, age=life / 2)])
    assert margin(make_view(snapshot, entry)) == expected
