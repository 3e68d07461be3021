"""What two simulated years came to, as a table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta

from tests.chaos.years_ledger import Violation
from tests.world import HOUR

KINDS = (
    "consumer failure",
    "revoked early",
    "revoked late",
    "orphan",
    "left over",
    "over the limit",
    "secret in output",
    "stuck",
)
"""What must not happen, and is counted."""
SHOWN = 10
"""Violations that a report shows."""


@dataclass
class Score:
    """What came of it. ``violations`` is empty where every promise was kept."""

    seed: int
    days: int
    sweeps: int = 0
    made: int = 0
    missed: int = 0
    kills: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    rotations: int = 0
    revocations: int = 0
    late_by: list[timedelta] = field(default_factory=list)
    most_creates: int = 0
    most_updates: int = 0
    most_labels: int = 0
    keys: int = 0
    violations: list[Violation] = field(default_factory=list)
    digest: str = ""
    seconds: float = 0.0
    cpu: float = 0.0

    def count(self, kind: str) -> int:
        """How many violations of one kind there are."""
        return sum(1 for violation in self.violations if violation.kind == kind)

    def table(self) -> str:
        """The score for people."""
        late = sorted(self.late_by)
        middle, most = (late[len(late) // 2], late[-1]) if late else (timedelta(0), timedelta(0))
        by_end = {end: sum(n for name, n in self.faults.items() if name.startswith(end)) for end in ("infobip", "aws")}
        rows: list[tuple[str, object]] = [
            ("simulated", f"{self.days} days, seed {self.seed}, in {self.seconds:.0f} s ({self.cpu:.0f} s of a core)"),
            (
                "sweeps of an account",
                f"{self.sweeps}, of which {self.made} made and {self.sweeps - self.made} passed over",
            ),
            ("faults", f"{by_end['infobip']} at Infobip, {by_end['aws']} at AWS, of {len(self.faults)} kinds"),
            ("kills", self.kills),
            ("rotations", self.rotations),
            ("revocations", self.revocations),
            ("revoked after end of grace", f"median {_hours(middle)}, at most {_hours(most)}, faults included"),
            ("most creates a day", self.most_creates),
            ("most updates a day", self.most_updates),
            ("most labels on a secret", self.most_labels),
            ("keys at Infobip at the end", self.keys),
            ("end state", self.digest),
            *((f"{kind}", self.count(kind)) for kind in KINDS),
        ]
        return "\n".join(f"{name:<28}  {value}" for name, value in rows)

    def report(self) -> str:
        """The table; where something was violated, the seed and the first of it."""
        if not self.violations:
            return self.table()
        first = min(self.violations, key=lambda violation: violation.at)
        others = "\n".join(violation.line() for violation in self.violations[:SHOWN])
        return f"{self.table()}\n\nFAILED with seed {self.seed}, {len(self.violations)} times:\n{others}\n\n{first}"


def _hours(span: timedelta) -> str:
    return f"{span / HOUR:.1f} h"
