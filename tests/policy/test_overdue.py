"""Work that is due and does not get done is the alert ``overdue``, with the cause, unless it waits on purpose."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.message import Message
from rotator.model import (
    AccountPlan,
    Action,
    ActionKind,
    Alert,
    Key,
    Outcome,
    Policy,
    Reason,
    Resolution,
    Result,
    Severity,
)
from rotator.policy.overdue import ALLOWED_DELAY, allowed_delay, with_outcomes
from tests.policy.build import DAY, HOUR, MINUTE, NOW, SECOND, Case, key, own, secret, snap, tagged
from tests.policy.test_planner_guards import revoking

LIFE = 100 * DAY
DUE = 33 * DAY
"""So much is left of a key of 100 days when it is due."""


def lived(late: timedelta, life: timedelta = LIFE, key_id: str = "K1") -> Key:
    """A key whose rotation was due so long ago."""
    left = life * 0.33 - late
    return key(key_id, left=left, age=life - left)


def overdue(plan: AccountPlan) -> list[Alert]:
    return [alert for alert in plan.alerts if alert.kind is Reason.OVERDUE]


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (None, ALLOWED_DELAY),
        (key(left=50 * DAY, age=50 * DAY), DAY),
        (key(left=5 * DAY, age=5 * DAY), DAY),
        (key(left=2 * DAY, age=3 * DAY), 12 * HOUR),
        (key(left=HOUR, age=9 * HOUR), HOUR),
        (key(left=None), DAY),
        (key(age=None), DAY),
        (key(left=-2 * DAY, age=DAY), timedelta(0)),
    ],
)
def test_a_day_or_a_tenth_of_the_keys_lifetime(one: Key | None, expected: timedelta) -> None:
    assert allowed_delay(one) == expected


ROTATED = ("rotate expiring s K1@v1",)


def rotation(name: str, late: timedelta, *overdue: str, life: timedelta = LIFE, **tags: str) -> Case:
    snapshot = snap([tagged(secret("s"), tags)], [lived(late, life)])
    return Case(name, snapshot, actions=ROTATED, overdue=overdue)


def revocation(name: str, since: str, *overdue: str, old: Key | None = None, **tags: str) -> Case:
    entry = secret("s", {"v2": "CURRENT key:K2", "v1": f"PREVIOUS key:K1 retire:K1:{since}"})
    snapshot = snap([tagged(entry, tags)], [old or key(), key("K2")])
    return Case(name, snapshot, actions=("revoke grace-over s K1@v1",), overdue=overdue)


WHEN = (
    rotation("a rotation that is due now", 0 * DAY),
    rotation("a rotation a second less than a day late", DAY - SECOND),
    rotation("a rotation a day late", DAY, "s K1"),
    rotation("a short-lived key, a second less than a tenth of its life late", 50 * HOUR / 10 - SECOND, life=50 * HOUR),
    rotation("a short-lived key, a tenth of its life late", 50 * HOUR / 10, "s K1", life=50 * HOUR),
    Case(
        "by its age",
        snap([secret("s", max_age="30d")], [key(left=None, age=31 * DAY)]),
        actions=("rotate max-age s K1@v1",),
        overdue=("s K1",),
    ),
    Case(
        "by its age, a second less",
        snap([secret("s", max_age="30d")], [key(left=None, age=31 * DAY - SECOND)]),
        actions=("rotate max-age s K1@v1",),
        overdue=(),
    ),
    revocation("a revocation that is due now", "-0s"),
    revocation("a revocation a second less than a day late", "-23h59m59s"),
    revocation("a revocation a day late", "-1d", "s K1"),
    revocation(
        "of a short-lived key, a tenth of its life late", "-1h", "s K1", old=key(left=HOUR, age=9 * HOUR), grace="1h"
    ),
    Case(
        "a key in grace that expired: there is nothing to revoke",
        snap(
            [secret("s", {"v2": "CURRENT key:K2", "v1": "PREVIOUS key:K1 retire:K1:-9d"})],
            [key(left=-DAY), key("K2")],
        ),
        actions=("revoke key-not-active s K1@v1",),
        overdue=(),
    ),
    Case(
        "what is pending is resumed, and late all the same",
        snap([secret("s", {"v1": "CURRENT key:K1", "v2": "PENDING key:K2"})], [lived(2 * DAY), key("K2")]),
        actions=("resume pending s K2@v2",),
        overdue=("s K1",),
    ),
)

LATE = lived(9 * DAY)
GATED = secret("s", {"v2": "CURRENT key:K2", "v1": "PREVIOUS key:K1 retire:K1:-2d"}, gate="adoption")
CAUSES = (
    Case("a hold", snap([secret("s", hold="x")], [LATE]), skipped=("s hold",), overdue=()),
    Case(
        "a closed window",
        snap([secret("s", window="Mon 08:00-09:00 UTC")], [LATE]),
        skipped=("s window",),
        overdue=(),
    ),
    Case(
        "rotator:gate",
        snap([GATED], [key(), key("K2")]),
        skipped=("s not-adopted",),
        overdue=(),
    ),
    Case("a replica", snap([secret("s", primary="us-east-1")], [LATE]), skipped=("s replica",), overdue=()),
    Case("its deletion", snap([secret("s", deleted=NOW)], [LATE]), skipped=("s pending-deletion",), overdue=()),
    Case("another service", snap([secret("s", owner="x")], [LATE]), skipped=("s owned-by-service",), overdue=()),
    Case(
        "a slot that comes before its key expires",
        snap([secret("s")], [LATE, *(key(f"U{n}", age=HOUR) for n in range(2))]),
        policy=Policy(daily_limit=2, reserve=0),
        skipped=("s daily-limit",),
        overdue=(),
    ),
    Case(
        "no slot, and the key has expired",
        snap([secret("s")], [lived(34 * DAY), *(key(f"U{n}", age=HOUR) for n in range(2))]),
        policy=Policy(daily_limit=2, reserve=0),
        skipped=("s daily-limit",),
        alerts=("error not-in-time s K1",),
        overdue=("s K1",),
    ),
    Case(
        "no scopes",
        snap([secret("s")], [replace(LATE, scopes=None)]),
        skipped=("s no-scopes",),
        alerts=("error no-scopes s K1",),
        overdue=("s K1",),
    ),
    Case(
        "another rotation",
        snap([secret("s", {"v1": "CURRENT key:K1", "x": "PENDING"})], [LATE]),
        skipped=("s rotation-in-progress",),
        alerts=("error rotation-in-progress s K1",),
        overdue=("s K1",),
    ),
    Case(
        "no update for a revocation",
        snap(
            [secret("s", {"v2": "CURRENT key:K2", "v1": "PREVIOUS key:K1 retire:K1:-2d"})],
            [key(), key("K2"), *(key(f"D{n}", left=-HOUR, enabled=False) for n in range(2))],
        ),
        policy=Policy(daily_limit=2, reserve=0),
        skipped=("s daily-limit",),
        overdue=("s K1",),
    ),
    Case(
        "a value that can't be read, in which the key may be",
        snap(
            [
                secret("s", {"v2": "CURRENT key:K2", "v1": "PREVIOUS key:K1 retire:K1:-2d"}),
                secret("t", {"v1": "CURRENT"}),
            ],
            [key(), key("K2")],
            resolved={"t": Resolution(None, "kms:Decrypt is denied")},
        ),
        skipped=("s unreadable", "t unadopted"),
        alerts=("error unadopted t -", "error unreadable s K1"),
        overdue=("s K1",),
    ),
    Case(
        "a key that is named for another secret: no sweep revokes it",
        snap(
            [secret("s", {"v2": "CURRENT key:K2", "v1": "PREVIOUS key:K1 retire:K1:-2d"})],
            [key(name=own("t", "v1")), key("K2")],
        ),
        alerts=("warning foreign-key s K1",),
        overdue=(),
    ),
    Case(
        "such a key, while the rotation waits for something else: only that is told",
        snap(
            [secret("s", {"v2": "CURRENT key:K2", "v1": "PREVIOUS key:K1 retire:K1:-2d"})],
            [key(name=own("t", "v1")), replace(lived(HOUR, key_id="K2"), scopes=None)],
        ),
        skipped=("s no-scopes",),
        alerts=("error no-scopes s K2", "warning foreign-key s K1"),
        overdue=(),
    ),
)


@pytest.mark.parametrize("case", [*WHEN, *CAUSES], ids=str)
def test_overdue(case: Case) -> None:
    case.check()


def test_the_limit_of_a_sweep_makes_nothing_overdue_before_a_day() -> None:
    assert overdue(Case("", revoking(7, 23)).plan()) == []


def test_the_cause_is_told() -> None:
    (alert,) = overdue(Case("", snap([secret("s")], [replace(LATE, scopes=None)])).plan())
    assert alert.severity is Severity.ERROR
    assert alert.detail.startswith("its rotation was due 9 d ago: the old key shows no scopes")
    assert (alert.action, alert.by_account) == (ActionKind.ROTATE, False)
    (alert,) = overdue(revocation("", "-2d").plan())
    assert alert.detail == "the revocation of key K1 was due 2 d ago: no sweep has done it so far"
    assert (alert.action, alert.by_account) == (ActionKind.REVOKE, False)


def test_other_secrets_are_not_told_of_where_one_is_asked_for() -> None:
    snapshot = snap([secret("a"), secret("b", {"v1": "CURRENT key:B"})], [LATE, lived(9 * DAY, key_id="B")])
    plan = Case("", snapshot, secret="a").plan()
    assert {alert.secret for alert in overdue(plan)} == {"a"}


# ---- after the work -------------------------------------------------------------------------------------------------


def after(outcome: Outcome, error: str | None = None, *, by_account: bool = False, revoke: bool = False) -> list[Alert]:
    """What is still overdue once the planned action has come to this."""
    plan = (revocation("", "-2d") if revoke else rotation("", 9 * DAY)).plan()
    results = [Result(action, outcome, error, by_account=by_account) for action in plan.actions]
    return overdue(with_outcomes(plan, results))


@pytest.mark.parametrize("revoke", [False, True])
def test_what_got_done_is_no_alert(revoke: bool) -> None:
    assert after(Outcome.DONE, revoke=revoke) == []


@pytest.mark.parametrize(("by_account", "outcome"), [(True, Outcome.DEFERRED), (False, Outcome.FAILED)])
def test_what_kept_it_is_the_cause(by_account: bool, outcome: Outcome) -> None:
    (alert,) = after(outcome, "429 Too Many Requests", by_account=by_account)
    assert alert.detail.endswith("no sweep has done it so far; this sweep: 429 Too Many Requests")
    assert alert.by_account is by_account
    (alert,) = after(outcome)
    assert alert.detail.endswith(f"this sweep: {outcome}")


def test_another_action_says_nothing_of_it() -> None:
    plan = rotation("", 9 * DAY).plan()
    (action,) = plan.actions
    others: list[Action] = [
        replace(action, secret="t"),
        replace(action, kind=ActionKind.LABEL),
        replace(action, kind=ActionKind.REVOKE),
    ]
    assert overdue(with_outcomes(plan, [Result(other, Outcome.DONE) for other in others])) == overdue(plan)
    resumed = Result(replace(action, kind=ActionKind.RESUME), Outcome.DONE)
    assert overdue(with_outcomes(plan, [resumed])) == []


def test_an_alert_of_another_kind_stays() -> None:
    alert = Alert(Reason.NO_EXPIRY, Message("x"), "s", "K1")
    plan = replace(rotation("", 9 * DAY).plan(), alerts=(alert,))
    done = [Result(action, Outcome.DONE) for action in plan.actions]
    assert with_outcomes(plan, done).alerts == (alert,)


def test_minutes_are_told_too() -> None:
    (alert,) = overdue(rotation("", 5 * HOUR + MINUTE, life=50 * HOUR).plan())
    assert "was due 5 h 1 min ago" in alert.detail
