"""``--every``, ``--cron``, ``--timezone`` and ``--jitter``: when sweeps come, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.errors import ConfigurationError
from rotator.timetable import Cron, Every, Schedule, make_schedule

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def times(schedule: Schedule, count: int, since: datetime = MONDAY) -> list[datetime]:
    """The next times, without jitter."""
    found = [since]
    for _ in range(count):
        found.append(schedule.after(found[-1]))
    return found[1:]


def cron(text: str, zone: str | None = None) -> Cron:
    made = make_schedule(None, text, zone, "0s")
    assert isinstance(made, Cron)
    return made


def test_default_is_hourly_with_jitter() -> None:
    assert make_schedule(None, None, None, None) == Every(HOUR, 5 * MINUTE)
    assert make_schedule("10m", None, None, None) == Every(10 * MINUTE, MINUTE)
    assert make_schedule("90s", None, None, None) == Every(timedelta(seconds=90), timedelta(seconds=9))
    made = make_schedule(None, "*/20 * * * *", None, None)
    assert made.jitter == 2 * MINUTE


@pytest.mark.parametrize(
    ("field", "days"),
    [
        ("0", "Sun"),
        ("7", "Sun"),
        ("1", "Mon"),
        ("1-5", "Mon Tue Wed Thu Fri"),
        ("5-7", "Sun Fri Sat"),
        ("0-2", "Sun Mon Tue"),
        ("6,0", "Sun Sat"),
        ("sun-tue", "Sun Mon Tue"),
        ("MON-FRI", "Mon Tue Wed Thu Fri"),
        ("*/2", "Sun Tue Thu Sat"),
        ("1-5/2", "Mon Wed Fri"),
        ("1/2", "Sun Mon Wed Fri"),  # to the last day, which is 7
        ("0-7", "Sun Mon Tue Wed Thu Fri Sat"),
    ],
)
def test_days_of_week_as_in_crontab(field: str, days: str) -> None:
    found = {f"{moment:%a}" for moment in times(cron(f"0 12 * * {field}"), 14)}
    assert found == set(days.split())


def test_day_of_month_or_week_as_in_crontab() -> None:
    assert [moment.day for moment in times(cron("0 12 15 * mon"), 4)] == [2, 9, 15, 16]


@pytest.mark.parametrize(
    ("text", "since", "expected"),
    [
        # In the night of 29 March 2026 there is no 02:30 in Zagreb: the sweep comes right after the gap.
        ("30 2 * * *", "2026-03-28T00:00Z", ["2026-03-28T01:30Z", "2026-03-29T01:00Z", "2026-03-30T00:30Z"]),
        # In that of 25 October 02:30 comes twice: the first one counts.
        ("30 2 * * *", "2026-10-24T12:00Z", ["2026-10-25T00:30Z", "2026-10-26T01:30Z"]),
        # Every half hour is every half hour, in both nights.
        ("*/30 * * * *", "2026-03-29T00:30Z", ["2026-03-29T01:00Z", "2026-03-29T01:30Z", "2026-03-29T02:00Z"]),
        ("*/30 * * * *", "2026-10-25T00:30Z", ["2026-10-25T01:00Z", "2026-10-25T01:30Z", "2026-10-25T02:00Z"]),
        ("0 9 * * *", "2026-10-24T05:00Z", ["2026-10-24T07:00Z", "2026-10-25T08:00Z"]),
    ],
)
def test_dst_skips_and_repeats_no_sweep(text: str, since: str, expected: list[str]) -> None:
    found = times(cron(text, "Europe/Zagreb"), len(expected), datetime.fromisoformat(since))
    assert found == [datetime.fromisoformat(each) for each in expected]


@pytest.mark.parametrize(
    ("schedule", "since", "overdue"),
    [
        (make_schedule("1h", None, None, "0s"), MONDAY, MONDAY + 3 * HOUR),
        (make_schedule("1h", None, None, "10m"), MONDAY, MONDAY + 3 * HOUR + 30 * MINUTE),
        (cron("0 * * * *"), MONDAY + timedelta(seconds=5), MONDAY + 3 * HOUR),
        (cron("0 9 * * 1-5"), MONDAY + 4 * DAY + MINUTE, MONDAY + 9 * DAY),  # Mon, Tue, Wed
        (cron("0 9 1 * *"), MONDAY, datetime(2026, 6, 1, 9, 0, tzinfo=UTC)),
    ],
    ids=str,
)
def test_third_missed_sweep_is_overdue(schedule: Schedule, since: datetime, overdue: datetime) -> None:
    assert schedule.overdue_at(since) == overdue


BAD: dict[str, list[tuple[str | None, ...]]] = {
    "--every": [("soon",), ("",), ("9" * 5000 + "d",), ("59s",), ("25h",), ("60",), ("1h", "0 * * * *")],
    "--jitter": [("1h", None, None, "1h"), ("1h", None, None, "-1s"), (None, "*/5 * * * *", None, "5m")],
    "--cron": [
        *((None, cron) for cron in ("", "* * * *", "* * * * * *", "@hourly", "1" * 5000 + " * * * *")),
        *((None, cron) for cron in ("*/0 * * * *", "1" * 190 + " * * * *", "\x1b[2J * * * *")),
        (None, "0 0 30 2 *"),
    ],
    "minute": [(None, "61 * * * *")],
    "day-of-week": [(None, f"0 0 * * {day}") for day in ("8", "mon-", "2nd")],
    "month": [(None, "0 0 * jam *")],
    "--timezone": [
        *((None, None, "UTC"), ("1h", None, "UTC")),
        *((None, "0 * * * *", zone) for zone in ("Mars/Phobos", "../../etc/passwd")),
    ],
    "Europe/Zagreb": [(None, "0 * * * *", "europe/zagreb")],
}
"""Options, and the name that the error contains."""


@pytest.mark.parametrize("named", BAD)
def test_bad_schedule_is_refused_by_name(named: str) -> None:
    for options in BAD[named]:
        with pytest.raises(ConfigurationError) as caught:
            make_schedule(*options, *[None] * (4 - len(options)))
        assert named in str(caught.value), options
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 500


@given(st.text(alphabet="0123456789*/-,abcdefmnorstuw? lL#", max_size=30))
def test_any_cron_is_read_or_refused(text: str) -> None:
    try:
        made = make_schedule(None, text, None, "0s")
    except ConfigurationError:
        return
    (first,) = times(made, 1)
    assert first > MONDAY
