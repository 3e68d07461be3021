"""The process itself: signals, pipes, terminals, and where errors are said."""

from __future__ import annotations

import errno
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from tests import leaks
from tests.cli.children import PATIENCE, ended, start
from tests.cli.local_stack import Stack
from tests.support.faulty_infobip import Fault, FaultKind, faults_of


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "term"])
def test_signal_ends_sweep_in_one_sentence(stack: Stack, number: signal.Signals, code: int) -> None:
    stack.seed()
    go_on = threading.Event()
    fault = faults_of(stack.infobip).add(
        Fault(FaultKind.DELAY, method="POST", path="/settings/2/api-keys", until=go_on)
    )
    child = start(stack, "run")
    try:
        assert fault.entered.wait(PATIENCE)  # a create is on its way
        child.send_signal(number)
        out, err = child.communicate(timeout=PATIENCE)
    finally:
        go_on.set()
    ran = ended(child, out, err)
    assert ran.code == code
    assert ran.sentence.startswith("rotator: interrupted")
    unfinished = [line for line in ran.lines if line.get("event") == "key.created" and line["outcome"] == "failure"]
    assert unfinished[0]["error"] == "interrupted"


def test_reader_that_went_away_is_no_error(stack: Stack) -> None:
    stack.seed()
    reading, writing = os.pipe()
    os.close(reading)
    try:
        child = start(stack, "status", stdout=writing)
    finally:
        os.close(writing)
    ran = ended(child, "", child.communicate(timeout=PATIENCE)[1])
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_output_that_nothing_takes_is_said(stack: Stack) -> None:
    with open("/dev/full", "w") as full:
        child = start(stack, "status", "--json", stdout=full)
    ran = ended(child, "", child.communicate(timeout=PATIENCE)[1])
    assert ran.code == 1
    assert os.strerror(errno.ENOSPC) in ran.err


def test_errors_are_one_document(stack: Stack) -> None:
    ran = stack.run("rotate", "prod/none", "--reason", "x", "--json")
    assert ran.code == 1
    assert ran.document.keys() == {"error"}
    assert ran.document["error"].keys() == {"message", "advice"}
    assert "prod/none" in ran.document["error"]["message"]
    assert len(ran.lines) == len(ran.err.splitlines()) == 1
    assert ran.lines[0]["level"] == "error"


def test_terminal_gets_colour_and_plain_logs(stack: Stack) -> None:
    stack.seed()
    text = on_terminal(stack, "run", "--verbose")
    assert "\x1b[" in text
    assert '"seq"' not in text
    assert "sweep.completed" in text
    plain = on_terminal(stack, "--log-format", "json", "plan", env={"NO_COLOR": "1"})
    assert "\x1b" not in plain
    assert all(len(line) <= 80 for line in plain.splitlines())


def test_stderr_shows_warnings_and_errors(stack: Stack) -> None:
    """A program gets every line; with ``--quiet`` errors alone."""
    stack.seed()
    faults_of(stack.infobip).add(Fault(FaultKind.STATUS_BEFORE, method="POST", path="/settings/2/api-keys", status=403))
    failed = stack.run("run", "--quiet")
    assert (failed.code, {line["level"] for line in failed.lines}) == (1, {"error"})
    people = ("--log-format", "console")
    assert stack.run("rotate", "prod/sms/otp", "--reason", "x", *people).err == ""
    assert "secret.promoted" in stack.run("rotate", "prod/billing/sms", "--reason", "x", *people, "--verbose").err
    assert {line["level"] for line in stack.run("run").lines} >= {"info", "warning"}


def test_emergency_shows_steps_on_terminal(stack: Stack) -> None:
    """The revocation is held up: the steps before it are shown already."""
    old = stack.seed()["prod/sms/otp"]
    go_on = threading.Event()
    fault = faults_of(stack.infobip).add(Fault(FaultKind.DELAY, method="PUT", until=go_on))

    def watch(seen: str) -> None:
        if "promoted" in seen and not go_on.is_set():
            assert fault.entered.wait(PATIENCE)
            assert re.search(r"^  created +key \w{4}…\w{4} +\d+\.\d s\n  promoted +prod/sms/otp +\d+\.\d s\n", seen)
            go_on.set()

    arguments = ("revoke", "--secret", "prod/sms/otp", "--reason", "x", "--yes", "--quiet")
    text = on_terminal(stack, *arguments, env={"NO_COLOR": "1"}, watch=watch)
    assert go_on.is_set()
    named = f"key {old.id[:4]}…{old.id[-4:]}"
    assert re.search(rf"\n  revoked       {named} +\d+\.\d s\n                {named} +verified: 401\n", text)
    assert re.findall(r"^  (created|promoted|revoked) ", text, re.MULTILINE) == ["created", "promoted", "revoked"]


