"""When a superseded key is revoked, to the second, and what blocks it; over the composed chain."""

from __future__ import annotations

import pytest

from tests.policy.build import NOW, Case, at
from tests.policy.tables import case, table

TIME = table("""
    a second before its grace is over
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:+1s}; K1; K2
    the moment its grace is over
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:+0s}; K1; K2 -> revoke grace-over s K1@v1
    without the key's own label, its retire label is enough
        s {v2 CURRENT key:K2} {v1 retire:K1:-1h}; K1; K2 -> revoke grace-over s K1@v1 (1 h)
    expired, and still enabled: only its labels go
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h}; K1 left=-1d; K2 -> revoke key-not-active s K1@v1
    two retire labels: the later one counts
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:+1s retire:K1:-1h}; K1; K2
    two retire labels on two versions: the later one counts
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:+1s} {v0 retire:K1:-1h}; K1; K2
    several keys of a secret: the one that is due longest goes first
        s {v9 CURRENT key:K9} {v1 key:K1 retire:K1:-1h} {v2 key:K2 retire:K2:-2h} {v3 key:K3 retire:K3:+1h}; K1; K2; K3;
        K9
        -> revoke grace-over s K2@v2; revoke grace-over s K1@v1
    the next rotation is pending
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h} {v3 PENDING key:K3}; K1; K2; K3
        -> resume pending s K3@v3; revoke grace-over s K1@v1
""")

DEAD = table("""
    disabled by somebody: its labels go at once
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h}; K1 disabled; K2 -> revoke key-not-active s K1@v1
    disabled within its grace: its labels go at once
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:+3d}; K1 disabled; K2 -> revoke key-not-active s K1@v1
    its labels go whatever the window and however broken the current key
        s window="Mon 08:00-09:00 UTC" {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h}; K1 disabled; K2 disabled
        -> rotate key-disabled s K2@v2; revoke key-not-active s K1@v1
""")


@pytest.mark.parametrize("case", [*TIME, *DEAD], ids=str)
def test_revocation(case: Case) -> None:
    case.check()


def test_due_times_and_cost_of_actions() -> None:
    (action,) = TIME[2].plan().actions
    assert (action.due_at, action.deadline, action.costs_update) == (at("-1h"), None, True)
    for dead, due in zip(DEAD[:2], (at("-1h"), NOW), strict=True):
        (action,) = dead.plan().actions
        assert (action.due_at, action.costs_update) == (due, False)


def blocked(name: str, beside: str, said: str = "skip s shared-key; warning shared-key s K1") -> Case:
    """The grace of the old key of ``s`` is over, and something is beside it; else another secret holds the key."""
    return case(name, f"s {{v2 CURRENT key:K2}} {{v1 PREVIOUS key:K1 retire:K1:-1h}}; K1; K2; {beside}", said)


