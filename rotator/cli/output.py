"""Where results go: text for people or one JSON document on stdout, failures on stderr."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from rotator.cli.options import Options
from rotator.errors import ConfigurationError, RotatorError
from rotator.redaction.redactor import redact_patterns
from rotator.text import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

FAILED: Final = 1
USAGE: Final = 2
PIPED_WIDTH: Final = 80
_WIDTHS: Final = (24, 110)
_WIDEST: Final = 1_000
_LONGEST: Final = 4_000
_LONGEST_BUG: Final = 500
_NOT_PLAIN: Final = re.compile(r"[^\n -~]")


class Output:
    """Standard output for one command. A reader that went away (``rotator status | head``) is no error.

    :param options: decides between text and JSON.
    """

    def __init__(self, options: Options) -> None:
        self._options = options

    @property
    def is_json(self) -> bool:
        """Whether a program reads it."""
        return self._options.json

    @property
    def is_live(self) -> bool:
        """Whether a person watches, so that progress can be shown."""
        return not self.is_json and _is_terminal()

    @cached_property
    def width(self) -> int:
        """Columns: as many as ``COLUMNS`` says, else the terminal's within reason, 80 where it is piped.

        With ``--wide`` lines are as long as they are, so that an id can be copied.
        """
        if self._options.wide:
            return _WIDEST
        least, most = _WIDTHS
        columns = os.environ.get("COLUMNS", "")
        if columns.isascii() and columns.isdigit() and int(columns[:9]):
            return max(least, min(int(columns[:9]), _WIDEST))
        if not _is_terminal():
            return PIPED_WIDTH
        return max(least, min(shutil.get_terminal_size((PIPED_WIDTH, 24)).columns, most))

    def document(self, fields: dict[str, Any]) -> None:
        """The one JSON document."""
        self._options.written = True
        redactor = self._options.redactor
        shown = fields if redactor is None else redactor.scrub(fields)
        self.write(_harmless(json.dumps(shown, ensure_ascii=False, indent=2)) + "\n")

    def text(self, *parts: RenderableType) -> None:
        """Text for people, wrapped; nothing where the result is JSON."""
        if self.is_json:
            return
        console = self._console
        for part in parts:
            console.print(part)
        buffer = console.file
        assert isinstance(buffer, io.StringIO)  # for the type checker
        drawn = buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
        # rich fills columns with blanks up to the right edge, which should not be copied.
        redactor, whole = self._options.redactor, "".join(f"{line.rstrip()}\n" for line in drawn.splitlines())
        self.write(whole if redactor is None else redactor.redact_own(whole))

    def write(self, text: str) -> None:
        """As it is. A failure is reported when the command ends: a leaked key is revoked all the same."""
        if self._options.stdout_closed:
            self._options.unwritten = self._options.unwritten or ValueError("closed")
            return
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            discard_stdout()  # what was done is done, and the exit code still says how it went
        except (OSError, ValueError) as error:
            discard_stdout()
            self._options.unwritten = self._options.unwritten or error

    @cached_property
    def _console(self) -> Console:
        return make_console(io.StringIO(), self.width)


def _harmless(document: str) -> str:
    """The same JSON with what a terminal would act upon escaped; such characters stand in JSON's texts only."""
    return _NOT_PLAIN.sub(lambda found: found[0] if found[0].isprintable() else _escaped(found[0]), document)


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


class Failure(Exception):
    """The end of a command: one or two sentences and an exit code.

    :param message: what happened, redacted.
    :param advice: what to do, redacted; may be empty.
    :param trace: a redacted traceback, for ``--log-level debug``.
    """

    def __init__(self, message: str, advice: str = "", *, code: int = FAILED, trace: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.code = code
        self.trace = trace

    @property
    def sentence(self) -> str:
        """Both sentences in one line."""
        if not self.advice:
            return self.message
        stop = "" if self.message.endswith((".", "!", "?")) else "."
        return f"{self.message}{stop} {self.advice}"


def failure_of(error: RotatorError, redact: Callable[[str], str] = redact_patterns) -> Failure:
    """An error of the program's own tree."""
    code = USAGE if isinstance(error, ConfigurationError) else FAILED
    advice = error.advice or ("Try again; `rotator doctor` finds the cause." if error.retryable else "")
    return Failure(redact(error.message), redact(advice), code=code, trace=_trace(error, redact))


def bug(error: Exception, redact: Callable[[str], str] = redact_patterns) -> Failure:
    """An exception that no code expects."""
    text = " ".join(redact(f"{type(error).__name__}: {error}").split())[:_LONGEST_BUG]
    return Failure(
        f"this is a bug in rotator: {text}",
        "Run it again with --log-level debug and report the output; the next sweep continues from here.",
        trace=_trace(error, redact),
    )


def _trace(error: Exception, redact: Callable[[str], str]) -> str:
    return redact("".join(traceback.format_exception(error)))


def unwritten(error: OSError | ValueError) -> Failure:
    """What to say where stdout takes nothing: a full disk, or it was closed."""
    reason = getattr(error, "strerror", None) or "it is closed"
    return Failure(f"the output could not be written ({reason})", "What was done is done; `rotator status` shows it.")


def discard_stdout() -> None:
    """Point stdout to nowhere, or the interpreter would fail on what is left in it at exit (status 120)."""
    with suppress(OSError, AttributeError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def make_console(file: Any, width: int) -> Console:
    """A rich console that only wraps and colours; colour, and bold, only on a terminal, and not with ``NO_COLOR``."""
    from rich.console import Console

    terminal = _is_terminal()
    return Console(
        file=file,
        width=width,
        force_terminal=terminal,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
    )


def say_failure(failure: Failure, options: Options) -> int:
    """Say on stderr (and, for ``--json``, on stdout) what a command could not do; gives the exit code.

    On stderr it is a log line where a program reads that, else a sentence.
    """
    if options.json and not options.written:
        error = {"message": failure.message, "advice": failure.advice or None}
        Output(options).document({"error": error})
    debug = (options.log_level or "").lower() == "debug" and failure.trace
    if options.log_format == "json" or (options.json and options.log_format is None and not _is_terminal(sys.stderr)):
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, str] = {"timestamp": now, "level": "error", "log": "rotator", "event": failure.sentence}
        if debug:
            line["exception"] = failure.trace
        _to_stderr(json.dumps(line))
    else:
        if debug:
            _to_stderr("\n".join(printable(part, _LONGEST) for part in failure.trace.splitlines()))
        _to_stderr("rotator: " + printable(failure.sentence, _LONGEST))
    return failure.code


def _to_stderr(line: str) -> None:
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def _is_terminal(stream: Any = None) -> bool:
    chosen = sys.stdout if stream is None else stream
    try:
        return bool(chosen is not None and chosen.isatty())
    except ValueError:  # closed
        return False
