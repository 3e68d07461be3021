"""The page in a real browser, at the widths of a desk and of a telephone, with 3 secrets and with 300."""

from __future__ import annotations

import html
import json
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from needed_tools import require
from rotator.durations import LAST
from rotator.render import shown
from rotator.report.page import render_page
from tests.report.pages import report

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    require("chromium"),
    pytest.mark.slow,
]
PATIENCE = 120
# A window of a browser is never narrower than 500 pixels: so the page stands in a frame as wide as is wanted, in a page
# of the test's own. Its policy stays in force there; it is the outer page that measures.
FRAME = """<!doctype html><body style="margin:0"><iframe id="page" srcdoc="{page}"
style="width:{width}px;height:{height}px;border:0;display:block"></iframe>{probe}</body>"""
PROBE = """<script>
document.getElementById('page').addEventListener('load', event => {
  const document_ = event.target.contentDocument, window_ = event.target.contentWindow;
  const all = selector => [...document_.querySelectorAll(selector)];
  const boxes = selector => all(selector).map(element => element.getBoundingClientRect());
  const over = element => element.getBoundingClientRect().right > window_.innerWidth + 1 && !element.closest('.track');
  const style = window_.getComputedStyle(document_.body), rows = boxes('.rows li'), columns = boxes('.columns i i');
  document.body.textContent = JSON.stringify({
    width: window_.innerWidth, scroll: document_.documentElement.scrollWidth,
    wide: all('body *').filter(over).map(element => element.className || element.tagName),
    names: all('.rows li b').sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top)
      .map(element => element.textContent),
    rows: rows.length, low: rows.filter(box => box.height < 30).length,
    columns: columns.length, tall: columns.filter(box => box.height > 2 && box.width > 1).length,
    ink: style.color, back: style.backgroundColor, title: document_.title});
});
</script>"""


def framed(page: str, width: int, height: int, probe: str = "") -> str:
    return FRAME.format(page=html.escape(page), width=width, height=height, probe=probe)


def browse(tmp_path: Path, page: str, *arguments: str) -> str:
    """Open a page from disk; gives what the browser prints."""
    file = tmp_path / "page.html"
    file.write_text(page, encoding="utf-8")
    assert BROWSER is not None
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run")
    ran = subprocess.run(
        [BROWSER, *flags, f"--user-data-dir={tmp_path / 'profile'}", *arguments, file.as_uri()],
        capture_output=True,
        timeout=PATIENCE,
        check=True,
        cwd=tmp_path,
    )
    return ran.stdout.decode("utf-8", "replace")


def measured(tmp_path: Path, page: str, width: int, *, dark: bool = False) -> Any:
    scheme = ("--blink-settings=preferredColorScheme=0",) if dark else ()
    dumped = browse(tmp_path, framed(page, width, 900, PROBE), "--window-size=1400,900", *scheme, "--dump-dom")
    found = re.search(r"<body[^>]*>(.*?)</body>", dumped, re.DOTALL)
    assert found is not None
    return json.loads(html.unescape(found[1]))


@pytest.mark.parametrize("count", [3, 300])
@pytest.mark.parametrize("width", [1280, 400])
def test_page_fits_and_is_complete(tmp_path: Path, width: int, count: int) -> None:
    seen = measured(tmp_path, render_page(report(count)), width)
    assert seen["scroll"] <= seen["width"] == width
    assert seen["wide"] == []
    assert seen["rows"] == count + 1
    assert seen["low"] <= 1  # the scale above the rows
    assert seen["columns"] == seen["tall"] > 0
    assert seen["title"].startswith("Infobip keys")  # no name of a secret ran


def test_dark_where_system_is_dark(tmp_path: Path) -> None:
    page = render_page(report(3))
    light, dark = measured(tmp_path, page, 800), measured(tmp_path, page, 800, dark=True)
    assert (light["back"], dark["back"]) == ("rgb(255, 255, 255)", "rgb(13, 17, 23)")
    assert light["ink"] != dark["ink"]


def test_button_sorts_every_secret(tmp_path: Path) -> None:
    given = report(30)
    (account,) = given.accounts
    orders = {
        "by-name": sorted(row.state.secret for row in account.rows),
        "by-expiry": [s for _, s in sorted((row.state.expires_at or LAST, row.state.secret) for row in account.rows)],
    }
    for button, names in orders.items():
        page = render_page(given).replace(f'class="{button}"', f'class="{button}" checked')
        assert measured(tmp_path, page, 1280)["names"] == [shown(name) for name in names]
    names = [shown(row.state.secret) for row in account.rows]
    assert measured(tmp_path, render_page(given), 1280)["names"] == names


def test_policy_stops_what_would_be_script(tmp_path: Path) -> None:
    page = render_page(report(3)).replace("</body>", "<script>document.title='ran'</script></body>")
    assert "<title>Infobip keys" in browse(tmp_path, page, "--dump-dom")


def test_it_is_drawn_and_printed(tmp_path: Path) -> None:
    page = render_page(report(30))
    picture, paper = tmp_path / "page.png", tmp_path / "page.pdf"
    browse(tmp_path, page, "--window-size=1280,2000", f"--screenshot={picture}")
    assert struct.unpack(">II", picture.read_bytes()[16:24]) == (1280, 2000)
    browse(tmp_path, page, "--no-pdf-header-footer", f"--print-to-pdf={paper}")
    printed = paper.read_bytes()
    assert printed.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type /Page\b", printed)) >= 2
