"""``rotator sandbox``: a simulated Infobip and Secrets Manager, without an account, credentials or a network."""

from __future__ import annotations

import shlex
import sys
import threading
from typing import TypedDict

import click

from rotator.cli.call import Call
from rotator.cli.demo import called_as
from rotator.cli.options import command
from rotator.cli.process import Interrupted
from rotator.sandbox.launcher import Sandbox, serve_sandbox


class SandboxDocument(TypedDict):
    """``sandbox``: the environment to use it."""

    environment: dict[str, str]


@command(SandboxDocument)
@click.option("--port", type=int, metavar="N", help="Listen on ports N and N+1 (default: free ports).")
def sandbox(call: Call, port: int | None) -> int:
    """Run a simulated Infobip and Secrets Manager to try commands on.

    Prints environment variables that point the other commands to it, and runs
    with an example fleet of eight secrets until Ctrl-C. Nothing leaves this
    machine, and nothing is kept.

    \b
    Examples:
      rotator sandbox --port 4010
      rotator plan                 in another shell, after pasting those lines
    """

    def ready(running: Sandbox) -> None:
        if call.json:
            call.document({"environment": running.environment})
            return
        call.write("".join(f"export {name}={shlex.quote(text)}\n" for name, text in running.environment.items()))
        if sys.stderr is not None:
            print(
                f"The sandbox is ready. Paste these lines into another shell, then: {called_as()} plan. "
                "Press Ctrl-C to stop.",
                file=sys.stderr,
            )

    try:
        serve_sandbox(port, threading.Event(), ready=ready)
    except Interrupted:
        return 0  # the intended way to stop
    return 0
