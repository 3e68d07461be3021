"""A key that the tagged account does not have: what stays as it is, what is said of it, and where it is looked for."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest

from rotator.policy.planner import plan_account
from rotator.reasons import Reason
from tests.policy.build import Case, key, secret, snap
from tests.policy.tables import table

CURRENT = table("""
    it is not replaced, however many keys the account has
        s scopes=a; t {v1 CURRENT key:T}; T -> skip s key-not-found; error key-not-found s K1
    it is the only one
        s scopes=a -> skip s key-not-found; error key-not-found s K1
    the value is not a key of the account either
        s scopes=a {v1 CURRENT key:K1 value=foreign} -> skip s key-not-found; error key-not-found s K1
    the value can't be read
        s scopes=a {v1 CURRENT key:K1 value=unreadable} -> skip s key-not-found; error key-not-found s K1
    another account has it
        s scopes=a; K1 in=old -> skip s key-not-found; error key-not-found s K1 (old)
    another account has disabled it: that is no reason to move
        s scopes=a; K1 in=old disabled -> skip s key-not-found; error key-not-found s K1
    no other account has it
        s scopes=a; with nowhere=K1 -> skip s key-not-found; error key-not-found s K1 (`rotator rotate s --reason ...`)
    a list that does not add up: a key that is not found by its id is not found
        s scopes=a; with incomplete
        -> skip s key-not-found; error key-not-found s K1; warning listing-incomplete - -
    it could not be read by its id: not known, whatever the list says
        s scopes=a; with unread=K1 -> skip s listing-incomplete; warning listing-incomplete s K1
    a stored replacement is not promoted, and one that was not stored is no orphan
        s scopes=a {v1 CURRENT key:K1} {v2 PENDING key:K2}; K2; K3 age=1h readable for=s@v3
        -> skip s key-not-found; error key-not-found s K1
    older keys stay as they are
        s scopes=a {v3 CURRENT key:K3} {v2 PREVIOUS key:K2} {v1 key:K1 retire:K1:-1h} {v0 key:K0 retire:K0:-1h}; K2; K1;
        K0 disabled
        -> skip s key-not-found; error key-not-found s K3
    the value is a key of the account: it decides, and the label is corrected
        s scopes=a {v1 CURRENT key:K9 value=K1}; K1
        -> label mislabelled s K1@v1; warning unproven-label s K9
    it is on hold
        s scopes=a hold=x -> skip s hold
    an orphan of the account is revoked though its secret is another account's now
        s account=other; K2 for=s@v8 -> revoke orphan s K2@v8
""")

OLDER = table("""
    superseded: it gets its retire label, and the labels stay
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1}; K2; with nowhere=K1
        -> retire superseded s K1@v1; warning key-not-found s K1
    in its grace period
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:+1h}; K2; with nowhere=K1 -> warning key-not-found s K1
    its grace period is over
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h}; K2; with nowhere=K1 -> warning key-not-found s K1
    one account could not be asked
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h}; K2; with nowhere=K1:old
        -> warning key-not-found s K1 (old)
    enabled in another account: never revoked by this account's sweep
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h}; K2; K1 in=old
        -> skip s key-not-found; warning key-not-found s K1 (`rotator revoke --key-id K1 --account old --reason ...`)
    enabled in another account, in its grace period
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:+1h}; K2; K1 in=old -> warning key-not-found s K1
    the account, which has a key that another one shows too, revokes it
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h}; K2; K1; with nowhere=K1 -> revoke grace-over s K1@v1
    disabled in another account: its labels are removed
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:+1h}; K2; K1 in=old disabled
        -> revoke key-not-active s K1@v1 (account old)
    expired in another account: its labels are removed
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h}; K2; K1 in=old left=-1s
        -> revoke key-not-active s K1@v1 (account old)
    superseded, and disabled in another account: no retire label before that
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1}; K2; K1 in=old disabled -> revoke key-not-active s K1@v1
    it could not be read by its id, and its time has not come
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:+1s}; K2; with unread=K1
    it could not be read by its id, and its time has come
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:+0s}; K2; with unread=K1
        -> skip s listing-incomplete; warning listing-incomplete s K1
    a pending version whose key is not found is for the final check to decide
        s {v2 CURRENT key:K2} {v3 PENDING key:K3}; K2 -> resume pending s K3@v3
""")

LOOKED_FOR = table(
    """
    the current key
        s scopes=a -> skip s key-not-found; error key-not-found s K1; look K1
    a key in its grace period
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:+1h}; K2 -> warning key-not-found s K1; look K1
    once is enough
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:+1h}; K2; with nowhere=K1 -> warning key-not-found s K1
    not for a secret that is not planned
        s scopes=a; t {v1 CURRENT key:T}; T; with secret=t
    not where every key is found
        s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:+1h}; K2; K1
    """,
    asks=True,
)


@pytest.mark.parametrize("case", [*CURRENT, *OLDER, *LOOKED_FOR], ids=str)
def test_key_that_is_not_found(case: Case) -> None:
    """Threat: a key that its account does not know. It is looked for in every account here; "not found" never means
    revoked.
    """
    case.check()


def test_alert_names_account_and_way_out() -> None:
    (alert,) = CURRENT[0].plan().alerts
    for words in ("rotator:account", "`rotator rotate s --reason ...`"):
        assert words in alert.detail


def test_commands_are_quoted_for_shell() -> None:
    entry = secret("it's s", {"v2": "CURRENT key:K2", "v1": "PREVIOUS key:K1", "v0": "retire:K1:-1h"})
    (alert,) = Case("", snap([entry], [key("K2")])).plan().alerts
    commands = [shlex.split(each) for each in alert.detail.split("`")[1].split(" && ")]
    assert [command[:3] for command in commands] == [["aws", "secretsmanager", "update-secret-version-stage"]] * 2
    given = [dict(zip(command[3::2], command[4::2], strict=True)) for command in commands]
    assert {(each["--secret-id"], each["--version-stage"], each["--remove-from-version-id"]) for each in given} == {
        (entry.name, label, version) for version, labels in entry.versions.items() for label in labels if "K1" in label
    }


def test_only_person_moves_secret() -> None:
    """With ``moves``, as for ``rotator rotate``, what was stored is resumed and the secret is not skipped."""
    (case,) = table("x\n s scopes=a {v1 CURRENT key:K1} {v2 PENDING key:K2}; K2")
    plan = plan_account(case.snapshot, case.policy, case.now, moves=True)
    assert [(action.kind.value, action.key_id) for action in plan.actions] == [("resume", "K2")]
    unread = replace(case.snapshot, unreadable_keys=frozenset({"K1"}))
    plan = plan_account(unread, case.policy, case.now, moves=True)
    assert ([*plan.actions], [skip.reason for skip in plan.skipped]) == ([], [Reason.LISTING_INCOMPLETE])
