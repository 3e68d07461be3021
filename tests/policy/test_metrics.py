"""What is measured of an account: before the work, after it, and what wakes somebody."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.message import Message
from rotator.model import AccountPlan, AccountSnapshot, Alert, Outcome, Policy, Quota, Reason, Result, Severity
from rotator.policy.planner import plan_account
from rotator.policy.status import State
from rotator.telemetry.metrics import (
    AT_RISK_KEYS,
    CREATES_LEFT,
    CREATES_USED,
    EXPIRATION,
    EXPIRING,
    FAILURES,
    FAMILIES,
    KEYS,
    LAST_SUCCESS,
    OVERDUE,
    READY,
    REVOCATIONS,
    ROTATIONS,
    Family,
    Sample,
    count_samples,
    state_samples,
    sweep_samples,
)
from tests.policy.build import DAY, HOUR, NOW, POLICY, SECOND, key, secret, snap

GRACE = {"v2": "CURRENT key:K1", "v1": "PREVIOUS key:K0 retire:K0:+1d"}
OVER = {"v2": "CURRENT key:K1", "v1": "PREVIOUS key:K0 retire:K0:-1h"}


def values(samples: tuple[Sample, ...], family: Family) -> dict[tuple[str, ...], float]:
    """What is not 0, where a family counts."""
    found = {s.labels: s.value for s in samples if s.family is family and (s.value or family.kind == "gauge")}
    assert len({(s.family.name, s.labels) for s in samples}) == len(samples), "no series twice"
    return found


def planned(snapshot: AccountSnapshot) -> AccountPlan:
    return plan_account(snapshot, POLICY, NOW)


def undone(snapshot: AccountSnapshot) -> tuple[Sample, ...]:
    return state_samples(snapshot, planned(snapshot), NOW, ())


def after(snapshot: AccountSnapshot, outcome: Outcome, **new: object) -> tuple[Sample, ...]:
    """Every planned action with the same outcome; ``new`` stands in the results."""
    plan = planned(snapshot)
    results = tuple(replace(Result(action, outcome), **new) for action in plan.actions)  # type: ignore[arg-type]
    return state_samples(snapshot, plan, NOW, results)


READY_TABLE = (
    ("enabled", snap([secret("s")], [key()]), 1),
    ("its last second", snap([secret("s")], [key(left=SECOND)]), 1),
    ("ended", snap([secret("s")], [key(left=0 * DAY)]), 0),
    ("disabled", snap([secret("s")], [key(enabled=False)]), 0),
    ("not listed", snap([secret("s")]), 0),
    ("no value", snap([secret("s", {}, scopes="a")]), 0),
    ("nobody knows which key", snap([secret("s", {"v1": "CURRENT"})], [key()]), 0),
    ("on hold and alive", snap([secret("s", hold="x")], [key()]), 1),
    ("a wrong tag, and alive", snap([secret("s", grace="soon")], [key()]), 1),
)


@pytest.mark.parametrize(("snapshot", "ready"), [row[1:] for row in READY_TABLE], ids=[row[0] for row in READY_TABLE])
def test_ready(snapshot: AccountSnapshot, ready: int) -> None:
    assert values(undone(snapshot), READY) == {("s",): ready}


def test_expiration_is_a_unix_time_or_absent() -> None:
    secrets = [secret("a"), secret("b", {"v1": "CURRENT key:K2"}), secret("c", {})]
    snapshot = snap(secrets, [key(), key("K2", left=None)])
    assert values(undone(snapshot), EXPIRATION) == {("a",): (NOW + 300 * DAY).timestamp()}


def test_keys_by_state_name_every_state() -> None:
    snapshot = snap([secret("a"), secret("b", hold="x"), secret("c", hold="x")], [key()])
    found = values(undone(snapshot), KEYS)
    assert set(found) == {(str(state),) for state in State}
    assert {labels[0]: count for labels, count in found.items() if count} == {"ok": 1, "held": 2}


# name, snapshot, after all of the work was deferred, after all of it was done
EXPIRING_TABLE = (
    ("much left", snap([secret("s")], [key()]), 0, 0),
    ("due, being replaced", snap([secret("s")], [key(left=5 * DAY)]), 1, 0),
    ("seven days", snap([secret("s", hold="x")], [key(left=7 * DAY)]), 0, 0),
    ("held back", snap([secret("s", hold="x")], [key(left=7 * DAY - SECOND)]), 1, 1),
    ("held back and ended", snap([secret("s", hold="x")], [key(left=-DAY)]), 1, 1),
    ("a wrong tag", snap([secret("s", grace="soon")], [key(left=DAY)]), 1, 1),
    ("short-lived by wish", snap([secret("s", validity="6d", rotate_before="2d")], [key(left=4 * DAY)]), 0, 0),
    (
        "waits for its window",
        snap([secret("s", window="Tue 01:00-02:00 UTC", rotate_before="6d")], [key(left=5 * DAY)]),
        0,
        0,
    ),
)
OVERDUE_TABLE = (
    ("in grace", snap([secret("s", GRACE)], [key(), key("K0")]), 0, 0),
    ("grace over, being revoked", snap([secret("s", OVER)], [key(), key("K0")]), 1, 0),
    ("grace over, already dead", snap([secret("s", OVER)], [key(), key("K0", enabled=False)]), 0, 0),
    ("grace over, gone", snap([secret("s", OVER)], [key()]), 0, 0),
    ("the new key does not work", snap([secret("s", OVER)], [key(enabled=False), key("K0")]), 1, 1),
    ("a copy holds it", snap([secret("s", OVER), secret("t", {"v1": "CURRENT key:K0"})], [key(), key("K0")]), 1, 1),
    ("on hold by wish", snap([secret("s", OVER, hold="x")], [key(), key("K0")]), 0, 0),
    ("waits for its window", snap([secret("s", OVER, window="Sun 01:00-02:00 UTC")], [key(), key("K0")]), 0, 0),
)


@pytest.mark.parametrize(
    ("family", "snapshot", "deferred", "done"),
    [
        *((EXPIRING, *row[1:]) for row in EXPIRING_TABLE),
        *((OVERDUE, *row[1:]) for row in OVERDUE_TABLE),
    ],
    ids=[row[0] for row in (*EXPIRING_TABLE, *OVERDUE_TABLE)],
)
def test_what_the_sweep_takes_care_of_wakes_nobody(
    family: Family, snapshot: AccountSnapshot, deferred: int, done: int
) -> None:
    new = {"new_key_id": "K9", "new_expires_at": NOW + 90 * DAY} if family is EXPIRING else {}
    counts = [
        values(samples, family)[()]
        for samples in (undone(snapshot), after(snapshot, Outcome.DEFERRED), after(snapshot, Outcome.DONE, **new))
    ]
    assert counts == [deferred, deferred, done]


def test_at_risk_are_late_keys_and_those_that_expire_in_a_day() -> None:
    snapshot = snap(
        [secret("a"), secret("b", {"v1": "CURRENT key:K2"}), secret("c", {"v1": "CURRENT key:K3"})],
        [key(left=24 * HOUR), key("K2", left=24 * HOUR + SECOND), key("K3", left=300 * DAY)],
    )
    assert values(undone(snapshot), AT_RISK_KEYS) == {(): 1}
    made = after(snapshot, Outcome.DONE, new_key_id="K9", new_expires_at=NOW + 90 * DAY)
    assert values(made, AT_RISK_KEYS) == {(): 0}
    assert values(after(snapshot, Outcome.FAILED), AT_RISK_KEYS) == {(): 1}
    late = Alert(Reason.NOT_IN_TIME, Message("no slot"), "c", "K3", Severity.ERROR)
    plan = replace(planned(snapshot), alerts=(late, late))
    assert values(state_samples(snapshot, plan, NOW, ()), AT_RISK_KEYS) == {(): 2}


def test_all_keys_of_a_crowd_that_finds_no_place_are_at_risk() -> None:
    secrets = [secret(f"s{number}", {"v1": f"CURRENT key:K{number}"}) for number in range(20)]
    snapshot = snap(secrets, [key(f"K{number}", left=3 * HOUR) for number in range(20)])
    plan = plan_account(snapshot, Policy(daily_limit=12, reserve=8), NOW)
    assert len(plan.actions) == 4
    # 4 are about to be made, and 16 find no place before they end.
    assert values(state_samples(snapshot, plan, NOW, ()), AT_RISK_KEYS) == {(): 20}
    made = tuple(Result(action, Outcome.DONE, new_key_id="K") for action in plan.actions)
    assert values(state_samples(snapshot, plan, NOW, made), AT_RISK_KEYS) == {(): 16}


def test_after_the_work_a_secret_stands_where_the_sweep_left_it() -> None:
    end = NOW + 90 * DAY
    due = snap([secret("s", OVER)], [key(left=5 * DAY), key("K0")])
    samples = after(due, Outcome.DONE, new_key_id="K9", new_expires_at=end)
    assert values(samples, EXPIRATION) == {("s",): end.timestamp()}
    assert values(samples, READY) == {("s",): 1}
    assert values(samples, KEYS)[("retiring",)] == 1
    broken = snap([secret("s")], [key(enabled=False)])
    assert values(after(broken, Outcome.DONE, new_key_id="K9", new_expires_at=end), READY) == {("s",): 1}
    assert values(after(broken, Outcome.FAILED), READY) == {("s",): 0}
    assert values(after(snap([secret("s", OVER)], [key(), key("K0")]), Outcome.DONE), KEYS)[("ok",)] == 1


def test_the_budget_is_the_plans_until_the_work_has_used_some() -> None:
    snapshot = snap([secret("s")], [key(), *(key(f"N{number}", age=HOUR) for number in range(5))])
    assert values(undone(snapshot), CREATES_USED) == {(): 5}
    assert values(undone(snapshot), CREATES_LEFT) == {(): 40 - 8 - 5}
    samples = state_samples(snapshot, planned(snapshot), NOW, (), Quota(40, 40, 0, 40, 8))
    assert values(samples, CREATES_LEFT) == {(): 0}


def test_counters_count_what_became_of_actions() -> None:
    snapshot = snap([secret("s", OVER), secret("t", {"v1": "CURRENT key:K3"})], [key(), key("K0"), key("K3", left=DAY)])
    plan = planned(snapshot)
    rotate, revoke = plan.actions
    results = (Result(rotate, Outcome.DONE, new_key_id="K9"), Result(revoke, Outcome.DONE))
    counted = count_samples(plan, results)
    assert values(counted, ROTATIONS) == {("expiring",): 1}
    assert values(counted, REVOCATIONS) == {("grace-over",): 1}
    failed = count_samples(plan, tuple(Result(action, Outcome.FAILED, "no") for action in plan.actions))
    assert values(failed, FAILURES) == {("rotate", "expiring"): 1, ("revoke", "grace-over"): 1}
    deferred = count_samples(plan, tuple(Result(action, Outcome.DEFERRED) for action in plan.actions))
    assert {sample.value for sample in deferred} == {0}
    # Its labels go; no key was revoked.
    dead = planned(snap([secret("s", OVER)], [key(), key("K0", enabled=False)]))
    cleaned = count_samples(dead, tuple(Result(action, Outcome.DONE) for action in dead.actions))
    assert {sample.value for sample in cleaned} == {0}


def test_an_unswept_account_is_a_failure_with_its_reason() -> None:
    plan = AccountPlan("main", Quota(0, 40, 0, 40, 8), error="Infobip did not answer")
    assert values(count_samples(plan, ()), FAILURES) == {("sweep", "not-observed"): 1}
    skewed = planned(snap([secret("s")], [key()], skew=HOUR))
    assert values(count_samples(skewed, ()), FAILURES) == {("sweep", "clock-skew"): 1}


def test_a_counter_is_known_before_it_grows() -> None:
    zeros = count_samples(planned(snap([secret("s")], [key()])), ())
    assert all(sample.value == 0 for sample in zeros)
    assert {sample.family for sample in zeros} == {f for f in FAMILIES if f.kind == "counter"}


def test_only_a_success_sets_the_last_success() -> None:
    good = sweep_samples(True, NOW - timedelta(seconds=90), NOW)
    assert [sample.value for sample in good] == [90, NOW.timestamp()]
    assert LAST_SUCCESS not in {sample.family for sample in sweep_samples(False, NOW, NOW)}
    assert [sample.value for sample in sweep_samples(False, NOW + HOUR, NOW)] == [0]  # the clock was set back


def test_hostile_names_are_made_fit_for_a_terminal() -> None:
    name = 'a"b\\c\n\x1b[2J\u202e\ud800<script>=1+1'
    (labels,) = values(undone(snap([secret(name)], [key()])), READY)
    assert labels[0].isprintable()
    assert "<script>" in labels[0]  # escaping for HTML is for who writes HTML


def test_families_have_the_names_of_the_field() -> None:
    for family in FAMILIES:
        assert family.name.startswith("rotator_")
        assert family.help.endswith(".")
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
