"""Computes an account's metrics, with the same names for Prometheus and CloudWatch. Pure.

Gauges show the account after a sweep's work, while the snapshot is from before it. Counters are given as the increments
of this sweep.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

from rotator.model import AccountSnapshot, location_fields
from rotator.plan import AccountPlan, Action, ActionKind, Outcome, Quota, Result
from rotator.policy.status import SecretState, State, states
from rotator.reasons import Reason
from rotator.text import printable


@dataclass(frozen=True, slots=True)
class Family:
    """A metric's name, its meaning, and its labels besides ``deployment`` and ``account``.

    A secret's location is in its last labels only if there is more than one store.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()

    @property
    def kind(self) -> Literal["counter", "gauge"]:
        """The metric type: counter increments are summed, gauges keep the last value."""
        return "counter" if self.name.endswith("_total") else "gauge"


_OF_SECRET: Final = ("secret", "aws_account", "region")
EXPIRATION: Final = Family(
    "rotator_key_expiration_timestamp_seconds", "Expiry time of the current key, as a Unix timestamp.", _OF_SECRET
)
READY: Final = Family(
    "rotator_key_ready",
    "1 if Infobip lists the current key as enabled and not expired, 0 otherwise.",
    _OF_SECRET,
)
KEYS: Final = Family("rotator_keys", "Number of managed secrets by state, as in `rotator status`.", ("state",))
EXPIRING: Final = Family(
    "rotator_keys_expiring_7d",
    "Keys that expire within 7 days and whose due replacement was not created or is on hold.",
)
OVERDUE: Final = Family(
    "rotator_revocations_overdue",
    "Old keys still enabled after their grace period, excluding those waiting for a hold or a window.",
)
ROTATIONS_OVERDUE: Final = Family(
    "rotator_rotations_overdue",
    "Rotations overdue by a day (or 10% of the key's lifetime, if less), excluding those waiting for a hold, a window "
    "or a slot.",
)
AT_RISK_KEYS: Final = Family(
    "rotator_keys_at_risk",
    "Keys that will not be replaced in time, or that expire within 24 hours without a replacement.",
)
CREATES_USED: Final = Family("rotator_creates_used", "Keys created in the last 24 hours.")
CREATES_LEFT: Final = Family("rotator_creates_left", "Creates left for scheduled work, excluding the reserve.")
UPDATES_USED: Final = Family("rotator_updates_used", "Key updates in the last 24 hours.")
UPDATES_LEFT: Final = Family("rotator_updates_left", "Updates left for scheduled work, excluding the reserve.")
DURATION: Final = Family("rotator_sweep_duration_seconds", "Duration of the account's last sweep, in seconds.")
LAST_SUCCESS: Final = Family(
    "rotator_sweep_last_success_timestamp_seconds",
    "Time of the account's last sweep without a failure. Secrets that need fixing do not count as failures.",
)
ROTATIONS: Final = Family("rotator_rotations_total", "Keys created and promoted.", ("reason",))
REVOCATIONS: Final = Family("rotator_revocations_total", "Keys revoked by sweeps.", ("reason",))
FAILURES: Final = Family(
    "rotator_failures_total",
    'Failed actions; accounts that could not be swept are counted with action "sweep".',
    ("action", "reason"),
)

FAMILIES: Final = tuple(value for value in list(globals().values()) if isinstance(value, Family))
"""Every metric, in order of definition."""

EXPIRING_WITHIN: Final = timedelta(days=7)
AT_RISK: Final = timedelta(hours=24)
LONGEST_LABEL: Final = 512
"""The most characters of a label's value, which is AWS's limit for a secret's name."""
MAKES_A_KEY: Final = frozenset({ActionKind.ROTATE, ActionKind.RESUME})
NOT_OBSERVED: Final = "not-observed"
"""The reason of a failed sweep if no alert names one."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value. ``labels`` are the values of its family's labels, printable on a terminal."""

    family: Family
    value: float
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AccountMetrics:
    """One account's metrics at one moment.

    :param state: all gauges of the account's state, replacing earlier ones; ``None`` if it was not observed.
    :param sweep: gauges about the sweep itself; one that is absent keeps its value.
    :param counts: increments; those of 0 create a series, so that its first increment is visible.
    """

    account: str
    at: datetime
    state: tuple[Sample, ...] | None = None
    sweep: tuple[Sample, ...] = ()
    counts: tuple[Sample, ...] = ()


