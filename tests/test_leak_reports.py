"""Leaked keys are found in any text, and so are scanners' findings without a usable value."""

from __future__ import annotations

import base64
import json
import os
import quopri
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.cli.leaked import where
from rotator.key_format import contains_value
from rotator.leaks import MOST_PLACES, LeakReport, Place, read_leaks
from rotator.secret import Secret
from tests import leaks

# ---- reports and texts ----------------------------------------------------------------------------------------------


KEY = leaks.register("0123456789abcdef0123456789abcdef-11111111-2222-3333-4444-555555555555")
OTHER = leaks.register("fedcba9876543210fedcba9876543210-11111111-2222-3333-4444-555555555555")


def trufflehog(raw: str, **source: Any) -> dict[str, Any]:
    """One line of ``trufflehog --json``."""
    place = {"SourceMetadata": {"Data": {"Git": source}}, "SourceID": 1, "DetectorName": "CustomRegex"}
    return {**place, "Verified": False, "Raw": raw, "RawV2": "", "Redacted": "", "ExtraData": None}


def gitleaks(secret: str, **more: Any) -> dict[str, Any]:
    """One item of ``gitleaks -f json``."""
    place = {"RuleID": "generic-api-key", "StartLine": 12, "File": "src/app.py", "Commit": "1a2b3c4d5e6f"}
    found = {"Match": f"key = {secret}", "Secret": secret, "Entropy": 4.1, "Tags": []}
    return {**place, **found, "Fingerprint": "1a2b3c4d5e6f:src/app.py:generic-api-key:12", **more}


def github(secret: str, **more: Any) -> dict[str, Any]:
    """One alert of GitHub's secret scanning."""
    alert = {"number": 42, "html_url": "https://github.com/acme/app/security/secret-scanning/42", "state": "open"}
    return {**alert, "secret_type": "infobip_api_key", "secret": secret, **more}


def kingfisher(snippet: str) -> dict[str, Any]:
    """One finding of ``kingfisher scan --format json``, in a git history."""
    git = {"commit": {"id": "1a2b3c4d5e6f"}, "file": {"url": "https://example.org/app/blob/1a2b/src/app.py#L12"}}
    finding = {"snippet": snippet, "fingerprint": "1663924198", "line": 12, "path": "src/app.py", "git_metadata": git}
    return {"rule": {"name": "infobip", "id": "custom.infobip.1"}, "finding": finding}


