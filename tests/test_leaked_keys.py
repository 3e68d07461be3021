"""Leaked keys: found in reports of scanners and in any text, and revoked many at once."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.engine.emergency import Emergency, Strategy
from rotator.engine.emergency.leak_intake import Intake, LeakOutcome, LeakResult
from rotator.leaks import MOST_KEYS, MOST_PLACES, Leak, LeakReport, Place, Unreadable, read_leaks
from rotator.sandbox.exchange import Request
from rotator.sandbox.state import SimKey
from rotator.secret import Secret
from rotator.telemetry.audit import Trigger
from tests import leaks
from tests.emergencies import alive, calm, dead, fault, in_grace
from tests.support.faulty_infobip import FaultKind
from tests.world import World

# ---- reports and texts ----------------------------------------------------------------------------------------------


KEY = leaks.register("0123456789abcdef0123456789abcdef-11111111-2222-3333-4444-555555555555")
OTHER = leaks.register("fedcba9876543210fedcba9876543210-11111111-2222-3333-4444-555555555555")


def trufflehog(raw: str, **source: Any) -> dict[str, Any]:
    """One line of ``trufflehog --json``."""
    return {
        "SourceMetadata": {"Data": {"Git": source}},
        "SourceID": 1,
        "DetectorName": "CustomRegex",
        "Verified": False,
        "Raw": raw,
        "RawV2": "",
        "Redacted": "",
        "ExtraData": None,
    }


def gitleaks(secret: str, **more: Any) -> dict[str, Any]:
    """One item of ``gitleaks -f json``."""
    return {
        "RuleID": "generic-api-key",
        "StartLine": 12,
        "Match": f"key = {secret}",
        "Secret": secret,
        "File": "src/app.py",
        "Commit": "1a2b3c4d5e6f",
        "Entropy": 4.1,
        "Tags": [],
        "Fingerprint": "1a2b3c4d5e6f:src/app.py:generic-api-key:12",
        **more,
    }


def github(secret: str, **more: Any) -> dict[str, Any]:
    """One alert of GitHub's secret scanning."""
    return {
        "number": 42,
        "html_url": "https://github.com/acme/app/security/secret-scanning/42",
        "state": "open",
        "secret_type": "infobip_api_key",
        "secret": secret,
        **more,
    }


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
    report = read_leaks(Secret(text))
    assert isinstance(report, LeakReport), report
    return report


def found(report: LeakReport) -> list[str]:
    return [leak.value.reveal() for leak in report.leaks]


@pytest.mark.parametrize(
    ("item", "place"),
    [
        (
            trufflehog(KEY, commit="1a2b3c4d5e6f", file="src/app.py", line=12, repository="https://example.org/app"),
            Place(1, "src/app.py", 12, "1a2b3c4d5e6f", url="https://example.org/app"),
        ),
        (
            gitleaks(KEY),
            Place(1, "src/app.py", 12, "1a2b3c4d5e6f", "1a2b3c4d5e6f:src/app.py:generic-api-key:12"),
        ),
        (github(KEY), Place(1, url="https://github.com/acme/app/security/secret-scanning/42")),
        (
            github(KEY, first_location_detected={"path": "a.env", "start_line": 3, "commit_sha": "ffff0000"}),
            Place(1, "a.env", 3, "ffff0000", url="https://github.com/acme/app/security/secret-scanning/42"),
        ),
        (
            kingfisher(KEY),
            Place(1, "src/app.py", 12, "1a2b3c4d5e6f", url="https://example.org/app/blob/1a2b/src/app.py#L12"),
        ),
        (sarif(KEY), Place(1, "src/app.py", 12, "1a2b3c4d5e6f")),
    ],
    ids=["trufflehog", "gitleaks", "GitHub", "GitHub with its first location", "kingfisher", "SARIF"],
)
@pytest.mark.parametrize("strung", ["object", "array", "indented"])
def test_each_kind_of_finding(item: dict[str, Any], place: Place, strung: str) -> None:
    indent = 2 if strung == "indented" else None
    report = read(json.dumps(item if strung == "object" else [item], indent=indent))
    assert (report.findings, report.without, found(report)) == (1, 0, [KEY])
    assert report.leaks[0].places == (place,)


@pytest.mark.parametrize("lines", [False, True], ids=["JSON", "JSON lines"])
def test_what_kingfisher_puts_around_its_findings(lines: bool) -> None:
    findings, audit = [kingfisher(KEY), kingfisher("hunter2")], {"audit": {"schema": "kingfisher.repository-audit.v1"}}
    documents = [*findings, audit] if lines else [{"findings": findings, **audit, "metadata": {"target": "src"}}]
    report = read("\n".join(map(json.dumps, [*documents, KINGFISHER_ENDS])))
    assert (report.findings, report.without, report.redacted, found(report)) == (2, 1, 0, [KEY])
    nothing = read(json.dumps({"findings": [], **audit}) + json.dumps({**KINGFISHER_ENDS, "findings": 0}))
    assert (nothing.findings, nothing.leaks) == (0, ())