class Metrics(Protocol):
    """A sink for metrics (Prometheus, CloudWatch). Called by several threads at once."""

    def publish(self, report: AccountMetrics) -> None:
        """Publish one account's report. An exception is logged and stops nothing."""


_ROTATED_FOR: Final = (
    Reason.FIRST_KEY,
    Reason.KEY_DISABLED,
    Reason.EXPIRED,
    Reason.EXPIRING,
    Reason.MAX_AGE,
    Reason.CAPACITY,
    Reason.PENDING,
)
_REVOKED_FOR: Final = (Reason.GRACE_OVER, Reason.ORPHAN)
_ON_PURPOSE: Final = frozenset({Reason.WAITING_FOR_CONSUMERS, Reason.REVOCATION_LIMIT})
# A short-lived key has few days left even before its rotation is due.
_NOT_DUE: Final = frozenset({State.OK, State.RETIRING})


def state_samples(
    snapshot: AccountSnapshot,
    plan: AccountPlan,
    now: datetime,
    results: tuple[Result, ...],
    quota: Quota | None = None,
) -> tuple[Sample, ...]:
    """Return all gauges of an account's state.

    :param results: the results of the plan's actions.
    :param quota: defaults to the plan's own.
    """
    done = [result for result in results if result.outcome is Outcome.DONE]
    handled = [result.action for result in done]
    seen = [_after(state, done) for state in states(snapshot, plan.actions, now)]
    waiting = {skip.which for skip in plan.skipped if skip.reason is Reason.WINDOW}
    expiring = sum(1 for each in seen if _expiring(each, handled, now) and each.which not in waiting)
    # Revocations that wait for consumers are delayed on purpose, and not for long.
    patient = waiting | {skip.which for skip in plan.skipped if skip.reason in _ON_PURPOSE}
    overdue = sum(
        _overdue(each, snapshot, handled, now) for each in seen if each.hold is None and each.which not in patient
    )
    by_state = Counter(each.state for each in seen)
    quota = quota or plan.quota
    return (
        *(sample for each in seen for sample in _of_secret(each, snapshot, done, now)),
        *(Sample(KEYS, by_state[state], (str(state),)) for state in State),
        Sample(EXPIRING, expiring),
        Sample(OVERDUE, overdue),
        Sample(ROTATIONS_OVERDUE, _rotations_overdue(plan, handled)),
        Sample(AT_RISK_KEYS, at_risk(plan, done, now)),
        *_of_limit(CREATES_USED, quota.creates_used, CREATES_LEFT, quota.creates_left),
        *_of_limit(UPDATES_USED, quota.updates_used, UPDATES_LEFT, quota.updates_left),
    )


def _of_limit(used: Family, count: int | None, left: Family, most: int) -> Iterator[Sample]:
    """Yield what is known of a limit: if the day's use was not counted, only that none is left.

    :param most: what is left at most.
    """
    if count is not None:
        yield Sample(used, count)
    if count is not None or most == 0:
        yield Sample(left, most)


def at_risk(plan: AccountPlan, done: Iterable[Result], now: datetime) -> int:
    """Return how many keys may expire before they are replaced, according to the plan alone."""
    late = [alert for alert in plan.alerts if alert.kind is Reason.EXPIRES_BEFORE_ROTATION]
    named = {alert.which for alert in late if alert.secret is not None}
    named |= {
        action.which
        for action in plan.actions
        if action.kind in MAKES_A_KEY and action.deadline is not None and action.deadline - now <= AT_RISK
    }
    named -= {result.action.which for result in done if result.action.kind in MAKES_A_KEY}
    # One alert covers all keys that get no slot; they have no actions.
    return len(named) + sum(alert.count for alert in late if alert.secret is None)


