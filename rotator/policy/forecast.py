"""The forecast of the coming days under the daily limit: the planner, run forward over a simulated account.

The planner decides here too. So windows, grace periods, holds, the label limit, the limit of revocations per sweep and
the order of work that waits for a slot are those of real sweeps. Others are assumed to go on creating as many keys as
in the last week.

Not every sweep is simulated. A day has a few steps of equal length, and the last sweep of each does the work of all its
sweeps. A window is open to it if it was open to one of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import reduce
from typing import Final

from rotator.durations import DAY, plus
from rotator.message import Message
from rotator.model import AccountSnapshot, Location, OfSecret, Policy
from rotator.plan import AccountPlan, ActionKind
from rotator.policy.clock_skew import clock_skew
from rotator.policy.daily_limit import first_sweeps, slots_a_day, slots_used
from rotator.policy.rules import View, skipped
from rotator.policy.simulation import SimulatedAccount
from rotator.reasons import Reason

STEPS_PER_DAY: Final = 8
MAX_STEPS: Final = 100_000
"""At most this many secrets times steps are simulated. With more secrets or days, a day has fewer steps."""
STEPS_PER_VALIDITY: Final = 20
"""The shortest validity has at least this many steps."""
_TICK: Final = timedelta.resolution
_SPANS: Final = ((1, "day"), (7, "week of"), (14, "2 weeks of"))
_NOT_OURS: Final = frozenset({Reason.DELETED, Reason.OWNED, Reason.REPLICA})


@dataclass(frozen=True, slots=True)
class ForecastDay:
    """24 hours from ``date`` on, or several such ``days`` as one line of a table or chart. The first day begins now.

    :param rotations: all rotations; ``scheduled_early`` of them happen before they are due.
    :param waiting: due rotations that had no slot when the day was over.
    :param overdue: due revocations that had no slot when the day was over.
    :param free: slots that scheduled work could still have used then.
    """

    date: datetime
    rotations: int = 0
    scheduled_early: int = 0
    revocations: int = 0
    waiting: int = 0
    overdue: int = 0
    free: int = 0
    days: int = 1


@dataclass(frozen=True, slots=True)
class AtRisk(OfSecret):
    """A key that expires before it is replaced.

    :param key_id: ``None`` for a replacement that is yet to be created.
    :param reason: ``expires-before-rotation`` if there is no slot for it, else why its secret is skipped.
    :param too_late_from: when the last slot before its expiry was left unused (the time of the forecast if none was).
        From then on, only the reserve or a higher limit helps.
    :param replaced_at: when it is replaced after all; ``None`` if not within the forecast.
    """

    secret: str
    key_id: str | None
    expires_at: datetime
    reason: Reason
    too_late_from: datetime
    replaced_at: datetime | None = None
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class AccountForecast:
    """One account's future.

    :param limit: creates, and updates, a day.
    :param per_day: how many of them scheduled work can count on: less the reserve, and less what others create.
    :param secrets: how many are rotated by sweeps.
    :param first_full_day: the first day that ended without a free slot.
    :param at_risk: sorted by expiry.
    :param error: why there is no forecast.
    """

    account: str
    limit: int
    reserve: int
    per_day: int
    secrets: int
    days: tuple[ForecastDay, ...] = ()
    first_full_day: datetime | None = None
    at_risk: tuple[AtRisk, ...] = ()
    error: str | None = None


def forecast_account(snapshot: AccountSnapshot, policy: Policy, now: datetime, *, days: int = 90) -> AccountForecast:
    """Forecast one account.

    :param days: how many days, 1 to 400.
    """
    skew = clock_skew(snapshot)
    if skew is not None:
        return AccountForecast(snapshot.account, policy.daily_limit, policy.reserve, 0, 0, error=str(skew))
    run = _Forecast(snapshot, policy, now)
    found = tuple(run.days(days))
    return AccountForecast(
        account=snapshot.account,
        limit=policy.daily_limit,
        reserve=policy.reserve,
        per_day=run.per_day,
        secrets=run.secrets,
        days=found,
        first_full_day=next((day.date for day in found if day.free == 0), None),
        at_risk=tuple(sorted(run.at_risk, key=lambda risk: (risk.expires_at, risk.secret))),
    )


class _Forecast:
    """Steps through one account's future, once."""

    def __init__(self, snapshot: AccountSnapshot, policy: Policy, now: datetime) -> None:
        self._account = SimulatedAccount(snapshot, policy)
        self._policy = policy
        self._begin = self._now = now
        self._known = snapshot.keys.keys()
        views = list(self._account.views())
        specs = [view.spec for view in views if view.spec is not None]
        self._shortest = min((spec.validity for spec in specs), default=STEPS_PER_VALIDITY * DAY)
        self._expiries = {view.entry.arn: self._expiry(view) for view in views}
        self._late: dict[str, int] = {}
        self._unused: list[datetime] = []
        self.secrets = sum(1 for view in views if skipped(view, now) is None)
        used = slots_used(snapshot, now)
        counted = slots_a_day(snapshot, policy, now)
        self._used_by_others = policy.slots - counted
        self.per_day = counted if used.counted else min(counted, len(first_sweeps(now - DAY, now, policy)))
        self.at_risk: list[AtRisk] = []

    def days(self, number: int) -> Iterator[ForecastDay]:
        """Step through that number of days and yield each."""
        affordable = MAX_STEPS // (number * max(1, len(self._expiries)))
        steps = max(1, min(STEPS_PER_DAY, affordable), -(-STEPS_PER_VALIDITY * DAY // self._shortest))
        every = self._policy.sweep_every
        apart = max(1, DAY // steps // every) * every
        day = ForecastDay(self._begin)
        for _ in range(number):
            end = plus(day.date, DAY)
            # The day's last sweep ends a step, so that its work is not the next day's.
            last = self._begin + (end - _TICK - self._begin) // every * every if apart < DAY else end
            while self._now < end:
                day = self._step(day)
                self._now = min(self._now + apart, max(last, self._now + every))
            yield day  # the same as the previous day if sweeps are further apart than a day
            day = replace(day, date=end, rotations=0, scheduled_early=0, revocations=0)
            self._account.add_external_keys(self._used_by_others, end)
        self._note_expired(day.date - _TICK)

    def _step(self, day: ForecastDay) -> ForecastDay:
        """Sweep once, and count what it does."""
        plan = self._sweep()
        rotations = [action for action in plan.actions if action.kind is ActionKind.ROTATE]
        early = sum(action.reason is Reason.CAPACITY for action in rotations)
        free = max(0, plan.quota.creates_left - len(rotations))
        if free:
            self._unused.append(self._now)
        return replace(
            day,
            rotations=day.rotations + len(rotations),
            scheduled_early=day.scheduled_early + early,
            revocations=day.revocations + sum(action.costs_update for action in plan.actions),
            waiting=sum(action.kind is ActionKind.ROTATE for action in plan.deferred),
            overdue=sum(action.costs_update for action in plan.deferred),
            free=free,
        )

    def _sweep(self) -> AccountPlan:
        if self._now > self._begin:
            self._note_expired(self._now - _TICK)
        plan = self._account.sweep(self._now)
        for action in plan.actions:
            if action.kind not in (ActionKind.ROTATE, ActionKind.RESUME, ActionKind.LABEL):
                continue
            replaced = action.kind is not ActionKind.LABEL
            if replaced or self._expiries[action.arn] is not None:
                self._expiries[action.arn] = self._expiry(self._account.view(action.arn))
            late = self._late.pop(action.arn, None) if replaced else None
            if late is not None:
                self.at_risk[late] = replace(self.at_risk[late], replaced_at=self._now)
        self._note_expired(self._now)
        return plan

    # ---- what expires -----------------------------------------------------------------------------------------------

    def _expiry(self, view: View) -> datetime | None:
        """Return when consumers no longer have a working key: now, if the key is disabled."""
        if view.key is None:
            return None
        return view.key.valid_to if view.key.enabled else self._now

    def _note_expired(self, until: datetime) -> None:
        """Record the keys that have expired by then and are not replaced."""
        expired = [(arn, at) for arn, at in self._expiries.items() if at is not None and at <= until]
        for arn, expires_at in expired:
            self._expiries[arn] = None
            view = self._account.view(arn)
            reason = skipped(view, plus(expires_at, -_TICK))
            worked = view.key is not None and view.key.enabled and expires_at > self._begin
            if reason in _NOT_OURS or (reason is not None and not worked):
                continue
            unused = bisect_left(self._unused, expires_at)
            too_late_from = self._unused[unused - 1] if unused else self._begin
            key_id = view.key_id if view.key_id in self._known else None
            self._late[arn] = len(self.at_risk)
            reason = reason or Reason.EXPIRES_BEFORE_ROTATION
            risk = AtRisk(view.entry.name, key_id, expires_at, reason, too_late_from, location=view.entry.location)
            self.at_risk.append(risk)


# ---- for people -----------------------------------------------------------------------------------------------------


def verdict(found: AccountForecast) -> Message:
    """Summarize whether any key expires before it is replaced, when the first does, and what helps."""
    if not found.at_risk:
        return Message("Every key is replaced before it expires.")
    late = [risk for risk in found.at_risk if risk.reason is Reason.EXPIRES_BEFORE_ROTATION]
    others = [risk for risk in found.at_risk if risk.reason is not Reason.EXPIRES_BEFORE_ROTATION]
    sentences = []
    if late:
        sentences.append(
            Message.of(
                "{count}. A higher limit, a smaller reserve or a longer rotator:validity may help.",
                count=_how_many(late, "before it is replaced", "before they are replaced"),
            )
        )
    if others:
        counted = _how_many(others, "in a secret that is skipped", "in secrets that are skipped")
        sentences.append(Message.of("{count}; see `rotator plan` for what to fix.", count=counted))
    return Message.join(sentences)


def _how_many(risks: Sequence[AtRisk], one: str, many: str) -> Message:
    first = risks[0].expires_at
    if len(risks) == 1:
        return Message.of(f"1 key expires {one}, on {{first:%d %b}}", first=first)
    return Message.of(f"{{count}} keys expire {many}, the first on {{first:%d %b}}", count=len(risks), first=first)


def spans(days: Sequence[ForecastDay], lines: int) -> tuple[str, list[ForecastDay]]:
    """Return the name of a line's span and at most ``lines`` lines, each one day or several days together.

    The ``waiting``, ``overdue`` and ``free`` of several days are their worst values.
    """
    length, name = next((span for span in _SPANS if len(days) <= lines * span[0]), _SPANS[-1])
    return name, [reduce(_together, days[at : at + length]) for at in range(0, len(days), length)]


def _together(first: ForecastDay, other: ForecastDay) -> ForecastDay:
    return ForecastDay(
        first.date,
        rotations=first.rotations + other.rotations,
        scheduled_early=first.scheduled_early + other.scheduled_early,
        revocations=first.revocations + other.revocations,
        waiting=max(first.waiting, other.waiting),
        overdue=max(first.overdue, other.overdue),
        free=min(first.free, other.free),
        days=first.days + other.days,
    )
