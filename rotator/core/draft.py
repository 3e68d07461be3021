"""What is being collected while one account is planned, and in which order it will be done."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

from rotator.core.model import Action, Alert, Reason, Severity, Skip


class Rank(IntEnum):
    """The order of a sweep: cheap truth first, then consumers in need, then what is due, then what can wait."""

    LABEL = 0
    RETIRE = 1
    RESUME = 2
    ROTATE_URGENT = 3
    REVOKE = 4
    ROTATE = 5
    ORPHAN = 6


@dataclass
class Draft:
    """Collects actions, skips and alerts."""

    ranked: list[tuple[Rank, Action]] = field(default_factory=list)
    skipped: list[Skip] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)

    def add(self, rank: Rank, action: Action) -> None:
        """An action, to be done in the order of its rank, then of its deadline (or due time), then of names."""
        self.ranked.append((rank, action))

    def leave(
        self, secret: str, reason: Reason, detail: str, *, key_id: str | None = None, severity: Severity | None = None
    ) -> None:
        """A secret, or one of its actions, that is left alone; with a severity it is an alert too."""
        self.skipped.append(Skip(secret, reason, detail))
        if severity is not None:
            self.alert(reason, detail, secret, key_id, severity)

    def alert(
        self,
        kind: Reason,
        detail: str,
        secret: str | None = None,
        key_id: str | None = None,
        severity: Severity = Severity.WARNING,
        count: int = 1,
    ) -> None:
        """Something that a person should know or mend."""
        self.alerts.append(Alert(kind, detail, secret, key_id, severity, count))

    def actions(self) -> list[Action]:
        """Everything, in order."""
        return [action for _, action in sorted(self.ranked, key=_order)]


def _order(item: tuple[Rank, Action]) -> tuple[Rank, datetime, str, str]:
    rank, action = item
    return rank, action.deadline or action.due_at, action.secret, action.key_id or ""
