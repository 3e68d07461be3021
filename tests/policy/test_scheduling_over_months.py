"""Fleets that live for months under a daily limit: nothing ends unnoticed, and nothing that could be done is missed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from rotator.model import Key, Policy, SecretEntry
from rotator.plan import Action, ActionKind
from rotator.policy.forecast import forecast_account
from rotator.policy.key_lifetime import lifetime
from rotator.policy.labels import CURRENT, key_label, key_name, retire_label
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.planner import plan_account
from rotator.policy.tags import parse_spec
from rotator.policy.windows import is_open, parse_window
from rotator.reasons import Reason
from tests.policy.build import DAY, HOUR, NOW, SCOPES, arn_of, snap

START = NOW
NIGHTLY = "daily 20:00-01:00 UTC"
WITHIN = 24 * HOUR + 5 * timedelta(minutes=1)


@dataclass
class Fleet:
    """One account's secrets and keys, and sweeps that do what the planner says."""

    policy: Policy
    now: datetime = START
    secrets: dict[str, SecretEntry] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    missed: dict[str, datetime] = field(default_factory=dict)
    first_alert: datetime | None = None
    reasons: Counter[str] = field(default_factory=Counter)
    made: list[datetime] = field(default_factory=list)
    ended: list[datetime] = field(default_factory=list)
    _number: int = 0

    def add(self, name: str, end: datetime, begin: datetime, *, ours: bool = True, **tags: str) -> None:
        """A secret whose key a former sweep made, or somebody else."""
        named_so = key_name(name, arn_of(name), self.policy.deployment, "0" * 32) if ours else "made by hand"
        key_id, version = self._make(named_so, begin, end)
        named = {f"rotator:{tag.replace('_', '-')}": value for tag, value in tags.items()}
        labels = frozenset({CURRENT, key_label(key_id)})
        tags_of = {"rotator:role": "key", "rotator:account": "main", **named}
        self.secrets[name] = SecretEntry(arn_of(name), name, tags_of, {version: labels})

    def _make(self, name: str, begin: datetime, end: datetime) -> tuple[str, str]:
        number = self._number
        self._number += 1
        key_id, version = f"{number:032X}", f"{number:032x}"
        self.keys[key_id] = Key(key_id, name, None, True, begin, end, SCOPES)
        return key_id, version

    def run(self, days: float) -> None:
        """Sweep every now and then."""
        until = self.now + days * DAY
        while self.now < until:
            self.sweep()
            self.now += self.policy.sweep_every
        self._look(timedelta(0))

    def sweep(self) -> None:
        """One sweep, with what it costs counted."""
        self._look(timedelta(0))
        plan = plan_account(snap(list(self.secrets.values()), list(self.keys.values())), self.policy, self.now)
        for action in plan.actions:
            self._do(action)
        if any(alert.kind is Reason.EXPIRES_BEFORE_ROTATION for alert in plan.alerts):
            self.first_alert = self.first_alert or self.now
        self._look(timedelta.resolution)

    def _look(self, ahead: timedelta) -> None:
        """Whose keys have ended, before the sweep and after it: what ends this very moment it may still replace."""
        for name, entry in self.secrets.items():
            current = self.keys[read_lifecycle(entry).current_key or ""]
            if current.valid_to is not None and current.valid_to < self.now + ahead:
                self.missed.setdefault(name, self.now)

    def _do(self, action: Action) -> None:
        entry = self.secrets[action.secret]
        if action.kind is ActionKind.ROTATE:
            spec = parse_spec(entry.tags)
            life = read_lifecycle(entry)
            assert life.current_version is not None
            assert life.current_key is not None
            version = f"{self._number:032x}"
            name = key_name(entry.name, entry.arn, self.policy.deployment, version)
            key_id, version = self._make(name, self.now, self.now + lifetime(spec, entry.name))
            old = entry.versions[life.current_version] - {CURRENT}
            retiring = retire_label(life.current_key, self.now + spec.grace)
            versions = {life.current_version: old | {retiring}, version: frozenset({CURRENT, key_label(key_id)})}
            versions = {**entry.versions, **versions}
            self.secrets[action.secret] = replace(entry, versions=versions)
            self.made.append(self.now)
            self.reasons[action.reason] += 1
        else:
            assert action.kind is ActionKind.REVOKE
            assert action.version_id is not None
            if action.costs_update:  # else the key has expired, and only its labels go
                self.ended.append(self.now)
                key = self.keys[action.key_id or ""]
                self.keys[key.id] = replace(key, enabled=False, valid_to=self.now)
            left = {version: labels for version, labels in entry.versions.items() if version != action.version_id}
            self.secrets[action.secret] = replace(entry, versions=left)

    def busiest(self, moments: list[datetime]) -> int:
        """The most in any 24 hours (and five minutes)."""
        most, first = 0, 0
        for last, moment in enumerate(moments):
            while moments[first] <= moment - WITHIN:
                first += 1
            most = max(most, last - first + 1)
        return most


