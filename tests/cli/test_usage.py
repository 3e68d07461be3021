"""Usage errors, help, and bugs: in this process, since nothing of AWS or Infobip is reached."""

from __future__ import annotations

import io
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from rich.console import Console

from rotator.cli import main
from rotator.cli.app import COMMANDS, cli
from rotator.message import Message
from rotator.render import Grid, brief, local_text, shown, when
from tests import leaks
from tests.cli.commands import every_command
from tests.support.moments import START

KEY = "0123456789abcdef0123456789abcdef-01234567-89ab-cdef-0123-456789abcdef"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["plann"], "plan?"),
        (["plan", "--bogus"], "No such option"),
        (["plan", "extra"], "extra"),
        (["completion"], "Choose from: bash, zsh, fish"),
        (["rotate", "x"], "--reason"),
        (["rotate", "x", "--reason", " "], "--reason"),
        (["revoke", "--reason", "x"], "--leaked-key-stdin"),
        (["revoke", "--reason", "x", "--secret", "a", "--leaked-key-stdin"], "--secret --leaked-key-stdin"),
        (["revoke", "--reason", "x", "--secret", "a", "--key-id", "K", "--account", "A"], "--secret --key-id"),
        (["revoke", "--reason", "x", "--key-id", "K"], "--account A"),
        (["revoke", "--reason", "x", "--secret", "a", "--strategy", "fast"], "replace-first"),
        (["--log-level", "loud", "plan"], "loud"),
        (["--log-format", "xml", "plan"], "xml"),
        (["audit", "verify", "/no/such/file"], "/no/such/file"),
        (["sandbox", "--port", "99999"], "99999"),
        (["plan", "--profile", "nobody"], "nobody"),
        (["plan", "--audit-file", "/no/such/directory/file"], "/no/such/directory/file"),
        (["plan", "--at=soon"], "--at"),
        (["plan", "--at=+3x"], "--at"),
        (["plan", "--at=9999-12-31T23:59:59Z"], "--at"),
        (["plan", "--at=2026-13-01"], "--at"),
        (["plan", "--at=+9999999d"], "--at"),
        (["plan", "--at=-3d"], "--at"),
        (["plan", "--verbose", "--quiet"], "--verbose --quiet"),
        (["adopt"], "Missing argument 'SECRET'"),
        (["rollback", "x"], "--reason"),
        (["rollback", "x", "--reason", " "], "--reason"),
        (["forecast", "--days", "0"], "0 is not in the range"),
        (["forecast", "--days", "401"], "401 is not in the range"),
        (["forecast", "--days", "many"], "many"),
        (["report"], "--output"),
        (["report", "-o", "/"], "/ "),
        (["report", "-o", ""], "--output"),
        (["report", "-o", "x.html", "--audit", "/bin/ls"], "/bin/ls"),
        (["rotate", "", "--reason", "x"], "SECRET"),
        (["rotate", "x" * 3000, "--reason", "x"], "2048"),
        (["x" * 3000], "plan,"),
        (["report", "-o", "/no/such/place/x.html"], "/no/such/place/x.html"),
        (["report", "-o", "/dev/null"], "/dev/null"),
        (["report", "-o", "x.html", "--audit", "/no/such/file"], "/no/such/file"),
        (["report", "-o", "x.html", "--days", "0"], "not in the range"),
        (["serve", "--every", "soon"], '"soon"'),
        (["serve", "--cron", "0 0 30 2 *"], '"0 0 30 2 *"'),
        (["serve", "--metrics-port", "70000"], "70000"),
        (["serve", "--metrics-port", "0", "--metrics-address", "256.0.0.1"], "256.0.0.1"),
        (["serve", "--audit-file", "/no/such/directory/file"], "/no/such/directory/file"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_usage_error_is_exit_2(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence names the option, the value, or what to use instead."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = map(json.loads, err.splitlines())
    assert (line["level"], line["log"]) == ("error", "rotator")
    assert all(name in line["event"] for name in named.split())
    assert len(line["event"]) < 1000
    assert main([*arguments, "--json"]) == 2
    out, err = capsys.readouterr()
    shown = " ".join(filter(None, json.loads(out)["error"].values()))
    assert all(name in shown for name in named.split())
    assert not Path("x.html").exists()


def test_only_one_document_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "-o", "-", "--json"]) == 2
    assert "--json" in capsys.readouterr().err


