"""Each threat is stated beside the test that answers it, and the threat model says where those tests are."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent.parent
MODEL: Final = ROOT / "docs" / "threat-model.md"
NAMED: Final = re.compile(r"`(tests/[\w/]+(?:/|\.py))`")
THREAT: Final = re.compile(r"Threat: [^.]{10,}\. \S")
"""What an attacker or a mistake does, and in a sentence of its own what happens instead."""


@cache
def threats() -> dict[str, list[str]]:
    """Test files, as in the documents, and the docstrings in them that state a threat."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                text = ast.get_docstring(node) or ""
                if text.startswith("Threat:"):
                    found.setdefault(path.relative_to(ROOT).as_posix(), []).append(" ".join(text.split()))
    return found


def test_each_threat_names_its_outcome() -> None:
    texts = [text for stated in threats().values() for text in stated]
    assert len(texts) > 150
    assert [text for text in texts if not THREAT.match(text)] == []
    assert len(set(texts)) == len(texts)


def test_security_files_answer_threat() -> None:
    folders = (ROOT / "tests" / "security", ROOT / "tests" / "fuzz")
    files = {path.relative_to(ROOT).as_posix() for folder in folders for path in folder.glob("test_*.py")}
    assert files - threats().keys() == {Path(__file__).relative_to(ROOT).as_posix()}


def test_model_names_every_file_with_threat() -> None:
    named = tuple(NAMED.findall(MODEL.read_text(encoding="utf-8")))
    assert [path for path in threats() if not path.startswith(named)] == []


@pytest.mark.parametrize("name", NAMED.findall(MODEL.read_text(encoding="utf-8")))
def test_what_model_names_states_threat(name: str) -> None:
    assert (ROOT / name).exists()
    assert [path for path in threats() if path.startswith(name)] != []
