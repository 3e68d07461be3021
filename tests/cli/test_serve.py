"""``rotator serve`` as a real process: the schedule fires, signals end it, the port answers."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from rotator.cli import main
from rotator.sandbox.faults import Fault, FaultKind
from tests import leaks
from tests.cli.local_stack import PATIENCE, Stack
from tests.serve_process import FILE, set_off

SECONDLY = ("serve", "--every", "1s", "--jitter", "0s")
CREATE = {"method": "POST", "path": "/settings/2/api-keys"}
Line = dict[str, Any]


class Child:
    """A daemon, what it has said so far, and a way to wait for what it will say."""

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

    def document(self) -> Any:
        """What ``--json`` announces, up to its end."""
        assert self.process.stdout is not None
        text = ""
        for line in self.process.stdout:
            text += line
            if line == "}\n":
                break
        return json.loads(text)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; gives the exit code."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """The exit code, when there is one; what was said is searched for secrets and tracebacks."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)  # whatever was still in the pipe
        said = json.dumps(self.lines) + "".join(self.plain)
        leaks.check(said, "stderr")
        assert "Traceback" not in said
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
    process = stack.start(*(arguments or SECONDLY), env=environment, module="tests.serve_process")
    child = Child(process)
    try:
        yield child
    finally:
        process.kill()
        child.close()


def finished(line: Line) -> bool:
    return bool(line["event"] == "sweep finished")


def succeeded(line: Line) -> bool:
    return finished(line) and line["problems"] == []


