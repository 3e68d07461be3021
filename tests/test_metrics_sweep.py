"""A sweep is measured after its work, and is never disturbed by it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from rotator.engine.reconcile import Reconciler
from rotator.engine.sweep import Sweep
from rotator.telemetry.metrics import (
    CREATES_LEFT,
    CREATES_USED,
    DURATION,
    EXPIRATION,
    EXPIRING,
    LAST_SUCCESS,
    OVERDUE,
    ROTATIONS,
    ROTATIONS_OVERDUE,
    UPDATES_LEFT,
    UPDATES_USED,
    AccountMetrics,
    Family,
)
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import DAY, HOUR, World


@dataclass
class Kept:
    """Metrics that a test reads."""

    reports: list[AccountMetrics] = field(default_factory=list)

    def publish(self, report: AccountMetrics) -> None:
        """Keep one."""
        self.reports.append(report)

    def of(self, family: Family) -> list[dict[tuple[str, ...], float]]:
        """The values of a family, report by report."""
        return [
            {s.labels: s.value for s in (*(each.state or ()), *each.sweep, *each.counts) if s.family is family}
            for each in self.reports
        ]


class Broken:
    """Metrics that fail."""

    def publish(self, report: AccountMetrics) -> None:
        """Fail."""
        raise OSError("the disk is full")


def swept(world: World, *, dry_run: bool = False, account: str | None = None) -> tuple[Kept, Sweep]:
    kept = Kept()
    services = world.services()
    services.metrics = kept
    return kept, Reconciler(services).sweep(dry_run=dry_run, account=account)


def test_published_is_what_next_sweep_sees(world: World) -> None:
    world.secret("prod/sms", left=5 * DAY)
    kept, sweep = swept(world)
    assert sweep.ok
    new = world.current_key("prod/sms")
    assert kept.of(EXPIRATION) == [{("prod/sms",): new.valid_to.timestamp()}]
    assert kept.of(CREATES_USED) == [{(): 1}]
    assert kept.of(CREATES_LEFT) == [{(): 31}]
    assert {labels: count for labels, count in kept.of(ROTATIONS)[0].items() if count} == {("expiring",): 1}
    assert kept.of(DURATION)[0][()] >= 0
    assert kept.of(LAST_SUCCESS) == [{(): world.clock.now().timestamp()}]
    assert kept.of(EXPIRING) == [{(): 0}]
    again, _ = swept(world)
    told, seen = kept.reports[0].state, again.reports[0].state
    assert told is not None
    assert seen is not None
    known = {(s.family.name, s.labels): s.value for s in told}
    limits = {family.name for family in (CREATES_USED, CREATES_LEFT, UPDATES_USED, UPDATES_LEFT)}
    assert not limits & {s.family.name for s in seen}  # an idle sweep does not list the disabled keys
    known = {each: value for each, value in known.items() if each[0] not in limits}
    assert known == {(s.family.name, s.labels): s.value for s in seen}


@pytest.mark.parametrize(
    ("made", "due", "used", "left"), [(5, 0, {}, {}), (5, 1, {(): 6}, {(): 26}), (32, 0, {}, {(): 0})]
)
def test_use_is_right_or_not_shown(
    world: World, made: int, due: int, used: dict[tuple[str, ...], float], left: object
) -> None:
    """Keys that were revoked today are counted, or nothing is shown; that none is left may show without them."""
    world.secret("prod/otp")
    for number in range(made):
        key = world.infobip.add_key(world.accounts["main"], f"by hand {number}")
        if made == 5:
            world.infobip.change_key(key.id, enabled=False)
    if due:
        world.secret("prod/sms", left=5 * DAY)
    kept, sweep = swept(world)
    assert kept.of(CREATES_USED) == [used]
    assert kept.of(CREATES_LEFT) == [left]
    assert sweep.plan.accounts[0].quota.creates_used == (5 if due else None)


def test_dry_run_reports_what_it_leaves(world: World) -> None:
    world.secret("prod/sms", left=5 * DAY)
    assert swept(world, dry_run=True)[0].of(EXPIRING) == [{(): 1}]
    world.sweep()
    world.pass_time(73 * HOUR)
    assert swept(world, dry_run=True)[0].of(OVERDUE) == [{(): 1}]
    assert swept(world)[0].of(OVERDUE) == [{(): 0}]


def test_overdue_rotation_counts_until_done(world: World) -> None:
    """What this sweep could not do counts, and what waits on purpose never."""
    world.secret("prod/late", left=5 * DAY)
    world.secret("prod/lately", left=29.5 * DAY)
    world.secret("prod/held", left=5 * DAY, hold="freeze")
    world.secret("prod/closed", left=10 * DAY, window="Sun 01:00-02:00 UTC")
    world.infobip.faults.add(Fault(FaultKind.THROTTLE, method="POST", path="api-keys", count=None))
    kept, _ = swept(world)
    assert kept.of(ROTATIONS_OVERDUE) == [{(): 1}]
    world.infobip.faults.clear()
    kept, _ = swept(world)
    assert kept.of(ROTATIONS_OVERDUE) == [{(): 0}]


def test_unread_account_fails_alone(world: World) -> None:
    world.secret("prod/sms", account="main")
    world.secret("other/sms", account="other")
    world.store.create_secret("rotator/second", {"rotator:role": "management", "rotator:account": "other"}, "{}")
    kept, sweep = swept(world)
    assert not sweep.ok
    mine = [report for report in kept.reports if report.account == "main"]
    (other,) = (report for report in kept.reports if report.account == "other")
    assert len(mine) == 1
    assert other.state is None
    assert [(s.labels, s.value) for s in other.counts if s.value] == [(("sweep", "duplicate-management"), 1)]
    assert [s.family for s in other.sweep] == [DURATION]


def test_metrics_that_fail_stop_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.secret("prod/sms", left=5 * DAY)
    services = world.services()
    services.metrics = Broken()
    with caplog.at_level(logging.WARNING):
        assert Reconciler(services).sweep().ok
    (logged,) = (record for record in caplog.records if record.name == "rotator.engine.sweep")
    assert logged.args == ("main", "OSError")
    assert world.consumer_works("prod/sms")


def test_duration_is_accounts_own(world: World) -> None:
    world.secret("prod/sms", left=5 * DAY)
    world.infobip.faults.add(Fault(FaultKind.DELAY, method="POST", seconds=7))
    kept, _ = swept(world)
    assert timedelta(seconds=kept.of(DURATION)[0][()]) >= timedelta(seconds=7)
