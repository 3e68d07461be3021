"""Ordinary logs: the standard library's logging, through one handler that redacts, as JSON lines or for a terminal.

The standard library's loggers are used rather than structlog's, because botocore, urllib3 and APScheduler use them, so
their messages are redacted too. A log line has a ``log`` field, which an audit line never has.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from rotator.errors import ConfigurationError
from rotator.message import utc_text
from rotator.redaction.redactor import Redactor

LONGEST_FIELD: Final = 8_192
"""Longer texts are truncated after redaction, so that a server's response cannot flood the logs."""

_STANDARD_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# At level debug these log whole requests and answers with secret values. Redaction is only the second defence.
_TALKATIVE: Final = ("botocore", "boto3", "urllib3", "requests", "s3transfer", "werkzeug", "apscheduler")

LineRenderer = Callable[[dict[str, Any]], str]


class TextSink(Protocol):
    """The part of a text stream that is used here."""

    def write(self, text: str, /) -> object:
        """Write a text."""

    def flush(self) -> None:
        """Flush the stream."""


class LineStream:
    """Writes whole lines to a stream. A reader that exits (``rotator run 2>&1 | head``) is not an error."""

    def __init__(self, stream: TextSink) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    @property
    def is_terminal(self) -> bool:
        """Whether the stream is a terminal."""
        return is_terminal(self._stream)

    def write_line(self, line: str) -> None:
        """Write one line in one call, and flush. Never raises for a broken stream."""
        with self._lock:
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except BrokenPipeError:
                discard(self._stream)
            except (OSError, ValueError):
                # stderr is closed or on a full disk. The work continues; only a failing audit file, if there is one,
                # stops a run.
                return


def is_terminal(stream: Any) -> bool:
    """Whether a stream, which may be closed or ``None``, is a terminal."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def discard(stream: Any) -> None:
    """Redirect a stream to the null device, or the interpreter would fail on unflushed text at exit (status 120)."""
    with suppress(OSError, AttributeError, ValueError):
        target, nowhere = stream.fileno(), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, target)
        os.close(nowhere)


def render_json(fields: dict[str, Any]) -> str:
    """Return one line of pure ASCII. Control characters and line ends are escaped, so no value can forge a line."""
    return json.dumps(fields, ensure_ascii=True, allow_nan=False, default=str, separators=(", ", ": "))


def console_renderer(*, colors: bool) -> LineRenderer:
    """Make structlog's console renderer. It is imported only here, because it would double a Lambda's cold start."""
    from structlog.dev import ConsoleRenderer

    renderer = ConsoleRenderer(colors=colors, pad_event_to=24)

    def render(fields: dict[str, Any]) -> str:
        shown = {name: _visible(value) for name, value in fields.items() if value is not None}
        return str(renderer(None, "", shown))

    return render


def wants_color(stream: LineStream) -> bool:
    """Whether the stream is a terminal and ``NO_COLOR`` is not set."""
    return stream.is_terminal and not os.environ.get("NO_COLOR")


def _visible(value: Any) -> Any:
    """Escape characters that could move the cursor or start a new line."""
    if not isinstance(value, str):
        return value
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)


class _Formatter(logging.Formatter):
    """Formats a record's ``timestamp``, ``level``, ``log`` (the logger), ``event`` (the message) and extras."""

    def __init__(self, redactor: Redactor, render: LineRenderer) -> None:
        super().__init__()
        self._redactor = redactor
        self._render = render

    def format(self, record: logging.LogRecord) -> str:
        try:
            message = record.getMessage()
        except Exception as error:  # noqa: BLE001, RUF100 - a wrong format string must not end the work, nor print its arguments
            message = f"(a log message that could not be formatted: {type(error).__name__})"
        fields: dict[str, Any] = {
            "timestamp": utc_text(datetime.fromtimestamp(record.created, UTC), "milliseconds"),
            "level": record.levelname.lower(),
            "log": record.name,
            "event": self._text(message),
        }
        extras = {name: value for name, value in vars(record).items() if name not in _STANDARD_FIELDS}
        fields |= {name: value for name, value in self._redactor.scrub(extras).items() if name not in fields}
        if record.exc_info:
            fields["exception"] = self._text(self.formatException(record.exc_info))
        return self._render(fields)

    def _text(self, text: str) -> str:
        return cut(self._redactor.redact(text))


def cut(text: str) -> str:
    """Truncate a text to :data:`LONGEST_FIELD` characters and a note about the rest. Redact it first."""
    more = len(text) - LONGEST_FIELD
    return text if more <= 0 else f"{text[:LONGEST_FIELD]}… ({more} more characters)"


class _Handler(logging.Handler):
    def __init__(self, stream: LineStream) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        self._stream.write_line(self.format(record))


def configure(stream: LineStream, redactor: Redactor, *, level: str = "info", console: bool = False) -> None:
    """Send all logs of the process to ``stream``. May be called again; the last call applies.

    Other handlers on the root logger (a Lambda's runtime has one) are removed, because they do not redact.

    :param level: a level's name, in any case.
    :param console: write for a terminal instead of JSON lines.
    :raises ConfigurationError: the level does not exist.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ConfigurationError(f'"{level[:20]}" is not a log level', advice="Use debug, info, warning or error.")
    handler = _Handler(stream)
    handler.setFormatter(_Formatter(redactor, console_renderer(colors=wants_color(stream)) if console else render_json))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    logging.captureWarnings(True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
