"""What a forecast keeps of each day, each key and each daily limit. Times are whole microseconds from its begin."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from rotator.core.decisions import URGENT
from rotator.core.forecast_crowds import MICRO
from rotator.core.forecast_start import Member
from rotator.core.guards import DAY, MAX_SKEW

WITHIN: Final = (DAY + MAX_SKEW) // MICRO
URGENT_MICROS: Final = URGENT // MICRO


@dataclass(slots=True)
class DayCount:
    """What one day of 24 hours brings; the last three are what stands at its end."""

    rotations: int = 0
    pulled_forward: int = 0
    revocations: int = 0
    waiting: int = 0
    overdue: int = 0
    free: int = 0


@dataclass(frozen=True, slots=True)
class Missed:
    """A key that ended before its turn.

    :param key_id: ``None`` for a replacement that is not made yet.
    :param replaced: when its secret had a place at last; ``None``: not within the forecast.
    """

    secret: str
    key_id: str | None
    ends: int
    replaced: int | None


@dataclass(frozen=True, slots=True)
class Replacement:
    """What every replacement in a secret has: how long it lives, when it is due, and so on, from when it is made."""

    life: int
    due: int
    keep: int
    cut: int
    grace: int

    @staticmethod
    def of(member: Member) -> Replacement:
        """Work it out once for a secret: it is the same for each of its replacements."""
        life = member.life // MICRO
        due, keep = member.due_after // MICRO, member.keep_later // MICRO
        return Replacement(life, due, keep, min(URGENT_MICROS, life // 10), member.spec.grace // MICRO)


@dataclass(slots=True)
class KeyState:
    """A member's key at the moment of a sweep; ``turn`` tells whether an entry in a heap is still about it."""

    member: Member
    ends: int | None
    due: int | None
    keep: int
    cut: int
    broken: bool
    revokes: bool
    key_id: str | None
    turn: int = 0
    crowded: bool = False


@dataclass(slots=True)
class Places:
    """One daily limit: what was used, and for how long each use counts."""

    used: deque[int]

    def left(self, now: int, most: int) -> int:
        """How many of ``most`` places are free; what was used too long ago to count is forgotten."""
        while self.used and self.used[0] <= now - WITHIN:
            self.used.popleft()
        return max(0, most - len(self.used))
