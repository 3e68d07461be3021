"""Each claim of the threat model names a test, and each test that is named is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent.parent
MODEL: Final = ROOT / "docs" / "threat-model.md"
DOCUMENTS: Final = (MODEL, ROOT / "SECURITY.md")
NAMED: Final = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


@cache
def functions_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def claims() -> list[tuple[str, str]]:
    """Title and row of each table in the part *What shows it*."""
    part = MODEL.read_text(encoding="utf-8").partition("## What shows it\n")[2].partition("\n## ")[0]
    found = []
    for section in part.split("\n### ")[1:]:
        title, _, body = section.partition("\n")
        rows = [line for line in body.splitlines() if line.startswith("|")]
        found += [(title, row) for row in rows[2:]]
    return found


def test_every_claim_names_a_test() -> None:
    found = claims()
    assert len(found) > 30
    for title, row in found:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 3, row
        assert NAMED.search(cells[2]), f"{title}: no test shows {cells[0]!r}"
        assert not NAMED.sub("", cells[2]).strip(), f"{title}: {cells[2]!r} holds more than names of tests"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_is_named_is_there(document: Path) -> None:
    for path, name in NAMED.findall(document.read_text(encoding="utf-8")):
        assert (ROOT / path).is_file(), f"{document.name} names {path}, which is not there"
        if name:
            assert name.startswith("test_")
            assert name in functions_in(path), f"{document.name} names {path}::{name}, which is not there"


def test_every_security_and_fuzz_test_backs_a_claim() -> None:
    """A test file that no claim names is a claim that is not written down."""
    named = {path for document in DOCUMENTS for path, _ in NAMED.findall(document.read_text(encoding="utf-8"))}
    folders = (ROOT / "tests" / "security", ROOT / "tests" / "fuzz")
    files = {str(path.relative_to(ROOT)) for folder in folders for path in folder.glob("test_*.py")}
    assert files - named == set()
