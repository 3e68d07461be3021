"""Adoption, superseded versions and labels that contradict the rest, over the composed chain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rotator.model import Resolution
from rotator.policy.emergency_ids import emergency_version_id
from tests.policy.build import DAY, NOW, Case, arn_of, at, key, secret, snap, vid

EMERGENCY = emergency_version_id(arn_of("s"), None, "seed")
REPLACED = secret("s", {"v2": "CURRENT key:K2", "v1": "key:K1 retire:K1:-1h"})
ADOPTION = (
    Case(
        "a value without a label, its key found",
        snap([secret("s", {"v1": "CURRENT"})], [key()], resolved={"s": "K1"}),
        actions=("label unadopted s K1@v1",),
    ),
    Case(
        "adopted and due: labelled first",
        snap([secret("s", {"v1": "CURRENT"})], [key(left=DAY)], resolved={"s": "K1"}),
        actions=("label unadopted s K1@v1", "rotate expiring s K1@v1"),
    ),
    Case(
        "a value whose key nobody knows",
        snap([secret("s", {"v1": "CURRENT"})], resolved={"s": Resolution(None, "no key of this account")}),
        skipped=("s unadopted",),
        alerts=("error unadopted s -",),
    ),
    Case(
        "a value that was not looked up",
        snap([secret("s", {"v1": "CURRENT"})], [key()]),
        skipped=("s unadopted",),
        alerts=("error unadopted s -",),
    ),
    Case(
        "written by hand over ours: the new value is adopted, the old key gets its grace",
        snap(
            [secret("s", {"v2": "CURRENT", "v1": "PREVIOUS key:K1"})],
            [key(), key("K2")],
            resolved={"s": "K2"},
        ),
        actions=("label unadopted s K2@v2", "retire superseded s K1@v1"),
    ),
    Case(
        "written by hand over ours, which AWSPENDING was left on",
        snap(
            [secret("s", {"v2": "CURRENT", "v1": "PREVIOUS PENDING key:K1"})],
            [key(), key("K2")],
            resolved={"s": "K2"},
        ),
        actions=("label unadopted s K2@v2", "label stale-label s K2@v1", "retire superseded s K1@v1"),
    ),
    Case(
        "the same key written again by hand: its label moves, it never retires",
        snap([secret("s", {"v2": "CURRENT", "v1": "PREVIOUS key:K1"})], [key()], resolved={"s": "K1"}),
        actions=("label unadopted s K1@v2",),
    ),
    Case(
        "a retiring key written again by hand: the retire label goes, long after its time too",
        snap(
            [secret("s", {"v2": "CURRENT", "v1": "PREVIOUS key:K1 retire:K1:-9d"})],
            [key()],
            resolved={"s": "K1"},
        ),
        actions=("label unadopted s K1@v2", "label stale-label s K1@v1"),
    ),
    Case(
        "written by hand, nobody knows what: the superseded one is not touched",
        snap(
            [secret("s", {"v2": "CURRENT", "v1": "PREVIOUS key:K1", "v0": "key:K0 retire:K0:-1d"})],
            [key(), key("K0")],
            resolved={"s": Resolution(None, "no key of this account", known_foreign=True)},
        ),
        skipped=("s unadopted",),
        alerts=("error unadopted s -",),
    ),
    Case(
        "labelled with a key that is not found, while its value is another one: corrected before anything else",
        snap(
            [secret("s", {"v1": "CURRENT key:K9", "v0": "PREVIOUS key:K0 retire:K0:-1d"}, scopes="a")],
            [key(left=DAY), key("K0")],
            resolved={"s": "K1"},
        ),
        actions=("label mislabelled s K1@v1",),
        alerts=("warning unproven-label s K9",),
    ),
    Case(
        "labelled with a key that is found, while its value is another one: the value decides",
        snap([secret("s", {"v1": "CURRENT key:K9"})], [key(), key("K9")], resolved={"s": "K1"}),
        actions=("label mislabelled s K1@v1",),
        alerts=("warning unproven-label s K9",),
    ),
    Case(
        "labelled with a key that is found, while its value is no key: skipped",
        snap(
            [secret("s", {"v1": "CURRENT key:K1", "v0": "PREVIOUS key:K0 retire:K0:-1h"})],
            [key(left=DAY), key("K0")],
            resolved={"s": Resolution(None, "its value is no key", known_foreign=True)},
        ),
        skipped=("s unproven-label",),
        alerts=("error unproven-label s K1",),
    ),
    Case(
        "labelled with a key that is not found, and its value is that key",
        snap(
            [secret("s", {"v1": "CURRENT key:K9"}, scopes="a"), secret("t", {"v1": "CURRENT key:T"})],
            [key("T")],
            resolved={"s": "K9"},
        ),
        actions=("rotate key-missing s K9@v1",),
    ),
)

SUPERSEDED = (
    Case(
        "a rotation that was cut off before the retire label",
        snap([secret("s", {"v2": "CURRENT PENDING key:K2", "v1": "PREVIOUS key:K1"})], [key(), key("K2")]),
        actions=("retire superseded s K1@v1",),
    ),
    Case(
        "every superseded version, by name of key",
        snap(
            [
                secret(
                    "s", {"v9": "CURRENT key:K9", "v1": "key:K2", "v2": "PREVIOUS key:K1", "v3": "key:K3 retire:K3:+1d"}
                )
            ],
            [key(f"K{n}") for n in (1, 2, 3, 9)],
        ),
        actions=("retire superseded s K1@v2", "retire superseded s K2@v1"),
    ),
    Case(
        "a superseded key that is not found: it gets a retire label first, in case the list is wrong",
        snap([secret("s", {"v2": "CURRENT key:K2", "v1": "PREVIOUS key:K1"})], [key("K2")]),
        actions=("retire superseded s K1@v1",),
    ),
    Case(
        "one in grace needs nothing",
        snap([secret("s", {"v2": "CURRENT key:K2", "v1": "PREVIOUS key:K1 retire:K1:+1s"})], [key(), key("K2")]),
    ),
    Case(
        "its retire label may stand on another version",
        snap(
            [secret("s", {"v3": "CURRENT key:K3", "v2": "PREVIOUS retire:K1:+1d", "v1": "key:K1"})],
            [key(), key("K3")],
        ),
    ),
    Case(
        "nothing is superseded while nothing is current",
        snap([secret("s", {"v1": "PREVIOUS key:K1", "v2": "PENDING key:K2"})], [key(), key("K2")]),
        actions=("resume pending s K2@v2",),
    ),
    Case(
        "in use and superseded at once while the next one is pending",
        snap(
            [secret("s", {"v1": "CURRENT key:K1", "v2": "PENDING key:K2", "v0": "PREVIOUS key:K0"})],
            [key(), key("K2"), key("K0")],
        ),
        actions=("retire superseded s K0@v0", "resume pending s K2@v2"),
    ),
)

STALE = (
    Case(
        "rolled back by hand: the key is in use again, whatever its retire label says; the newer one retires",
        snap(
            [secret("s", {"v1": "CURRENT key:K1 retire:K1:-1d", "v2": "PREVIOUS PENDING key:K2"})],
            [key(), key("K2")],
        ),
        actions=("label stale-label s K1@v2", "label stale-label s K1@v1", "retire superseded s K2@v2"),
    ),
    Case(
        "rolled back by hand within grace",
        snap([secret("s", {"v1": "CURRENT key:K1 retire:K1:+1d", "v2": "PREVIOUS key:K2"})], [key(), key("K2")]),
        actions=("label stale-label s K1@v1", "retire superseded s K2@v2"),
    ),
    Case(
        "rolled back by hand twice: both retire labels of the key in use go",
        snap(
            [secret("s", {"v1": "CURRENT key:K1 retire:K1:-2d retire:K1:-1d", "v2": "PREVIOUS key:K2 retire:K2:+1d"})],
            [key(), key("K2")],
        ),
        actions=("label stale-label s K1@v1", "label stale-label s K1@v1"),
    ),
    Case(
        "rolled back by hand to a key that is disabled: replaced",
        snap(
            [secret("s", {"v1": "CURRENT key:K1 retire:K1:-1d", "v2": "PREVIOUS key:K2"})],
            [key(enabled=False), key("K2")],
        ),
        actions=("label stale-label s K1@v1", "retire superseded s K2@v2", "rotate key-disabled s K1@v1"),
    ),
    Case(
        "AWSPENDING left on the current version, as every rotation leaves it",
        snap([secret("s", {"v1": "CURRENT PENDING key:K1"})], [key()]),
    ),
    Case(
        "AWSPENDING left on a version that is AWSPREVIOUS: never resumed",
        snap(
            [secret("s", {"v2": "CURRENT key:K2", "v1": "PREVIOUS PENDING key:K1 retire:K1:+1d"})],
            [key(), key("K2")],
        ),
        actions=("label stale-label s K2@v1",),
    ),
    Case(
        "AWSPENDING left on a retiring version that is AWSPREVIOUS no more: never resumed",
        snap(
            [secret("s", {"v3": "CURRENT key:K3", "v1": "PENDING key:K1 retire:K1:+1d"})],
            [key(), key("K3")],
        ),
        actions=("label stale-label s K3@v1",),
    ),
    Case(
        "AWSPENDING left on AWSPREVIOUS whose key is gone and whose labels went: nothing foreign",
        snap([secret("s", {"v2": "CURRENT key:K2", "v1": "PREVIOUS PENDING"})], [key("K2")]),
    ),
    Case(
        "a retire label for the key that is pending goes, and the key stays",
        snap(
            [secret("s", {"v1": "CURRENT key:K1", "v2": "PENDING key:K2", "v0": "PREVIOUS retire:K2:-1d"})],
            [key(), key("K2")],
        ),
        actions=("label stale-label s K1@v0", "resume pending s K2@v2"),
    ),
    Case(
        "a retire label on another version for the key in use goes, and the key stays",
        snap([secret("s", {"v1": "CURRENT key:K1", "v0": "PREVIOUS retire:K1:-1d"})], [key()]),
        actions=("label stale-label s K1@v0",),
    ),
    Case(
        "labels of others mean nothing",
        snap([secret("s", {"v1": "CURRENT key:K1 mine", "v0": "x"})], [key()]),
    ),
)

SUSPICIOUS = (
    Case(
        "malformed labels are reported and followed by nothing",
        snap([secret("s", {"v1": "CURRENT key:K1", "v0": "rotator:key: rotator:retire:K1:soon"})], [key()]),
        alerts=("warning inconsistent-labels s -", "warning inconsistent-labels s -"),
    ),
    Case(
        "a retire label later than the tag allows is reported: its key is not revoked before",
        snap([secret("s", {"v2": "CURRENT key:K2", "v1": "key:K1 retire:K1:+400d"})], [key(), key("K2")]),
        alerts=("warning inconsistent-labels s -",),
    ),
    Case(
        "one that was due before its key had a grace period is reported, and followed",
        snap([secret("s", {"v2": "CURRENT key:K2", "v1": "key:K1 retire:K1:-64d"})], [key(), key("K2")]),
        actions=("revoke grace-over s K1@v1",),
        alerts=("warning inconsistent-labels s -",),
    ),
    Case(
        "one that was due before its key's replacement was created is not followed",
        snap(
            [secret("s", {"v2": "CURRENT key:K2", "v1": "key:K1 retire:K1:-2d"})],
            [key(age=DAY * 2), key("K2", age=DAY)],
        ),
        alerts=("warning inconsistent-labels s -",),
    ),
    Case(
        "one of a rolled back key is followed: it was replaced by an older key, and that by a newer one",
        snap(
            [secret("s", {"v3": "CURRENT key:K3", "v2": "key:K2 retire:K2:-1h", "v1": "key:K1 retire:K1:+71h"})],
            [key(age=9 * DAY), key("K2", age=8 * DAY), key("K3", age=0 * DAY)],
        ),
        actions=("revoke grace-over s K2@v2",),
    ),
    Case(
        "an emergency's own labels are not suspicious",
        snap(
            [replace(REPLACED, versions={EMERGENCY if v == vid("v2") else v: w for v, w in REPLACED.versions.items()})],
            [key(age=DAY), key("K2", age=0 * DAY)],
        ),
        actions=("revoke grace-over s K1@v1",),
    ),
)


def test_a_suspicious_label_is_named_with_the_command_that_removes_it() -> None:
    (alert,) = SUSPICIOUS[1].plan().alerts
    version, label = vid("v1"), f"rotator:retire:K1:{at('+400d'):%Y%m%dT%H%M%SZ}"
    assert alert.detail == (
        f"the label {label} is later than the tag rotator:grace allows; find out who wrote it; to remove it: `aws "
        f"secretsmanager update-secret-version-stage --secret-id s --version-stage {label} --remove-from-version-id "
        f"{version}`"
    )


@pytest.mark.parametrize("case", [*ADOPTION, *SUPERSEDED, *STALE, *SUSPICIOUS], ids=str)
def test_labels(case: Case) -> None:
    case.check()


def test_a_stale_label_is_named_in_the_detail_with_the_version_that_carries_it() -> None:
    case = next(case for case in STALE if case.name.startswith("rolled back by hand: "))
    first, second, _ = case.plan().actions
    assert (first.version_id, first.detail) == (vid("v2"), "AWSPENDING")
    assert (second.version_id, second.detail) == (vid("v1"), "rotator:retire:K1:20260301T090000Z")


def test_labels_are_due_now_and_cost_nothing() -> None:
    for case in (*ADOPTION, *SUPERSEDED, *STALE):
        for action in case.plan().actions:
            if action.kind.value in ("label", "retire"):
                assert (action.due_at, action.deadline, action.costs_update) == (NOW, None, False)


def test_what_is_superseded_gets_its_whole_grace_from_now() -> None:
    entry = secret("s", {"v2": "CURRENT key:K2", "v1": "PREVIOUS key:K1"}, grace="36h")
    (action,) = Case("", snap([entry], [key(), key("K2")])).plan().actions
    assert action.detail == "revoked from 03 Mar 21:00 UTC on"


def test_after_a_rollback_by_hand_the_newer_key_is_not_revoked_before_a_retire_label_was_there() -> None:
    """A crash or a hand can only make a grace longer: the version never was told when it ends."""
    entry = secret("s", {"v1": "CURRENT key:K1 retire:K1:-1d", "v2": "PREVIOUS key:K2"})
    later = Case("", snap([entry], [key(), key("K2")]), now=at("+90d"))
    assert [action.kind for action in later.plan().actions if action.key_id == "K2"] == ["retire"]
