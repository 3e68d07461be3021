from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.model import Window
from rotator.policy.windows import is_open, next_open, openings, openings_until, parse_window
from rotator.text import Unreadable

WORKDAYS = frozenset(range(5))
ZONES = (
    *("UTC", "Europe/Zagreb", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"),
    *("America/Sao_Paulo", "Africa/Casablanca", "Pacific/Kiritimati", "Etc/GMT+12", "America/St_Johns"),
)
# Around changes of the clock, and anywhere.
CHANGES = (
    *("2026-03-29T01:00", "2026-10-25T01:00", "2026-03-08T07:00", "2026-11-01T06:00", "2026-04-04T15:00"),
    *("2026-10-03T15:30", "2011-12-30T10:00", "2018-11-04T03:00", "2018-02-18T02:00", "2026-02-15T02:00"),
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    start = draw(st.integers(0, 1439))
    end = draw(st.integers(0, 1440).filter(lambda minute: minute != start))
    return Window(draw(st.frozensets(st.integers(0, 6), min_size=1)), start, end, draw(st.sampled_from(ZONES)))


near_changes = st.tuples(st.sampled_from([at(change) for change in CHANGES]), st.integers(-200_000, 200_000)).map(
    lambda pair: pair[0] + timedelta(seconds=pair[1])
)
moments = near_changes | st.datetimes(datetime(1975, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))


@pytest.mark.parametrize(
    ("text", "window", "canonical"),
    [
        ("Mon-Fri 09:00-17:00 Europe/Zagreb", Window(WORKDAYS, 540, 1020, "Europe/Zagreb"), None),
        ("Sat 22:00-04:00 UTC", Window(frozenset({5}), 1320, 240, "UTC"), None),
        ("daily 00:00-24:00 UTC", Window(frozenset(range(7)), 0, 1440, "UTC"), None),
        ("Mon-Sun 00:00-24:00 UTC", Window(frozenset(range(7)), 0, 1440, "UTC"), "daily 00:00-24:00 UTC"),
        ("Fri-Mon 01:00-02:00 UTC", Window(frozenset({4, 5, 6, 0}), 60, 120, "UTC"), None),
        ("Mon-Wed Fri 01:00-02:00 UTC", Window(frozenset({0, 1, 2, 4}), 60, 120, "UTC"), None),
        (
            "fri MON tue-wed 01:00-02:00 UTC",
            Window(frozenset({0, 1, 2, 4}), 60, 120, "UTC"),
            "Mon-Wed Fri 01:00-02:00 UTC",
        ),
        ("Sun 23:00-00:00 UTC", Window(frozenset({6}), 1380, 0, "UTC"), None),
        ("Mon 01:00-02:00 Etc/GMT+12", Window(frozenset({0}), 60, 120, "Etc/GMT+12"), None),
        (
            "Mon 01:00-02:00 America/Argentina/Ushuaia",
            Window(frozenset({0}), 60, 120, "America/Argentina/Ushuaia"),
            None,
        ),
    ],
)
def test_parse_and_format(text: str, window: Window, canonical: str | None) -> None:
    assert parse_window(text) == window
    assert parse_window(canonical or text) == window


HOURS = "09:00-17:00 UTC"
WHOLE, DAYS, TIMES, ZONE = "Mon-Fri 09:00-17:00 Europe/Zagreb", "Mon, Mon-Fri", "09:00-17:00", "Europe/Zagreb"
"""What is shown as the way to write it."""
BAD: dict[tuple[str, str], list[str]] = {
    ("", WHOLE): ["", "always", "Mon-Fri 09:00-17:00", "09:00-17:00 Europe/Zagreb", f"Mon  {HOURS}", f"Mon\t{HOURS}"],
    ("Mon Tue 09:00-17:00", WHOLE): ["Mon Tue 09:00-17:00"],
    ("Mon Tue Europe/Zagreb", WHOLE): ["Mon Tue Europe/Zagreb"],
    **{(days, DAYS): [f"{days} {HOURS}"] for days in ("Mon,Tue", "Mon-Tue-Wed", "Monday", "-", "Mo-Fr")},
    **{(hours, TIMES): [f"Mon {hours} UTC"] for hours in ("9:00-17:00", "09:00", "\u0660\u0669:00-17:00")},
    **{(hours, "23:59"): [f"Mon {hours} UTC"] for hours in ("09:60-17:00", "24:00-17:00", "09:00-24:01")},
    ("09:00-09:00", "00:00-24:00"): ["Mon 09:00-09:00 UTC"],
    **{(zone, "Europe/Zagreb?"): [f"Mon 09:00-17:00 {zone}"] for zone in ("Europe/Zagrebb", "europe/zagreb")},
    **{
        (zone, ""): [f"Mon 09:00-17:00 {zone}"]
        for zone in (
            *("Nowhere", "Europe", "../../../etc/passwd", "/etc/localtime", "Europe/../Europe/Zagreb", "right/UTC"),
            *("localtime", "Europe/\x00"),
        )
    },
}


@pytest.mark.parametrize(("wrong", "fact"), BAD, ids=repr)
def test_parse_refuses(wrong: str, fact: str) -> None:
    """It names the part that is wrong, and shows how to write it."""
    for text in BAD[wrong, fact]:
        with pytest.raises(Unreadable) as caught:
            parse_window(text)
        assert caught.value.text == (wrong or text)
        assert fact in caught.value.fix


pieces = st.sampled_from(["Mon", "Fri-Mon", "daily", "09:00-17:00", "25:00-26:00", "UTC", "Europe", "a/b", "", "é"])


@given(st.text() | st.lists(pieces, max_size=5).map(" ".join))
@settings(max_examples=60)  # an unknown zone is looked for among all zones, which takes its time
def test_parse_raises_only_value_error(text: str) -> None:
    said = ""
    try:
        window = parse_window(text)
    except ValueError as error:
        said = str(error)
    else:
        assert window.days
    assert said.isprintable()


@pytest.mark.parametrize(
    ("text", "open_at", "shut_at"),
    [
        ("Mon-Fri 09:00-17:00 Europe/Zagreb", "2026-11-23T08:00", "2026-11-23T07:59:59"),
        ("Mon-Fri 09:00-17:00 Europe/Zagreb", "2026-07-20T07:00", "2026-07-20T15:00"),
        ("Mon-Fri 09:00-17:00 Europe/Zagreb", "2026-11-27T15:59:59", "2026-11-28T10:00"),
        ("Sat 22:00-04:00 UTC", "2026-11-28T22:00", "2026-11-28T03:00"),
        ("Sat 22:00-04:00 UTC", "2026-11-29T03:59:59", "2026-11-29T04:00"),
        ("Sun 22:00-04:00 UTC", "2026-11-30T03:59:59", "2026-11-29T03:00"),
        ("Sat 22:00-24:00 UTC", "2026-11-28T23:59:59", "2026-11-29T00:00"),
        ("Tue 00:00-24:00 Pacific/Kiritimati", "2026-11-23T10:00", "2026-11-24T10:00"),
    ],
)
def test_is_open(text: str, open_at: str, shut_at: str) -> None:
    window = parse_window(text)
    assert is_open(window, at(open_at))
    assert not is_open(window, at(shut_at))


@pytest.mark.parametrize(
    ("text", "now", "opens", "closes"),
    [
        ("Mon-Fri 09:00-17:00 Europe/Zagreb", "2026-11-27T16:00", "2026-11-30T08:00", "2026-11-30T16:00"),
        ("Mon-Fri 09:00-17:00 Europe/Zagreb", "2026-11-27T12:34:56", "2026-11-27T12:34:56", "2026-11-27T16:00"),
        ("Sat 22:00-04:00 UTC", "2026-11-29T01:00", "2026-11-29T01:00", "2026-11-29T04:00"),
        ("Sat 22:00-04:00 UTC", "2026-11-29T04:00", "2026-12-05T22:00", "2026-12-06T04:00"),
        # days that follow each other without a break are one opening
        ("Mon-Fri 00:00-24:00 UTC", "2026-11-25T10:00", "2026-11-25T10:00", "2026-11-28T00:00"),
        # 02:00 to 03:00 is left out: it opens with the first minute that is shown
        ("Sun 02:30-03:30 Europe/Zagreb", "2026-03-29T00:00", "2026-03-29T01:00", "2026-03-29T01:30"),
        ("Sun 01:30-02:30 Europe/Zagreb", "2026-03-29T00:00", "2026-03-29T00:30", "2026-03-29T01:00"),
        # nothing of it is shown: a week later
        ("Sun 02:00-03:00 Europe/Zagreb", "2026-03-28T12:00", "2026-04-05T00:00", "2026-04-05T01:00"),
        # 02:00 to 03:00 is shown twice
        ("Sun 02:00-02:30 Europe/Zagreb", "2026-10-24T12:00", "2026-10-25T00:00", "2026-10-25T00:30"),
        ("Sun 02:00-02:30 Europe/Zagreb", "2026-10-25T00:30", "2026-10-25T01:00", "2026-10-25T01:30"),
        ("Sun 01:00-02:30 Europe/Zagreb", "2026-10-25T00:45", "2026-10-25T01:00", "2026-10-25T01:30"),
        # half an hour is shown twice
        ("Sun 01:45-02:15 Australia/Lord_Howe", "2026-04-04T12:00", "2026-04-04T14:45", "2026-04-04T15:00"),
        # the clock is changed at midnight
        ("Sun 00:00-02:00 America/Sao_Paulo", "2018-11-03T12:00", "2018-11-04T03:00", "2018-11-04T04:00"),
        ("Sun 00:00-01:00 America/Sao_Paulo", "2018-11-03T12:00", "2018-11-11T02:00", "2018-11-11T03:00"),
        # a Friday that never was
        ("Fri 09:00-17:00 Pacific/Apia", "2011-12-24T12:00", "2012-01-05T19:00", "2012-01-06T03:00"),
    ],
)
def test_when_it_opens_and_shuts(text: str, now: str, opens: str, closes: str) -> None:
    window, begin = parse_window(text), at(now)
    assert next_open(window, begin) == at(opens)
    assert next(openings(window, begin, begin + timedelta(days=30))) == (at(opens), at(closes))


def test_window_over_whole_week_never_shuts() -> None:
    begin, end = at("2026-03-28T12:00"), at("2027-03-28T12:00")
    assert [*openings(parse_window("daily 00:00-24:00 Europe/Zagreb"), begin, end)] == [(begin, end)]


def test_unparsed_window_may_never_open() -> None:
    now = at("2026-03-28T12:00")
    for window in (Window(frozenset(), 0, 60, "UTC"), Window(frozenset({0}), 60, 60, "UTC")):
        assert not is_open(window, now)
        with pytest.raises(ValueError, match="never"):
            next_open(window, now)
    with pytest.raises(Unreadable, match="Mars/Olympus"):
        is_open(Window(frozenset({0}), 0, 60, "Mars/Olympus"), now)


def test_naive_time_is_refused() -> None:
    window = parse_window("daily 00:00-23:59 UTC")
    for ask in (is_open, next_open):
        with pytest.raises(ValueError, match="zone"):
            ask(window, datetime(2026, 1, 1))


@given(windows(), moments, st.lists(st.floats(0, 1, exclude_max=True), max_size=50))
def test_next_open_is_first_opening(window: Window, now: datetime, fractions: list[float]) -> None:
    opens = next_open(window, now)
    assert opens >= now
    assert opens.utcoffset() == timedelta(0)
    assert is_open(window, opens)
    if opens == now:
        return
    assert not is_open(window, now)
    assert not is_open(window, opens - timedelta(microseconds=1))
    step = max(timedelta(minutes=5), (opens - now) / 400)
    grid = [now + step * count for count in range(int((opens - now) / step))]
    for moment in grid + [now + (opens - now) * fraction for fraction in fractions]:
        assert moment >= opens or not is_open(window, moment)


@given(windows(), moments, st.integers(0, 2000), st.lists(st.floats(0, 0.999), max_size=50))
@settings(max_examples=120)
def test_open_only_in_openings(window: Window, now: datetime, hours: int, fractions: list[float]) -> None:
    end = now + timedelta(hours=hours, minutes=1)
    shut_from = now
    for opens, closes in [*openings(window, now, end), (end, end)]:
        assert now <= shut_from <= opens <= closes <= end
        assert shut_from < opens or opens in (now, end)
        for begin, until, wanted in ((shut_from, opens, False), (opens, closes, True)):
            last = until - timedelta(microseconds=1)
            for moment in (begin, *(begin + (until - begin) * fraction for fraction in fractions), last):
                assert begin == until or is_open(window, moment) is wanted
        shut_from = closes


@given(windows(), moments, st.integers(0, 2000))
@settings(max_examples=60)
def test_openings_are_found_backwards_too(window: Window, now: datetime, hours: int) -> None:
    end = now + timedelta(hours=hours)
    found = [*openings_until(window, now, end)]
    assert all(now < closes and opens <= end for opens, closes in found)
    assert all(later[0] >= sooner[1] for later, sooner in pairwise(found))
    cut = [min(closes, end) - max(opens, now) for opens, closes in found]
    assert sum(cut, timedelta()) == sum((closes - opens for opens, closes in openings(window, now, end)), timedelta())
