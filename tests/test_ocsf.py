"""Audit lines as OCSF events: valid by the published schema, complete, and still checkable."""

from __future__ import annotations

import functools
import io
import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema  # type: ignore[import-untyped]

from rotator.clock import SystemClock
from rotator.redaction.redactor import Redactor
from rotator.telemetry.audit import Audit
from rotator.telemetry.audit_verify import verify
from rotator.telemetry.ocsf import CLASSES, VERSION

SCHEMA = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=VERSION))
SUBJECT = {"account": "main", "secret": "prod/sms/otp", "version_id": "a" * 32, "key_id": "0123456789ABCDEF" * 2}


@functools.cache
def validator(class_uid: int) -> jsonschema.Draft202012Validator:
    name = SCHEMA.lookup_class_name_from_uid(class_uid=class_uid)
    return jsonschema.Draft202012Validator(SCHEMA.get_class_schema(class_name=name))


def lines(fields: dict[str, Any], file: Path | None = None) -> list[dict[str, Any]]:
    """Every event in every outcome, as a run writes them."""
    stream = io.StringIO()
    audit = Audit(
        stream,
        deployment="prod",
        actor="arn:aws:iam::123456789012:role/rotator",
        trigger="schedule",
        redactor=Redactor(()),
        clock=SystemClock(),
        audit_file=file,
        ocsf=True,
    )
    for event in sorted({*CLASSES, "secret.unlabelled"}):
        for outcome in ("attempt", "success", "failure", "denied"):
            audit.emit(event, outcome, **fields)
    audit.close()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("fields", [{}, {**SUBJECT, "reason": "expiring", "incident": "INC-1", "error": "E: x"}])
def test_every_event_is_valid_by_the_schema(fields: dict[str, Any]) -> None:
    for line in lines(fields):
        validator(line["class_uid"]).validate(line)
        assert line["type_uid"] == line["class_uid"] * 100 + line["activity_id"]


def test_nothing_of_a_line_is_lost() -> None:
    for line in lines({**SUBJECT, "reason": "expiring", "strategy": "revoke-only"}):
        text = json.dumps(line)
        assert all(value in text for value in (*SUBJECT.values(), "expiring", "revoke-only", "prod", "schedule"))


def test_a_completed_emergency_is_closed() -> None:
    found = {
        line["unmapped"]["outcome"]: (line["activity_id"], line["status"])
        for line in lines(SUBJECT)
        if line["metadata"]["event_code"] == "emergency.completed"
    }
    assert found["success"] == (3, "Resolved")
    assert found["failure"] == (2, "In Progress")


def test_audit_verify_finds_a_missing_and_an_altered_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    lines(SUBJECT, path)
    report = verify(path)
    assert (report.ok, report.audit_lines, report.runs) == (True, (len(CLASSES) + 1) * 4, 1)
    written = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*written[:5], *written[6:]]))
    assert [problem.kind for problem in verify(path).problems] == ["missing"]
    path.write_text("".join([*written[:5], written[5].replace("prod/sms/otp", "prod/sms/two"), *written[6:]]))
    assert [problem.kind for problem in verify(path).problems] == ["altered"]
