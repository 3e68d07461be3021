"""The rules of ``docs/examples`` find Infobip keys wherever they stand, and nothing else; the reports revoke."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from needed_tools import SCANNERS, SCANNERS_BIN, require
from tests import leaks
from tests.cli.local_stack import Stack

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
PLANTED = {
    "app.env": "# production\nINFOBIP_API_KEY={}\n",
    "send.py": 'sms = Client("https://abc123.api.infobip.com", "{}")\n',
    "call.sh": 'curl -H "Authorization: App {}" https://abc123.api.infobip.com/account/1/balance\n',
    "values.yaml": "messaging:\n  sender: InfoSMS\n  credential: {}\n",
    "access.log": '10.0.0.7 - - "GET /sms/3/logs?authorization=App%20{}&limit=10 HTTP/1.1" 200\n',
    "config.json": '{{"sms": {{"base_url": "https://abc123.api.infobip.com", "value": "{}"}}}}\n',
}
"""Where keys are found in the wild."""
DECOYS = """\
request 8d0c9f9e-0f5e-4d4b-9f0a-6a1a3ed2d2f1 took 12 ms
commit 9fceb02d0ae598e95dc970b74767f19372d61af8
image: registry.example.org/app@sha256:b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c
etag: d8e8fca2dc0f896fd7cb4cb0031ba249-3
build d8e8fca2dc0f896fd7cb4cb0031ba249-9fceb02d
9fceb02d0ae598e95dc970b74767f19372d61af8-8d0c9f9e-0f5e-4d4b-9f0a-6a1a3ed2d2f1.tar.gz
traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
https://example.org/d8e8fca2dc0f896fd7cb4cb0031ba249/8d0c9f9e-0f5e-4d4b-9f0a-6a1a3ed2d2f1
App 00000000000000000000000000000000-00000000-0000-0000-0000-000000000000
"""
"""Looks like a key or a part of one, and is none: UUIDs, hashes, a placeholder."""


def planted(folder: Path, keys: list[str]) -> Path:
    """A folder with a key in each file, and one with decoys."""
    folder.mkdir()
    for (name, text), key in zip(PLANTED.items(), keys, strict=True):
        (folder / name).write_text(text.format(key), encoding="utf-8")
    (folder / "decoys.txt").write_text(DECOYS, encoding="utf-8")
    return folder


GITLEAKS = f"gitleaks dir . -c {EXAMPLES}/gitleaks.toml --enable-rule infobip-api-key --no-banner -r - -f"
KINGFISHER = (
    f"kingfisher scan . --rules-path {EXAMPLES}/kingfisher.yml --load-builtins false --no-update-check --no-validate"
    " --format"
)
FOUND = {"gitleaks": 1, "kingfisher": 200}
"""The exit code of each where it found something."""


@require(SCANNERS)
@pytest.mark.parametrize(
    "command", [f"{GITLEAKS} json", f"{GITLEAKS} sarif", f"{KINGFISHER} json", f"{KINGFISHER} jsonl"]
)
def test_scanner_report_revokes_its_keys(command: str, stack: Stack, tmp_path: Path) -> None:
    account = stack.account("main")
    keys = [stack.secret(f"prod/{name}", account) for name in PLANTED]
    folder = planted(tmp_path / "work", [str(leaks.register(key.value)) for key in keys])
    before = stack.state()
    scanner, *arguments = command.split()
    scan = subprocess.run(
        [SCANNERS_BIN / scanner, *arguments],
        cwd=folder,
        env={"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert scan.returncode == FOUND[scanner], scan.stderr
    ran = stack.run("revoke", "--leaked-key-stdin", "--reason", "found", "--dry-run", "--json", stdin=scan.stdout)
    assert ran.code == 0, ran.err
    assert ran.document["without_infobip_key"] == 0
    found = {Path(leak["places"][0]["file"]).name: leak for leak in ran.document["leaks"]}
    assert {name: (leak["outcome"], leak["secret"]) for name, leak in found.items()} == {
        name: ("planned", f"prod/{name}") for name in PLANTED
    }
    assert {key["key_id"] for key in ran.document["keys"]} == {key.id for key in keys}
    assert stack.state() == before


# ---- the rules without their scanners: trufflehog is no package that could be installed here -------------------------


def rules() -> Mapping[str, tuple[str, float]]:
    """The pattern and the least entropy of each file's one rule."""
    gitleaks = tomllib.loads((EXAMPLES / "gitleaks.toml").read_text(encoding="utf-8"))["rules"]
    kingfisher = document("kingfisher.yml")["rules"]
    trufflehog = document("trufflehog.yml")["detectors"]
    assert [len(each) for each in (gitleaks, kingfisher, trufflehog)] == [1, 1, 1]
    return {
        "gitleaks": (gitleaks[0]["regex"], gitleaks[0]["entropy"]),
        "kingfisher": (kingfisher[0]["pattern"], kingfisher[0]["min_entropy"]),
        "trufflehog": (trufflehog[0]["regex"]["key"], trufflehog[0]["entropy"]),
    }


def document(name: str) -> Any:
    return yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8"))


KEY = leaks.register("8f14e45fceea167a5a36dedd4bea2543-1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed")


@pytest.mark.parametrize("scanner", rules())
def test_each_rule_is_same(scanner: str) -> None:
    pattern, entropy = rules()[scanner]
    rule = re.compile(re.sub(r"\s", "", pattern) if "(?x" in pattern else pattern)
    for text in PLANTED.values():
        assert rule.findall(text.format(KEY)) == [KEY]
        assert rule.findall(text.format(KEY.upper())) == [KEY.upper()]
    assert rule.findall(DECOYS) == ["00000000000000000000000000000000-00000000-0000-0000-0000-000000000000"]
    assert entropy == 3  # the zeros have less


def test_trufflehog_rule_matches_every_key() -> None:
    (detector,) = document("trufflehog.yml")["detectors"]
    assert any(keyword in KEY for keyword in detector["keywords"])