def polled(url: str, status: int) -> requests.Response:
    """The first answer with that status."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        answer = requests.get(url, timeout=PATIENCE)
        if answer.status_code == status:
            return answer
    raise AssertionError(f"no answer {status} from {url}")


def test_the_schedule_fires_and_each_sweep_is_a_run_of_its_own(stack: Stack, tmp_path: Any) -> None:
    account, _ = stack.account("main")
    stack.secret("prod/sms", account)
    file = tmp_path / "audit.jsonl"
    with serving(stack, *SECONDLY, "--audit-file", str(file)) as child:
        runs = [line["run_id"] for line in child.wait_for(succeeded, 3)]
        assert child.end() == 0
    assert len(set(runs)) == len(runs)
    assert child.plain == []
    assert stack.run("audit", "verify", str(file)).code == 0
    recorded = [json.loads(line) for line in file.read_text().splitlines()]
    assert {line["trigger"] for line in recorded} == {"schedule"}
    assert {line["run_id"] for line in recorded if line["event"] == "sweep.completed"} >= set(runs[:2])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["term", "ctrl-c"])
def test_a_signal_in_mid_sweep_finishes_the_call_in_hand_and_begins_no_other(
    stack: Stack, number: signal.Signals
) -> None:
    stack.seed()
    go_on = threading.Event()
    fault = stack.world.faults.add(Fault(FaultKind.DELAY, until=go_on, **CREATE))  # type: ignore[arg-type]
    with serving(stack, "serve") as child:
        try:
            assert fault.entered.wait(PATIENCE)
            child.process.send_signal(number)
            child.wait_for(lambda line: line["event"].startswith("stopping by signal"))
        finally:
            go_on.set()
        assert child.ended() == 0
    made = [line for line in child.lines if line["event"] == "key.created"]
    assert [line["outcome"] for line in made] == ["attempt", "success"]
    assert [line["secret"] for line in child.lines if line["event"] == "secret.promoted"][-1] == made[0]["secret"]
    (line,) = (line for line in child.lines if finished(line))
    assert line["deferred"] > 0
    assert child.lines[-1]["event"] == "stopped"
    # What was left is the next sweep's.
    assert not any(result["outcome"] == "failed" for result in stack.run("run", "--json").document["results"])


def test_a_call_that_hangs_does_not_keep_the_process(stack: Stack) -> None:
    account, _ = stack.account("main")
    stack.secret("prod/sms", account, None, scopes="sms:manage")
    go_on = threading.Event()
    fault = stack.world.faults.add(Fault(FaultKind.DELAY, until=go_on, **CREATE))  # type: ignore[arg-type]
    with serving(stack, "serve") as child:
        try:
            assert fault.entered.wait(PATIENCE)
            assert child.end() == 0
            assert "without an answer" in child.lines[-1]["event"]
        finally:
            go_on.set()
    assert stack.run("run").code == 0


def test_logs_that_nobody_takes_do_not_keep_the_process(stack: Stack) -> None:
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


def test_a_wait_between_two_tries_ends_at_once(stack: Stack) -> None:
    account, _ = stack.account("main")
    stack.secret("prod/sms", account)
    fault = stack.world.faults.add(Fault(FaultKind.STATUS_BEFORE, status=503, retry_after="30", count=None))
    # Without the sandbox's clock, waits are real.
    with serving(stack, "serve", "--log-level", "debug", ROTATOR_SANDBOX_URL=None) as child:
        until = time.monotonic() + PATIENCE
        while not fault.hits and time.monotonic() < until:
            assert child.process.poll() is None
        assert child.end() == 0
    assert fault.hits
    assert child.lines[-1]["event"] == "stopped"  # and not that a call hangs


def test_sweeps_that_fail_end_nothing_and_health_follows(stack: Stack) -> None:
    account, _ = stack.account("main")
    stack.secret("prod/sms", account)
    with serving(stack, *SECONDLY, "--metrics-port", "0", "--json") as child:
        url = child.document()["url"]
        child.wait_for(succeeded, 2)  # the first one's success is noted when its line is written, or just after
        assert polled(f"{url}/healthz", 200).json()["last_success"] is not None
        stack.world.faults.add(Fault(FaultKind.STATUS_BEFORE, status=401, count=None))
        answer = polled(f"{url}/healthz", 503)
        assert answer.json()["status"] == "unhealthy"
        text = requests.get(f"{url}/metrics", timeout=PATIENCE).text
        failures = 'rotator_failures_total{account="main",action="sweep",deployment="default",reason="not-observed"}'
        assert f"{failures} 0.0" not in text
        assert failures in text
        assert 'rotator_key_ready{account="main",deployment="default",secret="prod/sms"} 1.0' in text  # as last seen
        stack.world.faults.clear()
        polled(f"{url}/healthz", 200)
        assert child.end() == 0


def test_a_clock_that_is_set_right_stops_no_sweep(stack: Stack, tmp_path: Path) -> None:
    account, _ = stack.account("main")
    stack.secret("prod/sms", account)
    file = tmp_path / "offset"
    set_off(file, timedelta(days=30))
    command = (*SECONDLY, "--metrics-port", "0", "--json")
    with serving(stack, *command, **{FILE: str(file)}) as child:
        url = child.document()["url"]
        child.wait_for(succeeded, 2)
        polled(f"{url}/healthz", 200)
        set_off(file, timedelta(0))
        child.wait_for(lambda line: line["event"].startswith("this machine's clock was set back by 30 d"))
        child.wait_for(succeeded, sum(map(succeeded, child.lines)) + 2)
        answer = polled(f"{url}/healthz", 200).json()
        assert datetime.fromisoformat(answer["last_success"]) < datetime.now(UTC) + timedelta(minutes=1)
        assert child.end() == 0


def test_an_aws_that_is_not_there_ends_nothing(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with serving(stack, *SECONDLY, AWS_ENDPOINT_URL=nowhere, AWS_MAX_ATTEMPTS="1") as child:
        child.wait_for(lambda line: line["event"].startswith("the sweep failed: "), 2)
        assert child.end() == 0


def test_metrics_are_there_from_the_start_and_after_a_rotation(stack: Stack) -> None:
    account, _ = stack.account("main")
    stack.secret("prod/sms", account, None, scopes="sms:manage")
    go_on = threading.Event()
    fault = stack.world.faults.add(Fault(FaultKind.DELAY, until=go_on, **CREATE))  # type: ignore[arg-type]
    rotations = 'rotator_rotations_total{account="main",deployment="default",reason="first-key"}'
    with serving(stack, "serve", "--metrics-port", "0", "--json") as child:
        url = child.document()["url"]
        try:
            assert fault.entered.wait(PATIENCE)  # the work has begun
            before = requests.get(f"{url}/metrics", timeout=PATIENCE).text
        finally:
            go_on.set()
        child.wait_for(succeeded)
        after = requests.get(f"{url}/metrics", timeout=PATIENCE).text
        assert child.end() == 0
    assert f"{rotations} 0.0" in before
    assert f"{rotations} 1.0" in after
    assert 'rotator_key_ready{account="main",deployment="default",secret="prod/sms"} 0.0' in before
    assert 'rotator_key_ready{account="main",deployment="default",secret="prod/sms"} 1.0' in after
    assert 'rotator_key_expiration_timestamp_seconds{account="main",deployment="default",secret="prod/sms"}' in after
    leaks.check(after, "/metrics")


def test_a_sweep_that_takes_long_is_not_overtaken(stack: Stack) -> None:
    account, _ = stack.account("main")
    stack.secret("prod/sms", account, None, scopes="sms:manage")
    go_on = threading.Event()
    stack.world.faults.add(Fault(FaultKind.DELAY, until=go_on, **CREATE))  # type: ignore[arg-type]
    with serving(stack) as child:
        try:
            child.wait_for(lambda line: "is left out" in line["event"], 2)
            assert sum(line["event"] == "sweep.started" for line in child.lines) == 1
        finally:
            go_on.set()
        child.wait_for(succeeded, 2)
        assert child.end() == 0
    assert not [line for line in child.lines if line.get("log", "").startswith("apscheduler")]


def test_nothing_else_is_on_stdout(stack: Stack) -> None:
    stack.account("main")
    with serving(stack, "serve", "--metrics-port", "0") as child:
        child.wait_for(finished)
        assert child.end() == 0
        assert child.process.stdout is not None
        said = child.process.stdout.read()
    assert said.startswith("Sweeping every 1h. Metrics: http://127.0.0.1:")
    assert all(len(line) <= 80 for line in said.splitlines())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--every", "soon"], "is not a duration"),
        (["--cron", "0 0 30 2 *"], "bad day-of-month"),
        (["--metrics-port", "70000"], "70000"),
        (["--metrics-port", "x"], "x"),
        (["--metrics-port", "0", "--metrics-address", "256.0.0.1"], "can't be listened on"),
        (["--audit-file", "/no/such/directory/file"], "/no/such/directory/file"),
        (["--profile", "nobody"], "nobody"),
        (["now"], "now"),
    ],
    ids=" ".join,
)
def test_nonsense_is_exit_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "Traceback" not in err


def test_a_port_that_is_taken_is_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "--metrics-port", str(taken.getsockname()[1])]) == 2
    assert "can't be listened on (Address already in use)" in capsys.readouterr().err
