"""What ``rotator status`` says of each managed secret. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from rotator.core.decisions import BROKEN, ROTATE_WHEN, View, first, renew_at
from rotator.core.lifecycle import Retiring
from rotator.core.model import AccountSnapshot, Action, ActionKind, Alert, Reason
from rotator.core.planner import make_view
from rotator.core.times import LAST, plus
from rotator.core.windows import next_open

YEAR = timedelta(days=365)


class State(StrEnum):
    """One word for where a secret stands; the first that fits, in this order."""

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


@dataclass(frozen=True, slots=True)
class SecretState:
    """One line of ``rotator status``; ``next_action`` is an :class:`~rotator.core.model.ActionKind` or ``None``.

    :param retiring: old keys that live on in their grace.
    :param dead: old keys that are disabled, and of which only labels are left.
    :param overdue: whether its rotation, or the revocation of an old key, should have been done a while ago: the plan
        has the alert ``overdue``, which says why.
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
    dead: tuple[str, ...] = ()
    overdue: bool = False


def states(
    snapshot: AccountSnapshot, actions: tuple[Action, ...], now: datetime, alerts: Iterable[Alert] = ()
) -> tuple[SecretState, ...]:
    """Every secret of an account that is ours to manage (no replicas, none pending deletion or owned by a service).

    :param actions: the plan's, which say what a sweep would do now.
    :param alerts: the plan's, which say what is overdue.
    """
    late = frozenset(alert.secret for alert in alerts if alert.kind is Reason.OVERDUE)
    views = (make_view(snapshot, entry) for entry in sorted(snapshot.secrets, key=lambda entry: entry.name))
    ended = frozenset(key.id for key in snapshot.keys.values() if not key.enabled)
    found = (_state(snapshot.account, view, actions, now, ended) for view in views if _managed(view))
    return tuple(replace(state, overdue=True) if state.secret in late else state for state in found)


def _managed(view: View) -> bool:
    entry = view.entry
    replica = bool(entry.primary_region) and entry.primary_region != entry.region
    return entry.deleted_at is None and not entry.owning_service and not replica


def _state(account: str, view: View, actions: tuple[Action, ...], now: datetime, ended: frozenset[str]) -> SecretState:
    hold = view.spec.hold if view.spec else None
    key = view.key
    expires = key.valid_to if key else None
    mine = [action for action in actions if action.secret == view.entry.name and action.arn == view.entry.arn]
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
        dead=tuple(key_id for key_id in dict.fromkeys(old) if key_id in ended),
    )


def classify(view: View, now: datetime) -> State:
    """The state's name."""
    if view.spec is None or view.life.problem is not None:
        return State.MISCONFIGURED
    if view.spec.hold is not None:
        return State.HELD
    rotating = view.life.pending_version is not None or view.life.foreign_pending
    if view.life.current_version is None:
        return State.ROTATING if rotating else State.EMPTY
    if view.key_id is None or view.life.current_key is None:
        return State.UNADOPTED
    decision = first(ROTATE_WHEN, view, now)
    if decision is not None and decision.reason in BROKEN:
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
    coming: list[tuple[datetime, ActionKind]] = [(item.revoke_at, ActionKind.REVOKE) for item in view.life.retiring]
    renew = renew_at(view)
    if renew is not None:
        window = view.spec.window
        # Due and not planned: it waits, for its window or for a place in the daily limit.
        waits = max(renew, now)
        if window is not None and waits < plus(LAST, -YEAR):  # else it is the far end's "never"
            waits = next_open(window, waits)
        coming.append((waits, ActionKind.ROTATE))
    if not coming:
        return None, None
    at, kind = min(coming)
    return kind, at
