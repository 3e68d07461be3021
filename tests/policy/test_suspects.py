"""Which keys an emergency revokes: one table, read top-down like the rule."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from rotator.policy.suspects import Suspects
from tests.policy.build import DAY, NOW

HOUR = timedelta(hours=1)
SINCE = NOW - HOUR
NAMED = Suspects(named="K1")
SECRET = Suspects(collected=frozenset({"K1"}), since=SINCE)

CASES = {
    "a named key": (NAMED, "K1", SINCE, False, True),
    "a named key that this incident made": (NAMED, "K1", NOW, True, True),
    "another key beside a named one, however old": (NAMED, "K2", NOW - 90 * DAY, False, False),
    "another key of unknown age beside a named one": (NAMED, "K2", None, False, False),
    "a collected key": (SECRET, "K1", NOW - 90 * DAY, False, True),
    "a collected key, however new": (SECRET, "K1", NOW, False, True),
    "a collected key that this incident made": (SECRET, "K1", NOW, True, False),
    "seen later, created before": (SECRET, "K2", SINCE - timedelta(seconds=1), False, True),
    "seen later, created at that moment": (SECRET, "K2", SINCE, False, False),
    "seen later, created since": (SECRET, "K2", NOW, False, False),
    "seen later, created before by this incident": (SECRET, "K2", SINCE - DAY, True, False),
    "seen later, of unknown age": (SECRET, "K2", None, False, True),
    "seen later, valid from tomorrow": (SECRET, "K2", NOW + DAY, False, True),
    "seen later, a few seconds ahead of this clock": (SECRET, "K2", NOW + timedelta(seconds=5), False, False),
}


@pytest.mark.parametrize(("suspects", "key_id", "created", "made_here", "expected"), CASES.values(), ids=CASES)
def test_suspects(suspects: Suspects, key_id: str, created: datetime | None, made_here: bool, expected: bool) -> None:
    assert suspects.include(key_id, created, NOW, made_here=made_here) is expected
