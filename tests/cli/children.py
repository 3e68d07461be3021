"""The command line in a process of its own, where a process is what is tested."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from tests.cli.local_stack import Stack
from tests.support.commands import Ran, checked

PATIENCE = 60
"""Seconds."""


def start(
    stack: Stack,
    *arguments: str,
    stdin: bool = False,
    env: Mapping[str, str | None] | None = None,
    stdout: Any = None,
) -> subprocess.Popen[str]:
    """A child process; see :func:`ended`."""
    return subprocess.Popen(
        [sys.executable, "-m", "rotator", *arguments],
        env=stack.chosen(env),
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        # A test run in the background ignores Ctrl-C, and its children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def ended(child: subprocess.Popen[str], out: str, err: str) -> Ran:
    """A child that has exited."""
    return checked(child.returncode, out, err)
