"""What is told to be quiet at once is what the policy has nothing to say of."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given

from rotator.core.decisions import LEAVE_ALONE, ROTATE_WHEN, first
from rotator.core.model import AccountSnapshot, Key, Resolution, SecretEntry
from rotator.core.quiet import is_quiet
from rotator.core.secret_plan import make_view
from tests.core.build import DAY, HOUR, NOW, SECOND, key, secret, snap
from tests.core.test_planner_worlds import messy, tidy


def quiet(entry: SecretEntry, its_key: Key | None, now_is: timedelta = timedelta(0)) -> bool:
    view = make_view(snap([entry], [] if its_key is None else [its_key]), entry)
    return is_quiet(view, NOW + now_is)


@given(messy | tidy)
def test_the_policy_has_nothing_to_say_of_what_is_quiet(snapshot: AccountSnapshot) -> None:
    for entry in snapshot.secrets:
        view = make_view(snapshot, entry)
        for now in (NOW, NOW - 30 * DAY, NOW + 200 * DAY):
            if is_quiet(view, now):
                assert first(LEAVE_ALONE, view, now) is None
                assert first(ROTATE_WHEN, view, now) is None
                life = view.life
                assert (life.pending_version, life.superseded, life.retiring, life.stale) == (None, (), (), ())
                assert life.current_key == view.key_id is not None
                assert view.mislabelled is None
                assert not view.unproven


def test_most_secrets_are_quiet() -> None:
    assert quiet(secret("s"), key())
    assert quiet(secret("s", rotate_before="14d"), key())
    assert quiet(secret("s", window="Mon-Fri 09:00-17:00 UTC", gate="adoption", validity="30d", grace="1h"), key())
    assert quiet(secret("s", {"v2": "CURRENT PENDING key:K1", "v1": "PREVIOUS"}), key())


@pytest.mark.parametrize(
    ("entry", "its_key"),
    [
        (secret("s"), None),
        (secret("s"), key(enabled=False)),
        (secret("s"), key(left=None)),
        (secret("s"), key(age=None)),
        (secret("s"), key(age=-HOUR)),
        (secret("s"), key(left=-SECOND)),
        (secret("s"), key(left=-2 * DAY, age=DAY)),
        (secret("s"), key(left=33 * DAY, age=67 * DAY)),
        (secret("s", rotate_before="14d"), key(left=14 * DAY)),
        (secret("s", max_age="900d"), key()),
        (secret("s", hold="audit"), key()),
        (secret("s", grace="soon"), key()),
        (secret("s", owner="appflow"), key()),
        (secret("s", primary="us-east-1"), key()),
        (secret("s", deleted=NOW), key()),
        (secret("s", {}), key()),
        (secret("s", {"v1": "CURRENT"}), key()),
        (secret("s", {"v1": "CURRENT key:K1 key:K2"}), key()),
        (secret("s", {"v2": "CURRENT key:K1", "v1": "PREVIOUS key:K0"}), key()),
        (secret("s", {"v2": "CURRENT key:K1", "v3": "PENDING key:K3"}), key()),
    ],
)
def test_anything_else_is_for_the_policy(entry: SecretEntry, its_key: Key | None) -> None:
    assert not quiet(entry, its_key)


def test_it_ends_no_later_than_the_policy_says() -> None:
    life = 100 * DAY
    its_key = key(left=life, age=timedelta(0))
    due = life * 0.67
    assert quiet(secret("s"), its_key, due - HOUR)
    assert not quiet(secret("s"), its_key, due)


@pytest.mark.parametrize(
    "found", [Resolution("K2"), Resolution(None, "no key", known_foreign=True), Resolution(None, "can't be read")]
)
def test_a_value_that_is_not_the_labelled_key_is_not_quiet(found: Resolution) -> None:
    snapshot = snap([secret("s")], [key(), key("K2")], resolved={"s": found})
    assert not is_quiet(make_view(snapshot, snapshot.secrets[0]), NOW)
    proven = snap([secret("s")], [key()], resolved={"s": Resolution("K1")})
    assert is_quiet(make_view(proven, proven.secrets[0]), NOW)
