"""One account's plan while it is made, and the order of its actions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from operator import attrgetter

from rotator.message import Message
from rotator.model import AccountSnapshot, Policy, Window
from rotator.plan import Action, ActionKind, Alert, Questions, Skip
from rotator.policy.failed_attempts import FailedAttempts
from rotator.policy.holdings import Holdings
from rotator.policy.ownership import Ownership
from rotator.policy.rules import is_urgent, make_view
from rotator.policy.windows import is_open, openings
from rotator.reasons import Reason


class Rank(IntEnum):
    """The order of a sweep: first cheap corrections, then consumers in need, then other due work, then the rest."""

    LABEL = 0
    RETIRE = 1
    RESUME = 2
    ROTATE_URGENT = 3
    REVOKE = 4
    ROTATE = 5
    ROTATE_AGAIN = 6
    ORPHAN = 7


Finding = Action | Skip | Alert | Questions
"""What a rule returns. Rules write nothing: :meth:`Draft.collect` does."""


@dataclass
class Draft:
    """An account's plan while it is made: what it is made from, and what has been decided.

    :param snapshot: the account as it was observed; ``views`` are its secrets, by name.
    :param moves: whether a secret may be moved to another Infobip account, which only `rotator rotate` does.
    :param since: the time of the previous sweep, if this one stands for all sweeps between the two in a forecast.
    :param planned: actions, in any order.
    :param deferred: due actions that wait for a slot, or for another sweep because there are too many.
    :param late: ARNs whose rotation gets no slot before the key expires.
    :param asked: what to read before the actions may be carried out; ``versions`` only if their secrets have any.
    """

    snapshot: AccountSnapshot
    policy: Policy
    now: datetime
    moves: bool = False
    since: datetime | None = None
    planned: list[Action] = field(default_factory=list)
    skipped: list[Skip] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    deferred: list[Action] = field(default_factory=list)
    late: set[str] = field(default_factory=set)
    asked: list[Questions] = field(default_factory=list)
    _open: dict[Window, bool] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        snapshot = self.snapshot
        self.views = [make_view(snapshot, entry) for entry in sorted(snapshot.secrets, key=attrgetter("name"))]
        self.holdings = Holdings(snapshot, self.views)
        self.ownership = Ownership(snapshot, self.policy.deployment)
        self.attempts = FailedAttempts.of(snapshot, self.holdings, self.ownership, self.now, self.views)

    def collect(self, findings: Iterable[Finding]) -> None:
        """Add what rules found."""
        for found in findings:
            if isinstance(found, Action):
                self.planned.append(found)
            elif isinstance(found, Skip):
                self.skipped.append(found)
            elif isinstance(found, Alert):
                self.alerts.append(found)
            else:
                self.asked.append(found)

    @property
    def questions(self) -> Questions:
        """All that has to be read."""
        return Questions.merged(self.asked)

    def is_open(self, window: Window) -> bool:
        """Whether a window is open in this sweep, or was open in one that this sweep stands for."""
        if window not in self._open:
            self._open[window] = is_open(window, self.now) or self._was_open(window)
        return self._open[window]

    def _was_open(self, window: Window) -> bool:
        if self.since is None:
            return False
        every, found = self.policy.sweep_every, openings(window, self.since + timedelta.resolution, self.now)
        return any(self.now - ((self.now - closes) // every + 1) * every >= opens for opens, closes in found)

    def defer(self, action: Action, reason: Reason, message: Message) -> None:
        """Record that a due action is not planned, and why."""
        self.deferred.append(action)
        is_rotation = action.kind is ActionKind.ROTATE
        key_id = None if is_rotation else action.key_id
        flags = {"scheduled": is_rotation, "by_account": True}
        self.skipped.append(Skip(action.secret, reason, message, action.arn, key_id, **flags, location=action.location))

    def causes(self) -> Callable[[str, str | None], Skip | None]:
        """Return a look-up of why something is not planned, by ARN and key id (``None`` for the rotation)."""
        found = {(skip.arn, skip.key_id): skip for skip in self.skipped}
        wholly = {skip.arn: skip for skip in self.skipped if skip.everything}
        return lambda arn, key_id: found.get((arn, key_id)) or wholly.get(arn)

    def actions(self) -> list[Action]:
        """Return all actions in order: by rank, then by deadline (or due time), then by name."""
        return sorted(self.planned, key=self._order)

    def _order(self, action: Action) -> tuple[Rank, datetime, str, str]:
        return self._rank(action), action.deadline or action.due_at, action.secret, action.key_id or ""

    def _rank(self, action: Action) -> Rank:
        if action.reason is Reason.ORPHAN:
            return Rank.ORPHAN
        if action.kind is not ActionKind.ROTATE:
            return Rank[action.kind.name]
        if self.attempts.created_today(action.arn):
            return Rank.ROTATE_AGAIN
        return Rank.ROTATE_URGENT if is_urgent(action, self.now) else Rank.ROTATE


def uses_quota(action: Action) -> bool:
    """Whether an action takes a create or an update of the day's limit."""
    return action.costs_update or action.kind in (ActionKind.ROTATE, ActionKind.RESUME)
