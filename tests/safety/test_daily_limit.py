"""The day's limit counts what others create and what was used before, and a slot is free 24 hours later."""

from __future__ import annotations

import uuid

from tests.safety.harness import DAY, HOUR
from tests.support.rotator import Rotator

PER_DAY, DAYS = 5, 4


def test_other_clients_creates_are_counted(rotator: Rotator) -> None:
    for number in range(5):
        rotator.secret(f"prod/api-{number}", left=20 * DAY)
    rotator.environment |= {"ROTATOR_DAILY_LIMIT": "6", "ROTATOR_RESERVE": "2"}

    def another_client() -> None:
        for number in range(3):
            rotator.key(f"of another client {number}", left=90 * DAY, begins=rotator.clock.now())

    rotator.faults.before_create(another_client)
    rotator.sweep()
    assert len(rotator.rotator_keys()) <= 2, "three others and two of its own: one more than the limit allows"


def test_daily_sweeps_use_every_slot(rotator: Rotator) -> None:
    names = [f"prod/api-{number:02}" for number in range(DAYS * PER_DAY)]
    for name in names:
        rotator.secret(name, left=5 * DAY, rotate_before="30d")
    rotator.environment |= {"ROTATOR_DAILY_LIMIT": "7", "ROTATOR_RESERVE": "2"}
    made = []
    for _ in range(DAYS):
        before = len(rotator.rotator_keys())
        rotator.sweep()
        made.append(len(rotator.rotator_keys()) - before)
        rotator.pass_time(DAY)
    assert made == [PER_DAY] * DAYS


def requests_of_an_idle_sweep(rotator: Rotator) -> list[str]:
    before = len(rotator.calls())
    ran = rotator.sweep()
    assert (ran.code, ran.document["results"]) == (0, [])
    return rotator.calls()[before:]


def test_idle_sweep_costs_same_after_years(rotator: Rotator) -> None:
    for number in range(3):
        rotator.secret(f"prod/api-{number}")
    on_day_one = requests_of_an_idle_sweep(rotator)
    for number in range(250):
        rotator.key(f"of years ago {number}", enabled=False)
    assert requests_of_an_idle_sweep(rotator) == on_day_one


def test_idle_sweep_lists_enabled_keys_only(rotator: Rotator) -> None:
    rotator.secret("prod/api")
    lists = [call for call in requests_of_an_idle_sweep(rotator) if call.startswith("GET /settings/2/api-keys ")]
    assert lists
    assert [call for call in lists if "enabled" not in call.split()] == []


def test_todays_updates_show_in_disabled(rotator: Rotator) -> None:
    """Four revocations a day: what earlier sweeps used of them shows in disabled keys only."""
    rotator.secret("prod/api")
    rotator.environment |= {"ROTATOR_DAILY_LIMIT": "6", "ROTATOR_RESERVE": "2"}
    for _ in range(3):
        rotator.pass_time(HOUR)
        for _ in range(2):
            name = rotator.key_name("prod/api", str(uuid.uuid4()))
            rotator.key(name, age=40 * DAY)
        rotator.sweep()
    assert len([key for key in rotator.rotator_keys() if not key.enabled]) == 4
    rotator.sweeps(1, every=DAY)
    assert len([key for key in rotator.rotator_keys() if not key.enabled]) == 6


def test_uncounted_use_one_slot_per_day_part(rotator: Rotator) -> None:
    """Threat: so many disabled keys that today's use can't be counted. Each part of the day has one create and one
    update, and the reserve is kept. Infobip lists none of the keys that were disabled today. Four slots a day: every
    sixth hour has one of each.
    """
    rotator.environment |= {"ROTATOR_DAILY_LIMIT": "6", "ROTATOR_RESERVE": "2"}
    for number in range(10):
        rotator.secret(f"prod/api-{number}", left=20 * DAY, grace="1h")
    rotator.faults.cut_the_list_of_disabled_keys()
    ran = rotator.sweeps(24)
    assert len(rotator.rotator_keys()) == 4
    assert sum(len(each.results("revoke")) for each in ran) in (3, 4)
    assert max(len(each.results("rotate")) for each in ran) == 1
    alerts = {alert["detail"] for each in ran for alert in each.alerts("listing-incomplete")}
    assert ["4" in detail.split() for detail in alerts] == [True]
    assert rotator.rotate("prod/api-9")  # a person may use the reserve
