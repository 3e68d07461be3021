"""Keys that no secret holds: which are revoked, which are only reported, over the composed chain and alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rotator.model import Key, Policy, Resolution
from rotator.policy.labels import key_name, parse_key_name
from rotator.policy.ownership import Ownership
from tests.policy.build import DAY, HOUR, MINUTE, NOW, SECOND, Case, arn_of, at, key, own, secret, snap, vid

S = secret("s")
LONG = "p" * 250
"""The names of keys of two secrets whose names begin with it are cut; the digest of the ARN tells them apart."""


def orphan(key_id: str = "Z", version: str = "v8", of: str = "s", **changes: object) -> Key:
    """A key made for a version that does not exist, an hour old."""
    return replace(key(key_id, age=HOUR, name=own(of, version)), **changes)  # type: ignore[arg-type]


def row(name: str, *keys: Key, actions: tuple[str, ...] = (), alerts: tuple[str, ...] = ()) -> Case:
    return Case(name, snap([S], [key(), *keys]), actions=actions, alerts=alerts)


GOES = ("revoke orphan s Z@v8",)
UNSEEN = ("warning orphan-unproven - Z",)
ORPHANS = (
    row("made for a version that does not exist", orphan(), actions=GOES),
    row("30 minutes old", orphan(valid_from=NOW - 30 * MINUTE), actions=GOES),
    row("a second younger", orphan(valid_from=NOW - 30 * MINUTE + SECOND)),
    row("of unknown age", orphan(valid_from=None)),
    row("by another deployment", replace(orphan(), name=own("s", "v8", "blue"))),
    *(
        row(f"for a secret of that name {where}", orphan(name=key_name("s", arn, "default", vid("v8"))), alerts=UNSEEN)
        for where, arn in (
            ("in another region", arn_of("s", "eu-west-1")),
            ("in another AWS account", arn_of("s").replace("123456789012", "210987654321")),
            ("that was deleted and created again", arn_of("s").replace("AbCdEf", "GhIjKl")),
        )
    ),
    row("by a name of the older form", orphan(name=f"s/rotator:default:{vid('v8')}"), alerts=UNSEEN),
    row("not begun: its validFrom lies ahead", orphan(valid_from=NOW + HOUR)),
    row("by a name that only looks like ours", replace(orphan(), name=f"s/rotator:default:{vid('v8')} ")),
    row("without any name", replace(orphan(), name="")),
    row("disabled", orphan(enabled=False)),
    row("ended this second", orphan(valid_to=NOW)),
    row("about to end", orphan(valid_to=NOW + SECOND), actions=GOES),
    row("without an end", orphan(valid_to=None), actions=GOES),
    row(
        "its version is the current one, which is another key's: a key of that name was made by hand",
        orphan(version="v1"),
        alerts=("warning key-re-enabled s Z",),
    ),
    row(
        "for no managed secret",
        orphan(of="gone"),
        alerts=UNSEEN,
    ),
    row("for no managed secret, but too young to say", orphan(of="gone", valid_from=NOW - 29 * MINUTE)),
    row(
        "two of them, by their ids",
        orphan("Z2", "v8"),
        orphan("Z1", "v9"),
        actions=(
            "revoke orphan s Z1@v9",
            "revoke orphan s Z2@v8",
        ),
    ),
    Case(
        "its version exists without a label of ours",
        snap([secret("s", {"v1": "CURRENT key:K1", "v8": "PREVIOUS"})], [key(), orphan()]),
        alerts=("warning key-re-enabled s Z",),
    ),
    Case(
        "its version is the current one, whose label was taken off",
        snap([secret("s", {"v8": "CURRENT"})], [orphan()], resolved={"s": Resolution(None, "x", known_foreign=True)}),
        skipped=("s unadopted",),
        alerts=("error unadopted s -", "warning key-re-enabled s Z"),
    ),
    Case(
        "its version exists without a label of ours, in a secret that is skipped: only reported there too",
        snap([secret("s", {"v1": "CURRENT key:K1", "v8": "PREVIOUS"}, hold="x")], [key(), orphan()]),
        skipped=("s hold",),
        alerts=("warning key-re-enabled s Z",),
    ),
    Case(
        "its version exists and is another key's",
        snap(
            [secret("s", {"v1": "CURRENT key:K1", "v8": "PREVIOUS key:K8 retire:K8:+1d"})], [key(), key("K8"), orphan()]
        ),
        alerts=("warning key-re-enabled s Z",),
    ),
    Case(
        "some managed secret's value was found to hold it",
        snap([S, secret("t", {"v1": "CURRENT key:T"})], [key(), key("T"), orphan()], copies={"Z": ("t",)}),
        alerts=("warning key-re-enabled s Z",),
    ),
    Case(
        "no managed secret's value was found to hold it", snap([S], [key(), orphan()], copies={"Z": ()}), actions=GOES
    ),
    Case(
        "for a secret whose label is wrong, as its value shows",
        snap([S], [key(), orphan()], resolved={"s": Resolution(None, "no key", known_foreign=True)}),
        skipped=("s unproven-label",),
        alerts=("error unproven-label s K1",),
    ),
    Case(
        "for a secret with a tag that can't be read",
        snap([secret("s", grace="soon")], [key(), orphan()]),
        skipped=("s misconfigured",),
        alerts=("error misconfigured s K1",),
    ),
    Case(
        "for a replica",
        snap([secret("s", primary="us-east-1")], [key(), orphan()]),
        skipped=("s replica",),
    ),
    Case(
        "named by a label, on whatever version",
        snap([secret("s", {"v1": "CURRENT key:K1", "v3": "key:Z retire:Z:+3d"})], [key(), orphan()]),
    ),
    Case(
        "named by a retire label only",
        snap([secret("s", {"v1": "CURRENT key:K1", "v3": "retire:Z:+3d"})], [key(), orphan()]),
    ),
    Case(
        "named by a label of another secret",
        snap([S, secret("t", {"v1": "CURRENT key:Z"})], [key(), orphan()]),
        alerts=("warning foreign-key t Z",),
    ),
    Case(
        "named by a label of a secret of another account",
        snap([S], [key(), orphan()], others=[secret("t", {"v1": "CURRENT key:Z"}, account="other")]),
    ),
    Case(
        "found in a value that has no label",
        snap([S, secret("t", {"v1": "CURRENT"})], [key(), orphan()], resolved={"t": "Z"}),
        actions=("label unadopted t Z@v1",),
        alerts=("warning foreign-key t Z",),
    ),
    Case(
        "for a secret of another account, where its version does not exist",
        snap([S], [key(), orphan(of="t")], others=[secret("t", {"v1": "CURRENT key:Q"}, account="other")]),
        actions=("revoke orphan t Z@v8",),
    ),
    Case(
        "for a secret of another account, where its version exists",
        snap([S], [key(), orphan(of="t")], others=[secret("t", {"v8": "PREVIOUS"}, account="other")]),
        alerts=("warning key-re-enabled t Z",),
    ),
    Case(
        "for a secret on hold",
        snap([secret("s", hold="x")], [key(), orphan()]),
        skipped=("s hold",),
    ),
    Case(
        "for a secret whose value nobody knows",
        snap([secret("s", {"v1": "CURRENT"})], [orphan()]),
        actions=GOES,
        skipped=("s unadopted",),
        alerts=("error unadopted s -",),
    ),
    Case(
        "for a secret that has no value and no scopes",
        snap([secret("s", {})], [orphan()]),
        actions=GOES,
        skipped=("s empty",),
        alerts=("error empty s -",),
    ),
    Case(
        "for a secret that is pending deletion",
        snap([secret("s", deleted=NOW)], [key(), orphan()]),
        skipped=("s pending-deletion",),
    ),
    Case(
        "it is what goes on: made for a secret that is due, its value can be read",
        snap([S], [key(left=DAY), orphan(value_readable=True)]),
        actions=("resume expiring s Z@v8",),
    ),
    Case(
        "for a secret whose name is too long to be told whole",
        snap(
            [secret(LONG + "1"), secret(LONG + "2", {"v1": "CURRENT key:L"})], [key(), key("L"), orphan(of=LONG + "1")]
        ),
        actions=(f"revoke orphan {LONG}1 Z@v8",),
    ),
    Case(
        "the other of two secrets whose names are cut has its version: that proves nothing",
        snap(
            [secret(LONG + "1"), secret(LONG + "2", {"v8": "CURRENT"})],
            [key(), orphan(of=LONG + "1"), key("L")],
            resolved={LONG + "2": "L"},
        ),
        actions=(f"label unadopted {LONG}2 L@v8", f"revoke orphan {LONG}1 Z@v8"),
    ),
)

ENDS = ("warning unknown-key-expiring - U",)
UNKNOWN = (
    row("a stranger's key ends in 14 days", key("U", left=14 * DAY), alerts=ENDS),
    row("a stranger's key ends a second later", key("U", left=14 * DAY + SECOND)),
    row("a stranger's key ends in a second", key("U", left=SECOND), alerts=ENDS),
    row("a stranger's key has ended", key("U", left=0 * DAY)),
    row("a stranger's key is disabled", key("U", left=DAY, enabled=False)),
    row("a stranger's key does not end", key("U", left=None)),
    row("another deployment's key", key("U", left=DAY, name=own("s", "v8", "blue"))),
    Case(
        "a managed secret's key, in grace",
        snap([secret("s", {"v2": "CURRENT key:K1", "v1": "PREVIOUS key:U retire:U:+1d"})], [key(), key("U", left=DAY)]),
    ),
    Case(
        "a key of a secret of another account",
        snap([S], [key(), key("U", left=DAY)], others=[secret("t", {"v1": "CURRENT key:U"}, account="other")]),
    ),
)


@pytest.mark.parametrize("case", [*ORPHANS, *UNKNOWN], ids=str)
def test_keys_without_a_secret(case: Case) -> None:
    case.check()


def test_an_orphans_end_is_due_since_it_is_30_minutes_old_and_costs_an_update() -> None:
    (action,) = row("", orphan()).plan().actions
    assert (action.due_at, action.deadline, action.costs_update) == (at("-30m"), None, True)
    assert (action.account, action.arn) == ("main", S.arn)


def test_a_deployment_knows_only_its_own_keys() -> None:
    blue = Policy(deployment="blue")
    mine, other = orphan(name=own("s", "v8", "blue")), orphan("Y")
    ownership = Ownership(snap([S], [mine, other]), "blue")
    assert ownership.own_name(other) is None
    assert ownership.own_name(mine) == parse_key_name(mine.name)
    Case("", snap([S], [key(), mine, other]), policy=blue, actions=GOES).check()


def test_outside_text_in_an_alert_is_printable() -> None:
    snapshot = snap([S], [key(), key("U", left=DAY, name="evil\x1b[2J\n"), orphan(name=own("no\nline", "v8"))])
    for alert in Case("", snapshot).plan().alerts:
        assert alert.detail.isprintable()


def test_a_key_for_a_secret_of_the_same_name_elsewhere_is_not_called_unused() -> None:
    """The other region's sweep finds it in use: the alert must not tell the reader that ``s`` is missing here."""
    elsewhere = orphan(name=key_name("s", arn_of("s", "eu-west-1"), "default", vid("v8")))
    (alert,) = row("", elsewhere).plan().alerts
    assert "is named for s of an ARN that is not seen here: of another region or AWS account" in alert.detail
    assert "where it may be in use" in alert.detail


def test_an_orphan_is_searched_for_in_all_values_before_it_goes() -> None:
    """Somebody may have put its value into a secret by hand; which one, no label says."""
    plan = row("", orphan(), orphan("Y", "v9", valid_from=NOW)).plan()
    assert plan.questions.copies == {"Z": None}
    assert plan.questions.versions == frozenset()
    held = snap([S, secret("t", {"v1": "CURRENT key:T"})], [key(), key("T"), orphan()], copies={"Z": ("t",)})
    (alert,) = Case("", held).plan().alerts
    assert "t holds it" in alert.detail
    assert "`rotator revoke --key-id Z --account main --reason ...`" in alert.detail


def test_a_key_that_lives_on_is_reported_for_the_secret_that_it_is_named_for() -> None:
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
