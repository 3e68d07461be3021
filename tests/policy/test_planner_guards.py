"""The guards, the order of a sweep and ``--secret``, over the composed chain."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.model import AccountSnapshot, Policy, SecretEntry
from rotator.policy.planner import plan_account
from tests.policy.build import DAY, HOUR, MINUTE, NOW, POLICY, SECOND, Case, arn_of, key, own, secret, snap


def revoking(count: int, enabled: int, *more: SecretEntry) -> AccountSnapshot:
    """``count`` secrets with a key to be revoked each, at an account with so many enabled keys (and a disabled one)."""
    secrets, keys = [], [key("off", enabled=False, left=-9 * DAY)]
    for number in range(count):
        old, new = f"O{number:02}", f"N{number:02}"
        versions = {"v2": f"CURRENT key:{new}", "v1": f"PREVIOUS key:{old} retire:{old}:-1h"}
        secrets.append(secret(f"s{number:02}", versions))
        keys += [key(old), key(new)]
    keys += [key(f"X{number:02}") for number in range(enabled - 2 * count)]
    return snap([*secrets, *more], keys)


def revocations(count: int) -> tuple[str, ...]:
    return tuple(f"revoke grace-over s{number:02} O{number:02}@v1" for number in range(count))


def longest_due(snapshot: AccountSnapshot, *names: str) -> AccountSnapshot:
    """The same, where the keys of these secrets are due longer than the rest, the first one longest."""
    versions = {
        name: {"v2": f"CURRENT key:N{name[1:]}", "v1": f"PREVIOUS key:O{name[1:]} retire:O{name[1:]}:-{hours}h"}
        for name, hours in zip(names, range(20, 0, -1), strict=False)
    }
    secrets = (
        secret(entry.name, versions[entry.name]) if entry.name in versions else entry for entry in snapshot.secrets
    )
    return replace(snapshot, secrets=tuple(secrets))


def with_orphans(snapshot: AccountSnapshot, count: int) -> AccountSnapshot:
    """The same, with keys that were created for ``s00`` and never stored."""
    orphans = {f"Z{n}": key(f"Z{n}", name=own("s00", f"z{n}")) for n in range(count)}
    return replace(snapshot, keys={**snapshot.keys, **orphans})


MASS = "error mass-revocation - -"
MASS_REVOCATION = (
    Case("5 of 10: no more than 5 are never too many", revoking(5, 10), actions=revocations(5)),
    Case("6 of 24: a quarter", revoking(6, 24), actions=revocations(6)),
    Case(
        "6 of 23: more than a quarter, so one waits for the next sweep",
        revoking(6, 23),
        actions=revocations(5),
        skipped=("s05 revocation-limit",),
        alerts=(),
    ),
    Case(
        "the longest overdue go first",
        longest_due(revoking(7, 23), "s06", "s03"),
        actions=("revoke grace-over s06 O06@v1", "revoke grace-over s03 O03@v1", *revocations(3)),
        skipped=("s04 revocation-limit", "s05 revocation-limit"),
    ),
    Case("6 of 12, forced", revoking(6, 12), actions=revocations(6), force=True),
    Case(
        "an orphan counts, and goes after what is due: it waits for the next sweep",
        with_orphans(revoking(5, 16), 1),
        actions=revocations(5),
    ),
    Case(
        "orphans get what is left of the limit",
        with_orphans(revoking(4, 16), 2),
        actions=(*revocations(4), "revoke orphan s00 Z0@z0"),
    ),
    Case(
        "as many orphans as a sweep may revoke",
        with_orphans(revoking(0, 12, secret("s00", {"v1": "CURRENT key:X00"})), 5),
        actions=tuple(f"revoke orphan s00 Z{n}@z{n}" for n in range(5)),
    ),
    Case(
        "what is due and orphans are each too many: what is due gets the limit",
        with_orphans(revoking(7, 14), 6),
        actions=revocations(5),
        skipped=("s00 mass-revocation", "s05 revocation-limit", "s06 revocation-limit"),
        alerts=(MASS,),
    ),
    Case(
        "more orphans than a sweep may revoke: none of them, and what is due goes on",
        with_orphans(revoking(2, 12), 6),
        actions=revocations(2),
        skipped=("s00 mass-revocation",),
        alerts=(MASS,),
    ),
    Case(
        "more orphans than a sweep may revoke, forced",
        with_orphans(revoking(2, 12), 6),
        force=True,
        actions=(*revocations(2), *(f"revoke orphan s00 Z{n}@z{n}" for n in range(6))),
    ),
    Case(
        "dead keys cost nothing and do not count",
        revoking(5, 10, secret("t", {"v2": "CURRENT key:N00", "v1": "key:gone retire:gone:-1d"})),
        actions=("revoke key-not-active t gone@v1", *revocations(5)),
        alerts=("warning shared-key s00 N00", "warning shared-key t N00"),
    ),
    Case(
        "the limit is for revocations only: the rest goes on",
        revoking(
            6,
            23,
            secret("t", {"v2": "CURRENT key:off", "v1": "key:gone retire:gone:-1d", "v0": "PREVIOUS key:X00"}),
        ),
        actions=(
            "retire superseded t X00@v0",
            "rotate key-disabled t off@v2",
            "revoke key-not-active t gone@v1",
            *revocations(5),
        ),
        skipped=("s05 revocation-limit",),
    ),
    Case(
        "--secret does not hide how many there are",
        revoking(6, 23),
        secret="s05",
        skipped=("s05 revocation-limit",),
    ),
)


def missing(count: int, of: int) -> AccountSnapshot:
    """So many of the managed keys are not listed."""
    entries = [secret(f"s{n:02}", {"v1": f"CURRENT key:K{n:02}"}, scopes="a") for n in range(of)]
    return snap(entries, [key(f"K{n:02}") for n in range(count, of)])


def missing_rotations(count: int) -> tuple[str, ...]:
    return tuple(f"rotate key-missing s{n:02} K{n:02}@v1" for n in range(count))


MASS_MISSING = (
    Case("5 of 10: no more than 5", missing(5, 10), actions=missing_rotations(5)),
    Case("6 of 24: a quarter", missing(6, 24), actions=missing_rotations(6)),
    Case(
        "6 of 23: more than a quarter",
        missing(6, 23),
        skipped=tuple(f"s{n:02} mass-missing" for n in range(6)),
        alerts=("error mass-missing - -",),
    ),
    Case(
        "force is for revocations only",
        missing(6, 23),
        force=True,
        skipped=tuple(f"s{n:02} mass-missing" for n in range(6)),
        alerts=("error mass-missing - -",),
    ),
    Case(
        "a secret whose key nobody knows counts neither way",
        replace(missing(6, 24), secrets=(*missing(6, 24).secrets, secret("t", {"v1": "CURRENT"}))),
        actions=missing_rotations(6),
        skipped=("t unadopted",),
        alerts=("error unadopted t -",),
    ),
    Case(
        "a single one, while the pages do not add up",
        replace(missing(1, 3), complete=False),
        skipped=("s00 listing-incomplete",),
        alerts=("warning listing-incomplete - -",),
    ),
    Case(
        "all of three: another account's list",
        missing(3, 3),
        skipped=tuple(f"s{n:02} mass-missing" for n in range(3)),
        alerts=("error mass-missing - -",),
    ),
    Case(
        "what is listed goes on: revoked, rotated, its dead keys' labels taken off",
        replace(
            missing(6, 20),
            secrets=(
                *missing(6, 20).secrets,
                secret("t", {"v2": "CURRENT key:T2", "v1": "key:T1 retire:T1:-1h", "v0": "key:T0 retire:T0:+1d"}),
            ),
            keys={
                **missing(6, 20).keys,
                "T0": key("T0", enabled=False),
                "T1": key("T1"),
                "T2": key("T2", left=9 * DAY),
            },
        ),
        actions=("revoke grace-over t T1@v1", "revoke key-not-active t T0@v0", "rotate expiring t T2@v2"),
        skipped=tuple(f"s{n:02} mass-missing" for n in range(6)),
        alerts=("error mass-missing - -",),
    ),
    Case(
        "the only one: another account's list",
        missing(1, 1),
        skipped=("s00 mass-missing",),
        alerts=("error mass-missing - -",),
    ),
    Case(
        "both of two: another account's list",
        missing(2, 2),
        skipped=("s00 mass-missing", "s01 mass-missing"),
        alerts=("error mass-missing - -",),
    ),
    Case("one of two: accidents happen", missing(1, 2), actions=missing_rotations(1)),
    Case("three of four: accidents happen", missing(3, 4), actions=missing_rotations(3)),
)

SKEW = "error clock-skew - -"
CLOCK = (
    Case(
        "5 minutes behind", snap([secret("s")], [key(left=DAY)], skew=5 * MINUTE), actions=("rotate expiring s K1@v1",)
    ),
    Case(
        "5 minutes ahead", snap([secret("s")], [key(left=DAY)], skew=-5 * MINUTE), actions=("rotate expiring s K1@v1",)
    ),
    Case("a second more behind", snap([secret("s")], [key(left=DAY)], skew=5 * MINUTE + SECOND), alerts=(SKEW,)),
    Case("a second more ahead", snap([secret("s")], [key(left=DAY)], skew=-5 * MINUTE - SECOND), alerts=(SKEW,)),
    Case("a wrong clock is not forced", snap([secret("s")], [key(left=DAY)], skew=HOUR), alerts=(SKEW,), force=True),
)


@pytest.mark.parametrize("case", [*MASS_REVOCATION, *MASS_MISSING, *CLOCK], ids=str)
def test_guards(case: Case) -> None:
    case.check()


@pytest.mark.parametrize(("skew", "words"), [(HOUR, "1 h behind Infobip's"), (-HOUR, "1 h ahead of Infobip's")])
def test_a_wrong_clock_is_the_accounts_error(skew: timedelta, words: str) -> None:
    plan = Case("", snap([secret("s")], [key(), key("U", age=HOUR)], skew=skew)).plan()
    assert plan.error == plan.alerts[0].detail
    assert words in plan.alerts[0].detail
    assert (plan.keys, plan.quota.creates_used) == (2, 1)


def test_nothing_is_forced_that_nobody_asks_to_force() -> None:
    assert plan_account(revoking(6, 23), POLICY, NOW) == plan_account(revoking(6, 23), POLICY, NOW, force=False)
    assert len(plan_account(revoking(6, 23), POLICY, NOW).actions) == 5


def test_the_guards_say_how_many_of_how_many() -> None:
    (alert,) = Case("", with_orphans(revoking(2, 12), 6)).plan().alerts
    assert alert.detail.startswith("6 of 18 active keys appear to be orphans, more than a sweep may revoke (5)")
    (alert,) = Case("", missing(6, 23)).plan().alerts
    assert alert.detail.startswith("6 of 23 managed keys are not found at Infobip")
    (skip,) = Case("", revoking(6, 23)).plan().skipped
    assert skip.detail == "revoking key O05 waits for the next sweep: one sweep revokes 5 keys at most"


EVERYTHING = snap(
    [
        secret("z", {"v1": "CURRENT"}),
        secret("y", {"v2": "CURRENT key:Y2", "v1": "PREVIOUS key:Y1"}),
        secret("x", {"v1": "CURRENT key:X1", "v2": "PENDING key:X2"}),
        secret("w2", {"v1": "CURRENT key:W2"}),
        secret("w1", {"v1": "CURRENT key:W1"}),
        secret("v", {"v2": "CURRENT key:V2", "v1": "PREVIOUS key:V1 retire:V1:-1h"}),
        secret("u2", {"v1": "CURRENT key:U2"}),
        secret("u1", {"v1": "CURRENT key:U1"}),
        secret("t", {"v1": "CURRENT key:T1"}),
        secret("held", {"v1": "CURRENT key:H1"}, hold="x"),
    ],
    [
        *(key(name) for name in ("Z1", "Y1", "Y2", "X1", "X2", "V1", "V2", "T1", "H1")),
        key("W1", left=DAY),
        key("W2", enabled=False),
        key("U1", left=30 * DAY),
        key("U2", left=DAY + SECOND),
        key("A1", name=own("t", "v8")),
    ],
    resolved={"z": "Z1"},
    password_age=99 * DAY,
)
ORDER = (
    Case(
        "cheap truth first, consumers in need, what is due, what can wait",
        EVERYTHING,
        actions=(
            "label unadopted z Z1@v1",
            "retire superseded y Y1@v1",
            "resume pending x X2@v2",
            "rotate key-disabled w2 W2@v1",
            "rotate expiring w1 W1@v1",
            "revoke grace-over v V1@v1",
            "rotate expiring u2 U2@v1",
            "rotate expiring u1 U1@v1",
            "revoke orphan t A1@v8",
        ),
        skipped=("held hold",),
        alerts=("warning management-credentials-old infobip -",),
    ),
    Case("one secret only, by name", EVERYTHING, secret="v", actions=("revoke grace-over v V1@v1",)),
    Case("one secret only, by ARN", EVERYTHING, secret=arn_of("v"), actions=("revoke grace-over v V1@v1",)),
    Case("one secret only, its orphans too", EVERYTHING, secret="t", actions=("revoke orphan t A1@v8",)),
    Case("one secret only, that is skipped", EVERYTHING, secret=arn_of("held"), skipped=("held hold",)),
    Case("a part of a name names nothing", EVERYTHING, secret="u"),
    Case(
        "one secret only: the whole day's places are its own",
        snap([secret("a"), secret("b", {"v1": "CURRENT key:B"})], [key(left=9 * DAY), key("B", left=DAY)]),
        secret="a",
        policy=Policy(daily_limit=1, reserve=0),
        actions=("rotate expiring a K1@v1",),
    ),
    Case(
        "one secret only: others' alerts are not said, those without a secret are",
        snap([secret("s"), secret("t")], [key(), key("E", left=DAY)], complete=False),
        secret="t",
        alerts=("warning listing-incomplete - -", "warning shared-key t K1", "warning unknown-key-expiring - E"),
    ),
)


@pytest.mark.parametrize("case", ORDER, ids=str)
def test_order(case: Case) -> None:
    case.check()


def test_the_boundary_of_what_can_wait_no_longer_is_a_day() -> None:
    """A rotation with a day left goes before the revocations, one with a second more after them."""
    entries = [
        secret("a", {"v2": "CURRENT key:A2", "v1": "key:A1 retire:A1:-1h"}),
        secret("b", {"v1": "CURRENT key:B"}),
    ]
    for left, first in ((DAY, "rotate"), (DAY + SECOND, "revoke")):
        plan = Case("", snap(entries, [key("A1"), key("A2"), key("B", left=left)])).plan()
        assert plan.actions[0].kind == first
