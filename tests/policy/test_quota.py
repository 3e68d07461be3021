"""The daily budget, over the composed chain."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.model import AccountSnapshot, Key, Policy, SecretEntry
from tests.policy.build import DAY, HOUR, MINUTE, SECOND, Case, key, own, secret, snap
from tests.policy.test_planner_guards import revocations, revoking

TIGHT = Policy(daily_limit=4, reserve=2)
"""Two creates and two updates a day."""


def due(name: str, left: timedelta) -> tuple[SecretEntry, Key]:
    return secret(name, {"v1": f"CURRENT key:{name.upper()}"}), key(name.upper(), left=left)


def account(*pairs: tuple[SecretEntry, Key], keys: tuple[Key, ...] = ()) -> AccountSnapshot:
    return snap([entry for entry, _ in pairs], [*(each for _, each in pairs), *keys])


WINDOW = DAY - 10 * MINUTE
"""How long what was done keeps a slot: a day, less the ten minutes within which a sweep counts on it."""
USED = key("U", age=WINDOW - SECOND)
THREE = (due("a", 30 * DAY), due("b", 10 * DAY), due("c", 20 * DAY))
BUDGET = (
    Case(
        "as many as there are places, the earliest ends first",
        account(*THREE),
        policy=TIGHT,
        actions=("rotate expiring b B@v1", "rotate expiring c C@v1"),
        skipped=("a daily-limit",),
    ),
    Case(
        "a key made less than 23 h 50 min ago took a slot",
        account(*THREE, keys=(USED,)),
        policy=TIGHT,
        actions=("rotate expiring b B@v1",),
        skipped=("a daily-limit", "c daily-limit"),
    ),
    Case(
        "a key made 23 h 50 min ago gives its slot back soon enough",
        account(*THREE, keys=(key("U", age=WINDOW),)),
        policy=TIGHT,
        actions=("rotate expiring b B@v1", "rotate expiring c C@v1"),
        skipped=("a daily-limit",),
    ),
    Case(
        "more used than allowed",
        account(*THREE, keys=tuple(key(f"U{n}", age=HOUR) for n in range(9))),
        policy=TIGHT,
        skipped=("a daily-limit", "b daily-limit", "c daily-limit"),
    ),
    Case(
        "a broken one goes before an expiring one; what ends within a day and finds no place is an alert",
        account(due("a", DAY - SECOND), due("b", DAY + 2 * HOUR), due("c", -DAY)),
        policy=Policy(daily_limit=1, reserve=0),
        actions=("rotate expired c C@v1",),
        skipped=("a daily-limit", "b daily-limit"),
        alerts=("error not-in-time a A",),
    ),
    Case(
        "what is resumed needs no place",
        snap([secret("s", {"v1": "CURRENT key:K1", "v2": "PENDING key:K2"})], [key(left=DAY), key("K2")]),
        policy=Policy(daily_limit=0, reserve=0),
        actions=("resume pending s K2@v2",),
    ),
    Case(
        "a first key without a place has nothing that could be too late",
        snap([secret("s", {}, scopes="a")]),
        policy=Policy(daily_limit=8, reserve=8),
        skipped=("s daily-limit",),
    ),
    Case(
        "revocations have their own places; labels and dead keys need none",
        replace(
            revoking(3, 6, secret("t", {"v2": "CURRENT key:N00", "v1": "key:gone retire:gone:-1d", "v0": "key:O9"})),
        ),
        policy=TIGHT,
        actions=("retire superseded t O9@v0", "revoke key-not-active t gone@v1", *revocations(2)),
        skipped=("s02 daily-limit",),
        alerts=("warning shared-key s00 N00", "warning shared-key t N00"),
    ),
    Case(
        "an orphan comes last",
        replace(revoking(2, 4), keys={**revoking(2, 4).keys, "Z": key("Z", name=own("s00", "v8"))}),
        policy=TIGHT,
        actions=revocations(2),
        skipped=("s00 daily-limit",),
    ),
    Case(
        "an orphan leaves room for what comes due before the place is free again",
        snap(
            [secret("s", {"v2": "CURRENT key:N", "v1": "key:O retire:O:+24h", "v0": "key:P retire:P:+24h1m"})],
            [key("N"), key("O"), key("P"), key("Y", name=own("s", "v8")), key("Z", name=own("s", "v9"))],
        ),
        policy=TIGHT,
        actions=("revoke orphan s Y@v8",),
        skipped=("s daily-limit",),
    ),
    *(
        Case(
            f"a key revoked {when}",
            replace(revoking(2, 4), keys={**revoking(2, 4).keys, "D": gone}),
            policy=TIGHT,
            actions=revocations(left),
            skipped=("s01 daily-limit",)[left - 1 :] if left < 2 else (),
        )
        for when, gone, left in (
            ("less than 23 h 50 min ago took a slot", key("D", enabled=False, left=-WINDOW + SECOND), 1),
            ("23 h 50 min ago gives it back soon enough", key("D", enabled=False, left=-WINDOW), 2),
            ("by a clock that is a minute ahead", key("D", enabled=False, left=MINUTE), 1),
            ("with an expiry that is no revocation's", key("D", enabled=False, left=MINUTE + SECOND), 2),
            ("and enabled again", key("D", left=-HOUR), 2),
            ("without an end", key("D", enabled=False, left=None), 2),
        )
    ),
)


@pytest.mark.parametrize("case", BUDGET, ids=str)
def test_budget(case: Case) -> None:
    case.check()


def test_a_plan_without_trouble_has_no_error_and_tells_the_quota() -> None:
    plan = Case("", account(*THREE, keys=(USED, key("D", enabled=False, left=-HOUR)))).plan()
    assert plan.error is None
    assert plan.account == "main"
    quota = plan.quota
    assert (quota.creates_used, quota.creates_limit, quota.updates_used, quota.updates_limit) == (1, 40, 1, 40)
    assert (quota.reserve, quota.creates_left, quota.updates_left) == (8, 31, 31)


def test_what_finds_no_place_says_which_limit() -> None:
    skips = {skip.secret: skip.detail for skip in Case("", account(*THREE), policy=TIGHT).plan().skipped}
    assert skips["a"] == "rotate (expiring) waits: today's 4 creates less 2 in reserve are used up"
    (skip,) = Case("", revoking(3, 6), policy=TIGHT).plan().skipped
    assert skip.detail == "revoke (grace-over) waits: today's 4 updates less 2 in reserve are used up"
