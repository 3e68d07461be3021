"""What is measured of an account: before the work, after it, and what wakes somebody."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.message import Message
from rotator.model import Policy
from rotator.plan import AccountPlan, Alert, Outcome, Promoted, Quota, Result, Severity
from rotator.policy.planner import plan_account
from rotator.policy.status import State
from rotator.reasons import Reason
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
from tests.policy.build import DAY, HOUR, NOW, POLICY, key, secret, snap
from tests.policy.tables import observed

OVER = "s {v2 CURRENT key:K1} {v1 PREVIOUS key:K0 retire:K0:-1h}"


def values(samples: tuple[Sample, ...], family: Family) -> dict[tuple[str, ...], float]:
    """What is not 0, where a family counts."""
    found = {s.labels: s.value for s in samples if s.family is family and (s.value or family.kind == "gauge")}
    assert len({(s.family.name, s.labels) for s in samples}) == len(samples), "no series twice"
    return found


def planned(there: str) -> AccountPlan:
    return plan_account(observed(there), POLICY, NOW)


def undone(there: str) -> tuple[Sample, ...]:
    return state_samples(observed(there), planned(there), NOW, ())


def after(there: str, outcome: Outcome, **new: object) -> tuple[Sample, ...]:
    """Every planned action with the same outcome; ``new`` stands in the results."""
    plan = planned(there)
    results = tuple(replace(Result(action, outcome), **new) for action in plan.actions)  # type: ignore[arg-type]
    return state_samples(observed(there), plan, NOW, results)


ALIVE = ("s; K1", "s; K1 left=1s", "s hold=x; K1", "s grace=soon; K1")
DEAD = ("s; K1 left=0s", "s; K1 disabled", "s", "s scopes=a {}", "s {v1 CURRENT}; K1")


@pytest.mark.parametrize(("there", "ready"), [*((text, 1) for text in ALIVE), *((text, 0) for text in DEAD)])
def test_ready(there: str, ready: int) -> None:
    assert values(undone(there), READY) == {("s",): ready}


def test_expiration_is_unix_time_or_absent() -> None:
    there = "a; b {v1 CURRENT key:K2}; c {}; K1; K2 left=never"
    assert values(undone(there), EXPIRATION) == {("a",): (NOW + 300 * DAY).timestamp()}


def test_keys_by_state_name_every_state() -> None:
    found = values(undone("a; b hold=x; c hold=x; K1"), KEYS)
    assert set(found) == {(str(state),) for state in State}
    assert {labels[0]: count for labels, count in found.items() if count} == {"ok": 1, "held": 2}


# what is there, after all of the work was deferred, after all of it was done
EXPIRING_TABLE = (
    ("s; K1", 0, 0),
    ("s; K1 left=5d", 1, 0),
    ("s hold=x; K1 left=7d", 0, 0),
    ("s hold=x; K1 left=6d23h59m59s", 1, 1),
    ("s hold=x; K1 left=-1d", 1, 1),
    ("s grace=soon; K1 left=1d", 1, 1),
    ("s validity=6d rotate-before=2d; K1 left=4d", 0, 0),  # short-lived by wish
    ('s window="Tue 01:00-02:00 UTC" rotate-before=6d; K1 left=5d', 0, 0),
)
OVERDUE_TABLE = (
    ("s {v2 CURRENT key:K1} {v1 PREVIOUS key:K0 retire:K0:+1d}; K1; K0", 0, 0),
    (f"{OVER}; K1; K0", 1, 0),
    (f"{OVER}; K1; K0 disabled", 0, 0),
    (f"{OVER}; K1", 0, 0),
    (f"{OVER}; K1 disabled; K0", 1, 1),
    (f"{OVER}; t {{v1 CURRENT key:K0}}; K1; K0", 1, 1),
    (f"{OVER.replace('s', 's hold=x', 1)}; K1; K0", 0, 0),
    (OVER.replace("s", 's window="Sun 01:00-02:00 UTC"', 1) + "; K1; K0", 0, 0),
)


@pytest.mark.parametrize(
    ("family", "there", "deferred", "done"),
    [*((EXPIRING, *row) for row in EXPIRING_TABLE), *((OVERDUE, *row) for row in OVERDUE_TABLE)],
)
def test_swept_work_wakes_nobody(family: Family, there: str, deferred: int, done: int) -> None:
    new = {"promoted": Promoted("K9", "v9", NOW + 90 * DAY)} if family is EXPIRING else {}
    work = (undone(there), after(there, Outcome.DEFERRED), after(there, Outcome.DONE, **new))
    assert [values(samples, family)[()] for samples in work] == [deferred, deferred, done]


def test_late_and_expiring_keys_are_at_risk() -> None:
    there = "a; b {v1 CURRENT key:K2}; c {v1 CURRENT key:K3}; K1 left=24h; K2 left=24h1s; K3"
    assert values(undone(there), AT_RISK_KEYS) == {(): 1}
    made = after(there, Outcome.DONE, promoted=Promoted("K9", "v9", NOW + 90 * DAY))
    assert values(made, AT_RISK_KEYS) == {(): 0}
    assert values(after(there, Outcome.FAILED), AT_RISK_KEYS) == {(): 1}
    late = Alert(Reason.EXPIRES_BEFORE_ROTATION, Message("no slot"), "c", "K3", Severity.ERROR)
    plan = replace(planned(there), alerts=(late, late))
    assert values(state_samples(observed(there), plan, NOW, ()), AT_RISK_KEYS) == {(): 2}


def test_crowd_without_slots_is_at_risk() -> None:
    snapshot = observed("20 x s# {v1 CURRENT key:K#}; 20 x K# left=3h")
    plan = plan_account(snapshot, Policy(daily_limit=12, reserve=8), NOW)
    assert len(plan.actions) == 4
    # 4 are about to be made, and 16 find no place before they end.
    assert values(state_samples(snapshot, plan, NOW, ()), AT_RISK_KEYS) == {(): 20}
    made = tuple(Result(action, Outcome.DONE, promoted=Promoted("K", "v9", None)) for action in plan.actions)
    assert values(state_samples(snapshot, plan, NOW, made), AT_RISK_KEYS) == {(): 16}


def test_states_after_sweeps_work() -> None:
    end = NOW + 90 * DAY
    samples = after(f"{OVER}; K1 left=5d; K0", Outcome.DONE, promoted=Promoted("K9", "v9", end))
    assert values(samples, EXPIRATION) == {("s",): end.timestamp()}
    assert values(samples, READY) == {("s",): 1}
    assert values(samples, KEYS)[("retiring",)] == 1
    broken = "s; K1 disabled"
    assert values(after(broken, Outcome.DONE, promoted=Promoted("K9", "v9", end)), READY) == {("s",): 1}
    assert values(after(broken, Outcome.FAILED), READY) == {("s",): 0}
    assert values(after(f"{OVER}; K1; K0", Outcome.DONE), KEYS)[("ok",)] == 1


def test_budget_metric_follows_work() -> None:
    there = "s; K1; 5 x N# age=1h"
    assert values(undone(there), CREATES_USED) == {(): 5}
    assert values(undone(there), CREATES_LEFT) == {(): 40 - 8 - 5}
    samples = state_samples(observed(there), planned(there), NOW, (), Quota(40, 40, 0, 40, 8))
    assert values(samples, CREATES_LEFT) == {(): 0}


def test_counters_count_outcomes() -> None:
    plan = planned(f"{OVER}; t {{v1 CURRENT key:K3}}; K1; K0; K3 left=1d")
    rotate, revoke = plan.actions
    results = (Result(rotate, Outcome.DONE, promoted=Promoted("K9", "v9", None)), Result(revoke, Outcome.DONE))
    counted = count_samples(plan, results)
    assert values(counted, ROTATIONS) == {("expiring",): 1}
    assert values(counted, REVOCATIONS) == {("grace-over",): 1}
    failed = count_samples(plan, tuple(Result(action, Outcome.FAILED, "no") for action in plan.actions))
    assert values(failed, FAILURES) == {("rotate", "expiring"): 1, ("revoke", "grace-over"): 1}
    deferred = count_samples(plan, tuple(Result(action, Outcome.DEFERRED) for action in plan.actions))
    assert {sample.value for sample in deferred} == {0}
    # Its labels go; no key was revoked.
    dead = planned(f"{OVER}; K1; K0 disabled")
    cleaned = count_samples(dead, tuple(Result(action, Outcome.DONE) for action in dead.actions))
    assert {sample.value for sample in cleaned} == {0}


def test_unswept_account_is_failure() -> None:
    plan = AccountPlan("main", Quota(0, 40, 0, 40, 8), error="Infobip did not answer")
    assert values(count_samples(plan, ()), FAILURES) == {("sweep", "not-observed"): 1}
    skewed = planned("s; K1; with skew=1h")
    assert values(count_samples(skewed, ()), FAILURES) == {("sweep", "clock-skew"): 1}


def test_counter_is_known_before_it_grows() -> None:
    zeros = count_samples(planned("s; K1"), ())
    assert all(sample.value == 0 for sample in zeros)
    assert {sample.family for sample in zeros} == {f for f in FAMILIES if f.kind == "counter"}


def test_only_success_sets_last_success() -> None:
    good = sweep_samples(True, NOW - timedelta(seconds=90), NOW)
    assert [sample.value for sample in good] == [90, NOW.timestamp()]
    assert LAST_SUCCESS not in {sample.family for sample in sweep_samples(False, NOW, NOW)}
    assert [sample.value for sample in sweep_samples(False, NOW + HOUR, NOW)] == [0]  # the clock was set back


def test_hostile_names_fit_terminal() -> None:
    name = 'a"b\\c\n\x1b[2J\u202e\ud800<script>=1+1'
    snapshot = snap([secret(name)], [key()])
    (labels,) = values(state_samples(snapshot, plan_account(snapshot, POLICY, NOW), NOW, ()), READY)
    assert labels[0].isprintable()
    assert "<script>" in labels[0]  # escaping for HTML is for who writes HTML


def test_families_have_usual_names() -> None:
    for family in FAMILIES:
        assert family.name.startswith("rotator_")
        assert family.help.endswith(".")
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
