"""Does a key belong to a version, and what proves it: by name, by value, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rotator.model import Key, Resolution, SecretEntry
from rotator.policy.labels import key_name
from rotator.policy.ownership import Ownership, OwnershipProof, is_current
from tests.policy.build import DAY, Case, arn_of, key, own, secret, snap, vid
from tests.policy.tables import table

S = secret("s", {"v2": "CURRENT key:K2", "v1": "PREVIOUS key:K1"})
NO_KEY = Resolution(None, "its value is no key", known_foreign=True)
DENIED = Resolution(None, "kms:Decrypt is denied")
MINE = own("s", "v1")
ELSEWHERE = key_name("s", arn_of("s", "eu-west-1"), "default", vid("v1"))
OLDER = f"s/rotator:default:{vid('v1')}"


def proof(
    *keys: Key, value: Resolution | str | None = None, version: str = "v1", of: str = "K1", entry: SecretEntry = S
) -> OwnershipProof:
    """What proves that a key is what a version of ``s`` holds.

    :param value: what reading the version's value gave, if it was read.
    """
    values = {} if value is None else {("s", version): value}
    return Ownership(snap([entry], keys, values=values), "default").of(entry, vid(version), of)


OF_NAMES: tuple[tuple[str, list[Key]], ...] = (
    ("by-name", [key(name=MINE)]),
    ("by-name", [key(name=MINE, enabled=False)]),
    ("by-name", [key(name=MINE), key("K7", name=MINE, enabled=False)]),
    ("unread", [key(name=MINE), key("K7", name=MINE)]),
    ("unread", [key(name=MINE, enabled=False), key("K7", name=MINE)]),
    ("unread", []),
    *(("unread", [key(name=name)]) for name in (own("s", "v9"), own("t", "v1"), own("s", "v1", "blue"), ELSEWHERE)),
    *(("unread", [key(name=name)]) for name in (OLDER, MINE + " ", "x" + MINE, vid("v1"), "")),
)


@pytest.mark.parametrize(("expected", "keys"), OF_NAMES)
def test_by_name(expected: str, keys: list[Key]) -> None:
    """Exactly the name of this version, and no second enabled key has it."""
    assert str(proof(*keys)) == expected


NAMESAKES = [key(name=MINE), key("K7", name=MINE)]
OF_VALUES: tuple[tuple[str, list[Key], Resolution | str | None], ...] = (
    ("by-value", [key()], "K1"),
    ("by-value", [], "K1"),
    ("by-value", NAMESAKES, "K1"),
    ("by-value", [key(name=OLDER)], "K1"),
    ("by-value", [key(name=own("t", "v1"))], "K1"),
    ("none", [key()], "K7"),
    ("none", [key()], NO_KEY),
    ("none", NAMESAKES, "K7"),
    ("unreadable", [key()], DENIED),
    ("unread", [key()], None),
    ("by-name", [key(name=MINE)], "K7"),
    ("by-name", [key(name=MINE)], DENIED),
)


@pytest.mark.parametrize(("expected", "keys", "value"), OF_VALUES)
def test_by_value(expected: str, keys: list[Key], value: Resolution | str | None) -> None:
    found = proof(*keys, value=value)
    assert str(found) == expected
    assert found.ok is expected.startswith("by-")


def test_current_value_proves_current_only() -> None:
    snapshot = snap([S], [key(), key("K2")], values={("s", "v2"): "K2"})
    ownership = Ownership(snapshot, "default")
    assert is_current(S, vid("v2"))
    assert not is_current(S, vid("v1"))
    assert not is_current(S, "no version")
    assert ownership.of(S, vid("v2"), "K2") is OwnershipProof.BY_VALUE
    assert ownership.of(S, vid("v2"), "K1") is OwnershipProof.NONE
    assert ownership.of(S, vid("v1"), "K2") is OwnershipProof.UNREAD
    assert ownership.resolution(S, vid("v1")) is None


def test_key_as_it_was_read_last_counts() -> None:
    """It was renamed in the portal after the listing, or was not listed."""
    listed = snap([S], [key(name=MINE)])
    assert Ownership(listed, "default").of(S, vid("v1"), "K1", key(name="renamed")) is OwnershipProof.UNREAD
    assert Ownership(snap([S]), "default").of(S, vid("v1"), "K1", key(name=MINE)) is OwnershipProof.BY_NAME
    namesake = snap([S], [key("K7", name=MINE)])
    assert Ownership(namesake, "default").of(S, vid("v1"), "K1", key(name=MINE)) is OwnershipProof.UNREAD


def test_unwritable_name_proves_nothing() -> None:
    nameless, odd = replace(S, name=""), replace(S, versions={"v1": S.versions[vid("v1")]})
    assert proof(key(name=f"/rotator:default:{vid('v1')}"), entry=nameless) is OwnershipProof.UNREAD
    assert (
        Ownership(snap([odd], [key(name="s/rotator:default:v1")]), "default").of(odd, "v1", "K1")
        is OwnershipProof.UNREAD
    )
    assert Ownership(snap([S], [key(name="")]), "default").of(S, "", "K1") is OwnershipProof.UNREAD


@pytest.mark.parametrize(
    ("name", "foreign"),
    [
        (MINE, False),
        (own("s", "v9"), False),
        ("by hand", False),
        (OLDER, False),
        (f"t/rotator:blue:{vid('v1')}", False),
        (own("t", "v1"), True),
        (own("s", "v1", "blue"), True),
        (ELSEWHERE, True),
    ],
)
def test_foreign_by_arn_or_deployment(name: str, foreign: bool) -> None:
    assert Ownership(snap([S]), "default").is_foreign(S, key(name=name)) is foreign


@pytest.mark.parametrize(
    ("name", "ours"),
    [(MINE, True), (own("gone", "v1"), True), (OLDER, True), (own("s", "v1", "blue"), False), ("by hand", False)],
)
def test_name_is_our_own_by_its_deployment(name: str, ours: bool) -> None:
    assert (Ownership(snap([S]), "default").own_name(key(name=name)) is not None) is ours


# ---- what the planner makes of it -----------------------------------------------------------------------------------

PROOFS = table(
    """
    revoked: both keys are proven by name
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h}; K1 for=s@v1; K2 for=s@v2
        -> revoke grace-over s K1@v1; search K1
    revoked: nothing is known yet
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h}; K1; K2
        -> revoke grace-over s K1@v1; read s v1; read s v2; search K1
    revoked: the old one by name
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h}; K1 for=s@v1; K2
        -> revoke grace-over s K1@v1; read s v2; search K1
    revoked: both by value
        s {v2 CURRENT key:K2 value=K2} {v1 PREVIOUS key:K1 retire:K1:-1h value=K1}; K1; K2; with found=K1:
        -> revoke grace-over s K1@v1
    revoked: the old version can't be read, but the name proves it
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h value=unreadable}; K1 for=s@v1; K2 for=s@v2
        -> revoke grace-over s K1@v1; search K1
    kept: the old version holds another key
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h value=K7}; K1; K2 -> error unproven-label s K1
    kept: the old version can't be read
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h value=unreadable}; K1; K2
        -> skip s unreadable; error unreadable s K1
    kept: some value holds it
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h}; K1 for=s@v1; K2 for=s@v2; with found=K1:t
        -> skip s shared-key; warning shared-key s K1
    kept: named for another deployment
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h}; K1 for=s@v1@blue; K2
        -> warning other-deployment-key s K1
    kept: named for another secret
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h}; K1 for=t@v1; K2 -> warning other-deployment-key s K1
    retired by name
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1}; K1 for=s@v1; K2 for=s@v2 -> retire superseded s K1@v1
    not retired: not proven
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 value=K7}; K1; K2 -> error unproven-label s K1
    not retired: named for another secret
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1}; K1 for=t@v1; K2 -> warning other-deployment-key s K1
    resumed: a pending label, not known yet
        s {v1 CURRENT key:K1} {v2 PENDING key:K2}; K1 for=s@v1; K2 -> resume pending s K2@v2; read s v2
    not resumed: whoever writes a label under AWSPENDING gets nothing promoted, and no key revoked
        s {v1 CURRENT key:K1} {v2 PENDING key:K2 value=foreign}; K1 for=s@v1; K2 -> error unproven-label s K2
    scopes are inherited, not known yet
        s; K1 left=1d -> rotate expiring s K1@v1; read s v1
    scopes are inherited by value, though it is named for another secret
        s {v1 CURRENT key:K1 value=K1}; K1 left=1d for=t@v1
        -> rotate expiring s K1@v1; warning other-deployment-key s K1
    scopes are not inherited: the value is no key
        s {v1 CURRENT key:K1 value=foreign}; K1 left=1d -> skip s unproven-label; error unproven-label s K1
    not rotated by its label: the value can't be read
        s {v1 CURRENT key:K1 value=unreadable}; K1 left=1d -> skip s unreadable; error unreadable s K1
    every key here is another deployment's: the setting is suspected
        s; t {v1 CURRENT key:K2}; K1 for=s@v1@blue; K2
        -> warning other-deployment-key - -; warning other-deployment-key s K1; read s v1
    one key is this deployment's: the setting is right
        s; t {v1 CURRENT key:K2}; K1 for=s@v1@blue; K2 for=t@v1
        -> warning other-deployment-key s K1; read s v1
    an idle sweep asks for nothing
        s; K1
    """,
    asks=True,
)


@pytest.mark.parametrize("case", PROOFS, ids=str)
def test_work_needs_proof_first(case: Case) -> None:
    case.check()


def test_disabled_keys_are_read_if_slot_used() -> None:
    idle = replace(snap([secret("s")], [key(name=MINE)]), disabled_keys=False)
    assert not Case("", idle).check().questions
    due = replace(snap([secret("s")], [key(name=MINE, left=DAY)]), disabled_keys=False)
    plan = Case("", due).plan()
    assert plan.questions.disabled_keys
    assert plan.quota.updates_used is None
    assert not Case("", replace(due, disabled_keys=True)).plan().questions.disabled_keys
