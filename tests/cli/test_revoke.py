"""``rotator revoke``: one emergency, a leaked value, or a scanner's report; shown first, and done with ``--yes``."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rotator.cli import leaked
from rotator.leaks import LeakReport
from rotator.sandbox.aws import consumer_value
from rotator.sandbox.launcher import UNMANAGED_KEY
from rotator.sandbox.state import SimKey
from tests import leaks
from tests.cli.local_stack import Stack
from tests.support.commands import Ran
from tests.support.revocations import replaced, revoked

OTP = "prod/sms/otp"
REASON = ("--reason", "leak")
BY_SECRET = ("revoke", "--secret", OTP, *REASON)
BY_VALUE = ("revoke", "--leaked-key-stdin", *REASON)
FOREIGN = leaks.register("0123456789abcdef0123456789abcdef-11111111-2222-3333-4444-555555555555")
OTHER_SECRET = leaks.register("AKIA-not-an-infobip-key-at-all")


def words(ran: Ran) -> str:
    return " ".join(ran.out.split())


# ---- the JSON: the same for a dry run, the execution, several keys and the handler -----------------------------------

SHAPE = {
    "": ["dry_run", "errors", "incident", "keys", "notes", "replacements", "run_id", "strategy"],
    "keys": [
        *["account", "detail", "error", "key_id", "outcome", "revoke_at", "role", "seconds", "secret", "verified"],
        "version_id",
    ],
    "replacements": ["account", "detail", "error", "key_id", "outcome", "seconds", "secret"],
}


def shape(document: dict[str, Any]) -> dict[str, list[str]]:
    nested = {name: sorted({field for each in document[name] for field in each}) for name in ("keys", "replacements")}
    return {"": sorted(document), **nested}


@pytest.mark.parametrize("strategy", ["replace-first", "revoke-first", "revoke-only"])
def test_dry_run_json_is_like_execution(stack: Stack, strategy: str) -> None:
    key = stack.seed()[OTP]
    asked = (*BY_SECRET, "--json", "--incident", "INC-1", "--strategy", strategy)
    before = stack.state()
    dry = stack.run(*asked, "--dry-run").document
    shown = stack.run(*asked).document
    assert {**shown, "run_id": dry["run_id"], "keys": dry["keys"]} == {**dry, "replacements": shown["replacements"]}
    assert stack.state() == before
    ran = stack.run(*asked, "--yes")
    done, audit = ran.document, [line for line in ran.lines if "seq" in line]
    assert {(line["trigger"], line["run_id"], line["incident"]) for line in audit} == {
        ("emergency", done["run_id"], "INC-1")
    }
    assert not stack.infobip.authenticates(key.value)
    for document, outcomes, verified in ((dry, ("planned", "planned"), None), (done, ("done", "done"), True)):
        assert (document["strategy"], document["incident"], document["errors"]) == (strategy, "INC-1", [])
        (one,) = document["keys"]
        assert (one["account"], one["secret"], one["key_id"], one["role"]) == ("main", OTP, key.id, "current")
        assert (one["outcome"], one["verified"], one["error"]) == (outcomes[0], verified, None)
        made = [(each["secret"], each["outcome"], each["error"]) for each in document["replacements"]]
        assert made == ([] if strategy == "revoke-only" else [(OTP, outcomes[1], None)])
        assert shape(document) == SHAPE | ({"replacements": []} if strategy == "revoke-only" else {})
    assert (dry["dry_run"], done["dry_run"]) == (True, False)
    if strategy != "revoke-only":
        current = json.loads(consumer_value(stack.client, OTP))["key_id"]
        assert [each["key_id"] for each in done["replacements"]] == [current]
        assert [each["key_id"] for each in dry["replacements"]] == [None]
        assert stack.infobip.authenticates(json.loads(consumer_value(stack.client, OTP))["api_key"])


# ---- one emergency --------------------------------------------------------------------------------------------------


def test_without_yes_nothing_happens(stack: Stack) -> None:
    otp = stack.seed()[OTP].id
    before = stack.state()
    ran, dry = stack.run(*BY_SECRET), stack.run(*BY_SECRET, "--dry-run")
    assert (ran.code, dry.code, stack.run(*BY_SECRET, "--dry-run", "--yes").code) == (2, 0, 2)
    assert all(len(line) <= 80 for line in ran.out.splitlines())
    assert f"key {otp[:4]}…{otp[-4:]}  current, " in ran.out
    assert "(replace-first)" in ran.out
    assert "--yes" in ran.out.splitlines()[-1]
    assert dry.out.splitlines()[:-1] == ran.out.splitlines()[:-1]
    assert stack.state() == before


def test_one_key_without_replacement(stack: Stack) -> None:
    key = stack.seed()[OTP]
    misconfigure(stack)  # which does not matter: no key is made
    asked = ("revoke", "--key-id", key.id, "--account", "main", "--reason", "x", "--strategy", "revoke-only")
    assert "(revoke-only)" in words(stack.run(*asked))
    ran = stack.run(*asked, "--yes")
    assert (ran.code, stack.infobip.authenticates(key.value)) == (0, False)
    assert "created" not in ran.out


def test_leaked_value_on_stdin_is_not_shown(stack: Stack) -> None:
    keys = stack.seed()
    leaked = keys["prod/billing/sms"]
    ran = stack.run("revoke", "--leaked-key-stdin", "--reason", "leak", "--yes", stdin=f"  {leaked.value}\n")
    assert ran.code == 0
    assert not stack.infobip.authenticates(leaked.value)
    assert f"revoked   key {leaked.id[:4]}…{leaked.id[-4:]}" in ran.out


def test_named_key_in_no_secret_is_revoked(stack: Stack) -> None:
    stack.seed()
    key = next(key for key in stack.infobip.keys() if key.name == UNMANAGED_KEY)
    asked = ("revoke", "--key-id", key.id, "--account", "main", "--reason", "x")
    assert f'"{UNMANAGED_KEY}"' in words(stack.run(*asked))
    (shown,) = stack.run(*asked, "--json").document["keys"]
    assert (shown["role"], shown["secret"]) == ("unmanaged", None)
    assert (stack.run(*asked, "--yes").code, stack.infobip.authenticates(key.value)) == (0, False)


def test_signal_says_what_to_repeat(stack: Stack) -> None:
    """Threat: an emergency that is interrupted. It reports what was done, what was not, and the command to repeat."""
    key = stack.seed()[OTP]
    stack.infobip.observers.append(
        lambda request, _answer: os.kill(os.getpid(), signal.SIGTERM) if request.method == "PUT" else None
    )
    asked = ("--region", "eu-central-1", *BY_SECRET, "--incident", "INC-1", "--yes", "--json")
    ran = stack.run(*asked)
    assert ran.code == 128 + signal.SIGTERM
    assert replaced(ran.document) == [OTP]
    assert revoked(ran.document) == []
    assert key.id in ran.document["errors"][-1]
    assert "created prod/sms/otp, promoted prod/sms/otp" in ran.err
    assert f"NOT revoked, possibly still valid: {key.id}" in ran.err
    assert f"`rotator {shlex.join(asked)}`" in ran.err


# ---- what can't be replaced, and an incident that is named again -----------------------------------------------------


def misconfigure(stack: Stack) -> None:
    stack.client.tag_resource(SecretId=OTP, Tags=[{"Key": "rotator:grace", "Value": "soon"}])


@pytest.mark.parametrize("strategy", ["replace-first", "revoke-first"])
def test_unreplaceable_is_shown_first(stack: Stack, strategy: str) -> None:
    key = stack.seed()[OTP]
    misconfigure(stack)
    before = stack.state()
    asked = (*BY_SECRET, "--strategy", strategy)
    ran = stack.run(*asked)
    assert ran.code == 2
    assert all(len(line) <= 80 for line in ran.out.splitlines())
    assert f"{OTP}: rotator:grace" in words(ran)
    assert f"({strategy})" not in words(ran), "no new key is promised"
    document = stack.run(*asked, "--json").document
    (error,) = document["errors"]
    assert f"{OTP}: rotator:grace" in error
    assert (document["dry_run"], replaced(document, "planned")) == (True, [])
    dry = stack.run(*asked, "--dry-run")
    assert (dry.code, f"{OTP}: rotator:grace" in words(dry)) == (0, True)
    assert stack.state() == before
    done = stack.run(*asked, "--yes", "--json")
    assert (done.code, stack.infobip.authenticates(key.value)) == (1, False)
    assert revoked(done.document) == [key.id]
    for each, outcome in ((document, "failed"), (done.document, "failed")):
        (failed,) = each["replacements"]
        assert (failed["secret"], failed["outcome"], failed["key_id"]) == (OTP, outcome, None)
        assert "rotator:grace" in failed["error"]
        assert each["errors"] == [failed["error"]]


def revoke(stack: Stack, *arguments: str, incident: str = "INC-1", stdin: str | None = None) -> Ran:
    return stack.run(*arguments, "--incident", incident, "--yes", stdin=stdin)


def test_incident_is_retry_for_24_hours(stack: Stack) -> None:
    stack.seed()
    assert revoke(stack, *BY_SECRET).code == 0
    again = revoke(stack, *BY_SECRET)
    assert (again.code, "INC-1" in words(again)) == (0, True)
    stack.clock.advance(timedelta(hours=24, minutes=1))
    before = stack.state()
    asked = BY_SECRET
    for ran in (revoke(stack, *asked), stack.run(*asked, "--incident", "INC-1"), revoke(stack, *asked, "--json")):
        assert ran.code == 1
        assert all(part in ran.err for part in ("INC-1", "24 hours"))
        denied = [line for line in ran.lines if line.get("outcome") == "denied"]
        assert [(line["event"], line["secret"]) for line in denied] == [("emergency.completed", OTP)]
    assert stack.state() == before
    assert revoke(stack, *asked, incident="INC-2").code == 0
    assert stack.state() != before


# ---- a scanner's report, a text --------------------------------------------------------------------------------------


def line(secret: str, file: str = "src/app.py", number: int = 1) -> str:
    """One line of trufflehog's."""
    place = {"Data": {"Filesystem": {"file": file, "line": number}}}
    return json.dumps({"SourceMetadata": place, "DetectorName": "CustomRegex", "Raw": secret})


