"""``rotator serve`` as a real process: signals stop it, whatever hangs, and the port answers."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from tests import leaks
from tests.cli.children import PATIENCE, start
from tests.cli.local_stack import Stack
from tests.support.faulty_infobip import Fault, FaultKind, faults_of

CREATE = {"method": "POST", "path": "/settings/2/api-keys"}
Line = dict[str, Any]


class Child:
    """A daemon, its log so far, and a way to wait for a line of it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[Line] = []
        self.plain: list[str] = []
        self._came = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for text in self.process.stderr:
            with self._came:
                if text.startswith("{"):
                    self.lines.append(json.loads(text))
                else:
                    self.plain.append(text)
                self._came.notify_all()

    def wait_for(self, found: Callable[[Line], bool], count: int = 1) -> list[Line]:
        """The lines that fit, when there are so many."""
        with self._came:
            there = self._came.wait_for(lambda: sum(map(found, self.lines)) >= count, PATIENCE)
            assert there, (self.lines[-5:], self.plain)
            return [line for line in self.lines if found(line)]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; gives the exit code."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """The exit code, when there is one; the log is searched for secrets and tracebacks."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)  # whatever was still in the pipe
        log = json.dumps(self.lines) + "".join(self.plain)
        leaks.check(log, "stderr")
        assert "Traceback" not in log
        return code

    def close(self) -> None:
        """Give the pipes back."""
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


@contextlib.contextmanager
def serving(stack: Stack, *arguments: str, **environment: str | None) -> Iterator[Child]:
    process = start(stack, "serve", *arguments, env=environment)
    child = Child(process)
    try:
        yield child
    finally:
        process.kill()
        child.close()


def finished(line: Line) -> bool:
    return bool(line["event"] == "sweep finished")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["term", "ctrl-c"])
def test_signal_finishes_current_call_only(stack: Stack, number: signal.Signals) -> None:
    stack.seed()
    go_on = threading.Event()
    fault = faults_of(stack.infobip).add(Fault(FaultKind.DELAY, until=go_on, **CREATE))  # type: ignore[arg-type]
    with serving(stack) as child:
        try:
            assert fault.entered.wait(PATIENCE)
            child.process.send_signal(number)
            child.wait_for(lambda line: f"signal {number}" in line["event"])
        finally:
            go_on.set()
        assert child.ended() == 0
    made = [line for line in child.lines if line["event"] == "key.created"]
    assert [line["outcome"] for line in made] == ["attempt", "success"]
    assert [line["secret"] for line in child.lines if line["event"] == "secret.promoted"][-1] == made[0]["secret"]
    (line,) = (line for line in child.lines if finished(line))
    assert line["deferred"] > 0
    assert child.lines[-1]["event"] == "stopped"
    # The next sweep does the rest.
    assert not any(result["outcome"] == "failed" for result in stack.run("run", "--json").document["results"])


def test_hanging_call_does_not_keep_process(stack: Stack) -> None:
    account = stack.account("main")
    stack.secret("prod/sms", account, None, scopes="sms:manage")
    go_on = threading.Event()
    fault = faults_of(stack.infobip).add(Fault(FaultKind.DELAY, until=go_on, **CREATE))  # type: ignore[arg-type]
    with serving(stack) as child:
        try:
            assert fault.entered.wait(PATIENCE)
            assert child.end() == 0
            assert (child.lines[-1]["log"], child.lines[-1]["level"]) == ("rotator.daemon", "warning")
        finally:
            go_on.set()
    assert stack.run("run").code == 0


def test_full_pipe_does_not_keep_process(stack: Stack) -> None:
    stack.account("main")
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    command = [sys.executable, "-m", "rotator", "serve"]
    child = subprocess.Popen(command, env=stack.environment, stdout=subprocess.PIPE, stderr=writing, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline().startswith("Sweeping every 1h.")
        child.send_signal(signal.SIGTERM)
        assert child.wait(PATIENCE) == 0
        assert not select.select([], [writing], [], 0)[1]  # the pipe was full to the end
    finally:
        child.kill()
        child.communicate()
        os.close(reading)
        os.close(writing)


def test_wait_between_two_tries_ends_at_once(stack: Stack) -> None:
    account = stack.account("main")
    stack.secret("prod/sms", account)
    fault = faults_of(stack.infobip).add(Fault(FaultKind.STATUS_BEFORE, status=503, retry_after="30", count=None))
    with serving(stack, "--log-level", "debug") as child:
        until = time.monotonic() + PATIENCE
        while not fault.hits and time.monotonic() < until:
            assert child.process.poll() is None
        assert child.end() == 0
    assert fault.hits
    assert child.lines[-1]["event"] == "stopped"  # and not that a call hangs


def test_port_answers_and_stdout_is_clean(stack: Stack) -> None:
    account = stack.account("main")
    stack.secret("prod/sms", account)
    with serving(stack, "--metrics-port", "0") as child:
        assert child.process.stdout is not None
        text = ""
        while "Ctrl-C" not in text:
            text += child.process.stdout.readline()
        url = text.split()[text.split().index("health:") + 1].rpartition("/")[0]
        child.wait_for(finished)
        metrics = requests.get(f"{url}/metrics", timeout=PATIENCE).text
        assert requests.get(f"{url}/healthz", timeout=PATIENCE).status_code == 200
        assert child.end() == 0
        assert child.process.stdout.read() == ""
    assert text.startswith("Sweeping every 1h.")
    assert all(len(line) <= 80 for line in text.splitlines())
    assert 'rotator_key_ready{account="main",deployment="default",secret="prod/sms"} 1.0' in metrics
    leaks.check(metrics, "/metrics")
