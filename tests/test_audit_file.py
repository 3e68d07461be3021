from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rotator.errors import ConfigurationError
from rotator.telemetry.audit import Audit, AuditUnavailable, change
from rotator.telemetry.audit_verify import verify
from tests.test_audit import lines, make


class TestFile:
    def test_it_gets_the_same_bytes_and_is_for_its_owner_only(self, tmp_path: Path) -> None:
        stream = io.StringIO()
        path = tmp_path / "audit.jsonl"
        audit = make(stream, audit_file=path)
        audit.emit("sweep.started", "attempt")
        audit.emit("sweep.completed", "success")
        assert path.read_text() == stream.getvalue()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_a_run_is_linked_to_the_line_before_it(self, tmp_path: Path) -> None:
        path = tmp_path / "audit.jsonl"
        first = make(io.StringIO(), audit_file=path)
        first.emit("sweep.started", "attempt")
        first.emit("sweep.completed", "success")
        stream = io.StringIO()
        make(stream, audit_file=str(path)).emit("sweep.started", "attempt")
        raw = path.read_bytes().split(b"\n")
        assert lines(stream)[0]["prev"] == hashlib.sha256(raw[1]).hexdigest()
        assert raw[2] == stream.getvalue().rstrip("\n").encode()

    def test_the_last_line_is_found_behind_a_long_one(self, tmp_path: Path) -> None:
        path = tmp_path / "audit.jsonl"
        last = b'{"n": "' + b"x" * 200_000 + b'"}'
        path.write_bytes(b'{"n": 1}\n' + last + b"\n")
        make(io.StringIO(), audit_file=path).emit("sweep.started", "attempt")
        assert json.loads(path.read_bytes().split(b"\n")[2])["prev"] == hashlib.sha256(last).hexdigest()

    def test_half_a_line_does_not_swallow_the_next(self, tmp_path: Path) -> None:
        path = tmp_path / "audit.jsonl"
        path.write_bytes(b'{"event": "key.cre')
        make(io.StringIO(), audit_file=path).emit("sweep.started", "attempt")
        raw = path.read_bytes().split(b"\n")
        assert raw[0] == b'{"event": "key.cre'
        assert json.loads(raw[1])["prev"] == hashlib.sha256(raw[0]).hexdigest()

    @pytest.mark.parametrize("name", ["missing/audit.jsonl", "", "fifo"])
    def test_one_that_cannot_be_written_stops_the_run_at_its_start(self, tmp_path: Path, name: str) -> None:
        os.mkfifo(tmp_path / "fifo")
        with pytest.raises(ConfigurationError, match="audit file") as caught:
            make(io.StringIO(), audit_file=tmp_path / name)
        assert str(tmp_path) in str(caught.value)
        assert "Nothing was started" in str(caught.value)

    def test_a_full_disk_stops_the_change_and_leaves_no_half_line(self, tmp_path: Path) -> None:
        path = tmp_path / "audit.jsonl"
        stream = io.StringIO()
        audit = make(stream, audit_file=path)
        audit.emit("sweep.started", "attempt")
        before = path.read_bytes()
        changed = False
        full = file_size_limit(len(before) + 10)
        with full, pytest.raises(AuditUnavailable, match=r"audit\.jsonl") as caught, change(audit, "key.revoked"):
            changed = True
        assert not changed
        assert "free disk space" in str(caught.value)
        assert path.read_bytes() == before
        # Where there is room again, the chain goes on as if nothing had been tried.
        audit.emit("sweep.completed", "failure")
        assert verify(path).ok
        assert path.read_text() == stream.getvalue()

    def test_a_closed_file_takes_nothing(self, tmp_path: Path) -> None:
        audit = make(io.StringIO(), audit_file=tmp_path / "audit.jsonl")
        audit.close()
        audit.close()
        with pytest.raises(AuditUnavailable):
            audit.emit("sweep.started", "attempt")

    def test_threads_and_runs_at_once_keep_their_chains(self, tmp_path: Path) -> None:
        path = tmp_path / "audit.jsonl"
        audits = [make(io.StringIO(), audit_file=path) for _ in range(3)]
        gate = threading.Barrier(6)

        def write(audit: Audit) -> None:
            gate.wait()
            for _ in range(50):
                audit.emit("key.verified", "success")

        threads = [threading.Thread(target=write, args=(audit,)) for audit in audits for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        report = verify(path)
        assert report.problems == ()
        assert (report.runs, report.audit_lines, report.unlinked_runs) == (3, 300, ())


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """The kernel's own limit: a write past it is short, the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