@pytest.mark.parametrize("between", ["\n", "\r\n\r\n", "", " "], ids=["lines", "blank lines", "nothing", "a space"])
def test_documents_one_after_another(between: str) -> None:
    items = [trufflehog(KEY), [[gitleaks(OTHER)], [], [github("hunter2")]], None, trufflehog("hunter2")]
    report = read(between.join(map(json.dumps, items)))
    assert (report.findings, report.without, found(report)) == (4, 2, [KEY, OTHER])


def test_the_same_value_is_one_leak_with_its_places() -> None:
    report = read(json.dumps([gitleaks(KEY, StartLine=n) for n in range(1, MOST_PLACES + 6)]))
    (leak,) = report.leaks
    assert [place.line for place in leak.places] == list(range(1, MOST_PLACES + 1))
    assert leak.more == 5
    assert leak.text == f"src/app.py:1 in 1a2b3c4d (and {MOST_PLACES + 4} more)"


def test_a_key_in_the_middle_of_a_value_or_only_in_the_match() -> None:
    assert found(read(json.dumps(trufflehog(f"Authorization: App {KEY}\n")))) == [KEY]
    report = read(json.dumps(gitleaks(KEY.split("-")[0], Match=f'key = "{KEY}"')))
    assert found(report) == [KEY]
    assert KEY not in {value.reveal() for value in report.values}  # the match is not a value: words stand around it
    assert found(read(json.dumps(trufflehog(f"{KEY} {OTHER}")))) == [KEY, OTHER]


def test_values_of_every_finding_are_given_for_the_redactor() -> None:
    report = read(json.dumps([trufflehog("hunter2-hunter2", RawV2=None), gitleaks("swordfish"), github(KEY)]))
    assert {value.reveal() for value in report.values} == {"hunter2-hunter2", "swordfish", KEY}


def test_a_report_without_values() -> None:
    hidden = [gitleaks("REDACTED"), gitleaks("8f3a91c0..."), {"secret_type": "infobip_api_key", "number": 7}]
    report = read(json.dumps([*hidden, kingfisher("[REDACTED:3f7d4ed4]"), gitleaks("hunter2")]))
    assert (report.findings, report.without, report.redacted, report.leaks) == (5, 5, 4, ())


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
        assert leak.text
        for place in leak.places:
            assert place.line is None or place.line > 0


@pytest.mark.parametrize("is_report", [True, False])
def test_too_many_keys(is_report: bool) -> None:
    keys = [f"{number:032x}-11111111-2222-3333-4444-555555555555" for number in range(MOST_KEYS + 1)]
    report = read_leaks(Secret(json.dumps([github(key) for key in keys]) if is_report else "\n".join(keys)))
    assert isinstance(report, Unreadable)
    assert f"more than {MOST_KEYS}" in report.what


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(KEY),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    ["secret", "Secret", "Raw", "RuleID", "SourceMetadata", "Data", "File", "StartLine", "x"]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=20,
    )
)
def test_any_json_is_read_or_refused_and_never_repeated(document: Any) -> None:
    report = read_leaks(Secret(json.dumps(document)))
    assert isinstance(report, LeakReport | Unreadable)
    assert KEY not in repr(report) or KEY in str([leak.places for leak in getattr(report, "leaks", ())])


# ---- what other programs put around findings, and texts that are no report -------------------------------------------


LOG = {"level": "info-0", "ts": "2026-11-26T08:00:00Z", "logger": "trufflehog", "msg": "running source"}


def test_the_scanners_own_log_lines_are_no_findings() -> None:
    lines = [LOG, trufflehog(KEY), {**LOG, "level": "error", "msg": "no access"}, trufflehog("hunter2"), LOG]
    report = read("\n".join(map(json.dumps, lines)))
    assert (report.findings, report.without, found(report)) == (2, 1, [KEY])
    assert report.leaks[0].places[0].position == 1
    nothing = read_leaks(Secret("\n".join([json.dumps(LOG)] * 2)))
    assert isinstance(nothing, Unreadable)
    assert "holds no findings" in nothing.what


def test_a_key_outside_of_the_findings_values_leaked_as_well() -> None:
    lines = [{**LOG, "msg": f"can't verify {OTHER}"}, trufflehog(KEY)]
    report = read("\n".join(map(json.dumps, lines)))
    assert (report.findings, found(report)) == (1, [KEY, OTHER])
    assert report.leaks[1].text == "line 1"
    message = read(json.dumps([gitleaks("hunter2", Message=f"remove {KEY}")]))
    assert (message.findings, message.without, found(message)) == (1, 0, [KEY])


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
def test_a_key_in_any_text(text: str) -> None:
    report = read(text)
    assert (report.values, found(report)) == ((), [KEY]) or report.findings == 1
    assert found(report) == [KEY]


def test_a_settings_file_with_several_keys_and_other_secrets() -> None:
    text = f"DB_PASSWORD=hunter2\nSMS={KEY}\n\n# old: {OTHER}\nWHATSAPP='{KEY}'\n"
    report = read(text)
    assert (report.findings, found(report)) == (None, [KEY, OTHER])
    assert [leak.text for leak in report.leaks] == ["line 2 (and 1 more)", "line 4"]


