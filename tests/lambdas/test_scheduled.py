"""``sweep`` and ``worker`` over a simulated Infobip, moto's Secrets Manager and a FIFO queue."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rotator.errors import BadCredentials, ConfigurationError
from rotator.lambda_ import runtime
from rotator.lambda_.handlers import SweepFailed
from rotator.lambda_handlers import sweep, worker
from tests.lambdas.lambda_stack import DAY, Context, LambdaStack
from tests.support.faulty_infobip import Fault, FaultKind, faults_of

Lines = Callable[[], list[dict[str, Any]]]
SCHEDULED = {
    "version": "0",
    "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": "123456789012",  # AWS's, not Infobip's
    "time": "2026-03-02T09:00:00Z",
    "region": "eu-central-1",
    "resources": ["arn:aws:events:eu-central-1:123456789012:rule/rotator"],
    "detail": {},
}


def due(stack: LambdaStack, name: str, account: Any, **settings: Any) -> Any:
    return stack.secret(name, account, **({"left": 5 * DAY} | settings))


def queue(stack: LambdaStack, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """A FIFO queue that the handlers use; gives a function that takes its messages as Lambda would."""
    sqs = stack.aws("sqs")
    url = sqs.create_queue(QueueName="sweeps.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    monkeypatch.setenv("ROTATOR_QUEUE_URL", url)
    runtime.forget()

    def take() -> list[dict[str, Any]]:
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"]).get("Messages", [])
        for message in found:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return [
            {
                "messageId": message["MessageId"],
                "body": message["Body"],
                "attributes": message["Attributes"],
                "eventSource": "aws:sqs",
            }
            for message in found
        ]

    return take


def record(account: str, message_id: str = "", group: str = "") -> dict[str, Any]:
    return {
        "messageId": message_id or f"message-{account}",
        "body": json.dumps({"account": account}),
        "eventSource": "aws:sqs",
        "attributes": {"MessageGroupId": group or account},
    }


# ---- sweep ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event", [SCHEDULED, {}, None, "<aws.scheduler.execution-id>", [], {"version": "1"}, {"account": None}]
)
def test_scheduler_sweeps_every_account(stack: LambdaStack, event: Any) -> None:
    old = [due(stack, f"prod/{name}", stack.account(name)) for name in ("main", "other")]
    answer = sweep(event, Context())
    assert json.loads(json.dumps(answer)) == answer
    run_id = answer.pop("run_id")
    assert len(run_id) == 36
    assert answer == {
        "dry_run": False,
        "accounts": 2,
        "accounts_failed": 0,
        "planned": 2,
        "done": 2,
        "failed": 0,
        "deferred": 0,
        "skipped": 0,
        "alerts": 0,
        "problems": [],
    }
    for name, key in zip(("prod/main", "prod/other"), old, strict=True):
        assert stack.consumer_works(name)
        assert stack.value(name)["key_id"] != key.id


def test_one_account(stack: LambdaStack) -> None:
    due(stack, "prod/main", stack.account("main"))
    other = due(stack, "prod/other", stack.account("other"))
    assert sweep({"account": "main"}, Context())["done"] == 1
    assert stack.value("prod/other")["api_key"] == other.value
    with pytest.raises(ConfigurationError, match=r"elsewhere.*main, other"):
        sweep({"account": "elsewhere"}, Context())


@pytest.mark.parametrize("by", ["event", "environment"])
def test_dry_run_plans_and_changes_nothing(
    stack: LambdaStack, monkeypatch: pytest.MonkeyPatch, lines: Lines, by: str
) -> None:
    take = queue(stack, monkeypatch)
    if by == "environment":
        monkeypatch.setenv("ROTATOR_DRY_RUN", "true")
        runtime.forget()
    due(stack, "prod/main", stack.account())
    before = stack.state()
    if by == "environment":
        assert worker({"Records": [record("main")]}, Context()) == {"batchItemFailures": []}
    answer = sweep({"dry_run": True} if by == "event" else {}, Context())
    assert (answer["dry_run"], answer["planned"], answer["done"]) == (True, 1, 0)
    assert stack.state() == before
    assert take() == []
    audit = {
        (line["actor"], line["trigger"]) for line in lines() if line.get("run_id") == answer["run_id"] and "seq" in line
    }
    assert audit == {("lambda", "manual") if by == "event" else ("scheduler", "schedule")}


def test_partly_failed_sweep_raises(stack: LambdaStack, lines: Lines) -> None:
    due(stack, "prod/main", stack.account("main"))
    due(stack, "prod/other", stack.account("other", password="wrong-and-never-shown"))
    with pytest.raises(SweepFailed) as caught:
        sweep({}, Context())
    assert "account other " in str(caught.value)
    assert BadCredentials.default_advice.split()[0] in str(caught.value)
    assert "wrong-and-never-shown" not in str(caught.value)
    assert len(str(caught.value)) < 1500
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert stack.value("prod/main")["key_id"]
    (line,) = [line for line in lines() if line["event"] == "sweep finished"]
    assert (line["accounts"], line["accounts_failed"], line["done"]) == (2, 1, 1)


def test_wrong_tag_is_no_failure(stack: LambdaStack, lines: Lines) -> None:
    account = stack.account()
    stack.secret("prod/main", account, grace="soon")
    due(stack, "prod/other", account)
    answer = sweep({}, Context())
    assert (answer["done"], answer["alerts"]) == (1, 1)
    (problem,) = answer["problems"]
    assert problem.startswith("prod/main: misconfigured: rotator:grace")
    # What the alarms count, whether the sweep is done in place or by the worker.
    assert worker({"Records": [record("main")]}, Context()) == {"batchItemFailures": []}
    found = lines()
    finished = [(line["level"], line["problems"]) for line in found if line["event"] == "sweep finished"]
    assert finished == [("error", [problem])] * 2
    completed = [line for line in found if line["event"] == "sweep.completed"]
    assert [(line["outcome"], line["to_fix"], line["error"]) for line in completed] == [("success", 1, None)] * 2
    assert [line["outcome"] for line in found if line["event"] == "alert.raised"] == ["failure"] * 2


def test_wrong_setting_fails_one_call(stack: LambdaStack, monkeypatch: pytest.MonkeyPatch) -> None:
    stack.account()
    monkeypatch.setenv("ROTATOR_RESERVE", "many")
    runtime.forget()
    with pytest.raises(ConfigurationError, match="ROTATOR_RESERVE"):
        sweep({}, Context())
    monkeypatch.delenv("ROTATOR_RESERVE")
    assert sweep({}, Context())["accounts"] == 1


def test_no_time_for_overdue_is_failure(stack: LambdaStack) -> None:
    """A listing so slow that every call ends before it acts must not count as a success for ever."""
    due(stack, "prod/main", stack.account())
    before = stack.state()
    with pytest.raises(SweepFailed, match=r"prod/main: overdue: "):
        sweep({}, Context(left=59.9))
    assert stack.state() == before
    assert sweep({}, Context())["done"] == 1


def test_message_for_overdue_account_is_kept(stack: LambdaStack, monkeypatch: pytest.MonkeyPatch) -> None:
    take = queue(stack, monkeypatch)
    due(stack, "prod/main", stack.account())
    sweep({}, Context())
    event = {"Records": take()}
    message = event["Records"][0]["messageId"]
    failed = {"batchItemFailures": [{"itemIdentifier": message}]}
    # Time enough to begin the account, and none to begin an action.
    assert worker(event, Context(left=[300, 59])) == failed
    assert worker(event, Context()) == {"batchItemFailures": []}


def test_rest_is_deferred_when_time_is_short(stack: LambdaStack) -> None:
    account = stack.account()
    for number in range(4):
        due(stack, f"prod/{number}", account)
    answer = sweep({}, Context(left=[300, 61, 59, 300]))  # once too little, always too little
    assert (answer["planned"], answer["done"], answer["deferred"], answer["failed"]) == (4, 2, 2, 0)
    assert sweep({}, Context())["done"] == 2


def test_clients_and_credentials_made_once(stack: LambdaStack) -> None:
    account = stack.account()
    for number in range(3):
        due(stack, f"prod/{number}", account)
    sweep({}, Context())
    first = runtime.foundation()
    store: Any = first.store
    read: list[str] = []
    store._client.meta.events.register(
        "provide-client-params.secrets-manager.GetSecretValue", lambda params, **_: read.append(params["SecretId"])
    )
    sweep({}, Context())
    assert runtime.foundation() is first
    assert len([secret for secret in read if "rotator/main" in secret]) == 1


def test_each_call_is_its_own_run(stack: LambdaStack, lines: Lines) -> None:
    due(stack, "prod/main", stack.account())
    runs = [sweep({}, Context())["run_id"] for _ in range(2)]
    assert len(set(runs)) == 2
    audit = [line for line in lines() if "seq" in line]
    for run in runs:
        assert next(line["seq"] for line in audit if line["run_id"] == run) == 1
    assert {(line["actor"], line["trigger"]) for line in audit} == {("scheduler", "schedule")}
    assert " 0 " in repr(runtime.foundation().redactor)


# ---- sweep, with a queue --------------------------------------------------------------------------------------------


def test_each_account_gets_one_message(stack: LambdaStack, monkeypatch: pytest.MonkeyPatch) -> None:
    take = queue(stack, monkeypatch)
    names = ["main", "a name with spaces", "ops@example", *(f"account-{number}" for number in range(12))]
    for name in names:
        stack.account(name)
    before = stack.state()
    answer = sweep(SCHEDULED, Context())
    assert (answer["accounts"], answer["sent"]) == (15, 15)
    assert stack.state() == before
    messages = [*take(), *take()]
    assert sorted(json.loads(message["body"])["account"] for message in messages) == sorted(names)
    assert all(set(json.loads(message["body"])) == {"account"} for message in messages)
    assert len({message["attributes"]["MessageGroupId"] for message in messages}) == 15


def test_same_scheduled_minute_is_sent_once(stack: LambdaStack, monkeypatch: pytest.MonkeyPatch) -> None:
    take = queue(stack, monkeypatch)
    stack.account()
    sweep(SCHEDULED, Context())
    sweep(SCHEDULED | {"id": "another", "time": "2026-03-02T09:00:31Z"}, Context())
    assert len(take()) == 1
    sweep(SCHEDULED | {"time": "2026-03-02T10:00:00Z"}, Context())
    assert len(take()) == 1
    stack.clock.set(datetime(2026, 3, 2, 9, 30, 5, tzinfo=UTC))  # without a time the call's own minute counts
    sweep({}, Context())
    stack.clock.set(datetime(2026, 3, 2, 9, 30, 55, tzinfo=UTC))
    sweep({}, Context())
    assert len(take()) == 1
    for _ in range(2):  # the form of both deployments' schedules
        sweep({"time": "2026-03-02T11:00:00Z"}, Context())
        stack.clock.advance(timedelta(minutes=1))
    assert len(take()) == 1


def test_secrets_without_account_reported(stack: LambdaStack, monkeypatch: pytest.MonkeyPatch, lines: Lines) -> None:
    take = queue(stack, monkeypatch)
    stack.account()
    for name, role in (("prod/forgotten", "key"), ("prod/misspelt", "kee")):
        stack.client.create_secret(Name=name, SecretString="{}", Tags=[{"Key": "rotator:role", "Value": role}])
    lines()
    answer = sweep({}, Context())
    assert (answer["sent"], answer["alerts"]) == (1, 2)
    assert [text.partition(":")[0] for text in answer["problems"]] == ["prod/forgotten", "prod/misspelt"]
    assert len(take()) == 1
    alerts = [(line["secret"], line["outcome"]) for line in lines() if line["event"] == "alert.raised"]
    assert sorted(alerts) == [("prod/forgotten", "failure"), ("prod/misspelt", "failure")]
    assert sweep({"account": "main"}, Context())["sent"] == 1


def test_only_known_account_is_sent(stack: LambdaStack, monkeypatch: pytest.MonkeyPatch) -> None:
    take = queue(stack, monkeypatch)
    for name in ("main", "other"):
        stack.account(name)
    sweep({"account": "other"}, Context())
    assert [json.loads(message["body"]) for message in take()] == [{"account": "other"}]
    with pytest.raises(ConfigurationError, match=r"third.*main, other"):
        sweep({"account": "third"}, Context())
    assert take() == []


@pytest.mark.parametrize(
    ("url", "kind", "text"),
    [
        ("{aws}/123456789012/none.fifo", SweepFailed, r"1 \w+ 1 accounts .* account main "),
        ("{aws}/123456789012/standard", ConfigurationError, "FIFO"),
    ],
)
def test_unusable_queue_is_error(
    stack: LambdaStack, monkeypatch: pytest.MonkeyPatch, url: str, kind: type[Exception], text: str
) -> None:
    monkeypatch.setenv("ROTATOR_QUEUE_URL", url.format(aws=stack.aws_url))
    stack.account()
    with pytest.raises(kind, match=text):
        sweep({}, Context())


# ---- worker ---------------------------------------------------------------------------------------------------------


def test_only_what_failed_is_delivered_again(stack: LambdaStack, lines: Lines) -> None:
    due(stack, "prod/main", stack.account("main"))
    due(stack, "prod/other", stack.account("other", password="wrong-and-never-shown"))
    due(stack, "prod/third", stack.account("third"))
    records = [record("main"), record("other"), record("third"), {**record("x"), "body": "{"}, record("unknown")]
    answer = worker({"Records": records}, Context())
    failed = [item["itemIdentifier"] for item in answer["batchItemFailures"]]
    assert failed == ["message-other", "message-x", "message-unknown"]
    assert stack.value("prod/third")["key_id"]
    logged = [line["event"] for line in lines() if line["level"] == "error" and "log" in line]
    assert any("message-x " in text and '{"account": "…"}' in text for text in logged)
    assert any("unknown" in text for text in logged)


def test_failed_rotation_fails_its_message(stack: LambdaStack) -> None:
    due(stack, "prod/main", stack.account("main"))
    faults_of(stack.infobip).add(Fault(FaultKind.STATUS_BEFORE, "POST", "/settings/2/api-keys", status=400, count=None))
    assert worker({"Records": [record("main")]}, Context())["batchItemFailures"] == [{"itemIdentifier": "message-main"}]


def test_rest_of_failed_group_waits(stack: LambdaStack) -> None:
    stack.account("main", password="wrong-and-never-shown")
    due(stack, "prod/other", stack.account("other"))
    records = [record("main", "1"), record("other", "2"), record("main", "3")]
    answer = worker({"Records": records}, Context())
    assert [item["itemIdentifier"] for item in answer["batchItemFailures"]] == ["1", "3"]
    assert stack.value("prod/other")["key_id"]


def test_two_messages_are_one_sweep(stack: LambdaStack, lines: Lines) -> None:
    due(stack, "prod/main", stack.account("main"))
    records = [record("main", "1"), record("main", "2")]
    assert worker({"Records": records}, Context()) == {"batchItemFailures": []}
    assert len([line for line in lines() if line["event"] == "sweep.started"]) == 1


def test_late_messages_are_delivered_again(stack: LambdaStack) -> None:
    due(stack, "prod/main", stack.account("main"))
    due(stack, "prod/other", stack.account("other"))
    before = stack.state()
    answer = worker({"Records": [record("main", "1"), record("other", "2")]}, Context(left=30))
    assert [item["itemIdentifier"] for item in answer["batchItemFailures"]] == ["1", "2"]
    assert stack.state() == before
