"""The summary: the assessor's questions, answered in sentences from the rows of the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from rotator.evidence.history import History, TableRow
from rotator.evidence.tables import HEADS
from rotator.render import counted, whole_ids
from rotator.report.page import POLICY, make_environment
from rotator.report.timeline import Axis

_MOST_ROWS: Final = 50


def render_summary(
    manifest: Mapping[str, Any],
    rows: Mapping[str, Sequence[TableRow]],
    shown: Mapping[str, Sequence[Mapping[str, str]]],
    history: History,
    redact: Callable[[str], str],
) -> str:
    """Return one self-contained page, which loads nothing and runs no script.

    :param shown: the rows as the tables have them.
    """
    template = make_environment(redact, Path(__file__).parent).get_template("summary.html.j2")
    axis = Axis(history.begin, history.end, history.end)
    with whole_ids(True):
        return template.render(
            manifest=manifest,
            answers=_answers(rows),
            axis=axis,
            tracks=_tracks(rows, history, axis, manifest),
            tables=[(name, _heads(name, each), each[:_MOST_ROWS], len(each)) for name, each in shown.items()],
            most=_MOST_ROWS,
            policy=POLICY,
        )


def _heads(name: str, rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the columns that say something; the page shows an ARN as the secret's name, so it is left out."""
    return [head for head in HEADS[name] if head != "secret_arn" and any(row[head] for row in rows)]


def _answers(rows: Mapping[str, Sequence[TableRow]]) -> list[tuple[str, str]]:
    population, expiring = rows["population"], sum(1 for row in rows["population"] if row["expires_at"])
    ended = [row for row in rows["emergencies"] if row["seconds"] is not None]
    kinds = [row["kind"] for row in rows["exceptions"]]
    slowest = max((row["seconds"] for row in ended), default=None)
    speed = "" if slowest is None else f" The slowest took {slowest:.0f} s from the request to the last refused call."
    return [
        (
            "PCI DSS 8.6.3: are credentials of system accounts changed periodically, as the risk analysis says?",
            f"{counted(len(population), 'secret')} managed now, of which {expiring} have a key that expires. "
            f"{counted(len(rows['rotations']), 'key')} created, adopted or promoted in the period. "
            f"{counted(kinds.count('overdue'), 'secret')} had overdue work. The columns rotate_before, max_age and "
            "validity are the policy in force; compare them with your risk analysis.",
        ),
        (
            "SOC 2 CC6.1: are credentials inventoried, owned, and removed when no longer needed?",
            f"{sum(1 for row in population if row['owner'])} of {counted(len(population), 'secret')} have an owner. "
            f"{counted(len(rows['revocations']), 'key')} revoked in the period. "
            f"{counted(len(rows['unexplained']), 'change')} that no line explains.",
        ),
        (
            "ISO 27001 A.5.17: is authentication information replaced after a compromise, and are exceptions managed?",
            f"{counted(len(rows['emergencies']), 'emergency revocation')}, {len(ended)} completed and verified.{speed} "
            f"{counted(len(kinds), 'exception')}, of which {counted(kinds.count('hold'), 'hold')}.",
        ),
    ]


def _tracks(
    rows: Mapping[str, Sequence[TableRow]], history: History, axis: Axis, manifest: Mapping[str, Any]
) -> list[tuple[str, str, list[tuple[float, float]]]]:
    """Return the timeline: name, class, and marks (left and width, in per cent)."""

    def marks(name: str, column: str) -> list[tuple[float, float]]:
        return sorted({(axis.position(row[column]), 0) for row in rows[name] if history.has(row.get(column))})

    spans = [[axis.position(datetime.fromisoformat(gap[name])) for name in ("from", "to")] for gap in manifest["gaps"]]
    return [
        ("rotations", "rotation", marks("rotations", "promoted_at")),
        ("revocations", "revocation", marks("revocations", "revoked_at")),
        ("emergencies", "now", marks("emergencies", "requested_at")),
        ("no lines read", "before", [(left, right - left) for left, right in spans]),
    ]
