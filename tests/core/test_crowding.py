"""Who is pulled forward, who is not, and what is said of those that can't be helped."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotator.core.crowding import NAMES, margin, pace_of
from rotator.core.model import AccountPlan, ActionKind, Alert, Key, Policy, Reason, SecretEntry, Severity
from rotator.core.planner import make_view, plan_account
from tests.core.build import DAY, HOUR, MINUTE, NOW, key, secret, snap, tagged

TEN = Policy(daily_limit=12, reserve=2)


def crowd(count: int, left: timedelta, begin: str = "s", **tags: str) -> tuple[list[SecretEntry], list[Key]]:
    """Secrets whose keys all end then, none of them due: it is ten days before the end of 90."""
    tags = {"rotate_before": "5d", **tags}
    names = [f"{begin}{number:03}" for number in range(count)]
    return (
        [tagged(secret(name, {"v1": f"CURRENT key:{id_of(name)}"}), tags) for name in names],
        [key(id_of(name), left=left, age=90 * DAY - left) for name in names],
    )


def id_of(name: str) -> str:
    return "K" + "".join(letter for letter in name if letter.isalnum())


def planned(*crowds: tuple[list[SecretEntry], list[Key]], policy: Policy = TEN) -> AccountPlan:
    secrets = [entry for entries, _ in crowds for entry in entries]
    return plan_account(snap(secrets, [one for _, keys in crowds for one in keys]), policy, NOW)


def pulled(plan: AccountPlan) -> list[str]:
    assert all(action.reason is Reason.CAPACITY for action in plan.actions), plan.actions
    return [action.secret for action in plan.actions]


def late(plan: AccountPlan) -> Alert | None:
    return next((alert for alert in plan.alerts if alert.kind is Reason.NOT_IN_TIME), None)


def names(count: int, begin: str = "s") -> list[str]:
    return [f"{begin}{number:03}" for number in range(count)]


# A day is 25 hours here, and in a crowd a key is to be replaced 2.5 days before its end: 10 d 12 h are 7 whole days.
LEFT = 10 * DAY + 12 * HOUR


@pytest.mark.parametrize(("count", "expected"), [(1, 0), (70, 0), (71, 1), (75, 5), (80, 10), (90, 10)])
def test_no_more_than_needed_and_no_earlier(count: int, expected: int) -> None:
    plan = planned(crowd(count, LEFT))
    assert pulled(plan) == names(expected)
    assert plan.skipped == ()


def test_why_it_is_pulled_forward() -> None:
    action = planned(crowd(75, LEFT)).actions[0]
    assert action.kind is ActionKind.ROTATE
    assert action.detail == "10 d left; 75 keys end by 12 Mar, 10 a day can be made"
    assert action.deadline == NOW + LEFT
    assert action.due_at == NOW
    assert action.key_id == "Ks000"


def test_the_ones_that_end_first_go_first() -> None:
    plan = planned(crowd(60, LEFT, "b"), crowd(14, LEFT - HOUR, "c"), crowd(30, LEFT + 30 * DAY, "a"))
    assert pulled(plan) == names(4, "c")


def test_what_is_due_makes_room() -> None:
    """Five that are due and end before the crowd are done anyway, so five fewer of the crowd can't wait."""
    due = crowd(5, LEFT - DAY, "due", rotate_before="20d")
    plan = planned(crowd(73, LEFT), due)
    assert sorted(action.reason for action in plan.actions) == ["capacity"] * 3 + ["expiring"] * 5
    assert len(planned(crowd(65, LEFT), due).actions) == 5


def test_what_is_held_or_blocked_takes_no_place_and_is_not_pulled() -> None:
    held = crowd(20, LEFT, "a", hold="audit")
    assert pulled(planned(crowd(71, LEFT), held)) == names(1)
    entries, keys = crowd(71, LEFT)
    keys[0] = key("Ks000", left=LEFT, age=90 * DAY - LEFT, scopes=frozenset())
    assert pulled(planned((entries, keys))) == ["s001"]


def test_places_that_were_used_today_are_not_used_twice() -> None:
    made = [key(f"N{n}", left=90 * DAY, age=HOUR) for n in range(8)]
    plan = planned(crowd(75, LEFT), ([], made))
    assert pulled(plan) == names(2)


def test_without_a_crowd_nobody_is_pulled_however_late_it_is_due() -> None:
    assert pulled(planned(crowd(10, DAY, rotate_before="12h"))) == []
    assert pulled(planned(crowd(10, 13 * HOUR, rotate_before="12h"))) == []


def test_more_than_today_has_places_for() -> None:
    assert pulled(planned(crowd(11, 30 * HOUR, rotate_before="12h"))) == names(10)
    assert pulled(planned(crowd(11, 13 * HOUR, rotate_before="12h"))) == names(10)


def test_keys_without_an_end_are_no_crowd() -> None:
    entries, _ = crowd(100, LEFT)
    plan = planned((entries, [key(f"K{entry.name}", left=None) for entry in entries]))
    assert plan.actions == ()
    assert late(plan) is None


# ---- windows --------------------------------------------------------------------------------------------------------


