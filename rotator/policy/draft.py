"""What is being collected while one account is planned, and in which order it will be done."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

from rotator.message import Message
from rotator.model import Action, ActionKind, Alert, Questions, Reason, Severity, Skip


class Rank(IntEnum):
    """The order of a sweep: cheap truth first, then consumers in need, then what is due, then what can wait."""

    LABEL = 0
    RETIRE = 1
    RESUME = 2
    ROTATE_URGENT = 3
    REVOKE = 4
    ROTATE = 5
    ROTATE_AGAIN = 6
    ORPHAN = 7


class Waiting(NamedTuple):
    """Why something that is due is not planned. ``scheduled``: it only waits for a slot of the day's limit."""

    reason: Reason
    message: Message
    scheduled: bool = False


@dataclass
class Draft:
    """Collects actions, skips and alerts, and what must be read before the actions may be carried out.

    :param deferred: actions that are due and wait for a slot, or for another sweep because of their number.
    :param waiting: by ARN and key id (``None`` for the secret's rotation), why something that is due is not planned.
    :param versions: secrets' versions whose values actions depend on; ``checks`` are read whatever is planned.
    :param readers: by ARN, since when the revocation of a key is due, and since when reads of the secret matter for it.
    """

    ranked: list[tuple[Rank, Action]] = field(default_factory=list)
    skipped: list[Skip] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    deferred: list[Action] = field(default_factory=list)
    waiting: dict[tuple[str, str | None], Waiting] = field(default_factory=dict)
    versions: set[tuple[str, str]] = field(default_factory=set)
    checks: set[tuple[str, str]] = field(default_factory=set)
    copies: dict[str, tuple[str, str] | None] = field(default_factory=dict)
    histories: set[str] = field(default_factory=set)
    readers: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)

    def add(self, rank: Rank, action: Action) -> None:
        """An action, to be done in the order of its rank, then of its deadline (or due time), then of names."""
        self.ranked.append((rank, action))

    def skip(
        self,
        secret: str,
        reason: Reason,
        message: Message,
        *,
        key_id: str | None = None,
        severity: Severity | None = None,
    ) -> None:
        """A secret, or one of its actions, that is skipped; with a severity it is an alert too."""
        self.skipped.append(Skip(secret, reason, message))
        if severity is not None:
            self.alert(reason, message, secret, key_id, severity)

    def defer(self, action: Action, reason: Reason, message: Message) -> None:
        """Why an action that is due is not planned."""
        self.skip(action.secret, reason, message)
        self.deferred.append(action)
        is_rotation = action.kind is ActionKind.ROTATE
        key_id = None if is_rotation else action.key_id
        self.waiting[(action.arn, key_id)] = Waiting(reason, message, scheduled=is_rotation)

    def alert(
        self,
        kind: Reason,
        message: Message,
        secret: str | None = None,
        key_id: str | None = None,
        severity: Severity = Severity.WARNING,
        count: int = 1,
        *,
        by_account: bool = False,
        action: ActionKind | None = None,
    ) -> None:
        """Something that a person should know or fix; a plan has each once."""
        self.alerts.append(Alert(kind, message, secret, key_id, severity, count, by_account, action))

    def questions(self, actions: list[Action], *, history: bool) -> Questions:
        """What is to be read before these actions are carried out.

        :param history: whether the disabled keys are listed already.
        """
        arns = {action.arn for action in actions}
        return Questions(
            versions=frozenset(pair for pair in self.versions if pair[0] in arns) | self.checks,
            copies=self.copies,
            histories=frozenset(self.histories),
            history=not history and any(uses_quota(action) for action in actions),
            readers={
                arn: since for arn, (_, since) in sorted(self.readers.items(), key=lambda item: (item[1][0], item[0]))
            },
        )

    def actions(self) -> list[Action]:
        """Everything, in order."""
        return [action for _, action in sorted(self.ranked, key=_order)]


def uses_quota(action: Action) -> bool:
    """Whether an action takes a create or an update of the day's limit."""
    return action.costs_update or action.kind in (ActionKind.ROTATE, ActionKind.RESUME)


def _order(item: tuple[Rank, Action]) -> tuple[Rank, datetime, str, str]:
    rank, action = item
    return rank, action.deadline or action.due_at, action.secret, action.key_id or ""
