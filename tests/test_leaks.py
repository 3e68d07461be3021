from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import leaks

ROOT = Path(__file__).parent.parent
KEY = "-".join(("0123456789abcdef" * 2, "01234567", "0123", "4567", "89ab", "0123456789ab"))

SUITE = """
import logging, sys
from tests import leaks

def test_prints_its_secret():
    print("got", leaks.register("hunter2-and-more"))

def test_prints_key_on_stderr():
    print("x{key}x", file=sys.stderr)

def test_logs_its_secret():
    logging.getLogger("a").warning("using %s", leaks.register("hunter3-and-more"))

def test_registers_after_printing():
    print("hunter4-and-more")
    leaks.register("hunter4-and-more")

def test_keeps_it():
    leaks.register("hunter5-and-more")
    print("innocent")
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_leaking_test_fails_without_leak(tmp_path: Path, workers: str) -> None:
    """Threat: a secret in any test's output. That test fails."""
    suite = tmp_path / "test_suite.py"
    suite.write_text(SUITE.replace("{key}", KEY))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.leak_search",
        "-n",
        workers,
        "-q",
        "-rA",
        "-p",
        "no:cacheprovider",
    ]
    command += [f"--rootdir={tmp_path}", "-c", os.devnull, "--override-ini=log_level=INFO", str(suite)]
    run = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "1 passed" in run.stdout, run.stdout
    passed = [line for line in run.stdout.splitlines() if line.startswith("PASSED")]
    assert [line.rpartition("::")[2] for line in passed if "keeps" in line] == ["test_keeps_it"]
    for name in ("prints_its_secret", "prints_key_on_stderr", "logs_its", "registers_after"):
        assert f"test_{name}" in run.stdout
        assert any(name in line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))), name
    assert "not shown" in run.stdout
    for secret in ("hunter2-and", "hunter3-and", "hunter4-and", KEY):
        assert secret not in run.stdout.replace(f'"x{KEY}x"', "")
    assert run.returncode == 1


def test_short_word_is_not_registered() -> None:
    with pytest.raises(ValueError, match="too short"):
        leaks.register("short")


def test_check_finds_uncaptured_output() -> None:
    leaks.check("nothing here", "a file")
    with pytest.raises(pytest.fail.Exception, match=r"1 secret\(s\) leaked into a file"):
        leaks.check(f"key={KEY.upper()}", "a file")
