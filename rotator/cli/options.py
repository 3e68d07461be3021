"""The options that every command takes, before its name or after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast

import click

from rotator.settings import LOG_LEVELS

if TYPE_CHECKING:
    from rotator.redaction.redactor import Redactor

F = TypeVar("F", bound=Callable[..., Any])
LogFormat = Literal["json", "console"]


@dataclass
class Options:
    """The options that every command takes; ``None`` where one is not given.

    :param json: one JSON document on stdout instead of text for people.
    :param redactor: takes out of results what must not be seen; knows more once a command has read values.
    :param written: whether that document was written already, so that an error does not write a second one.
    :param stdout_closed: whether the caller closed stdout: what is written goes nowhere, and that is an error.
    :param unwritten: why output could not be written. It is reported at the end: the work is done all the same.
    """

    region: str | None = None
    profile: str | None = None
    log_format: LogFormat | None = None
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
    unwritten: OSError | ValueError | None = None

    @classmethod
    def guessed(cls, arguments: Sequence[str]) -> Options:
        """What an error needs that happens before click has parsed everything: whether a person reads it."""
        own = arguments[: arguments.index("--")] if "--" in arguments else arguments
        pairs = {f"{name}={value}" for name, value in pairwise(own)} | set(own)
        return cls(json="--json" in own, log_format="json" if "--log-format=json" in pairs else None)


def _keep(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value is not None and value is not False:
        setattr(context.ensure_object(Options), str(parameter.name), value)


_COMMON: Final = (
    ("--region", {"metavar": "R", "help": "AWS region (default: AWS_REGION)."}),
    ("--profile", {"metavar": "P", "help": "AWS profile (default: AWS_PROFILE)."}),
    (
        "--log-format",
        {
            "type": click.Choice(["json", "console"]),
            "help": "Format of logs and audit lines on stderr (default: console on a terminal, else json).",
        },
    ),
    (
        "--log-level",
        {
            "type": click.Choice(LOG_LEVELS, case_sensitive=False),
            "metavar": "LEVEL",
            "help": "debug, info, warning or error (default: ROTATOR_LOG_LEVEL).",
        },
    ),
    (
        "--audit-format",
        {
            "type": click.Choice(["native", "ocsf"]),
            "help": "Format of audit lines in JSON (default: native; ocsf: OCSF 1.5 events, for a SIEM).",
        },
    ),
    ("--verbose", {"is_flag": True, "help": "On a terminal, show audit lines too."}),
    ("--quiet", {"is_flag": True, "help": "Show only errors on stderr."}),
    ("--audit-file", {"metavar": "FILE", "help": "Append audit lines to FILE too; it is created if needed."}),
    ("--json", {"is_flag": True, "help": "One JSON document on stdout instead of text."}),
)


def global_options(function: F) -> F:
    """Before the command's name: shown in the program's own help."""
    return _with(function, hidden=())


def common_options(function: F) -> F:
    """After the command's name as well, where people write them; all but ``--json`` would only lengthen its help."""
    return _with(function, hidden=tuple(name for name, _ in _COMMON if name != "--json"))


def _with(function: F, hidden: tuple[str, ...]) -> F:
    for name, settings in reversed(_COMMON):
        add = click.option(
            name, callback=_keep, expose_value=False, hidden=name in hidden, **cast(dict[str, Any], settings)
        )
        function = add(function)
    return function


wide_option = click.option(
    "--wide",
    is_flag=True,
    callback=_keep,
    expose_value=False,
    help="Show key ids whole, and do not wrap lines.",
)
pass_options = click.make_pass_decorator(Options)
