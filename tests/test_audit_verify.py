from __future__ import annotations

import gzip
import io
import json
import os
import re
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rotator.cli import main
from rotator.errors import ConfigurationError
from rotator.telemetry.audit import NO_LINE, Audit
from rotator.telemetry.audit_verify import MOST_PROBLEMS, verify
from tests.test_audit import make

Edit = Callable[[list[bytes]], list[bytes]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a"


def write(path: Path, *lengths: int, ends: bool = True) -> None:
    """One run after the other, each with that many lines (two at least)."""
    for number, length in enumerate(lengths):
        audit = make(io.StringIO(), audit_file=path, run_id=f"run-{number}")
        audit.emit("sweep.started", "attempt")
        for _ in range(length - 2):
            audit.emit("key.verified", "success", secret="prod/x")
        audit.emit("sweep.completed" if ends else "key.verified", "success")
        audit.close()


def edited(path: Path, edit: Edit) -> Path:
    rows = path.read_bytes().split(b"\n")[:-1]
    path.write_bytes(b"".join(row + b"\n" for row in edit(rows)))
    return path


def kinds(path: Path) -> list[tuple[int, str]]:
    return [(problem.line, str(problem.kind)) for problem in verify(path).problems]


def test_untouched_file_is_whole(path: Path) -> None:
    write(path, 5, 3, 2)
    report = verify(path)
    assert report.ok
    assert (report.lines, report.audit_lines, report.other_lines, report.runs) == (10, 10, 0, 3)
    assert (report.open_runs, report.unlinked_runs, report.problems) == ((), (), ())


LOG = json.dumps({"timestamp": "x", "level": "info", "log": "rotator", "event": "hello", "run_id": "r"}).encode()


CONTENTS: list[bytes] = [
    *(b"", b"\n\n", b'{"level": "info"}\n[1]\n3\n', LOG + b"\n", b"Dear all,\nhello\n", bytes(range(256)) * 40),
    *(gzip.compress(b"{}\n" * 9, mtime=0), "{}\n".encode("utf-16"), b"\0" * 5_000_000),
]


@pytest.mark.parametrize("content", CONTENTS, ids=lambda value: repr(value[:20]))
def test_file_without_line_is_not_intact(path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_bytes(content)
    assert main(["audit", "verify", str(path)]) == 1
    assert "--audit-file" in capsys.readouterr().out
    assert main(["audit", "verify", str(path), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], document["audit_lines"]) == (False, 0)
    assert document["problems"][0]["kind"] == "no-audit-lines"


def _replace(at: int, old: bytes, new: bytes) -> Edit:
    def edit(rows: list[bytes]) -> list[bytes]:
        assert old in rows[at]
        return [*rows[:at], rows[at].replace(old, new), *rows[at + 1 :]]

    return edit


def _without(*gone: int) -> Edit:
    return lambda rows: [row for at, row in enumerate(rows) if at not in gone]


def _order(*order: int) -> Edit:
    return lambda rows: [rows[at] for at in order]


@pytest.mark.parametrize(
    ("name", "edit", "expected"),
    [
        ("a value", _replace(2, b"prod/x", b"prod/y"), [(3, "altered")]),
        ("one space", _replace(2, b": ", b":  "), [(3, "altered")]),
        (
            "line ends",
            lambda rows: [row + b"\r" for row in rows[:3]] + rows[3:],
            [(1, "altered"), (2, "altered"), (3, "altered")],
        ),
        ("a run's last line", _replace(4, b"success", b"failure"), [(6, "unlinked")]),
        ("the run's name", _replace(2, b"run-0", b"run-9"), [(3, "missing"), (4, "missing")]),
        ("the number", _replace(2, b'"seq": 3', b'"seq": "3"'), [(3, "malformed"), (4, "missing")]),
        ("no JSON", _replace(2, b"{", b"("), [(3, "not-json"), (4, "missing")]),
        ("one line taken out", _without(2), [(3, "missing")]),
        ("two lines taken out", _without(1, 2), [(2, "missing")]),
        ("a run's first line taken out", _without(0), [(1, "missing")]),
        ("a run's last line taken out", _without(4), [(5, "unlinked")]),
        ("a whole run taken out", _without(0, 1, 2, 3, 4), [(1, "unlinked")]),
        ("doubled", _order(0, 1, 1, 2, 3, 4, 5, 6, 7), [(3, "duplicated")]),
        ("doubled far away", _order(0, 1, 2, 3, 4, 5, 6, 7, 1), [(9, "duplicated")]),
        ("exchanged", _order(0, 2, 1, 3, 4, 5, 6, 7), [(2, "missing"), (3, "reordered")]),
        ("put at the end", _order(0, 2, 3, 4, 5, 6, 7, 1), [(2, "missing"), (8, "reordered")]),
    ],
)
def test_what_was_done_to_it_is_found(path: Path, name: str, edit: Edit, expected: list[tuple[int, str]]) -> None:
    write(path, 5, 3)
    assert kinds(edited(path, edit)) == expected, name
    assert not verify(path).ok
    for problem in verify(path).problems:
        assert problem.detail.startswith(f"line {problem.line} ")


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda rows: rows + rows, {"duplicated": 300}),
        (lambda rows: rows[150:] + rows[:150], {"missing": 1, "reordered": 150}),
        (lambda rows: rows[::2] + rows[1::2], {"missing": 149, "reordered": 149}),
    ],
    ids=["doubled", "halves", "every second"],
)
def test_long_runs_lines_count_once(path: Path, edit: Edit, expected: dict[str, int]) -> None:
    write(path, 300)
    assert Counter(kind for _, kind in kinds(edited(path, edit))) == expected


