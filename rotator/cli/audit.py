"""``rotator audit``: verify an audit file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypedDict

import click
from rich.console import RenderableType

from rotator.cli.call import Call
from rotator.cli.documents import shaped
from rotator.cli.options import command
from rotator.cli.plan_text import MOST_ROWS
from rotator.render import Grid, counted, shown, styled
from rotator.telemetry.audit_verify import AuditProblem, VerifyReport
from rotator.telemetry.audit_verify import verify as check
from rotator.text import some_of

_MOST_RUNS: Final = 5


@click.group()
def audit() -> None:
    """Check the audit trail that --audit-file wrote.

    \b
    Examples:
      rotator audit verify audit.jsonl
    """


class AuditDocument(TypedDict):
    """``audit verify``."""

    file: str
    ok: bool
    lines: int
    audit_lines: int
    runs: int
    open_runs: list[str]
    unlinked_runs: list[str]
    problem_count: int
    problems: list[AuditProblem]


@command(AuditDocument)
@click.argument("file", metavar="FILE")
def verify(call: Call, file: str) -> int:
    """Check that no line was altered or removed.

    Each line of an audit FILE contains the digest of the one before it, so a
    change shows. A removal of the last lines does not: send them elsewhere
    too.

    Exits 0 if it is intact, 1 if it is not or has no audit line, 2 if it can't
    be read.

    \b
    Examples:
      rotator audit verify audit.jsonl --json
    """
    report = check(file)
    call.result(shaped(AuditDocument, report, file=str(report.path)), _parts(report))
    return 0 if report.ok else 1


audit.add_command(verify)


def _parts(report: VerifyReport) -> Iterator[RenderableType]:
    found = f"{counted(report.audit_lines, 'audit line')} of {counted(report.runs, 'run')}"
    if report.other_lines:
        found += f", {counted(report.other_lines, 'other line')}"
    name = shown(str(report.path), 200)
    if not report.audit_lines:
        yield f"{name} is not an audit file: {shown(report.problems[0].detail)}."
        yield "Pass a file written by --audit-file. If this is one, its lines were removed: use another copy."
        return
    if report.problems:
        rows = [(styled(str(each.kind), "red"), shown(each.detail)) for each in report.problems]
        yield from (Grid(rows, (11,), most=MOST_ROWS, rest="use --json for more"), "")
    if report.open_runs:
        yield f"Unfinished runs (interrupted or still running): {_named(report.open_runs)}."
    if report.unlinked_runs:
        # There are none if --audit-file wrote every line. Lines collected from stderr have no links between runs.
        yield f"Runs not linked to the preceding line: {_named(report.unlinked_runs)}."
    if report.ok:
        yield f"{name} is intact: {found}."
        return
    yield f"{name} is NOT intact: {counted(report.problem_count, 'problem')} in {found}."
    yield "Compare it with another copy before you rely on it."


def _named(runs: Sequence[str]) -> str:
    return f"{counted(len(runs), 'run')} ({some_of((shown(run) for run in runs), _MOST_RUNS)})"
