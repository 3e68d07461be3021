"""The forecast against months that the real planner decides, sweep by sweep, and what it says."""

from __future__ import annotations

import copy
import time
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from rotator.model import Policy
from rotator.policy.forecast import AccountForecast, forecast_account, verdict
from rotator.reasons import Reason
from tests.policy.build import DAY, HOUR, MINUTE, NOW, key, secret, snap, tagged
from tests.policy.tables import observed
from tests.policy.test_scheduling_over_months import START, Fleet

TAGS: tuple[dict[str, str], ...] = (
    {},
    {"rotate_before": "5d"},
    {"rotate_before": "2d", "validity": "20d"},
    {"max_age": "15d"},
    {"validity": "12d"},
    {"window": "Mon-Fri 09:00-17:00 Europe/Zagreb"},
    {"window": "Sun 01:00-09:00 UTC", "validity": "40d", "rotate_before": "10d"},
    {"window": "daily 22:00-03:00 UTC", "rotate_before": "2d"},
    {"window": "Mon Thu 04:00-11:00 Europe/Zagreb", "rotate_before": "2d"},
)
# A failing fleet is printed as it is: to make it smaller takes minutes, since every step is a month of real plans.
QUICK = settings(
    deadline=None,
    max_examples=10,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
Ages = list[tuple[int, int, int]]
AGES = st.lists(
    st.tuples(st.integers(1, 400), st.integers(17, 60), st.integers(0, len(TAGS) - 1)), min_size=1, max_size=12
)
"""Secrets: the hours until their keys end, the days that their keys live, and which tags they have."""


def fleet_of(found: Ages, places: int, every: timedelta = 5 * HOUR) -> Fleet:
    """A fleet with so many places a day. A forecast's sweeps are as far apart as those of five hours."""
    fleet = Fleet(Policy(daily_limit=places + 2, reserve=2, sweep_every=every))
    for number, (left, life, tags) in enumerate(found):
        end = START + left * HOUR
        name = f"s{number:02}"
        fleet.add(name, end, end - life * DAY)
        fleet.secrets[name] = tagged(fleet.secrets[name], TAGS[tags])
    return fleet


def forecast(fleet: Fleet, days: int, limit: int | None = None) -> AccountForecast:
    snapshot = snap(list(fleet.secrets.values()), list(fleet.keys.values()))
    policy = replace(fleet.policy, daily_limit=limit or fleet.policy.daily_limit)
    return forecast_account(snapshot, policy, fleet.now, days=days)


def lived(fleet: Fleet, days: int) -> Fleet:
    """The same fleet, so many days later."""
    other = copy.deepcopy(fleet)
    other.run(days)
    return other


def by_day(moments: list[datetime], days: int) -> list[int]:
    counts = Counter((moment - START) // DAY for moment in moments)
    return [counts[day] for day in range(days)]


# ---- against the planner --------------------------------------------------------------------------------------------


@QUICK
@given(AGES, st.integers(1, 4))
@example([(1, 17, 0)] * 3, 1)  # more have expired than there are places
@example([(200 + number % 3, 30, 7) for number in range(12)], 2)  # a crowd in a narrow window: half of what days hold
@example([(150, 30, 7)] * 4 + [(160, 30, 8)] * 4 + [(170, 30, 1)] * 4, 1)  # more than there are places, in three crowds
def test_planner_decides_forecast(found: Ages, places: int) -> None:
    """To the rotation and the revocation, on every day, with the same scheduled early and the same keys missed."""
    fleet = fleet_of(found, places)
    told, real = forecast(fleet, 25), lived(fleet, 25)
    assert [day.rotations for day in told.days] == by_day(real.made, 25)
    assert [day.revocations for day in told.days] == by_day(real.ended, 25)
    assert sum(day.scheduled_early for day in told.days) == real.reasons[Reason.CAPACITY]
    assert {risk.secret for risk in told.at_risk} == set(real.missed)
    assert all(day.rotations <= places and day.revocations <= places for day in told.days)


# ---- what it says ---------------------------------------------------------------------------------------------------


def test_windows_cost_little_time() -> None:
    """Where there are many windows none makes steps of its own, and openings are asked for only as far as needed."""
    seconds = []
    for windows in (False, True):
        fleet = Fleet(Policy())
        for number in range(150):
            hours = f"{number % 24:02}:{number % 60:02}-{(number + 2) % 24:02}:{number % 60:02}"
            name = f"s{number:03}"
            fleet.add(name, START + (40 + number) * DAY / 2, START - 60 * DAY)
            if windows:
                fleet.secrets[name] = tagged(fleet.secrets[name], {"window": f"daily {hours} UTC"})
        begun = time.process_time()
        assert forecast(fleet, 30).at_risk == ()
        seconds.append(time.process_time() - begun)
    assert seconds[1] < 5 * seconds[0]


def test_crowd_is_early_and_not_at_risk() -> None:
    fleet = Fleet(Policy(daily_limit=12, reserve=2))
    for number in range(120):
        fleet.add(f"s{number:03}", START + 20 * DAY, START - 70 * DAY, rotate_before="5d")
    found = forecast(fleet, 30)
    assert sum(day.rotations for day in found.days) == 120
    assert sum(day.scheduled_early for day in found.days) > 60
    assert found.at_risk == ()
    assert verdict(found).values == {}
    assert found.first_full_day is not None
    assert found.first_full_day > START + 3 * DAY  # no earlier than needed
    # Each rotation has its revocation 72 hours later, but for the keys that have expired by then.
    assert sum(day.revocations for day in found.days) == 110
    assert found.per_day == 10


def test_too_many_show_slot_and_turn() -> None:
    fleet = Fleet(Policy(daily_limit=12, reserve=2))
    for number in range(250):
        fleet.add(f"s{number:03}", START + 20 * DAY, START - 70 * DAY, rotate_before="5d")
    found = forecast(fleet, 40)
    assert {risk.reason for risk in found.at_risk} == {Reason.EXPIRES_BEFORE_ROTATION}
    # 250 keys, and 10 slots on each of the 21 days from today to their expiry. Real sweeps lose as many.
    assert len(found.at_risk) == 40
    for risk in found.at_risk:
        assert risk.expires_at == START + 20 * DAY
        assert risk.too_late_from == START  # there never was a place to spare
        assert risk.replaced_at is not None
        assert START + 20 * DAY < risk.replaced_at < START + 30 * DAY
    for fact in (f"{len(found.at_risk)} ", "22 Mar", "rotator:validity"):
        assert fact in str(verdict(found))
    assert max(day.waiting for day in found.days) >= 40
    assert forecast(fleet, 40, limit=1000).at_risk == ()


def test_skipped_is_at_risk() -> None:
    snapshot = observed("""
        held hold=audit {v1 CURRENT key:A}; legacy grace=soon {v1 CURRENT key:B}; bare {v1 CURRENT key:C};
        full {v1 CURRENT key:D} {v2 a b c d e f g h i j k l m n o}; fine {v1 CURRENT key:E};
        gone deleted {v1 CURRENT key:F}; later hold=audit {v1 CURRENT key:G}; past hold=audit {v1 CURRENT key:H};
        A left=10d age=80d; B left=10d age=80d; C left=11d age=79d scopes=hidden; D left=10d age=80d;
        E left=10d age=80d; F left=1d; G left=31d; H left=-1d
    """)
    found = forecast_account(snapshot, Policy(daily_limit=1000), NOW, days=30)
    assert {risk.secret: str(risk.reason) for risk in found.at_risk} == {
        "held": "hold",
        "legacy": "misconfigured",
        "bare": "scopes-unknown",
        "full": "label-limit",
    }
    assert all(risk.too_late_from > NOW + 9 * DAY for risk in found.at_risk)
    assert found.secrets == 1
    for fact in ("4 ", "12 Mar", "`rotator plan`"):
        assert fact in str(verdict(found))


def test_broken_without_slot_is_at_risk() -> None:
    snapshot = observed("5 x s# {v1 CURRENT key:K#}; 5 x K# left=-1d")
    found = forecast_account(snapshot, Policy(daily_limit=5, reserve=2), NOW, days=5)
    assert [day.rotations for day in found.days] == [3, 2, 0, 0, 0]
    assert [risk.secret for risk in found.at_risk] == ["s3", "s4"]
    assert all(risk.expires_at == NOW - DAY for risk in found.at_risk)


def test_todays_and_others_use_counts() -> None:
    fleet, policy = "8 x s# {v1 CURRENT key:K#}; 8 x K# left=5d age=85d", Policy(daily_limit=6, reserve=2)
    found = forecast_account(observed(f"{fleet}; 3 x M# age=30m for=m#@v1 disabled"), policy, NOW, days=6)
    assert [day.rotations for day in found.days[:3]] == [1, 4, 3]
    found = forecast_account(observed(f"{fleet}; 14 x H# age=2d"), policy, NOW, days=6)
    assert found.per_day == 2
    assert [day.rotations for day in found.days] == [4, 2, 2, 0, 0, 0]


def test_retiring_and_orphans_cost_updates() -> None:
    secret = """
        {v1 CURRENT key:K1} {v2 key:K2 retire:K2:+2h} {v3 key:K3 retire:K3:+3h} {v4 key:K4 retire:K4:+4h}
        {v5 key:K5 retire:K5:+5h} {v6 key:K6 retire:K6:+1h}; K1; K2; K3; K4; K5; K6 disabled; KO age=1h for=s@v9
    """
    found = forecast_account(observed(f"s {secret}"), Policy(daily_limit=4, reserve=2), NOW, days=4)
    assert [day.revocations for day in found.days] == [2, 2, 1, 0]
    assert [day.overdue for day in found.days] == [3, 1, 0, 0]
    found = forecast_account(observed(f"s hold=x {secret}"), Policy(), NOW, days=4)
    assert sum(day.revocations for day in found.days) == 0


def test_rare_sweeps_and_empty_fleet() -> None:
    fleet = fleet_of([(100, 30, 0), (300, 30, 0)], 3, 4 * DAY)
    assert sum(day.rotations for day in forecast(fleet, 30).days) == len(lived(fleet, 30).made)
    daily = fleet_of([(300, 30, 1)] * 9, 1, DAY)  # a slot that was used is used again by the next sweep
    told, real = forecast(daily, 30), lived(daily, 30)
    assert [day.rotations for day in told.days] == by_day(real.made, 30)
    assert {risk.secret for risk in told.at_risk} == set(real.missed) == set()
    empty = forecast_account(snap(), Policy(), NOW, days=1)
    assert (len(empty.days), empty.days[0].free, empty.first_full_day) == (1, 32, None)


def test_short_lived_keys_step_finer() -> None:
    short = {"validity": "6h", "grace": "1h", "rotate_before": "0.33"}
    entry = tagged(secret("s", {"v1": "CURRENT key:K1"}), short)
    found = forecast_account(snap([entry], [key("K1", left=HOUR, age=5 * HOUR)]), Policy(), NOW, days=4)
    assert found.at_risk == ()
    assert sum(day.rotations for day in found.days) >= 20


def test_wrong_clock_gives_no_forecast() -> None:
    found = forecast_account(snap(skew=10 * MINUTE), Policy(), NOW)
    assert found.error is not None
    assert found.days == ()


def test_impossible_times_from_outside() -> None:
    never = [NOW.max.replace(tzinfo=NOW.tzinfo), NOW.min.replace(tzinfo=NOW.tzinfo)]
    entries = [secret(f"s{number}", {"v1": f"CURRENT key:K{number}"}) for number in range(2)]
    keys = [
        key(f"K{number}").__class__(f"K{number}", "n", None, True, never[1], end, frozenset({"a"}))
        for number, end in enumerate(never)
    ]
    found = forecast_account(snap(entries, keys), Policy(), NOW, days=400)
    assert len(found.days) == 400
