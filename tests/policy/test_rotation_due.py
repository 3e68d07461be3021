"""When a key is replaced, over the composed chain: one row a situation, boundaries to the second."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from rotator.model import Key
from rotator.policy.rules import make_view, renew_at
from tests.policy.build import DAY, Case, arn_of, at, key, own, say_action, secret, snap, tagged
from tests.policy.tables import table

WHEN = table("""
    by the default fraction, 0.33: at the moment
        s; K1 left=33d age=67d -> rotate expiring s K1@v1
    by the default fraction: a second before
        s; K1 left=33d1s age=66d23h59m59s
    by a fraction: at the moment
        s rotate-before=0.25; K1 left=25d age=75d -> rotate expiring s K1@v1
    by a fraction: a second before
        s rotate-before=0.25; K1 left=25d1s age=74d23h59m59s
    a key without validFrom: the fraction is of the validity tag
        s validity=40d rotate-before=0.25; K1 left=10d age=unknown -> rotate expiring s K1@v1
    a key without validFrom: a second before
        s validity=40d rotate-before=0.25; K1 left=10d1s age=unknown
    a key without any time
        s max-age=30d; K1 left=never age=unknown
    a second before its end it is expiring
        s; K1 left=1s age=99d23h59m59s -> rotate expiring s K1@v1
    at its end it is expired
        s; K1 left=0s age=100d -> rotate expired s K1@v1
    valid for less than the time between two sweeps
        s validity=1h grace=10m allow-short-grace=true; K1 left=50m age=10m
        -> rotate capacity s K1@v1; error expires-before-rotation s K1
    valid for little more
        s validity=1h grace=10m allow-short-grace=true; K1 left=51m age=10m -> rotate capacity s K1@v1
    max-age: at the moment
        s max-age=30d; K1 age=30d -> rotate max-age s K1@v1
    max-age: a second before
        s max-age=30d; K1 age=29d23h59m59s
    expiring is said before max-age
        s max-age=30d; K1 left=10d age=90d -> rotate expiring s K1@v1
    disabled by somebody, said before expired
        s; K1 left=-1d disabled -> rotate key-disabled s K1@v1
    no value yet, scopes are tagged
        s scopes=sms:manage {} -> rotate first-key s -@-
    no value yet and no scopes
        s {} -> skip s empty; error empty s -
    stored and not promoted, the old key due as well: one of the two
        s {v1 CURRENT key:K1} {v2 PENDING key:K2}; K1 left=1d age=99d; K2 -> resume pending s K2@v2
    stored and not promoted is finished whatever the window
        s window="Mon 08:00-09:00 UTC" {v1 CURRENT key:K1} {v2 PENDING key:K2}; K1; K2 -> resume pending s K2@v2
    the very first key, stored and not promoted, needs no scopes to go on
        s {v2 PENDING key:K2}; K2 -> resume pending s K2@v2
    two made and not stored: the newer one goes on, the other is an orphan in its time
        s; K1 left=1d age=99d; K2 age=2m readable for=s@v2; K3 age=1m readable for=s@v3 -> resume expiring s K3@v3
    not stored, but unreadable, disabled, expired, of others, for the current version, without a date: a new one
        s; K1 left=1d age=99d; A age=1m for=s@v2; B age=1m disabled readable for=s@v3;
        C left=0s age=1m readable for=s@v4; D age=1m readable for=t@v2; E age=1m readable for=s@v5@blue;
        F age=1m readable for=s@v1; G age=unknown readable for=s@v6
        -> rotate expiring s K1@v1
    made and not stored, as the first key: goes on with it
        s scopes=a {}; other {v1 CURRENT key:O}; O; K2 age=1m readable for=s@v2 -> resume first-key s K2@v2
    made and not stored here, but a value elsewhere holds it: a new one
        s; t {v1 CURRENT key:K2}; K1 left=1d age=99d; K2 age=1m readable for=s@v2
        -> rotate expiring s K1@v1; warning other-deployment-key t K2
    made and not stored, but before the current key: an orphan
        s; K1 left=1d age=99d; K2 age=99d readable for=s@v2 -> rotate expiring s K1@v1; revoke orphan s K2@v2
    a key without validTo never expires, which is a warning
        s; K1 left=never age=3650d -> warning no-expiry s K1
""")


@pytest.mark.parametrize("case", WHEN, ids=str)
def test_rotation(case: Case) -> None:
    case.check()


TIMES = table("""
    expiring
        s rotate-before=14d; K1 left=10d age=90d -> rotate expiring s K1@v1 (10 d)
    expired
        s rotate-before=14d; K1 left=-1d age=101d -> rotate expired s K1@v1 (1 d)
    too old
        s max-age=30d; K1 left=200d age=31d -> rotate max-age s K1@v1 (31 d)
    disabled
        s; K1 disabled -> rotate key-disabled s K1@v1
    stored
        s {v1 CURRENT key:K1} {v2 PENDING key:K2}; K1 left=9d age=91d; K2 -> resume pending s K2@v2
    made, not stored
        s; K1 left=9d age=91d; K2 age=1m readable for=s@v2 -> resume expiring s K2@v2
""")
DUE = ("-4d", "-15d", "-1d", "+0s", "+0s", "+0s")
UNTIL = ("+10d", "-1d", "+200d", "+0s", "+9d", "+9d")


@pytest.mark.parametrize(("case", "due", "until"), [*zip(TIMES, DUE, UNTIL, strict=True)], ids=map(str, TIMES))
def test_due_time_and_deadline(case: Case, due: str, until: str) -> None:
    (action,) = case.check().actions
    assert (action.due_at, action.deadline, action.costs_update) == (at(due), at(until), False)
    assert (action.account, action.arn) == ("main", arn_of("s"))


ANCIENT = datetime(1, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    "odd",
    [
        replace(key(), valid_to=ANCIENT),
        replace(key(), valid_to=ANCIENT, valid_from=None),
        replace(key(), valid_from=LAST),
        replace(key(), valid_from=LAST, valid_to=LAST),
        replace(key(), valid_from=ANCIENT, valid_to=LAST),
        replace(key(name=own("s", "v8")), id="Z", valid_from=LAST),
        replace(key(name=own("s", "v8")), id="Z", valid_from=ANCIENT, valid_to=LAST),
        replace(key("Z"), valid_from=ANCIENT, valid_to=ANCIENT),
    ],
    ids=range(8),
)
@pytest.mark.parametrize("tags", [{}, {"rotate_before": "14d", "max_age": "30d"}])
def test_planning_never_raises(odd: Key, tags: dict[str, str]) -> None:
    """One key with year 1 or 9999 (the far end's "never") must not stop the sweep of its whole account."""
    keys = [key(), odd]
    snapshot = snap([tagged(secret("s"), tags), secret("t", {"v1": "CURRENT key:T1"})], [*keys, key("T1", left=DAY)])
    assert "rotate expiring t T1@v1" in [say_action(action) for action in Case("", snapshot).plan().actions]
    view = make_view(snapshot, snapshot.secrets[0])
    renew_at(view.spec, view.key)
