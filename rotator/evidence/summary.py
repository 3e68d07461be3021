"""The summary: the assessor's questions, answered in sentences, from the same rows as the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from rotator import __version__
from rotator.evidence.history import History
from rotator.evidence.tables import HEADS, Row, time_text
from rotator.render import counted
from rotator.report.page import POLICY, make_environment

_MOST_ROWS: Final = 50


def render_summary(
    manifest: Mapping[str, Any], rows: Mapping[str, Sequence[Row]], history: History, redact: Callable[[str], str]
) -> bytes:
    """Return one self-contained page, which loads nothing and runs no script."""

    def texts(row: Row) -> list[str]:
        return ["" if v is None else time_text(v) if isinstance(v, datetime) else str(v) for v in row]

    page = (
        make_environment(redact, Path(__file__).parent)
        .get_template("summary.html.j2")
        .render(
            manifest=manifest,
            chain_words=_chain(manifest),
            answers=_answers(rows),
            tracks=_tracks(manifest, rows, history),
            tables=[(name, HEADS[name], list(map(texts, rows[name][:_MOST_ROWS])), len(rows[name])) for name in HEADS],
            most=_MOST_ROWS,
            policy=POLICY,
            version=__version__,
        )
    )
    return page.encode("utf-8", "backslashreplace")


def _answers(rows: Mapping[str, Sequence[Row]]) -> list[tuple[str, str]]:
    population, held = rows["population"], sum(1 for row in rows["exceptions"] if row[2] == "hold")
    owned, expiring = sum(1 for row in population if row[3]), sum(1 for row in population if row[7])
    late = sum(1 for row in rows["exceptions"] if row[2] == "overdue")
    changed = f"{counted(len(rows['rotations']), 'key')} became managed or current, or were rejected, in the period"
    done = sum(1 for row in rows["emergencies"] if row[8] == "success")
    slowest = max((float(str(row[11])) for row in rows["emergencies"] if row[11] is not None), default=None)
    speed = "" if slowest is None else f" The slowest took {slowest:.0f} s from request to the last refused call."
    return [
        (
            "PCI DSS 8.6.3: are credentials of system accounts changed periodically, as the risk analysis says?",
            f"{counted(len(population), 'secret')} managed now; {expiring} have a key with an expiry. {changed}. "
            f"{counted(late, 'secret')} had overdue work. The columns rotate_before, max_age and validity are the "
            "policy in force; compare them with your risk analysis.",
        ),
        (
            "SOC 2 CC6.1: are credentials inventoried, owned, and removed when no longer needed?",
            f"{owned} of {counted(len(population), 'secret')} have an owner tag. "
            f"{counted(len(rows['revocations']), 'key')} revoked in the period. "
            f"{counted(len(rows['unexplained']), 'change')} not explained by any line that was read.",
        ),
        (
            "ISO 27001 A.5.17: is authentication information replaced after a compromise, and are exceptions managed?",
            f"{counted(len(rows['emergencies']), 'emergency revocation', 'emergency revocations')}, {done} completed "
            f"and verified.{speed} {counted(held, 'hold')}; {counted(len(rows['exceptions']), 'exception')} in all.",
        ),
    ]


def _chain(manifest: Mapping[str, Any]) -> str:
    chain = manifest["chain"]
    if not manifest["sources"]:
        return "No audit lines were read: nothing about the period is shown."
    if chain["problem_count"]:
        return f"The chain has {counted(chain['problem_count'], 'problem')}: lines were altered, lost or repeated."
    return "No line within a run is missing or altered. Lines cut off at the end, or whole runs, may be missing."


def _tracks(
    manifest: Mapping[str, Any], rows: Mapping[str, Sequence[Row]], history: History
) -> list[tuple[str, list[tuple[str, float]], list[tuple[str, float, float]]]]:
    """Return the timeline: by name, marks (class and left) and bars (class, left and width), in per cent."""

    def left(at: datetime) -> float:
        return round(100 * (at - history.begin) / (history.end - history.begin), 1)

    def marks(sign: str, times: Sequence[object]) -> list[tuple[str, float]]:
        places = {left(at) for at in times if isinstance(at, datetime) and history.has(at)}
        return [(sign, place) for place in sorted(places)]

    gaps = [(datetime.fromisoformat(each["from"]), datetime.fromisoformat(each["to"])) for each in manifest["gaps"]]
    silent = [("before", left(begin), round(left(end) - left(begin), 1)) for begin, end in gaps]
    return [
        ("rotations", marks("tick", [row[6] for row in rows["rotations"]]), []),
        ("revocations", marks("revocation", [row[9] for row in rows["revocations"]]), []),
        ("emergencies", marks("now", [row[0] for row in rows["emergencies"]]), []),
        ("no lines read", [], silent),
    ]
