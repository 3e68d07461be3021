"""docs/schemas: each command's JSON document has one. ``tests.support.commands`` validates what every test runs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import ValidationError
from write_schemas import documented

from rotator.cli.app import COMMANDS, cli
from tests.cli.children import PATIENCE, start
from tests.cli.local_stack import Stack
from tests.support.commands import assert_documented


def test_every_command_has_schema() -> None:
    found = dict(documented(cli))
    assert found.keys() == COMMANDS.keys() - {"audit"} | {"audit verify"}
    assert all(found.values())


def test_unknown_field_is_no_document(stack: Stack) -> None:
    stack.seed()
    document: dict[str, Any] = stack.run("status", "--json").document
    for wrong in ({"more": 1}, {"state": "fine"}, {"expires_at": "2026-12-01 10:00"}, {"key_id": 7}):
        secrets = [{**document["secrets"][0], **wrong}]
        with pytest.raises(ValidationError):
            assert_documented("status", {"secrets": secrets})


@pytest.mark.parametrize("arguments", [("adopt", "prod/sms/otp"), ("completion", "bash")], ids=lambda each: each[0])
def test_document_is_as_documented(stack: Stack, arguments: tuple[str, ...]) -> None:
    stack.seed()
    assert stack.run(*arguments, "--json").code == 0


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("serve", "--metrics-port", "0"), ("sandbox",)], ids=lambda each: each[0])
def test_lasting_command_writes_document(stack: Stack, arguments: tuple[str, ...]) -> None:
    stack.seed()
    child = start(stack, *arguments, "--json")
    assert child.stdout is not None
    text = ""
    for line in child.stdout:
        text += line
        if line == "}\n":
            break
    child.terminate()
    child.communicate(timeout=PATIENCE)
    assert_documented(arguments[0], json.loads(text))