def on_terminal(
    stack: Stack,
    *arguments: str,
    env: dict[str, str] | None = None,
    watch: Callable[[str], None] = lambda seen: None,
) -> str:
    """Run with all three streams on a terminal of 80 columns.

    :param watch: called with what there is so far, as it comes.
    """
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "rotator", *arguments],
        env=stack.environment | {"TERM": "xterm-256color", "COLUMNS": "80"} | (env or {}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""
    try:
        while chunk := _read(ours):
            seen += chunk
            watch(seen.decode(errors="replace").replace("\r\n", "\n"))
        child.wait(PATIENCE)
    finally:
        child.kill()
        os.close(ours)
    text = seen.decode().replace("\r\n", "\n")
    leaks.check(text, "the terminal")
    return text


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux's way to say that the other end is closed
        return b""


def test_leaked_key_is_not_read_from_tty(stack: Stack) -> None:
    """Threat: a terminal that displays a leaked key. It is not read from a terminal."""
    text = on_terminal(stack, "revoke", "--leaked-key-stdin", "--reason", "x")
    assert "--leaked-key-stdin" in text


def test_sandbox_prints_working_environment(stack: Stack) -> None:
    child = start(stack, "sandbox", env=dict.fromkeys(name for name in stack.environment if name.startswith("AWS_")))
    try:
        assert child.stdout is not None
        exported = dict(
            child.stdout.readline().strip().removeprefix("export ").split("=", 1) for _ in range(len(_PRINTED))
        )
        assert set(exported) == _PRINTED
        plan = stack.run("plan", "--json", env={name: text.strip("'") for name, text in exported.items()})
        actions = {(action["kind"], action["secret"]) for action in plan.document["accounts"][0]["actions"]}
        # In office hours, and only then, there is also prod/whatsapp/bot.
        assert actions - {("rotate", "prod/whatsapp/bot")} == {
            ("label", "prod/email/news"),
            ("label", "prod/voice/alerts"),
            ("rotate", "prod/email/news"),
            ("rotate", "prod/new"),
            ("rotate", "prod/sms/otp"),
        }
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=PATIENCE)
    finally:
        child.kill()
    assert child.returncode == 0
    assert "rotator plan" in err
    assert "Traceback" not in err


_PRINTED = {
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_EC2_METADATA_DISABLED",
    "NO_PROXY",
}


def test_work_is_done_without_stderr(stack: Stack) -> None:
    stack.seed()
    command = ["sh", "-c", 'exec "$0" -m rotator run --json 2>&-', sys.executable]
    done = subprocess.run(command, env=stack.environment, stdout=subprocess.PIPE, text=True, timeout=PATIENCE)
    leaks.check(done.stdout, "stdout")
    assert '"outcome": "done"' in done.stdout


@pytest.mark.parametrize("arguments", ["status", "inventory --json", "plan --json", "report -o -"])
def test_closed_stdout_is_said_and_is_no_bug(stack: Stack, arguments: str) -> None:
    command = ["sh", "-c", f'exec "$0" -m rotator {arguments} >&-', sys.executable]
    done = subprocess.run(command, env=stack.environment, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert "`rotator status`" in done.stderr
    assert "bug" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("out", [">&-", "> /dev/full"])
def test_leaked_keys_end_without_output(stack: Stack, out: str) -> None:
    keys = stack.seed()
    otp, billing = keys["prod/sms/otp"], keys["prod/billing/sms"]
    command = ["sh", "-c", f'exec "$0" -m rotator revoke --leaked-key-stdin --reason x --yes {out}', sys.executable]
    done = subprocess.run(
        command,
        env=stack.environment,
        input=f"A={otp.value}\nB={billing.value}\n",
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
    )
    leaks.check(done.stderr, "stderr")
    assert (done.returncode, "`rotator status`" in done.stderr) == (1, True)
    assert not stack.infobip.authenticates(otp.value)
    assert not stack.infobip.authenticates(billing.value)
