"""Work that is due and does not get done is the alert ``overdue``, with the cause, unless it waits on purpose."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.message import Message
from rotator.model import Key
from rotator.plan import AccountPlan, ActionKind, Alert, Outcome, Result
from rotator.policy.overdue import ALLOWED_DELAY, NOT_DONE_YET, allowed_delay, with_outcomes
from rotator.reasons import Reason
from tests.policy.build import DAY, HOUR, Case, key
from tests.policy.tables import table


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
def test_day_or_tenth_of_keys_lifetime(one: Key | None, expected: timedelta) -> None:
    assert allowed_delay(one) == expected


WHEN = table(
    """
    a rotation a second less than a day late
        s; K1 left=32d1s age=67d23h59m59s -> rotate expiring s K1@v1
    a rotation a day late
        s; K1 left=32d age=68d
        -> rotate expiring s K1@v1; error overdue s K1 (1 d)
    a short-lived key, a second less than a tenth of its life late
        s; K1 left=11h30m1s age=1d14h29m59s -> rotate expiring s K1@v1
    a short-lived key, a tenth of its life and a minute late
        s; K1 left=11h29m age=1d14h31m -> rotate expiring s K1@v1; error overdue s K1 (5 h 1 min)
    by its age
        s max-age=30d; K1 left=never age=31d -> rotate max-age s K1@v1; error overdue s K1
    a revocation that is due now
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:+0s}; K1; K2 -> revoke grace-over s K1@v1
    a revocation a second less than a day late
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-23h59m59s}; K1; K2 -> revoke grace-over s K1@v1
    a revocation a day late
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1d}; K1; K2
        -> revoke grace-over s K1@v1;
        error overdue s K1 (1 d)
    of a short-lived key, a tenth of its life and a minute late
        s grace=1h {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h}; K1 left=1h age=9h; K2
        -> revoke grace-over s K1@v1; error overdue s K1
    a key in grace that expired: there is nothing to revoke
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-9d}; K1 left=-1d; K2 -> revoke key-not-active s K1@v1
    a first key, for less than a day
        s scopes=a changed=23h59m59s {x} -> rotate first-key s -@-
    a first key that has not come for a day
        s scopes=a changed=1d {x}
        -> rotate first-key s -@-; error overdue s - (1 d)
    a value that is adopted, for less than a day
        s changed=23h {v1 CURRENT value=K1}; K1 -> label unadopted s K1@v1
    a value that has not been adopted for a day
        s changed=1d {v1 CURRENT value=K1}; K1
        -> label unadopted s K1@v1;
        error overdue s K1 (1 d)
    a value of a short-lived key that has not been adopted for a tenth of its life
        s changed=5h {v1 CURRENT value=K1} validity=2d grace=1h; K1 left=39h age=1h
        -> label unadopted s K1@v1; error overdue s K1
    a rotation that was due before its key was known
        s changed=1h {v1 CURRENT value=K1}; K1 left=1d age=99d -> label unadopted s K1@v1; rotate expiring s K1@v1
    a rotation, a day after its key could have been known
        s changed=1d {v1 CURRENT value=K1}; K1 left=1d age=99d
        -> label unadopted s K1@v1; rotate expiring s K1@v1;
        error overdue s K1; error overdue s K1 (1 d)
    a superseded key that has got no retire label for its grace period and a day
        s changed=4d {v2 CURRENT key:K2} {v1 PREVIOUS key:K1}; K1; K2
        -> retire superseded s K1@v1;
        error overdue s K1 (1 d)
    a superseded key, a second before
        s changed=3d23h59m59s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1}; K1; K2 -> retire superseded s K1@v1
    what is pending is resumed, and late all the same
        s {v1 CURRENT key:K1} {v2 PENDING key:K2}; K1 left=31d age=69d; K2 -> resume pending s K2@v2; error overdue s K1
    """,
    overdue=True,
)

CAUSES = table(
    """
    of another secret than the one that is asked for
        s; K1 left=24d age=76d; t {v1 CURRENT key:T}; T left=24d age=76d; with secret=t
        -> rotate expiring t T@v1; error overdue t T
    the limit of a sweep, for less than a day
        7 x s# {v2 CURRENT key:N#} {v1 PREVIOUS key:O# retire:O#:-1h}; 7 x N#; 7 x O#; 9 x X#
        -> 5 x revoke grace-over s# O#@v1; skip s5 revocation-limit; skip s6 revocation-limit
    a hold
        s hold=x; K1 left=24d age=76d -> skip s hold
    a closed window
        s window="Mon 08:00-09:00 UTC"; K1 left=24d age=76d -> skip s window
    rotator:gate
        s gate=adoption {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-2d}; K1; K2 -> skip s waiting-for-consumers
    a slot that comes before its key expires
        s; K1 left=24d age=76d; U0 age=1h; U1 age=1h; with limit=2-0 -> skip s daily-limit
    no slot, and the key has expired
        s; K1 left=-1d age=101d; U0 age=1h; U1 age=1h; with limit=2-0
        -> skip s daily-limit; error expires-before-rotation s K1; error overdue s K1
    no scopes
        s; K1 left=24d age=76d scopes=hidden
        -> skip s scopes-unknown; error scopes-unknown s K1;
        error overdue s K1 (9 d)
    another rotation
        s {v1 CURRENT key:K1} {x PENDING}; K1 left=24d age=76d
        -> skip s rotation-in-progress; error rotation-in-progress s K1; error overdue s K1
    no update for a revocation
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-2d}; K1; K2; D0 left=-1h disabled; D1 left=-1h disabled;
        with limit=2-0
        -> skip s daily-limit; error overdue s K1
    a value that can't be read, in which the key may be
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-2d}; t {v1 CURRENT value=unreadable}; K1; K2
        -> skip s unreadable; skip t unadopted; error unadopted t -; error unreadable s K1; error overdue s K1
    no working key and no slot: a disabled key waits for none that comes
        s; K1 left=24d age=76d disabled; U0 age=1h; U1 age=1h; with limit=2-0
        -> skip s daily-limit; error expires-before-rotation s K1; error overdue s K1
    a key without an expiry has no deadline that a slot could come before
        s max-age=30d; K1 left=never age=40d; U0 age=1h; U1 age=1h; with limit=2-0
        -> skip s daily-limit; error overdue s K1
    a slot comes too late for one of two keys
        s; K1 left=20h age=99d; t {v1 CURRENT key:T}; T left=20h age=99d; U0 age=1h; U1 age=1h; with limit=2-0
        -> skip s daily-limit; skip t daily-limit; error expires-before-rotation - -; error overdue s K1;
        error overdue t T
    a superseded label whose version is not that key is ignored
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-2d value=foreign}; K1; K2
        -> error unproven-label s K1
    a superseded key that another account has
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-2d}; K1 in=old; K2
        -> skip s key-not-found; warning key-not-found s K1; error overdue s K1 (old)
    a superseded key that could not be read
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-2d}; K2; with unread=K1
        -> skip s listing-incomplete; warning listing-incomplete s K1; error overdue s K1
    a first key without a slot
        s scopes=a changed=2d {x}; U0 age=1h; U1 age=1h; with limit=2-0
        -> skip s daily-limit; error overdue s - (2 d)
    a first key without scopes
        s changed=2d {x} -> skip s empty; error empty s -; error overdue s - (2 d)
    a first key that is held
        s scopes=a hold=x changed=2d {x} -> skip s hold
    a value that is no key
        s changed=2d {v1 CURRENT value=foreign}
        -> skip s unadopted; error unadopted s -; error overdue s - (2 d)
    a wrong tag, and its key is about to expire
        s grace=soon; K1 left=1d age=99d
        -> skip s misconfigured; error misconfigured s K1; error overdue s K1 (32 d)
    a wrong tag, and by the others nothing is due
        s grace=soon rotate-before=7d; K1 left=9d age=91d -> skip s misconfigured; error misconfigured s K1
    a wrong tag and a hold
        s grace=soon hold=x; K1 left=1d age=99d -> skip s misconfigured; error misconfigured s K1
    pending deletion
        s deleted; K1 left=1d age=99d -> skip s pending-deletion
    a replica
        s primary=us-east-1; K1 left=1d age=99d -> skip s replica
    another service's
        s owner=rds; K1 left=1d age=99d -> skip s owned-by-service
    a key that is named for another secret: no sweep revokes it
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-2d}; K1 for=t@v1; K2 -> warning other-deployment-key s K1
    such a key, while the rotation waits for something else: only that is told
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-2d}; K1 for=t@v1; K2 left=32d23h age=67d1h scopes=hidden
        -> skip s scopes-unknown; error scopes-unknown s K2; warning other-deployment-key s K1
    """,
    overdue=True,
)


@pytest.mark.parametrize("case", [*WHEN, *CAUSES], ids=str)
def test_overdue(case: Case) -> None:
    """The cause is why the secret was skipped; else no sweep has done what is planned now."""
    plan = case.check()
    for alert in plan.alerts:
        if alert.kind is Reason.OVERDUE:
            causes = [skip.message for skip in plan.skipped if skip.secret == alert.secret]
            assert alert.message.values["cause"] in (causes or [NOT_DONE_YET])


# ---- after the work -------------------------------------------------------------------------------------------------

(ROTATION,) = (case.plan() for case in WHEN if case.name == "a rotation a day late")
(REVOCATION,) = (case.plan() for case in WHEN if case.name == "a revocation a day late")
(ADOPTION,) = (case.plan() for case in WHEN if case.name == "a value that has not been adopted for a day")


def after(plan: AccountPlan, *changed: Result) -> list[Alert]:
    """What is still overdue once the plan has come to this."""
    return [alert for alert in with_outcomes(plan, changed).alerts if alert.kind is Reason.OVERDUE]


@pytest.mark.parametrize("plan", [ROTATION, REVOCATION, ADOPTION], ids=["rotation", "revocation", "adoption"])
def test_done_work_is_no_alert(plan: AccountPlan) -> None:
    (action,) = plan.actions
    assert [(alert.action, alert.by_account) for alert in plan.alerts] == [(action.kind, False)]
    assert after(plan, Result(action, Outcome.DONE)) == []
    for by_account, outcome in ((True, Outcome.DEFERRED), (False, Outcome.FAILED)):
        (alert,) = after(plan, Result(action, outcome, "429 Too Many Requests", by_account=by_account))
        assert alert.message.values == {"overdue": plan.alerts[0].message, "error": "429 Too Many Requests"}
        assert alert.by_account is by_account
        (alert,) = after(plan, Result(action, outcome))
        assert alert.message.values["error"] == outcome


def test_another_action_says_nothing_of_it() -> None:
    (action,) = ROTATION.actions
    others = [replace(action, secret="t"), *(replace(action, kind=ActionKind(kind)) for kind in ("label", "revoke"))]
    assert after(ROTATION, *(Result(other, Outcome.DONE) for other in others)) == list(ROTATION.alerts)
    assert after(ROTATION, Result(replace(action, kind=ActionKind.RESUME), Outcome.DONE)) == []
    other = Alert(Reason.NO_EXPIRY, Message("x"), "s", "K1")
    assert with_outcomes(replace(ROTATION, alerts=(other,)), [Result(action, Outcome.DONE)]).alerts == (other,)
