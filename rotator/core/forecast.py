"""The future of a fleet under its daily limit: what is rotated on which day, and which keys end before their turn.

It is the planner's own policy, played forward with counts: every rotation that is due, the ones that are pulled forward
because they could not be made later, windows, the earliest end first, each replacement with the lifetime that it would
get, and one revocation after its grace. Nothing fails, nobody adds, holds or revokes anything in the meantime; what
others created in the last week they go on creating, as the planner supposes too.

Simplified: the guard against mass revocation is a person's business and stops nothing here; a revocation waits neither
for a key that another secret holds nor for a broken current one; a secret at its limit of labels stays there; in a
fleet of more than 500 secrets of which some have windows, who must be pulled forward is asked once a day, and whenever
a window opens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rotator.core.forecast_days import Simulation
from rotator.core.forecast_start import read_start
from rotator.core.forecast_state import DayCount
from rotator.core.guards import clock_skew
from rotator.core.model import AccountSnapshot, Policy, Reason
from rotator.core.what_if import WhatIf

MOST_DAYS: Final = 400
_MICRO: Final = timedelta(microseconds=1)
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ForecastDay:
    """24 hours, beginning at ``date``; the first day begins now.

    :param rotations: of which ``pulled_forward`` before they are due.
    :param waiting: due rotations that had found no place when the day was over.
    :param overdue: revocations whose time had come and that had found no place.
    :param free: places of the daily limit that scheduled work could still have used at its end.
    """

    date: datetime
    rotations: int
    pulled_forward: int
    revocations: int
    waiting: int
    overdue: int
    free: int


@dataclass(frozen=True, slots=True)
class AtRisk:
    """A key that ends before it is replaced.

    :param key_id: ``None`` for a replacement that is yet to be made.
    :param reason: ``not-in-time`` where there is no place for it, else why its secret is left alone.
    :param too_late_from: when the last place before its end was left unused: from then on only the reserve or a higher
        limit helps. The time of the forecast where there is none.
    :param replaced_at: when it gets its turn after all; ``None``: not within the forecast.
    """

    secret: str
    key_id: str | None
    ends_at: datetime
    reason: Reason
    too_late_from: datetime
    replaced_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AccountForecast:
    """One account's future.

    :param limit: creates, and updates, a day.
    :param per_day: how many of them scheduled work can count on: less the reserve, and less what others create.
    :param secrets: how many are rotated in their turn.
    :param first_full_day: the first on whose end no place was free.
    :param at_risk: sorted by their ends.
    :param error: why nothing can be said.
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


def forecast_account(
    snapshot: AccountSnapshot, policy: Policy, now: datetime, *, days: int = 90, what_if: WhatIf | None = None
) -> AccountForecast:
    """Look so many days ahead.

    :param days: 1 to :data:`MOST_DAYS`.
    :raises ConfigurationError: what is supposed can't work.
    """
    supposed = what_if or WhatIf()
    policy = supposed.policy(policy)
    skew = clock_skew(snapshot)
    if skew is not None:
        return AccountForecast(snapshot.account, policy.daily_limit, policy.reserve, 0, 0, error=skew)
    start = read_start(snapshot, policy, now, supposed)
    run = Simulation(snapshot, start, policy, now)
    run.run(days)
    end = now + days * _DAY

    def at_risk(secret: str, key_id: str | None, ends: datetime, reason: Reason, replaced: int | None) -> AtRisk:
        too_late = now + run.too_late_from((ends - now) // _MICRO) * _MICRO
        return AtRisk(secret, key_id, ends, reason, too_late, None if replaced is None else now + replaced * _MICRO)

    risks = [
        at_risk(each.secret, each.key_id, now + each.ends * _MICRO, Reason.NOT_IN_TIME, each.replaced)
        for each in run.missed
    ]
    risks += [
        at_risk(left.secret, left.key_id, left.ends, left.reason, None) for left in start.left if now < left.ends < end
    ]
    found = tuple(_day(now, number, count) for number, count in enumerate(run.days))
    return AccountForecast(
        account=snapshot.account,
        limit=policy.daily_limit,
        reserve=policy.reserve,
        per_day=run.per_day,
        secrets=len(start.members),
        days=found,
        first_full_day=next((day.date for day in found if day.free == 0), None),
        at_risk=tuple(sorted(risks, key=lambda risk: (risk.ends_at, risk.secret))),
    )


def verdict(found: AccountForecast) -> str:
    """In a few sentences: whether any key ends before its turn, the first, and what helps."""
    if not found.at_risk:
        return "No key ends before its turn."
    late = [risk for risk in found.at_risk if risk.reason is Reason.NOT_IN_TIME]
    alone = [risk for risk in found.at_risk if risk.reason is not Reason.NOT_IN_TIME]
    said = []
    if late:
        said.append(
            f"{_how_many(late, 'before its turn', 'before their turn')}. "
            "A higher limit, a smaller reserve or a longer rotator:validity helps: try each with --what-if."
        )
    if alone:
        counted = _how_many(alone, "in a secret that is left alone", "in secrets that are left alone")
        said.append(f"{counted}: `rotator plan` says how to mend that.")
    return " ".join(said)


def _how_many(risks: Sequence[AtRisk], one: str, many: str) -> str:
    begin = f"{risks[0].ends_at.day} {risks[0].ends_at:%b}"
    if len(risks) == 1:
        return f"1 key ends {one}, on {begin}"
    return f"{len(risks)} keys end {many}, the first on {begin}"


def _day(now: datetime, number: int, count: DayCount) -> ForecastDay:
    return ForecastDay(
        now + number * _DAY,
        count.rotations,
        count.pulled_forward,
        count.revocations,
        count.waiting,
        count.overdue,
        count.free,
    )
