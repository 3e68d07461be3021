"""The top-level command, and the list of its commands. Each is imported only when it is called."""

from __future__ import annotations

from importlib import import_module
from typing import Final

import click

from rotator import __version__
from rotator.cli.options import common_options
from rotator.text import did_you_mean

COMMANDS: Final = {
    "demo": "Watch 120 simulated days of rotations in a minute.",
    "sandbox": "Run a simulated Infobip and Secrets Manager.",
    "plan": "Show what a sweep would do. Changes nothing.",
    "run": "Run one sweep: rotate and revoke what is due.",
    "rotate": "Rotate one secret now.",
    "rollback": "Make the previous key current again.",
    "revoke": "Revoke leaked keys immediately.",
    "adopt": "Start managing existing secrets and keys.",
    "status": "Show each secret's key, its expiry and the next action.",
    "consumers": "Show who reads a secret and who may still use the old key.",
    "forecast": "Forecast rotations per day against the daily limit.",
    "report": "Write an HTML report: status, alerts and forecast.",
    "evidence": "Write an auditor's evidence for a period, or verify it.",
    "inventory": "List every key and the secret that contains it.",
    "serve": "Run sweeps on a schedule (daemon).",
    "doctor": "Check the setup and show how to fix problems.",
    "rehearse": "Try on the real services what the rotator assumes.",
    "audit": "Verify an audit file.",
    "completion": "Print a shell completion script.",
}
"""Each name is a module of this package and the command in it, in the order in which a user needs them."""


class LazyGroup(click.Group):
    """Lists commands without importing them, and suggests one for a misspelt name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """``help [COMMAND]`` and ``version`` are the options of that name."""
        if args[:1] == ["help"]:
            args = [*args[1:], "--help"]
        elif args == ["version"]:
            args = ["--version"]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names, not sorted."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module on first use."""
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            command: click.Command = getattr(import_module(f"rotator.cli.{cmd_name}"), cmd_name)
            command.short_help = COMMANDS[cmd_name]  # for completion
            self.add_command(command)
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command."""
        name = args[0] if args else ""
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            hint = did_you_mean(name, COMMANDS) or f"Available commands: {', '.join(COMMANDS)}."
            ctx.fail(f"No such command {name[:40]!r}. {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """One line each."""
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items(), ("help", "Show the help of a command.")])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(__version__, "-V", "--version", message="rotator %(version)s")
def cli() -> None:
    """Rotate Infobip API keys that are stored in AWS Secrets Manager.

    A secret's tags set the policy, staging labels on its versions record what
    was done, and Infobip's key list is authoritative. Start with `rotator demo`,
    which needs no account.

    Results go to stdout, logs and audit lines to stderr. The options below
    can also follow a command's name.

    \b
    Exit codes: 0 success, 1 failure, 2 usage or configuration error; with
    `plan --exit-code` also 3 work to do, 4 no work to do but something to fix.

    \b
    Examples:
      rotator plan
      rotator --region eu-central-1 run
      rotator status --json
    """


cli.params += common_options()
