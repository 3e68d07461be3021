"""What ``status`` says of each secret: one word, the next action, and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import pytest

from rotator.durations import LAST
from rotator.model import AccountSnapshot, ActionKind, Resolution
from rotator.policy.planner import plan_account
from rotator.policy.status import SecretState, State, states
from tests.policy.build import DAY, HOUR, MINUTE, NOW, POLICY, SECOND, arn_of, at, key, own, secret, snap, tagged, vid


def say(snapshot: AccountSnapshot, now: datetime = NOW) -> tuple[SecretState, ...]:
    return states(snapshot, plan_account(snapshot, POLICY, now).actions, now)


def only(snapshot: AccountSnapshot) -> SecretState:
    (state,) = say(snapshot)
    return state


GRACE: Mapping[str, str] = {"v2": "CURRENT key:K1", "v1": "PREVIOUS key:K0 retire:K0:+1d"}
PENDING: Mapping[str, str] = {"v1": "CURRENT key:K1", "v2": "PENDING key:K2"}

TABLE = (
    ("nothing to do", snap([secret("s")], [key()]), State.OK),
    ("due this second", snap([secret("s", rotate_before="14d")], [key(left=14 * DAY)]), State.DUE),
    ("due in a second", snap([secret("s", rotate_before="14d")], [key(left=14 * DAY + SECOND)]), State.OK),
    ("too old", snap([secret("s", max_age="30d")], [key(age=30 * DAY)]), State.DUE),
    ("a key in grace", snap([secret("s", GRACE)], [key(), key("K0")]), State.RETIRING),
    ("superseded", snap([secret("s", {**GRACE, "v1": "PREVIOUS key:K0"})], [key(), key("K0")]), State.RETIRING),
    ("due, and a key in grace", snap([secret("s", GRACE)], [key(left=DAY), key("K0")]), State.DUE),
    ("stored and not promoted", snap([secret("s", PENDING)], [key(), key("K2")]), State.ROTATING),
    ("another function's rotation", snap([secret("s", {**PENDING, "v2": "PENDING"})], [key()]), State.ROTATING),
    ("expired this second", snap([secret("s")], [key(left=0 * DAY)]), State.EXPIRED),
    ("disabled", snap([secret("s")], [key(enabled=False)]), State.BROKEN),
    ("disabled and expired", snap([secret("s")], [key(enabled=False, left=-DAY)]), State.BROKEN),
    ("not listed", snap([secret("s")]), State.BROKEN),
    ("no value", snap([secret("s", {})]), State.EMPTY),
    ("no value, a first key to come", snap([secret("s", {}, scopes="a")]), State.EMPTY),
    ("no value, and on hold", snap([secret("s", {}, hold="x")]), State.HELD),
    ("on hold and expired", snap([secret("s", hold="x")], [key(left=-DAY)]), State.HELD),
    ("a value without a label", snap([secret("s", {"v1": "CURRENT"})], [key()], resolved={"s": "K1"}), State.UNADOPTED),
    (
        "a value that nobody knows",
        snap([secret("s", {"v1": "CURRENT"})], resolved={"s": Resolution(None, "no key")}),
        State.UNADOPTED,
    ),
    ("a tag that can't be read", snap([secret("s", grace="soon")], [key()]), State.MISCONFIGURED),
    ("on hold, and a tag is wrong", snap([secret("s", grace="soon", hold="x")], [key()]), State.MISCONFIGURED),
    ("two keys on a version", snap([secret("s", {"v1": "CURRENT key:K1 key:K2"})], [key()]), State.MISCONFIGURED),
)


@pytest.mark.parametrize(("snapshot", "state"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_word(snapshot: AccountSnapshot, state: State) -> None:
    assert only(snapshot).state is state


def test_every_word_of_the_contract_is_said() -> None:
    assert {row[2] for row in TABLE} == set(State)
    assert set(State) == {
        *("ok", "due", "rotating", "retiring", "expired", "broken", "held", "empty", "unadopted", "misconfigured")
    }


def test_everything_about_a_secret_in_its_grace() -> None:
    state = only(snap([secret("s", GRACE)], [key(left=200 * DAY), key("K0")]))
    assert (state.account, state.secret, state.key_id, state.version_id) == ("main", "s", "K1", vid("v2"))
    assert (state.expires_at, state.days_left, state.hold) == (at("+200d"), 200.0, None)
    assert [(item.key_id, item.version_id, item.revoke_at) for item in state.retiring] == [("K0", vid("v1"), at("+1d"))]
    assert (state.next_action, state.next_action_at) == (ActionKind.REVOKE, at("+1d"))


def test_days_left_have_one_decimal_and_go_below_zero() -> None:
    lefts = [only(snap([secret("s")], [key(left=left)])).days_left for left in (36 * HOUR, 61 * MINUTE, -12 * HOUR)]
    assert lefts == [1.5, 0.0, -0.5]
    for one in (only(snap([secret("s")], [key(left=None)])), only(snap([secret("s")]))):
        assert (one.days_left, one.expires_at) == (None, None)


def test_what_a_sweep_would_do_now_comes_first() -> None:
    state = only(snap([secret("s", {**GRACE, "v0": "key:K9"})], [key(left=DAY), key("K0"), key("K9")]))
    assert (state.next_action, state.next_action_at) == (ActionKind.RETIRE, NOW)


@pytest.mark.parametrize(
    ("tags", "versions", "kind", "when"),
    [
        ({"rotate_before": "14d"}, {"v1": "CURRENT key:K1"}, ActionKind.ROTATE, at("+286d")),
        ({"rotate_before": "14d", "max_age": "70d"}, {"v1": "CURRENT key:K1"}, ActionKind.ROTATE, at("+5d")),
        ({"rotate_before": "14d", "max_age": "66d"}, GRACE, ActionKind.REVOKE, at("+1d")),
        ({"rotate_before": "14d", "max_age": "65d1h"}, GRACE, ActionKind.ROTATE, at("+1h")),
    ],
)
def test_the_next_action_is_the_earliest(
    tags: dict[str, str], versions: Mapping[str, str], kind: ActionKind, when: datetime
) -> None:
    state = only(snap([tagged(secret("s", versions), tags)], [key(left=300 * DAY, age=65 * DAY), key("K0")]))
    assert (state.next_action, state.next_action_at) == (kind, when)


def test_nothing_is_next_where_nothing_will_be_done() -> None:
    for snapshot in (
        snap([secret("s")], [key(left=None)]),
        snap([secret("s", hold="x")], [key(left=DAY)]),
        snap([secret("s", grace="soon")], [key(left=DAY)]),
        snap([secret("s", {"v1": "CURRENT"})], [key(left=DAY)]),
        snap([secret("s", {})]),
    ):
        state = only(snapshot)
        assert (state.next_action, state.next_action_at) == (None, None)


def test_a_hold_is_told() -> None:
    assert only(snap([secret("s", hold="until 1 Dec")], [key()])).hold == "until 1 Dec"


def test_by_name_without_what_is_not_ours_to_manage() -> None:
    mine = [secret("b"), secret("a"), secret("here", primary="eu-central-1")]
    foreign = [secret("r", primary="us-east-1"), secret("d", deleted=NOW), secret("o", owner="appflow")]
    assert [state.secret for state in say(snap([*foreign, *mine], [key()]))] == ["a", "b", "here"]


def test_an_action_of_a_namesake_elsewhere_is_not_this_secrets() -> None:
    snapshot = snap([secret("s")], [key(left=None), key("Z", age=HOUR, name=own("s", "v8"))])
    (action,) = plan_account(snapshot, POLICY, NOW).actions
    assert action.arn == arn_of("s")
    assert states(snapshot, (action,), NOW)[0].next_action is ActionKind.REVOKE
    elsewhere = snap([secret("s")], [key(left=None)])
    moved = type(action)(**{**{f: getattr(action, f) for f in action.__slots__}, "arn": arn_of("s", "us-east-1")})
    assert states(elsewhere, (moved,), NOW)[0].next_action is None


@pytest.mark.parametrize("tags", [{"rotate_before": "14d"}, {"max_age": "3650d"}])
def test_status_never_raises_for_a_key_that_ends_in_the_last_year(tags: dict[str, str]) -> None:
    """The next opening of a window is looked for up to 30 days after the key is due: past the last day there is."""
    entry = secret(
        "s",
        window="Mon 08:00-09:00 UTC",
        rotate_before=tags.get("rotate_before", "0.33"),
        max_age=tags.get("max_age", "9w"),
    )
    (state,) = states(snap([entry], [replace(key(left=None, age=None), valid_to=LAST, valid_from=LAST)]), (), NOW)
    assert state.next_action is ActionKind.ROTATE
