"""What a command could not do, as a person reads it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Final

from rotator.errors import ConfigurationError, RotatorError
from rotator.redaction.redactor import redact_patterns

FAILED: Final = 1
USAGE: Final = 2
_LONGEST_BUG: Final = 500


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
    advice = error.advice or ("Try again; `rotator doctor` looks closer." if error.retryable else "")
    return Failure(redact(error.message), redact(advice), code=code, trace=_trace(error, redact))


def bug(error: Exception, redact: Callable[[str], str] = redact_patterns) -> Failure:
    """An exception that nobody foresaw."""
    text = " ".join(redact(f"{type(error).__name__}: {error}").split())[:_LONGEST_BUG]
    return Failure(
        f"this is a bug in rotator: {text}",
        "Run it again with --log-level debug and report what it says; the next sweep goes on where this one ended.",
        trace=_trace(error, redact),
    )


def _trace(error: Exception, redact: Callable[[str], str]) -> str:
    return redact("".join(traceback.format_exception(error)))
