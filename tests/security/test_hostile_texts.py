"""Names, tags, labels and key names made to act upon a terminal, a page, a spreadsheet or a log: nothing of it acts."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from rotator.cli import main
from tests import leaks
from tests.cli.local_stack import Stack

HOSTILE: Final = (
    "\x1b[2J\x1b]0;owned\x07 a\x9b31m\u202egnp\u2028c\x7f",
    "<script>alert(1)</script>",
    "=HYPERLINK()",
    "[bold red]x[/bold red]",
    "{0}%s%n",
    'forged\n{"event": "key.revoked"}',
    "x" * 200,
)
"""Escapes for terminals, in seven bits and in eight, and text that runs backwards; HTML, a formula, a second line."""
# Whatever a terminal acts upon: control characters but the line's end, and what is invisible or turns text around.
ACTING: Final = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ud800-\udfff]"
)


def arrange(stack: Stack) -> None:
    """A fleet in which everything that a stranger may write is hostile, as server as the emulated AWS takes it."""
    account = stack.account("main")
    now = datetime.now(UTC)
    stack.secret("app/fine", account)
    for number, text in enumerate(HOSTILE):
        for tag in ("grace", "hold", f"unknown{number}"):
            stack.secret(f"app/{tag}-{number}", account)
            stack.tag(f"app/{tag}-{number}", **{tag: text})
        stack.secret(f"{text}-{number}", account)
        tags = [{"Key": "rotator:role", "Value": "key"}, {"Key": "rotator:account", "Value": text}]
        stack.client.create_secret(Name=f"app/account-{number}", SecretString="{}", Tags=tags)
        stack.client.create_secret(Name=f"app/role-{number}", Tags=[{"Key": "rotator:role", "Value": text}])
        for name in (text, f"app/fine/rotator:default:{'a' * 36}{text}"):
            stack.infobip.add_key(account, name, valid_from=now - timedelta(days=99), valid_to=now + timedelta(days=3))


@pytest.fixture
def _world(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    arrange(stack)
    for name, text in stack.environment.items():
        monkeypatch.setenv(name, text)


@pytest.mark.usefixtures("_world")
def test_terminal_controls_are_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Threat: terminal escapes, right-to-left text, second lines, markup and formulas in tags and names. People see
    visible escapes.
    """
    commands: list[list[str]] = [[name, *more] for name in ("plan", "status", "doctor") for more in ([], ["--json"])]
    commands += [["plan", "--log-format", "console", "--verbose", "--log-level", "debug"]]
    text = HOSTILE[0]
    secret = f"{text}-0"
    commands += [
        ["adopt", secret],
        ["plan", "--account", text],
        ["status", "--secret", secret, "--json"],
        ["rotate", secret, "--reason", text],
        ["revoke", "--secret", secret, "--reason", text, "--incident", text],
        ["revoke", "--key-id", text, "--account", text, "--reason", "r", "--json"],
        ["audit", "verify", text],
    ]
    commands += [["run"], ["run", "--json", "--log-format", "console", "--verbose"]]
    for command in commands:
        code = main(command)
        out, err = capsys.readouterr()
        leaks.check(out + err, "the output")
        assert code in (0, 1, 2), command
        assert "bug in rotator" not in out + err, command
        for where, output in (("stdout", out), ("stderr", err)):
            found = ACTING.search(output)
            assert not found, f"{command!r} {where}: {output[max(0, found.start() - 60) : found.end() + 20]!a}"
        for line in err.splitlines():  # no text made a line of its own
            if line.startswith("{"):
                assert json.loads(line).get("run_id") or json.loads(line).get("log")
        if "--json" in command:
            json.loads(out)


@pytest.mark.usefixtures("_world")
def test_json_keeps_exact_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Threat: hostile names in JSON output. They are escaped, and parse to the exact name. Escaped is not lost: a
    program that reads the document gets the very name.
    """
    main(["status", "--json"])
    names = {each["secret"] for each in json.loads(capsys.readouterr().out)["secrets"]}
    assert {f"{text}-{number}" for number, text in enumerate(HOSTILE)} <= names


def test_argument_without_utf8(
    stack: Stack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threat: an argument that is not UTF-8, in an emergency. It is handled like any other. Python hands such bytes
    over as half characters, which break whatever encodes them, once it is too late.
    """
    for name, text in stack.environment.items():
        monkeypatch.setenv(name, text)
    account = stack.account("main")
    key = stack.secret("app/key", account)
    odd = b"INC-\xff".decode(errors="surrogateescape")
    emergency = ["revoke", "--secret", "app/key", "--reason", odd, "--incident", odd, "--yes"]
    assert main(emergency) == 0
    assert not stack.infobip.authenticates(key.value)
    value = stack.client.get_secret_value(SecretId="app/key", VersionStage="AWSCURRENT")["SecretString"]
    new = leaks.register(json.loads(value)["api_key"])
    assert stack.infobip.authenticates(new)
    assert main(emergency) == 0  # the incident is known again, so that no second key is made
    assert stack.infobip.authenticates(new)
    for command in (["plan", "--account", odd], ["rotate", odd, "--reason", "r"], ["audit", "verify", odd]):
        assert main(command) in (1, 2)
    out, err = capsys.readouterr()
    assert "bug in rotator" not in out + err
