"""The metrics that there are: names, types, meanings and labels. docs/metrics.md shows the same table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """How a value is to be read."""

    GAUGE = "gauge"
    COUNTER = "counter"


@dataclass(frozen=True, slots=True)
class Family:
    """A metric: its name, what it means, and its labels beside ``deployment`` and ``account``."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


EXPIRATION: Final = Family(
    "rotator_key_expiration_timestamp_seconds", Kind.GAUGE, "When the key behind AWSCURRENT ends.", ("secret",)
)
READY: Final = Family(
    "rotator_key_ready",
    Kind.GAUGE,
    "1 where Infobip lists the key behind AWSCURRENT as enabled and not ended, else 0.",
    ("secret",),
)
KEYS: Final = Family("rotator_keys", Kind.GAUGE, "Managed secrets by the state in `rotator status`.", ("state",))
EXPIRING: Final = Family(
    "rotator_keys_expiring_7d",
    Kind.GAUGE,
    "Keys with less than 7 days left whose replacement is due, or held back, and not made.",
)
OVERDUE: Final = Family(
    "rotator_revocations_overdue",
    Kind.GAUGE,
    "Old keys that live on although their grace is over; without those that wait for a hold or a window.",
)
ROTATIONS_OVERDUE: Final = Family(
    "rotator_rotations_overdue",
    Kind.GAUGE,
    "Rotations that have not happened a day (or a tenth of the key's lifetime) after they were due; without those that "
    "wait for a hold, a window or their slot.",
)
AT_RISK_KEYS: Final = Family(
    "rotator_keys_at_risk",
    Kind.GAUGE,
    "Keys that will not be replaced in time, or that end within 24 hours and are not replaced yet.",
)
CREATES_USED: Final = Family("rotator_creates_used", Kind.GAUGE, "Creates that the last 24 hours have seen.")
CREATES_LEFT: Final = Family("rotator_creates_left", Kind.GAUGE, "Creates left to scheduled work, the reserve kept.")
UPDATES_USED: Final = Family("rotator_updates_used", Kind.GAUGE, "Updates that the last 24 hours have seen.")
UPDATES_LEFT: Final = Family("rotator_updates_left", Kind.GAUGE, "Updates left to scheduled work, the reserve kept.")
DURATION: Final = Family("rotator_sweep_duration_seconds", Kind.GAUGE, "How long the last sweep of the account took.")
LAST_SUCCESS: Final = Family(
    "rotator_sweep_last_success_timestamp_seconds",
    Kind.GAUGE,
    "When a sweep of the account last ran through with nothing failed; a secret to be fixed is no failure.",
)
ROTATIONS: Final = Family("rotator_rotations_total", Kind.COUNTER, "New keys that were put in place.", ("reason",))
REVOCATIONS: Final = Family("rotator_revocations_total", Kind.COUNTER, "Keys that sweeps revoked.", ("reason",))
FAILURES: Final = Family(
    "rotator_failures_total",
    Kind.COUNTER,
    'Actions that failed, and as action "sweep" accounts that could not be swept.',
    ("action", "reason"),
)

FAMILIES: Final = (
    EXPIRATION,
    READY,
    KEYS,
    EXPIRING,
    OVERDUE,
    ROTATIONS_OVERDUE,
    AT_RISK_KEYS,
    CREATES_USED,
    CREATES_LEFT,
    UPDATES_USED,
    UPDATES_LEFT,
    DURATION,
    LAST_SUCCESS,
    ROTATIONS,
    REVOCATIONS,
    FAILURES,
)
