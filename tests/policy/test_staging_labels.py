"""Adoption, superseded versions and labels that contradict the rest, over the composed chain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rotator.policy.emergency_ids import emergency_version_id
from tests.policy.build import DAY, Case, arn_of, at, key, secret, snap, vid
from tests.policy.tables import table

ADOPTION = table("""
    a key that was stored by hand after the keys were listed is there, not missing
        s scopes=a {v1 CURRENT value=K1} -> label unadopted s K1@v1
    a value without a label, its key found
        s {v1 CURRENT value=K1}; K1 -> label unadopted s K1@v1
    adopted and due: labelled first
        s {v1 CURRENT value=K1}; K1 left=1d -> label unadopted s K1@v1; rotate expiring s K1@v1
    a value whose key nobody knows
        s {v1 CURRENT value=unreadable} -> skip s unadopted; error unadopted s -
    written by hand over ours: the new value is adopted, the old key gets its grace
        s {v2 CURRENT value=K2} {v1 PREVIOUS key:K1}; K1; K2 -> label unadopted s K2@v2; retire superseded s K1@v1
    written by hand over ours, which AWSPENDING was left on
        s {v2 CURRENT value=K2} {v1 PENDING PREVIOUS key:K1}; K1; K2
        -> label unadopted s K2@v2; label stale-label s K2@v1; retire superseded s K1@v1
    the same key written again by hand: its label moves, it never retires
        s {v2 CURRENT value=K1} {v1 PREVIOUS key:K1}; K1 -> label unadopted s K1@v2
    a retiring key written again by hand: the retire label goes, long after its time too
        s {v2 CURRENT value=K1} {v1 PREVIOUS key:K1 retire:K1:-9d}; K1
        -> label unadopted s K1@v2; label stale-label s K1@v1
    written by hand, nobody knows what: the superseded one is not touched
        s {v2 CURRENT value=foreign} {v1 PREVIOUS key:K1} {v0 key:K0 retire:K0:-1d}; K1; K0
        -> skip s unadopted; error unadopted s -
    labelled with a key that is not found, while its value is another one: corrected before anything else
        s scopes=a {v1 CURRENT key:K9 value=K1} {v0 PREVIOUS key:K0 retire:K0:-1d}; K1 left=1d; K0
        -> label mislabelled s K1@v1; warning unproven-label s K9
    labelled with a key that is found, while its value is another one: the value decides
        s {v1 CURRENT key:K9 value=K1}; K1; K9 -> label mislabelled s K1@v1; warning unproven-label s K9
    labelled with a key that is found, while its value is no key: skipped
        s {v1 CURRENT key:K1 value=foreign} {v0 PREVIOUS key:K0 retire:K0:-1h}; K1 left=1d; K0
        -> skip s unproven-label; error unproven-label s K1
    labelled with a key that is not found, and its value is that key
        s scopes=a {v1 CURRENT key:K9 value=K9}; t {v1 CURRENT key:T}; T
        -> skip s key-not-found; error key-not-found s K9
""")

SUPERSEDED = table("""
    a rotation that was cut off before the retire label
        s grace=36h {v2 CURRENT PENDING key:K2} {v1 PREVIOUS key:K1}; K1; K2
        -> retire superseded s K1@v1 (3 Mar 21:00 UTC)
    every superseded version, by name of key
        s {v9 CURRENT key:K9} {v1 key:K2} {v2 PREVIOUS key:K1} {v3 key:K3 retire:K3:+1d}; K1; K2; K3; K9
        -> retire superseded s K1@v2; retire superseded s K2@v1
    a superseded key that is not found: it gets a retire label first, in case the list is wrong
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1}; K2 -> retire superseded s K1@v1; warning key-not-found s K1
    its retire label may stand on another version
        s {v3 CURRENT key:K3} {v2 PREVIOUS retire:K1:+1d} {v1 key:K1}; K1; K3
    nothing is superseded while nothing is current
        s {v1 PREVIOUS key:K1} {v2 PENDING key:K2}; K1; K2 -> resume pending s K2@v2
    in use and superseded at once while the next one is pending
        s {v1 CURRENT key:K1} {v2 PENDING key:K2} {v0 PREVIOUS key:K0}; K1; K2; K0
        -> retire superseded s K0@v0; resume pending s K2@v2