def report(*keys: SimKey | str) -> str:
    values = [str(key.value) if isinstance(key, SimKey) else key for key in keys]
    return "\n".join(line(value, number=number) for number, value in enumerate(values, 1)) + "\n"


def outcomes(ran: Ran) -> list[str]:
    return [leak["outcome"] for leak in ran.document["leaks"]]


def from_stdin(stack: Stack, text: str, *more: str) -> Ran:
    return stack.run(*BY_VALUE, *more, stdin=text)


def test_shown_first_and_done_with_yes(stack: Stack) -> None:
    keys = stack.seed()
    otp, billing = keys["prod/sms/otp"], keys["prod/billing/sms"]
    text = report(otp, OTHER_SECRET, FOREIGN, billing, otp)
    before = stack.state()
    shown = from_stdin(stack, text)
    assert shown.code == 1, "no account knows one of them"
    assert all(len(each) <= 80 for each in shown.out.splitlines())
    words = " ".join(shown.out.split())
    assert words.startswith("5 findings, 3 values ")
    assert f"src/app.py:1 (and 1 more): key {otp.id[:4]}…{otp.id[-4:]}" in words
    assert "src/app.py:3: " in words
    assert outcomes(from_stdin(stack, text, "--json")) == ["planned", "not-ours", "planned"]
    assert from_stdin(stack, text, "--dry-run").code == 1
    assert stack.state() == before
    done = from_stdin(stack, text, "--yes", "--incident", "INC-1")
    assert done.code == 1
    assert all(len(each) <= 80 for each in done.out.splitlines())
    assert not stack.infobip.authenticates(otp.value)
    assert not stack.infobip.authenticates(billing.value)
    after = stack.state()
    again = from_stdin(stack, text, "--yes", "--incident", "INC-1", "--json")
    assert (again.code, outcomes(again)) == (1, ["disabled-already", "not-ours", "disabled-already"])
    assert stack.state() == after


