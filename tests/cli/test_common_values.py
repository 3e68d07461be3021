"""A secret whose value is a common text: it never blanks what the rotator writes about names, ids and constants."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any, Final

import pytest

from rotator.redaction.redactor import REDACTED
from rotator.telemetry.audit import AuditOutcome
from tests.cli.local_stack import Stack

_FREE: Final = {"error", "detail"}
_EVENT: Final = re.compile(r"[a-z]+\.[a-z_]+")


@pytest.fixture
def values(stack: Stack) -> dict[str, str]:
    """A fleet of one key that is due, beside secrets whose values are words that every line is made of; by secret."""
    stack.environment["ROTATOR_DEPLOYMENT"] = "deployment-blue"
    account = stack.account("main-account")
    key = stack.secret("prod/payments", account, lifetime=timedelta(days=140), max_age="60d")
    words = ["alert.raised", "prod/payments", "success", "main-account", "deployment-blue", "due_at", "unadopted"]
    words += [key.id, "generated_at", "current-key-broken", "misconfigured", "2026-12-01T10:00:00Z"]
    found = {f"odd/{number}": word for number, word in enumerate(words)}
    for name, word in found.items():
        stack.secret(name, account, value=word)
    return found


def texts(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Every text of a document, and the names of its fields, with the name of the field that it stands in."""
    match value:
        case str():
            return [(name, value)]
        case dict():
            return [("", key) for key in value] + [each for key, item in value.items() for each in texts(item, key)]
        case list():
            return [each for item in value for each in texts(item, name)]
        case _:
            return []


def document_of(stack: Stack, *command: str) -> tuple[Any, list[dict[str, Any]]]:
    """One command's JSON document and its audit lines."""
    ran = stack.run(*command, "--json")
    assert ran.code in (0, 1)
    return ran.document, [line for line in ran.lines if "run_id" in line]


def test_sweep_over_common_values_is_intact(stack: Stack, values: dict[str, str]) -> None:
    """Threat: the name of a secret or event stored as a secret's value, to blank it in audit lines. Names, ids and
    constants stay. Names win, in sentences too, wherever the value of another secret says the same.
    """
    document, lines = document_of(stack, "run")
    for name, text in (*texts(document), *texts(lines)):
        assert REDACTED not in text, f"{name}: {text}"
    for line in lines:
        assert _EVENT.fullmatch(line["event"])
        assert line["outcome"] in list(AuditOutcome)
        assert line["deployment"] == "deployment-blue"
    assert {line["secret"] for line in lines if line["event"] == "alert.raised"} == set(values)
    assert {line["account"] for line in lines if line["secret"]} == {"main-account"}
    (promoted,) = [line for line in lines if (line["event"], line["outcome"]) == ("secret.promoted", "success")]
    assert promoted["secret"] == "prod/payments"
    assert {each["secret"] for each in document["results"] if each["outcome"] == "done"} == {"prod/payments"}
    (account,) = document["accounts"]
    assert {each["secret"] for each in account["alerts"]} == set(values)


@pytest.mark.parametrize("command", ["plan", "status", "forecast", "inventory", "doctor"])
def test_what_only_reads_is_intact(stack: Stack, values: dict[str, str], command: str) -> None:
    document, _ = document_of(stack, command)
    assert [text for name, text in texts(document) if REDACTED in text and name not in _FREE] == []
    out = stack.run(command).out
    assert command in ("doctor", "forecast") or "prod/payments" in out
    assert REDACTED not in out


def test_emergency_is_told_whole(stack: Stack, values: dict[str, str]) -> None:
    command = ["revoke", "--secret", "prod/payments", "--reason", "leaked", "--incident", "INC-1", "--yes"]
    document, lines = document_of(stack, *command)
    assert [text for name, text in texts(document) if REDACTED in text and name not in _FREE] == []
    assert all(_EVENT.fullmatch(line["event"]) for line in lines)
    assert {line["incident"] for line in lines} == {"INC-1"}
    assert REDACTED not in json.dumps(lines)
