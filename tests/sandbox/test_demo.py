"""The demo: what it shows, what its audit file holds, and that its referee sees what is wrong."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from rotator.aws.secretsmanager import SecretsManagerStore
from rotator.cli import main
from rotator.evidence.pack import FILES, MANIFEST
from rotator.evidence.tables import HEADS
from rotator.model import Policy
from rotator.policy.labels import key_name
from rotator.sandbox import demo
from rotator.sandbox.clocks import VirtualClock
from rotator.sandbox.demo_score import CRASHES, Referee, Score
from rotator.sandbox.launcher import UNMANAGED_KEY, Sandbox
from rotator.sandbox.state import value_observers
from rotator.telemetry.audit_verify import verify
from tests import leaks
from tests.support.commands import assert_documented

BOGUS = {
    "AWS_PROFILE": "no-such-profile",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_CONFIG_FILE": "/no/such/file",
    "AWS_REGION": "nowhere-1",
    "AWS_ACCESS_KEY_ID": "another",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
}


@dataclass
class Shown:
    """One whole demo: its exit code, what it wrote, and the environment afterwards."""

    code: int
    screen: str
    short: str
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


def output(*arguments: str) -> tuple[int, str]:
    with redirect_stdout(io.StringIO()) as out:
        code = main(["demo", *arguments])
    return code, out.getvalue()


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """The demo, played once and shown three times, where the user's own AWS settings lead nowhere."""
    secrets: list[str] = []
    audit = tmp_path_factory.mktemp("demo") / "audit.jsonl"
    value_observers.append(secrets.append)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in BOGUS.items():
            patch.setenv(name, value)
        patch.delenv("HOME", raising=False)
        before = dict(os.environ)
        evidence = audit.parent / "evidence"
        evidence.mkdir()
        played = demo.play_demo(audit, evidence)
        kept = dict(os.environ) == before
        patch.setattr(demo, "play_demo", lambda *_arguments, **_settings: played)
        code, screen = output("--audit-file", str(audit))
        _, short = output("--audit-file", str(audit), "--short")
        _, document = output("--audit-file", str(audit), "--json")
        assert_documented("demo", json.loads(document))
    value_observers.remove(secrets.append)
    return Shown(code, screen, short, json.loads(document), audit, secrets, kept)


def test_every_promise_is_kept(shown: Shown) -> None:
    assert shown.code == 0
    assert shown.document["ok"] is True
    score = shown.score
    broken = ("refused", "early_revocations", "orphans", "creates_over_limit", "values_leaked", "failed_actions")
    assert {name: score[name] for name in broken} == dict.fromkeys(broken, 0)
    assert (score["days"], score["adoptions"]) == (120, 3)
    assert score["sweeps"] > 120
    assert score["calls"] >= 8 * score["sweeps"]
    answered = score["accepted"] + score["refused"] + score["refused_in_emergency"]
    assert score["calls"] == answered + score["unanswered"]
    assert score["unanswered"] == 8, "only the outage leaves calls unanswered"
    assert score["refused_in_emergency"] == 1, "only the consumer that cached the leaked key"
    assert min(score["rotations"], score["revocations"]) >= 15
    assert {secret["state"] for secret in shown.document["secrets"]} <= {"ok", "retiring"}
    assert len(shown.document["secrets"]) == 8
    assert shown.environment_kept


def test_evidence_explains_every_change(shown: Shown) -> None:
    """Twenty weeks of crashes, lost responses and an emergency: only the keys that an operator made are unexplained."""
    folder = shown.audit.parent / "evidence"
    rows = {name: list(csv.DictReader((folder / f"{name}.csv").read_text().splitlines())) for name in HEADS}
    assert sum(bool(row["created_at"]) for row in rows["rotations"]) >= shown.score["rotations"]
    assert len(rows["revocations"]) == shown.score["revocations"]
    assert [row["incident"] for row in rows["emergencies"]] == [demo.INCIDENT]
    assert {row["kind"] for row in rows["unexplained"]} == {"key-created"}
    assert all(row["detail"].endswith(("made by hand", UNMANAGED_KEY)) for row in rows["unexplained"])
    assert ("prod/marketing", "hold") in {(row["secret"], row["kind"]) for row in rows["exceptions"]}
    assert json.loads((folder / MANIFEST).read_text())["gaps"] == []
    excerpt = (Path(__file__).parents[2] / "docs" / "evidence.md").read_text().split("```")[3].split("\n\n")
    for name, part in zip(("emergencies", "exceptions", "unexplained"), excerpt, strict=True):
        whole = (folder / f"{name}.csv").read_text().splitlines()
        assert all(any(line.startswith(shown) for line in whole) for shown in part.strip().splitlines())
    assert {each.name for each in folder.iterdir()} == {*FILES, MANIFEST}


