"""What keeps a superseded key alive though its grace is over: who holds it, or may; over the composed chain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from rotator.model import Key, Resolution, SecretEntry
from tests.policy.build import DAY, NOW, SECOND, Case, key, secret, snap
from tests.policy.test_planner_revoke import BOTH, DUE, REVOKED, one


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
