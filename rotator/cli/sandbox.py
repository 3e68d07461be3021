"""``rotator demo`` and ``rotator sandbox``: without an account, without credentials, without a network."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rotator.cli.options import Options, common_options, pass_options
from rotator.cli.output import Output, make_console

if TYPE_CHECKING:
    from rotator.sandbox.launcher import Sandbox


@click.command(short_help="Watch the whole job, time-lapsed, in a sandbox.")
@click.option("--seed", default=1, show_default=True, metavar="N", help="Another seed, other ids and values.")
@common_options
@pass_options
def demo(options: Options, seed: int) -> int:
    """Watch the main job end to end, in an embedded sandbox, time-lapsed.

    Months pass in seconds: keys are made, promoted, retired and revoked, and
    consumers keep working. Needs no account, no credentials and no network.

    \b
    Examples:
      rotator demo
      rotator demo --json
      rotator demo --audit-file demo.jsonl
    """
    from rotator.sandbox.demo import run_demo

    console = make_console(sys.stdout, Output(options).width)
    file = None if options.audit_file is None else Path(options.audit_file)
    return run_demo(console, json_out=options.json, audit_file=file, seed=seed)


@click.command(short_help="Run a simulated Infobip and Secrets Manager.")
@click.option("--port", type=int, metavar="N", help="Listen on N and N+1 (default: any free ones).")
@common_options
@pass_options
def sandbox(options: Options, port: int | None) -> int:
    """Run a simulated Infobip and a Secrets Manager to try things out on.

    Prints the environment in which every other command works on it, with an
    example fleet of eight secrets, and runs until Ctrl-C. Nothing leaves
    this machine, and nothing is kept.

    \b
    Examples:
      rotator sandbox --port 4010       in one shell; in another one paste
      rotator plan                      what it printed, then this
    """
    from rotator.cli.process import Interrupted
    from rotator.sandbox.launcher import environment_text, serve_sandbox

    output = Output(options)

    def ready(running: Sandbox) -> None:
        if output.is_json:
            output.document({"environment": running.environment})
            return
        output.write(environment_text(running.environment) + "\n")
        if sys.stderr is not None:
            print(
                "The sandbox is ready. Paste these lines into another shell, then: rotator plan. Ctrl-C ends it.",
                file=sys.stderr,
            )

    try:
        serve_sandbox(port, threading.Event(), ready=ready)
    except Interrupted:
        return 0  # that is how it is meant to end
    return 0
