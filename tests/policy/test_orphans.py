"""Keys that no secret holds: which are revoked, which are only reported, over the composed chain and alone."""

from __future__ import annotations

import pytest

from rotator.policy.labels import key_name
from tests.policy.build import DAY, HOUR, MINUTE, Case, arn_of, at, key, own, secret, snap, vid
from tests.policy.tables import table

S = secret("s")
UNPROVEN = "warning orphan-unproven - Z"
LONG = "p" * 250
"""The names of keys of two secrets whose names begin with it are cut; the digest of the ARN tells them apart."""


def named(what: str, name: str, said: str = "") -> Case:
    """An orphan for ``s``, but for its name."""
    return Case(what, snap([S], [key(), key("Z", age=HOUR, name=name)]), said)


CUT = key("Z", age=HOUR, name=own(LONG + "1", "v8"))
ORPHANS = (
    *table("""
    made for a version that does not exist
        s; K1; Z age=1h for=s@v8 -> revoke orphan s Z@v8
    that of this deployment, among others
        s; K1; Z age=1h for=s@v8@blue; Y age=1h for=s@v8; with deployment=blue -> revoke orphan s Z@v8
    30 minutes old
        s; K1; Z age=30m for=s@v8 -> revoke orphan s Z@v8
    none: too young, of unknown age, of another deployment, not begun, disabled, expired this second
        s; K1; A age=29m59s for=s@v2; B age=unknown for=s@v3; C age=1h for=s@v8@blue; D age=-1h for=s@v4;
        E age=1h disabled for=s@v5; F age=1h left=0s for=s@v6; G age=29m for=gone@v8
    about to end
        s; K1; Z left=1s age=1h for=s@v8 -> revoke orphan s Z@v8
    its version is the current one, which is another key's: a key of that name was made by hand
        s; K1; Z age=1h for=s@v1 -> warning key-re-enabled s Z
    for no managed secret
        s; K1; Z age=1h for=gone@v8 -> warning orphan-unproven - Z
    two of them, by their ids
        s; K1; Z2 age=1h for=s@v8; Z1 age=1h for=s@v9 -> revoke orphan s Z1@v9; revoke orphan s Z2@v8
    its version exists without a label of ours
        s {v1 CURRENT key:K1} {v8 PREVIOUS}; K1; Z age=1h for=s@v8 -> warning key-re-enabled s Z
    its version is the current one, whose label was taken off
        s {v8 CURRENT value=foreign}; Z age=1h for=s@v8
        -> skip s unadopted; error unadopted s -; warning key-re-enabled s Z
    its version exists without a label of ours, in a secret that is skipped: only reported there too
        s hold=x {v1 CURRENT key:K1} {v8 PREVIOUS}; K1; Z age=1h for=s@v8 -> skip s hold; warning key-re-enabled s Z
    some managed secret's value was found to hold it
        s; twin {v1 CURRENT key:T}; K1; T; Z age=1h for=s@v8; with found=Z:twin -> warning key-re-enabled s Z (twin)
    for a secret whose label is wrong, as its value shows
        s {v1 CURRENT key:K1 value=foreign}; K1; Z age=1h for=s@v8 -> skip s unproven-label; error unproven-label s K1
    for a secret with a tag that can't be read
        s grace=soon; K1; Z age=1h for=s@v8 -> skip s misconfigured; error misconfigured s K1
    for a replica
        s primary=us-east-1; K1; Z age=1h for=s@v8 -> skip s replica
    named by a label, on whatever version
        s {v1 CURRENT key:K1} {v3 key:Z retire:Z:+3d}; K1; Z age=1h for=s@v8
    named by a label of another secret
        s; t {v1 CURRENT key:Z}; K1; Z age=1h for=s@v8 -> warning other-deployment-key t Z
    named by a label of a secret of another account
        s; t account=other {v1 CURRENT key:Z}; K1; Z age=1h for=s@v8
    for a secret of another account, where its version does not exist
        s; t account=other {v1 CURRENT key:Q}; K1; Z age=1h for=t@v8 -> revoke orphan t Z@v8
    for a secret of another account, where its version exists
        s; t account=other {v8 PREVIOUS}; K1; Z age=1h for=t@v8 -> warning key-re-enabled t Z
    for a secret on hold
        s hold=x; K1; Z age=1h for=s@v8 -> skip s hold
    for a secret whose value nobody knows
        s {v1 CURRENT}; Z age=1h for=s@v8 -> revoke orphan s Z@v8; skip s unadopted; error unadopted s -
    for a secret that is pending deletion
        s deleted; K1; Z age=1h for=s@v8 -> skip s pending-deletion
    it is what goes on: made for a secret that is due, its value can be read
        s; K1 left=1d; Z age=1h readable for=s@v8 -> resume expiring s Z@v8
    """),
    named("in another region", key_name("s", arn_of("s", "eu-west-1"), "default", vid("v8")), UNPROVEN),
    named("by the older form of name", f"s/rotator:default:{vid('v8')}", UNPROVEN),
    named("by a name that only looks like ours", f"s/rotator:default:{vid('v8')} "),
    named("without any name", ""),
    Case(
        "for a secret whose name is too long to be told whole",
        snap([secret(LONG + "1"), secret(LONG + "2", {"v1": "CURRENT key:L"})], [key(), key("L"), CUT]),
        f"revoke orphan {LONG}1 Z@v8",
    ),
    Case(
        "the other of two secrets whose names are cut has its version: that proves nothing",
        snap(
            [secret(LONG + "1"), secret(LONG + "2", {"v8": "CURRENT"})],
            [key(), CUT, key("L")],
            values={(LONG + "2", "v8"): "L"},
        ),
        f"label unadopted {LONG}2 L@v8; revoke orphan {LONG}1 Z@v8",
    ),
)