def test_audit_file_verifies(shown: Shown) -> None:
    report = verify(shown.audit)
    assert report.ok
    assert report.audit_lines == shown.document["audit"]["lines"] == len(shown.lines)
    assert shown.document["audit"]["verified"] is True
    lines = [line for line in shown.lines if line["incident"] == demo.INCIDENT]
    assert {line["trigger"] for line in lines} == {"emergency"}
    assert [line["outcome"] for line in lines if line["event"] == "emergency.completed"] == ["success"]


def test_crashed_sweeps_were_recovered(shown: Shown) -> None:
    runs = shown.runs()
    crashed = [lines for lines in runs.values() if lines[-1]["event"] in ("secret.staged", "secret.promoted")]
    assert [lines[-1]["event"] for lines in crashed] == ["secret.staged", "secret.promoted", "secret.staged"]
    assert {lines[-1]["error"] for lines in crashed} == {"interrupted"}
    assert len(crashed) == shown.score["crashes"] == shown.score["recoveries"] == CRASHES
    order = list(runs)
    for lines in crashed:
        after = runs[order[order.index(lines[0]["run_id"]) + 1]]
        promoted = [(line["secret"], line["outcome"]) for line in after if line["event"] == "secret.promoted"]
        assert promoted == [(lines[-1]["secret"], "attempt"), (lines[-1]["secret"], "success")]


def test_created_key_is_used_if_shown(shown: Shown) -> None:
    made = [(line["secret"], line["key_id"]) for line in shown.lines if line["event"] == "key.created"]
    promoted = {line["key_id"] for line in shown.lines if line["event"] == "secret.promoted"}
    orphans = {line["key_id"] for line in shown.lines if line["event"] == "key.orphan_found"}
    keys = {key_id for _, key_id in made if key_id is not None}
    assert len(orphans) == 1
    assert keys - orphans <= promoted
    assert not orphans & promoted


def test_unanswered_create_is_not_repeated(shown: Shown) -> None:
    found = [line for line in shown.lines if line.get("detail") == "found by its name"]
    assert [line["secret"] for line in found] == ["prod/marketing"]
    creates = [
        line["outcome"]
        for line in shown.runs()[found[0]["run_id"]]
        if line["event"] == "key.created" and line["secret"] == "prod/marketing"
    ]
    assert creates == ["attempt", "failure", "success"]


def test_throttled_day_costs_one_try(shown: Shown) -> None:
    throttled = [line for line in shown.lines if "ProviderThrottled" in (line["error"] or "")]
    assert [line["event"] for line in throttled] == ["key.created", "key.created"]
    assert {line["timestamp"][:10] for line in throttled} == {"2027-01-02"}


def test_screen_is_plain_and_shows_no_secret(shown: Shown) -> None:
    assert len(shown.secrets) > 20
    for text in (shown.audit.read_text(), shown.screen, json.dumps(shown.document)):
        leaks.check(text, "the demo")
        assert not [secret for secret in shown.secrets if secret in text]
    assert not {"\x1b", "\r"} & set(shown.screen)
    path = str(shown.audit.parent)
    assert [line for line in shown.screen.splitlines() if len(line) > 80 and path not in line] == []


@pytest.mark.parametrize(
    "line",
    [
        r" +day  date +event +secret +detail",
        r" +0  22 Nov  first key  prod/new +key \w{4}…\w{4} ",
        r" +0  22 Nov  adopted    prod/voice/alerts +key \w{4}…\w{4}",
        r" +0  22 Nov  skipped +prod/marketing +\"audit freeze until 1 Dec\"",
        r" +21  13 Dec  CRASHED    prod/billing/sms ",
        r" +21  13 Dec  recovered  prod/billing/sms ",
        r" +41   2 Jan  throttled  Infobip ",
        r" +41   2 Jan  deferred   prod/email/news ",
        r" +41   2 Jan  deferred   prod/voice/alerts ",
        r" +42   3 Jan  rotated    prod/email/news ",
        r" +61  22 Jan  not swept  main ",
        r" +69  30 Jan  lost       prod/marketing ",
        r" +75   5 Feb  operator   prod/whatsapp/bot +stores key \w{4}…\w{4} ",
        r" +83  13 Feb  revoked    prod/email/news +key \w{4}…\w{4}",
        r" +100   2 Mar  revoked    prod/sms/otp +key \w{4}…\w{4}  verified: 401",
        r" +100   2 Mar  refused    prod/sms/otp +1 call ",
    ],
)
def test_screen_shows_story(shown: Shown, line: str) -> None:
    assert re.search(f"^{line}", shown.screen, re.MULTILINE)