@pytest.mark.parametrize("yes", [False, True])
def test_settings_file_as_json(stack: Stack, yes: bool) -> None:
    keys = stack.seed()
    two = [keys[OTP], keys["prod/billing/sms"]]
    text = f"DB_PASSWORD={OTHER_SECRET}\nSMS={two[0].value}\n\nOTHER={FOREIGN}\nBILLING='{two[1].value}'\n"
    ran = from_stdin(stack, text, "--json", "--yes" if yes else "--dry-run")
    document, done = ran.document, "done" if yes else "planned"
    assert (ran.code, document["findings"], document["dry_run"]) == (1, None, not yes)
    (unplaced,) = document["errors"]
    assert unplaced.startswith("line 4: ")
    assert revoked(document, done) == [key.id for key in two]
    assert set(replaced(document, done)) == {OTP, "prod/billing/sms"}
    own = {"findings", "without_infobip_key", "unusable", "leaks"}
    assert shape({name: found for name, found in document.items() if name not in own}) == SHAPE
    first, second, third = document["leaks"]
    outcome = "revoked" if yes else "planned"
    for leak, key, secret in ((first, two[0], OTP), (third, two[1], "prod/billing/sms")):
        assert (leak["outcome"], leak["account"], leak["secret"]) == (outcome, "main", secret)
        assert leak["key_id"] == key.id
        assert stack.infobip.authenticates(key.value) is not yes
    assert (second["outcome"], second["key_id"]) == ("not-ours", None)
    assert first["places"] == [
        {"position": 2, "file": None, "line": 2, "commit": None, "fingerprint": None, "url": None}
    ]
    ended = [line["trigger"] for line in ran.lines if line.get("event") == "emergency.completed"]
    assert ended.count("emergency") == (3 if yes else 1)


