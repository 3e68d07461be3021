"""The handlers themselves, over moto and a simulated Infobip: the actions that they call are those of ``actions``."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rotator import lambda_handlers
from rotator.lambda_ import runtime
from rotator.lambda_.revoke_handler import RevocationFailed
from rotator.lambda_handlers import revoke, rotation, sweep, worker
from rotator.policy.labels import key_label, key_name, retire_label
from tests import leaks
from tests.deploy.actions import ANY, CALLED, STORES
from tests.deploy.recording import recording
from tests.lambdas.conftest import stack
from tests.lambdas.lambda_stack import DAY, Context, LambdaStack
from tests.lambdas.test_label_events import moved

__all__ = ["stack"]

Record = Callable[[], Any]


@pytest.fixture
def record(stack: LambdaStack, tmp_path: Path) -> Iterator[Record]:
    """An event bus is configured; gives what records."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ROTATOR_EVENT_BUS", "default")
        runtime.forget()
        yield lambda: recording(stack.client, tmp_path)


def due(stack: LambdaStack, name: str, account: Any, **tags: Any) -> Any:
    return stack.secret(name, account, left=5 * DAY, **tags)


def message(account: str) -> dict[str, Any]:
    body = json.dumps({"account": account})
    found = {"messageId": str(uuid.uuid4()), "body": body, "eventSource": "aws:sqs", "attributes": {}}
    return {"Records": [found]}


def superseded(stack: LambdaStack, name: str, account: Any, **tags: Any) -> None:
    """A secret whose old key's grace is over since a minute."""
    old = stack.secret(name, account, grace="1h", **tags)
    new = stack.infobip.add_key(account, f"by hand: {name}, new", scopes=("sms:manage",))
    leaks.register(new.value)
    version = stack.current_version(name)
    text, labels = json.dumps({"api_key": new.value}), ["AWSCURRENT", key_label(new.id)]
    stack.client.put_secret_value(SecretId=name, SecretString=text, VersionStages=labels)
    due = retire_label(old.id, stack.clock.now() - timedelta(minutes=1))
    stack.client.update_secret_version_stage(SecretId=name, VersionStage=due, MoveToVersionId=version)


def test_sweep(stack: LambdaStack, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    account = stack.account()
    due(stack, "prod/sms", account, adopted=False)
    superseded(stack, "prod/gated", account, gate="adoption")
    superseded(stack, "prod/old", account)
    stack.client.create_secret(Name="other", SecretString="{}")
    queue = stack.aws("sqs").create_queue(QueueName="accounts.fifo", Attributes={"FifoQueue": "true"})
    monkeypatch.setenv("ROTATOR_QUEUE_URL", queue["QueueUrl"])
    runtime.forget()
    with record() as calls:
        assert sweep({"dry_run": True}, Context())["planned"] > 0
        assert sweep({}, Context())["sent"] == 1
        assert sweep(moved(stack, "prod/sms"), Context())["outcome"] == "sent"
        assert sweep(moved(stack, "other"), Context())["outcome"] == "ignored"
    described = {(action, role) for action, role in calls if action == "secretsmanager:DescribeSecret"}
    assert {role for _, role in described} == {"key", "untagged"}
    assert calls - described | {("secretsmanager:DescribeSecret", ANY)} == CALLED["sweep"]


def test_worker(stack: LambdaStack, record: Record) -> None:
    account = stack.account()
    due(stack, "prod/sms", account, grace="1h")
    superseded(stack, "prod/gated", account, gate="adoption")
    stack.secret("prod/adopt", account, adopted=False)
    orphan = key_name("prod/sms", stack.arn("prod/sms"), "default", str(uuid.uuid4()))
    with record() as calls:
        assert worker(message("main"), Context()) == {"batchItemFailures": []}
        key = stack.infobip.add_key(account, orphan, scopes=("sms:manage",), valid_from=stack.clock.now())
        stack.clock.advance(DAY)
        assert worker(message("main"), Context()) == {"batchItemFailures": []}
    assert not stack.infobip.key(key.id).enabled
    assert calls == CALLED["worker"]


@pytest.mark.parametrize("function", ["sweep", "worker", "revoke"])
def test_stores_are_assumed(stack: LambdaStack, record: Record, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    monkeypatch.setenv("ROTATOR_STORES", f"{stack.region} arn:aws:iam::111122223333:role/rotator@eu-west-1")
    runtime.forget()
    stack.secret("prod/sms")
    event = {"sweep": {}, "worker": message("main")}.get(function, {"secret_id": "prod/sms", "reason": "leaked"})
    with record() as calls:
        getattr(lambda_handlers, function)(event, Context())
    assert {pair for pair in calls if pair[0].startswith("sts:")} == STORES[function]


def test_revoke(stack: LambdaStack, record: Record) -> None:
    stack.secret("prod/sms")
    stack.secret("prod/unadopted", adopted=False)
    event = {"secret_id": "prod/sms", "reason": "leaked", "incident": "INC-1"}
    with record() as calls:
        assert revoke(event, Context())["ok"]
    # The replacement's key is gone: the same incident, asked for again, has to look at the versions' dates.
    stack.infobip.delete_key(stack.value("prod/sms")["key_id"])
    with record() as more, pytest.raises(RevocationFailed):
        revoke(event, Context())
    assert calls | more == CALLED["revoke"]


def test_rotation(stack: LambdaStack, record: Record) -> None:
    due(stack, "prod/sms", stack.account())
    token = stack.start_rotation("prod/sms")
    event = {"SecretId": stack.arn("prod/sms"), "ClientRequestToken": token}
    with record() as calls:
        for step in ("createSecret", "setSecret", "testSecret", "finishSecret"):
            rotation({**event, "Step": step}, Context())
    assert "AWSCURRENT" in stack.labels("prod/sms")[token]
    assert calls == CALLED["rotation"]
