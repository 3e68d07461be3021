"""What is skipped, each with its reason, and that nothing at all is planned for it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.policy.build import DAY, SECOND, Case, key, secret, snap
from tests.policy.tables import table

BUSY = "{v3 CURRENT key:K3} {v2 PREVIOUS key:K2} {v1 key:K1 retire:K1:-1d} {v0 retire:K3:-1d}"
"""With work of every kind: K3 expiring, K2 to be retired, K1 to be revoked, a label to be taken off."""
WORK = "label stale-label s K3@v0; retire superseded s K2@v2; rotate expiring s K3@v3; revoke grace-over s K1@v1"
ALONE = {
    "": WORK,
    "primary=eu-central-1": WORK,
    'owner=""': WORK,
    "grace=1h": WORK,
    "grace=59m allow-short-grace=true": WORK,
    "deleted": "skip s pending-deletion",
    "owner=appflow": "skip s owned-by-service",
    "primary=us-east-1": "skip s replica (us-east-1)",
    "hold=freeze": 'skip s hold ("freeze"); warning hold s K3',
    'hold=""': "skip s hold; warning hold s K3",
    "grace=soon": "skip s misconfigured; error misconfigured s K3",
    "grace=59m59s": "skip s misconfigured; error misconfigured s K3",
    "grace=40d": "skip s misconfigured; error misconfigured s K3",
    "rotate-before=90d": "skip s misconfigured; error misconfigured s K3",
    "hodl=please": "skip s misconfigured; error misconfigured s K3",
    "hold=freeze window=sometimes": "skip s misconfigured; error misconfigured s K3",
    "deleted hold=freeze grace=soon": "skip s pending-deletion",
    "{x PENDING}": "skip s rotation-in-progress; error rotation-in-progress s K3",
    "{v8 PENDING key:K8} {v9 PENDING key:K9}": "skip s inconsistent-labels; error inconsistent-labels s K3",
    "{v9 key:K1}": "skip s inconsistent-labels; error inconsistent-labels s K3",
    "{v9 key:K7 key:K8}": "skip s inconsistent-labels; error inconsistent-labels s K3",
    "hold=freeze {v9 key:K1}": "skip s hold; warning hold s K3",
}
"""Tags (or versions beside the others), and all that is planned: which of several reasons is said is relied on."""


@pytest.mark.parametrize(("tags", "said"), ALONE.items(), ids=lambda text: text or "nothing stops it")
def test_secret_with_work_of_every_kind(tags: str, said: str) -> None:
    (case,) = table(f"x\n s {tags} {BUSY}; K1; K2; K3 left=1d -> {said}")
    case.check()


SKIPPED = table("""
    on hold, and its key has time
        s hold=freeze; K1 left=8d -> skip s hold
    a foreign rotation, and nothing is due
        s {v1 CURRENT key:K1} {x PENDING}; K1 -> skip s rotation-in-progress
    a foreign rotation of a key that never expires
        s {v1 CURRENT key:K1} {x PENDING}; K1 left=never -> skip s rotation-in-progress
    a foreign rotation that keeps what is due
        s rotate-before=14d {v1 CURRENT key:K1} {x PENDING}; K1 left=14d
        -> skip s rotation-in-progress; error rotation-in-progress s K1
    a foreign rotation, old enough
        s max-age=30d {v1 CURRENT key:K1} {x PENDING}; K1 age=30d
        -> skip s rotation-in-progress; error rotation-in-progress s K1
    one broken secret does not stop the others, and what is wrong is said
        s; a grace=soon {v1 CURRENT key:A}; b {v1 CURRENT value=unreadable}; K1 left=1d; A left=1d
        -> rotate expiring s K1@v1; skip a misconfigured (rotator:grace is "soon");
        skip b unadopted (kms:Decrypt is denied); error misconfigured a A; error unadopted b -
    a secret that is skipped proves no orphan: a replica that lags behind its primary lacks the newest version
        a primary=us-east-1 {v1 CURRENT key:A}; b owner=appflow {v1 CURRENT key:B}; c grace=soon {v1 CURRENT key:C};
        d {v1 CURRENT key:D} {x PENDING}; e {v1 CURRENT key:E key:F}; A; B; C; D; E; F; Z0 age=1h for=a@v8;
        Z1 age=1h for=b@v8; Z2 age=1h for=c@v8; Z3 age=1h for=d@v8; Z4 age=1h for=e@v8
        -> skip a replica; skip b owned-by-service; skip c misconfigured; skip d rotation-in-progress;
        skip e inconsistent-labels; error misconfigured c C; error inconsistent-labels e F
""")


@pytest.mark.parametrize("case", SKIPPED, ids=str)
def test_skipped(case: Case) -> None:
    case.check()


@pytest.mark.parametrize(
    ("age", "said"), [(None, ""), (90 * DAY, ""), (90 * DAY + SECOND, "warning management-password-old infobip -")]
)
def test_management_password_old_after_90d(age: timedelta | None, said: str) -> None:
    Case("", snap([secret("s")], [key()], password_age=age), said).check()


def test_plan_counts_keys() -> None:
    keys = [key("a"), key("b", left=None), key("x"), key("e", enabled=False)]
    assert Case("", snap([secret("a", {"v1": "CURRENT key:a"})], keys)).plan().keys == 4