def test_1500_keys_with_one_expiry_date() -> None:
    """Made in one afternoon; nothing is due for weeks, and then there would be no place for most of them."""
    fleet = Fleet(Policy(sweep_every=5 * HOUR))
    for number in range(1500):
        fleet.add(f"s{number:04}", START + 55 * DAY, START - 35 * DAY, rotate_before="14d")
    fleet.sweep()
    assert not fleet.made  # no earlier than needed: 1500 keys take 47 days of 25 hours, and three days are for safety
    fleet.run(90)
    assert fleet.missed == {}
    assert fleet.first_alert is None
    assert fleet.reasons[Reason.CAPACITY] > 1000
    assert START + DAY < fleet.made[0] < START + 4 * DAY
    assert fleet.busiest(fleet.made) <= 32
    assert fleet.busiest(fleet.ended) <= 32
    ends = sorted(key.valid_to for key in fleet.keys.values() if key.enabled and key.valid_to is not None)
    clusters = Counter(f"{end:%Y-%m-%d}" for end in ends)
    assert max(clusters.values()) <= 80  # the cluster has dissolved


def test_39_day_for_ever() -> None:
    """Just below what Infobip allows. Five sweeps in 24 hours and 10 minutes: places are used again at once."""
    fleet = Fleet(Policy(daily_limit=40, reserve=0, sweep_every=timedelta(hours=4, minutes=50)))
    count = 39 * 12
    for number in range(count):
        left = timedelta(days=4) + 12 * DAY * number / count
        fleet.add(f"s{number:04}", START + left, START + left - 16 * DAY, validity="16d", rotate_before="0.25")
    fleet.run(60)
    assert fleet.missed == {}
    assert fleet.first_alert is None
    assert len(fleet.made) > 39 * 60
    assert fleet.busiest(fleet.made) <= 40
    assert fleet.busiest(fleet.ended) <= 40


def test_150_keys_one_expiry_one_window() -> None:
    """Five hours a day, and a sweep in each: on most days, not on all, yesterday's places are free again by then.

    Scheduling counts a place for each opening, so it begins a little late, and lives on what is for safety.
    """
    fleet = Fleet(Policy(daily_limit=12, reserve=2, sweep_every=5 * HOUR))
    for number in range(150):
        fleet.add(f"s{number:03}", START + 40 * DAY, START - 50 * DAY, rotate_before="6d", window=NIGHTLY)
    fleet.sweep()
    assert not fleet.made
    fleet.run(41)
    assert fleet.missed == {}
    assert fleet.first_alert is None
    assert len(fleet.made) == 150
    assert all(is_open(parse_window(NIGHTLY), moment) for moment in fleet.made)
    assert START + 14 * DAY < fleet.made[0] < START + 22 * DAY  # 19 days are needed of the 40
    assert fleet.busiest(fleet.made) <= 10


