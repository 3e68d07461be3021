"""What can not be trusted proves nothing: a wrong list, contradicting labels, secrets skipped, impossible times."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from rotator.model import Key, Resolution, SecretEntry
from rotator.policy.planner import make_view
from rotator.policy.rules import renew_at
from rotator.policy.status import State, states
from tests.policy.build import DAY, HOUR, NOW, SECOND, Case, at, key, own, say_action, secret, snap, tagged

DUE = {"v2": "CURRENT key:K2", "v1": "PREVIOUS key:K1 retire:K1:-1h"}
ORPHAN = key("Z", age=HOUR, name=own("s", "v8"))


def wrong_account(count: int) -> Case:
    """So many secrets, each with a key in grace, seen through credentials of another account: no key is listed."""
    entries = [
        secret(f"s{n}", {"v2": f"CURRENT key:N{n}", "v1": f"PREVIOUS key:O{n} retire:O{n}:+1d"}) for n in range(count)
    ]
    return Case("", snap(entries, [key("X")]))


def test_when_many_keys_are_missing_the_labels_of_retiring_keys_stay() -> None:
    """The guard says that the listing is not to be trusted; then nothing that it lacks is proven gone.

    Without its labels a key in grace is never revoked: it lives on, unknown, until its end.
    """
    plan = wrong_account(6).plan()
    assert [str(alert.kind) for alert in plan.alerts if alert.secret is None] == ["mass-missing"]
    assert [action for action in plan.actions if action.kind == "revoke"] == []


def test_a_retiring_key_of_such_a_list_is_left_when_its_time_has_come() -> None:
    case = wrong_account(6)
    left = [skip for skip in replace(case, now=at("+1d")).plan().skipped if "key O" in skip.detail]
    assert [(skip.secret, str(skip.reason)) for skip in left] == [(f"s{n}", "mass-missing") for n in range(6)]
    early = replace(case, now=at("+1d") - SECOND).plan().skipped
    assert [skip for skip in early if "key O" in skip.detail] == []


@pytest.mark.parametrize(
    "entry",
    [
        secret("s", primary="us-east-1"),
        secret("s", owner="appflow"),
        secret("s", grace="soon"),
        secret("s", {"v1": "CURRENT key:K1", "x": "PENDING"}),
        secret("s", {"v1": "CURRENT key:K1 key:K2"}),
    ],
    ids=["replica", "owned", "misconfigured", "foreign rotation", "inconsistent labels"],
)
def test_a_secret_that_is_skipped_rows_proves_no_orphan(entry: SecretEntry) -> None:
    """A replica that lags behind its primary does not have the primary's newest version: its key is no orphan."""
    assert Case("", snap([entry], [key(), ORPHAN])).plan().actions == ()


@pytest.mark.parametrize(
    "versions",
    [
        {"v1": "CURRENT key:K1 key:T1"},
        {"v1": "CURRENT key:T1 key:K1"},
        {"v1": "CURRENT key:K1 key:A1"},
        {"v1": "CURRENT key:K1", "v2": "CURRENT key:T1"},
        {"v1": "CURRENT key:T1", "v2": "CURRENT key:K1"},
    ],
)
def test_a_key_that_inconsistent_labels_say_to_be_in_use_is_not_revoked(versions: dict[str, str]) -> None:
    keys = [key(), key("K2"), key("T1"), key("A1")]
    plan = Case("", snap([secret("s", DUE), secret("t", versions)], keys)).plan()
    assert [action for action in plan.actions if action.kind == "revoke"] == []


def test_labels_that_the_same_sweep_puts_on_count_against_the_limit() -> None:
    """Six superseded versions get a retire label first: with them, the rotation would end at 22 labels."""
    versions = {"v9": "CURRENT PENDING key:K1", "v8": "PREVIOUS key:O8", "v1": "a b c d"}
    versions |= {f"v{n}": f"key:O{n}" for n in range(3, 8)}
    keys = [key(left=DAY), *(key(f"O{n}") for n in range(3, 9))]
    plan = Case("", snap([secret("s", versions)], keys)).plan()
    kinds = [str(action.kind) for action in plan.actions]
    assert kinds == ["retire"] * 6
    assert [str(skip.reason) for skip in plan.skipped] == ["label-limit"]


