"""``rotator audit``: the audit file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from rotator.cli.documents import Document, fields
from rotator.cli.options import Options, common_options, pass_options
from rotator.cli.output import Output
from rotator.cli.plan import MOST_ROWS
from rotator.render import Grid, counted, shown, styled
from rotator.telemetry.audit_verify import VerifyReport
from rotator.telemetry.audit_verify import verify as check
from rotator.text import some_of

_MOST_RUNS: Final = 5


@click.group()
def audit() -> None:
    """Check the audit trail that --audit-file wrote.

    \b
    Examples:
      rotator run --audit-file audit.jsonl
      rotator audit verify audit.jsonl
    """


@audit.command(short_help="Check that no line was altered or removed.")
@click.argument("file", metavar="FILE")
@common_options
@pass_options
def verify(options: Options, file: str) -> int:
    """Check that no line of an audit FILE was altered, moved or removed.

    Each audit line carries the digest of the one before it, so a change
    shows. Lines cut off the very end do not: send them elsewhere as well.

    Exits 0 if it is intact, 1 if it is not or has no audit line at all, 2 if
    it can't be read.

    \b
    Examples:
      rotator audit verify audit.jsonl
      rotator audit verify audit.jsonl --json
    """
    report = check(file)
    output = Output(options)
    if output.is_json:
        output.document(_document(report))
    else:
        _show(output, report)
    return 0 if report.ok else 1


def _document(report: VerifyReport) -> Document:
    return {
        "file": str(report.path),
        **fields(report, "ok", "lines", "audit_lines", "runs", "open_runs", "unlinked_runs", "problem_count"),
        "problems": [fields(each, "line", "kind", "detail", "run_id") for each in report.problems],
    }


def _show(output: Output, report: VerifyReport) -> None:
    found = f"{counted(report.audit_lines, 'audit line')} of {counted(report.runs, 'run')}"
    if report.other_lines:
        found += f", {counted(report.other_lines, 'other line')}"
    name = shown(str(report.path), 200)
    if not report.audit_lines:
        output.text(f"{name} is not an audit file: {shown(report.problems[0].detail)}.")
        output.text("Name the file that --audit-file wrote. If this is it, its lines were removed: use another copy.")
        return
    if report.problems:
        rows = [(styled(str(each.kind), "red"), shown(each.detail)) for each in report.problems[:MOST_ROWS]]
        output.text(Grid(rows, (11,)), "")
    if report.problem_count > MOST_ROWS:
        output.text(f"  … and {report.problem_count - MOST_ROWS} more; --json has more of them", "")
    if report.open_runs:
        output.text(f"Not finished, so killed or still running: {_named(report.open_runs)}.")
    if report.unlinked_runs:
        # None where --audit-file wrote it all; but lines that were collected from stderr have no links between runs.
        output.text(f"Not linked to the lines before: {_named(report.unlinked_runs)}.")
    if report.ok:
        output.text(f"{name} is intact: {found}.")
    else:
        output.text(f"{name} is NOT intact: {counted(report.problem_count, 'problem')} in {found}.")
        output.text("Compare it with another copy of these lines before you rely on it.")


def _named(runs: Sequence[str]) -> str:
    return f"{counted(len(runs), 'run')} ({some_of((shown(run) for run in runs), _MOST_RUNS)})"
