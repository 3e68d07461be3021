"""``make docs``: what documents show of the program is made by running it, over the sandbox with a clock that stands.

- ``docs/cli.md``: every command, and the help of those that an operator runs by hand.
- ``docs/schemas/``: the shape of every ``--json`` document, of audit lines and of events.
- ``docs/images/plan.svg``: a terminal with ``rotator plan``.
- ``docs/audit.md``: an audit line of every event.
- ``<!-- captured -->`` in a page: in the block that follows, each line ``$ rotator …`` is run, and followed by what it
  prints. To add one, write the commands alone.

``tests/test_generated_docs.py`` makes the same in memory and compares.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Final
from unittest.mock import patch

import click
from rich.console import Console
from rich.text import Text
from write_schemas import FOLDER, schemas, text_of

from audit_examples import audit_page
from rotator.cli import main
from rotator.cli.app import COMMANDS, cli
from rotator.sandbox.clocks import VirtualClock
from rotator.sandbox.demo import START
from rotator.sandbox.launcher import Sandbox
from tests.near_clock import near_clock
from tests.support.faulty_infobip import Fault, FaultKind, put_faults

ROOT: Final = Path(__file__).parents[1]
WIDTH: Final = 80
CAPTURED: Final = re.compile(r"(?<=^<!-- captured -->\n```\n)(?:(?!```).*\n)+(?=```$)", re.MULTILINE)
RUN: Final = re.compile(r"(?<=Recorded as run )[0-9a-f]{4}…[0-9a-f]{4}")
"""The only random text in an output."""
STABILITY: Final = """## What stays

[schemas/](schemas) has a JSON Schema for every `--json` document, for audit lines and for events. From 1.0 on,
commands, options, exit codes, fields of JSON documents and audit lines, environment variables, tags, staging
labels and names of keys change only in a major version. Before 1.0, a minor version may change them;
`CHANGELOG.md` says so, and what to do. Any version may add commands, options, fields and constants: ignore
what you do not know. Texts for people (`detail`, `error`, help, tables) and the order of fields may change at
any time.
"""
IN_FULL: Final = ("plan", "run", "rotate", "rollback", "revoke", "adopt", "status", "doctor")
"""Commands whose help the page shows: what an operator runs by hand. A line says what each of the others does."""
ANSWER_SECONDS: Final = 0.2
"""How long the simulated Infobip takes, by the sandbox's clock: a command that is timed shows a time."""
MONOSPACE: Final = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


class Terminal(io.TextIOWrapper):
    """Standard output as a terminal has it."""

    def isatty(self) -> bool:
        """Whatever is connected."""
        return True


@contextmanager
def sandbox() -> Iterator[Sandbox]:
    """The example fleet on the demo's first day, in the environment that ``rotator sandbox`` prints; UTC."""
    variables = {name: text for name, text in os.environ.items() if name in ("PATH", "HOME", "LANG", "USER")}
    variables |= {"TZ": "UTC", "TERM": "xterm-256color", "COLUMNS": str(WIDTH)}
    try:
        with (
            patch.dict(os.environ, variables, clear=True),
            Sandbox(clock=VirtualClock(START)) as running,
            near_clock(running.clock),
        ):
            put_faults(running.world).add(Fault(FaultKind.DELAY, seconds=ANSWER_SECONDS, count=None))
            os.environ.update(running.environment)
            time.tzset()
            yield running
    finally:
        time.tzset()


def output_of(command: str, *, terminal: bool = False) -> str:
    """What it prints on standard output, as after ``$ command`` in a shell."""
    stdout, stderr, before = io.BytesIO(), io.BytesIO(), (sys.stdout, sys.stderr)
    sys.stdout = (Terminal if terminal else io.TextIOWrapper)(stdout, encoding="utf-8")
    sys.stderr = Terminal(stderr, encoding="utf-8")
    try:
        main(shlex.split(command)[1:])
        sys.stdout.flush()
        sys.stderr.flush()
        out, err = stdout.getvalue().decode(), stderr.getvalue().decode()
    finally:
        sys.stdout, sys.stderr = before
    if not out:
        raise RuntimeError(f"{command} printed nothing: {err}")
    return f"$ {command}\n{RUN.sub('6f1c…90ab', out)}".rstrip()


def page(text: str) -> str:
    """A page with what its commands print today; they run in the order in which they are written."""

    def captured(found: re.Match[str]) -> str:
        commands = re.findall(r"^\$ (rotator .*)$", found[0], re.MULTILINE)
        return "\n".join(f"{output_of(command)}\n" for command in commands)

    with sandbox():
        return CAPTURED.sub(captured, text)


def picture(command: str, title: str) -> str:
    """A terminal with the command and its output, as SVG that loads nothing from elsewhere."""
    with sandbox():
        shown = output_of(command, terminal=True)
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, legacy_windows=False)
    console.print(Text.from_ansi(shown), end="\n\n")  # the last line would lose what is below its base line
    svg = console.export_svg(title=title, unique_id=title.replace(" ", "-"))
    svg = re.sub(r" *@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)
    svg = re.sub(r" *<!--.*?-->\n", "", svg)
    svg = re.sub(r"font-family: (?!arial)[^;]*;", f"font-family: {MONOSPACE};", svg)
    return "\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n"


def cli_page() -> str:
    """A line for every command; the help of some, as a terminal of 80 columns shows it."""
    parts = [
        "# Commands\n",
        "For everyone who uses the command line. It is written by `make docs`, from what `--help` prints.\n",
        "On a terminal stderr shows warnings and errors, with `--verbose` audit lines too; elsewhere it gets logs and\n"
        "audit lines as JSON lines, with `--quiet` only errors. Text output uses local time; JSON and logs use UTC.\n"
        "[`rotator`'s own options](#rotator), such as `--json`, work with every command.\n",
        STABILITY,
        _section("rotator", cli),
    ]
    context = click.Context(cli, info_name="rotator")
    rest = [f"- `{name}`: {does}" for name, does in COMMANDS.items() if name not in IN_FULL]
    for name in IN_FULL:
        command = cli.get_command(context, name)
        assert command is not None
        parts.append(_section(f"rotator {name}", command))
    parts.append("\n".join(["## More commands\n\nTheir options: `--help`.\n", *rest, ""]))
    return "\n".join(parts)


def _section(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name, terminal_width=WIDTH, **cli.context_settings)
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    text = re.sub(r"\n\nCommands:\n.*", "", text, flags=re.DOTALL)  # each has a section
    if command is not cli:
        text = text.removeprefix(f"Usage: {name} [OPTIONS]\n\n")
        text = re.sub(r"^  (?:--json|-h, --help)  .*(?:\n {10,}.*)*\n?", "", text, flags=re.MULTILINE)
        text = re.sub(r"\n+Options:\n*(?=\n\n|$)", "", text).rstrip()
    return f"## {name}\n\n```text\n{text}\n```\n"


def generated() -> Iterator[tuple[Path, str]]:
    """Every file that holds something of the program's output, with what should stand in it."""
    yield ROOT / "docs" / "cli.md", cli_page()
    yield ROOT / "docs" / "images" / "plan.svg", picture("rotator plan", "rotator plan")
    yield from ((FOLDER / name, text_of(schema)) for name, schema in schemas())
    audit = ROOT / "docs" / "audit.md"
    with sandbox() as running, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield audit, audit_page(audit.read_text(encoding="utf-8"), running)
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]):
        text = path.read_text(encoding="utf-8")
        if CAPTURED.search(text):
            yield path, page(text)


def write() -> None:
    """Write them."""
    for path, text in generated():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    write()
