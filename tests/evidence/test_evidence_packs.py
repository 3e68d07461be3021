"""Packs made from audit files that sweeps of the sandbox wrote, through the command line."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from rotator.aws.clients import make_client, make_session
from rotator.sandbox.aws import REGION
from tests import leaks
from tests.cli.local_stack import Stack
from tests.support.commands import Ran

SECRET = "prod/sms/otp"


class Pack:
    """A fleet, its audit file, and the pack of a period around now."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.audit, self.folder = stack, folder / "audit.jsonl", folder / "pack"
        self.keys = stack.seed()
        now = stack.clock.now()
        self.period = ("--from", f"{now - timedelta(days=1):%Y-%m-%d}", "--to", f"{now + timedelta(days=1):%Y-%m-%d}")
        self.act("run")

    def act(self, *arguments: str) -> Ran:
        return self.stack.run(*arguments, "--audit-file", str(self.audit))

    def make(self, *arguments: str, audit: Path | None = None) -> Ran:
        files = ("--audit", str(audit or self.audit)) if not {"--audit", "--log-group"} & {*arguments} else ()
        return self.stack.run("evidence", *self.period, "-o", str(self.folder), *files, *arguments, "--json")

    def rows(self, name: str) -> list[dict[str, str]]:
        with (self.folder / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    @property
    def manifest(self) -> Any:
        return json.loads((self.folder / "manifest.json").read_bytes())

    def verify(self, *arguments: str) -> Ran:
        return self.stack.run("evidence", "--verify", str(self.folder), *arguments, "--json")


def client_of(stack: Stack, service: str) -> Any:
    """A client of another service of the stack's AWS."""
    with patch.dict(os.environ, stack.environment):
        return make_client(make_session(REGION), service)


@pytest.fixture
def pack(stack: Stack, tmp_path: Path) -> Pack:
    return Pack(stack, tmp_path)


def test_pack_tells_what_was_done(pack: Pack) -> None:
    old = pack.keys[SECRET].id
    revoke = ("revoke", "--secret", SECRET, "--reason", "=HYPERLINK(1)", "--incident", "INC-1", "--yes")
    assert pack.act(*revoke).code == 0
    client = pack.stack.client
    client.tag_resource(SecretId=SECRET, Tags=[{"Key": "team", "Value": "@sms"}])
    before = pack.stack.state()
    ran = pack.make("--owner-tag", "team")
    assert ran.code == 0, ran.out
    assert pack.stack.state() == before
    population = {row["secret"]: row for row in pack.rows("population")}
    assert population.keys() == pack.keys.keys() | {"prod/new"}
    assert population[SECRET]["owner"] == "'@sms"
    assert population["prod/marketing"]["state"] == "held"
    new = population[SECRET]["key_id"]
    rotated = {row["key_id"]: row for row in pack.rows("rotations")}
    assert all(rotated[new][step] for step in ("created_at", "verified_at", "promoted_at"))
    (revoked,) = [row for row in pack.rows("revocations") if row["key_id"] == old]
    assert (revoked["secret"], revoked["incident"], revoked["reason"]) == (SECRET, "INC-1", "'=HYPERLINK(1)")
    (emergency,) = pack.rows("emergencies")
    assert (emergency["outcome"], old in emergency["revoked_keys"]) == ("success", True)
    assert float(emergency["seconds"]) >= 0
    kinds = {(row["secret_or_key"], row["kind"], row["now"]) for row in pack.rows("exceptions")}
    assert {("prod/marketing", "hold", "yes"), ("prod/legacy", "misconfigured", "yes")} <= kinds
    for file in pack.folder.iterdir():
        leaks.check(file.read_text(encoding="utf-8"), file.name)
    assert pack.verify().document["ok"] is True


def test_unexplained_changes_are_listed(pack: Pack) -> None:
    """Threat: an insider creates, disables or installs a key by hand. What no line explains is listed."""
    stack = pack.stack
    disabled, made = stack.key("off", enabled=False), stack.key("by hand", age=timedelta(0))
    stack.put(SECRET, {"api_key": made.value}, ["AWSCURRENT", f"rotator:key:{made.id}"])
    assert pack.make().code == 0
    found = {(row["key_id"], row["kind"]) for row in pack.rows("unexplained")}
    assert {(made.id, "key-created"), (made.id, "current-moved"), (disabled.id, "key-disabled")} <= found
    assert not {key for key, kind in found if kind == "key-created"} & {
        row["key_id"] for row in pack.rows("rotations") if row["created_at"]
    }


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda lines: gzip.compress(b"".join(lines)), 0),
        (lambda lines: gzip.compress(b"".join(lines))[:-40], 1),
        (lambda lines: b"".join(lines)[:-40], 1),
        (lambda lines: b"".join([*lines, *lines]), 1),
        (lambda lines: b"".join([*lines[:3], *lines[4:]]), 1),
        (lambda lines: b"".join([lines[1], lines[0], *lines[2:]]), 1),
        (lambda lines: b"\x00garbage\n[1]\n" + b'{"run_id":1,"seq":"x"}\n' + b"".join(lines), 1),
        (lambda lines: b"".join(lines).replace(b'"scheduler"', b'"somebody"', 1).replace(b"success", b"failure", 1), 1),
    ],
    ids=["gzip", "cut-gzip", "cut", "doubled", "missing", "swapped", "garbage", "altered"],
)
def test_damaged_audit_files(pack: Pack, tmp_path: Path, damage: Callable[[list[bytes]], bytes], code: int) -> None:
    """Threat: audit files are cut, doubled, reordered or edited. The manifest lists it; nothing counts twice."""
    assert pack.make().code == 0
    whole = pack.rows("rotations")
    file = tmp_path / "damaged"
    file.write_bytes(damage(pack.audit.read_bytes().splitlines(keepends=True)))
    pack.folder = tmp_path / "second"
    ran = pack.make(audit=file)
    assert (ran.code, ran.document["chain_intact"]) == (code, not code)
    assert bool(pack.manifest["chain"]["problem_count"]) is bool(code)
    assert len(pack.rows("rotations")) <= len(whole)


