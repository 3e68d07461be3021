"""The rows of ``rotator status``: each managed secret's state and next action. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from rotator.durations import LAST, plus
from rotator.model import AccountSnapshot, Location, OfSecret, Window
from rotator.plan import Action, ActionKind, Alert
from rotator.policy.lifecycle import Retiring
from rotator.policy.rules import (
    BROKEN,
    NOT_OURS,
    ROTATE_WHEN,
    View,
    first,
    key_not_found,
    key_unread,
    make_view,
    renew_at,
)
from rotator.policy.windows import next_open
from rotator.reasons import Reason

YEAR = timedelta(days=365)
_BROKEN: Final = BROKEN | {Reason.KEY_NOT_FOUND, Reason.LISTING_INCOMPLETE}


class State(StrEnum):
    """A secret's state: the first match in this order."""

    MISCONFIGURED = "misconfigured"
    HELD = "held"
    EMPTY = "empty"
    UNADOPTED = "unadopted"
    EXPIRED = "expired"
    BROKEN = "broken"
    ROTATING = "rotating"
    DUE = "due"
    RETIRING = "retiring"
    OK = "ok"


URGENCY: Final = (
    State.EXPIRED,
    State.BROKEN,
    State.MISCONFIGURED,
    State.UNADOPTED,
    State.EMPTY,
    State.DUE,
    State.ROTATING,
    State.HELD,
    State.RETIRING,
    State.OK,
)
"""The order of display: what an operator must fix comes first."""


@dataclass(frozen=True, slots=True)
class SecretState(OfSecret):
    """One line of ``rotator status``; ``next_action`` is an :class:`~rotator.plan.ActionKind` or ``None``.

    :param retiring: old keys in their grace period.
    :param disabled: disabled old keys, of which only labels are left.
    :param overdue: whether its rotation, or the revocation of an old key, is overdue. The plan's alert ``overdue`` says
        why.
    """

    account: str
    secret: str
    state: State
    key_id: str | None
    version_id: str | None
    expires_at: datetime | None
    days_left: float | None
    next_action: ActionKind | None
    next_action_at: datetime | None
    retiring: tuple[Retiring, ...]
    hold: str | None
    disabled: tuple[str, ...] = ()
    overdue: bool = False
    location: Location | None = None


def states(
    snapshot: AccountSnapshot, actions: tuple[Action, ...], now: datetime, alerts: Iterable[Alert] = ()
) -> tuple[SecretState, ...]:
    """Return every secret of an account that the rotator writes (no replica, not pending deletion, not service-owned).

    :param actions: the plan's actions, which a sweep would do now.
    :param alerts: the plan's alerts, for overdue work.
    """
    late = frozenset(alert.which for alert in alerts if alert.kind is Reason.OVERDUE)
    views = (make_view(snapshot, entry) for entry in sorted(snapshot.secrets, key=lambda entry: entry.name))
    managed = (view for view in views if first(NOT_OURS, view, now) is None)
    ended = frozenset(key.id for key in snapshot.keys.values() if not key.enabled)
    planned: dict[str, list[Action]] = defaultdict(list)
    for action in actions:
        planned[action.arn].append(action)
    found = (_state(snapshot.account, view, planned[view.entry.arn], now, ended) for view in managed)
    return tuple(replace(state, overdue=True) if state.which in late else state for state in found)


def _state(account: str, view: View, mine: list[Action], now: datetime, ended: frozenset[str]) -> SecretState:
    hold = view.spec.hold if view.spec else None
    key = view.key
    expires = key.valid_to if key else None
    kind, at = _next(view, mine, now)
    state = classify(view, now)
    old = [*(item.key_id for item in view.life.retiring), *(key_id for _, key_id in view.life.superseded)]
    if state is State.RETIRING and ended.issuperset(old):
        state = State.OK
    return SecretState(
        account=account,
        secret=view.entry.name,
        state=state,
        key_id=view.key_id,
        version_id=view.life.current_version,
        expires_at=expires,
        days_left=None if expires is None else round((expires - now).total_seconds() / 86400, 1),
        next_action=None if hold is not None else kind,
        next_action_at=None if hold is not None else at,
        retiring=tuple(item for item in view.life.retiring if item.key_id not in ended),
        hold=hold,
        disabled=tuple(key_id for key_id in dict.fromkeys(old) if key_id in ended),
        location=view.entry.location,
    )


def classify(view: View, now: datetime) -> State:
    """Return a secret's state."""
    if view.spec is None or view.life.problem is not None:
        return State.MISCONFIGURED
    if view.spec.hold is not None:
        return State.HELD
    rotating = view.life.pending_version is not None or view.life.foreign_pending is not None
    if view.life.current_version is None:
        return State.ROTATING if rotating else State.EMPTY
    if view.key_id is None or view.life.current_key is None:
        return State.UNADOPTED
    decision = first((key_unread, key_not_found, *ROTATE_WHEN), view, now)
    if decision is not None and decision.reason in _BROKEN:
        return State.EXPIRED if decision.reason is Reason.EXPIRED else State.BROKEN
    if rotating:
        return State.ROTATING
    if decision is not None:
        return State.DUE
    return State.RETIRING if view.life.retiring or view.life.superseded else State.OK


def _next(view: View, mine: list[Action], now: datetime) -> tuple[ActionKind | None, datetime | None]:
    if mine:
        return mine[0].kind, now
    if view.spec is None or view.key_id is None or view.life.problem is not None or view.life.foreign_pending:
        return None, None
    renew = renew_at(view.spec, view.key)
    coming = [(item.revoke_at, ActionKind.REVOKE) for item in view.life.retiring]
    coming += [(max(renew, now), ActionKind.ROTATE)] if renew is not None else []
    if view.spec.window is not None:
        coming = [(_in_window(view.spec.window, max(at, now)), kind) for at, kind in coming]
    if not coming:
        return None, None
    at, kind = min(coming)
    return kind, at


def _in_window(window: Window, at: datetime) -> datetime:
    """When the window is first open from ``at`` on. A time in the far future means "never" at Infobip."""
    return next_open(window, at) if at < plus(LAST, -YEAR) else at
