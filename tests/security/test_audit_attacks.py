"""An attacker with write access to the audit file: what is detected, and where the chain ends."""

from __future__ import annotations

import hashlib
import io
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rotator.cli import main
from rotator.errors import ConfigurationError
from rotator.telemetry.audit import NO_LINE
from rotator.telemetry.audit_verify import verify
from tests.fuzz.strategies import HOSTILE, JSON, TEXTS
from tests.test_audit import make

RUNS = (4, 3, 5)
on_one_file = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)


def write(path: Path, *, stream: io.StringIO | None = None, name: str = "run") -> list[bytes]:
    """Runs of so many lines, one after the other; gives the file's lines."""
    path.unlink(missing_ok=True)
    for number, length in enumerate(RUNS):
        audit = make(stream or io.StringIO(), audit_file=path, run_id=f"{name}-{number}")
        for turn in range(length):
            audit.emit("key.revoked" if turn % 2 else "key.created", "success", secret="prod/x", key_id=f"K{turn}")
        audit.close()
    return path.read_bytes().splitlines()


def put(path: Path, rows: list[bytes]) -> Path:
    path.write_bytes(b"".join(row + b"\n" for row in rows))
    return path


def is_beginning(rows: list[bytes], of: list[bytes]) -> bool:
    return rows == of[: len(rows)]


@on_one_file
@given(data=st.data())
def test_removed_lines_show(tmp_path: Path, data: st.DataObject) -> None:
    """Threat: removed audit lines. They are detected, except at the end of the file."""
    rows = write(tmp_path / "a")
    kept = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    left = [row for row, keep in zip(rows, kept, strict=True) if keep]
    assert verify(put(tmp_path / "a", left)).ok == (left != [] and is_beginning(left, rows))


@on_one_file
@given(data=st.data())
def test_lines_in_another_order_show(tmp_path: Path, data: st.DataObject) -> None:
    """Threat: audit lines in another order. They are detected."""
    rows = write(tmp_path / "a")
    order = data.draw(st.permutations(range(len(rows))))
    assert verify(put(tmp_path / "a", [rows[at] for at in order])).ok == (list(order) == sorted(order))


@on_one_file
@given(data=st.data())
def test_moved_or_foreign_runs_show(tmp_path: Path, data: st.DataObject) -> None:
    """Threat: whole runs in another order or from another file. They are detected."""
    rows, other = write(tmp_path / "a"), write(tmp_path / "b", name="other")
    cuts = [0, 4, 7, 12]
    blocks = [lines[begin:end] for lines in (rows, other) for begin, end in pairwise(cuts)]
    chosen = data.draw(st.lists(st.sampled_from(range(6)), min_size=1, max_size=4))
    put(tmp_path / "a", [row for at in chosen for row in blocks[at]])
    report = verify(tmp_path / "a")
    genuine = chosen in ([0], [0, 1], [0, 1, 2], [3], [3, 4], [3, 4, 5])
    assert (report.ok and not report.unlinked_runs) == genuine


@on_one_file
@given(at=st.integers(0, sum(RUNS) - 2), field=st.sampled_from(["secret", "event", "log", "actor"]), to=TEXTS)
def test_edited_line_shows(tmp_path: Path, at: int, field: str, to: str) -> None:
    """Threat: an edited audit line. It is detected unless every later line is recomputed."""
    rows = write(tmp_path / "a")
    entry = json.loads(rows[at])
    entry[field] = to
    edited = json.dumps(entry, separators=(", ", ": ")).encode()
    if edited != rows[at]:
        assert not verify(put(tmp_path / "a", [*rows[:at], edited, *rows[at + 1 :]])).ok