def test_gap_says_which_lines(path: Path) -> None:
    write(path, 9)
    edited(path, _without(2, 3, 6))
    assert [(problem.line, re.findall(r"\d+", problem.detail)) for problem in verify(path).problems] == [
        (3, ["3", "3", "4"]),
        (5, ["5", "7"]),
    ]


def test_file_that_was_cut_off(path: Path) -> None:
    write(path, 3)
    path.write_bytes(path.read_bytes()[:-20])
    assert kinds(path) == [(3, "not-json"), (3, "cut-off")]
    write(path, 2)
    assert [kind for _, kind in kinds(path)][:1] == ["not-json"]


def test_gzip_of_several_members(path: Path) -> None:
    write(path, 3, 4)
    rows = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(gzip.compress(b"".join(some)) for some in (rows[:2], rows[2:])) + bytes(9))
    report = verify(path)
    assert (report.ok, report.audit_lines) == (True, 7)


@pytest.mark.parametrize(
    ("damage", "lines", "expected"),
    [
        (lambda packed: packed[:-1], 400, [(400, "cut-off")]),
        (lambda packed: packed[:-4] + bytes(4), 400, [(400, "cut-off")]),
        (lambda packed: packed + b"rest", 400, [(400, "cut-off")]),
        (lambda packed: packed[:-2_000], None, [(0, "not-json"), (0, "cut-off")]),
        (lambda packed: packed[:20], 0, [(0, "cut-off")]),
    ],
    ids=["checksum cut", "checksum altered", "text after it", "cut", "nothing left"],
)
def test_damaged_gzip_keeps_its_lines(
    path: Path, damage: Callable[[bytes], bytes], lines: int | None, expected: list[tuple[int, str]]
) -> None:
    """Threat: a compressed audit file is cut. The lines before the cut are read; the file is not called empty."""
    write(path, 400)
    path.write_bytes(damage(gzip.compress(path.read_bytes())))
    report = verify(path)
    at = report.lines if lines is None else 0
    assert kinds(path) == [(line or at, kind) for line, kind in expected]
    assert report.audit_lines == lines if lines is not None else 200 < report.audit_lines < 400


