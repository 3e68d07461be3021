"""A configured program for the time of one command."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypedDict

from rotator.bootstrap import App, local_actor, prepare
from rotator.cli.options import Options
from rotator.cli.output import Failure, bug, failure_of
from rotator.errors import ConfigurationError, RotatorError
from rotator.render import whole_ids

_TRIGGERS: Final = ("manual", "schedule")


@contextmanager
def opened(options: Options, *, trigger: str | None = None) -> Iterator[App]:
    """Build the program, and close it afterwards.

    Whatever is raised inside comes out as a :class:`~rotator.cli.output.Failure`, made while the values that were
    read are still known, so that none of them can be in it.

    :param trigger: what the audit says started it; ``manual`` or what ``ROTATOR_TRIGGER`` says where not given.
    """
    foundation = prepare(
        region=options.region,
        profile=options.profile,
        **stderr_settings(options),
    )
    app = foundation.start(trigger=trigger or _trigger(), actor=local_actor(), audit_file=options.audit_file)
    options.redactor = app.redactor
    failure: Failure | None = None
    try:
        with whole_ids(options.wide):
            yield app
    except Failure:
        raise
    except RotatorError as error:
        failure = failure_of(error, app.redactor.redact)
    except (BrokenPipeError, SystemExit):
        raise
    except Exception as error:  # what a command did not expect
        failure = bug(error, app.redactor.redact)
    finally:
        app.close()
    if failure is not None:
        raise failure


class StderrSettings(TypedDict):
    """What :func:`rotator.bootstrap.prepare` takes about logs and audit lines."""

    console: bool
    ocsf: bool
    log_level: str | None
    audit_level: int


def stderr_settings(options: Options) -> StderrSettings:
    """What stderr shows: to a person warnings and errors, with ``--verbose`` audit lines too; to a program everything.

    With ``--quiet`` only errors.

    :raises ConfigurationError: both are given.
    """
    console = _wants_console(options)
    if options.verbose and options.quiet:
        raise ConfigurationError("--verbose and --quiet exclude each other", advice="Give one of the two.")
    level, audit_level = options.log_level, logging.INFO
    if options.quiet:
        level, audit_level = level or "error", logging.ERROR
    elif console and not options.verbose:
        level, audit_level = level or os.environ.get("ROTATOR_LOG_LEVEL") or "warning", logging.CRITICAL
    ocsf = options.audit_format == "ocsf"
    return {"console": console, "ocsf": ocsf, "log_level": level, "audit_level": audit_level}


def _wants_console(options: Options) -> bool:
    """Whether logs are rendered for a person: as asked for, else where stderr is a terminal."""
    if options.log_format is not None:
        return options.log_format == "console"
    try:
        return sys.stderr is not None and sys.stderr.isatty()
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