def rechained(rows: list[bytes], begin: int, end: int) -> list[bytes]:
    """Digests and numbers recomputed from ``begin`` up to ``end``, as an attacker does who knows the format."""
    done = list(rows)
    for at in range(begin, end):
        entry: dict[str, Any] = json.loads(done[at])
        before = json.loads(done[at - 1])
        same_run = before["run_id"] == entry["run_id"]
        entry["seq"] = before["seq"] + 1 if same_run else 1
        entry["prev"] = hashlib.sha256(done[at - 1]).hexdigest()
        done[at] = json.dumps(entry, separators=(", ", ": ")).encode()
    return done


@pytest.mark.parametrize("end", range(2, sum(RUNS) - 1))
def test_removed_line_shows_until_forged(tmp_path: Path, end: int) -> None:
    rows = write(tmp_path / "a")
    del rows[1]
    assert not verify(put(tmp_path / "a", rechained(rows, 1, end))).ok


def test_end_of_chain(tmp_path: Path) -> None:
    """No key signs the lines: write access is enough to rewrite its end, or all of it. A second copy shows it."""
    stream = io.StringIO()
    rows = write(tmp_path / "a", stream=stream)
    elsewhere = stream.getvalue().encode().splitlines()
    assert elsewhere == rows, "what went to stderr, and from there to a log group, is the same to the byte"
    assert verify(put(tmp_path / "a", rows[:-1])).ok, "lines off the very end"
    forged = rechained([*rows[:1], *rows[2:]], 1, len(rows) - 1)
    assert verify(put(tmp_path / "a", forged)).ok, "everything after the edit recomputed"
    assert set(forged) - set(elsewhere), "and it shows beside the copy"


def test_inserted_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Threat: an inserted forged run. It is reported as not linked. Lines that were collected from stderr have no link,
    so it is no error, but it is reported.
    """
    rows = write(tmp_path / "a")
    alone = io.StringIO()
    make(alone, run_id="forged").emit("key.revoked", "success", secret="prod/x")
    report = verify(put(tmp_path / "a", [*rows[:4], alone.getvalue().strip().encode(), *rows[4:]]))
    assert report.unlinked_runs == ("forged",)
    assert json.loads(alone.getvalue())["prev"] == NO_LINE
    assert report.ok
    assert main(["audit", "verify", str(tmp_path / "a")]) == 0
    assert "(forged)" in capsys.readouterr().out


LINES = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda entry: json.dumps(entry).encode(), JSON),
    st.builds(
        lambda entry: json.dumps(entry).encode(),
        st.fixed_dictionaries(
            {"run_id": TEXTS | JSON, "seq": st.integers(-1, 4) | JSON, "prev": st.just(NO_LINE) | JSON},
            optional={"event": TEXTS | JSON, "outcome": TEXTS, "account": TEXTS, "log": TEXTS},
        ),
    ),
    st.sampled_from([b"[" * 5000, b'{"seq": ' + b"9" * 5000 + b"}", b"\xff", b""]),
)


@on_one_file
@given(lines=st.lists(LINES, max_size=6), end=st.sampled_from([b"", b"\n", b"\r\n", b"\0"]))
def test_any_file_gives_report(tmp_path: Path, lines: list[bytes], end: bytes) -> None:
    """Threat: an audit file that attacks its verifier. The result is a readable report."""
    path = tmp_path / "any"
    path.write_bytes(b"\n".join(lines) + end)
    report = verify(path)
    assert report.ok == (report.problem_count == 0)
    assert all(problem.detail.isprintable() for problem in report.problems)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_report_on_hostile_file_is_printable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: list[str]
) -> None:
    path = tmp_path / "any"
    lines = [json.dumps({"run_id": text, "seq": 3, "prev": text, "event": text}) for text in HOSTILE]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert main(["audit", "verify", str(path), *form]) == 1
    out, err = capsys.readouterr()
    assert "bug in rotator" not in err
    assert all(char.isprintable() or char == "\n" for char in out + err)


def test_unreadable_file_is_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none", tmp_path / ("x" * 300)):
        with pytest.raises(ConfigurationError, match=str(tmp_path)):
            verify(path)
