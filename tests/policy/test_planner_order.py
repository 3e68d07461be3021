"""The order of a sweep, and ``--secret``, over the composed chain."""

from __future__ import annotations

import pytest

from rotator.model import Policy
from tests.policy.build import DAY, SECOND, Case, arn_of, key, own, secret, snap

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
