"""One command invocation: its common options, the app that it opens, and where results and errors are written."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from rotator.errors import AmbiguousName, ConfigurationError, RotatorError
from rotator.message import utc_text
from rotator.reasons import Reason
from rotator.redaction.redactor import Redactor, redact_patterns
from rotator.telemetry.logs import discard, is_terminal
from rotator.text import json_text, printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from rotator.bootstrap import App, Foundation
    from rotator.ports import Clock

INTERRUPTED: Final = "interrupted; the next sweep continues from here"
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_NOT_CONFIRMED: Final = 2
_LONGEST: Final = 4_000
_LONGEST_BUG: Final = 500
_FACTS: Final = (Reason.UNKNOWN_ACCOUNT, Reason.DUPLICATE_MANAGEMENT, Reason.STORE_UNREACHABLE)
"""Reasons that say what was found, not what is wrong with the call."""
_TRIGGERS: Final = ("manual", "schedule")


@dataclass
class Call:
    """The options that every command takes (``None`` if not given), and the state of the call.

    :param json: one JSON document on stdout instead of text for people.
    :param arguments: the command line, for messages that name a command.
    :param redactor: redacts results; it knows more values once a command has read them.
    :param written: whether that document was already written, so that an error does not write a second one.
    :param stdout_closed: whether the caller closed stdout. Output is then lost, which is an error.
    :param unwritten: why output could not be written. This is reported at the end, since the work continues.
    :param interrupted: what to say if a signal ends the command now.
    :param closing: what is closed at the end. Until then the redactor knows the values that were read, and keeps them
        out of errors.
    """

    region: str | None = None
    profile: str | None = None
    log_format: str | None = None
    log_level: str | None = None
    verbose: bool = False
    quiet: bool = False
    audit_file: str | None = None
    timeout: int | None = None
    json: bool = False
    wide: bool = False
    redactor: Redactor | None = None
    written: bool = False
    stdout_closed: bool = False
    unwritten: str = ""
    interrupted: str = "interrupted; nothing was changed"
    closing: ExitStack = field(default_factory=ExitStack)
    arguments: Sequence[str] = ()

    @classmethod
    def guessed(cls, arguments: Sequence[str]) -> Call:
        """Options for reporting an error raised before click has parsed the command line."""
        own = arguments[: arguments.index("--")] if "--" in arguments else arguments
        pairs = {f"{name}={value}" for name, value in pairwise(own)} | set(own)
        asked = next((name for name in ("json", "console") if f"--log-format={name}" in pairs), None)
        return cls(json="--json" in own, log_format=asked, arguments=arguments)

    # ---- the program ------------------------------------------------------------------------------------------------

    def open(self, *, trigger: str | None = None, unattended: bool = False) -> App:
        """Build the program; it is closed when the call ends.

        :param unattended: wait longer, because no person does.
        :param trigger: the trigger in audit lines; by default ``ROTATOR_TRIGGER``, else ``manual``.
        """
        from rotator.bootstrap import local_actor
        from rotator.render import whole_ids

        made = self.foundation(unattended=unattended)
        app = made.start(trigger=trigger or _trigger(), actor=local_actor(), audit_file=self.audit_file)
        self.closing.callback(app.close)
        self.closing.enter_context(whole_ids(self.wide))
        return app

    def foundation(self, clock: Clock | None = None, *, unattended: bool = False) -> Foundation:
        """Build the settings and clients for a run. On stderr, people see warnings and errors (plus audit lines with
        ``--verbose``); programs see everything; ``--quiet`` leaves only errors.
        """
        from rotator.bootstrap import prepare
        from rotator.patience import Patience

        if self.verbose and self.quiet:
            raise ConfigurationError("--verbose and --quiet cannot be used together", advice="Use one or the other.")
        level, audit_level = self.log_level, logging.INFO
        if self.quiet:
            # The final error says the same to a person as the audit line.
            level, audit_level = level or "error", logging.CRITICAL if self._console_logs else logging.ERROR
        elif self._console_logs and not self.verbose:
            level, audit_level = level or os.environ.get("ROTATOR_LOG_LEVEL") or "warning", logging.CRITICAL
        made = prepare(
            region=self.region,
            profile=self.profile,
            console=self._console_logs,
            log_level=level,
            audit_level=audit_level,
            clock=clock,
            patience=Patience.of_people(self.timeout, unattended=unattended),
        )
        self.redactor = made.redactor
        return made

    @property
    def _console_logs(self) -> bool:
        """Whether logs are rendered for a person: as asked for, else where stderr is a terminal."""
        return is_terminal(sys.stderr) if self.log_format is None else self.log_format == "console"

    # ---- results ----------------------------------------------------------------------------------------------------

    @property
    def is_live(self) -> bool:
        """Whether output goes to a terminal, so that progress can be shown."""
        return not self.json and is_terminal(sys.stdout)

    def result(self, document: dict[str, Any], parts: Iterable[RenderableType]) -> None:
        """Write the result, as the one JSON document or as text."""
        if self.json:
            self.document(document)
        else:
            self.text(*parts)

    def document(self, fields: dict[str, Any]) -> None:
        """Write the one JSON document."""
        self.written = True
        self.write(json_text(fields if self.redactor is None else self.redactor.scrub(fields)) + "\n")

    def text(self, *parts: RenderableType) -> None:
        """Write wrapped text for people; nothing if the result is JSON."""
        if self.json:
            return
        with self._console.capture() as drawn:
            for part in parts:
                self._console.print(part)
        # rich pads columns with blanks to the right edge. Copied text should not contain them.
        whole = "".join(f"{line.rstrip()}\n" for line in drawn.get().splitlines())
        self.write(whole if self.redactor is None else self.redactor.redact_own(whole))

    def write(self, text: str) -> None:
        """Write text as it is. A failure is reported when the command ends, so that a leaked key is still revoked."""
        try:
            if self.stdout_closed:
                raise ValueError
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:  # such as `rotator status | head`, which is no error
            discard(sys.stdout)
        except (OSError, ValueError) as error:
            self.not_written(error)

    def not_written(self, error: OSError | ValueError) -> None:
        """Note that stdout can't be written, because the disk is full or stdout was closed."""
        discard(sys.stdout)
        self.unwritten = self.unwritten or getattr(error, "strerror", None) or "it is closed"

    @cached_property
    def _console(self) -> Console:
        from rotator.render import make_console

        return make_console(terminal=is_terminal(sys.stdout), wide=self.wide)

    # ---- failures ---------------------------------------------------------------------------------------------------

    def failed(self, error: Exception) -> int:
        """Report why the command failed, redacted, and return the exit code."""
        redact = redact_patterns if self.redactor is None else self.redactor.redact
        trace = redact("".join(traceback.format_exception(error)))
        if isinstance(error, RotatorError):
            advice = error.advice_for(self.arguments) if isinstance(error, AmbiguousName) else error.advice
            advice = advice or ("Retry, or run `rotator doctor` to find the cause." if error.retryable else "")
            usage = isinstance(error, ConfigurationError) and error.reason not in _FACTS
            code = EXIT_USAGE if usage else EXIT_FAILED
            return self.say(redact(error.message), redact(advice), code=code, trace=trace)
        text = " ".join(redact(f"{type(error).__name__}: {error}").split())[:_LONGEST_BUG]
        advice = "Retry with --log-level debug and report the output. The next sweep continues from here."
        return self.say(f"this is a bug in rotator: {text}", advice, trace=trace)

    def say(self, message: str, advice: str = "", *, code: int = EXIT_FAILED, trace: str = "") -> int:
        """Report an error on stderr (with ``--json`` also on stdout), and return the exit code.

        :param trace: a redacted traceback, for ``--log-level debug``.
        """
        if self.json and not self.written:
            self.document({"error": {"message": message, "advice": advice or None}})
        debug = trace if (self.log_level or "").lower() == "debug" else ""
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(self.error_line(str(RotatorError(message, advice=advice)), debug))
            sys.stderr.flush()
        return code

    def error_line(self, sentence: str, trace: str = "") -> str:
        """A log line if a program reads stderr, else a sentence."""
        if self._console_logs:
            return "".join(f"{printable(part, _LONGEST)}\n" for part in [*trace.splitlines(), f"rotator: {sentence}"])
        now = utc_text(datetime.now(UTC), "milliseconds")
        line = {"timestamp": now, "level": "error", "log": "rotator", "event": sentence}
        return json.dumps(line | ({"exception": trace} if trace else {})) + "\n"


def _trigger() -> str:
    trigger = os.environ.get("ROTATOR_TRIGGER", "").strip().lower()
    if trigger and trigger not in _TRIGGERS:
        raise ConfigurationError(
            f'ROTATOR_TRIGGER is "{trigger[:20]}", which is not a valid trigger',
            advice="Set it to schedule or manual, or unset it.",
        )
    return trigger or _TRIGGERS[0]
