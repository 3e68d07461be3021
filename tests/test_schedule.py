"""``--every``, ``--cron``, ``--timezone`` and ``--jitter``: when sweeps come, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.cli.schedule import Cron, Every, make_schedule
from rotator.errors import ConfigurationError

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def times(schedule: Every | Cron, count: int, since: datetime = MONDAY) -> list[datetime]:
    """The next times of the schedule's own trigger."""
    trigger = schedule.trigger
    found: list[datetime] = []
    for _ in range(count):
        last = found[-1] if found else since
        found.append(trigger.get_next_fire_time(last, last))
    return found


def cron(text: str, zone: str | None = None) -> Cron:
    made = make_schedule(None, text, zone, "0s")
    assert isinstance(made, Cron)
    return made


def test_hourly_with_a_tenth_of_jitter_at_most_five_minutes_by_default() -> None:
    assert make_schedule(None, None, None, None) == Every(HOUR, 5 * MINUTE)
    assert make_schedule("10m", None, None, None) == Every(10 * MINUTE, MINUTE)
    assert make_schedule("5s", None, None, None) == Every(timedelta(seconds=5), timedelta(0))
    made = make_schedule(None, "*/20 * * * *", None, None)
    assert made.jitter == 2 * MINUTE


def test_an_interval_is_never_shorter_and_at_most_its_jitter_longer() -> None:
    found = times(make_schedule("1h", None, None, "3m"), 200)
    gaps = [later - sooner for sooner, later in zip([MONDAY, *found], found, strict=False)]
    assert all(HOUR <= gap <= HOUR + 3 * MINUTE for gap in gaps)
    assert len(set(gaps)) > 100  # replicas don't march in step
    assert times(make_schedule("1h", None, None, "0s"), 2) == [MONDAY + HOUR, MONDAY + 2 * HOUR]


def test_cron_with_jitter_keeps_its_beat() -> None:
    found = times(make_schedule(None, "0 * * * *", None, "10m"), 50)
    assert [moment.replace(minute=0, second=0, microsecond=0) for moment in found] == [
        MONDAY + n * HOUR for n in range(1, 51)
    ]
    assert all(moment.minute < 10 for moment in found)


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
        ("sat-mon", "Sun Mon Sat"),
        ("MON-FRI", "Mon Tue Wed Thu Fri"),
        ("*/2", "Sun Tue Thu Sat"),
        ("1-5/2", "Mon Wed Fri"),
        ("1/2", "Mon Wed Fri"),
        ("0-7", "Sun Mon Tue Wed Thu Fri Sat"),
    ],
)
def test_days_of_the_week_are_a_crontabs_and_not_apschedulers(field: str, days: str) -> None:
    found = {f"{moment:%a}" for moment in times(cron(f"0 12 * * {field}"), 14)}
    assert found == set(days.split())


def test_a_zones_summer_time() -> None:
    found = times(cron("30 2 * * *", "Europe/Zagreb"), 3, datetime(2026, 3, 27, 12, 0, tzinfo=UTC))
    zagreb = ZoneInfo("Europe/Zagreb")
    assert [moment.astimezone(zagreb).day for moment in found] == [28, 29, 30] or [  # 02:30 is not on the 29th
        moment.astimezone(zagreb).day for moment in found
    ] == [28, 30, 31]
    autumn = times(cron("0 9 * * *", "Europe/Zagreb"), 2, datetime(2026, 10, 24, 5, 0, tzinfo=UTC))
    assert [moment.astimezone(UTC).hour for moment in autumn] == [7, 8]


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
def test_overdue_is_the_third_sweep_that_should_have_come(
    schedule: Every | Cron, since: datetime, overdue: datetime
) -> None:
    assert schedule.overdue_at(since) == overdue


BAD = (
    (("soon", None, None, None), "--every"),
    (("", None, None, None), "--every"),
    (("0s", None, None, None), "1s to 31d"),
    (("32d", None, None, None), "1s to 31d"),
    (("9" * 5000 + "d", None, None, None), "--every"),
    (("60", None, None, None), "say the unit"),
    (("1h", "0 * * * *", None, None), "exclude"),
    ((None, None, "UTC", None), "--timezone needs --cron"),
    (("1h", None, "UTC", None), "--timezone needs --cron"),
    (("1h", None, None, "1h"), "--jitter"),
    (("1h", None, None, "-1s"), "--jitter"),
    ((None, "*/5 * * * *", None, "5m"), "--jitter"),
    ((None, "", None, None), "five fields"),
    ((None, "* * * *", None, None), "five fields"),
    ((None, "* * * * * *", None, None), "five fields"),
    ((None, "@hourly", None, None), "five fields"),
    ((None, "61 * * * *", None, None), "can't be read"),
    ((None, "*/0 * * * *", None, None), "can't be read"),
    ((None, "1" * 190 + " * * * *", None, None), "can't be read"),
    ((None, "1" * 5000 + " * * * *", None, None), "five fields"),
    ((None, "0 0 * * 8", None, None), "no day of the week"),
    ((None, "0 0 * * mon-", None, None), "no day of the week"),
    ((None, "0 0 * * 2nd", None, None), "no day of the week"),
    ((None, "0 0 * jam *", None, None), "can't be read"),
    ((None, "0 0 30 2 *", None, None), "never comes"),
    ((None, "0 0 1 * mon", None, None), "either"),
    ((None, "0 * * * *", "Mars/Phobos", None), "not a time zone"),
    ((None, "0 * * * *", "europe/zagreb", None), "did you mean Europe/Zagreb?"),
    ((None, "0 * * * *", "../../etc/passwd", None), "not a time zone"),
    ((None, "\x1b[2J * * * *", None, None), "can't be read"),
)


@pytest.mark.parametrize(("options", "said"), BAD, ids=lambda value: ascii(value)[:40])
def test_nonsense_is_refused_in_a_sentence(options: tuple[str | None, ...], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_schedule(*options)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@given(st.text(alphabet="0123456789*/-,abcdefmnorstuw? lL#", max_size=30))
def test_any_cron_is_a_schedule_or_refused(text: str) -> None:
    try:
        made = make_schedule(None, text, None, "0s")
    except ConfigurationError:
        return
    (first,) = times(made, 1)
    assert first > MONDAY
