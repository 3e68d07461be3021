"""Running the rotator by its two entry points: the command line, and the Lambda handlers."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import pytest

from rotator.cli import main
from tests import leaks

LAMBDA = """
import json, sys
from rotator import lambda_handlers
given = json.load(sys.stdin)
class Context:
    aws_request_id = "00000000-0000-0000-0000-000000000000"
    def get_remaining_time_in_millis(self):
        return given["seconds_left"] * 1000
print(json.dumps(getattr(lambda_handlers, given["handler"])(given["event"], Context())))
"""


@dataclass(frozen=True)
class Ran:
    """One run of the rotator: its exit code (0 or 1 for a handler), its JSON document, its logs and audit lines."""

    code: int
    document: Any
    lines: list[dict[str, Any]]
    stderr: str

    @property
    def audit(self) -> list[dict[str, Any]]:
        """The audit lines."""
        return [line for line in self.lines if "seq" in line]

    def alerts(self, kind: str | None = None, secret: str | None = None) -> list[dict[str, Any]]:
        """The alerts of every account, of one kind or about one secret where given."""
        every = [alert for account in self.document["accounts"] for alert in account["alerts"]]
        of_kind = [alert for alert in every if kind in (None, alert["kind"])]
        return [alert for alert in of_kind if secret in (None, alert["secret"])]

    def results(self, kind: str, outcome: str = "done") -> list[dict[str, Any]]:
        """The actions of one kind that had that outcome."""
        return [each for each in self.document["results"] if (each["kind"], each["outcome"]) == (kind, outcome)]


def run_command_line(arguments: Sequence[str], environment: Mapping[str, str]) -> Ran:
    """One command, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name, text in environment.items():
            patch.setenv(name, text)
        code = main([*arguments])
    return _ran(code, out.getvalue(), err.getvalue())


def run_lambda_handler(name: str, event: Mapping[str, Any], seconds_left: int, environment: Mapping[str, str]) -> Ran:
    """One call of a handler, in a process of its own as at a cold start."""
    clean = {each: text for each, text in os.environ.items() if not each.startswith(("AWS_", "ROTATOR_"))}
    given = json.dumps({"handler": name, "event": event, "seconds_left": seconds_left})
    command = [sys.executable, "-c", LAMBDA]
    child = subprocess.run(
        command, input=given, env={**clean, **environment}, capture_output=True, text=True, timeout=60
    )
    return _ran(child.returncode, child.stdout, child.stderr)


def _ran(code: int, out: str, err: str) -> Ran:
    leaks.check(out, "stdout")
    leaks.check(err, "stderr")
    lines = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    return Ran(code, json.loads(out) if out.startswith("{") else None, lines, err)
