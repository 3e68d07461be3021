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

from rotator.cli.options import Options
from rotator.cli.output import Failure, bug, discard_stdout, failure_of, say_failure, unwritten
from rotator.errors import RotatorError
from rotator.policy.values import possible_keys
from rotator.redaction.redactor import redact_patterns
from rotator.secret import Secret

INTERRUPTED: Final = "interrupted; nothing is lost, the next sweep continues"
_USAGE: Final = 2
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A signal came. No ``Exception``, so that nothing on the way takes it for a failure of one secret.

    :param number: the signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run(arguments: Sequence[str]) -> int:
    """Run one command; everything that it raises becomes a sentence and an exit code."""
    from rotator.cli.app import cli

    options = Options.guessed(arguments)
    _prepare_streams(options)
    try:
        _refuse_values(arguments)
        with _signals():
            code = cli.main(args=list(arguments), prog_name="rotator", standalone_mode=False, obj=options)
        if not isinstance(code, int):  # --help and --version give nothing
            code = 0
    except Interrupted as caught:
        # Not through the log: a second signal must find nothing that can hang.
        say_failure(Failure(INTERRUPTED, code=128 + caught.number), options)
        code = 128 + caught.number
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = _USAGE
    except click.ClickException as error:
        code = say_failure(_usage(error), options)
    except BrokenPipeError:
        discard_stdout()
        code = 1
    except SystemExit as error:  # click's and rich's way out of a closed pipe
        code = error.code if isinstance(error.code, int) else 1
    except Failure as failure:
        code = say_failure(failure, options)
    except RotatorError as error:
        code = say_failure(failure_of(error), options)
    except Exception as error:  # the last resort: a bug must not print what it had in hand
        code = say_failure(bug(error, redact_patterns), options)
    return _flushed(code, options)


def _refuse_values(arguments: Sequence[str]) -> None:
    """Refuse a key's value as an argument, before it gets into a request, AWS's trail or a message.

    :raises Failure: one holds such a value.
    """
    if any(possible_keys(Secret(argument)) for argument in arguments):
        raise Failure(
            "an argument holds the value of an API key; nothing was done, but the process list and the shell's history "
            "contain it",
            "Treat it as leaked: `rotator revoke --leaked-key-stdin --reason R --yes < file` ends it.",
            code=_USAGE,
        )


def _usage(error: click.ClickException) -> Failure:
    where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "rotator"
    return Failure(redact_patterns(" ".join(error.format_message().split())), f"See `{where} --help`.", code=_USAGE)


def _prepare_streams(options: Options) -> None:
    if sys.stdout is None:  # closed by the caller (>&-); and the next file that is opened must not take its place
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
        options.stdout_closed = True
    if sys.stderr is None:  # closed by the caller (2>&-): logs go nowhere then, and the work is done all the same
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a locale that lacks a character must not end a sweep
            reconfigure(errors="backslashreplace")


@contextmanager
def _signals() -> Iterator[None]:
    """The first signal unwinds (sessions are closed, audit lines written); a second one ends the process at once."""
    before: dict[int, Any] = {}

    def unwind(number: int, _frame: FrameType | None) -> NoReturn:
        for each in before:
            signal.signal(each, _give_up)
        raise Interrupted(number)

    for number in _SIGNALS:
        with suppress(ValueError):  # not in the main thread, where another program handles signals
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                before[number] = signal.signal(number, unwind)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _give_up(number: int, _frame: FrameType | None) -> None:
    with suppress(OSError):
        os.write(2, f"rotator: {INTERRUPTED}\n".encode())
    os._exit(128 + number)


def _flushed(code: int, options: Options) -> int:
    """Flush the output while an error of it can still be reported."""
    logging.shutdown()
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()
    except (OSError, ValueError) as error:
        discard_stdout()
        options.unwritten = options.unwritten or error
    if options.unwritten is not None:
        return say_failure(unwritten(options.unwritten), options)
    return code
