"""Does a key belong to a version, and what proves it: by name, by value, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rotator.model import Key, Resolution, SecretEntry
from rotator.policy.labels import key_name
from rotator.policy.ownership import Ownership, OwnershipProof, is_current
from tests.policy.build import DAY, Case, arn_of, key, own, secret, snap, vid

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
    held = {} if value is None else {("s", version): value}
    return Ownership(snap([entry], keys, held=held), "default").proof(entry, vid(version), of)


BY_NAME: tuple[tuple[str, list[Key], OwnershipProof], ...] = (
    ("exactly the name of this version", [key(name=MINE)], OwnershipProof.BY_NAME),
    ("a disabled key of that name", [key(name=MINE, enabled=False)], OwnershipProof.BY_NAME),
    ("another version's name", [key(name=own("s", "v9"))], OwnershipProof.UNREAD),
    ("another secret's name", [key(name=own("t", "v1"))], OwnershipProof.UNREAD),
    ("another deployment's name", [key(name=own("s", "v1", "blue"))], OwnershipProof.UNREAD),
    ("the name of the same secret in another region", [key(name=ELSEWHERE)], OwnershipProof.UNREAD),
    ("a name of the older form", [key(name=OLDER)], OwnershipProof.UNREAD),
    ("the name with something behind it", [key(name=MINE + " ")], OwnershipProof.UNREAD),
    ("the name with something before it", [key(name="x" + MINE)], OwnershipProof.UNREAD),
    ("only the version id", [key(name=vid("v1"))], OwnershipProof.UNREAD),
    ("no name", [key(name="")], OwnershipProof.UNREAD),
    ("a second enabled key of that name", [key(name=MINE), key("K7", name=MINE)], OwnershipProof.UNREAD),
    (
        "a second key of that name, disabled",
        [key(name=MINE), key("K7", name=MINE, enabled=False)],
        OwnershipProof.BY_NAME,
    ),
    (
        "disabled, and an enabled one of that name",
        [key(name=MINE, enabled=False), key("K7", name=MINE)],
        OwnershipProof.UNREAD,
    ),
    ("not found", [], OwnershipProof.UNREAD),
)


@pytest.mark.parametrize(("what", "keys", "expected"), BY_NAME, ids=[row[0] for row in BY_NAME])
def test_by_name(what: str, keys: list[Key], expected: OwnershipProof) -> None:
    assert proof(*keys) is expected
    assert expected.ok is (expected is OwnershipProof.BY_NAME)


BY_VALUE: tuple[tuple[str, list[Key], Resolution | str | None, OwnershipProof], ...] = (
    ("the value is this key", [key()], "K1", OwnershipProof.BY_VALUE),
    ("the value is this key, which is not listed", [], "K1", OwnershipProof.BY_VALUE),
    ("the value is another key", [key()], "K7", OwnershipProof.NONE),
    ("the value is no key", [key()], NO_KEY, OwnershipProof.NONE),
    ("the value can't be read", [key()], DENIED, OwnershipProof.UNREADABLE),
    ("the value was not read", [key()], None, OwnershipProof.UNREAD),
    ("the value is another key, and the name is right", [key(name=MINE)], "K7", OwnershipProof.BY_NAME),
    ("the value can't be read, and the name is right", [key(name=MINE)], DENIED, OwnershipProof.BY_NAME),
    (
        "two of that name, and the value is this one",
        [key(name=MINE), key("K7", name=MINE)],
        "K1",
        OwnershipProof.BY_VALUE,
    ),
    ("two of that name, and the value is the other", [key(name=MINE), key("K7", name=MINE)], "K7", OwnershipProof.NONE),
    ("a name of the older form, and the value", [key(name=OLDER)], "K1", OwnershipProof.BY_VALUE),
    ("another secret's name, and the value", [key(name=own("t", "v1"))], "K1", OwnershipProof.BY_VALUE),
)


@pytest.mark.parametrize(("what", "keys", "value", "expected"), BY_VALUE, ids=[row[0] for row in BY_VALUE])
def test_by_value(what: str, keys: list[Key], value: Resolution | str | None, expected: OwnershipProof) -> None:
    assert proof(*keys, value=value) is expected
    assert expected.ok is (expected in (OwnershipProof.BY_NAME, OwnershipProof.BY_VALUE))


def test_what_the_current_value_is_says_nothing_of_another_version() -> None:
    snapshot = snap([S], [key(), key("K2")], resolved={"s": "K2"})
    ownership = Ownership(snapshot, "default")
    assert is_current(S, vid("v2"))
    assert not is_current(S, vid("v1"))
    assert not is_current(S, "no version")
    assert ownership.proof(S, vid("v2"), "K2") is OwnershipProof.BY_VALUE
    assert ownership.proof(S, vid("v2"), "K1") is OwnershipProof.NONE
    assert ownership.proof(S, vid("v1"), "K2") is OwnershipProof.UNREAD
    assert ownership.resolution(S, vid("v1")) is None


def test_the_key_as_it_was_read_last_counts() -> None:
    """It was renamed in the portal after the listing, or was not listed."""
    listed = snap([S], [key(name=MINE)])
    assert Ownership(listed, "default").proof(S, vid("v1"), "K1", key(name="renamed")) is OwnershipProof.UNREAD
    assert Ownership(snap([S]), "default").proof(S, vid("v1"), "K1", key(name=MINE)) is OwnershipProof.BY_NAME
    namesake = snap([S], [key("K7", name=MINE)])
    assert Ownership(namesake, "default").proof(S, vid("v1"), "K1", key(name=MINE)) is OwnershipProof.UNREAD


def test_a_name_that_can_not_be_written_proves_nothing() -> None:
    nameless, odd = replace(S, name=""), replace(S, versions={"v1": S.versions[vid("v1")]})
    assert proof(key(name=f"/rotator:default:{vid('v1')}"), entry=nameless) is OwnershipProof.UNREAD
    assert (
        Ownership(snap([odd], [key(name="s/rotator:default:v1")]), "default").proof(odd, "v1", "K1")
        is OwnershipProof.UNREAD
    )
    assert Ownership(snap([S], [key(name="")]), "default").proof(S, "", "K1") is OwnershipProof.UNREAD


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
def test_a_foreign_key_is_named_for_another_arn_or_deployment(name: str, foreign: bool) -> None:
    assert Ownership(snap([S]), "default").is_foreign(S, key(name=name)) is foreign


@pytest.mark.parametrize(
    ("name", "ours"),
    [(MINE, True), (own("gone", "v1"), True), (OLDER, True), (own("s", "v1", "blue"), False), ("by hand", False)],
)
def test_a_name_is_our_own_by_its_deployment(name: str, ours: bool) -> None:
    assert (Ownership(snap([S]), "default").own_name(key(name=name)) is not None) is ours


# ---- what the planner makes of it -----------------------------------------------------------------------------------

OLD = {"v2": "CURRENT key:K2", "v1": "PREVIOUS key:K1 retire:K1:-1h"}
FIRST, SECOND = own("s", "v1"), own("s", "v2")
REVOKED = "revoke grace-over s K1@v1"


def asked(case: Case) -> tuple[set[str], set[str]]:
    """The versions whose value must be read first, and the keys for which all values must be searched."""
    questions = case.check().questions
    return {version.lstrip("0")[:2] for _, version in questions.versions}, set(questions.copies)


def retiring(name: str, first: str = "by hand", second: str = "by hand", **more: object) -> Case:
    """``s`` with ``K1``, whose grace is over, and ``K2``, both of these names at Infobip."""
    versions = more.pop("versions", OLD)
    snapshot = snap(
        [secret("s", versions)],  # type: ignore[arg-type]
        [key(name=first), key("K2", name=second)],
        held=more.pop("held", None),  # type: ignore[arg-type]
        resolved=more.pop("resolved", None),  # type: ignore[arg-type]
        copies=more.pop("copies", None),  # type: ignore[arg-type]
    )
    return Case(name, snapshot, **more)  # type: ignore[arg-type]


REVOCATIONS: tuple[tuple[Case, set[str], set[str]], ...] = (
    (retiring("both by name", FIRST, SECOND, actions=(REVOKED,)), set(), {"K1"}),
    (retiring("nothing is known yet", actions=(REVOKED,)), {"v1", "v2"}, {"K1"}),
    (retiring("the old one by name", FIRST, actions=(REVOKED,)), {"v2"}, {"K1"}),
    (
        retiring(
            "both by value", held={("s", "v1"): "K1"}, resolved={"s": "K2"}, actions=(REVOKED,), copies={"K1": ()}
        ),
        set(),
        set(),
    ),
    (
        retiring(
            "the old version holds another key",
            held={("s", "v1"): "K7"},
            alerts=("error unproven-label s K1",),
        ),
        set(),
        set(),
    ),
    (
        retiring("the old version holds no key", held={("s", "v1"): NO_KEY}, alerts=("error unproven-label s K1",)),
        set(),
        set(),
    ),
    (
        retiring(
            "the old version can't be read",
            held={("s", "v1"): DENIED},
            skipped=("s unreadable",),
            alerts=("error unreadable s K1",),
        ),
        set(),
        set(),
    ),
    (
        retiring(
            "the old version can't be read, but the name proves it",
            FIRST,
            SECOND,
            held={("s", "v1"): DENIED},
            actions=(REVOKED,),
        ),
        set(),
        {"K1"},
    ),
    (
        retiring(
            "some value holds it",
            FIRST,
            SECOND,
            copies={"K1": ("t",)},
            skipped=("s shared-key",),
            alerts=("warning shared-key s K1",),
        ),
        set(),
        set(),
    ),
    (
        retiring("named for another deployment", own("s", "v1", "blue"), alerts=("warning foreign-key s K1",)),
        set(),
        set(),
    ),
    (
        retiring("named for the same secret in another region", ELSEWHERE, alerts=("warning foreign-key s K1",)),
        set(),
        set(),
    ),
    (retiring("a name of the older form", OLDER, actions=(REVOKED,)), {"v1", "v2"}, {"K1"}),
)


@pytest.mark.parametrize(("case", "versions", "copies"), REVOCATIONS, ids=[case.name for case, _, _ in REVOCATIONS])
def test_a_key_is_revoked_on_a_proof(case: Case, versions: set[str], copies: set[str]) -> None:
    assert asked(case) == (versions, copies)


SUPERSEDED = {"v2": "CURRENT key:K2", "v1": "PREVIOUS key:K1"}
RETIRED = "retire superseded s K1@v1"
RETIREMENTS: tuple[tuple[Case, set[str]], ...] = (
    (retiring("by name", FIRST, SECOND, versions=SUPERSEDED, actions=(RETIRED,)), set()),
    (retiring("not known yet", versions=SUPERSEDED, actions=(RETIRED,)), {"v1"}),
    (
        retiring("not proven", versions=SUPERSEDED, held={("s", "v1"): "K7"}, alerts=("error unproven-label s K1",)),
        set(),
    ),
    (
        retiring(
            "foreign: it gets no retire label", ELSEWHERE, versions=SUPERSEDED, alerts=("warning foreign-key s K1",)
        ),
        set(),
    ),
)


@pytest.mark.parametrize(("case", "versions"), RETIREMENTS, ids=[case.name for case, _ in RETIREMENTS])
def test_a_retire_label_needs_a_proof(case: Case, versions: set[str]) -> None:
    assert asked(case) == (versions, set())


def test_a_pending_label_without_a_proof_is_ignored() -> None:
    """Whoever writes a label under AWSPENDING gets nothing promoted, and no key revoked."""
    entry = secret("s", {"v1": "CURRENT key:K1", "v2": "PENDING key:PROD"})
    keys = [key(name=FIRST), key("PROD")]
    case = Case("", snap([entry], keys), actions=("resume pending s PROD@v2",))
    assert asked(case) == ({"v2"}, set())
    forged = snap([entry], keys, held={("s", "v2"): NO_KEY})
    assert asked(Case("", forged, alerts=("error unproven-label s PROD",))) == (set(), set())


ROTATED = "rotate expiring s K1@v1"
Words = tuple[str, ...]
SCOPES_OF: tuple[tuple[str, str, Resolution | str | None, Words, Words, Words, set[str]], ...] = (
    ("by name", FIRST, None, (ROTATED,), (), (), set()),
    ("not known yet", "by hand", None, (ROTATED,), (), (), {"v1"}),
    ("by value", "by hand", "K1", (ROTATED,), (), (), set()),
    (
        "by value, though named for another secret",
        own("t", "v1"),
        "K1",
        (ROTATED,),
        (),
        ("warning foreign-key s K1",),
        set(),
    ),
    ("no key", "by hand", NO_KEY, (), ("s unproven-label",), ("error unproven-label s K1",), set()),
)


@pytest.mark.parametrize(
    ("what", "name", "value", "actions", "skipped", "alerts", "versions"), SCOPES_OF, ids=[row[0] for row in SCOPES_OF]
)
def test_scopes_are_inherited_on_a_proof_only(
    what: str,
    name: str,
    value: Resolution | str | None,
    actions: tuple[str, ...],
    skipped: tuple[str, ...],
    alerts: tuple[str, ...],
    versions: set[str],
) -> None:
    snapshot = snap([secret("s")], [key(name=name, left=DAY)], resolved=None if value is None else {"s": value})
    assert asked(Case(what, snapshot, actions=actions, skipped=skipped, alerts=alerts)) == (versions, set())


def test_a_secret_that_can_not_be_read_is_not_rotated_by_its_label() -> None:
    """The alert says that it can't be read, not that its label is wrong."""
    snapshot = snap([secret("s")], [key(left=DAY)], resolved={"s": DENIED})
    Case("", snapshot, skipped=("s unreadable",), alerts=("error unreadable s K1",)).check()


def test_an_idle_sweep_asks_for_nothing() -> None:
    snapshot = snap([S, secret("t", {"v1": "CURRENT key:T"})], [key(), key("K2"), key("T")])
    calm = replace(snapshot, secrets=snapshot.secrets[1:], history=False)
    assert not Case("", calm).check().questions


def test_disabled_keys_are_asked_for_where_a_slot_is_used() -> None:
    idle = replace(snap([secret("s")], [key(name=FIRST)]), history=False)
    assert not Case("", idle).check().questions.history
    due = replace(snap([secret("s")], [key(name=FIRST, left=DAY)]), history=False)
    plan = Case("", due, actions=(ROTATED,)).check()
    assert plan.questions.history
    assert plan.quota.updates_used is None
    assert not Case("", replace(due, history=True), actions=(ROTATED,)).check().questions.history
