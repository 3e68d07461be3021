"""What was found by trying to break the plan, and fixed: each test states the behaviour that is right."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from rotator.model import ActionKind, Resolution
from rotator.policy.status import states
from tests.policy.build import NOW, Case, key, secret, snap

LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
SHUT = "Mon 08:00-09:00 UTC"


@pytest.mark.parametrize("tags", [{"rotate_before": "14d"}, {"max_age": "3650d"}])
def test_status_never_raises_for_a_key_that_ends_in_the_last_year(tags: dict[str, str]) -> None:
    """The next opening of a window is looked for up to 30 days after the key is due: past the last day there is."""
    entry = secret("s", window=SHUT, rotate_before=tags.get("rotate_before", "0.33"), max_age=tags.get("max_age", "9w"))
    (state,) = states(snap([entry], [replace(key(left=None, age=None), valid_to=LAST, valid_from=LAST)]), (), NOW)
    assert state.next_action is ActionKind.ROTATE


def test_a_value_under_a_wrong_label_that_can_not_be_read_may_hold_any_key() -> None:
    """A label that names a key which is not listed says nothing of the value; as long as nobody can read that, it may
    be the key that is about to be revoked."""
    due = {"v2": "CURRENT key:K2", "v1": "PREVIOUS key:K1 retire:K1:-1h"}
    snapshot = snap(
        [secret("s", due), secret("t", {"v1": "CURRENT key:gone"}, scopes="a")],
        [key(), key("K2")],
        resolved={"t": Resolution(None, "kms:Decrypt is denied")},
    )
    assert [action for action in Case("", snapshot).plan().actions if action.kind == "revoke"] == []
