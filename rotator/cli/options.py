"""The decorator for commands, and the options that every command takes, before or after its name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

import click

from rotator.cli.call import Call
from rotator.settings import LOG_LEVELS

_LONGEST: Final = 2048
"""As long as an ARN can be."""


class Filled(click.ParamType[str]):
    """A name, path, time or reason: not blank (often a shell variable that is not set), and not longer than an ARN."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text, without blanks around it."""
        text = str(value).strip()
        if not text:
            self.fail("it is empty", param, ctx)
        if len(text) > _LONGEST:
            self.fail(f"it has {len(text)} characters, and at most {_LONGEST} are possible", param, ctx)
        return text


_COMMON: Final[dict[str, dict[str, Any]]] = {
    "--region": {"metavar": "R", "help": "AWS region (default: AWS_REGION)."},
    "--profile": {"metavar": "P", "help": "AWS profile (default: AWS_PROFILE)."},
    "--log-format": {
        "type": click.Choice(["json", "console"]),
        "help": "Format of logs and audit lines on stderr (default: console on a terminal, else json).",
    },
    "--log-level": {
        "type": click.Choice(LOG_LEVELS, case_sensitive=False),
        "metavar": "LEVEL",
        "help": "debug, info, warning, error or critical (default: ROTATOR_LOG_LEVEL).",
    },
    "--verbose": {"is_flag": True, "help": "Also show audit lines on a terminal."},
    "--quiet": {"is_flag": True, "help": "Show only errors on stderr."},
    "--audit-file": {"metavar": "FILE", "help": "Also append audit lines to FILE (created if missing)."},
    "--timeout": {
        "type": click.IntRange(1, 300),
        "metavar": "SECONDS",
        "help": "Longest wait for a response of AWS or Infobip (default: 10; run and serve: 20).",
    },
    "--json": {"is_flag": True, "help": "Print one JSON document to stdout instead of text."},
}


def _keep(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value is not None and value is not False:
        setattr(context.ensure_object(Call), str(parameter.name), value)


def common_options(shown: Collection[str] = tuple(_COMMON)) -> list[click.Parameter]:
    """Return the options that every command takes. Its help lists only those in ``shown``."""
    return _filled(
        click.Option([name], callback=_keep, expose_value=False, hidden=name not in shown, **settings)
        for name, settings in _COMMON.items()
    )


def _filled(parameters: Iterable[click.Parameter]) -> list[click.Parameter]:
    """Let every text be checked."""
    checked = list(parameters)
    for parameter in checked:
        if isinstance(parameter.type, type(click.STRING)):
            parameter.type = Filled()
    return checked


class Command(click.Command):
    """A command; ``documents`` are the shapes of what it prints with ``--json``, for ``docs/schemas/``."""

    documents: tuple[type, ...] = ()


def command(*documents: type) -> Callable[[Callable[..., int]], Command]:
    """Make a command from a function that takes the :class:`Call` first; its docstring is the help."""

    def make(function: Callable[..., int]) -> Command:
        made = click.command(cls=Command)(click.make_pass_decorator(Call)(function))
        made.params = _filled(made.params) + common_options(shown=["--json"])
        made.documents = documents
        return made

    return make


account_option: Final = click.option("--account", metavar="A", help="Only this Infobip account.")
days_option: Final = click.option(
    "--days",
    metavar="N",
    type=click.IntRange(1, 400),
    default=90,
    show_default=True,
    help="Days to forecast.",
)
secret_option: Final = click.option("--secret", metavar="S", help="Only this secret (name or ARN).")
wide_option: Final = click.option(
    "--wide",
    is_flag=True,
    callback=_keep,
    expose_value=False,
    help="Show full key ids; do not wrap lines.",
)
