"""The page's words and markup, without a browser."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.message import Message
from rotator.model import Policy
from rotator.plan import AccountPlan, Alert, Quota, Severity
from rotator.policy.forecast import verdict
from rotator.reasons import Reason
from rotator.report.gather import AccountReport, Report, RowLevel, gather_account
from rotator.report.page import MOST_LISTED, POLICY, render_page
from rotator.report.timeline import Axis
from tests.policy.build import DAY, NOW, key, secret, snap
from tests.report.pages import HOSTILE, report

EMPTY = Report(NOW, "default", ())
VOID = {"meta", "input"}
PARTS = {"html", "head", "meta", "title", "style", "body", "main", "header", "footer", "section", "div", "span", "i"}
ELEMENTS = PARTS | {"h1", "h2", "h3", "p", "b", "ul", "li", "code", "details", "summary"}
ELEMENTS |= {"input", "label", "table", "thead", "tbody", "tr", "th", "td"}


class Reader(HTMLParser):
    """Reads a page as a browser would, and fails where elements are not nested."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: Counter[str] = Counter()
        self.attributes: Counter[str] = Counter()
        self.values: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        for name, value in attrs:
            self.attributes[name] += 1
            self.values.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_page_fetches_and_runs_nothing() -> None:
    """Threat: a script or an address in the HTML report. The page's policy runs nothing and loads nothing."""
    page = render_page(report(40))
    read = Reader(page)
    assert set(read.elements) <= ELEMENTS
    assert not {name for name in read.attributes if name.startswith("on") or name in ("src", "href", "srcset")}
    assert f'http-equiv="Content-Security-Policy" content="{POLICY.replace(chr(39), "&#39;")}"' in page
    assert not [text for text in ("url(", "@import", "\x1b", "\u202e") if text in page]
    assert "<script>document.title='taken'</script>" in read.said  # what comes from outside is text
    assert r"\x1b[31m" in read.said


@settings(max_examples=25)
@given(st.text(min_size=1, max_size=60))
def test_no_text_becomes_markup(words: str) -> None:
    """Threat: markup in a name on the HTML report. It stays text."""
    plan = AccountPlan(words, Quota(0, 40, 0, 40, 8), alerts=(alert(words, words), alert(None, f"`{words}`")))
    line = dict.fromkeys(("timestamp", "event", "outcome", "secret", "key_id", "reason", "actor"), words)
    quiet = Report(NOW, "x", (AccountReport(AccountPlan("x", plan.quota, alerts=(alert("x", "x"), alert(None, "y")))),))
    page = render_page(Report(NOW, words, (AccountReport(plan),), (line,)))
    assert set(Reader(page).elements) <= ELEMENTS
    assert Reader(page).elements["tr"] == Reader(render_page(quiet)).elements["tr"] + 2


def test_it_says_what_there_is() -> None:
    given = report(40)
    (account,) = given.accounts
    assert account.forecast is not None
    read = Reader(render_page(given))
    assert f"{len(account.rows)} secrets" in read.said
    assert re.search(r"creates used today 8 ", read.said)
    assert str(verdict(account.forecast)).replace("`", "") in re.sub(r"\s+([:.])", r"\1", read.said).replace(" :", ":")
    assert read.elements["li"] == len(account.rows) + 1
    for row in account.rows[:5]:
        assert row.state.state in read.said
    assert re.search(r'rotator:grace .{0,3}"soon"', read.said)
    assert re.search(r"\b2 lines\b.* 1 ", read.said)
    assert "2 Mar 10:00:00 key.created" in read.said
    assert "5737…48AE" in read.said
    assert "5737AAAA" not in read.said


def test_every_place_is_within_picture() -> None:
    read = Reader(render_page(report(60, days=30)))
    for value in read.values:
        for number in re.findall(r"(?:left|width|height|bottom):(-?[0-9.]+)%", value):
            assert 0 <= float(number) <= 100
        both = re.fullmatch(r"left:([0-9.]+)%;width:([0-9.]+)%", value)
        assert both is None or float(both[1]) + float(both[2]) <= 100.01


def test_bar_says_what_words_say() -> None:
    given = report(40)
    (account,) = given.accounts
    row = next(row for row in account.rows if row.state.retiring)
    page = render_page(Report(NOW, "default", (AccountReport(account.plan, (row,), account.forecast),)))
    bars = dict(re.findall(r'<i class="(\w+)" style="left:([0-9.]+)%', page.partition('class="rows"')[2]))
    axis = Axis.of(NOW, 90)
    assert row.begins is not None
    assert row.due is not None
    assert float(bars["grace"]) == float(bars["life"]) == axis.position(row.begins)
    assert float(bars["before"]) == axis.position(row.due)
    assert float(bars["now"]) == axis.position(NOW) == 25
    assert f'class="revocation" style="left:{axis.position(row.state.retiring[0].revoke_at)}%' in page


