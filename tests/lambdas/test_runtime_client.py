"""The unpacked zip, driven by AWS's own runtime client against a small local Runtime API, on the sandbox."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests import leaks
from tests.lambdas.lambda_stack import DAY, LambdaStack
from tests.lambdas.package import CLIENT, RUNTIME, clean_environment, lambda_site
from tests.support.faulty_infobip import Fault, FaultKind, faults_of

pytest.importorskip("awslambdaric", reason="AWS's runtime client is not installed (it is Linux's only)")
PATIENCE = 60
MINUTES = 15 * 60.0
ARN = "arn:aws:lambda:eu-central-1:123456789012:function:rotator"


@dataclass(frozen=True)
class Outcome:
    """What a function answered: ``response``, ``error`` (of an invocation) or ``init-error``."""

    kind: str
    document: Any


class RuntimeApi:
    """AWS's Runtime API for one function at a time."""

    def __init__(self) -> None:
        self.events: queue.Queue[tuple[str, bytes, float]] = queue.Queue()
        self.outcomes: queue.Queue[Outcome] = queue.Queue()
        self.asked = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"api": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self.events.put(("", b"", 0.0))
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    api: RuntimeApi
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        self.api.asked.set()
        request_id, body, seconds = self.api.events.get()
        if not request_id:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Lambda-Runtime-Aws-Request-Id", request_id)
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + seconds) * 1000)))
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", ARN)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind = "init-error" if self.path.endswith("/init/error") else self.path.rpartition("/")[2]
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.api.outcomes.put(Outcome(kind, json.loads(body)))

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@dataclass
class Function:
    """One Lambda function: a process of AWS's runtime client with the unpacked zip."""

    handler: str
    task: Path
    runtime: Path
    environment: dict[str, str]
    api: RuntimeApi = field(default_factory=RuntimeApi)

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-m", "awslambdaric", f"rotator.lambda_handlers.{self.handler}"],
            cwd=self.task,
            env={
                **clean_environment(),
                **self.environment,
                "AWS_LAMBDA_RUNTIME_API": self.api.address,
                "AWS_LAMBDA_FUNCTION_NAME": f"rotator-{self.handler}",
                "LAMBDA_TASK_ROOT": str(self.task),
                "_HANDLER": f"rotator.lambda_handlers.{self.handler}",
                "PYTHONPATH": f"{self.task}:{self.runtime}",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def send(self, event: Any, seconds: float = MINUTES) -> None:
        """Invoke it; it has that many seconds."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        self.api.events.put((str(uuid.uuid4()), body, seconds))

    def invoke(self, event: Any, seconds: float = MINUTES) -> Outcome:
        """Invoke it and wait for what it answers."""
        self.send(event, seconds)
        outcome = self.api.outcomes.get(timeout=PATIENCE)
        leaks.check(json.dumps(outcome.document), "what a function answers")
        return outcome

    def end(self) -> str:
        """End the process; gives what it logged, which holds no secret."""
        self.process.kill()
        out, _ = self.process.communicate(timeout=PATIENCE)
        self.api.close()
        leaks.check(out, "a function's log")
        return out


class Lambdas:
    """Starts functions, and ends them after the test."""

    def __init__(self, task: Path, runtime: Path, stack: LambdaStack) -> None:
        self.task, self.runtime, self.stack = task, runtime, stack
        self.started: list[Function] = []

    def start(self, handler: str, **variables: str) -> Function:
        environment = self.stack.environment | variables
        self.started.append(Function(handler, self.task, self.runtime, environment))
        return self.started[-1]


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runtime's own packages."""
    return lambda_site(tmp_path_factory.mktemp("lambda") / "runtime", *RUNTIME, *CLIENT)


@pytest.fixture
def lambdas(task: Path, runtime: Path, stack: LambdaStack) -> Iterator[Lambdas]:
    made = Lambdas(task, runtime, stack)
    yield made
    for function in made.started:
        if function.process.poll() is None:
            function.end()


def due(stack: LambdaStack, name: str, account: Any) -> Any:
    return stack.secret(name, account, left=5 * DAY)


def test_two_sweeps_then_error(stack: LambdaStack, lambdas: Lambdas) -> None:
    due(stack, "prod/sms", stack.account())
    function = lambdas.start("sweep")
    first = function.invoke({"detail-type": "Scheduled Event", "account": "123456789012"})
    assert (first.kind, first.document["done"]) == ("response", 1)
    assert stack.consumer_works("prod/sms")
    assert stack.value("prod/sms")["key_id"]
    again = function.invoke({})
    assert (again.kind, again.document["planned"]) == ("response", 0)
    faults_of(stack.infobip).add(Fault(FaultKind.STATUS_BEFORE, status=401, count=None))
    failed = function.invoke({})
    assert failed.kind == "error"
    assert failed.document["errorType"] == "SweepFailed"
    assert "account main " in failed.document["errorMessage"]
    bad = function.invoke({"dryRun": True})
    assert (bad.kind, bad.document["errorType"]) == ("error", "BadEvent")
    assert '"dry_run"' in bad.document["errorMessage"]
    log = function.end()
    audit = [json.loads(line) for line in log.splitlines() if line.startswith('{"timestamp"') and '"seq"' in line]
    assert len({line["run_id"] for line in audit}) == 3
    assert "During handling of the above exception" not in log


def test_worker_after_sweep_by_queue(stack: LambdaStack, lambdas: Lambdas) -> None:
    due(stack, "prod/sms", stack.account())
    sqs = stack.aws("sqs")
    url = sqs.create_queue(QueueName="sweeps.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    sent = lambdas.start("sweep", ROTATOR_QUEUE_URL=url).invoke({"time": "2026-03-02T09:00:00Z"})
    assert (sent.kind, sent.document["sent"]) == ("response", 1)
    (message,) = sqs.receive_message(QueueUrl=url, AttributeNames=["All"])["Messages"]
    record = {"messageId": "1", "body": message["Body"], "attributes": message["Attributes"], "eventSource": "aws:sqs"}
    broken = record | {"messageId": "2", "body": "?", "attributes": {}}
    done = lambdas.start("worker").invoke({"Records": [record, broken]})
    assert done == Outcome("response", {"batchItemFailures": [{"itemIdentifier": "2"}]})
    assert stack.value("prod/sms")["key_id"]


def test_revoke(stack: LambdaStack, lambdas: Lambdas) -> None:
    key = stack.secret("prod/sms")
    function = lambdas.start("revoke")
    done = function.invoke({"secret_id": "prod/sms", "reason": "pasted in a ticket", "incident": "INC-1"})
    assert (done.kind, done.document["ok"]) == ("response", True)
    assert [(each["key_id"], each["outcome"]) for each in done.document["keys"]] == [(key.id, "done")]
    assert stack.consumer_works("prod/sms")
    faults_of(stack.infobip).add(Fault(FaultKind.STATUS_BEFORE, "PUT", status=403, count=None))
    failed = function.invoke({"secret_id": "prod/sms", "reason": "again", "incident": "INC-2"})
    assert (failed.kind, failed.document["errorType"]) == ("error", "RevocationFailed")
    assert failed.document["errorMessage"].startswith("NOT COMPLETE")


def test_rotation(stack: LambdaStack, lambdas: Lambdas) -> None:
    stack.secret("prod/sms")
    token = stack.start_rotation("prod/sms")
    function = lambdas.start("rotation")
    event = {"SecretId": stack.arn("prod/sms"), "ClientRequestToken": token}
    for step in ("createSecret", "setSecret", "testSecret", "finishSecret"):
        assert function.invoke(event | {"Step": step}).kind == "response"
    assert stack.current_version("prod/sms") == token
    assert stack.consumer_works("prod/sms")
    refused = function.invoke(event | {"ClientRequestToken": str(uuid.uuid4()), "Step": "createSecret"})
    assert (refused.kind, refused.document["errorType"]) == ("error", "Refused")


def test_little_time_left(stack: LambdaStack, lambdas: Lambdas) -> None:
    stack.secret("prod/sms", left=29.5 * DAY)  # due, and not overdue
    before = stack.state()
    outcome = lambdas.start("sweep").invoke({}, seconds=50)
    assert (outcome.kind, outcome.document["deferred"], outcome.document["done"]) == ("response", 1, 0)
    assert stack.state() == before


def test_stopped_function_is_continued(stack: LambdaStack, lambdas: Lambdas) -> None:
    account = stack.account()
    old = due(stack, "prod/sms", account)
    released = threading.Event()
    hang = faults_of(stack.infobip).add(Fault(FaultKind.DELAY, "POST", "/settings/2/api-keys", until=released))
    function = lambdas.start("sweep")
    function.send({})
    assert hang.entered.wait(PATIENCE)  # the creation is being made
    function.end()  # as Lambda does: nothing can be cleaned up
    released.set()
    assert stack.value("prod/sms")["api_key"] == old.value
    assert stack.consumer_works("prod/sms")
    done = lambdas.start("sweep").invoke({})
    assert done.kind == "response", done.document
    assert stack.consumer_works("prod/sms")
    assert stack.value("prod/sms")["key_id"] != old.id
    assert stack.infobip.creates_used(account) <= 2


def test_wrong_setting_is_answer(stack: LambdaStack, lambdas: Lambdas) -> None:
    stack.account()
    outcome = lambdas.start("sweep", ROTATOR_RESERVE="many").invoke({})
    assert (outcome.kind, outcome.document["errorType"]) == ("error", "ConfigurationError")
    assert "ROTATOR_RESERVE" in outcome.document["errorMessage"]
