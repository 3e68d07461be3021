"""One call of the program: its common options, the program that it opens, and where its results and failures go."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import shutil
import sys
import traceback
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, TextIO

from rotator.errors import ConfigurationError, RotatorError
from rotator.redaction.redactor import Redactor, redact_patterns
from rotator.text import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from rotator.bootstrap import App, Foundation
    from rotator.ports import Clock

FAILED: Final = 1
USAGE: Final = 2
_PIPED_WIDTH: Final = 80
_WIDTHS: Final = (24, 110)
_WIDEST: Final = 1_000
_LONGEST: Final = 4_000
_LONGEST_BUG: Final = 500
_NOT_PLAIN: Final = re.compile(r"[^\n -~]")
_TRIGGERS: Final = ("manual", "schedule")


@dataclass
class Call:
    """The options that every command takes (``None`` where one is not given), and what comes of the call.

    :param json: one JSON document on stdout instead of text for people.
    :param redactor: takes out of results what must not be seen; knows more once a command has read values.
    :param written: whether that document was written already, so that an error does not write a second one.
    :param stdout_closed: by the caller: what is written goes nowhere, and that is an error.
    :param unwritten: why output could not be written. It is reported at the end: the work is done all the same.
    :param closing: what is closed at the end; until then the values that were read are known, so that none of them can
        be in an error.
    """

    region: str | None = None
    profile: str | None = None
    log_format: str | None = None
    log_level: str | None = None
    verbose: bool = False
    quiet: bool = False
    audit_file: str | None = None
    audit_format: str | None = None
    json: bool = False
    wide: bool = False
    redactor: Redactor | None = None
    written: bool = False
    stdout_closed: bool = False
    unwritten: str = ""
    closing: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def guessed(cls, arguments: Sequence[str]) -> Call:
        """What an error needs that happens before click has parsed everything: whether a person reads it."""
        own = arguments[: arguments.index("--")] if "--" in arguments else arguments
        pairs = {f"{name}={value}" for name, value in pairwise(own)} | set(own)
        return cls(json="--json" in own, log_format="json" if "--log-format=json" in pairs else None)

    # ---- the program ------------------------------------------------------------------------------------------------

    def open(self, *, trigger: str | None = None) -> App:
        """Build the program; it is closed when the call ends.

        :param trigger: what the audit says started it; ``manual`` or what ``ROTATOR_TRIGGER`` says where not given.
        """
        from rotator.bootstrap import local_actor
        from rotator.render import whole_ids

        app = self.foundation().start(trigger=trigger or _trigger(), actor=local_actor(), audit_file=self.audit_file)
        self.closing.callback(app.close)
        self.closing.enter_context(whole_ids(self.wide))
        return app

    def foundation(self, clock: Clock | None = None) -> Foundation:
        """What runs are started from. stderr shows a person warnings and errors, with ``--verbose`` audit lines too; a
        program everything; with ``--quiet`` only errors.
        """
        from rotator.bootstrap import prepare

        if self.verbose and self.quiet:
            raise ConfigurationError("--verbose and --quiet exclude each other", advice="Give one of the two.")
        level, audit_level = self.log_level, logging.INFO
        if self.quiet:
            level, audit_level = level or "error", logging.ERROR
        elif self._console_logs and not self.verbose:
            level, audit_level = level or os.environ.get("ROTATOR_LOG_LEVEL") or "warning", logging.CRITICAL
        made = prepare(
            region=self.region,
            profile=self.profile,
            console=self._console_logs,
            ocsf=self.audit_format == "ocsf",
            log_level=level,
            audit_level=audit_level,
            clock=clock,
        )
        self.redactor = made.redactor
        return made

    @property
    def _console_logs(self) -> bool:
        """Whether logs are rendered for a person: as asked for, else where stderr is a terminal."""
        return _is_terminal(sys.stderr) if self.log_format is None else self.log_format == "console"

    # ---- results ----------------------------------------------------------------------------------------------------

    @property
    def is_live(self) -> bool:
        """Whether a person watches, so that progress can be shown."""
        return not self.json and _is_terminal(sys.stdout)

    def result(self, document: dict[str, Any], parts: Iterable[RenderableType]) -> None:
        """The result as the one JSON document, or as text."""
        if self.json:
            self.document(document)
        else:
            self.text(*parts)

    def document(self, fields: dict[str, Any]) -> None:
        """The one JSON document. What a terminal would act upon is escaped: it stands in JSON's texts only."""
        self.written = True
        shown = fields if self.redactor is None else self.redactor.scrub(fields)
        text = json.dumps(shown, ensure_ascii=False, indent=2)
        self.write(
            _NOT_PLAIN.sub(lambda found: found[0] if found[0].isprintable() else _escaped(found[0]), text) + "\n"
        )

    def text(self, *parts: RenderableType) -> None:
        """Text for people, wrapped; nothing where the result is JSON."""
        if self.json:
            return
        with self._console.capture() as drawn:
            for part in parts:
                self._console.print(part)
        # rich fills columns with blanks up to the right edge, which should not be copied.
        whole = "".join(f"{line.rstrip()}\n" for line in drawn.get().splitlines())
        self.write(whole if self.redactor is None else self.redactor.redact_own(whole))

    def write(self, text: str) -> None:
        """As it is. A failure is reported when the command ends: a leaked key is revoked all the same."""
        try:
            if self.stdout_closed:
                raise ValueError
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:  # as under `rotator status | head`: what was done is done
            discard_stdout()
        except (OSError, ValueError) as error:
            self.not_written(error)

    def not_written(self, error: OSError | ValueError) -> None:
        """stdout takes nothing: a full disk, or it was closed."""
        discard_stdout()
        self.unwritten = self.unwritten or getattr(error, "strerror", None) or "it is closed"

    @cached_property
    def _console(self) -> Console:
        """It only wraps and colours; colour, and bold, only on a terminal, and not with ``NO_COLOR``."""
        from rich.console import Console

        return Console(
            file=io.StringIO(),
            width=self._width(),
            force_terminal=_is_terminal(sys.stdout),
            color_system=None if os.environ.get("NO_COLOR") else "auto",
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=False,
        )

    def _width(self) -> int:
        """Columns: as many as ``COLUMNS`` says, else the terminal's within reason, 80 where it is piped.

        With ``--wide`` lines are as long as they are, so that an id can be copied.
        """
        if self.wide:
            return _WIDEST
        least, most = _WIDTHS
        columns = os.environ.get("COLUMNS", "")
        if columns.isascii() and columns.isdigit() and int(columns[:9]):
            return max(least, min(int(columns[:9]), _WIDEST))
        if not _is_terminal(sys.stdout):
            return _PIPED_WIDTH
        return max(least, min(shutil.get_terminal_size((_PIPED_WIDTH, 24)).columns, most))

    # ---- failures ---------------------------------------------------------------------------------------------------

    def failed(self, error: Exception) -> int:
        """Say why the command ended, redacted; gives the exit code."""
        redact = redact_patterns if self.redactor is None else self.redactor.redact
        trace = redact("".join(traceback.format_exception(error)))
        if isinstance(error, RotatorError):
            advice = error.advice or ("Try again; `rotator doctor` finds the cause." if error.retryable else "")
            code = USAGE if isinstance(error, ConfigurationError) else FAILED
            return self.say(redact(error.message), redact(advice), code=code, trace=trace)
        text = " ".join(redact(f"{type(error).__name__}: {error}").split())[:_LONGEST_BUG]
        advice = "Run it again with --log-level debug and report the output; the next sweep continues from here."
        return self.say(f"this is a bug in rotator: {text}", advice, trace=trace)

    def say(self, message: str, advice: str = "", *, code: int = FAILED, trace: str = "") -> int:
        """Say on stderr (and, for ``--json``, on stdout) what a command could not do; gives the exit code.

        On stderr it is a log line where a program reads that, else a sentence.

        :param trace: a redacted traceback, for ``--log-level debug``.
        """
        if self.json and not self.written:
            self.document({"error": {"message": message, "advice": advice or None}})
        debug = trace if (self.log_level or "").lower() == "debug" else ""
        sentence = str(RotatorError(message, advice=advice))
        if self.log_format == "json" or (self.json and not self._console_logs):
            now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            line = {"timestamp": now, "level": "error", "log": "rotator", "event": sentence}
            said = [json.dumps(line | ({"exception": debug} if debug else {}))]
        else:
            said = [printable(part, _LONGEST) for part in [*debug.splitlines(), f"rotator: {sentence}"]]
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.write("".join(f"{line}\n" for line in said))
            sys.stderr.flush()
        return code


def discard_stdout() -> None:
    """Point stdout to nowhere, or the interpreter would fail on what is left in it at exit (status 120)."""
    with suppress(OSError, AttributeError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def _trigger() -> str:
    trigger = os.environ.get("ROTATOR_TRIGGER", "").strip().lower()
    if trigger and trigger not in _TRIGGERS:
        raise ConfigurationError(
            f'ROTATOR_TRIGGER is "{trigger[:20]}", which is not a trigger',
            advice="Set it to schedule or manual, or unset it.",
        )
    return trigger or _TRIGGERS[0]