def sarif(snippet: str) -> dict[str, Any]:
    """What ``gitleaks -f sarif`` and ``kingfisher scan --format sarif`` write."""
    region = {"startLine": 12, "snippet": {"text": snippet}}
    location = {"physicalLocation": {"artifactLocation": {"uri": "src/app.py"}, "region": region}}
    result = {"ruleId": "infobip", "locations": [location], "partialFingerprints": {"commitSha": "1a2b3c4d5e6f"}}
    return {"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "gitleaks"}}, "results": [result]}]}


KINGFISHER_ENDS = {"findings": 1, "rules_applied": 488, "kingfisher": {"version_used": "2.14.0"}}
"""The last document on kingfisher's stdout."""


def read(text: str) -> LeakReport:
    return read_leaks(Secret(text))


def found(report: LeakReport) -> list[str]:
    return [leak.value.reveal() for leak in report.leaks]


AT: dict[str, Any] = {"file": "src/app.py", "line": 12, "commit": "1a2b3c4d5e6f"}
ALERT = "https://github.com/acme/app/security/secret-scanning/42"
BLOB = "https://example.org/app/blob/1a2b/src/app.py#L12"
FIRST = {"path": "a.env", "start_line": 3, "commit_sha": "ffff0000"}
FINDINGS = {
    "trufflehog": (trufflehog(KEY, **AT, repository="https://example.org"), Place(1, **AT, url="https://example.org")),
    "gitleaks": (gitleaks(KEY), Place(1, **AT, fingerprint="1a2b3c4d5e6f:src/app.py:generic-api-key:12")),
    "GitHub": (github(KEY), Place(1, url=ALERT)),
    "GitHub with its first location": (
        github(KEY, first_location_detected=FIRST),
        Place(1, "a.env", 3, "ffff0000", url=ALERT),
    ),
    "kingfisher": (kingfisher(KEY), Place(1, **AT, fingerprint="1663924198", url=BLOB)),
    "SARIF": (sarif(KEY), Place(1, **AT)),
}


@pytest.mark.parametrize(("item", "place"), FINDINGS.values(), ids=FINDINGS)
@pytest.mark.parametrize("strung", ["object", "array", "indented"])
def test_each_kind_of_finding(item: dict[str, Any], place: Place, strung: str) -> None:
    indent = 2 if strung == "indented" else None
    report = read(json.dumps(item if strung == "object" else [item], indent=indent))
    assert (report.findings, report.without_key, found(report)) == (1, 0, [KEY])
    assert report.leaks[0].places == (place,)


@pytest.mark.parametrize("lines", [False, True], ids=["JSON", "JSON lines"])
def test_kingfishers_wrapping(lines: bool) -> None:
    findings, audit = [kingfisher(KEY), kingfisher("hunter2")], {"audit": {"schema": "kingfisher.repository-audit.v1"}}
    documents = [*findings, audit] if lines else [{"findings": findings, **audit, "metadata": {"target": "src"}}]
    report = read("\n".join(map(json.dumps, [*documents, KINGFISHER_ENDS])))
    assert (report.findings, report.without_key, report.unusable, found(report)) == (2, 1, (), [KEY])
    nothing = read(json.dumps({"findings": [], **audit}) + json.dumps({**KINGFISHER_ENDS, "findings": 0}))
    assert (nothing.findings, nothing.leaks) == (0, ())


@pytest.mark.parametrize("between", ["\n", "\r\n\r\n", "", " "], ids=["lines", "blank lines", "nothing", "a space"])
def test_documents_one_after_another(between: str) -> None:
    items = [trufflehog(KEY), [[gitleaks(OTHER)], [], [github("hunter2")]], None, trufflehog("hunter2")]
    report = read(between.join(map(json.dumps, items)))
    assert (report.findings, report.without_key, found(report)) == (4, 2, [KEY, OTHER])


def test_same_value_is_one_leak() -> None:
    report = read(json.dumps([gitleaks(KEY, StartLine=n) for n in range(1, MOST_PLACES + 6)]))
    (leak,) = report.leaks
    assert [place.line for place in leak.places] == list(range(1, MOST_PLACES + 1))
    assert leak.more == 5
    assert where(leak) == f"src/app.py:1 in 1a2b3c4d (and {MOST_PLACES + 4} more)"


def test_key_within_value_or_match() -> None:
    assert found(read(json.dumps(trufflehog(f"Authorization: App {KEY}\n")))) == [KEY]
    report = read(json.dumps(gitleaks(KEY.split("-")[0], Match=f'key = "{KEY}"')))
    assert found(report) == [KEY]
    assert KEY not in {value.reveal() for value in report.values}  # the match is not a value: words stand around it
    assert found(read(json.dumps(trufflehog(f"{KEY} {OTHER}")))) == [KEY, OTHER]


def test_every_finding_is_redacted() -> None:
    report = read(json.dumps([trufflehog("hunter2-hunter2", RawV2=None), gitleaks("swordfish"), github(KEY)]))
    assert {value.reveal() for value in report.values} == {"hunter2-hunter2", "swordfish", KEY}


@pytest.mark.parametrize("value", [None, 5, True, ["x"], {"x": "y"}, "", 10**30, -1], ids=repr)
def test_fields_of_any_type(value: Any) -> None:
    source = {"Data": {"Git": {"file": value, "line": value, "commit": value}}}
    for item in (
        gitleaks(KEY, File=value, StartLine=value, Commit=value, Fingerprint=value, Link=value),
        {**trufflehog(KEY), "SourceMetadata": source},
        {**trufflehog(KEY), "SourceMetadata": value},
        {**trufflehog(KEY), "SourceMetadata": {"Data": value}},
        github(KEY, html_url=value, first_location_detected=value),
    ):
        (leak,) = read(json.dumps(item)).leaks
        assert where(leak)
        for place in leak.places:
            assert place.line is None or place.line > 0


FIELDS = st.sampled_from(["secret", "Secret", "Raw", "RuleID", "SourceMetadata", "Data", "File", "StartLine", "x"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(KEY)


@given(
    st.recursive(
        LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELDS, inner, max_size=5), max_leaves=20
    )
)
def test_any_json_is_read_and_never_repeated(document: Any) -> None:
    """Threat: any JSON as a scanner's report. It is read or rejected, and never echoed."""
    report = read_leaks(Secret(json.dumps(document)))
    assert (KEY in str(document)) == (found(report) == [KEY])
    assert KEY not in repr(report) or KEY in str([*report.unusable, *(leak.places for leak in report.leaks)])


# ---- what other programs put around findings, and texts that are no report -------------------------------------------


LOG = {"level": "info-0", "ts": "2026-11-26T08:00:00Z", "logger": "trufflehog", "msg": "running source"}


def test_scanners_log_lines_are_no_findings() -> None:
    lines = [LOG, trufflehog(KEY), {**LOG, "level": "error", "msg": "no access"}, trufflehog("hunter2"), LOG]
    report = read("\n".join(map(json.dumps, lines)))
    assert (report.findings, report.without_key, found(report)) == (2, 1, [KEY])
    assert report.leaks[0].places[0].position == 1
    nothing = read("\n".join([json.dumps(LOG)] * 2))
    assert (nothing.findings, nothing.leaks) == (None, ())


def test_key_beside_findings_leaked_too() -> None:
    lines = [{**LOG, "msg": f"can't verify {OTHER}"}, trufflehog(KEY)]
    report = read("\n".join(map(json.dumps, lines)))
    assert (report.findings, found(report)) == (1, [KEY, OTHER])
    assert where(report.leaks[1]) == "line 1"
    message = read(json.dumps([gitleaks("hunter2", Message=f"remove {KEY}")]))
    assert (message.findings, message.without_key, found(message)) == (1, 0, [KEY])


TEXTS = [
    f"INFOBIP_API_KEY={KEY}",
    f'export INFOBIP_API_KEY="{KEY}"  # production',
    f"Authorization: App {KEY}\r\n",
    f"curl -H 'Authorization: App {KEY}' https://abc.api.infobip.com/sms/3/messages",
    f"https://example.org/?authorization=App%20{KEY}&to=1",
    json.dumps({"api_key": KEY, "base_url": "https://abc.api.infobip.com", "secret": "hunter2"}),
    json.dumps([{"env": [{"name": "INFOBIP", "value": KEY}]}]),
    json.dumps(json.dumps({"api_key": KEY})),
    f"[default]\napi_key = {KEY}\n",
    f'{{"Raw": "{KEY}", "SourceMetadata": {{',
    f"infobip:\n  key: {KEY}\n",
    f"\n\n  {KEY}\n",
]


@pytest.mark.parametrize("text", TEXTS)
def test_key_in_any_text(text: str) -> None:
    report = read(text)
    assert (report.values, found(report)) == ((), [KEY]) or report.findings == 1
    assert found(report) == [KEY]


def test_settings_file_with_several_keys() -> None:
    text = f"DB_PASSWORD=hunter2\nSMS={KEY}\n\n# old: {OTHER}\nWHATSAPP='{KEY}'\n"
    report = read(text)
    assert (report.findings, found(report)) == (None, [KEY, OTHER])
    assert [where(leak) for leak in report.leaks] == ["line 2 (and 1 more)", "line 4"]


@pytest.mark.parametrize("text", ["hunter2", '{"user": "hunter2"}', f"{KEY[:-1]}", f"{KEY[1:]}", ""])
def test_text_without_key_is_no_report(text: str) -> None:
    report = read(text)
    assert (report.findings, report.leaks) == (None, ())


ANYTHING = st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("utf-8", "replace"))


@given(ANYTHING, ANYTHING, st.sampled_from(["", "{", "[", "null", '[{"secret":"', "\ufeff"]))
def test_key_is_found_in_any_surroundings(before: str, after: str, begin: str) -> None:
    report = read(f"{begin}{before} {KEY} {after}")
    assert KEY in found(report)
    assert KEY not in repr(report)


# ---- reports that are not whole, and what stands around them --------------------------------------------------------


REPORTS = {
    "gitleaks": json.dumps([gitleaks(KEY, Message="line\n2"), gitleaks(OTHER), gitleaks("hunter2")], indent=1),
    "trufflehog": "\n".join(json.dumps(trufflehog(key, file="a.py", line=3)) for key in (KEY, "hunter2", OTHER)),
    "kingfisher": json.dumps({"findings": [kingfisher(KEY), kingfisher(OTHER)], "audit": {"schema": "x"}}),
    "SARIF": json.dumps({"runs": [*sarif(KEY)["runs"], *sarif(OTHER)["runs"]]}, indent=2),
    "GitHub": json.dumps([[github(KEY)], [github(OTHER, first_location_detected={"path": "a.env"})]]),
}


@pytest.mark.parametrize("name", REPORTS)
def test_truncated_report_gives_whole_keys(name: str) -> None:
    whole = REPORTS[name]
    for end in range(len(whole)):
        report = read(whole[:end])
        assert found(report) == [key for key in (KEY, OTHER) if key in whole[:end]]


@pytest.mark.parametrize("indent", [None, 1])
def test_cut_report_names_its_findings(indent: int | None) -> None:
    """Threat: a leak report that is cut off anywhere. Its findings are still named."""
    items = [gitleaks("REDACTED"), gitleaks(KEY), gitleaks("REDACTED"), gitleaks("***")]
    whole = json.dumps(items, indent=indent)
    ends = [at for at, char in enumerate(whole) if char == "}"]
    begins = [at for at, char in enumerate(whole) if char == "{"]
    for cut in range(len(whole)):
        head, tail = read(whole[:cut]), read(whole[cut:])
        assert len(head.unusable) + len(head.leaks) >= sum(at < cut for at in ends)
        assert len(tail.unusable) + len(tail.leaks) >= sum(at >= cut for at in begins)


@pytest.mark.parametrize("begin", ['"File": "a.py", ', 'e": "a.py", ', '", '], ids=["a field", "a name", "a value"])
def test_finding_without_beginning(begin: str) -> None:
    report = read(begin + '"RuleID": "x", "StartLine": 3, "Secret": "REDACTED"}, ' + json.dumps(gitleaks(KEY)))
    assert (report.findings, report.without_key, found(report)) == (2, 0, [KEY])
    assert [(place.position, place.line) for place in report.unusable] == [(1, 3)]


def test_masked_value_alone_is_unusable() -> None:
    assert read('{"secret": "REDACTED"}').unusable == (Place(1),)


@pytest.mark.parametrize("end", ['"Secret": "REDAC', '"Secret": "', f'"Secret": "{KEY[:40]}', '"File": "src/a'])
def test_finding_that_is_cut_is_unusable(end: str) -> None:
    report = read(json.dumps([gitleaks(KEY)])[:-1] + ', {"RuleID": "x", "StartLine": 3, ' + end)
    assert (report.findings, report.without_key, found(report)) == (2, 0, [KEY])
    assert [(place.position, place.line) for place in report.unusable] == [(2, 3)]


BANNERS = [
    "    ○\n    │╲\n    │ ○\n    ○ ░\n    ░    gitleaks\n",
    "8:00AM INF 12 commits scanned.\n8:00AM WRN leaks found: 2\n",
    "\x1b[90m8:00AM\x1b[0m \x1b[32mINF\x1b[0m scanned [12] {ok} \"it's\n",
    "🐷🔑🐷  TruffleHog. Unearth your secrets. 🐷🔑🐷\n\n",
    'Warning: 5" disk {\n',
    "```json\n",
    '{"level": "info", "msg": "started"}\n',
    "{'python': 'dict'} [not json] }}]]\n",
]


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("banner", BANNERS, ids=range(len(BANNERS)))
def test_banners_change_nothing(name: str, banner: str) -> None:
    alone, around = read(REPORTS[name]), read(f"{banner}{REPORTS[name]}\n{banner}")
    assert (around.findings, around.without_key, around.unusable) == (alone.findings, alone.without_key, ())
    assert [leak.places for leak in around.leaks] == [leak.places for leak in alone.leaks]


def test_report_in_other_texts() -> None:
    """A container's log has it as a string of JSON, a mail in quoted-printable, an XML report with entities."""
    report = json.dumps([gitleaks("REDACTED"), gitleaks(KEY)])
    texts = [
        json.dumps({"log": f"{report}\n", "stream": "stdout"}),
        json.dumps({"log": json.dumps({"message": report})}),
        mail(report),
        "<failure>" + report.replace('"', "&#34;") + "</failure>",
        mime(report),
    ]
    for text in texts:
        outer = read(text)
        assert (outer.findings, found(outer), outer.leaks[0].places[0].file) == (2, [KEY], "src/app.py")
        assert [(place.position, place.file, place.line) for place in outer.unusable] == [(1, "src/app.py", 12)]


# ---- findings without a usable value --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", None, "REDACTED", "redacted", "[REDACTED:3f7d4ed4]", "<hidden>", "***", "AKIA********"),
        *("8f3a91c0...", "xxxxxxxxxxxx", "XXXX-XXXX", "••••••", "abc…"),
        *(KEY[:33], KEY[:40], KEY[:-1], KEY[1:], KEY[20:]),
    ],
)
def test_value_that_is_masked_cut_or_empty(value: str | None) -> None:
    """Threat: a finding without a usable value. It is named, exit 1."""
    for name in ("Secret", "secret", "SECRET", "raw", "Raw"):
        item = {"File": "a.py", "StartLine": 3, name: value, "Match": "key = ", "Message": f"remove {OTHER}"}
        report = read(json.dumps([item, gitleaks("hunter2")]))
        assert (report.findings, report.without_key, report.unusable) == (2, 1, (Place(1, "a.py", 3),))
        assert found(report) == [OTHER]  # of the message: the value may be another key


