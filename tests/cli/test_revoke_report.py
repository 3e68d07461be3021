"""``revoke --leaked-key-stdin`` with a scanner's report, as its users run it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from rotator.cli import leaked
from rotator.sandbox.state import SimKey
from rotator.secret import Secret
from tests import leaks
from tests.cli.local_stack import Ran, Stack

FOREIGN = leaks.register("0123456789abcdef0123456789abcdef-11111111-2222-3333-4444-555555555555")
OTHER_SECRET = leaks.register("AKIA-not-an-infobip-key-at-all")


def line(secret: str, file: str = "src/app.py", number: int = 1) -> str:
    """One line of trufflehog's."""
    place = {"Data": {"Filesystem": {"file": file, "line": number}}}
    return json.dumps({"SourceMetadata": place, "DetectorName": "CustomRegex", "Raw": secret})


def report(*keys: SimKey | str) -> str:
    values = [str(key.value) if isinstance(key, SimKey) else key for key in keys]
    return "\n".join(line(value, number=number) for number, value in enumerate(values, 1)) + "\n"


def revoke(stack: Stack, text: str, *more: str) -> Ran:
    return stack.run("revoke", "--leaked-key-stdin", "--reason", "found by a scanner", *more, stdin=text)


def test_shown_first_and_done_with_yes(stack: Stack) -> None:
    keys = stack.seed()
    otp, billing = keys["prod/sms/otp"], keys["prod/billing/sms"]
    text = report(otp, OTHER_SECRET, FOREIGN, billing, otp)
    before = stack.state()
    shown = revoke(stack, text)
    assert shown.code == 2
    assert all(len(each) <= 80 for each in shown.out.splitlines())
    words = " ".join(shown.out.split())
    assert "5 findings, 3 values with the shape of an Infobip key. 1 holds none" in words
    assert f"src/app.py:1 (and 1 more): key {otp.id[:4]}…{otp.id[-4:]}" in words
    assert "src/app.py:3: not of these accounts" in words
    assert "3 leaked keys: 2 would end, 1 not of these accounts" in words
    assert "Add --yes to do it" in words
    assert revoke(stack, text, "--dry-run").code == 0
    assert stack.state() == before
    done = revoke(stack, text, "--yes", "--incident", "INC-1")
    assert done.code == 0
    assert all(len(each) <= 80 for each in done.out.splitlines())
    assert "2 ended, 1 not of these accounts" in " ".join(done.out.split())
    assert not stack.world.authenticates(otp.value)
    assert not stack.world.authenticates(billing.value)
    after = stack.state()
    again = revoke(stack, text, "--yes", "--incident", "INC-1")
    assert (again.code, "2 dead already" in " ".join(again.out.split())) == (0, True)
    assert stack.state() == after


def test_as_json(stack: Stack) -> None:
    keys = stack.seed()
    ran = revoke(stack, report(keys["prod/sms/otp"], FOREIGN, OTHER_SECRET), "--yes", "--json")
    assert ran.code == 0
    document = ran.document
    assert (document["findings"], document["without_infobip_key"], document["confirmed"]) == (3, 1, True)
    first, second = document["leaks"]
    assert (first["outcome"], first["account"], first["secret"]) == ("ended", "main", "prod/sms/otp")
    assert first["key_id"] == keys["prod/sms/otp"].id
    assert first["places"] == [
        {"position": 1, "file": "src/app.py", "line": 1, "commit": None, "fingerprint": None, "url": None}
    ]
    assert (second["outcome"], second["key_id"]) == ("not-ours", None)
    (emergency,) = document["emergencies"]
    assert emergency["replaced"] == ["prod/sms/otp"]
    assert [line["trigger"] for line in ran.lines if line.get("event") == "emergency.completed"] == ["emergency"] * 2


def test_places_are_hostile_text_and_may_hold_the_value_itself(stack: Stack) -> None:
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
        ran = revoke(stack, text, *more)
        named = [place for place in ran.out.split() if "<redacted>" in place]
        assert named
        assert not [place for place in named for part in parts if part in place]
        assert "\x1b" not in ran.out
        assert "\u202e" not in ran.out


