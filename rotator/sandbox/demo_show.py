"""What a person sees of the demo: a line for each thing worth telling, then the score. It fits 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from rotator.policy.status import SecretState
from rotator.sandbox.demo_score import Score
from rotator.sandbox.demo_world import START
from rotator.telemetry.audit_verify import VerifyReport
from rotator.text import printable

WIDTH: Final = 80
_VERB: Final = 11
_SUBJECT: Final = 19
_STYLES: Final = {
    "rotated": "green",
    "first key": "green",
    "adopted": "green",
    "recovered": "bold green",
    "created": "green",
    "promoted": "green",
    "served": "green",
    "revoked": "cyan",
    "retiring": "cyan",
    "waits": "yellow",
    "skipped": "yellow",
    "deferred": "yellow",
    "throttled": "yellow",
    "alert": "yellow",
    "lost": "yellow",
    "not swept": "yellow",
    "KILLED": "bold red",
    "DOWN": "bold red",
    "LEAKED": "bold red",
    "refused": "red",
    "failed": "bold red",
}
_ASCII: Final = str.maketrans({"…": "..", "→": ">", "·": "-", "─": "-"})


class Narrator:
    """A context manager: tells the story on a console, with a bar below it where that is a terminal.

    :param console: ``None`` tells nobody.
    :param days: how many the bar stands for.
    """

    def __init__(self, console: Console | None, days: int) -> None:
        self.lines: list[str] = []
        self._console = console
        self._plain = console is not None and not (console.encoding or "").lower().startswith("utf")
        self._days = days
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._console is not None and self._console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(40),
                TextColumn("{task.completed:.0f} of {task.total:.0f} days"),
            )
            self._progress = Progress(*columns, console=self._console, transient=True, refresh_per_second=4)
            self._task = self._progress.add_task("", total=self._days)
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def day(self, day: int, now: datetime) -> None:
        """Move the bar."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=day, description=f"{now:%d %b %Y}")

    def chapter(self, title: str, text: str = "") -> None:
        """Begin a part of the story."""
        self._print(Text())
        self._print(Text(title, style="bold"))
        for line in textwrap.wrap(text, WIDTH):
            self._print(Text(line, style="dim"))

    def tell(self, now: datetime, verb: str, subject: str, text: str) -> None:
        """Tell of one event; what is too long goes on under itself."""
        subject = printable(subject)
        day = f"day {(now - START).days:<3}  {now:%d %b}  "
        indent = len(day) + _VERB + _SUBJECT
        if len(subject) > _SUBJECT - 2:
            text, subject = f"{subject}: {text}", ""
        first, *rest = textwrap.wrap(printable(text, 400), WIDTH - indent, break_on_hyphens=False) or [""]
        line = Text(day, style="dim")
        line.append(f"{verb:<{_VERB}}", style=_STYLES.get(verb, ""))
        line.append(f"{subject:<{_SUBJECT}}{first}", style="none")
        self._print(line)
        for part in rest:
            self._print(Text(" " * indent + part))

    def score(self, score: Score, consumers: int) -> None:
        """Say what came of it, the promises first."""
        self.chapter("The score")
        refused = "but for the emergency" if score.refused_in_emergency else ""
        rows = (
            (score.calls, "calls by consumers", f"{consumers} applications, after each of {score.sweeps} sweeps"),
            (score.refused, "calls refused", refused),
            (score.refused_in_emergency, "refused in the emergency", "old value in a cache, until it was read again"),
            (score.unanswered, "calls unanswered", "while Infobip itself was down"),
            (score.rotations, "rotations", f"{score.recoveries} of them after the sweep was killed half-way"),
            (score.revocations, "keys revoked", ""),
            (score.early_revocations, "keys revoked too early", "before their grace was over"),
            (score.orphans, "orphans left", "keys that work and that nobody holds"),
            (score.creates_over_limit, "creates over the limit", f"{score.creates_on_busiest_day} on the busiest day"),
            (score.values_leaked, "secret values shown", "in the audit file or on this screen"),
        )
        for number, what, detail in rows:
            self._print(Text.assemble((f"{number:>7,}", "bold"), f"  {what:<26}", (detail, "dim")))

    def status(self, states: Sequence[SecretState], now: datetime) -> None:
        """The status table, as ``rotator status`` has it."""
        self.chapter(f"Status on {now:%d %b %Y}")
        self._print(Text(f"  {'secret':<20}{'state':<11}{'expires':<20}next", style="dim"))
        for state in states:
            expires = "" if state.expires_at is None else f"{state.expires_at:%d %b}, in {state.days_left or 0:.0f} d"
            coming = ""
            if state.next_action is not None and state.next_action_at is not None:
                days = (state.next_action_at - now).days
                coming = f"{state.next_action} {state.next_action_at:%d %b}, in {days} d"
            self._print(Text(f"  {printable(state.secret, 18):<20}{state.state:<11}{expires:<20}{coming}"))

    def end(self, report: VerifyReport, *, ok: bool) -> None:
        """Where the audit file is, what it is worth, and what to do next."""
        self.chapter("Every change is on record")
        verdict = "no line is missing or altered" if report.ok else f"{report.problem_count} problems"
        self._print(Text(f"  {report.audit_lines:,} audit lines of {report.runs} runs: {verdict};"))
        self._print(Text(f"  {len(report.open_runs)} runs never ended: the ones that were killed. Check it yourself:"))
        self._print(Text(f"  rotator audit verify {report.path}"))
        self.chapter("What next")
        self._print(Text("  rotator sandbox   this little world, to try every command on"))
        self._print(Text('  README.md         its section "Deploy": your own account, first with a dry run'))
        if not ok:
            self._print(Text("\nSomething was not as it should be: see the score.", style="bold red"))

    def _print(self, line: Text) -> None:
        self.lines.append(line.plain)
        if self._console is None:
            return
        if self._plain:
            line = Text(line.plain.translate(_ASCII))
        self._console.print(line, soft_wrap=True, highlight=False)