def test_times_that_are_far_end_s_never() -> None:
    axis = Axis.of(NOW, 400)
    assert axis.position(datetime.max.replace(tzinfo=UTC)) == 100
    assert axis.position(datetime.min.replace(tzinfo=UTC)) == 0
    assert [name for name, _ in axis.months] == ["Mar", "May", "Jul", "Sep", "Nov", "Jan 2027", "Mar"]
    assert [name for name, _ in Axis.of(NOW, 1).months] == ["Feb", "Mar", "Apr"]
    assert axis.position(NOW) == round(100 * 30 / 430, 2)
    assert Axis.of(NOW, 1).end == NOW + 30 * DAY


def test_unread_account_and_no_account() -> None:
    plan = AccountPlan("main", Quota(0, 40, 0, 40, 8), error=f"Infobip did not answer {HOSTILE}")
    read = Reader(render_page(Report(NOW, "default", (AccountReport(plan),))))
    assert ": Infobip did not answer <script>" in read.said
    none = Reader(render_page(EMPTY))
    assert "rotator:role" in none.said
    assert "rotator audit verify" not in none.said
    assert "0 lines" in Reader(render_page(Report(NOW, "default", (), (), 0))).said


def test_only_texts_are_redacted() -> None:
    plan = AccountPlan("main", Quota(0, 40, 0, 40, 8), error="refused for hunter2<&>width")
    given = Report(NOW, "default", (AccountReport(plan),))
    page = render_page(given, lambda words: words.replace("hunter2<&>", "<redacted>"))
    read = Reader(page)
    assert "hunter2" not in page
    assert "refused for <redacted>width" in read.said
    assert "<section>" in render_page(given, lambda words: words.replace("section", "x"))
    value = "0123456789abcdef0123456789abcdef-01234567-89ab-cdef-0123-456789abcdef"
    assert value not in render_page(Report(NOW, "default", (), ({"event": f"key {value}"},)))


def alert(name: str | None, detail: str, severity: Severity = Severity.ERROR) -> Alert:
    return Alert(Reason.MISCONFIGURED, Message.text(detail), name, severity=severity)


def test_verdict_first_equal_alerts_merged() -> None:
    names = [f"prod/s-{number:03}<b>" for number in range(MOST_LISTED + 20)]
    others = alert("prod/other", "write 90d"), alert("p", "x", Severity.WARNING)
    alerts = (*(alert(name, "write 72h") for name in names), *others)
    (account,) = report(3).accounts
    plan = replace(account.plan, alerts=alerts, skipped=())
    page = render_page(Report(NOW, "default", (replace(account, plan=plan),)))
    said = Reader(page).said
    assert re.search(r"main 221 errors\. .* 3 secrets", said)
    fix = said[said.index("Errors") : said.index("Warnings")]
    assert fix.count("write 72h") == fix.count("write 90d") == 1
    assert "220: prod/s-000<b>, prod/s-001<b>, " in fix
    assert "215 more" in fix
    assert "prod/s-199<b>" in fix
    assert "prod/s-200<b>" not in fix
    assert " 20 more" in fix
    assert 'class="verdict bad"' in page


def test_unreplaced_soon_expiring_is_red() -> None:
    secrets = [
        secret("prod/soon", {"v1": "CURRENT key:K1"}, hold="audit freeze"),
        secret("prod/later", {"v1": "CURRENT key:K2"}, hold="audit freeze"),
        secret("prod/rotated", {"v1": "CURRENT key:K3"}),
    ]
    keys = [key("K1", left=9 * DAY), key("K2", left=60 * DAY), key("K3", left=29 * DAY, age=61 * DAY)]
    found = gather_account(snap(secrets, keys), Policy(), NOW, days=90)
    assert {row.state.secret: row.level for row in found.rows} == {
        "prod/soon": RowLevel.URGENT,
        "prod/later": RowLevel.ATTENTION,
        "prod/rotated": RowLevel.NONE,
    }
    assert found.rows[0].state.secret == "prod/soon"
    page = render_page(Report(NOW, "default", (found,)))
    assert re.findall(r'<li class="(\w*)" style="--expiry:(\d);--name:(\d)"><div><b>(prod/\w+)</b>', page) == [
        ("bad", "0", "2", "prod/soon"),
        ("warn", "2", "0", "prod/later"),
        ("", "1", "1", "prod/rotated"),
    ]


def test_chart_has_columns_axis_and_months() -> None:
    page = render_page(report(3))
    said = Reader(page).said
    forecast = report(3).accounts[0].forecast
    assert forecast is not None
    assert said.index(str(verdict(forecast))) < said.index("3 secrets")
    assert 'class="verdict"' in page
    chart = page.partition('class="chart"')[2].partition("</section>")[0]
    heights = [float(height) for height in re.findall(r'class="d" style="height:([0-9.]+)%', chart)]
    assert max(heights) > 90
    assert "32 per day" in chart
    assert 'class="limit"' not in chart  # out of sight
    assert re.findall(r'class="level" style="bottom:([0-9.]+)%"><span>(\d+)', chart)[0] == ("0.0", "0")
    months = chart.partition('class="months"')[2].partition("</div>")[0]
    assert re.findall(r">([A-Z]\w+)</span>", months) == ["Apr", "May"]
