"""Each secret's value is verified in exactly one of a day's sweeps, whatever their interval."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from rotator.model import SecretEntry
from rotator.policy.daily_selection import is_time, minute_of, to_verify
from tests.policy.build import DAY, HOUR, MINUTE, NOW, key, secret, snap

ARNS = [f"arn:aws:secretsmanager:eu-central-1:1:secret:s{number}-AbCdEf" for number in range(1000)]


def test_minutes_are_spread_over_day() -> None:
    hours = Counter(minute_of(arn) // 60 for arn in ARNS)
    assert set(hours) == set(range(24))
    assert max(hours.values()) <= 65


@pytest.mark.parametrize("every", [MINUTE, 7 * MINUTE, HOUR, 5 * HOUR, DAY])
@pytest.mark.parametrize("start", [NOW, NOW.replace(hour=23, minute=59, second=31)])
def test_once_in_any_24_hours(start: datetime, every: timedelta) -> None:
    times = [start + number * every for number in range(1, DAY // every + 1)]
    covered = DAY // every * every
    for arn in ARNS[:50]:
        found = [now for now in times if is_time(arn, now - every, now)]
        assert len(found) == 1 if covered == DAY else len(found) <= 1
        assert is_time(arn, start, start + DAY)


def test_late_sweep_verifies_between() -> None:
    arn = ARNS[0]
    at = NOW.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(minutes=minute_of(arn))
    assert is_time(arn, at - MINUTE, at)
    assert is_time(arn, at - MINUTE, at + 3 * HOUR)
    assert not is_time(arn, at, at + 3 * HOUR)
    assert not is_time(arn, at - HOUR, at - timedelta(microseconds=1))


def test_order_differs_from_day_to_day() -> None:
    secrets = [secret(f"s{number}", {"v1": f"CURRENT key:K{number}"}) for number in range(20)]
    snapshot = snap(secrets, keys=[key(f"K{number}") for number in range(20)])
    days = [[entry.name for entry in to_verify(snapshot, now - DAY, now)] for now in (NOW, NOW + DAY)]
    assert len(set(days[0])) == len(days[0]) == 20
    assert days[0] != days[1]
    assert sorted(days[0]) == sorted(days[1])


ENTRY = secret("s")


CASES = {
    "labelled": (ENTRY, True),
    "held": (replace(ENTRY, tags={**ENTRY.tags, "rotator:hold": "x"}), True),
    "misconfigured": (replace(ENTRY, tags={**ENTRY.tags, "rotator:grace": "soon"}), False),
    "deleted": (replace(ENTRY, deleted_at=NOW), False),
    "owned": (replace(ENTRY, owning_service="rds"), False),
    "replica": (replace(ENTRY, primary_region="eu-west-1"), False),
    "unlabelled": (secret("s", {"v1": "CURRENT"}), False),
    "key of another account": (secret("s", {"v1": "CURRENT key:K9"}), False),
    "two labels": (secret("s", {"v1": "CURRENT key:K1 key:K9"}), False),
    "empty": (secret("s", {}), False),
}


@pytest.mark.parametrize(("entry", "verified"), CASES.values(), ids=CASES)
def test_which_secrets(entry: SecretEntry, verified: bool) -> None:
    found = to_verify(snap([entry], keys=[key("K1")]), NOW - DAY, NOW)
    assert found == ([entry] if verified else [])
