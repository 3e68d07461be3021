"""The order of the chain, and when a rotation starts at the latest; what the links say is in the tables of cases."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotator.model import Key
from rotator.policy.rules import BROKEN, ROTATE_BLOCKED, ROTATE_WHEN, SKIP_WHEN, View, latest_start, make_view, renew_at
from rotator.reasons import Reason
from tests.policy.build import DAY, HOUR, SECOND, at, key, secret, snap
from tests.policy.tables import observed


def look(one: Key | None = None) -> View:
    """The view of a secret that holds ``K1``."""
    snapshot = snap([secret("s")], [] if one is None else [one])
    return make_view(snapshot, snapshot.secrets[0])


def test_order_of_policy() -> None:
    """Which of several reasons is said is part of what people rely on."""
    skip, rotate, blocked = (
        " ".join(predicate.__name__ for predicate in chain) for chain in (SKIP_WHEN, ROTATE_WHEN, ROTATE_BLOCKED)
    )
    assert skip == (
        "pending_deletion owned_by_service replica misconfigured held inconsistent foreign_rotation unadopted "
        "unproven_label key_unread empty key_not_found"
    )
    assert rotate == "first_key key_disabled expired expiring too_old"
    assert blocked == "scopes_unknown labels_full"
    assert {Reason.FIRST_KEY, Reason.KEY_DISABLED, Reason.EXPIRED} == BROKEN


@pytest.mark.parametrize(
    ("life", "margin"), [(100 * DAY, DAY), (10 * DAY, DAY), (10 * DAY - 10 * SECOND, DAY - SECOND), (10 * HOUR, HOUR)]
)
def test_start_before_deadline(life: timedelta, margin: timedelta) -> None:
    assert latest_start(look(key(left=HOUR, age=life - HOUR)), at("+1h")) == at("+1h") - margin


def test_start_without_known_lifetime() -> None:
    for one in (None, key(left=None), key(age=None)):
        assert latest_start(look(one), at("+9d")) == at("+8d")


def test_nothing_due_with_unreadable_tags() -> None:
    snapshot = observed("s grace=soon max-age=1h; K1 left=1d")
    view = make_view(snapshot, snapshot.secrets[0])
    assert renew_at(view.spec, view.key) is None
