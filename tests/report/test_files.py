"""The page's file, and the end of an audit file."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from rotator.errors import ConfigurationError
from rotator.report.files import MOST_AUDIT_LINES, Unwritten, check_target, read_tail, write_page
from rotator.text import printable


def test_mode_of_new_and_old_page(tmp_path: Path) -> None:
    target = check_target(tmp_path / "report.html")
    assert write_page(target, "<p>é\ud800") == len("<p>é\\ud800".encode())
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    target.chmod(0o644)
    write_page(target, "new")
    assert target.read_text(encoding="utf-8") == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "real.html").write_text("old")
    link = tmp_path / "link.html"
    link.symlink_to("real.html")
    write_page(check_target(link), "new")
    assert link.is_symlink()
    assert (tmp_path / "real.html").read_text() == "new"


def test_unwritable_stays_as_it_was(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    none = tmp_path / "none" / "x.html"
    too_long = tmp_path / ("x" * 300)
    for path in (tmp_path, tmp_path / "fifo", Path("/dev/null"), none, tmp_path / "a\0b", too_long, loop):
        with pytest.raises(ConfigurationError) as caught:
            check_target(path)
        assert printable(str(path)) in caught.value.message
    target = tmp_path / "report.html"
    target.write_text("old")
    inside = Path("/proc/self/report.html")
    with pytest.raises(Unwritten, match=str(inside)):
        write_page(inside, "new")
    assert target.read_text() == "old"


def line(number: int) -> str:
    return json.dumps({"event": "key.created", "seq": number})


def test_last_lines_newest_first(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    file.write_text("\n".join(line(number) for number in range(5_000)) + "\n")
    lines, skipped = read_tail(file)
    assert [each["seq"] for each in lines] == list(range(4_999, 4_999 - MOST_AUDIT_LINES, -1))
    assert skipped == 0


def test_lines_that_are_none_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    rubbish = ["", "not json", "[1]", '{"no": "event"}', "[" * 100_000, "\x00\xff", '{"event": "cut off']
    file.write_bytes("\n".join([line(1), *rubbish]).encode("latin-1"))
    lines, skipped = read_tail(file)
    assert [each["seq"] for each in lines] == [1]
    assert skipped == len(rubbish) - 1  # an empty line is no line
    file.write_bytes(b"")
    assert read_tail(file) == ((), 0)
    file.write_bytes(b"x" * 9_000_000 + b"\n" + line(2).encode())
    assert [each["seq"] for each in read_tail(file)[0]] == [2]


def test_files_that_are_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, said in (
        (tmp_path / "none", "No such file"),
        (tmp_path, "regular file"),
        (tmp_path / "fifo", "regular file"),
        (Path("a\0b"), "null "),
    ):
        with pytest.raises(ConfigurationError) as caught:
            read_tail(path)
        assert said in str(caught.value)
