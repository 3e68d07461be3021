"""The limits of a sweep, the clock and the order of its actions, over the composed chain."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.policy.build import HOUR, Case, arn_of, key, secret, snap
from tests.policy.tables import case, table


def many(name: str, due: int, revoked: int, beside: str = "", said: str = "") -> Case:
    """So many secrets whose old keys' grace is over since an hour; the first ``revoked`` of these keys are revoked."""
    given = f"{due} x s# {{v2 CURRENT key:N#}} {{v1 PREVIOUS key:O# retire:O#:-1h}}; {due} x N#; {due} x O#; {beside}"
    return case(name, given, f"{revoked} x revoke grace-over s# O#@v1; {said}")


OFF = "OFF disabled left=-9d"
FIVE_AND_ONE = "skip s5 revocation-limit"
MANY = [
    many("5 of 10 keys: no more than 5 are never too many", 5, 5, OFF),
    many("6 of 24: a quarter", 6, 6, f"12 x X#; {OFF}"),
    many("6 of 23: more than a quarter, so one waits for the next sweep", 6, 5, f"11 x X#; {OFF}", FIVE_AND_ONE),
    many("6 of 12, forced", 6, 6, "with force"),
    many("--secret does not hide how many there are", 6, 0, "11 x X#; with secret=s5", FIVE_AND_ONE),
    many("an orphan counts, and goes after what is due: it waits for the next sweep", 5, 5, "Z for=s0@z"),
    many("orphans get what is left of the limit", 4, 4, "2 x Z# for=s0@z#", "revoke orphan s0 Z0@z0"),
    many(
        "what is due and orphans are each too many: what is due gets the limit",
        7,
        5,
        "6 x Z# for=s0@z#",
        f"{FIVE_AND_ONE}; skip s6 revocation-limit; skip s0 too-many-orphans; error too-many-orphans - -",
    ),
    many(
        "more orphans than a sweep may revoke: none of them, and what is due goes on",
        2,
        2,
        "6 x Z# for=s0@z#; 8 x X#",
        "skip s0 too-many-orphans; error too-many-orphans - -",
    ),
    many(
        "more orphans than a sweep may revoke, forced",
        2,
        2,
        "6 x Z# for=s0@z#; with force",
        "6 x revoke orphan s0 Z#@z#",
    ),
    *table("""
    the longest overdue go first
        5 x s# {v2 CURRENT key:N#} {v1 PREVIOUS key:O# retire:O#:-1h};
        s6 {v2 CURRENT key:N6} {v1 key:O6 retire:O6:-20h}; s5 {v2 CURRENT key:N5} {v1 key:O5 retire:O5:-19h}; 7 x N#;
        7 x O#
        -> revoke grace-over s6 O6@v1; revoke grace-over s5 O5@v1; 3 x revoke grace-over s# O#@v1;
        skip s3 revocation-limit; skip s4 revocation-limit
    the limit is for revocations only: the rest goes on, and dead keys cost nothing and do not count
        6 x s# {v2 CURRENT key:N#} {v1 PREVIOUS key:O# retire:O#:-1h}; 6 x N#; 6 x O#; 11 x X#; OFF disabled left=-9d;
        t {v2 CURRENT key:OFF} {v1 key:DEAD retire:DEAD:-1d} {v0 PREVIOUS key:X0}; DEAD disabled left=-9d
        -> retire superseded t X0@v0; rotate key-disabled t OFF@v2; revoke key-not-active t DEAD@v1;
        5 x revoke grace-over s# O#@v1; skip s5 revocation-limit
    """),
]

CLOCK = table("""
    5 minutes behind
        s; K1 left=1d; with skew=5m -> rotate expiring s K1@v1
    5 minutes ahead
        s; K1 left=1d; with skew=-5m -> rotate expiring s K1@v1
    a second more behind, and not forced
        s; K1 left=1d; with skew=5m1s force -> error clock-skew - -
    a second more ahead
        s; K1 left=1d; with skew=-5m1s -> error clock-skew - -
""")

SWEEP = """
    z {v1 CURRENT value=Z1}; y {v2 CURRENT key:Y2} {v1 PREVIOUS key:Y1}; x {v1 CURRENT key:X1} {v2 PENDING key:X2};
    w2 {v1 CURRENT key:W2}; w1 {v1 CURRENT key:W1}; v {v2 CURRENT key:V2} {v1 PREVIOUS key:V1 retire:V1:-1h};
    u2 {v1 CURRENT key:U2}; u1 {v1 CURRENT key:U1}; t {v1 CURRENT key:T1}; held hold=x {v1 CURRENT key:H1}; Z1; Y1;
    Y2; X1; X2; V1; V2; T1; H1; W1 left=1d; W2 disabled; U1 left=30d; U2 left=1d1s; A1 for=t@v8
"""
"""One secret of each kind of work."""
ORDER = [
    case(
        "cheap truth first, consumers in need, what is due, what can wait: a rotation with a day left can't",
        SWEEP,
        "label unadopted z Z1@v1; retire superseded y Y1@v1; resume pending x X2@v2; rotate key-disabled w2 W2@v1;"
        "rotate expiring w1 W1@v1; revoke grace-over v V1@v1; rotate expiring u2 U2@v1; rotate expiring u1 U1@v1;"
        "revoke orphan t A1@v8; skip held hold",
    ),
    case("one secret only, by name", f"{SWEEP}; with secret=v", "revoke grace-over v V1@v1"),
    case("one secret only, by ARN", f"{SWEEP}; with secret={arn_of('v')}", "revoke grace-over v V1@v1"),
    case("one secret only, its orphans too", f"{SWEEP}; with secret=t", "revoke orphan t A1@v8"),
    case("one secret only, that is skipped", f"{SWEEP}; with secret=held", "skip held hold"),
    *table("""
    one secret only: the whole day's slots are its own
        a; b {v1 CURRENT key:B}; K1 left=9d; B left=1d; with secret=a limit=1-0 -> rotate expiring a K1@v1
    one secret only: others' alerts are not said, those without a secret are
        s; t; K1; E left=1d; with secret=t incomplete
        -> warning listing-incomplete - -; warning shared-key t K1; warning unknown-key-expiring - E
    """),
]


