"""``report`` as its users run it."""

from __future__ import annotations

import re
from pathlib import Path

from tests import leaks
from tests.cli.local_stack import Stack


def test_page_of_fleet_with_its_audit(stack: Stack, tmp_path: Path) -> None:
    keys = stack.seed()
    audit = tmp_path / "audit.jsonl"
    assert stack.run("rotate", "prod/sms/otp", "--reason", "test", "--audit-file", str(audit)).code == 0
    before = stack.state()
    file = tmp_path / "report.html"
    ran = stack.run("report", "-o", str(file), "--audit", str(audit), "--days", "30")
    assert (ran.code, ran.err) == (0, "")
    words = " ".join(ran.out.split())
    assert re.search(r"report ?\. ?html: 8 secrets, \d+ kB", words)
    page = file.read_text(encoding="utf-8")
    leaks.check(page, "the page")
    for name in keys:
        assert name in page
    assert "audit freeze until 1 Dec" in page
    assert "key.created" in page
    assert "30 days" in page
    assert all(key.id not in page for key in keys.values())
    assert stack.state() == before


def test_to_stdout_and_as_json(stack: Stack, tmp_path: Path) -> None:
    stack.seed()
    ran = stack.run("report", "-o", "-")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith('<!doctype html>\n<html lang="en">')
    assert ran.out.endswith("</html>\n")
    file = tmp_path / "page.html"
    document = stack.run("report", "-o", str(file), "--json").document
    assert document == {"file": str(file), "bytes": file.stat().st_size, "accounts": 1, "secrets": 8}


def test_silent_account_is_on_page(stack: Stack, tmp_path: Path) -> None:
    stack.account("second", password="not-the-password")
    file = tmp_path / "page.html"
    ran = stack.run("report", "-o", str(file))
    assert ran.code == 1
    assert "second" in ran.out
    assert '<h2>second</h2>\n<div class="verdict bad">' in file.read_text(encoding="utf-8")
    ran = stack.run("report", "-o", str(file), "--json")
    assert ran.code == 1
    assert [error["account"] for error in ran.document["errors"]] == ["second"]
