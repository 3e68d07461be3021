"""The links of the chain: their order, and what they say alone. What they do together is in ``test_planner*``."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotator.message import Message
from rotator.model import AccountSnapshot, Key, Reason, Severity
from rotator.policy import rules as decisions
from rotator.policy.planner import make_view
from rotator.policy.rules import (
    BROKEN,
    ROTATE_BLOCKED,
    ROTATE_WHEN,
    SKIP_WHEN,
    Decision,
    View,
    expires_by,
    first,
    latest_start,
    renew_at,
    too_old_by,
    window_closed,
)
from tests.policy.build import DAY, HOUR, NOW, SECOND, at, key, secret, snap, tagged, vid


def look(one: Key | None = None, **tags: str) -> View:
    """The view of a secret that holds ``K1``."""
    snapshot: AccountSnapshot = snap([tagged(secret("s"), tags)], [] if one is None else [one])
    return make_view(snapshot, snapshot.secrets[0])


def test_the_order_of_the_policy() -> None:
    """Which of several reasons is said is part of what people rely on."""
    assert [predicate.__name__ for predicate in SKIP_WHEN] == [
        "pending_deletion",
        "owned_by_service",
        "replica",
        "misconfigured",
        "held",
        "inconsistent",
        "foreign_rotation",
        "unadopted",
        "unproven_label",
        "empty",
    ]
    assert [predicate.__name__ for predicate in ROTATE_WHEN] == [
        "first_key",
        "key_missing",
        "key_disabled",
        "expired",
        "expiring",
        "too_old",
    ]
    assert [predicate.__name__ for predicate in ROTATE_BLOCKED] == ["scopes_unknown", "labels_full"]
    assert {Reason.FIRST_KEY, Reason.KEY_MISSING, Reason.KEY_DISABLED, Reason.EXPIRED} == BROKEN


def test_first_takes_the_first_that_has_something_to_say() -> None:
    view = look(key(enabled=False, left=-DAY))
    said = first(ROTATE_WHEN, view, NOW)
    assert said == Decision(
        Reason.KEY_DISABLED, Message("the key behind AWSCURRENT is disabled"), due_at=NOW, deadline=NOW
    )
    assert first(ROTATE_WHEN, look(key()), NOW) is None
    assert first((), view, NOW) is None


@pytest.mark.parametrize(
    ("one", "tags", "due"),
    [
        (key(left=75 * DAY, age=25 * DAY), {}, "+42d"),
        (key(left=75 * DAY, age=25 * DAY), {"rotate_before": "0.5"}, "+25d"),
        (key(left=75 * DAY, age=25 * DAY), {"rotate_before": "14d"}, "+61d"),
        (key(left=75 * DAY, age=None), {"rotate_before": "0.5"}, "+30d"),
        (key(left=75 * DAY, age=None), {"rotate_before": "0.5", "validity": "20d"}, "+65d"),
        (key(left=None), {}, None),
        (None, {}, None),
        (key(), {"rotate_before": "soon"}, None),
    ],
)
def test_when_its_end_makes_it_due(one: Key | None, tags: dict[str, str], due: str | None) -> None:
    assert expires_by(look(one, **tags)) == (None if due is None else at(due))


@pytest.mark.parametrize(
    ("one", "tags", "due"),
    [
        (key(age=20 * DAY), {"max_age": "30d"}, "+10d"),
        (key(age=40 * DAY), {"max_age": "30d"}, "-10d"),
        (key(age=20 * DAY), {}, None),
        (key(age=None), {"max_age": "30d"}, None),
        (None, {"max_age": "30d"}, None),
        (key(), {"max_age": "soon"}, None),
    ],
)
def test_when_its_age_makes_it_due(one: Key | None, tags: dict[str, str], due: str | None) -> None:
    assert too_old_by(look(one, **tags)) == (None if due is None else at(due))


def test_the_next_rotation_is_due_by_what_comes_first() -> None:
    one = key(left=75 * DAY, age=25 * DAY)
    assert renew_at(look(one, rotate_before="14d", max_age="30d")) == at("+5d")
    assert renew_at(look(one, rotate_before="14d", max_age="99d")) == at("+61d")
    assert renew_at(look(key(left=None))) is None


@pytest.mark.parametrize(
    ("life", "margin"),
    [(100 * DAY, DAY), (10 * DAY, DAY), (10 * DAY - 10 * SECOND, DAY - SECOND), (10 * HOUR, HOUR)],
)
def test_a_rotation_starts_a_day_or_a_tenth_of_a_life_before_the_end(life: timedelta, margin: timedelta) -> None:
    assert latest_start(look(key(left=HOUR, age=life - HOUR)), at("+1h")) == at("+1h") - margin


def test_without_a_known_life_a_rotation_starts_a_day_before_the_end() -> None:
    for one in (None, key(left=None), key(age=None)):
        assert latest_start(look(one), at("+9d")) == at("+8d")


def test_a_window_keeps_only_what_can_wait() -> None:
    view = look(key(), window="Mon 08:00-09:00 UTC")
    for reason in (Reason.EXPIRING, Reason.MAX_AGE):
        waits = window_closed(view, Decision(reason, Message(), deadline=at("+100d")), NOW)
        assert waits is not None
        assert (waits.reason, waits.severity) == (Reason.WINDOW, None)
        assert waits.detail == f"{reason}; waits for its window, which opens Mon 9 Mar 08:00 UTC"
    for reason in BROKEN:
        assert window_closed(view, Decision(reason, Message(), deadline=at("+100d")), NOW) is None
    assert window_closed(look(key()), Decision(Reason.EXPIRING, Message()), NOW) is None


def test_a_view_knows_its_key_by_label_or_by_look_up() -> None:
    labelled = look(key())
    assert (labelled.key_id, labelled.key, labelled.life.current_version) == ("K1", key(), vid("v1"))
    unlabelled = snap([secret("s", {"v1": "CURRENT"})], [key()], resolved={"s": "K1"})
    view = make_view(unlabelled, unlabelled.secrets[0])
    assert (view.key_id, view.key, view.life.current_key) == ("K1", key(), None)
    assert look().key is None


def test_what_needs_mending_is_an_error_and_what_is_wanted_is_not() -> None:
    assert [predicate(look(key(), grace="soon", hold="x"), NOW) is None for predicate in SKIP_WHEN].count(False) == 1
    broken = decisions.misconfigured(look(key(), grace="soon"), NOW)
    held = decisions.held(look(key(), hold="x"), NOW)
    assert broken is not None
    assert held is not None
    assert (broken.severity, held.severity) == (Severity.ERROR, None)
