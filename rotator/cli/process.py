"""From a command to an exit code: signals, broken pipes, and errors as sentences. No traceback is ever shown."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final, NoReturn

import click

from rotator.cli.call import EXIT_FAILED, EXIT_USAGE, Call
from rotator.errors import ConfigurationError
from rotator.policy.values import keys_in
from rotator.redaction.redactor import redact_patterns
from rotator.secret import Secret
from rotator.telemetry.logs import discard
from rotator.text import printable

_LONGEST_USAGE: Final = 600
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A signal arrived. Not an ``Exception``, so that no handler takes it for a failure of one secret.

    :param number: the signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run(arguments: Sequence[str]) -> int:
    """Run one command; convert every exception to an error message and an exit code."""
    call = Call.guessed(arguments)
    _prepare_streams(call)
    try:
        with _signals(call), call.closing:
            code = _ended(arguments, call)
    except Interrupted as caught:
        # Not through the log, which could hang when a second signal arrives.
        code = call.say(call.interrupted, code=128 + caught.number)
    except Exception as error:  # for example, the audit file can't be closed
        code = call.failed(error)
    return _flushed(code, call)


def _ended(arguments: Sequence[str], call: Call) -> int:
    from rotator.cli.app import cli

    try:
        _refuse_values(arguments)
        code = cli.main(args=list(arguments), prog_name="rotator", standalone_mode=False, obj=call)
        return code if isinstance(code, int) else 0  # --help and --version return nothing
    except click.exceptions.NoArgsIsHelpError as error:
        call.write(f"{error.format_message()}\n")
        return EXIT_USAGE
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "rotator"
        message = printable(redact_patterns(" ".join(error.format_message().split())), _LONGEST_USAGE)
        return call.say(message, f"See `{where} --help`.", code=EXIT_USAGE)
    except BrokenPipeError:
        discard(sys.stdout)
        return EXIT_FAILED
    except SystemExit as error:  # click's and rich's way out of a closed pipe
        return error.code if isinstance(error.code, int) else EXIT_FAILED
    except Exception as error:  # a bug too: its traceback could print a value
        return call.failed(error)


def _refuse_values(arguments: Sequence[str]) -> None:
    """Refuse a key's value as an argument, before it gets into a request, AWS's trail or a message."""
    if any(keys_in(Secret(argument)) for argument in arguments):
        raise ConfigurationError(
            "an argument contains an API key value; nothing was done, but the value is now in the process list and "
            "shell history",
            advice="Treat it as leaked and revoke it: `rotator revoke --leaked-key-stdin --reason R --yes < file`.",
        )


def _prepare_streams(call: Call) -> None:
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller; the next opened file must not get its descriptor
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for as long as the process lives
            if name == "stdout":
                call.stdout_closed = True
        reconfigure = getattr(getattr(sys, name), "reconfigure", None)
        if reconfigure is not None:  # a locale that lacks a character must not end a sweep
            reconfigure(errors="backslashreplace")


@contextmanager
def _signals(call: Call) -> Iterator[None]:
    """The first signal unwinds (sessions are closed, audit lines written); a second one ends the process at once."""
    before: dict[int, Any] = {}

    def give_up(number: int, _frame: FrameType | None) -> None:
        with suppress(OSError):
            os.write(2, call.error_line(call.interrupted).encode())
        os._exit(128 + number)

    def unwind(number: int, _frame: FrameType | None) -> NoReturn:
        for each in before:
            signal.signal(each, give_up)
        raise Interrupted(number)

    for number in _SIGNALS:
        with suppress(ValueError):  # outside the main thread, another program handles signals
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                before[number] = signal.signal(number, unwind)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _flushed(code: int, call: Call) -> int:
    """Flush the output while a write error can still be reported."""
    logging.shutdown()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
    except (OSError, ValueError) as error:
        call.not_written(error)
    if not call.unwritten:
        return code
    failed = f"the output could not be written ({call.unwritten})"
    return call.say(failed, "Completed changes were kept; see `rotator status`.")