@pytest.mark.parametrize(
    "value",
    ["AKIAQWERTYUIOPASDFGH", "hunter2", KEY[33:], KEY[:32], KEY[:32] + KEY[33:41], "12345", "a-b-c", "ghp_16C7e42F"],
)
def test_value_of_another_kind_is_usable(value: str) -> None:
    report = read(json.dumps([gitleaks(value), trufflehog(value, file="a", line=1), kingfisher(value)]))
    assert (report.findings, report.without_key, report.unusable, report.leaks) == (3, 3, (), ())


START = {"path": "src/app.py", "start_line": 12}
REGION = {"artifactLocation": {"uri": "src/app.py"}, "region": {"startLine": 12}}
OCCURRENCE = {"match": "AKI*****", "line_start": 12, "type": "x"}
HASHED = {"type": "x", "filename": "src/app.py", "hashed_secret": "0a1b2c", "line_number": 12}
UNUSABLE = {
    "gitleaks": gitleaks("REDACTED"),
    "trufflehog": trufflehog("", file="src/app.py", line=12),
    "kingfisher": kingfisher("[REDACTED:3f7d4ed4]"),
    "SARIF": sarif("REDACTED"),
    "SARIF without a snippet": {"ruleId": "infobip", "locations": [{"physicalLocation": REGION}]},
    "GitHub": github("", first_location_detected=START),
    "GitHub without the field": {"secret_type": "infobip_api_key", "first_location_detected": START},
    "ggshield": {"filename": "src/app.py", "incidents": [{"policy": "Secrets", "occurrences": [OCCURRENCE]}]},
    "trivy": {"Target": "src/app.py", "Secrets": [{"RuleID": "x", "StartLine": 12, "Match": "KEY=*****"}]},
    "detect-secrets": {"results": {"a": [HASHED]}},
    "unknown": {"where": {"file_path": "src/app.py", "line-number": "12"}, "what": {"secret": "****"}},
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_findings_are_named(name: str) -> None:
    """Threat: a scanner that masks values. Each finding without a usable value is named, exit 1."""
    finding = UNUSABLE[name]
    for text in (json.dumps(finding), json.dumps([[finding]], indent=1), f"{json.dumps(finding)}\n"):
        report = read(text)
        (place,) = report.unusable
        assert (report.findings, report.without_key, report.leaks) == (1, 0, ())
        assert (place.file, place.line) == ("src/app.py", 12)


@pytest.mark.parametrize(
    "document",
    [
        {"secret": "hunter2", "url": "x"},
        {"secret": "", "name": "x"},
        {"volumes": [{"name": "v", "secret": {"secretName": "x", "items": [{"key": "k", "path": "p"}]}}]},
        {"level": "info", "file": "a.py", "line": 3, "msg": "x"},
        {"api_key": KEY, "link": "https://example.org", "path": "/"},
    ],
    ids=range(5),
)
def test_other_json_has_no_findings(document: dict[str, Any]) -> None:
    assert (read(json.dumps(document)).findings, read(json.dumps(document)).unusable) == (None, ())


@pytest.mark.parametrize(
    "text", ["[]", "[]\n", "[[],[]]", "null", '{"findings": [], "x": 1}', '{"runs":[{"results":[ ]}]}']
)
def test_report_without_findings(text: str) -> None:
    assert (read(text).findings, read(text).leaks) == (0, ())


# ---- encodings ------------------------------------------------------------------------------------------------------


def b64(text: str, charset: str = "utf-8") -> str:
    return base64.b64encode(text.encode(charset)).decode()


def mime(text: str) -> str:
    """In base64, in lines."""
    return base64.encodebytes(text.encode()).decode()


def mail(text: str) -> str:
    return quopri.encodestring(text.encode()).decode()


def each(pattern: str) -> Callable[[str], str]:
    """Write every character by its number."""
    return lambda text: "".join(pattern.format(ord(char)) for char in text)


def hyphens(to: str) -> Callable[[str], str]:
    return lambda text: text.replace("-", to)


def soft_breaks(text: str) -> str:
    return "=\n".join(text[at : at + 20] for at in range(0, len(text), 20))


ENV = "# production\nDB_PASSWORD=hunter2\nINFOBIP_API_KEY={}\nDEBUG=1\n"
ENCODINGS: dict[str, Callable[[str], str]] = {
    "JSON, hyphens": hyphens("\\u002d"),
    "JSON, every character": each("\\u{:04x}"),
    "JSON in JSON": hyphens("\\\\u002d"),
    "JavaScript": hyphens("\\u{{2d}}".format()),
    "code, hexadecimal": hyphens("\\x2D"),
    "code, octal": hyphens("\\055"),
    "Markdown": hyphens("\\-"),
    "HTML, decimal": hyphens("&#45;"),
    "HTML, hexadecimal": hyphens("&#x2d;"),
    "HTML, hyphen": hyphens("&hyphen;"),
    "HTML, dash": hyphens("&dash;"),
    "HTML, soft hyphen": lambda text: "&shy;".join((text[:9], text[9:])),
    "HTML, every character": each("&#{};"),
    "HTML in HTML": hyphens("&amp;#45;"),
    "percent": hyphens("%2D"),
    "percent, lower case": hyphens("%2d"),
    "percent, twice": hyphens("%252D"),
    "percent, every character": each("%{:02X}"),
    "percent, after =": lambda text: f"KEY={text.replace('-', '%2D')}",
    "quoted-printable, hyphens after =": lambda text: f"KEY={text.replace('-', '=2D')}",
    "quoted-printable, lower case": hyphens("=2d"),
    "quoted-printable, every character": each("={:02X}"),
    "quoted-printable, soft breaks": soft_breaks,
    "quoted-printable, soft breaks after =": lambda text: soft_breaks(f"KEY={text}"),
    "quoted-printable, both": lambda text: soft_breaks(text.replace("-", "=2D")).replace("\n", "\r\n"),
    "quoted-printable, a mail": lambda text: mail(f"The key of the account is {text}!"),
    "word processor": hyphens("\u2013"),
    "no break": hyphens("\u2011"),
    "no width": lambda text: f"{text[:9]}\u200b{text[9:]}",
    "UTF-16": lambda text: text.encode("utf-16-le").decode(),
    "base64": b64,
    "base64, url-safe": lambda text: base64.urlsafe_b64encode(f"\u07ff\u07ff\u07ff{text}".encode()).decode(),
    "base64, unpadded": lambda text: b64(f"a{text}").rstrip("="),
    "base64, lines": lambda text: mime(ENV.format(text)),
    "base64, CRLF": lambda text: mime(ENV.format(text)).replace("\n", "\r\n"),
    "base64, CR": lambda text: mime(ENV.format(text)).replace("\n", "\r"),
    "base64, indented": lambda text: mime(ENV.format(text)).replace("\n", "\n    "),
    "base64, lines in JSON": lambda text: json.dumps(mime(ENV.format(text))),
    "base64, of UTF-16": lambda text: b64(text, "utf-16"),
    "base64, in a path": lambda text: f"https://example.org/a/{b64(text)}",
    "base64, twice": lambda text: b64(b64(text)),
    "base64, of JSON": lambda text: b64(json.dumps({"key": text}).replace("-", "\\u002d")),
    "base64, percent": lambda text: quote(b64(f"\u07ff\u07ff?{text}"), safe=""),
    "base64, lines in a mail": lambda text: mail(f"# {mime(text)}"),
    "Basic": lambda text: f"Authorization: Basic {b64(f'user:{text}')}",
    "App": lambda text: f"Authorization: Basic {b64(f'App {text}')}",
    "JWT": lambda text: f"eyJhbGciOiJIUzI1NiJ9.{b64(json.dumps({'k': text})).rstrip('=')}.c2ln",
    "Kubernetes": lambda text: f"kind: Secret\ndata:\n  OTHER: {b64('x' * 40)}\n  KEY: {b64(text)}\n",
    "Kubernetes, JSON": lambda text: json.dumps({"kind": "Secret", "data": {".env": b64(ENV.format(text))}}),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_key_in_encoding(name: str) -> None:
    """Threat: a leaked key in an encoding. It is found."""
    text = ENCODINGS[name](KEY)
    assert not contains_value(text)
    assert found(read(text)) == [KEY]
    assert found(read(f"first\n{text}\nlast")) == [KEY]
    assert found(read(json.dumps(gitleaks(text)))) == [KEY]


def test_lines_of_encoded_keys() -> None:
    text = f"a\nA={b64(KEY)}\nB={b64(OTHER)}\n\n{mime(ENV.format(KEY))}\nC={OTHER}"
    assert [[place.line for place in leak.places] for leak in read(text).leaks] == [[2], [3, 9]]
    wrapped = read(f"a\n\n{mime(ENV.format(KEY))}\nb")
    assert [[place.line for place in leak.places] for leak in wrapped.leaks] == [[3]]


def test_key_in_several_encodings() -> None:
    texts = [KEY, KEY.upper(), *(ENCODINGS[name](KEY) for name in ("percent", "base64", "JSON, hyphens"))]
    (leak,) = read("\n".join(texts)).leaks
    assert (leak.value.reveal(), [place.line for place in leak.places]) == (KEY, [1, 2, 3, 4, 5])
    assert found(read(KEY.upper())) == [KEY.upper()]


WRAPPERS: list[Callable[[str], str]] = [
    json.dumps,
    b64,
    lambda text: b64(text, "utf-16-le"),
    lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    mime,
    mail,
    quote,
    each("%{:02x}"),
    each("&#x{:x};"),
    each("\\u{:04X}"),
    hyphens("&hyphen;"),
    lambda text: f"# {text}",
    lambda text: json.dumps({"data": {"key": text}}, indent=2),
]


@given(
    st.lists(st.sampled_from(WRAPPERS), max_size=3),
    st.sampled_from(["{}", "KEY={}\n", "a: '{}'", "App {}", 'x\n{{"k": "{}"}}\n']),
    st.sampled_from(["", "log line\n", "[1, 2]\n"]),
)
def test_key_in_nested_encodings(wrappers: list[Callable[[str], str]], inside: str, around: str) -> None:
    text = inside.format(KEY)
    for wrap in wrappers:
        text = wrap(text)
    assert found(read(f"{around}{text}\n{around}")) == [KEY]


@given(st.text(alphabet=st.sampled_from('{}[]":,\\\n =%&;#-0af"u\u2010é\ud800'), max_size=300))
def test_hostile_text_is_read(text: str) -> None:
    assert read(text).leaks == ()


SIZE = 2_000_000
HOSTILE = [
    *("0", "\n", "a\n", "{", "}", "{}", "[", '"', '\\"', '{"', '{"a":', "-", "A", "=", "=\n", "\0a"),
    *("%2525", "%41", "\\u002d", "&amp;", "&#45;", "amp;", "=2D", '"" ', '{"a":"{\\"a\\":'),
    *("ABCDEFGHIJKLMNOP\n", f"ABCDEFGHIJKLMNOP{' ' * 50}", f"{'A' * 76}\n", "\u2010é"),
    *(f"{KEY[:-1]}", f"{KEY[:33]}", '{"secret_type":1}', '"findings": ', '{"a":{"file":"x",'),
]


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_takes_linear_time(text: str) -> None:
    """Threat: nested escapes and base64, or 20,000 findings. They are read in linear time."""
    began = time.process_time()
    read("x\n" + text * (SIZE // len(text)))
    assert time.process_time() - began < 15  # 2 s at most; in quadratic time it would be days


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2, 5])
def test_base64_of_base64_takes_linear_time(times: int) -> None:
    raw = os.urandom(SIZE // 2)
    for _ in range(times):
        raw = base64.b64encode(raw)[:SIZE]
    began = time.process_time()
    read(raw.decode())
    assert time.process_time() - began < 15