def test_silence_and_other_deployments(pack: Pack, tmp_path: Path) -> None:
    """Threat: lines are missing, or another deployment's are shown. The pack says what was not read."""
    assert pack.make("--audit", str(pack.audit)).document["gaps"] > 0
    pack.folder = tmp_path / "other"
    ran = pack.stack.run(
        *("evidence", *pack.period, "-o", str(pack.folder), "--audit", str(pack.audit), "--json"),
        env={"ROTATOR_DEPLOYMENT": "another"},
    )
    assert ran.code == 0
    (source,) = pack.manifest["sources"]
    assert (source["lines_in_period"], source["other_deployment_lines"] > 0) == (0, True)
    assert pack.manifest["gaps"] == [pack.manifest["period"]]
    assert pack.rows("rotations") == []


def test_hostile_text_is_escaped(pack: Pack, tmp_path: Path, used_secrets: Callable[[str], str]) -> None:
    """Threat: a line carries markup, a formula or a key's value. It is escaped, or redacted."""
    value = used_secrets(pack.keys[SECRET].value)
    line = json.loads(next(line for line in pack.audit.read_text().splitlines() if '"key.created"' in line))
    bad = {"event": "alert.raised", "outcome": "failure", "secret": "\t=cmd|' /C calc'!A0", "reason": "<script>x"}
    file = tmp_path / "hostile"
    file.write_text(json.dumps(line | bad | {"seq": 1, "run_id": "r", "detail": f"<img src=x> {value}"}) + "\n")
    pack.make(audit=file)
    (row,) = [row for row in pack.rows("exceptions") if row["kind"] == "<script>x"]
    assert not row["secret_or_key"].startswith(("=", "\t"))
    page = (pack.folder / "summary.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<img" not in page
    for made in pack.folder.iterdir():
        leaks.check(made.read_text(encoding="utf-8"), made.name)


def test_changed_files_are_named(pack: Pack) -> None:
    """Threat: a table is edited, removed or added after the pack was made."""
    assert pack.make().code == 0
    with (pack.folder / "rotations.csv").open("a") as file:
        file.write("x\n")
    (pack.folder / "emergencies.csv").unlink()
    (pack.folder / "extra.csv").touch()
    ran = pack.verify()
    assert ran.code == 1
    assert {each["file"] for each in ran.document["differences"]} == {"rotations.csv", "emergencies.csv"}
    assert ran.document["unlisted"] == ["extra.csv"]


def test_signature_by_kms(pack: Pack) -> None:
    """Threat: files and manifest are changed together, or signed by another key."""
    kms = client_of(pack.stack, "kms")
    key, other = (
        kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")["KeyMetadata"]["Arn"] for _ in range(2)
    )
    assert pack.make("--kms-key", key).document["signed_by"] == key
    assert pack.verify("--kms-key", key).code == 0
    assert pack.verify("--kms-key", other).code == 1
    manifest = pack.folder / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    assert [each["file"] for each in pack.verify().document["differences"]] == ["manifest.json"]
    (pack.folder / "manifest.sig.json").unlink()
    assert [each["file"] for each in pack.verify("--kms-key", key).document["differences"]] == ["manifest.sig.json"]


def test_lines_of_log_group(pack: Pack) -> None:
    logs = client_of(pack.stack, "logs")
    logs.create_log_group(logGroupName="sweeps")
    logs.create_log_stream(logGroupName="sweeps", logStreamName="one")
    at = int(pack.stack.clock.now().timestamp() * 1000)
    lines = ["START RequestId: 1", *pack.audit.read_text().splitlines()]
    events = [{"timestamp": at, "message": line} for line in lines]
    logs.put_log_events(logGroupName="sweeps", logStreamName="one", logEvents=events)
    ran = pack.make("--log-group", "sweeps")
    assert (ran.code, ran.document["chain_intact"], ran.document["rows"]["rotations"] > 0) == (0, True, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--from", "2026-11-01", "--to", "2026-11-30"),
        ("--from", "soon", "--to", "2026-11-30", "-o", "DIR"),
        ("--from", "2026-11-30", "--to", "2026-11-01", "-o", "DIR"),
        ("--from", "2026-11-01", "--to", "2026-11-30", "-o", "FULL"),
        ("--from", "2026-11-01", "--to", "2026-11-30", "-o", "DIR", "--audit", "missing"),
        ("--from", "2026-11-01", "--to", "2026-11-30", "-o", "DIR", "--audit", "FULL/kept"),
        ("--from", "2026-11-01", "--to", "2026-11-30", "-o", "DIR", "--audit", "x", "--log-group", "y"),
        ("--from", "2026-11-01", "--to", "2026-11-30", "-o", "DIR", "--log-group", "missing"),
        ("--from", "2026-11-01", "--to", "2026-11-30", "-o", "DIR", "--kms-key", "missing"),
        ("--verify", "FULL"),
        ("--verify", "DIR", "-o", "FULL"),
    ],
)
def test_bad_input_is_usage_error(stack: Stack, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    full = tmp_path / "full"
    (full / "kept").mkdir(parents=True)
    places = [each.replace("DIR", str(tmp_path / "new")).replace("FULL", str(full)) for each in arguments]
    ran = stack.run("evidence", *places, "--json")
    assert (ran.code, "bug" in ran.err) == (2, False)
    assert [each.name for each in full.iterdir()] == ["kept"]
    assert not (tmp_path / "new").exists()