BLOCKED = [
    blocked("another secret holds it, by label", "t"),
    blocked(
        "another secret holds it, by look-up",
        "t {v1 CURRENT value=K1}",
        "label unadopted t K1@v1; skip s shared-key; warning shared-key s K1",
    ),
    blocked(
        "another secret holds it under a wrong label",
        "t {v1 CURRENT key:gone value=K1}",
        "label mislabelled t K1@v1; skip s shared-key; warning unproven-label t gone; warning shared-key s K1",
    ),
    blocked(
        "another secret holds it in a value that can't be read as tagged",
        "t {v1 CURRENT value=foreign+K1+K7}",
        "skip t unadopted; skip s shared-key; error unadopted t -; warning shared-key s K1",
    ),
    blocked("a secret of another account holds it", "t account=other"),
    blocked("a secret holds it that is on hold", "t hold=x", "skip t hold; skip s shared-key; warning shared-key s K1"),
    blocked(
        "another secret held it too, and its grace there is over this second: whoever comes first",
        "t {v2 CURRENT key:T2} {v1 PREVIOUS key:K1 retire:K1:+0s}; T2",
        "revoke grace-over s K1@v1; revoke grace-over t K1@v1",
    ),
    blocked(
        "another secret held it too, and its grace there is over in a second",
        "t {v2 CURRENT key:T2} {v1 PREVIOUS key:K1 retire:K1:+1s}; T2",
    ),
    blocked(
        "another secret held it too, and no label says yet until when its grace is",
        "t {v2 CURRENT key:T2} {v1 PREVIOUS key:K1}; T2",
        "retire superseded t K1@v1; skip s shared-key; warning shared-key s K1",
    ),
    blocked(
        "a secret of another account held it too",
        "t account=other {v2 CURRENT key:T2} {v1 PREVIOUS key:K1 retire:K1:+1d}",
    ),
    blocked(
        "a secret held it too that has no value any more: nothing there will ever say until when",
        "t {v1 PREVIOUS key:K1}",
        "revoke grace-over s K1@v1; skip t empty; error empty t -",
    ),
    blocked(
        "a secret held it too that is being deleted",
        "t deleted {v2 CURRENT key:T2} {v1 PREVIOUS key:K1}",
        "revoke grace-over s K1@v1; skip t pending-deletion",
    ),
    blocked(
        "a value that can't be read may hold it",
        "t {v1 CURRENT value=unreadable}",
        "skip t unadopted; skip s unreadable; error unadopted t -; error unreadable s K1",
    ),
    blocked(
        "a value of another account that can't be read may hold it",
        "t account=other {v1 CURRENT value=unreadable}",
        "skip s unreadable; error unreadable s K1",
    ),
    blocked(
        "a value that holds no key of this account",
        "t {v1 CURRENT value=foreign}",
        "revoke grace-over s K1@v1; skip t unadopted; error unadopted t -",
    ),
    blocked("an empty secret holds nothing", "t scopes=a {}", "rotate first-key t -@-; revoke grace-over s K1@v1"),
    blocked(
        "two other secrets hold it: they are named",
        "shop; till",
        "skip s shared-key (shop, till); warning shared-key s K1; warning shared-key shop K1 (till); "
        "warning shared-key till K1 (shop)",
    ),
    blocked(
        "a value under a wrong label that can't be read may hold any key",
        "t scopes=a {v1 CURRENT key:gone value=unreadable}",
        "skip t key-not-found; skip s unreadable; error key-not-found t gone; error unreadable s K1",
    ),
    *table("""
    the key in use has a second left
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h}; K1; K2 left=1s
        -> rotate expiring s K2@v2; revoke grace-over s K1@v1
    the key in use is disabled: replaced first, the old one stays
        s scopes=a {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h}; K1; K2 disabled
        -> rotate key-disabled s K2@v2; skip s current-key-broken; error current-key-broken s K1
    the key in use has ended this second: replaced first, the old one stays
        s scopes=a {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h}; K1; K2 left=0s
        -> rotate expired s K2@v2; skip s current-key-broken; error current-key-broken s K1
    its window is shut
        s window="Tue 10:30-12:00 UTC" {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h}; K1; K2
        -> skip s window (Tue 3 Mar 10:30 UTC)
    its window is open
        s window="Mon 09:00-09:01 UTC" {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h}; K1; K2
        -> revoke grace-over s K1@v1
    """),
]

SHARED = table("""
    two secrets with one key, by label
        s; t; K1 -> warning shared-key s K1; warning shared-key t K1
    two secrets with one key, both due: each gets a key of its own
        s; t; K1 left=1d
        -> rotate expiring s K1@v1; rotate expiring t K1@v1; warning shared-key s K1; warning shared-key t K1
    a copy that was looked up
        s; t {v1 CURRENT value=K1}; K1 -> label unadopted t K1@v1; warning shared-key s K1; warning shared-key t K1
    a secret that is skipped is not told that it shares
        s; t hold=x; K1 -> skip t hold; warning shared-key s K1
""")


@pytest.mark.parametrize("case", [*BLOCKED, *SHARED], ids=str)
def test_kept(case: Case) -> None:
    case.check()


@pytest.mark.parametrize(
    "versions",
    [
        "{v1 CURRENT key:K1 key:T1}",
        "{v1 CURRENT key:T1 key:K1}",
        "{v1 CURRENT key:K1 key:A1}",
        "{v1 CURRENT key:K1} {v2 CURRENT key:T1}",
        "{v1 CURRENT key:T1} {v2 CURRENT key:K1}",
    ],
)
def test_inconsistent_labels_keep_key(versions: str) -> None:
    snapshot_case = case(
        "", f"s {{v2 CURRENT key:K2}} {{v1 PREVIOUS key:K1 retire:K1:-1h}}; t {versions}; K1; K2; T1; A1"
    )
    assert [action for action in snapshot_case.plan().actions if action.kind == "revoke"] == []
