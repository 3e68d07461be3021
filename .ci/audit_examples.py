"""Audit lines, from commands over the sandbox, for ``docs/audit.md``: examples, and the fields of every event."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from unittest.mock import patch

from rotator.audit_events import Event
from rotator.cli import main
from rotator.policy.labels import key_name
from rotator.sandbox.exchange import ErrorStyle, Request, Response
from rotator.sandbox.launcher import Sandbox
from rotator.telemetry.audit import FIELDS
from tests.support.faulty_infobip import Fault, FaultKind, put_faults

SECRET: Final = "prod/sms/otp"
ALWAYS: Final = frozenset({"level", "event", "outcome", "actor", "trigger"})
EXAMPLE: Final = re.compile(r"(?<=```json\n)(\{\"[^\n]*\"event\": [^\n]*\})(?=\n```)")
ROWS: Final = re.compile(r"(?<=\| event \| when \| further fields \|\n\|---\|---\|---\|\n)(\| `[^\n]*\n)+")
KEYS: Final = "/settings/2/api-keys"


def audit_page(text: str, sandbox: Sandbox) -> str:
    """The page, with a real line in place of each example, and in the table the fields that each event really has.

    A line is one of the same event, outcome, trigger and secret.
    What differs from run to run is replaced: random ids, how long calls and retries took, the simulated Infobip's port.
    """
    lines = list(_lines(sandbox))
    version_ids: dict[str, str] = {}

    def steady(found: re.Match[str]) -> str:
        return version_ids.setdefault(found[0], str(uuid.uuid5(uuid.NAMESPACE_OID, str(len(version_ids)))))

    def example(found: re.Match[str]) -> str:
        wanted = json.loads(found[0])
        about = {name: wanted.get(name) for name in ("event", "outcome", "trigger", "secret")}
        found_lines = [line for line in lines if {name: line.get(name) for name in about} == about]
        assert found_lines, f"no command wrote a line with {about}"
        line = found_lines[0]
        if line["duration_ms"] is not None:
            line |= {"duration_ms": 215}
        if "timestamp" not in wanted:  # the first example shows every field
            line = {name: value for name, value in line.items() if name in ALWAYS or value is not None}
            for name in ("timestamp", "run_id", "seq", "prev", "deployment"):
                del line[name]
        shown = re.sub(r"127\.0\.0\.1:\d+", "abc123.api.infobip.com", json.dumps(line))
        return re.sub(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", steady, shown)

    def row(event: Event) -> str:
        names = {name: None for line in lines if line["event"] == event for name in line if name not in FIELDS}
        fields = f" {', '.join(f'`{name}`' for name in names)} " if names else " "
        return f"| `{event}` | {event.when} |{fields}|\n"

    return ROWS.sub("".join(map(row, Event)), EXAMPLE.sub(example, text))


def _lines(sandbox: Sandbox) -> Iterator[dict[str, Any]]:
    """Sweeps, a rollback, an emergency, and what goes wrong."""
    world, client, clock = sandbox.world, sandbox.client(), sandbox.clock
    with TemporaryDirectory() as folder:
        audit = Path(folder) / "audit.jsonl"
        options = ["--audit-file", str(audit), "--quiet"]

        def sweep() -> None:
            with _user("scheduler", ROTATOR_TRIGGER="schedule"):
                main(["run", *options])

        def operator(*command: str) -> None:
            with _user("ana"):
                main([*command, *options])

        sweep()
        clock.advance(timedelta(hours=73))
        refused = Fault(FaultKind.STATUS_BEFORE, method="PUT", path=KEYS, count=None, body=ErrorStyle.EMPTY)
        with _fault(sandbox, refused):
            sweep()  # a grace period is over, and Infobip refuses the revocation
        arn = client.describe_secret(SecretId="prod/email/news")["ARN"]
        name = key_name("prod/email/news", arn, "default", str(uuid.uuid4()))
        world.add_key(sandbox.fleet.account, name, created_at=clock.now() - timedelta(hours=1))
        sweep()  # the revocation, and an orphan
        with _fault(sandbox, Fault(FaultKind.HOOK_AFTER, method="POST", path=KEYS, hook=_more_scopes)):
            operator("rotate", SECRET, "--reason", "OPS-123")
        operator("rotate", SECRET, "--reason", "OPS-123")
        operator("rollback", SECRET, "--reason", "the new key may not send to Peru")
        operator("revoke", "--secret", SECRET, "--reason", "pasted in a ticket", "--incident", "INC-4711", "--yes")
        with _fault(sandbox, Fault(FaultKind.REFUSE, count=None)):
            sweep()
        yield from map(json.loads, audit.read_text(encoding="utf-8").splitlines())


@contextmanager
def _user(name: str, **variables: str) -> Iterator[None]:
    with patch.dict(os.environ, {"LOGNAME": name, **variables}):
        yield


@contextmanager
def _fault(sandbox: Sandbox, fault: Fault) -> Iterator[None]:
    before = sandbox.world.network
    put_faults(sandbox.world).add(fault)
    yield
    sandbox.world.network = before


def _more_scopes(_request: Request, answer: Response | None) -> None:
    assert answer is not None
    body = json.loads(answer.body)
    body["scopeGuids"].append("voice:manage")
    object.__setattr__(answer, "body", json.dumps(body).encode())
