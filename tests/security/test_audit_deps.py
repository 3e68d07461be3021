"""``.ci/audit-deps``: a found vulnerability fails, a missing network does not, and what was not checked is reported."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent.parent / ".ci" / "audit-deps"
LOCK = "click==8.2.0 --hash=sha256:" + "0" * 64 + "\nrich==14.0.0 --hash=sha256:" + "1" * 64 + "\n"

# Answers as pip-audit does, by a file beside it: {"requests": ["PYSEC-1"], ...}, or {"fail": true}.
FAKE_PIP_AUDIT = """\
import json, pathlib, sys
answers = json.loads(pathlib.Path(__file__).with_name("answers.json").read_text())
options = dict(zip(sys.argv[1:], sys.argv[2:]))
if answers.get("fail") or (answers.get("fail_later") and "known" not in options["--requirement"]):
    sys.exit("no network")
found = []
for line in pathlib.Path(options["--requirement"]).read_text().splitlines():
    name, version = line.split(" ")[0].split("==")
    if name in answers.get("unknown", ()):
        found.append({"name": name, "skip_reason": "not found"})
        continue
    vulns = [{"id": one, "fix_versions": ["9.9"], "aliases": []} for one in answers.get(name, ())]
    found.append({"name": name, "version": version, "vulns": vulns})
pathlib.Path(options["--output"]).write_text(answers.get("answer") or json.dumps({"dependencies": found, "fixes": []}))
sys.exit(any(each.get("vulns") for each in found))
"""


def run(lock: Path, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        ["bash", str(SCRIPT), str(lock)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "lock.txt"
    path.write_text(LOCK, encoding="utf-8")
    return path


KNOWN = {"requests": ["PYSEC-2018-28"]}


@pytest.mark.parametrize(
    ("answers", "code", "message"),
    [
        (KNOWN, 0, "no known vulnerability"),
        (KNOWN | {"rich": ["PYSEC-7"]}, 1, "rich 14.0.0: PYSEC-7, fixed in 9.9"),
        (KNOWN | {"unknown": ["rich"]}, 0, "1 packages checked, 1 not known to the service"),
        (KNOWN | {"unknown": ["rich"], "click": ["PYSEC-8"]}, 1, "VULNERABLE"),
        (KNOWN | {"fail_later": True}, 0, "the service stopped answering"),
        ({"fail": True}, 0, "not checked: no vulnerability service answered"),
        ({}, 0, "knows of no vulnerabilities"),
        ({"unknown": ["requests", "click", "rich"]}, 0, "knows of no vulnerabilities"),
        (KNOWN | {"answer": "<html>"}, 0, "can't be read"),
    ],
)
def test_answers_are_understood(
    tmp_path: Path, lock: Path, answers: dict[str, object], code: int, message: str
) -> None:
    """Threat: a dependency with a known vulnerability. The build fails, and reports "not checked" if no vulnerability
    service answers.
    """
    program = tmp_path / "pip-audit"
    program.write_text(f"#!{sys.executable}\n{FAKE_PIP_AUDIT}", encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "answers.json").write_text(json.dumps(answers), encoding="utf-8")
    found, output = run(lock, PIP_AUDIT=str(program))
    assert (found, message in output) == (code, True), output
    # Never both: that all is well, and that something was not checked.
    assert not ("no known vulnerability" in output and "not checked" in output)


def test_without_program_it_reports_that(lock: Path) -> None:
    found, output = run(lock, PIP_AUDIT=str(lock.parent / "none"))
    assert found == 0
    assert "not checked" in output


class Service(BaseHTTPRequestHandler):
    """An OSV service that knows of one vulnerability in each name of ``known``."""

    known: frozenset[str] = frozenset()

    def do_POST(self) -> None:
        name = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
        vulnerability = {
            "id": "PYSEC-1",
            "summary": "bad",
            "modified": "2020-01-01T00:00:00Z",
            "affected": [{"package": {"name": name, "ecosystem": "PyPI"}, "ranges": []}],
        }
        body = json.dumps({"vulns": [vulnerability]} if name in self.known else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def service(*known: str) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Known", (Service,), {"known": frozenset(known)}))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        server.server_close()


def test_with_pip_audit_itself(lock: Path) -> None:
    with service("requests", "click") as url:
        found, output = run(lock, AUDIT_OSV_URL=url)
        assert (found, "click 8.2.0: PYSEC-1" in output) == (1, True), output
    # A build that names its service relies on an answer.
    found, output = run(lock, AUDIT_OSV_URL="http://127.0.0.1:1/")
    assert (found, "not checked: no vulnerability service" in output) == (1, True), output


def test_static_check_is_on() -> None:
    """Threat: dangerous code. ruff's rules S (bandit's) run in CI. ruff's rules S (bandit's) are part of the linting
    that CI does; what is switched off has a reason beside it.
    """
    root = SCRIPT.parent.parent
    project = (root / "pyproject.toml").read_text(encoding="utf-8")
    assert '"S",' in project.partition("select = [")[2].partition("]")[0] + ","
    targets = re.search(r"^for target in (.+); do$", (root / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    assert targets
    assert "lint" in targets[1].split()
