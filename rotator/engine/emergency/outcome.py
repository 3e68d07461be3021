"""What became of an emergency."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from rotator.engine.emergency.targets import Strategy


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done, or failed: ``what`` is created, promoted or revoked.

    :param after: how long after the beginning.
    :param note: for a revoked key, how far it is proven to be dead.
    """

    what: str
    secret: str
    key_id: str | None
    after: timedelta
    note: str = ""
    ok: bool = True


@dataclass(slots=True)
class EmergencyReport:
    """What became of one plan. ``errors`` are sentences for the operator, without any secret value."""

    account: str
    strategy: Strategy
    steps: list[Step] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every key is dead and every secret that should have a new key has one."""
        return not self.errors

    @property
    def revoked(self) -> tuple[str, ...]:
        """The keys that are dead now."""
        return tuple(step.key_id for step in self.steps if step.what == "revoked" and step.ok and step.key_id)

    @property
    def replaced(self) -> tuple[str, ...]:
        """The secrets that have a new key."""
        return tuple(step.secret for step in self.steps if step.what == "promoted" and step.ok)
