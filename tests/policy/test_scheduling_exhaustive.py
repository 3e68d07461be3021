"""Whole accounts, planned sweep by sweep, against every schedule that there is; with windows, holds and due dates."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rotator.model import Policy
from rotator.policy.planner import plan_account
from rotator.policy.windows import is_open, parse_window
from rotator.reasons import Reason
from tests.policy.build import DAY, HOUR, MINUTE, NOW, snap
from tests.policy.test_scheduling_over_months import Fleet

LIFE = 60 * DAY
WINDOWS = (
    None,
    "Mon 08:00-12:00 UTC",
    "Mon-Wed 06:00-18:00 UTC",
    "Tue Thu 00:00-24:00 UTC",
    "Fri 08:00-12:00 UTC",
    "Wed-Sun 08:00-20:00 UTC",
    "Sat Sun 00:00-24:00 UTC",
)
EVERY = DAY + 5 * MINUTE
"""Sweeps as far apart as slots are used again: what a sweep does takes no slot from the next one."""
LAST = 8


@dataclass(frozen=True)
class Job:
    """A secret: the last sweep before its key expires, how many sweeps before that it is due, and its window."""

    last: int
    before: int
    window: str | None
    hold: bool = False

    @property
    def sweeps(self) -> list[int]:
        """The sweeps at which it may be done."""
        window = None if self.window is None else parse_window(self.window)
        return [at for at in range(self.last + 1) if window is None or is_open(window, NOW + at * EVERY)]

    @property
    def due(self) -> bool:
        return self.last <= self.before


def least_today(jobs: list[Job], slots: int) -> int | None:
    """By trying every schedule: how few that are not due begin today; ``None`` if each misses an expiry."""
    used: Counter[int] = Counter()
    best: list[int | None] = [None]
    order = sorted((job for job in jobs if not job.hold), key=lambda job: len(job.sweeps))

    def go(index: int, cost: int) -> None:
        if best[0] is not None and cost >= best[0]:
            return
        if index == len(order):
            best[0] = cost
            return
        for at in reversed(order[index].sweeps):
            if used[at] < slots:
                used[at] += 1
                go(index + 1, cost + (at == 0 and not order[index].due))
                used[at] -= 1

    go(0, 0)
    return best[0]


def fleet_of(jobs: list[Job], slots: int, every: timedelta = EVERY) -> Fleet:
    """The account. Its keys expire a little after the last sweep, with seconds to spare."""
    fleet = Fleet(Policy(daily_limit=slots, reserve=0, sweep_every=every))
    for number, job in enumerate(jobs):
        # A key is to be replaced half as long before its expiry as ``rotate_before`` asks for.
        end = NOW + job.last * every + (job.before * every + 4 * HOUR) / 2 + MINUTE
        tags = {} if job.window is None else {"window": job.window}
        if job.hold:
            tags["hold"] = "audit"
        seconds = int((job.before * every + 4 * HOUR).total_seconds())
        fleet.add(f"s{number}", end, end - LIFE, rotate_before=f"{seconds}s", grace="1h", ours=True, **tags)
    return fleet


jobs_of = st.lists(
    st.builds(
        Job,
        last=st.integers(0, LAST),
        before=st.just(0),
        window=st.sampled_from(WINDOWS),
        hold=st.sampled_from((False, False, False, False, True)),
    ),
    min_size=1,
    max_size=8,
)


@given(jobs_of, st.integers(1, 3))
@example([Job(1, 0, None), Job(3, 0, "Mon 08:00-12:00 UTC")], 1)  # who has only today goes today, the other tomorrow
@example([Job(0, 0, None), Job(4, 0, None), Job(4, 0, "Mon 08:00-12:00 UTC")], 2)
@example([Job(7, 0, "Mon 08:00-12:00 UTC")] * 4 + [Job(2, 0, None)] * 4, 2)
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_no_missed_expiry_few_early(jobs: list[Job], slots: int) -> None:
    best = least_today(jobs, slots)
    fleet = fleet_of(jobs, slots)
    if best is None:
        return
    plan = plan_account(snap(list(fleet.secrets.values()), list(fleet.keys.values())), fleet.policy, NOW)
    early = [action for action in plan.actions if action.reason is Reason.CAPACITY]
    assert len(early) <= best
    for at in range(LAST + 2):
        fleet.sweep()
        held = {f"s{number}" for number, job in enumerate(jobs) if job.hold}
        assert not set(fleet.missed) - held, (at, jobs)
        fleet.now += EVERY
    assert fleet.busiest(fleet.made) <= slots


def test_due_waits_for_window_later_today() -> None:
    """One slot a day, and a key whose window opens in an hour, for the last time."""
    fleet = Fleet(Policy(daily_limit=1, reserve=0))
    fleet.add("a-due", NOW + 20 * DAY, NOW - 40 * DAY, rotate_before="25d")
    fleet.add("b-window", NOW + 5 * DAY, NOW - 55 * DAY, rotate_before="4d", window="Mon 10:00-11:00 UTC")
    plan = plan_account(snap(list(fleet.secrets.values()), list(fleet.keys.values())), fleet.policy, NOW)
    assert plan.actions == ()
    (skip,) = plan.skipped
    assert (skip.secret, skip.reason) == ("a-due", Reason.DAILY_LIMIT)
    assert [action.secret for action in plan.deferred] == ["a-due"]
    fleet.run(3)
    assert fleet.made == [NOW + HOUR, NOW + 25 * HOUR]
    # Where one secret only is asked for, it gets the slot.
    alone = plan_account(snap(list(fleet.secrets.values())), fleet.policy, NOW, secret="a-due")
    assert [action.secret for action in alone.actions] == []


def test_first_to_expire_goes_first() -> None:
    """Two slots are left today: one key expires today and is due in some hours; two that expire later must go too."""
    fleet = Fleet(Policy(daily_limit=3, reserve=0))
    fleet.add("made", NOW + 60 * DAY, NOW - HOUR)
    fleet.add("soon", NOW + 20 * HOUR, NOW - 60 * DAY, rotate_before="12h", grace="1h")
    for number in range(8):
        fleet.add(f"late{number}", NOW + 70 * HOUR, NOW - 60 * DAY, rotate_before="12h", grace="1h")
    fleet.run(5)
    assert "soon" not in fleet.missed
    assert len(fleet.missed) == 1  # there is one slot too few
