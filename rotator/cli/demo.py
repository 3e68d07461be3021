"""``rotator demo``: 120 simulated days, without an account, credentials or network access."""

from __future__ import annotations

import dataclasses
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypedDict

import click
from rich.console import RenderableType

from rotator.cli.call import Call
from rotator.cli.documents import Document, SecretStateShape, Time, shaped
from rotator.cli.options import command
from rotator.message import date_text
from rotator.render import Grid, shown, styled
from rotator.sandbox import demo as story
from rotator.sandbox.demo import DEMO_DAYS, Chapter, Demo

_STYLES: Final = {
    **dict.fromkeys(("rotated", "first key", "adopted", "created", "promoted", "recovered"), "green"),
    **dict.fromkeys(("revoked", "retiring"), "cyan"),
    **dict.fromkeys(("waits", "skipped", "deferred", "throttled", "alert", "lost", "not swept"), "yellow"),
    **dict.fromkeys(("CRASHED", "DOWN", "LEAKED", "failed", "refused"), "red"),
}


class DemoAudit(TypedDict):
    """The demo's audit file."""

    file: str
    verified: bool
    lines: int
    runs: int
    runs_not_ended: int
    problems: int


class DemoDocument(TypedDict):
    """``demo``. ``evidence``: the folder of the pack for an auditor."""

    ok: bool
    ended_at: Time
    score: dict[str, int]
    secrets: list[SecretStateShape]
    audit: DemoAudit
    evidence: str


@command(DemoDocument)
@click.option("--short", is_flag=True, help="Show only the score.")
@click.option("--seed", default=1, show_default=True, metavar="N", help="Seed for generated ids and values.")
def demo(call: Call, short: bool, seed: int) -> int:
    """Simulate 120 days of rotations end to end in an embedded sandbox.

    Sweeps crash, Infobip fails, a key leaks; after each sweep a consumer of
    each of eight secrets reads it and calls Infobip with it. Takes less than a
    minute; needs no account, no credentials and no network.

    Exits 1 if a guarantee was broken: a call refused, a key revoked too early,
    an orphan, the daily limit exceeded, a value displayed.

    \b
    Examples:
      rotator demo
      rotator demo --json --audit-file demo.jsonl
    """
    call.interrupted = "interrupted; nothing outside the sandbox was changed"
    folder = Path(tempfile.mkdtemp(prefix="rotator-demo-"))
    audit_file, evidence = Path(call.audit_file or folder / "audit.jsonl"), folder / "evidence"
    evidence.mkdir()
    with click.progressbar(length=DEMO_DAYS + 1, label="120 days", file=sys.stderr, hidden=not call.is_live) as bar:
        result = story.play_demo(audit_file, evidence, seed=seed, on_day=lambda _day: bar.update(1))
    if call.json:
        call.document(_document(result))
        return 0 if result.ok else 1
    call.text(*_score(result))
    if not short:
        for chapter in result.chapters:
            call.text(*_chapter(chapter))
    call.text(*_end(result))
    call.write(_next(audit_file, result.evidence))
    return 0 if result.ok else 1


def _score(result: Demo) -> Iterator[RenderableType]:
    score = result.score
    verdict = styled("all guarantees held", "green") if result.ok else styled("A GUARANTEE WAS BROKEN", "red")
    yield styled(f"{score.days} days of {len(result.states)} secrets: ", "bold").append_text(verdict)
    yield (
        "A simulated Infobip and Secrets Manager on this machine: real HTTP, no account, no network. "
        "After each sweep a consumer of every secret reads AWSCURRENT and calls Infobip with it."
    )
    yield ""
    rows = (
        (score.calls, "consumer calls", f"after each of {score.sweeps} sweeps"),
        (score.refused, "calls refused", "except in the emergency"),
        (score.refused_in_emergency, "refused in the emergency", "cached value, until refreshed"),
        (score.unanswered, "calls unanswered", "while Infobip itself was down"),
        (score.rotations, "rotations", f"{score.recoveries} of them after a crash mid-sweep"),
        (score.revocations, "keys revoked", ""),
        (score.early_revocations, "keys revoked too early", "before their grace period was over"),
        (score.orphans, "orphans left", "enabled keys that no secret contains"),
        (
            score.creates_over_limit,
            "creates above the daily limit",
            f"{score.creates_on_busiest_day} on the busiest day",
        ),
        (score.values_leaked, "secret values displayed", "in the audit file or on this screen"),
        (score.failed_actions, "actions failed", ""),
    )
    yield Grid([(f"{number:>5,}", what, detail) for number, what, detail in rows], (6, 26), heads=("count", "what", ""))
    yield ""


def _chapter(chapter: Chapter) -> Iterator[RenderableType]:
    yield styled(chapter.title, "bold")
    yield chapter.text
    yield ""
    rows = []
    for event in chapter.events:
        what = styled(event.what, _STYLES.get(event.what, ""))
        what.pad_right(max(0, 9 - len(what)))  # each chapter is a table of its own, with columns as wide as the others
        date = f"{date_text(event.at, '%d %b'):>6}"
        rows.append((f"{event.day:>3}", date, what, f"{event.secret:<17}", shown(event.detail)))
    yield Grid(rows, (3, 6, 9, 17), heads=("day", "date", "event", "secret", "detail"))
    yield ""


def _end(result: Demo) -> Iterator[RenderableType]:
    report = result.audit
    verdict = "none missing or altered" if report.ok else f"{report.problem_count} problems"
    crashed = f"{len(report.open_runs)} unfinished runs: those that crashed"
    yield f"{report.audit_lines:,} audit lines of {report.runs} runs, {verdict}; {crashed}."
    yield ""
    yield styled("Next", "bold")


def _next(audit_file: Path, evidence: Path) -> str:
    """Return commands that work in the current directory. They are not wrapped, so that they can be copied."""
    program = called_as()
    sandbox, doctor = f"{program} sandbox", f"{program} doctor"
    return (
        f"  {sandbox}  try every command on secrets like these\n"
        f"  {doctor:{len(sandbox)}}  check your account (README.md, Deploy)\n"
        f"  {program} audit verify {shlex.quote(str(audit_file))}\n"
        f"  {program} evidence --verify {shlex.quote(str(evidence))}\n"
    )


def called_as() -> str:
    """Return how this program was called, so that the next command can be copied: ``rotator`` or a path."""
    called, module = Path(sys.argv[0]), ""
    if called.name != "rotator":
        called, module = Path(sys.executable), " -m rotator"
    elif (found := shutil.which("rotator")) is not None and os.path.realpath(found) == os.path.realpath(called):
        return "rotator"
    here = Path.cwd()
    return shlex.quote(str(called.relative_to(here) if called.is_relative_to(here) else called)) + module


def _document(result: Demo) -> Document:
    report = result.audit
    audit = shaped(
        DemoAudit,
        report,
        file=str(report.path),
        verified=report.ok,
        lines=report.audit_lines,
        runs_not_ended=len(report.open_runs),
        problems=report.problem_count,
    )
    score, states = dataclasses.asdict(result.score), result.states
    return shaped(DemoDocument, result, score=score, secrets=states, audit=audit, evidence=str(result.evidence))
