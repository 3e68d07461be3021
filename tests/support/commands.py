"""The command line in this process: one command to its end, and what it wrote."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest.mock import patch

from jsonschema import Draft202012Validator
from write_schemas import documented, schemas, strict

from rotator.cli import main
from rotator.cli.app import cli
from tests import leaks


@cache
def _validators() -> dict[str, Draft202012Validator]:
    return {name: Draft202012Validator(strict(schema)) for name, schema in schemas()}


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
    def audit(self) -> list[dict[str, Any]]:
        """Audit lines alone."""
        return [line for line in self.lines if "seq" in line]

    @property
    def sentence(self) -> str:
        """What stderr says to a person; of logs, only why the command failed."""
        plain = [line for line in self.err.splitlines() if not line.startswith("{")]
        return "\n".join(
            [*plain, *(f"rotator: {line['event']}" for line in self.lines if line.get("log") == "rotator")]
        )


def called(arguments: Sequence[str], environment: Mapping[str, str], stdin: str | None = None) -> Ran:
    """One command to its end, in this process and that environment; its output is searched for secret values."""
    streams = [io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8") for text in (stdin or "", "", "")]
    redirected = patch.multiple(sys, stdin=streams[0], stdout=streams[1], stderr=streams[2])
    with patch.dict(os.environ, environment, clear=True), redirected:
        time.tzset()
        code = main(arguments)
    time.tzset()
    out, err = (stream.detach().getvalue().decode() for stream in streams[1:])
    ran = checked(code, out, err)
    if "console" not in " ".join(arguments):
        assert len(ran.lines) == len(err.splitlines()), f"stderr is read by a program: {err}"
    if "--json" in arguments and out:
        command = next(name for name in sorted(dict(documented(cli))) if set(name.split()) <= set(arguments))
        assert_documented(command, ran.document)
    for line in ran.audit:
        assert_documented("audit-line", line)
    return ran


def checked(code: int, out: str, err: str) -> Ran:
    """The output, which holds no secret value and no traceback."""
    leaks.check(f"{out}\n{err}", "stdout or stderr")
    assert "Traceback" not in err
    return Ran(code, out, err)


def assert_documented(name: str, document: Any) -> None:
    """It has the shape that ``docs/schemas/`` promises, with no other field.

    :param name: a command, ``audit-line`` or ``event``.
    """
    _validators()[f"{name.replace(' ', '-')}.json"].validate(document)