def test_key_in_header_is_its_value(stack: Stack) -> None:
    key = stack.seed()[OTP]
    ran = from_stdin(stack, f"curl -H 'Authorization: App {key.value}' …\n", "--yes", "--json")
    assert (ran.code, revoked(ran.document)) == (0, [key.id])
    assert not stack.infobip.authenticates(key.value)


def test_revoked_key_of_broken_secret(stack: Stack) -> None:
    key = stack.seed()[OTP]
    misconfigure(stack)
    ran = from_stdin(stack, str(key.value), "--yes", "--json")
    assert (ran.code, outcomes(ran), revoked(ran.document)) == (1, ["revoked"], [key.id])
    (unreplaced,) = ran.document["replacements"]
    assert (unreplaced["secret"], unreplaced["outcome"]) == (OTP, "failed")
    assert OTP in ran.document["leaks"][0]["detail"]


@pytest.mark.parametrize("text", ["8034", "...AF4E"])
def test_part_of_key_id_advises_no_key(stack: Stack, text: str) -> None:
    stack.seed()
    ran = stack.run("revoke", "--key-id", text, "--account", "main", *REASON, "--json")
    assert ran.code == 1
    assert re.search(r"\.\.\.(?!\w)", ran.document["errors"][-1])


def test_hostile_places_show_no_value(stack: Stack) -> None:
    keys = stack.seed()
    otp = keys["prod/sms/otp"]
    text = "\n".join(
        [
            line(str(otp.value), file=f"src/{otp.value}.py\x1b[2J\u202e<b>"),
            line(FOREIGN, file=f"{FOREIGN}-{OTHER_SECRET}"),
            line(OTHER_SECRET),
        ]
    )
    parts = {part for value in (str(otp.value), FOREIGN) for part in (value[:4], value[-4:], value[33:37])}
    for more in ((), ("--json",), ("--yes",)):  # the stack searches whatever is said for registered values
        ran = from_stdin(stack, text, *more)
        named = [place for place in ran.out.split() if "<redacted>" in place]
        assert named
        assert not [place for place in named for part in parts if part in place]
        assert "\x1b" not in ran.out
        assert "\u202e" not in ran.out


def test_report_without_any_infobip_key(stack: Stack) -> None:
    stack.seed()
    asked = len(stack.infobip.calls)
    ran = from_stdin(stack, report(OTHER_SECRET), "--yes", "--json")
    assert (ran.code, ran.document["findings"], ran.document["leaks"]) == (0, 1, [])
    assert len(stack.infobip.calls) == asked


def test_what_powershell_writes(stack: Stack, tmp_path: Path) -> None:
    keys = stack.seed()
    file = tmp_path / "report.json"
    file.write_bytes(report(keys["prod/sms/otp"]).encode("utf-16"))
    arguments = ["revoke", "--leaked-key-stdin", "--reason", "x", "--dry-run", "--json"]
    with file.open("rb") as stdin:
        ran = subprocess.run(
            [sys.executable, "-m", "rotator", *arguments],
            env=stack.environment,
            stdin=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
    found = json.loads(ran.stdout)
    assert (ran.returncode, revoked(found, "planned")) == (0, [keys["prod/sms/otp"].id])


@pytest.mark.parametrize("text", ['"{}"', "'{}'", "{},", '"{}",\n', "`{}`", " '{}'; "])
def test_value_quoted_in_code_is_found(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value = leaks.register("-".join(("0123456789abcdef" * 2, "89abcdef", "0123", "4567", "89ab", "0123456789ab")))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.format(value).encode())))
    found = leaked._stdin()
    assert isinstance(found, LeakReport)
    assert [leak.value.reveal() for leak in found.leaks] == [value]


def scanned(secret: str, match: str = "") -> dict[str, Any]:
    """One item of ``gitleaks -f json``."""
    return {"RuleID": "infobip", "StartLine": 3, "File": "src/app.py", "Secret": secret, "Match": match or secret}