def test_pipe_is_read_and_device_refused(path: Path) -> None:
    """As `<(zcat …)` gives it. A named pipe without a writer is empty: nothing waits for one."""
    write(path, 5)
    read, written = os.pipe()
    os.write(written, path.read_bytes())
    os.close(written)
    assert verify(f"/dev/fd/{read}").ok
    os.close(read)
    path.unlink()
    os.mkfifo(path)
    assert kinds(path) == [(0, "no-audit-lines")]
    with pytest.raises(ConfigurationError):
        verify("/dev/zero")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(data=st.data())
def test_any_changed_byte_shows(path: Path, data: st.DataObject) -> None:
    path.unlink(missing_ok=True)
    write(path, 4, 3)
    raw = bytearray(path.read_bytes())
    guarded = raw.rstrip(b"\n").rfind(b"\n")
    at = data.draw(st.integers(0, guarded))
    raw[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(raw))
    assert not verify(path).ok


def test_interleaved_runs(path: Path) -> None:
    audits = [make(io.StringIO(), audit_file=path) for _ in range(3)]
    for turn in range(12):
        audits[turn % 3].emit("key.verified", "success")
    report = verify(path)
    assert report.ok
    assert (report.runs, report.unlinked_runs) == (3, ())
    edited(path, _without(4))
    assert [kind for _, kind in kinds(path)] == ["missing"]


def test_logs_counted_stderr_runs_chain(path: Path) -> None:
    streams = [io.StringIO(), io.StringIO()]
    for stream in streams:
        make(stream).emit("sweep.started", "attempt")
    log = LOG.decode()
    path.write_text(f"{log}\n{streams[0].getvalue()}{log}\n{streams[1].getvalue()}")
    report = verify(path)
    assert report.ok
    assert (report.lines, report.audit_lines, report.other_lines) == (4, 2, 2)
    assert len(report.unlinked_runs) == 2


def test_runs_that_did_not_end_are_said(path: Path) -> None:
    write(path, 3, ends=False)
    killed: Audit = make(io.StringIO(), audit_file=path, run_id="killed")
    killed.emit("key.created", "attempt")
    done = make(io.StringIO(), audit_file=path, run_id="done")
    for event, outcome in (
        ("emergency.requested", "attempt"),
        ("key.revoked", "attempt"),
        ("key.revoked", "failure"),
        ("emergency.completed", "failure"),
    ):
        done.emit(event, outcome)
    report = verify(path)
    assert report.ok
    assert report.open_runs == ("run-0", "killed")


def test_sweep_ends_with_its_last_account(path: Path) -> None:
    audit = make(io.StringIO(), audit_file=path, run_id="both")
    audit.emit("sweep.started", "attempt", account="a")
    audit.emit("sweep.started", "attempt", account="b")
    audit.emit("sweep.completed", "success", account="a")
    assert verify(path).open_runs == ("both",)
    audit.emit("sweep.completed", "failure", account="b")
    assert verify(path).open_runs == ()


@pytest.mark.parametrize(
    "line",
    [
        {"run_id": "r", "seq": True, "prev": NO_LINE},
        {"run_id": "r", "seq": 0, "prev": NO_LINE},
        {"run_id": None, "seq": 1, "prev": NO_LINE},
        {"run_id": "r", "seq": 1},
    ],
)
def test_line_that_only_resembles_one(path: Path, line: dict[str, Any]) -> None:
    path.write_text(json.dumps(line) + "\n")
    assert kinds(path) == [(1, "malformed")]


def test_memory_does_not_grow_with_lines(path: Path) -> None:
    write(path, 3)
    rows = path.read_bytes()
    used = []
    for repeat in (200, 4000):
        path.write_bytes(rows * repeat + b"x" * 5_000_000 + b"\n")
        tracemalloc.start()
        report = verify(path)
        used.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert report.problem_count == (repeat - 1) * 3 + 1
        assert len(report.problems) == min(report.problem_count, MOST_PROBLEMS)
    assert used[1] < used[0] + 2_000_000
