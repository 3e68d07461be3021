"""The sources of the deployment, as text: rules that no tool checks."""

from __future__ import annotations

import json
import re

import pytest

from tests.deploy.offline import ROOT

MODULE = ROOT / "terraform"
BLOCK = re.compile(r'(?ms)^(variable|output) "(?P<name>\w+)" \{\n(?P<body>.*?)^\}')


def _blocks(kind: str) -> dict[str, str]:
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(MODULE.glob("*.tf")))
    return {found["name"]: found["body"] for found in BLOCK.finditer(text) if found[1] == kind}


@pytest.mark.parametrize("name", _blocks("variable"))
def test_variables_typed_described_validated(name: str) -> None:
    body = _blocks("variable")[name]
    assert re.search(r"(?m)^  type +=", body)
    assert re.search(r'(?m)^  description += "[A-Z].{15,}\."$', body)
    assert re.search(r"(?m)^  (nullable += false|default +=)", body)
    tested = (MODULE / "tests" / "validation.tftest.hcl").read_text(encoding="utf-8")
    if not re.search(r"(?m)^  type +=\s+bool$", body):  # its type is its validation
        assert "validation {" in body
        assert f"expect_failures = [var.{name}]" in tested


def test_every_output_is_described() -> None:
    outputs = _blocks("output")
    assert {"mode", "emergency_command", "function_arns", "role_arns", "alarm_arns"} <= outputs.keys()
    for body in outputs.values():
        assert re.search(r'(?m)^  description += ".+\."$', body)


def test_every_excuse_gives_its_reason() -> None:
    excuses = [
        line
        for path in MODULE.rglob("*.tf")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "checkov:skip" in line
    ]
    assert excuses
    for line in excuses:
        assert re.fullmatch(r"\s*#checkov:skip=CKV2?_AWS_\d+:.{20,}", line), line
    for line in (ROOT / "serverless.yml").read_text(encoding="utf-8").splitlines():
        assert "ignore_checks" not in line or re.search(r"# \w.{10,}", line), line


def test_tool_locks_pin_without_addresses() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))
    for name, package in lock["packages"].items():
        assert "resolved" not in package
        assert not name or package["integrity"].startswith("sha512-")
    declared = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))
    assert lock["packages"][""]["devDependencies"] == declared["devDependencies"]
    text = (ROOT / ".ci" / "requirements-deploy.txt").read_text(encoding="utf-8")
    assert "://" not in text
    pinned = re.findall(r"(?m)^[a-z0-9._-]+==\S+", text)
    assert len(pinned) > 50
    assert len(re.findall(r"--hash=sha256:", text)) > len(pinned)


def test_guide_names_existing_settings() -> None:
    guide = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    template = (ROOT / "serverless.yml").read_text(encoding="utf-8")
    parameters = set(re.findall(r"[`']([a-z]+(?:-[a-z]+)+): ", guide))
    assert {"alarm-email", "dry-run", "reserve-concurrency"} <= parameters
    for name in parameters:
        assert f"${{param:{name}}}" in template, name
    for name in re.findall(r"`([a-z]+(?:_[a-z]+)+)(?: = \w+)?`", guide):
        known = _blocks("variable").keys() | _blocks("output").keys() | {"base_url"}
        assert name in known or name.startswith("rotator_"), name
