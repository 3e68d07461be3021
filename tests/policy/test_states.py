"""What ``status`` says of each secret: one word, the next action, and when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rotator.durations import LAST
from rotator.plan import ActionKind
from rotator.policy.planner import plan_account
from rotator.policy.status import SecretState, State, states
from tests.policy.build import NOW, POLICY, arn_of, at, key, secret, snap, tagged, vid
from tests.policy.tables import observed


def said(there: str) -> tuple[SecretState, ...]:
    snapshot = observed(there)
    return states(snapshot, plan_account(snapshot, POLICY, NOW).actions, NOW)


def only(there: str) -> SecretState:
    (state,) = said(there)
    return state


GRACE = "{v2 CURRENT key:K1} {v1 PREVIOUS key:K0 retire:K0:+1d}"
TABLE = (
    ("nothing to do", "s; K1", State.OK),
    ("due this second", "s rotate-before=14d; K1 left=14d", State.DUE),
    ("due in a second", "s rotate-before=14d; K1 left=14d1s", State.OK),
    ("too old", "s max-age=30d; K1 age=30d", State.DUE),
    ("a key in grace", f"s {GRACE}; K1; K0", State.RETIRING),
    ("superseded", "s {v2 CURRENT key:K1} {v1 PREVIOUS key:K0}; K1; K0", State.RETIRING),
    ("due, and a key in grace", f"s {GRACE}; K1 left=1d; K0", State.DUE),
    ("stored and not promoted", "s {v1 CURRENT key:K1} {v2 PENDING key:K2}; K1; K2", State.ROTATING),
    (
        "stored, and consumers have an expired key",
        "s {v1 CURRENT key:K1} {v2 PENDING key:K2}; K1 left=-1d",
        State.EXPIRED,
    ),
    ("stored, and they have a disabled one", "s {v1 CURRENT key:K1} {v2 PENDING key:K2}; K1 disabled", State.BROKEN),
    ("another function's rotation", "s {v1 CURRENT key:K1} {v2 PENDING}; K1", State.ROTATING),
    ("that, and consumers have a disabled key", "s {v1 CURRENT key:K1} {v2 PENDING}; K1 disabled", State.BROKEN),
    ("expired this second", "s; K1 left=0s", State.EXPIRED),
    ("disabled", "s; K1 disabled", State.BROKEN),
    ("disabled and expired", "s; K1 disabled left=-1d", State.BROKEN),
    ("not listed", "s", State.BROKEN),
    ("no value", "s {}", State.EMPTY),
    ("no value, a first key to come", "s scopes=a {}", State.EMPTY),
    ("no value, and on hold", "s hold=x {}", State.HELD),
    ("on hold and expired", "s hold=x; K1 left=-1d", State.HELD),
    ("a value without a label", "s {v1 CURRENT value=K1}; K1", State.UNADOPTED),
    ("a value that nobody knows", "s {v1 CURRENT value=unreadable}", State.UNADOPTED),
    ("a tag that can't be read", "s grace=soon; K1", State.MISCONFIGURED),
    ("on hold, and a tag is wrong", "s grace=soon hold=x; K1", State.MISCONFIGURED),
    ("two keys on a version", "s {v1 CURRENT key:K1 key:K2}; K1", State.MISCONFIGURED),
)


@pytest.mark.parametrize(("there", "state"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_word(there: str, state: State) -> None:
    assert only(there).state is state


def test_every_word_of_contract_is_said() -> None:
    assert {row[2] for row in TABLE} == set(State)
    assert set(State) == {
        *("ok", "due", "rotating", "retiring", "expired", "broken", "held", "empty", "unadopted", "misconfigured")
    }


def test_state_of_secret_in_grace() -> None:
    state = only(f"s {GRACE}; K1 left=200d; K0")
    assert (state.account, state.secret, state.key_id, state.version_id) == ("main", "s", "K1", vid("v2"))
    assert (state.expires_at, state.days_left, state.hold) == (at("+200d"), 200.0, None)
    assert [(item.key_id, item.version_id, item.revoke_at) for item in state.retiring] == [("K0", vid("v1"), at("+1d"))]
    assert only('s hold="until 1 Dec"; K1').hold == "until 1 Dec"


def test_days_left_go_below_zero() -> None:
    assert [only(f"s; K1 left={left}").days_left for left in ("36h", "61m", "-12h")] == [1.5, 0.0, -0.5]
    for there in ("s; K1 left=never", "s"):
        assert (only(there).days_left, only(there).expires_at) == (None, None)


@pytest.mark.parametrize(
    ("there", "kind", "when"),
    [
        ("s rotate-before=14d; K1", ActionKind.ROTATE, "+286d"),
        ("s rotate-before=14d max-age=70d; K1", ActionKind.ROTATE, "+5d"),
        (f"s rotate-before=14d max-age=66d {GRACE}; K1; K0", ActionKind.REVOKE, "+1d"),
        (f"s rotate-before=14d max-age=65d1h {GRACE}; K1; K0", ActionKind.ROTATE, "+1h"),
        (f's window="Mon 08:00-09:00 UTC" {GRACE}; K1 left=never; K0', ActionKind.REVOKE, "+6d23h"),
        (f"s {GRACE} {{v0 key:K9}}; K1 left=1d; K0; K9", ActionKind.RETIRE, "+0s"),  # what a sweep would do now
        *((there, None, None) for there in ("s; K1 left=never", "s hold=x; K1 left=1d", "s grace=soon; K1 left=1d")),
        *((there, None, None) for there in ("s {v1 CURRENT}; K1 left=1d", "s {}", "s {v1 CURRENT key:K1 key:K2}; K1")),
        ("s {v1 CURRENT key:K1} {x PENDING}; K1", None, None),
    ],
)
def test_next_action_is_earliest(there: str, kind: ActionKind | None, when: str | None) -> None:
    state = only(there)
    assert (state.next_action, state.next_action_at) == (kind, None if when is None else at(when))


def test_by_name_only_own_secrets() -> None:
    foreign = "r primary=us-east-1; d deleted; o owner=appflow"
    assert [state.secret for state in said(f"{foreign}; b; a; here primary=eu-central-1; K1")] == ["a", "b", "here"]


def test_namesakes_action_is_ignored() -> None:
    snapshot = observed("s; K1 left=never; Z age=1h for=s@v8")
    (action,) = plan_account(snapshot, POLICY, NOW).actions
    assert action.arn == arn_of("s")
    assert states(snapshot, (action,), NOW)[0].next_action is ActionKind.REVOKE
    moved = replace(action, arn=arn_of("s", "us-east-1"))
    assert states(observed("s; K1 left=never"), (moved,), NOW)[0].next_action is None


@pytest.mark.parametrize("tags", [{"rotate_before": "14d", "max_age": "9w"}, {"max_age": "3650d"}])
def test_status_of_key_ending_in_9999(tags: dict[str, str]) -> None:
    """The next opening of a window is looked for up to 30 days after the key is due: past the last day there is."""
    entry = tagged(secret("s", window="Mon 08:00-09:00 UTC"), tags)
    (state,) = states(snap([entry], [replace(key(left=None, age=None), valid_to=LAST, valid_from=LAST)]), (), NOW)
    assert state.next_action is ActionKind.ROTATE
