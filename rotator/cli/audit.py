"""``rotator audit``: the audit file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from rotator.cli.options import Options, common_options, pass_options
from rotator.cli.output import Output

if TYPE_CHECKING:
    from rotator.telemetry.audit_verify import VerifyReport

_MOST_RUNS: Final = 5


@click.group(short_help="Check the audit trail.")
def audit() -> None:
    """Check the audit trail that --audit-file wrote.

    \b
    Examples:
      rotator run --audit-file audit.jsonl
      rotator audit verify audit.jsonl
    """


@audit.command(short_help="Check that no line was altered or taken out.")
@click.argument("file", metavar="FILE")
@common_options
@pass_options
def verify(options: Options, file: str) -> int:
    """Check that no line of an audit FILE was altered, moved or taken out.

    Each audit line carries the digest of the one before it, so a change
    shows. Lines cut off the very end do not: send them elsewhere as well.

    Exits 0 where it is intact, 1 where it is not or has no audit line at
    all, 2 where it can't be read.

    \b
    Examples:
      rotator audit verify audit.jsonl
      rotator audit verify audit.jsonl --json
    """
    from rotator.telemetry.audit_verify import verify as check

    report = check(file)
    output = Output(options)
    if output.is_json:
        output.document(_document(report))
    else:
        _show(output, report)
    return 0 if report.ok else 1


def _document(report: VerifyReport) -> dict[str, object]:
    return {
        "file": str(report.path),
        "ok": report.ok,
        "lines": report.lines,
        "audit_lines": report.audit_lines,
        "runs": report.runs,
        "open_runs": list(report.open_runs),
        "unlinked_runs": list(report.unlinked_runs),
        "problem_count": report.problem_count,
        "problems": [
            {"line": each.line, "kind": str(each.kind), "detail": each.detail, "run_id": each.run_id}
            for each in report.problems
        ],
    }


def _show(output: Output, report: VerifyReport) -> None:
    from rotator.cli.plan_text import MOST_ROWS
    from rotator.render import Grid, counted, shown, styled

    found = f"{counted(report.audit_lines, 'audit line')} of {counted(report.runs, 'run')}"
    if report.other_lines:
        found += f", {counted(report.other_lines, 'other line')}"
    name = shown(str(report.path), 200)
    if not report.audit_lines:
        output.text(f"{name} is not an audit file: {shown(report.problems[0].detail)}.")
        output.text("Name the file that --audit-file wrote. If this is it, its lines were taken out: use another copy.")
        return
    if report.problems:
        rows = [(styled(str(each.kind), "red"), shown(each.detail)) for each in report.problems[:MOST_ROWS]]
        output.text(Grid(rows, (11,)), "")
    if report.problem_count > MOST_ROWS:
        output.text(f"  … and {report.problem_count - MOST_ROWS} more; --json has more of them", "")
    if report.open_runs:
        ids = ", ".join(shown(run) for run in report.open_runs[:_MOST_RUNS])
        more = ", …" if len(report.open_runs) > _MOST_RUNS else ""
        output.text(f"Not finished, so killed or still at work: {counted(len(report.open_runs), 'run')} ({ids}{more}).")
    if report.unlinked_runs:
        # None where --audit-file wrote it all; but lines that were collected from stderr have no links between runs.
        ids = ", ".join(shown(run) for run in report.unlinked_runs[:_MOST_RUNS])
        more = ", …" if len(report.unlinked_runs) > _MOST_RUNS else ""
        output.text(f"Not linked to what stands before: {counted(len(report.unlinked_runs), 'run')} ({ids}{more}).")
    if report.ok:
        output.text(f"{name} is intact: {found}.")
    else:
        output.text(f"{name} is NOT intact: {counted(report.problem_count, 'problem')} in {found}.")
        output.text("Compare it with another copy of these lines before you rely on it.")
