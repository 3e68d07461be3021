"""What can not be trusted proves nothing: a wrong list, contradicting labels, secrets skipped, impossible times."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from rotator.model import Key
from rotator.policy.planner import make_view
from rotator.policy.rules import renew_at
from tests.policy.build import DAY, Case, key, own, say_action, secret, snap, tagged
from tests.policy.tables import table

DUE = "s {v2 CURRENT key:K2} {v1 PREVIOUS key:K1 retire:K1:-1h}; K1; K2; T1; A1; "


@pytest.mark.parametrize(
    "versions",
    [
        "{v1 CURRENT key:K1 key:T1}",
        "{v1 CURRENT key:T1 key:K1}",
        "{v1 CURRENT key:K1 key:A1}",
        "{v1 CURRENT key:K1} {v2 CURRENT key:T1}",
        "{v1 CURRENT key:T1} {v2 CURRENT key:K1}",
    ],
)
def test_a_key_that_inconsistent_labels_name_is_not_revoked(versions: str) -> None:
    (case,) = table(f"x\n {DUE} t {versions}")
    assert [action for action in case.plan().actions if action.kind == "revoke"] == []


def test_a_key_whose_value_was_just_resolved_is_not_missing() -> None:
    """The keys were listed before the value was looked up: a key stored by hand in between is there, not missing."""
    (case,) = table("x\n s scopes=a {v1 CURRENT value=K1} -> label unadopted s K1@v1; error mass-missing - -")
    case.check()


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