def test_windows_are_days_too() -> None:
    """NOW is a Monday. Twenty keys, whose window opens today and once more before they end, ten places each time."""
    plan = planned(crowd(20, LEFT, window="Mon 08:00-18:00 UTC"))
    assert pulled(plan) == names(10)
    assert plan.actions[0].detail.endswith(", and its window opens too late")
    assert pulled(planned(crowd(10, LEFT, window="Mon 08:00-18:00 UTC"))) == []
    assert pulled(planned(crowd(20, LEFT + 7 * DAY, window="Mon 08:00-18:00 UTC"))) == []


def test_a_window_that_opens_later_today_is_waited_for() -> None:
    assert pulled(planned(crowd(20, LEFT, window="Mon 10:00-18:00 UTC"))) == []


def test_the_last_window_before_the_end_is_used_though_it_is_not_due_yet() -> None:
    tags = {"window": "Mon 08:00-18:00 UTC", "rotate_before": "1d"}
    assert pulled(planned(crowd(1, 6 * DAY, **tags))) == names(1)
    assert pulled(planned(crowd(1, 13 * DAY, **tags))) == []
    assert pulled(planned(crowd(1, 6 * DAY, window="Tue 08:00-18:00 UTC", rotate_before="1d"))) == []


def test_an_end_that_can_not_wait_wins_over_a_window() -> None:
    """Its window opens no more, and the others have taken all the days that are left."""
    shut = crowd(1, LEFT - DAY, "a", window="Sun 01:00-02:00 UTC")
    plan = planned(crowd(70, LEFT), shut)
    assert pulled(plan) in (["a000"], ["s000"])
    due = crowd(1, LEFT - 5 * DAY, "a", window="Sun 01:00-02:00 UTC", rotate_before="9d")
    plan = planned(crowd(60, LEFT - 5 * DAY - HOUR), due)
    assert [(action.secret, action.reason) for action in plan.actions if action.secret == "a000"] in (
        [],
        [("a000", Reason.EXPIRING)],
    )
    assert len(plan.actions) == 10


def test_a_due_rotation_still_waits_for_its_window_in_a_crowd_that_has_time() -> None:
    due = crowd(3, LEFT, "due", rotate_before="20d", window="Tue 08:00-18:00 UTC")
    plan = planned(crowd(60, LEFT), due)
    assert plan.actions == ()
    assert [(skip.secret, skip.reason) for skip in plan.skipped] == [(name, Reason.WINDOW) for name in names(3, "due")]


# ---- too late -------------------------------------------------------------------------------------------------------


def test_what_can_not_be_done_in_time_is_said_now() -> None:
    plan = planned(crowd(120, LEFT))
    alert = late(plan)
    assert alert is not None
    assert (alert.severity, alert.secret, alert.key_id) == (Severity.ERROR, None, None)
    # Today's ten, and ten on each of the ten days of 25 hours until the end.
    assert alert.detail.startswith(
        "10 keys end before there is a place in the daily limit (10 a day), from 12 Mar 21:00 UTC on: s110, s111, "
        "s112, s113, s114 and 5 more; "
    )
    for mend in ("`rotator rotate`", "ROTATOR_DAILY_LIMIT", "ROTATOR_RESERVE", "rotator:validity"):
        assert mend in alert.detail
    assert late(planned(crowd(110, LEFT))) is None
    assert len(plan.actions) == 10


def test_a_single_one_is_named() -> None:
    alert = late(planned(crowd(111, LEFT)))
    assert alert is not None
    assert (alert.secret, alert.key_id) == ("s110", "Ks110")
    assert alert.detail.startswith("1 key ends before")


def test_names_from_outside_are_made_printable_and_few() -> None:
    alert = late(planned(crowd(130, LEFT, "\x1b[31mevil\n")))
    assert alert is not None
    assert alert.detail.isprintable()
    assert alert.detail.count("evil") == NAMES


def test_a_broken_one_that_finds_no_place_is_said_too() -> None:
    made = [key(f"N{n}", left=90 * DAY, age=HOUR) for n in range(10)]
    broken = [secret("x", {"v1": "CURRENT key:KX"})], [key("KX", left=-DAY), *made]
    alert = late(planned(broken))
    assert alert is not None
    assert alert.secret == "x"
    assert "already" in alert.detail
    assert late(planned((broken[0], broken[1][:-1]))) is None


def test_a_first_key_that_finds_no_place_leaves_nobody_without_one() -> None:
    made = [key(f"N{n}", left=90 * DAY, age=HOUR) for n in range(10)]
    assert late(planned(([secret("x", {}, scopes="sms:manage")], made))) is None


# ---- what a day is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("every", "pace"),
    [
        (HOUR, 25 * HOUR),
        (15 * MINUTE, 24 * HOUR + 15 * MINUTE),
        (5 * MINUTE, 24 * HOUR + 5 * MINUTE),
        (6 * HOUR, 30 * HOUR),
        (DAY, 48 * HOUR),
    ],
)
def test_a_place_is_used_again_by_the_next_sweep_after_it_is_free(every: timedelta, pace: timedelta) -> None:
    assert pace_of(Policy(sweep_every=every)) == pace


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
def test_how_long_before_its_end(life: timedelta, tags: dict[str, str], expected: timedelta) -> None:
    entry = tagged(secret("s"), tags)
    snapshot = snap([entry], [key(left=life / 2, age=life / 2)])
    assert margin(make_view(snapshot, entry)) == expected