def test_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "--metrics-port", str(taken.getsockname()[1])]) == 2
    assert "(Address already in use)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stdin", "named"),
    [
        (b"", "stdin"),
        (b"x" * 70_000, "65536"),
        (b"hunter2 is the key\n", "32 hex"),
        (b"\xff\xfe\x00" * 20, "32 hex"),
        (b"x" * 10_000_001, "10000000"),
        (b'{"secret": "hunter2-hunter2-hunter2"', "32 hex"),
        (b'{"secret": "a"}\n\n{"secret": hunter2}', "32 hex"),
        (b"[" * 20_000 + b" hunter2", "32 hex"),
        (b'[{"user": "hunter2"}]', "32 hex"),
        (b"[" + b'{"secret_type":"a"},' * 20_001, "20001 findings"),
    ],
    ids=[
        "empty",
        "huge",
        "words",
        "binary",
        "larger than any report",
        "cut off",
        "a broken line",
        "deep",
        "other JSON",
        "too many",
    ],
)
def test_stdin_that_is_no_key(
    stdin: bytes, named: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
    assert main(["revoke", "--leaked-key-stdin", "--reason", "leak", "--yes"]) == 2
    out, err = capsys.readouterr()
    assert named in err
    assert "hunter2" not in out + err


def test_no_credentials_and_no_region(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert main(["plan"]) == 2
    assert "AWS_REGION" in capsys.readouterr().err
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert main(["--region", "eu-central-1", "status"]) == 2
    assert "AWS_PROFILE" in capsys.readouterr().err


def test_unknown_trigger(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROTATOR_TRIGGER", "cron")
    assert main(["run"]) == 2
    assert "ROTATOR_TRIGGER" in capsys.readouterr().err


@pytest.mark.parametrize("path", [[], *([name] for name in COMMANDS), ["audit", "verify"]], ids=" ".join)
def test_help_teaches_and_fits(path: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*path, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: {' '.join(['rotator', *path])} ")
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "..." not in out.replace("[ARGS]...", "").replace("5737...48AE", "")
    assert "Examples:" in out


def test_version_and_nothing_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("rotator 0.")
    assert main([]) == 2
    shown = capsys.readouterr()
    assert (shown.out.startswith("Usage:"), shown.err) == (True, "")


@pytest.mark.parametrize("text", ["", " ", "x" * 3_000], ids=["empty", "blank", "endless"])
def test_every_text_is_checked(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In each option and argument that takes a name, a path, a time or a reason."""
    checked = 0
    for name, command in every_command().items():
        for parameter in (each for each in command.params if each.type.name == "text"):
            option = parameter.opts[-1]
            given = [f"{option}={text}"] if isinstance(parameter, click.Option) else ["--", text]
            assert main([*name.split(), *given]) == 2, given
            err = capsys.readouterr().err
            assert option.upper() in err.upper()
            assert len(err) < 400
            checked += 1
    assert checked > 80


@pytest.mark.parametrize(
    ("alias", "option"),
    [
        ("version", "--version"),
        ("-V", "--version"),
        ("help", "--help"),
        ("help plan", "plan --help"),
        ("help audit verify", "audit verify --help"),
    ],
)
def test_help_and_version_are_commands(alias: str, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for words in (alias, option):
        assert main(words.split()) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] != ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_of_commands_and_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "_ROTATOR_COMPLETE" in capsys.readouterr().out
    completer = ShellComplete(cli, {}, "rotator", "_ROTATOR_COMPLETE")
    (found,) = completer.get_completions([], "inv")
    assert (found.value, found.help) == ("inventory", COMMANDS["inventory"])
    assert [each.value for each in completer.get_completions(["inventory"], "--acc")] == ["--account"]


def test_bug_is_one_redacted_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def broken() -> None:
        raise ValueError(f"no good: {KEY}")

    monkeypatch.setitem(cli.commands, "broken", broken)
    assert main(["broken"]) == 1
    err = capsys.readouterr().err
    assert "ValueError: no good: <redacted>. " in err
    assert len(err.splitlines()) == 1
    assert main(["--log-level", "debug", "broken"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    leaks.check(err, "a debug traceback")


def test_words_for_people() -> None:
    day = timedelta(days=1)
    assert when(START + 4 * day, START) == "6 Mar 09:00 UTC (in 4 d)"
    assert when(START - 3 * day, START) == "27 Feb 09:00 UTC (3 d ago)"
    assert brief(START + 4 * day, START) == "6 Mar (4 d)"
    assert brief(START + timedelta(hours=23, minutes=59), START) == "3 Mar 08:59 (1 d)"
    assert brief(START + 400 * day, START) == "6 Apr 2027 (400 d)"
    assert brief(START - 2 * day, START) == "28 Feb (2 d ago)"
    assert brief(None, START) == "unknown"
    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/sms-otp-vJqdMy"
    assert shown(f"{arn}: binary") == "prod/sms-otp: binary"
    assert shown("key 5737AAAAAAAAAAAAAAAAAAAAAAAA48AE\x1b[2J ends") == "key 5737…48AE\\x1b[2J ends"


@contextmanager
def living_in(zone: str) -> Iterator[None]:
    """The machine's zone for a while."""
    before = os.environ["TZ"]
    os.environ["TZ"] = zone
    time.tzset()
    try:
        yield
    finally:
        os.environ["TZ"] = before
        time.tzset()


def test_times_are_local_and_say_so() -> None:
    summer, hour = datetime(2026, 10, 24, 22, tzinfo=UTC), timedelta(hours=1)  # clocks are changed the night after
    with living_in("Europe/Zagreb"):
        assert when(START + timedelta(days=4), START) == "6 Mar 10:00 CET (in 4 d)"
        assert brief(summer - hour, summer) == "24 Oct 23:00 (1 h ago)"
        assert brief(summer + 30 * hour, summer) == "26 Oct 05:00 CET (1 d 6 h)"  # the heading says CEST
        assert brief(summer + 3 * 24 * hour, summer) == "27 Oct (3 d)"
        assert local_text(Message.of("expired {at}, on", at=summer + hour / 2)) == "expired 25 Oct 00:30 CEST, on"
        opens = Message.of("opens {opens:%a} {opens}", opens=datetime(2026, 10, 26, 23, tzinfo=UTC))
        assert (local_text(opens), str(opens)) == ("opens Tue 27 Oct 00:00 CET", "opens Mon 26 Oct 23:00 UTC")
    with living_in("Asia/Kolkata"):
        assert when(START, START) == "2 Mar 14:30 IST (in 0 s)"
    with living_in("America/Sao_Paulo"):
        assert when(START, START) == "2 Mar 06:00 -03:00 (in 0 s)"


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/Zagreb"])
def test_last_year_in_every_zone(zone: str) -> None:
    with living_in(zone):
        for moment in (datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)):
            assert brief(moment, START)
            assert when(moment, START)


def test_long_tables_are_cut_and_say_so() -> None:
    stream = io.StringIO()
    rows = [(f"secret-{number}", "detail") for number in range(65)]
    Console(file=stream, width=80).print(Grid(rows, (30,), most=60))
    assert "secret-59" in stream.getvalue()
    assert "secret-60" not in stream.getvalue()
    assert "5 more" in stream.getvalue()
