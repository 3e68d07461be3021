"""When a superseded key is revoked, to the second, over the composed chain."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from rotator.model import Key
from tests.policy.build import DAY, HOUR, NOW, Case, at, key, secret, snap, tagged

DUE = {"v2": "CURRENT key:K2", "v1": "PREVIOUS key:K1 retire:K1:-1h"}
"""K1 was replaced by K2, and its grace is over since an hour."""
BOTH = (key(), key("K2"))
REVOKED = "revoke grace-over s K1@v1"


def one(name: str, versions: dict[str, str], keys: Iterable[Key], *actions: str, **tags: str) -> Case:
    return Case(name, snap([tagged(secret("s", versions), tags)], keys), actions=actions)


TIME = (
    one("a second before its grace is over", {**DUE, "v1": "PREVIOUS key:K1 retire:K1:+1s"}, BOTH),
    one("the moment its grace is over", {**DUE, "v1": "PREVIOUS key:K1 retire:K1:+0s"}, BOTH, REVOKED),
    one("long after its grace was over", {**DUE, "v1": "PREVIOUS key:K1 retire:K1:-60d"}, BOTH, REVOKED),
    one("without the key's own label, its retire label is enough", {**DUE, "v1": "retire:K1:-1h"}, BOTH, REVOKED),
    one(
        "expired, and still enabled: only its labels go",
        DUE,
        [key(left=-DAY), key("K2")],
        "revoke key-not-active s K1@v1",
    ),
    one(
        "two retire labels: the later one counts",
        {**DUE, "v1": "PREVIOUS key:K1 retire:K1:-1h retire:K1:+1s"},
        BOTH,
    ),
    one(
        "two retire labels on two versions: the later one counts",
        {"v2": "CURRENT key:K2", "v1": "PREVIOUS key:K1 retire:K1:+1s", "v0": "retire:K1:-1h"},
        BOTH,
    ),
    one(
        "two retire labels, both past",
        {**DUE, "v1": "PREVIOUS key:K1 retire:K1:-2h retire:K1:-1h"},
        BOTH,
        REVOKED,
    ),
    one(
        "several keys of a secret: the one that is due longest goes first",
        {"v9": "CURRENT key:K9"}
        | {f"v{n}": f"key:K{n} retire:K{n}:{at}" for n, at in ((1, "-1h"), (2, "-2h"), (3, "+1h"))},
        [key(f"K{n}") for n in (1, 2, 3, 9)],
        "revoke grace-over s K2@v2",
        REVOKED,
    ),
    one(
        "the next rotation is pending",
        {**DUE, "v3": "PENDING key:K3"},
        [*BOTH, key("K3")],
        "resume pending s K3@v3",
        REVOKED,
    ),
)

DEAD = (
    one(
        "disabled by somebody: its labels go at once",
        DUE,
        [key(enabled=False), key("K2")],
        "revoke key-not-active s K1@v1",
    ),
    one(
        "disabled within its grace: its labels go at once",
        {**DUE, "v1": "PREVIOUS key:K1 retire:K1:+3d"},
        [key(enabled=False), key("K2")],
        "revoke key-not-active s K1@v1",
    ),
    one("gone from Infobip", DUE, [key("K2")], "revoke key-not-active s K1@v1"),
    one(
        "its labels go whatever the window and however broken the current key",
        DUE,
        [key(enabled=False), key("K2", enabled=False)],
        "rotate key-disabled s K2@v2",
        "revoke key-not-active s K1@v1",
        window="Mon 08:00-09:00 UTC",
    ),
    Case(
        "neither it nor the key in use is found: that may be another account's list, and its labels stay",
        snap([secret("s", DUE, scopes="a"), secret("t", {"v1": "CURRENT key:T"})], [key("T")]),
        actions=("rotate key-missing s K2@v2",),
    ),
    Case(
        "no key of the account is found: another account's list, and nothing is done by it",
        snap([secret("s", DUE, scopes="a")]),
        skipped=("s mass-missing", "s mass-missing"),
        alerts=("error mass-missing - -",),
    ),
    Case(
        "not listed by a listing that does not add up: not taken for gone",
        snap([secret("s", DUE)], [key("K2")], complete=False),
        actions=(REVOKED,),
        alerts=("warning listing-incomplete - -",),
    ),
    Case(
        "not listed by a listing that does not add up, in its grace",
        snap([secret("s", {**DUE, "v1": "PREVIOUS key:K1 retire:K1:+1s"})], [key("K2")], complete=False),
        alerts=("warning listing-incomplete - -",),
    ),
)


@pytest.mark.parametrize("case", [*TIME, *DEAD], ids=str)
def test_revocation(case: Case) -> None:
    case.check()


def test_a_revocation_is_due_since_its_grace_ended_and_costs_an_update() -> None:
    (action,) = Case("", snap([secret("s", DUE)], BOTH)).plan().actions
    assert (action.due_at, action.deadline, action.costs_update) == (at("-1h"), None, True)
    assert action.detail == "grace period over for 1 h"


@pytest.mark.parametrize(("retire", "due"), [("-1h", NOW - HOUR), ("+1h", NOW)])
def test_a_dead_key_costs_nothing_and_is_due_now_at_the_latest(retire: str, due: object) -> None:
    versions = {**DUE, "v1": f"PREVIOUS key:K1 retire:K1:{retire}"}
    (action,) = Case("", snap([secret("s", versions)], [key(enabled=False), key("K2")])).plan().actions
    assert (action.due_at, action.costs_update) == (due, False)
