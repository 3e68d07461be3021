"""The command line over a local stack: the simulated Infobip over HTTP, and Secrets Manager by moto."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import click

from rotator.sandbox.aws import environment
from rotator.sandbox.launcher import seed
from rotator.sandbox.state import SimKey
from tests import leaks
from tests.support.commands import Ran, called, checked
from tests.support.local_world import LocalWorld

__all__ = ["PATIENCE", "Ran", "Stack", "subcommands"]

PATIENCE = 60


@dataclass(repr=False)
class Stack(LocalWorld):
    """Infobip, Secrets Manager, and the command line against them."""

    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        clean = {name: text for name, text in os.environ.items() if not name.startswith(("ROTATOR_", "AWS_"))}
        for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "CLICOLOR_FORCE"):
            clean.pop(name, None)
        self.environment = clean | environment(self.aws_url)

    def seed(self) -> dict[str, SimKey]:
        """The example fleet; gives the keys by secret. Whatever the time of day, no window in it is open."""
        fleet = seed(self.infobip, self.client, self.infobip_url)
        leaks.register(fleet.user.password)
        opens = self.clock.now() + timedelta(hours=12)
        self.tag("prod/whatsapp/bot", window=f"{opens:%a %H:%M}-{opens + timedelta(hours=1):%H:%M} UTC")
        return dict(fleet.keys)

    def run(self, *arguments: str, stdin: str | None = None, env: Mapping[str, str | None] | None = None) -> Ran:
        """One command to its end, in this process; its output is searched for secret values."""
        return called(arguments, self._chosen(env), stdin)

    def _chosen(self, env: Mapping[str, str | None] | None) -> dict[str, str]:
        return {name: text for name, text in (self.environment | dict(env or {})).items() if text is not None}

    def start(
        self,
        *arguments: str,
        stdin: bool = False,
        env: Mapping[str, str | None] | None = None,
        stdout: Any = None,
    ) -> subprocess.Popen[str]:
        """A child process, where a process is what is tested; see :meth:`ran`."""
        return subprocess.Popen(
            [sys.executable, "-m", "rotator", *arguments],
            env=self._chosen(env),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE if stdout is None else stdout,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            # A test run in the background ignores Ctrl-C, and its children would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def ran(self, child: subprocess.Popen[str], out: str, err: str) -> Ran:
        """A child that has exited."""
        return checked(child.returncode, out, err)


def subcommands(group: click.Group) -> dict[str, click.Command]:
    """By name; each of the program's own is imported."""
    context = click.Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}
