"""The command line over a local stack: the simulated Infobip over HTTP, and Secrets Manager by moto."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import click

from rotator.cli import main
from rotator.sandbox.aws import MotoServer, create_managed, create_management, environment
from rotator.sandbox.clocks import OffsetClock
from rotator.sandbox.launcher import seed
from rotator.sandbox.server import InfobipServer
from rotator.sandbox.state import SimAccount, SimKey, SimUser
from tests import leaks
from tests.support.faulty_infobip import FaultyInfobip
from tests.support.moto_state import state_of

PATIENCE = 60


@dataclass(frozen=True)
class Ran:
    """What a command wrote, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Logs and audit lines."""
        return [json.loads(line) for line in self.err.splitlines() if line.startswith("{")]

    @property
    def sentence(self) -> str:
        """What stderr says to a person."""
        return "\n".join(line for line in self.err.splitlines() if not line.startswith("{"))


@dataclass
class Stack:
    """Infobip, Secrets Manager, and the command line against them.

    :param age: of the keys that are made.
    """

    moto: MotoServer
    server: InfobipServer
    world: FaultyInfobip
    clock: OffsetClock
    client: Any
    environment: dict[str, str] = field(default_factory=dict)
    age: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        clean = {name: text for name, text in os.environ.items() if not name.startswith(("ROTATOR_", "AWS_"))}
        for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "CLICOLOR_FORCE"):
            clean.pop(name, None)
        self.environment = clean | environment(self.server.url, self.moto.url)

    # ---- what there is ----------------------------------------------------------------------------------------------

    def seed(self) -> dict[str, SimKey]:
        """The example fleet; gives the keys by secret. Whatever the time of day, no window in it is open."""
        fleet = seed(self.world, self.client, self.server.url)
        leaks.register(fleet.user.password)
        opens = self.clock.now() + timedelta(hours=12)
        closed = f"{opens:%a %H:%M}-{opens + timedelta(hours=1):%H:%M} UTC"
        self.client.tag_resource(SecretId="prod/whatsapp/bot", Tags=[{"Key": "rotator:window", "Value": closed}])
        return dict(fleet.keys)

    def account(self, name: str, **management: str) -> tuple[SimAccount, SimUser]:
        """An account with a user and a management secret.

        ``management`` may give another base_url, username, password or auth.
        """
        account = self.world.add_account(name)
        user = self.world.add_user(account, management.get("username", f"ops-{name}"))
        leaks.register(user.password)
        password = leaks.register(management.get("password", user.password))
        url = management.get("base_url", self.server.url)
        auth = management.get("auth", "basic")
        create_management(self.client, name, base_url=url, username=user.username, password=password, auth=auth)
        return account, user

    def secret(self, name: str, account: SimAccount, value: str | None = "key", **tags: str) -> SimKey:
        """A managed secret with a key of its own; ``value`` says how it stands in it: ``key``, or a text to store."""
        key = self.world.add_key(account, name, valid_from=self.clock.now().replace(microsecond=0) - self.age)
        stored = json.dumps({"api_key": key.value}) if value == "key" else value
        named = {tag.replace("_", "-"): text for tag, text in tags.items()}
        create_managed(self.client, name, account.name, stored, key_id=key.id if value == "key" else None, tags=named)
        return key

    def state(self) -> tuple[Any, ...]:
        """Everything that a command could have changed."""
        return state_of(self.world, self.client)

    # ---- what is done -----------------------------------------------------------------------------------------------

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


def called(arguments: Sequence[str], environment: Mapping[str, str], stdin: str | None = None) -> Ran:
    """One command to its end, in this process and that environment; its output is searched for secret values."""
    streams = [io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8") for text in (stdin or "", "", "")]
    before = sys.stdin, sys.stdout, sys.stderr
    with patch.dict(os.environ, environment, clear=True):
        time.tzset()
        sys.stdin, sys.stdout, sys.stderr = streams
        try:
            code = main(arguments)
        finally:
            sys.stdin, sys.stdout, sys.stderr = before
    time.tzset()
    out, err = (stream.detach().getvalue().decode() for stream in streams[1:])
    return checked(code, out, err)


def checked(code: int, out: str, err: str) -> Ran:
    """The output, which holds no secret value and no traceback."""
    leaks.check(out, "stdout")
    leaks.check(err, "stderr")
    assert "Traceback" not in err
    return Ran(code, out, err)


def subcommands(group: click.Group) -> dict[str, click.Command]:
    """By name; each of the program's own is imported."""
    context = click.Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}