def sweep_samples(ok: bool, begun: datetime, now: datetime) -> tuple[Sample, ...]:
    """Return how long an account's sweep took and, if it succeeded, when."""
    duration = Sample(DURATION, max(0.0, (now - begun).total_seconds()))
    return (duration, Sample(LAST_SUCCESS, now.timestamp())) if ok else (duration,)


def count_samples(plan: AccountPlan, results: tuple[Result, ...]) -> tuple[Sample, ...]:
    """Return the increments from one account's sweep, including zeros for the usual reasons."""
    found: Counter[tuple[Family, tuple[str, ...]]] = Counter({(FAILURES, ("sweep", NOT_OBSERVED)): 0})
    for reason in _ROTATED_FOR:
        found.update({(ROTATIONS, (str(reason),)): 0, (FAILURES, (str(ActionKind.ROTATE), str(reason))): 0})
    for reason in _REVOKED_FOR:
        found.update({(REVOCATIONS, (str(reason),)): 0, (FAILURES, (str(ActionKind.REVOKE), str(reason))): 0})
    if plan.error is not None:
        found[FAILURES, ("sweep", str(plan.alerts[0].kind) if plan.alerts else NOT_OBSERVED)] += 1
    for result in results:
        action = result.action
        because = str(action.reason)
        if result.outcome is Outcome.FAILED:
            found[FAILURES, (str(action.kind), because)] += 1
        elif result.outcome is Outcome.DONE and result.promoted is not None:
            found[ROTATIONS, (because,)] += 1
        elif result.outcome is Outcome.DONE and action.kind is ActionKind.REVOKE and action.reason in _REVOKED_FOR:
            found[REVOCATIONS, (because,)] += 1
    return tuple(Sample(family, count, labels) for (family, labels), count in found.items())


def _after(state: SecretState, done: list[Result]) -> SecretState:
    """Return a secret's state after the actions that were done on it."""
    for result in done:
        action = result.action
        if action.which != state.which:
            continue
        if result.promoted is not None:
            superseded = state.key_id is not None
            state = replace(
                state,
                state=State.HELD if state.hold is not None else State.RETIRING if superseded else State.OK,
                key_id=result.promoted.key_id,
                expires_at=result.promoted.expires_at,
            )
        elif action.kind is ActionKind.REVOKE:
            left = tuple(item for item in state.retiring if item.key_id != action.key_id)
            over = state.state is State.RETIRING and not left
            state = replace(state, retiring=left, state=State.OK if over else state.state)
        elif action.kind is ActionKind.LABEL and state.state is State.UNADOPTED:
            state = replace(state, state=State.OK)
    return state


def _rotations_overdue(plan: AccountPlan, handled: list[Action]) -> int:
    late = {alert.which for alert in plan.alerts if alert.kind is Reason.OVERDUE and alert.action is ActionKind.ROTATE}
    return len(late - {action.which for action in handled if action.kind in MAKES_A_KEY})


def _of_secret(state: SecretState, snapshot: AccountSnapshot, done: list[Result], now: datetime) -> Iterator[Sample]:
    labels = (printable(state.secret, LONGEST_LABEL), *location_fields(state.location).values())
    if state.expires_at is not None:
        yield Sample(EXPIRATION, state.expires_at.timestamp(), labels)
    key = snapshot.keys.get(state.key_id) if state.key_id is not None else None
    new = any(result.promoted.key_id == state.key_id for result in done if result.promoted is not None)
    yield Sample(READY, float(new or (key is not None and key.alive(now))), labels)


def _expiring(state: SecretState, handled: list[Action], now: datetime) -> bool:
    if state.expires_at is None or state.expires_at - now >= EXPIRING_WITHIN or state.state in _NOT_DUE:
        return False
    return not any(action.which == state.which and action.kind in MAKES_A_KEY for action in handled)


def _overdue(state: SecretState, snapshot: AccountSnapshot, handled: list[Action], now: datetime) -> int:
    ended = {action.key_id for action in handled if action.kind is ActionKind.REVOKE and action.which == state.which}
    alive = (snapshot.keys.get(item.key_id) for item in state.retiring if item.revoke_at <= now)
    return sum(1 for key in alive if key is not None and key.alive(now) and key.id not in ended)
