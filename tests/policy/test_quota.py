"""The daily budget, over the composed chain."""

from __future__ import annotations

import pytest

from tests.policy.build import Case
from tests.policy.tables import table

BUDGET = table("""
    as many as there are places, the earliest ends first
        a {v1 CURRENT key:A}; b {v1 CURRENT key:B}; c {v1 CURRENT key:C}; A left=30d; B left=10d; C left=20d;
        with limit=4-2
        -> rotate expiring b B@v1; rotate expiring c C@v1;
        skip a daily-limit (rotate (expiring) waits: today's 4 creates less 2 in reserve are used up)
    a key made less than 23 h 50 min ago took a slot
        as before; U age=23h49m59s; with limit=4-2 -> rotate expiring b B@v1; skip a daily-limit; skip c daily-limit
    a key made 23 h 50 min ago gives its slot back soon enough
        a {v1 CURRENT key:A}; b {v1 CURRENT key:B}; c {v1 CURRENT key:C}; A left=30d; B left=10d; C left=20d;
        U age=23h50m; with limit=4-2
        -> rotate expiring b B@v1; rotate expiring c C@v1; skip a daily-limit
    a broken one goes before an expiring one; what ends within a day and finds no place is an alert
        a {v1 CURRENT key:A}; b {v1 CURRENT key:B}; c {v1 CURRENT key:C}; A left=23h59m59s; B left=1d2h; C left=-1d;
        with limit=1-0
        -> rotate expired c C@v1; skip a daily-limit; skip b daily-limit; error not-in-time a A
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
        t {v2 CURRENT key:T} {v1 key:gone retire:gone:-1d} {v0 key:P}; T; with limit=4-2
        -> retire superseded t P@v0; revoke key-not-active t gone@v1; 2 x revoke grace-over s# O#@v1;
        skip s2 daily-limit (revoke (grace-over) waits: today's 4 updates less 2 in reserve are used up)
    a key revoked less than 23 h 50 min ago took a slot
        2 x s# {v2 CURRENT key:N#} {v1 PREVIOUS key:O# retire:O#:-1h}; 2 x N#; 2 x O#; D disabled left=-23h49m59s;
        with limit=4-2
        -> revoke grace-over s0 O0@v1; skip s1 daily-limit
    a key revoked 23 h 50 min ago gives it back soon enough
        2 x s# {v2 CURRENT key:N#} {v1 PREVIOUS key:O# retire:O#:-1h}; 2 x N#; 2 x O#; D disabled left=-23h50m;
        with limit=4-2
        -> 2 x revoke grace-over s# O#@v1
    a key revoked by a clock that is a minute ahead
        2 x s# {v2 CURRENT key:N#} {v1 PREVIOUS key:O# retire:O#:-1h}; 2 x N#; 2 x O#; D disabled left=1m;
        with limit=4-2
        -> revoke grace-over s0 O0@v1; skip s1 daily-limit
    a key with an expiry that is no revocation's
        2 x s# {v2 CURRENT key:N#} {v1 PREVIOUS key:O# retire:O#:-1h}; 2 x N#; 2 x O#; D disabled left=1m1s;
        E disabled left=never; F left=-1h; with limit=4-2
        -> 2 x revoke grace-over s# O#@v1
""")


@pytest.mark.parametrize("case", BUDGET, ids=str)
def test_budget(case: Case) -> None:
    case.check()
