"""What is scheduled early, what is not, and the alert for keys that can't be rotated before they expire."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.model import Key, Policy, SecretEntry
from rotator.plan import AccountPlan, Alert, Severity
from rotator.policy.daily_limit import Slots, quota_window
from rotator.policy.planner import plan_account
from rotator.policy.rules import make_view
from rotator.policy.scheduling import MAX_NAMES, margin
from rotator.reasons import Reason
from tests.policy.build import DAY, HOUR, MINUTE, NOW, Case, key, secret, snap, tagged
from tests.policy.tables import table

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
    return next((alert for alert in plan.alerts if alert.kind is Reason.EXPIRES_BEFORE_ROTATION), None)


def names(count: int, begin: str = "s") -> list[str]:
    return [f"{begin}{number:03}" for number in range(count)]


# A key that is scheduled early is to be replaced 2.5 days before it expires: 10 d 11 h are 7 whole days of ten slots.
LEFT = 10 * DAY + 11 * HOUR


@pytest.mark.parametrize(("count", "expected"), [(1, 0), (70, 0), (71, 1), (75, 5), (80, 10), (90, 10)])
def test_no_more_than_needed_and_no_sooner(count: int, expected: int) -> None:
    plan = planned(group(count, LEFT))
    assert early(plan) == names(expected)
    assert plan.skipped == ()
    assert all(action.message.values["a_day"] == 10 for action in plan.actions)


EARLY = table("""
    five more keys than 7 whole days of ten slots hold: five
        75 x s## rotate-before=5d {v1 CURRENT key:K##}; 75 x K## left=10d11h age=79d13h; with limit=12-2
        -> 5 x rotate capacity s## K##@v1
    slots that were used today are not used twice
        75 x s## rotate-before=5d {v1 CURRENT key:K##}; 75 x K## left=10d11h age=79d13h; 8 x N# left=90d age=1h;
        with limit=12-2
        -> 2 x rotate capacity s## K##@v1
    what expires first goes first
        60 x b## rotate-before=5d {v1 CURRENT key:B##}; 60 x B## left=10d11h age=79d13h;
        14 x c## rotate-before=5d {v1 CURRENT key:C##}; 14 x C## left=10d10h age=79d14h;
        30 x a## rotate-before=5d {v1 CURRENT key:A##}; 30 x A## left=40d11h age=49d13h; with limit=12-2
        -> 4 x rotate capacity c## C##@v1
    what is due and expires sooner makes room: three in place of eight
        73 x s## rotate-before=5d {v1 CURRENT key:K##}; 73 x K## left=10d11h age=79d13h;
        5 x due# rotate-before=20d {v1 CURRENT key:D#}; 5 x D# left=9d11h age=80d13h; with limit=12-2
        -> 5 x rotate expiring due# D#@v1; 3 x rotate capacity s## K##@v1
    what is held takes no slot, and what is blocked is not scheduled early
        70 x s## rotate-before=5d {v1 CURRENT key:K##}; 70 x K## left=10d11h age=79d13h;
        20 x a## rotate-before=5d hold=audit {v1 CURRENT key:A##}; 20 x A## left=10d11h age=79d13h;
        b rotate-before=5d {v1 CURRENT key:B}; B left=10d11h age=79d13h scopes=none; with limit=12-2
        -> rotate capacity s00 K00@v1; 20 x skip a## hold
    a blocked key that is lost makes no other early
        a rotate-before=10m grace=1h {v1 CURRENT key:A}; A left=30m age=90d scopes=none;
        9 x s# rotate-before=1d {v1 CURRENT key:K#}; 9 x K# left=3d age=87d; with limit=12-2
        -> skip a misconfigured; error misconfigured a A (10m)
    a window that opens later today is waited for
        20 x s## rotate-before=5d window="Mon 10:00-18:00 UTC" {v1 CURRENT key:K##}; 20 x K## left=10d11h age=79d13h;
        with limit=12-2
    the last window before expiry is used before it is due
        s rotate-before=1d window="Mon 08:00-18:00 UTC"; K1 left=6d age=84d -> rotate capacity s K1@v1
    not the last window, or one tomorrow
        s rotate-before=1d window="Mon 08:00-18:00 UTC"; K1 left=13d age=77d;
        t rotate-before=1d window="Tue 08:00-18:00 UTC" {v1 CURRENT key:T}; T left=6d age=84d
    a due rotation waits for its window if there is time
        60 x s## rotate-before=5d {v1 CURRENT key:K##}; 60 x K## left=10d11h age=79d13h;
        3 x due# rotate-before=20d window="Tue 08:00-18:00 UTC" {v1 CURRENT key:D#}; 3 x D# left=10d11h age=79d13h;
        with limit=12-2
        -> 3 x skip due# window
    while its window is closed another goes first
        71 x s## rotate-before=5d {v1 CURRENT key:K##}; 71 x K## left=10d11h age=79d13h;
        x rotate-before=5d window="Tue 08:00-18:00 UTC" {v1 CURRENT key:X}; X left=10d11h age=79d13h; with limit=12-2
        -> 2 x rotate capacity s## K##@v1
    a window that opens only within the safety margin is waited for
        70 x s## rotate-before=5d {v1 CURRENT key:K##}; 70 x K## left=10d11h age=79d13h;
        x rotate-before=5d window="Mon 08:00-09:00 UTC" {v1 CURRENT key:X}; X left=9d age=81d; with limit=12-2
        -> rotate capacity s00 K00@v1
    what becomes due in its last sweep is not early
        s rotate-before=1h grace=1h; K1 left=4h12m age=80d
    a secret that got a key today goes after others
        a rotate-before=20d {v1 CURRENT key:A}; A left=5d age=85d; b rotate-before=20d {v1 CURRENT key:B};
        B left=9d age=81d; N age=1h left=-30m disabled for=a@v9; with limit=4-2
        -> rotate expiring b B@v1; skip a daily-limit
    the last window of a key goes before a key that expires sooner
        a rotate-before=20d {v1 CURRENT key:A}; A left=4d age=86d;
        b rotate-before=4d window="Mon 10:00-11:00 UTC" {v1 CURRENT key:B}; B left=5d age=85d; with limit=1-0
        -> skip a daily-limit
    keys without an end are no group
        100 x s## rotate-before=5d {v1 CURRENT key:K##}; 100 x K## left=never; with limit=12-2
        -> 100 x warning no-expiry s## K##
