"""The links of the chain: their order, and what they say alone. What they do together is in ``test_planner*``."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotator.model import AccountSnapshot, Key, Reason
from rotator.policy.planner import make_view
from rotator.policy.rules import BROKEN, ROTATE_BLOCKED, ROTATE_WHEN, SKIP_WHEN, View, latest_start, renew_at
from tests.policy.build import DAY, HOUR, SECOND, at, key, secret, snap, tagged, vid


def look(one: Key | None = None, **tags: str) -> View:
    """The view of a secret that holds ``K1``."""
    snapshot: AccountSnapshot = snap([tagged(secret("s"), tags)], [] if one is None else [one])
    return make_view(snapshot, snapshot.secrets[0])


def test_the_order_of_the_policy() -> None:
    """Which of several reasons is said is part of what people rely on."""
    skip, rotate, blocked = (
        " ".join(predicate.__name__ for predicate in chain) for chain in (SKIP_WHEN, ROTATE_WHEN, ROTATE_BLOCKED)
    )
    assert skip == (
        "pending_deletion owned_by_service replica misconfigured held inconsistent foreign_rotation unadopted "
        "unproven_label empty"
    )
    assert rotate == "first_key key_missing key_disabled expired expiring too_old"
    assert blocked == "scopes_unknown labels_full"
    assert {Reason.FIRST_KEY, Reason.KEY_MISSING, Reason.KEY_DISABLED, Reason.EXPIRED} == BROKEN


@pytest.mark.parametrize(
    ("left", "age", "tags", "due"),
    [
        (75 * DAY, 25 * DAY, {}, "+42d"),
        (75 * DAY, 25 * DAY, {"rotate_before": "0.5"}, "+25d"),
        (75 * DAY, 25 * DAY, {"rotate_before": "14d"}, "+61d"),
        (75 * DAY, None, {"rotate_before": "0.5"}, "+30d"),
        (75 * DAY, None, {"rotate_before": "0.5", "validity": "20d"}, "+65d"),
        (75 * DAY, 25 * DAY, {"rotate_before": "14d", "max_age": "30d"}, "+5d"),
        (75 * DAY, 25 * DAY, {"rotate_before": "14d", "max_age": "99d"}, "+61d"),
        (None, 40 * DAY, {"max_age": "30d"}, "-10d"),
        (None, None, {"max_age": "30d"}, None),
        (None, 40 * DAY, {}, None),
        (75 * DAY, 25 * DAY, {"rotate_before": "soon"}, None),
    ],
)
def test_when_its_end_or_its_age_makes_it_due(
    left: timedelta | None, age: timedelta | None, tags: dict[str, str], due: str | None
) -> None:
    assert renew_at(look(key(left=left, age=age), **tags)) == (None if due is None else at(due))


@pytest.mark.parametrize(
    ("life", "margin"), [(100 * DAY, DAY), (10 * DAY, DAY), (10 * DAY - 10 * SECOND, DAY - SECOND), (10 * HOUR, HOUR)]
)
def test_a_rotation_starts_a_day_or_a_tenth_of_a_life_before_the_end(life: timedelta, margin: timedelta) -> None:
    assert latest_start(look(key(left=HOUR, age=life - HOUR)), at("+1h")) == at("+1h") - margin


def test_without_a_known_life_a_rotation_starts_a_day_before_the_end() -> None:
    for one in (None, key(left=None), key(age=None)):
        assert latest_start(look(one), at("+9d")) == at("+8d")


def test_a_view_knows_its_key_by_label_or_by_look_up() -> None:
    labelled = look(key())
    assert (labelled.key_id, labelled.key, labelled.life.current_version) == ("K1", key(), vid("v1"))
    unlabelled = snap([secret("s", {"v1": "CURRENT"})], [key()], resolved={"s": "K1"})
    view = make_view(unlabelled, unlabelled.secrets[0])
    assert (view.key_id, view.key, view.life.current_key) == ("K1", key(), None)
    assert look().key is None
