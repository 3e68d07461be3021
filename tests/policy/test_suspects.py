"""Which keys an emergency revokes: one table, read top-down like the rule."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from rotator.model import Key
from rotator.policy.suspects import Suspects
from tests.policy.build import DAY, NOW

HOUR = timedelta(hours=1)
SINCE = NOW - HOUR
NAMED = Suspects(named="K1")
SECRET = Suspects(arn="A", since=SINCE, found=frozenset({"K1"}))
RETRY = Suspects(arn="A", since=SINCE)

CASES = {
    "a named key": (NAMED, "K1", SINCE, False, True),
    "a named key that this incident made": (NAMED, "K1", NOW, True, True),
    "another key beside a named one, however old": (NAMED, "K2", NOW - 90 * DAY, False, False),
    "another key of unknown age beside a named one": (NAMED, "K2", None, False, False),
    "a found key": (SECRET, "K1", NOW - 90 * DAY, False, True),
    "a found key, however new": (SECRET, "K1", NOW, False, True),
    "a found key that this incident made": (SECRET, "K1", NOW, True, False),
    "seen later, created before": (SECRET, "K2", SINCE - timedelta(seconds=1), False, True),
    "seen later, created at that moment": (SECRET, "K2", SINCE, False, False),
    "seen later, created since": (SECRET, "K2", NOW, False, False),
    "seen later, created before by this incident": (SECRET, "K2", SINCE - DAY, True, False),
    "seen later, of unknown age": (SECRET, "K2", None, False, True),
    "seen later, valid from tomorrow": (SECRET, "K2", NOW + DAY, False, True),
    "seen later, a few seconds ahead of this clock": (SECRET, "K2", NOW + timedelta(seconds=5), False, False),
    "in a retry, older than the replacement": (RETRY, "K1", SINCE - DAY, False, True),
    "in a retry, the replacement": (RETRY, "K1", SINCE, True, False),
    "in a retry, newer than the replacement": (RETRY, "K1", NOW, False, False),
}


@pytest.mark.parametrize(("suspects", "key_id", "created", "made_here", "expected"), CASES.values(), ids=CASES)
def test_suspects(suspects: Suspects, key_id: str, created: datetime | None, made_here: bool, expected: bool) -> None:
    key = Key(key_id, "", None, True, created, None)
    assert suspects.suspect(key, "A", NOW, made_here=made_here) is expected


def test_others_keys_suspect_only_if_found() -> None:
    keys = [Key(key_id, "", None, True, SINCE - DAY, None) for key_id in ("K1", "K2")]
    assert [SECRET.suspect(key, "B", NOW) for key in keys] == [True, False]
