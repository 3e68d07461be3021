"""What documents show of the program is what it prints: ``make docs`` would change nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from write_docs import CAPTURED, ROOT, generated, page

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.slow
def test_make_docs_would_change_nothing() -> None:
    made = dict(generated())
    assert {"cli.md", "plan.svg", "README.md", "audit.md"} <= {path.name for path in made}
    for path, text in made.items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run make docs"


@pytest.mark.slow
def test_captured_block_is_filled() -> None:
    text = page("<!-- captured -->\n```\n$ rotator --version\nrotator 0.0\n```\n\n```\n$ rotator --version\n```\n")
    first, second = re.findall(r"```\n(.*?)```", text, re.DOTALL)
    assert re.fullmatch(r"\$ rotator --version\nrotator \d+\.\d+\.\d+\S*\n", first)
    assert second == "$ rotator --version\n"
    assert CAPTURED.search(text)


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "images").iterdir()), ids=lambda path: path.name)
def test_pictures_load_nothing(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert path.suffix == ".svg"
    assert set(re.findall(r"https?://[^\s\"')]+", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<script|<image|@import|@font-face|url\((?!#)|href=\"(?!#)", text)


# ---- what a page begins with, and how long the README is -----------------------------------------------------------


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8")) <= 9_000


@pytest.mark.parametrize("path", PAGES[1:], ids=lambda path: path.name)
def test_page_begins_with_who_it_is_for(path: Path) -> None:
    title, empty, audience, after = path.read_text(encoding="utf-8").splitlines()[:4]
    assert title.startswith("# ")
    assert re.match("For (engineers|everyone|security reviewers|the engineer)", audience)
    assert empty == after == ""


def test_nothing_unpublished_is_installed() -> None:
    """The project is in no package index and no registry of images: what can be installed is a clone."""
    examples = [path for path in (ROOT / "docs" / "examples").iterdir() if path.is_file()]
    for path in [*ROOT.glob("*.md"), *PAGES, *examples, *(ROOT / "rotator").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"infobip-key-rotator\[|install '?infobip-key-rotator|infobip-key-rotator:\d", text), path


def test_consumer_code_is_what_e2e_runs() -> None:
    """``make e2e`` runs that one against the deployed stack."""
    text = (ROOT / "docs/consumers.md").read_text(encoding="utf-8")
    code, with_sdk = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    compile(code + with_sdk, "consumers.md", "exec")
    consumer = (ROOT / "tests" / "e2e" / "consumer.py").read_text(encoding="utf-8")
    calls = {"cache.get_secret_string(", "cache.refresh_secret_now(", "SecretCache(", 'f"App {value['}
    assert {call for call in calls if call in code and call in consumer} == calls
