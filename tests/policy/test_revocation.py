"""When a superseded key is revoked, to the second, and what blocks it; over the composed chain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from rotator.model import Key, Resolution, SecretEntry
from tests.policy.build import DAY, HOUR, NOW, SECOND, Case, at, key, secret, snap, tagged

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


def with_due(
    name: str,
    *more: SecretEntry,
    keys: Iterable[Key] = (),
    others: Iterable[SecretEntry] = (),
    resolved: dict[str, Resolution | str] | None = None,
    actions: tuple[str, ...] = (),
    skipped: tuple[str, ...] = (),
    alerts: tuple[str, ...] = (),
) -> Case:
    """``s`` with a key that is to be revoked, among other secrets."""
    snapshot = snap([secret("s", DUE), *more], [*BOTH, *keys], others=others, resolved=resolved)
    return Case(name, snapshot, actions=actions, skipped=skipped, alerts=alerts)


def kept(name: str, reason: str, severity: str, *more: SecretEntry, **rest: object) -> Case:
    case = with_due(name, *more, **rest)  # type: ignore[arg-type]
    return replace(
        case,
        skipped=(*case.skipped, f"s {reason}"),
        alerts=(*case.alerts, f"{severity} {reason} s K1"),
    )


BLOCKED = (
    one("the key in use has a second left", DUE, [key(), key("K2", left=SECOND)], "rotate expiring s K2@v2", REVOKED),
    *(
        Case(
            f"the key in use {why}: replaced first, the old one stays",
            snap([secret("s", DUE, scopes="a")], keys),
            actions=(f"rotate {reason} s K2@v2",),
            skipped=("s broken-current",),
            alerts=("error broken-current s K1",),
        )
        for why, reason, keys in (
            ("is disabled", "key-disabled", [key(), key("K2", enabled=False)]),
            ("has ended this second", "expired", [key(), key("K2", left=0 * DAY)]),
            ("is gone", "key-missing", [key()]),
        )
    ),
    kept("another secret holds it, by label", "shared-key", "warning", secret("t", {"v1": "CURRENT key:K1"})),
    kept(
        "another secret holds it, by look-up",
        "shared-key",
        "warning",
        secret("t", {"v1": "CURRENT"}),
        resolved={"t": "K1"},
        actions=("label unadopted t K1@v1",),
    ),
    kept(
        "another secret holds it under a wrong label",
        "shared-key",
        "warning",
        secret("t", {"v1": "CURRENT key:gone"}),
        resolved={"t": "K1"},
        actions=("label mislabelled t K1@v1",),
        alerts=("warning unproven-label t gone",),
    ),
    kept(
        "another secret holds it in a value that can't be read as tagged",
        "shared-key",
        "warning",
        secret("t", {"v1": "CURRENT"}),
        resolved={"t": Resolution(None, "no field api_key", known_foreign=True, holds=frozenset({"K1", "K7"}))},
        skipped=("t unadopted",),
        alerts=("error unadopted t -",),
    ),
    kept(
        "a secret of another account holds it",
        "shared-key",
        "warning",
        others=[secret("t", {"v1": "CURRENT key:K1"}, account="other")],
    ),
    *(
        kept(f"a secret holds it that is {why}", "shared-key", "warning", entry, skipped=(skip,), alerts=alerts)
        for why, entry, skip, alerts in (
            ("on hold", secret("t", {"v1": "CURRENT key:K1"}, hold="x"), "t hold", ()),
            ("a replica", secret("t", {"v1": "CURRENT key:K1"}, primary="us-east-1"), "t replica", ()),
            ("about to be deleted", secret("t", {"v1": "CURRENT key:K1"}, deleted=NOW), "t pending-deletion", ()),
            (
                "misconfigured",
                secret("t", {"v1": "CURRENT key:K1"}, grace="x"),
                "t misconfigured",
                ("error misconfigured t K1",),
            ),
        )
    ),
    with_due(
        "another secret held it too, and its grace there is not over",
        secret("t", {"v2": "CURRENT key:T2", "v1": "PREVIOUS key:K1 retire:K1:+1d"}),
        keys=[key("T2")],
        skipped=("s shared-key",),
        alerts=("warning shared-key s K1",),
    ),
    with_due(
        "another secret held it too, and its grace there is over this second: whoever comes first",
        secret("t", {"v2": "CURRENT key:T2", "v1": "PREVIOUS key:K1 retire:K1:+0s"}),
        keys=[key("T2")],
        actions=(REVOKED, "revoke grace-over t K1@v1"),
    ),
    with_due(
        "another secret held it too, and its grace there is over in a second",
        secret("t", {"v2": "CURRENT key:T2", "v1": "PREVIOUS key:K1 retire:K1:+1s"}),
        keys=[key("T2")],
        skipped=("s shared-key",),
        alerts=("warning shared-key s K1",),
    ),
    with_due(
        "another secret held it too, and no label says yet until when its grace is",
        secret("t", {"v2": "CURRENT key:T2", "v1": "PREVIOUS key:K1"}),
        keys=[key("T2")],
        actions=("retire superseded t K1@v1",),
        skipped=("s shared-key",),
        alerts=("warning shared-key s K1",),
    ),
    with_due(
        "a secret of another account held it too",
        others=[secret("t", {"v2": "CURRENT key:T2", "v1": "PREVIOUS key:K1 retire:K1:+1d"}, account="other")],
        skipped=("s shared-key",),
        alerts=("warning shared-key s K1",),
    ),
    with_due(
        "a secret of another account that nobody asked about",
        others=[secret("t", {"v1": "CURRENT"}, account="other")],
        actions=(REVOKED,),
    ),
    with_due(
        "a secret held it too that has no value any more: nothing there will ever say until when",
        secret("t", {"v1": "PREVIOUS key:K1"}),
        actions=(REVOKED,),
        skipped=("t empty",),
        alerts=("error empty t -",),
    ),
    with_due(
        "a secret held it too that is being deleted",
        secret("t", {"v2": "CURRENT key:T2", "v1": "PREVIOUS key:K1"}, deleted=NOW),
        actions=(REVOKED,),
        skipped=("t pending-deletion",),
    ),
    kept(
        "a value of this account that nobody asked about may hold it",
        "unreadable",
        "error",
        secret("t", {"v1": "CURRENT"}),
        skipped=("t unadopted",),
        alerts=("error unadopted t -",),
    ),
    kept(
        "a value that can't be read may hold it",
        "unreadable",
        "error",
        secret("t", {"v1": "CURRENT"}),
        resolved={"t": Resolution(None, "kms:Decrypt is denied")},
        skipped=("t unadopted",),
        alerts=("error unadopted t -",),
    ),
    kept(
        "a value of another account that can't be read may hold it",
        "unreadable",
        "error",
        others=[secret("t", {"v1": "CURRENT"}, account="other")],
        resolved={"t": Resolution(None, "kms:Decrypt is denied")},
    ),
    with_due(
        "a value that holds no key of this account",
        secret("t", {"v1": "CURRENT"}),
        resolved={"t": Resolution(None, "no key of this account", known_foreign=True)},
        actions=(REVOKED,),
        skipped=("t unadopted",),
        alerts=("error unadopted t -",),
    ),
    with_due(
        "a value that nobody can read any more, since the secret is being deleted",
        secret("t", {"v1": "CURRENT"}, deleted=NOW),
        actions=(REVOKED,),
        skipped=("t pending-deletion",),
    ),
    with_due(
        "an empty secret holds nothing",
        secret("t", {}, scopes="a"),
        actions=("rotate first-key t -@-", REVOKED),
    ),
    Case(
        "its window is shut",
        snap([secret("s", DUE, window="Mon 08:00-09:00 UTC")], BOTH),
        skipped=("s window",),
    ),
    Case(
        "its window is open",
        snap([secret("s", DUE, window="Mon 09:00-09:01 UTC")], BOTH),
        actions=(REVOKED,),
    ),
)

SHARED = (
    Case(
        "two secrets with one key, by label",
        snap([secret("s"), secret("t")], [key()]),
        alerts=("warning shared-key s K1", "warning shared-key t K1"),
    ),
    Case(
        "two secrets with one key, both due: each gets a key of its own",
        snap([secret("s"), secret("t")], [key(left=DAY)]),
        actions=("rotate expiring s K1@v1", "rotate expiring t K1@v1"),
        alerts=("warning shared-key s K1", "warning shared-key t K1"),
    ),
    Case(
        "a copy that was looked up",
        snap([secret("s"), secret("t", {"v1": "CURRENT"})], [key()], resolved={"t": "K1"}),
        actions=("label unadopted t K1@v1",),
        alerts=("warning shared-key s K1", "warning shared-key t K1"),
    ),
    Case(
        "a copy in another account",
        snap([secret("s")], [key()], others=[secret("t", account="other")]),
        alerts=("warning shared-key s K1",),
    ),
    Case(
        "a secret that is skipped is not told that it shares",
        snap([secret("s"), secret("t", hold="x")], [key()]),
        skipped=("t hold",),
        alerts=("warning shared-key s K1",),
    ),
)


@pytest.mark.parametrize("case", [*BLOCKED, *SHARED], ids=str)
def test_kept(case: Case) -> None:
    case.check()


def test_the_holders_of_a_shared_key_are_named() -> None:
    plan = Case("", snap([secret("s", DUE), secret("t"), secret("u")], BOTH)).plan()
    (skip,) = [skip for skip in plan.skipped if skip.secret == "s"]
    assert "t, u still holds it" in skip.detail
    assert [action.secret for action in plan.actions] == []
    (alert,) = [alert for alert in plan.alerts if alert.secret == "t"]
    assert alert.detail.startswith("u holds the same key")


def test_the_window_that_a_revocation_waits_for_is_named() -> None:
    (skip,) = Case("", snap([secret("s", DUE, window="Tue 10:30-12:00 UTC")], BOTH)).plan().skipped
    assert "opens Tue 03 Mar 10:30 UTC" in skip.detail


def test_a_value_under_a_wrong_label_that_can_not_be_read_may_hold_any_key() -> None:
    """A label that names a key which is not listed says nothing of the value; as long as nobody can read that, it may
    be the key that is about to be revoked."""
    due = {"v2": "CURRENT key:K2", "v1": "PREVIOUS key:K1 retire:K1:-1h"}
    snapshot = snap(
        [secret("s", due), secret("t", {"v1": "CURRENT key:gone"}, scopes="a")],
        [key(), key("K2")],
        resolved={"t": Resolution(None, "kms:Decrypt is denied")},
    )
    assert [action for action in Case("", snapshot).plan().actions if action.kind == "revoke"] == []