ANCIENT = datetime(1, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    "odd",
    [
        replace(key(), valid_to=ANCIENT),
        replace(key(), valid_to=ANCIENT, valid_from=None),
        replace(key(), valid_from=LAST),
        replace(key(), valid_from=LAST, valid_to=LAST),
        replace(key(), valid_from=ANCIENT, valid_to=LAST),
        replace(key(name=own("s", "v8")), id="Z", valid_from=LAST),
        replace(key(name=own("s", "v8")), id="Z", valid_from=ANCIENT, valid_to=LAST),
        replace(key("Z"), valid_from=ANCIENT, valid_to=ANCIENT),
    ],
    ids=lambda odd: (
        f"{odd.id} {odd.valid_from:%Y} {odd.valid_to:%Y}" if odd.valid_from else f"{odd.id} {odd.valid_to:%Y}"
    ),
)
@pytest.mark.parametrize("tags", [{}, {"rotate_before": "14d", "max_age": "30d"}])
def test_planning_never_raises_whatever_the_times(odd: Key, tags: dict[str, str]) -> None:
    """One key with year 1 or 9999 (the far end's "never") must not stop the sweep of its whole account."""
    keys = [key(), odd]
    snapshot = snap([tagged(secret("s"), tags), secret("t", {"v1": "CURRENT key:T1"})], [*keys, key("T1", left=DAY)])
    assert "rotate expiring t T1@v1" in [say_action(action) for action in Case("", snapshot).plan().actions]
    renew_at(make_view(snapshot, snapshot.secrets[0]))


def test_details_do_not_depend_on_the_order_of_the_listing() -> None:
    entries = [secret(name) for name in ("s", "t", "u")]
    plans = [Case("", snap(order, [key()])).plan() for order in (entries, entries[::-1])]
    assert plans[0] == plans[1]


def test_a_missing_key_is_not_said_to_be_missing_in_mass_where_the_pages_do_not_add_up() -> None:
    (skip,) = Case("", snap([secret("s", scopes="a")], complete=False)).plan().skipped
    assert str(skip.reason) == "listing-incomplete"


def test_a_secret_whose_consumers_have_a_dead_key_is_not_called_rotating() -> None:
    """``State`` says: the first that fits, in its order; there ``expired`` and ``broken`` come before ``rotating``."""
    for pending in ("PENDING key:K2", "PENDING"):
        entry = secret("s", {"v1": "CURRENT key:K1", "v2": pending})
        for dead, word in ((key(left=-DAY), State.EXPIRED), (key(enabled=False), State.BROKEN)):
            (state,) = states(snap([entry], [dead, key("K2")]), (), NOW)
            assert state.state is word


def test_nothing_is_next_for_a_secret_that_is_skipped_rows() -> None:
    for entry in (secret("s", {"v1": "CURRENT key:K1 key:K2"}), secret("s", {"v1": "CURRENT key:K1", "x": "PENDING"})):
        (state,) = states(snap([entry], [key()]), (), NOW)
        assert (state.next_action, state.next_action_at) == (None, None)


def test_a_key_whose_value_was_just_resolved_is_not_missing() -> None:
    """The keys were listed before the value was looked up: a key stored by hand in between is there, not missing."""
    snapshot = snap([secret("s", {"v1": "CURRENT"}, scopes="a")], resolved={"s": Resolution("K1")})
    assert [action.kind for action in Case("", snapshot).plan().actions] == ["label"]


def test_when_no_key_of_an_account_is_there_none_is_replaced_for_being_missing() -> None:
    """Four of four is a wrong base_url, not four accidents: below the guard's count, and still no reason to go on."""
    entries = [secret(f"s{n}", {"v1": f"CURRENT key:K{n}"}, scopes="a") for n in range(4)]
    plan = Case("", snap(entries, [key("X"), key("Y")])).plan()
    assert [action for action in plan.actions if action.kind == "rotate"] == []
