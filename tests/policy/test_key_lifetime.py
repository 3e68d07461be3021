"""Lifetimes that differ by name, so that what ends together spreads."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.model import Spec
from rotator.policy.key_lifetime import lifetime, share
from rotator.policy.tags import parse_spec, spec_or_none
from tests.policy.build import DAY, SECOND


def spec(**tags: str) -> Spec:
    named = {f"rotator:{tag.replace('_', '-')}": value for tag, value in tags.items()}
    return parse_spec({"rotator:role": "key", "rotator:account": "main", **named})


def test_jitter_is_at_most_tenth_and_even() -> None:
    lives = [lifetime(spec(), f"prod/s{number}") for number in range(1000)]
    assert all(81 * DAY <= life <= 90 * DAY for life in lives)
    days = Counter(life // DAY for life in lives)
    assert set(days) == set(range(81, 90))
    assert max(days.values()) < 150


def test_same_name_gets_same_minute() -> None:
    assert share("prod/sms") == 0.8681174903768714
    assert lifetime(spec(validity="30d"), "prod/sms") / lifetime(spec(), "prod/sms") == pytest.approx(1 / 3, rel=1e-5)


@pytest.mark.parametrize(
    ("tags", "shortest"),
    [
        ({}, 81 * DAY),
        ({"validity": "30d"}, 27 * DAY),
        ({"rotate_before": "80d"}, 89 * DAY),  # a tenth of the ten days until it is due
        ({"validity": "10d", "rotate_before": "239h"}, 10 * DAY - 6 * timedelta(minutes=1)),
        ({"rotate_before": "0.1", "grace": "9d"}, 90 * DAY),  # else a grace of 9 days would outlive the key
        ({"rotate_before": "0.1", "grace": "205h12m"}, 85.5 * DAY),
        ({"validity": "2h", "rotate_before": "1h", "grace": "1h"}, 114 * timedelta(minutes=1)),
    ],
)
def test_validity_outlives_grace_and_start(tags: dict[str, str], shortest: timedelta) -> None:
    lives = [lifetime(spec(**tags), f"s{number}") for number in range(300)]
    assert shortest <= min(lives) <= shortest + (max(lives) - shortest) / 20 + SECOND
    assert max(lives) <= spec(**tags).validity


@given(
    st.integers(600, 400 * 86400),
    st.one_of(st.floats(0.001, 0.999), st.integers(1, 399 * 86400)),
    st.integers(0, 30 * 86400),
    st.text(max_size=60),
)
def test_whatever_may_be_tagged(validity: int, before: float | int, grace: int, name: str) -> None:
    tags = {"rotator:validity": f"{validity}s", "rotator:grace": f"{grace}s", "rotator:allow-short-grace": "true"}
    tags["rotator:rotate-before"] = f"{before}s" if isinstance(before, int) else f"{before:.6f}"
    parsed = spec_or_none({"rotator:role": "key", "rotator:account": "main", **tags})
    if parsed is None:
        return
    life = lifetime(parsed, name)
    assert parsed.validity * 0.9 - SECOND <= life <= parsed.validity
    left = parsed.rotate_before if isinstance(parsed.rotate_before, timedelta) else life * parsed.rotate_before
    assert left < life
    assert parsed.grace <= left + SECOND