""")


@pytest.mark.parametrize("case", EARLY, ids=str)
def test_what_is_scheduled_early(case: Case) -> None:
    for action in case.check().actions:
        assert action.key_id
        assert action.deadline == case.snapshot.keys[action.key_id].valid_to
        assert action.reason is Reason.EXPIRING or action.due_at == NOW


# ---- not in time -----------------------------------------------------------------------------------------------------


def test_impossible_in_time_is_alert_now() -> None:
    plan = planned(group(120, LEFT))
    alert = late(plan)
    assert alert is not None
    assert (alert.severity, alert.secret, alert.key_id) == (Severity.ERROR, None, None)
    # Today's ten, and ten on each of the ten days until they expire.
    told = alert.message.values
    assert (alert.count, told["count"], told["a_day"], told["first"]) == (10, 10, 10, NOW + LEFT)
    assert "s110, s111, s112, s113, s114 " in alert.detail
    assert "s115" not in alert.detail
    for fix in ("`rotator rotate`", "ROTATOR_DAILY_LIMIT", "ROTATOR_RESERVE", "rotator:validity"):
        assert fix in alert.detail
    assert late(planned(group(110, LEFT))) is None
    assert len(plan.actions) == 10


def test_single_one_is_named() -> None:
    alert = late(planned(group(111, LEFT)))
    assert alert is not None
    assert (alert.secret, alert.key_id, alert.count) == ("s110", "Ks110", 1)


def test_untrusted_names_printable_and_few() -> None:
    alert = late(planned(group(130, LEFT, "\x1b[31mevil\n")))
    assert alert is not None
    assert alert.detail.isprintable()
    assert alert.detail.count("evil") == MAX_NAMES


def test_broken_without_slot_is_in_alert() -> None:
    made = [key(f"N{n}", left=90 * DAY, age=HOUR) for n in range(10)]
    broken = [secret("x", {"v1": "CURRENT key:KX"})], [key("KX", left=-DAY), *made]
    alert = late(planned(broken))
    assert alert is not None
    assert alert.secret == "x"
    assert alert.message.values["first"] is None
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
def test_slot_is_used_again_after_day(every: timedelta, expected: timedelta) -> None:
    assert quota_window(Policy(sweep_every=every)) == expected


def test_slots_come_back_in_order() -> None:
    slots = Slots(NOW, HOUR, 24, a_day=2, today=[0, 5], broken=0)
    expiries = [0, 1, 2, 6, 24, 25]
    assert slots.too_late(expiries) == [1, 2, 5]
    assert replace(slots, broken=1).too_late(expiries) == [0, 1, 2, 5]
    assert replace(slots, a_day=0).too_late(expiries) == [0, 1, 2, 3, 4, 5]


def test_early_start_uses_free_slot() -> None:
    slots = Slots(NOW, HOUR, 24, a_day=2, today=[0, 5], broken=0)
    assert slots.too_late([0, 1, 5], 0) == [0]
    assert slots.too_late([4, 5, 23, 24], 1) == [0, 2]
    # A slot more that is free today only does not come back.
    assert replace(slots, today=[0, 0, 5], a_day=1).too_late([1, 25], 1) == []
    assert replace(slots, today=[0, 0, 5], a_day=1).too_late([1, 23], 2) == [0, 1]


@given(st.lists(st.integers(0, 9), max_size=8), st.lists(st.integers(0, 3), min_size=1, max_size=3))
def test_no_choice_has_fewer_too_late(expiries: list[int], free: list[int]) -> None:
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


def test_slot_free_within_minutes_is_free() -> None:
    """Sweeps once a day, each creates some minutes after it began: yesterday's slots are used again today."""
    policy = replace(TEN, sweep_every=DAY)
    made = [key(f"N{n}", left=90 * DAY, age=DAY - 5 * MINUTE) for n in range(10)]
    assert early(planned(group(68, LEFT), ([], made), policy=policy)) == names(5)
    made = [key(f"N{n}", left=90 * DAY, age=DAY - 15 * MINUTE) for n in range(10)]
    assert early(planned(group(68, LEFT), ([], made), policy=policy)) == []


def test_emergency_slots_refill_reserve() -> None:
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