def test_redacted_report_names_each_finding(stack: Stack) -> None:
    stack.seed()
    before, asked = stack.state(), len(stack.infobip.calls)
    text = json.dumps([scanned("REDACTED"), scanned("hunter2"), {**scanned(""), "File": "b.py"}])
    for more in ((), ("--dry-run",), ("--yes",)):
        ran = from_stdin(stack, text, *more)
        assert ran.code == 1
        assert re.search(r"2 \w+ 3 findings ", words(ran))
        assert "src/app.py:3 b.py:3 " in words(ran)
        document = from_stdin(stack, text, *more, "--json").document
        assert [(place["file"], place["line"]) for place in document["unusable"]] == [("src/app.py", 3), ("b.py", 3)]
        assert (document["findings"], document["without_infobip_key"], document["leaks"]) == (3, 1, [])
        assert "src/app.py:3, b.py:3" in document["errors"][0]
    assert (stack.state(), len(stack.infobip.calls)) == (before, asked)


def test_upper_case_key_is_looked_up_twice(stack: Stack) -> None:
    otp = stack.seed()[OTP]
    upper = leaks.register(str(otp.value).upper())
    assert upper != otp.value
    text = report(upper, FOREIGN.upper())
    for each, code in ((upper, 2), (text, 1)):
        ran = from_stdin(stack, each, "--json")
        assert (ran.code, outcomes(ran)[0]) == (code, "planned")
    ran = from_stdin(stack, text, "--yes", "--json")
    assert [(leak["outcome"], leak["key_id"]) for leak in ran.document["leaks"]] == [
        ("revoked", otp.id),
        ("not-ours", None),
    ]
    assert not stack.infobip.authenticates(otp.value)


def test_what_report_leaves_out_fails(stack: Stack) -> None:
    """The rest is revoked, whoever made it."""
    otp = stack.seed()[OTP]
    by_hand = next(key for key in stack.infobip.keys() if key.name == UNMANAGED_KEY)
    text = json.dumps([scanned("REDACTED"), scanned(str(by_hand.value)), scanned(str(otp.value))])
    assert from_stdin(stack, text).code == 1
    ran = from_stdin(stack, text, "--yes", "--json")
    assert (ran.code, revoked(ran.document)) == (1, [by_hand.id, otp.id])
    assert [error for error in ran.document["errors"] if re.match(r"1 \w+ 3 findings ", error)]
    assert [place["line"] for place in ran.document["unusable"]] == [3]
    assert not stack.infobip.authenticates(otp.value)
    assert not stack.infobip.authenticates(by_hand.value)


# ---- what can't be identified ---------------------------------------------------------------------------------------

UNKNOWN = {
    "secret": ("--secret", "prod/none"),
    "key": ("--key-id", "0" * 32, "--account", "main"),
    "leaked value": ("--leaked-key-stdin",),
}


@pytest.mark.parametrize("target", UNKNOWN)
@pytest.mark.parametrize("yes", [False, True])
def test_refusal_is_same_document(stack: Stack, target: str, yes: bool) -> None:
    stack.seed()
    before = stack.state()
    more = ["--yes"] if yes else []
    ran = stack.run("revoke", *UNKNOWN[target], *REASON, "--json", *more, stdin=FOREIGN)
    assert (ran.code, stack.state()) == (1, before)
    document = ran.document
    assert {name: document[name] for name in ("keys", "replacements", "dry_run")} == {
        "keys": [],
        "replacements": [],
        "dry_run": not yes,
    }
    assert set(SHAPE[""]) <= set(document)
    assert len(document["errors"]) == 1
    assert stack.run("revoke", *UNKNOWN[target], *REASON, *more, stdin=FOREIGN).code == 1


@pytest.mark.parametrize("form", ["{0:.40}", "{0:.20}...{1}", "{0:.8}****{1}"], ids=["cut", "shortened", "masked"])
def test_part_of_value_is_not_looked_up(stack: Stack, form: str) -> None:
    otp = str(stack.seed()[OTP].value)
    asked = len(stack.infobip.calls)
    ran = from_stdin(stack, form.format(otp, otp[-4:]), "--yes")
    assert (ran.code, len(stack.infobip.calls)) == (2, asked)
    assert "--key-id" in ran.sentence


def test_wrong_region_searched_nothing(stack: Stack) -> None:
    """Threat: the wrong region, taken for an answer. No account was asked, and the command says so."""
    keys = stack.seed()
    ran = stack.run(*BY_VALUE, "--yes", "--json", stdin=keys["prod/sms/otp"].value, env={"AWS_REGION": "us-east-1"})
    assert ran.code == 1
    assert [leak["outcome"] for leak in ran.document["leaks"]] == ["failed"]
    assert "--region" in ran.document["errors"][0]
