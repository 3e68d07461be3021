from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.durations import MAX_DURATION, format_duration, human_duration, parse_duration
from rotator.text import Unreadable

whole_seconds = st.integers(0, int(MAX_DURATION.total_seconds())).map(lambda seconds: timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("72h", timedelta(hours=72)),
        ("14d", timedelta(days=14)),
        ("2w", timedelta(weeks=2)),
        ("1d12h", timedelta(days=1, hours=12)),
        ("12h1d", timedelta(days=1, hours=12)),
        ("1w2d3h4m5s", timedelta(weeks=1, days=2, hours=3, minutes=4, seconds=5)),
        ("0s", timedelta(0)),
        ("007d", timedelta(days=7)),
        ("3650d", MAX_DURATION),
        ("0" * 5000 + "1s", timedelta(seconds=1)),
    ],
)
def test_parse(text: str, length: timedelta) -> None:
    assert parse_duration(text) == length


BAD = {
    "14d": ["", "soon", "1.5d", "-1d", "+1d", "1 d", " 1d", "1d\n", "1D", "1M", "1y", "d", "\u0661d"],
    "7d .* 7h": ["7"],
    "unit d": ["1d1d", "1d2h3d"],
    "3650d": ["3650d1s", "522w", "9" * 30 + "s", "9" * 9000 + "w"],
}


@pytest.mark.parametrize("fact", BAD)
def test_parse_refuses(fact: str) -> None:
    for text in BAD[fact]:
        with pytest.raises(Unreadable, match=fact) as caught:
            parse_duration(text)
        assert caught.value.text == text


@given(st.text() | st.from_regex(r"[0-9]{1,25}[smhdw]([0-9]{1,3}[smhdw.-]){0,3}", fullmatch=True))
def test_parse_raises_only_value_error(text: str) -> None:
    said = ""
    try:
        length = parse_duration(text)
    except ValueError as error:
        said = str(error)
    else:
        assert timedelta(0) <= length <= MAX_DURATION
        assert parse_duration(format_duration(length)) == length
    assert said.isprintable()


@given(whole_seconds)
def test_what_is_written_is_read_back(length: timedelta) -> None:
    assert parse_duration(format_duration(length)) == length


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(days=90), "90d"),
        (timedelta(hours=72), "3d"),
        (timedelta(hours=36), "1d12h"),
        (timedelta(days=1, seconds=1), "1d1s"),
        (timedelta(seconds=1, microseconds=999_999), "1s"),
    ],
)
def test_format(length: timedelta, text: str) -> None:
    assert format_duration(length) == text


def test_format_refuses_negative_length() -> None:
    with pytest.raises(ValueError, match="negative"):
        format_duration(timedelta(microseconds=-1))


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(days=4, hours=23), "5 d"),
        (timedelta(hours=72), "3 d"),
        (timedelta(days=3) - timedelta(seconds=1), "3 d"),
        (timedelta(days=2), "2 d"),
        (timedelta(days=2, hours=12), "3 d"),
        (timedelta(days=1, hours=23, minutes=40), "2 d"),
        (timedelta(days=1, hours=5, minutes=29), "1 d 5 h"),
        (timedelta(days=1, minutes=29), "1 d"),
        (timedelta(hours=23, minutes=59), "1 d"),
        (timedelta(hours=9, minutes=59, seconds=40), "10 h"),
        (timedelta(hours=3, minutes=20, seconds=29), "3 h 20 min"),
        (timedelta(hours=3), "3 h"),
        (timedelta(minutes=59, seconds=59), "1 h"),
        (timedelta(minutes=9, seconds=5), "9 min 5 s"),
        (timedelta(minutes=5), "5 min"),
        (timedelta(seconds=59, milliseconds=900), "1 min"),
        (timedelta(seconds=12, milliseconds=400), "12 s"),
        (timedelta(seconds=9, milliseconds=990), "10 s"),
        (timedelta(minutes=1, milliseconds=400), "1 min"),
        (timedelta(seconds=9, milliseconds=900), "9.9 s"),
        (timedelta(milliseconds=420), "0.4 s"),
        (timedelta(milliseconds=40), "0 s"),
        (timedelta(0), "0 s"),
        (timedelta(days=-4), "-4 d"),
        (timedelta(seconds=-12), "-12 s"),
        (timedelta(milliseconds=-40), "0 s"),
    ],
)
def test_durations_for_people_are_rounded(length: timedelta, text: str) -> None:
    assert human_duration(length) == text


@given(st.timedeltas(timedelta(days=-4_000_000), timedelta(days=4_000_000)))
def test_rounding_stays_close(length: timedelta) -> None:
    text = human_duration(length)
    seconds = {"d": 86_400.0, "h": 3_600.0, "min": 60.0, "s": 1.0}
    words = text.removeprefix("-").split(" ")
    written = sum(float(count) * seconds[unit] for count, unit in zip(words[::2], words[1::2], strict=True))
    real = abs(length.total_seconds())
    assert abs(written - real) <= max(0.06, real * 0.25)