@pytest.mark.parametrize("text", ["hunter2", '{"user": "hunter2"}', f"{KEY[:-1]}", f"{KEY[1:]}", ""])
def test_a_text_without_a_key_is_no_report_of_one(text: str) -> None:
    report = read_leaks(Secret(text))
    assert isinstance(report, Unreadable) or report.leaks == ()


ANYTHING = st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("utf-8", "replace"))


@given(ANYTHING, ANYTHING, st.sampled_from(["", "{", "[", "null", '[{"secret":"', "\ufeff"]))
def test_a_key_is_found_whatever_stands_around_it(before: str, after: str, begin: str) -> None:
    report = read_leaks(Secret(f"{begin}{before} {KEY} {after}"))
    assert isinstance(report, LeakReport)
    assert KEY in found(report)
    assert KEY not in repr(report)


# ---- many at once ---------------------------------------------------------------------------------------------------


FOREIGN = leaks.register("0123456789abcdef0123456789abcdef-11111111-2222-3333-4444-555555555555")


def leak(value: str, position: int = 1) -> Leak:
    return Leak(Secret(value), (Place(position, "src/app.py", position),))


def go(
    world: World, *keys: SimKey | str, confirmed: bool = True, incident: str | None = None, account: str | None = None
) -> list[LeakResult]:
    values = [str(key.value) if isinstance(key, SimKey) else key for key in keys]
    emergency = Emergency(world.services(Trigger.EMERGENCY), "found by a scanner", incident)
    intake = Intake(emergency, Strategy.REPLACE_FIRST, account, dry_run=not confirmed)
    return list(intake.go([leak(value, number) for number, value in enumerate(values, 1)]))


def outcomes(results: list[LeakResult]) -> list[LeakOutcome]:
    return [result.outcome for result in results]


def two_secrets() -> tuple[World, SimKey, SimKey]:
    world = World()
    return world, world.managed("prod/a"), world.managed("prod/b", account="second")


def test_each_is_found_in_its_account_and_revoked() -> None:
    world, one, two = two_secrets()
    results = go(world, one, FOREIGN, two)
    assert outcomes(results) == [LeakOutcome.REVOKED, LeakOutcome.NOT_OURS, LeakOutcome.REVOKED]
    assert [result.key_id for result in results] == [one.id, None, two.id]
    assert [result.plan.account if result.plan else None for result in results] == ["main", None, "second"]
    assert dead(world, one, two)
    assert world.consumer_works("prod/a")
    assert world.consumer_works("prod/b")
    assert "main, second" in results[1].detail
    leaks.check(world.stream.getvalue(), "the audit")


@pytest.mark.parametrize("confirmed", [True, False], ids=["done", "shown"])
@pytest.mark.parametrize("incident", [None, "INC-1"], ids=["no incident", "incident"])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["old first", "current first"])
def test_two_keys_of_one_secret_make_one_replacement(
    order: tuple[int, int], incident: str | None, confirmed: bool
) -> None:
    world = World()
    pair = in_grace(world)
    before = len(world.infobip.keys())
    results = go(world, *(pair[place] for place in order), incident=incident, confirmed=confirmed)
    assert outcomes(results) == [LeakOutcome.REVOKED if confirmed else LeakOutcome.PLANNED] * 2
    assert len(world.infobip.keys()) == before + confirmed
    assert [alive(world, key) for key in pair] == [not confirmed] * 2
    if confirmed:
        calm(world)


def test_one_that_fails_stops_no_other() -> None:
    world, one, two = two_secrets()
    broken = fault(world, FaultKind.STATUS_BEFORE, ("PUT", f"api-keys/{one.id}"), status=403)
    results = go(world, one, two, incident="INC-1")
    assert outcomes(results) == [LeakOutcome.FAILED, LeakOutcome.REVOKED]
    assert "NOT known to be revoked" in results[0].detail
    broken.count = 0
    # However late the command is repeated: a named key is always revoked.
    world.pass_time(timedelta(hours=25))
    again = go(world, one, two, incident="INC-1")
    assert outcomes(again) == [LeakOutcome.REVOKED, LeakOutcome.DISABLED]
    assert dead(world, one)


def test_an_unreachable_account_leaves_a_value_undecided() -> None:
    world, one, two = two_secrets()
    world.store.put_value_by_hand("infobip/second", '{"base_url": "https://sandbox.api.infobip.com"}')
    results = go(world, one, two)
    assert outcomes(results) == [LeakOutcome.REVOKED, LeakOutcome.FAILED]
    assert "second" in results[1].detail
    assert outcomes(go(world, FOREIGN, account="main")) == [LeakOutcome.NOT_OURS]


def test_values_go_to_the_accounts_own_infobip_alone() -> None:
    world, one, _ = two_secrets()
    asked: list[Request] = []
    before = len(world.infobip.calls)
    world.infobip.observers.append(lambda request, _answer: asked.append(request))
    go(world, one, FOREIGN, account="second", confirmed=False)
    users = {call.principal for call in world.infobip.calls[before:]}
    assert users == {"basic:user-second"}
    assert all("apiKeySecret" in request.query for request in asked)