def rotations(name: str, left: str, said: str, limit: str = "4-2") -> Case:
    """Three secrets whose keys end then, by a limit."""
    given = "a {v1 CURRENT key:A}; b {v1 CURRENT key:B}; c {v1 CURRENT key:C}"
    return case(name, f"{given}; {left}; with limit={limit}", said)


def revocations(name: str, beside: str, revoked: int) -> Case:
    """Two secrets whose old keys' grace is over; two updates a day."""
    waiting = "" if revoked == 2 else "skip s1 daily-limit"
    return many(name, 2, revoked, f"{beside}; with limit=4-2", waiting)


LEFT = "A left=30d; B left=10d; C left=20d"
TWO = "rotate expiring b B@v1; rotate expiring c C@v1; skip a daily-limit"
BUDGET = [
    rotations("as many as there are places, the earliest ends first", LEFT, TWO),
    rotations("a key made 23 h 50 min ago gives its slot back soon enough", f"{LEFT}; U age=23h50m", TWO),
    rotations(
        "a key made less than 23 h 50 min ago took a slot",
        f"{LEFT}; U age=23h49m59s",
        "rotate expiring b B@v1; skip a daily-limit; skip c daily-limit",
    ),
    rotations(
        "a broken one goes before an expiring one; what ends within a day and finds no place is an alert",
        "A left=23h59m59s; B left=1d2h; C left=-1d",
        "rotate expired c C@v1; skip a daily-limit; skip b daily-limit; error expires-before-rotation a A",
        limit="1-0",
    ),
    revocations("a key revoked less than 23 h 50 min ago took a slot", "D disabled left=-23h49m59s", 1),
    revocations("a key revoked 23 h 50 min ago gives it back soon enough", "D disabled left=-23h50m", 2),
    revocations("a key revoked by a clock that is a minute ahead", "D disabled left=1m", 1),
    revocations(
        "a key with an expiry that is no revocation's",
        "D disabled left=1m1s; E disabled left=never; F left=-1h",
        2,
    ),
    *table("""
    what is resumed needs no place
        s {v1 CURRENT key:K1} {v2 PENDING key:K2}; K1 left=1d; K2; with limit=0-0 -> resume pending s K2@v2
    a first key without a place has nothing that could be too late
        s scopes=a {}; with limit=8-8 -> skip s daily-limit
    an orphan leaves room for what comes due before the place is free again
        s {v2 CURRENT key:N} {v1 key:O retire:O:+1d} {v0 key:P retire:P:+1d1m}; N; O; P; Y for=s@v8; Z for=s@v9;
        with limit=4-2
        -> revoke orphan s Y@v8; skip s daily-limit
    revocations have their own places; labels and dead keys need none
        3 x s# {v2 CURRENT key:N#} {v1 PREVIOUS key:O# retire:O#:-1h}; 3 x N#; 3 x O#;
        t {v2 CURRENT key:T} {v1 key:OFF retire:OFF:-1d} {v0 key:P}; T; P; OFF disabled left=never; with limit=4-2
        -> retire superseded t P@v0; revoke key-not-active t OFF@v1; 2 x revoke grace-over s# O#@v1;
        skip s2 daily-limit
    """),
]


@pytest.mark.parametrize("case", [*MANY, *CLOCK, *ORDER, *BUDGET], ids=str)
def test_limits(case: Case) -> None:
    """Threat: a listing or clock that would revoke or replace many keys at once. Nothing is revoked without --force,
    and a wrong clock stops everything.
    """
    case.check()


@pytest.mark.parametrize(("skew", "direction"), [(HOUR, "behind"), (-HOUR, "ahead of")])
def test_wrong_clock_fails_account(skew: timedelta, direction: str) -> None:
    plan = Case("", snap([secret("s")], [key(), key("U", age=HOUR)], skew=skew)).plan()
    assert plan.error == plan.alerts[0].detail
    assert plan.alerts[0].message.values == {"skew": HOUR, "direction": direction}
    assert (plan.keys, plan.quota.creates_used) == (2, 1)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("more orphans", {"orphans": 6, "active": 18, "limit": 5}),
        ("6 of 23: more than a quarter, so one", {"key": "O5", "limit": 5}),
        ("as many as there are places", {"kind": "rotate", "what": "creates", "limit": 4, "reserve": 2}),
        ("revocations have their own", {"kind": "revoke", "what": "updates", "limit": 4, "reserve": 2}),
    ],
)
def test_limits_say_how_many_of_how_many(name: str, values: dict[str, object]) -> None:
    plan = next(case for case in (*MANY, *BUDGET) if case.name.startswith(name)).plan()
    assert any(values.items() <= found.message.values.items() for found in (*plan.alerts, *plan.skipped))