def test_score_comes_first_and_commands_last(shown: Shown) -> None:
    before = shown.screen[: shown.screen.index("Adoption")]
    assert before.startswith("120 days ")
    assert re.search(r"^ +0  calls refused", before, re.MULTILINE)
    assert shown.short.startswith(before)
    assert "day  date" not in shown.short
    for screen in (shown.screen, shown.short):
        commands = screen[screen.index("\nNext\n") :]
        for named in (f"rotator audit verify {shown.audit}", "rotator sandbox", "README.md"):
            assert named in commands


@pytest.mark.parametrize(
    ("called", "command"),
    [
        (".venv/bin/rotator", ".venv/bin/rotator"),
        (f"{Path.cwd()}/.venv/bin/rotator", ".venv/bin/rotator"),
        ("/usr/bin/rotator", "rotator"),
        ("/opt/my tools/rotator", "'/opt/my tools/rotator'"),
    ],
)
def test_commands_are_named_as_this_one_was(monkeypatch: pytest.MonkeyPatch, called: str, command: str) -> None:
    from rotator.cli.demo import called_as

    monkeypatch.setattr("sys.argv", [called])
    monkeypatch.setattr("shutil.which", lambda _name: "/usr/bin/rotator")
    assert called_as() == command


@pytest.mark.parametrize("command", ["demo", "sandbox"])
def test_without_moto_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setitem(sys.modules, "moto.moto_server", None)
    assert main([command]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "pip install '.[cli,sandbox]'" in err
    assert "Traceback" not in err


# ---- the referee: that nothing was wrong means little unless it sees what is ----------------------------------------


@dataclass
class Court:
    """A sandbox with its referee."""

    sandbox: Sandbox
    referee: Referee
    score: Score

    def put(self, key_id: str, **fields: object) -> None:
        user = self.sandbox.fleet.user
        with requests.Session() as session:
            session.trust_env = False
            url = f"{self.sandbox.infobip.url}/settings/2/api-keys/{key_id}"
            answer = session.put(url, json=fields, auth=(user.username, user.password), timeout=10)
        assert answer.status_code == 200, answer.text


@pytest.fixture
def court() -> Iterator[Court]:
    score = Score()
    with Sandbox(clock=VirtualClock(demo.START)) as sandbox:
        sandbox.client().tag_resource(SecretId="prod/legacy", Tags=[{"Key": "rotator:grace", "Value": "72h"}])
        referee = Referee(score, sandbox, SecretsManagerStore(sandbox.client()), Policy())
        referee.step()
        yield Court(sandbox, referee, score)


def test_good_until_key_fails(court: Court) -> None:
    court.referee.finish("harmless")
    score = court.score
    assert (score.calls, score.accepted) == (7, 7)
    assert (score.refused, score.early_revocations, score.orphans, score.values_leaked) == (0, 0, 0, 0)
    court.put(court.sandbox.fleet.keys["prod/billing/sms"].id, enabled=False)
    court.referee.step()
    assert score.refused == 1


@pytest.mark.parametrize(("hours", "early"), [(71, 1), (72, 0)])
def test_revocation_within_grace_is_early(court: Court, hours: int, early: int) -> None:
    client, old = court.sandbox.client(), court.sandbox.fleet.keys["prod/sms/otp"]
    key = court.sandbox.world.add_key(court.sandbox.fleet.account)
    client.put_secret_value(SecretId="prod/sms/otp", SecretString=json.dumps({"api_key": key.value}))
    court.referee.step()
    court.sandbox.clock.advance(timedelta(hours=hours))
    court.put(old.id, enabled=False)
    court.referee.finish()
    assert court.score.early_revocations == early


def test_orphans_leaks_creates_are_counted(court: Court) -> None:
    arn = court.sandbox.client().describe_secret(SecretId="prod/sms/otp")["ARN"]
    account, state = court.sandbox.fleet.account, court.sandbox.world.state
    court.sandbox.world.add_key(account, key_name("prod/sms/otp", arn, "default", "0" * 32))
    for _ in range(33):
        state.count(state.creates, account.id)
    value = court.sandbox.fleet.keys["prod/sms/otp"].value
    court.referee.finish("quite innocent", f"but {value} is not")
    assert (court.score.orphans, court.score.values_leaked, court.score.creates_over_limit) == (1, 1, 1)


GOOD = Score(calls=10, accepted=10, crashes=CRASHES, recoveries=CRASHES)


@pytest.mark.parametrize(
    ("changes", "ok"),
    [
        ({"refused_in_emergency": 1, "unanswered": 8}, True),
        *(({name: 1}, False) for name in ("refused", "early_revocations", "orphans", "creates_over_limit")),
        *(({name: 1}, False) for name in ("values_leaked", "failed_actions")),
        ({"recoveries": CRASHES - 1}, False),
        ({"crashes": 0, "recoveries": 0}, False),
        ({"calls": 0}, False),
    ],
)
def test_what_makes_score_good(changes: dict[str, int], ok: bool) -> None:
    assert GOOD.ok
    assert replace(GOOD, **changes).ok is ok