""")

STALE = table("""
    rolled back by hand: the key is in use again, whatever its retire label says; the newer one retires
        s {v1 CURRENT key:K1 retire:K1:-1d} {v2 PENDING PREVIOUS key:K2}; K1; K2
        -> label stale-label s K1@v2 (AWSPENDING); label stale-label s K1@v1 (rotator:retire:K1:20260301T090000Z);
        retire superseded s K2@v2 (5 Mar 09:00 UTC)
    the same, months later: its grace is whole, since it never had a retire label
        s {v1 CURRENT key:K1 retire:K1:-1d} {v2 PENDING PREVIOUS key:K2}; K1; K2; with now=+90d
        -> label stale-label s K1@v2; label stale-label s K1@v1; retire superseded s K2@v2
    rolled back by hand twice: both retire labels of the key in use go
        s {v1 CURRENT key:K1 retire:K1:-1d retire:K1:-2d} {v2 PREVIOUS key:K2 retire:K2:+1d}; K1; K2
        -> label stale-label s K1@v1; label stale-label s K1@v1
    rolled back by hand to a key that is disabled: replaced
        s {v1 CURRENT key:K1 retire:K1:-1d} {v2 PREVIOUS key:K2}; K1 disabled; K2
        -> label stale-label s K1@v1; retire superseded s K2@v2; rotate key-disabled s K1@v1
    AWSPENDING left on the current version, as every rotation leaves it
        s {v1 CURRENT PENDING key:K1}; K1
    AWSPENDING left on a version that is AWSPREVIOUS: never resumed
        s {v2 CURRENT key:K2} {v1 PENDING PREVIOUS key:K1 retire:K1:+1d}; K1; K2 -> label stale-label s K2@v1
    AWSPENDING left on a retiring version that is AWSPREVIOUS no more: never resumed
        s {v3 CURRENT key:K3} {v1 PENDING key:K1 retire:K1:+1d}; K1; K3 -> label stale-label s K3@v1
    AWSPENDING left on AWSPREVIOUS whose key is gone and whose labels went: nothing foreign
        s {v2 CURRENT key:K2} {v1 PENDING PREVIOUS}; K2
    a retire label for the key that is pending goes, and the key stays
        s {v1 CURRENT key:K1} {v2 PENDING key:K2} {v0 PREVIOUS retire:K2:-1d}; K1; K2
        -> label stale-label s K1@v0; resume pending s K2@v2
    labels of others mean nothing
        s {v1 CURRENT key:K1 mine} {v0 x}; K1
""")

SUSPICIOUS = table("""
    malformed labels are reported and followed by nothing
        s {v1 CURRENT key:K1} {v0 rotator:key: rotator:retire:K1:soon}; K1
        -> warning inconsistent-labels s -; warning inconsistent-labels s -
    a retire label later than the tag allows is reported: its key is not revoked before
        s {v2 CURRENT key:K2} {v1 key:K1 retire:K1:+400d}; K1; K2 -> warning inconsistent-labels s -
    one that was due before its key had a grace period is reported, and followed
        s {v2 CURRENT key:K2} {v1 key:K1 retire:K1:-64d}; K1; K2
        -> revoke grace-over s K1@v1; warning inconsistent-labels s -
    one that was due before its key's replacement was created is not followed
        s {v2 CURRENT key:K2} {v1 key:K1 retire:K1:-2d}; K1 age=2d; K2 age=1d -> warning inconsistent-labels s -
    one of a rolled back key is followed: it was replaced by an older key, and that by a newer one
        s {v3 CURRENT key:K3} {v2 key:K2 retire:K2:-1h} {v1 key:K1 retire:K1:+2d23h}; K1 age=9d; K2 age=8d; K3 age=0s
        -> revoke grace-over s K2@v2
""")


def test_suspicious_label_names_command() -> None:
    """Threat: a suspicious label. The alert has the command that removes it."""
    (alert,) = SUSPICIOUS[1].plan().alerts
    version, label = vid("v1"), f"rotator:retire:K1:{at('+400d'):%Y%m%dT%H%M%SZ}"
    command = f"--secret-id s --version-stage {label} --remove-from-version-id {version}"
    assert alert.message.values["label"] == label
    assert f"`aws secretsmanager update-secret-version-stage {command}`" in alert.detail


def test_emergency_labels_are_fine() -> None:
    """It revoked the old key a moment after it had created the new one."""
    replaced = secret("s", {"v2": "CURRENT key:K2", "v1": "key:K1 retire:K1:-1h"})
    made = {emergency_version_id(arn_of("s"), None, "seed"): replaced.versions[vid("v2")]}
    entry = replace(replaced, versions=made | {vid("v1"): replaced.versions[vid("v1")]})
    Case("", snap([entry], [key(age=DAY), key("K2", age=0 * DAY)]), "revoke grace-over s K1@v1").check()


@pytest.mark.parametrize("case", [*ADOPTION, *SUPERSEDED, *STALE, *SUSPICIOUS], ids=str)
def test_labels(case: Case) -> None:
    """Threat: a malformed label, or a retire time that no grace period explains. The warning inconsistent-labels."""
    case.check()


def test_labels_are_due_now_and_cost_nothing() -> None:
    for case in (*ADOPTION, *SUPERSEDED, *STALE):
        for action in case.plan().actions:
            if action.kind.value in ("label", "retire"):
                assert (action.due_at, action.deadline, action.costs_update) == (case.now, None, False)