def test_a_live_key_that_nobody_manages_is_said_and_fails(stack: Stack) -> None:
    stack.seed()
    foreign = next(key for key in stack.world.keys() if key.name == "made by hand in the portal")
    ran = revoke(stack, report(foreign), "--yes")
    assert ran.code == 1
    words = " ".join(ran.out.split())
    assert "can NOT be ended" in words
    assert "portal" in words
    assert stack.world.authenticates(foreign.value)


def test_a_report_without_any_infobip_key(stack: Stack) -> None:
    stack.seed()
    asked = len(stack.world.calls)
    ran = revoke(stack, report(OTHER_SECRET), "--yes")
    assert ran.code == 0
    assert "none has the shape of an Infobip key" in " ".join(ran.out.split())
    assert len(stack.world.calls) == asked


def test_what_powershell_writes(stack: Stack, tmp_path: Path) -> None:
    keys = stack.seed()
    file = tmp_path / "report.json"
    file.write_bytes(report(keys["prod/sms/otp"]).encode("utf-16"))
    arguments = ["revoke", "--leaked-key-stdin", "--reason", "x", "--dry-run"]
    with file.open("rb") as stdin:
        ran = subprocess.run(
            [sys.executable, "-m", "rotator", *arguments],
            env=stack.environment,
            stdin=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
    assert (ran.returncode, "1 would end" in " ".join(ran.stdout.split())) == (0, True)


@pytest.mark.parametrize("text", ['"{}"', "'{}'", "{},", '"{}",\n', "`{}`", " '{}'; "])
def test_a_value_as_it_stands_in_code_is_that_value(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value = leaks.register("-".join(("0123456789abcdef" * 2, "89abcdef", "0123", "4567", "89ab", "0123456789ab")))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.format(value).encode())))
    found = leaked._stdin()
    assert isinstance(found, Secret)
    assert found.reveal() == value


def test_a_settings_file_and_a_header(stack: Stack) -> None:
    keys = stack.seed()
    otp, billing, alerts = (keys[name] for name in ("prod/sms/otp", "prod/billing/sms", "prod/voice/alerts"))
    several = f"DB_PASSWORD={OTHER_SECRET}\nSMS={otp.value}\n\nOTHER={FOREIGN}\nBILLING='{billing.value}'\n"
    done = revoke(stack, several, "--yes")
    assert done.code == 0
    words = " ".join(done.out.split())
    assert "A text with 3 values of the shape of an Infobip key." in words
    assert f"line 2: key {otp.id[:4]}…{otp.id[-4:]}" in words
    assert "line 4: not of these accounts" in words
    assert "3 leaked keys: 2 ended, 1 not of these accounts." in words
    assert not stack.world.authenticates(otp.value)
    assert not stack.world.authenticates(billing.value)
    assert stack.world.authenticates(alerts.value)
    document = revoke(stack, several, "--yes", "--json").document
    assert (document["findings"], [leak["places"][0]["line"] for leak in document["leaks"]]) == (None, [2, 4, 5])
    one = revoke(stack, f"curl -H 'Authorization: App {alerts.value}' …\n", "--yes")
    assert (one.code, "1 key is dead" in " ".join(one.out.split())) == (0, True)
    assert not stack.world.authenticates(alerts.value)


def test_alerts_as_gh_slurps_them(stack: Stack) -> None:
    otp = stack.seed()["prod/sms/otp"]
    alert = {"number": 1, "html_url": "https://github.com/acme/app/1", "secret_type": "x", "secret": str(otp.value)}
    ran = revoke(stack, json.dumps([[alert], [alert]]), "--dry-run", "--json")
    assert (ran.code, ran.document["findings"]) == (0, 2)
    assert [leak["key_id"] for leak in ran.document["leaks"]] == [otp.id]