def test_growing_fleet_is_told_in_time() -> None:
    fleet = Fleet(Policy(daily_limit=10, reserve=2, sweep_every=5 * HOUR))
    days = 0
    while not fleet.missed and days < 200:
        for number in range(5):
            window = ("daily 22:00-03:00 UTC", "Mon-Fri 09:00-17:00 UTC")[number % 2]
            fleet.add(
                f"d{days:03}-{number}", fleet.now + 30 * DAY, fleet.now, ours=False, validity="30d", window=window
            )
        fleet.run(1)
        days += 1
    assert fleet.first_alert is not None
    assert fleet.missed
    assert min(fleet.missed.values()) - fleet.first_alert >= 5 * DAY
    assert fleet.busiest(fleet.made) <= 8


FRIDAYS, WEDNESDAYS, OFFICE = "Fri 09:00-11:00 UTC", "Wed 09:00-11:00 UTC", "Mon-Fri 09:00-17:00 UTC"


@pytest.mark.parametrize(
    ("every", "places", "crowds"),
    [
        (12, 8, [(30, 9.0, FRIDAYS), (20, 9.0, "")]),  # sweeps never meet the window
        (12, 8, [(28, 8.7, FRIDAYS), (18, 8.7, "")]),
        (1, 8, [(20, 4.3, WEDNESDAYS), (14, 4.3, "")]),
        (6, 3, [(20, 9.0, OFFICE)]),
        (4, 6, [(31, 14.0, WEDNESDAYS), (24, 14.0, OFFICE), (2, 2.0, NIGHTLY)]),
        (1, 6, [(2, 3.3, OFFICE), (21, 9.0, OFFICE), (28, 14.0, FRIDAYS)]),
        (4, 3, [(10, 3.3, "")]),  # one too many
        (1, 6, [(38, 3.3, OFFICE)]),  # far too many
    ],
)
def test_no_window_costs_key(every: int, places: int, crowds: list[tuple[int, float, str]]) -> None:
    """An end that can't wait wins over it, so no more keys end than if nobody had a window; and the forecast knows."""
    missed = []
    for windows in (True, False):
        begin = datetime(2026, 11, 30, 0, 5, tzinfo=UTC)
        fleet = Fleet(Policy(daily_limit=places + 2, reserve=2, sweep_every=every * HOUR), now=begin)
        for crowd, (count, left, window) in enumerate(crowds):
            for number in range(count):
                tags = {"window": window} if window and windows else {}
                end = begin + left * DAY
                fleet.add(f"crowd{crowd}-{number:02}", end, end - 90 * DAY, ours=False, **tags)
        snapshot = snap(list(fleet.secrets.values()), list(fleet.keys.values()))
        told = forecast_account(snapshot, fleet.policy, fleet.now, days=18)
        fleet.run(18)
        assert {risk.secret for risk in told.at_risk} == set(fleet.missed)
        missed.append(len(fleet.missed))
    assert missed[0] == missed[1]


def test_due_begins_where_days_are_empty() -> None:
    """However full the days to come are: a place that stays empty is one too few at the end."""
    begin = datetime(2026, 11, 30, 0, 5, tzinfo=UTC)
    fleet = Fleet(Policy(daily_limit=10, reserve=2, sweep_every=12 * HOUR), now=begin)
    for number in range(48):
        tags = {"window": FRIDAYS} if number < 30 else {}
        fleet.add(f"s{number:02}", fleet.now + 9 * DAY, fleet.now - 81 * DAY, ours=False, **tags)
    fleet.sweep()
    assert len(fleet.made) == 8


def test_open_windows_leave_urgent_slots() -> None:
    """Three slots a day, and twelve keys that need them all: a window that is open is no reason to go first."""
    fleet = Fleet(Policy(daily_limit=5, reserve=2, sweep_every=2 * HOUR), now=datetime(2026, 3, 6, 5, tzinfo=UTC))
    for number in range(8):
        end = fleet.now + 85 * HOUR + 55 * timedelta(minutes=1)
        fleet.add(f"office{number}", end, end - 90 * DAY, ours=False, rotate_before="1d", window=OFFICE)
    for number in range(4):
        end = fleet.now + (94 + 3 * number) * HOUR
        fleet.add(f"nightly{number}", end, end - 90 * DAY, ours=False, rotate_before="10d", window=NIGHTLY)
    fleet.run(6)
    assert fleet.missed == {}