UNKNOWN = table("""
    strangers' keys that end in 14 days and in a second
        s; K1; U left=14d; V left=1s -> warning unknown-key-expiring - U; warning unknown-key-expiring - V
    not: a second later, ended, disabled, one that does not end, and another deployment's
        s; K1; A left=14d1s; B left=0s; C left=1d disabled; D left=never; E left=1d for=s@v8@blue
    a managed secret's key, in grace
        s {v2 CURRENT key:K1} {v1 PREVIOUS key:U retire:U:+1d}; K1; U left=1d
    a key of a secret of another account
        s; t account=other {v1 CURRENT key:U}; K1; U left=1d
""")


@pytest.mark.parametrize("case", [*ORPHANS, *UNKNOWN], ids=str)
def test_keys_without_secret(case: Case) -> None:
    """Threat: a key that only looks like an orphan. It is revoked only if name, deployment, ARN, version and age all
    prove that no consumer can have it, and no managed secret contains it.
    """
    case.check()


def test_orphan_due_time_and_cost() -> None:
    (action,) = ORPHANS[0].plan().actions
    assert (action.due_at, action.deadline, action.costs_update) == (at("-30m"), None, True)
    assert (action.account, action.arn) == ("main", S.arn)


def test_outside_text_in_alert_is_printable() -> None:
    snapshot = snap(
        [S], [key(), key("U", left=DAY, name="evil\x1b[2J\n"), key("Z", age=HOUR, name=own("no\nline", "v8"))]
    )
    for alert in Case("", snapshot).plan().alerts:
        assert alert.detail.isprintable()


def test_orphan_is_searched_for_in_values() -> None:
    """Somebody may have put its value into a secret by hand; which one, no label says."""
    young = key("Y", age=MINUTE, name=own("s", "v9"))
    plan = Case("", snap([S], [key(), key("Z", age=HOUR, name=own("s", "v8")), young])).plan()
    assert plan.questions.copies == {"Z": None}
    assert plan.questions.versions == {S.arn}
    assert plan.questions.values == frozenset()


def test_key_is_reported_for_named_secret() -> None:
    """A version id that two secrets have (a copy, made with the same token) must not make it a matter of order."""
    entries = [
        secret("s", {"v1": "CURRENT key:K1", "v8": "PREVIOUS"}),
        secret("t", {"v2": "CURRENT key:K2", "v8": "x"}),
    ]
    plans = [
        Case("", snap(order, [key(), key("K2"), key("Z", age=HOUR, name=own("t", "v8"))])).plan()
        for order in (entries, entries[::-1])
    ]
    assert [[(str(alert.kind), alert.secret) for alert in plan.alerts] for plan in plans] == [
        [("key-re-enabled", "t")]
    ] * 2
