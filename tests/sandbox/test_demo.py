from __future__ import annotations

import io
import json
import os
import re
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rotator.sandbox.demo import run_demo
from rotator.sandbox.demo_score import KILLS
from rotator.sandbox.demo_show import WIDTH
from rotator.sandbox.demo_story import INCIDENT
from rotator.sandbox.state import value_observers
from rotator.telemetry.audit_verify import verify
from tests import leaks

BOGUS = {
    "AWS_PROFILE": "no-such-profile",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_CONFIG_FILE": "/no/such/file",
    "AWS_REGION": "nowhere-1",
    "AWS_ACCESS_KEY_ID": "somebody-else",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
}


@dataclass
class Told:
    """One whole demo: what it returned, what it said, and the environment that it left behind."""

    code: int
    screen: str
    document: dict[str, Any]
    audit: Path
    secrets: list[str]
    environment_kept: bool

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.audit.read_text().splitlines()]

    @property
    def score(self) -> dict[str, Any]:
        found: dict[str, Any] = self.document["score"]
        return found

    def runs(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for line in self.lines:
            found.setdefault(line["run_id"], []).append(line)
        return found


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """The demo, run once, where the user's own AWS settings lead nowhere and there is no home."""
    secrets: list[str] = []
    screen, out = io.StringIO(), io.StringIO()
    audit = tmp_path_factory.mktemp("demo") / "audit.jsonl"
    value_observers.append(secrets.append)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in BOGUS.items():
            patch.setenv(name, value)
        patch.delenv("HOME", raising=False)
        before = dict(os.environ)
        with redirect_stdout(out):
            code = run_demo(Console(file=screen, width=WIDTH), json_out=True, audit_file=audit)
        kept = dict(os.environ) == before
    value_observers.remove(secrets.append)
    return Told(code, screen.getvalue(), json.loads(out.getvalue()), audit, secrets, kept)


class TestTheScore:
    def test_every_promise_is_kept(self, told: Told) -> None:
        assert told.code == 0
        assert told.document["ok"] is True
        broken = ("refused", "early_revocations", "orphans", "creates_over_limit", "values_leaked", "failed_actions")
        assert {name: told.score[name] for name in broken} == dict.fromkeys(broken, 0)

    def test_consumers_called_after_every_sweep_and_every_call_is_accounted_for(self, told: Told) -> None:
        score = told.score
        assert score["days"] == 120
        assert score["sweeps"] > 120
        assert score["calls"] >= 8 * score["sweeps"]
        answered = score["accepted"] + score["refused"] + score["refused_in_emergency"]
        assert score["calls"] == answered + score["unanswered"]

    def test_only_the_outage_left_calls_unanswered(self, told: Told) -> None:
        assert told.score["unanswered"] == 8

    def test_the_emergency_hurt_the_one_consumer_that_cached(self, told: Told) -> None:
        assert told.score["refused_in_emergency"] == 1

    def test_every_key_was_replaced_and_old_ones_were_revoked(self, told: Told) -> None:
        assert told.score["adoptions"] == 3
        assert told.score["rotations"] >= 15
        assert told.score["revocations"] >= 15
        assert {secret["state"] for secret in told.document["secrets"]} <= {"ok", "retiring"}
        assert len(told.document["secrets"]) == 8


class TestTheAuditFile:
    def test_it_verifies(self, told: Told) -> None:
        report = verify(told.audit)
        assert report.ok
        assert report.audit_lines == told.document["audit"]["lines"] == len(told.lines)
        assert told.document["audit"]["verified"] is True

    def test_sweeps_were_really_killed_and_each_was_recovered(self, told: Told) -> None:
        runs = told.runs()
        killed = [lines for lines in runs.values() if lines[-1]["event"] in ("secret.staged", "secret.promoted")]
        assert [lines[-1]["event"] for lines in killed] == ["secret.staged", "secret.promoted", "secret.staged"]
        assert {lines[-1]["error"] for lines in killed} == {"interrupted"}
        assert len(killed) == told.score["kills"] == told.score["recoveries"] == KILLS
        order = list(runs)
        for lines in killed:
            after = runs[order[order.index(lines[0]["run_id"]) + 1]]
            promoted = [(line["secret"], line["outcome"]) for line in after if line["event"] == "secret.promoted"]
            assert promoted == [(lines[-1]["secret"], "attempt"), (lines[-1]["secret"], "success")]

    def test_what_was_made_is_used_where_its_value_can_be_had(self, told: Told) -> None:
        made = [(line["secret"], line["key_id"]) for line in told.lines if line["event"] == "key.created"]
        promoted = {line["key_id"] for line in told.lines if line["event"] == "secret.promoted"}
        orphans = {line["key_id"] for line in told.lines if line["event"] == "key.orphan_found"}
        keys = {key_id for _, key_id in made if key_id is not None}
        assert len(orphans) == 1
        assert keys - orphans <= promoted
        assert not orphans & promoted

    def test_a_create_without_an_answer_is_found_and_not_repeated(self, told: Told) -> None:
        found = [line for line in told.lines if line.get("detail") == "found by its name"]
        assert [line["secret"] for line in found] == ["prod/marketing"]
        creates = [
            line["outcome"]
            for line in told.runs()[found[0]["run_id"]]
            if line["event"] == "key.created" and line["secret"] == "prod/marketing"
        ]
        assert creates == ["attempt", "failure", "success"]

    def test_the_throttled_day_cost_one_try_a_sweep(self, told: Told) -> None:
        throttled = [line for line in told.lines if "ProviderThrottled" in (line["error"] or "")]
        assert [line["event"] for line in throttled] == ["key.created", "key.created"]
        assert {line["timestamp"][:10] for line in throttled} == {"2027-01-02"}

    def test_the_emergency_is_on_record(self, told: Told) -> None:
        lines = [line for line in told.lines if line["incident"] == INCIDENT]
        assert {line["trigger"] for line in lines} == {"emergency"}
        assert [line["outcome"] for line in lines if line["event"] == "emergency.completed"] == ["success"]

    def test_it_holds_no_secret_and_neither_does_the_screen(self, told: Told) -> None:
        assert len(told.secrets) > 20
        for text in (told.audit.read_text(), told.screen, json.dumps(told.document)):
            leaks.check(text, "the demo")
            assert not [secret for secret in told.secrets if secret in text]


class TestTheScreen:
    def test_it_is_plain_where_it_is_no_terminal_and_fits_80_columns(self, told: Told) -> None:
        assert "\x1b" not in told.screen
        assert "\r" not in told.screen
        path = str(told.audit)
        assert [line for line in told.screen.splitlines() if len(line) > WIDTH and path not in line] == []

    @pytest.mark.parametrize(
        "line",
        [
            r"day 0 +22 Nov  first key  prod/new +key \w{4}…\w{4} for an empty secret",
            r"day 0 +22 Nov  adopted    prod/voice/alerts +key \w{4}…\w{4}, found by its value",
            r"day 0 +22 Nov  skipped +prod/marketing +hold: \"audit freeze until 1 Dec\"",
            r"day 21 +13 Dec  KILLED     prod/billing/sms ",
            r"day 21 +13 Dec  recovered  prod/billing/sms ",
            r"day 41 +02 Jan  throttled  Infobip ",
            r"day 41 +02 Jan  deferred   prod/email/news ",
            r"day 41 +02 Jan  deferred   prod/voice/alerts ",
            r"day 42 +03 Jan  rotated    prod/email/news ",
            r"day 61 +22 Jan  not swept  main ",
            r"day 69 +30 Jan  lost       prod/marketing ",
            r"day 75 +05 Feb  operator   prod/whatsapp/bot +stores key \w{4}…\w{4} by hand",
            r"day 83 +13 Feb  revoked    prod/email/news +key \w{4}…\w{4}, an orphan",
            r"day 100 +02 Mar  revoked    prod/sms/otp +key \w{4}…\w{4}  verified: 401",
            r"day 100 +02 Mar  refused    prod/sms/otp +1 call ",
        ],
    )
    def test_it_tells_the_story(self, told: Told, line: str) -> None:
        assert re.search(f"^{line}", told.screen, re.MULTILINE)

    def test_it_ends_with_where_the_audit_file_is_and_what_to_do_next(self, told: Told) -> None:
        end = told.screen[told.screen.index("The score") :]
        assert f"rotator audit verify {told.audit}" in end
        assert "rotator sandbox" in end
        assert "README.md" in end


def test_the_users_environment_is_as_it_was(told: Told) -> None:
    assert told.environment_kept
