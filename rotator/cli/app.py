"""The program's own command, and the list of its commands."""

from __future__ import annotations

import difflib

import click

from rotator import __version__
from rotator.cli.adopt import adopt
from rotator.cli.audit import audit
from rotator.cli.completion import completion
from rotator.cli.consumers import consumers
from rotator.cli.demo import demo
from rotator.cli.doctor import doctor
from rotator.cli.forecast import forecast
from rotator.cli.inventory import inventory
from rotator.cli.options import global_options
from rotator.cli.plan import plan
from rotator.cli.report import report
from rotator.cli.revoke import revoke
from rotator.cli.rollback import rollback
from rotator.cli.rotate import rotate
from rotator.cli.sandbox import sandbox
from rotator.cli.serve import serve
from rotator.cli.status import status
from rotator.cli.sweep import run

_COMMANDS = (
    demo,
    sandbox,
    plan,
    run,
    rotate,
    rollback,
    revoke,
    adopt,
    status,
    consumers,
    forecast,
    report,
    inventory,
    serve,
    doctor,
    audit,
    completion,
)


class _Commands(click.Group):
    """Lists commands in the order in which one meets them, and knows a misspelt one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Not sorted."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command."""
        name = args[0] if args else ""
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            near = difflib.get_close_matches(name, self.commands, n=1)
            hint = f" Did you mean {near[0]}?" if near else f" There are {', '.join(self.commands)}."
            ctx.fail(f"There is no command {name[:40]!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(__version__, message="rotator %(version)s")
@global_options
def cli() -> None:
    """Rotate Infobip API keys that live in AWS Secrets Manager.

    Tags on a secret say what is wanted, staging labels on its versions what
    was done, and Infobip's own list of keys is the truth: there is nothing
    else to keep in step. Start with `rotator demo`, which needs nothing.

    Results go to stdout, logs and audit lines to stderr. The options below
    can also stand after a command's name.

    \b
    Exit codes: 0 done, 1 something failed, 2 usage or configuration,
    3 `plan --exit-code` found work to do, 4 no work but something to fix.

    \b
    Examples:
      rotator demo
      rotator plan
      rotator --region eu-central-1 run
      rotator status --json
    """


for _command in _COMMANDS:
    cli.add_command(_command)
