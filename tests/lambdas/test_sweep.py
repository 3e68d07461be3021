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
from rotator.sandbox.faults import Fault, FaultKind
from tests.lambdas.site import DAY, Context, Site

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


def due(site: Site, name: str, account: Any, **settings: Any) -> Any:
    return site.secret(name, account, **({"left": 5 * DAY, "age": 85 * DAY} | settings))


LATELY: dict[str, Any] = {"left": 29.5 * DAY, "age": 60.5 * DAY}
"""Due since a few hours, so that it is not overdue yet."""


def queue(site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """A FIFO queue that the handlers use; gives a function that takes its messages as Lambda would."""
    sqs = site.aws("sqs")
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
def test_anything_from_a_scheduler_sweeps_every_account(site: Site, event: Any) -> None:
    old = [due(site, f"prod/{name}", site.account(name)) for name in ("main", "other")]
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
        assert site.consumer_works(name)
        assert site.current(name)[1]["key_id"] != key.id


def test_one_account(site: Site) -> None:
    due(site, "prod/main", site.account("main"))
    other = due(site, "prod/other", site.account("other"))
    assert sweep({"account": "main"}, Context())["done"] == 1
    assert site.current("prod/other")[1]["api_key"] == other.value


def test_an_unknown_account_is_an_error_that_names_the_known(site: Site) -> None:
    site.account("main")
    with pytest.raises(ConfigurationError, match="account elsewhere is not known; known are: main"):
        sweep({"account": "elsewhere"}, Context())


@pytest.mark.parametrize("by", ["event", "environment"])
def test_a_dry_run_plans_and_changes_nothing(site: Site, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    take = queue(site, monkeypatch)
    if by == "environment":
        monkeypatch.setenv("ROTATOR_DRY_RUN", "true")
        runtime.forget()
    due(site, "prod/main", site.account())
    before = site.state()
    answer = sweep({"dry_run": True} if by == "event" else {}, Context())
    assert (answer["dry_run"], answer["planned"], answer["done"]) == (True, 1, 0)
    assert site.state() == before
    assert take() == []


def test_a_sweep_that_failed_in_part_does_the_rest_and_raises(site: Site, lines: Lines) -> None:
    due(site, "prod/main", site.account("main"))
    due(site, "prod/other", site.account("other", password="wrong-and-never-shown"))
    with pytest.raises(SweepFailed) as caught:
        sweep({}, Context())
    assert "account other was not swept" in str(caught.value)
    assert len(str(caught.value)) < 1500
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert site.current("prod/main")[1]["key_id"]
    (said,) = [line for line in lines() if line["event"] == "sweep finished"]
    assert (said["accounts"], said["accounts_failed"], said["done"]) == (2, 1, 1)


def test_a_secret_that_needs_mending_is_a_problem_and_no_failure(site: Site, lines: Lines) -> None:
    account = site.account()
    site.secret("prod/main", account, grace="soon")
    due(site, "prod/other", account)
    answer = sweep({}, Context())
    assert (answer["done"], answer["alerts"]) == (1, 1)
    (problem,) = answer["problems"]
    assert problem.startswith("prod/main: misconfigured: rotator:grace")
    found = lines()
    (said,) = [line for line in found if line["event"] == "sweep finished"]
    assert (said["level"], said["problems"]) == ("error", [problem])
    (completed,) = [line for line in found if line["event"] == "sweep.completed"]  # what the alarm no-sweep counts
    assert (completed["outcome"], completed["to_fix"], completed["error"]) == ("success", 1, None)
    assert [line["outcome"] for line in found if line["event"] == "alert.raised"] == ["failure"]  # and `problems`


def test_a_worker_and_a_sweep_in_place_count_the_same(site: Site, lines: Lines) -> None:
    site.secret("prod/main", site.account(), grace="soon")
    assert worker({"Records": [record("main")]}, Context()) == {"batchItemFailures": []}
    sweep({}, Context())
    completed = [line["outcome"] for line in lines() if line["event"] == "sweep.completed"]
    assert completed == ["success", "success"]


def test_secrets_manager_out_of_reach_is_an_error_and_the_next_call_works(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.account()
    monkeypatch.setenv("ROTATOR_RESERVE", "many")
    runtime.forget()
    with pytest.raises(ConfigurationError, match="ROTATOR_RESERVE"):
        sweep({}, Context())
    monkeypatch.delenv("ROTATOR_RESERVE")
    assert sweep({}, Context())["accounts"] == 1


def test_with_little_time_left_nothing_is_begun(site: Site) -> None:
    due(site, "prod/main", site.account(), **LATELY)
    before = site.state()
    answer = sweep({}, Context(left=59.9))
    assert (answer["planned"], answer["done"], answer["deferred"]) == (1, 0, 1)
    assert site.state() == before


def test_no_time_for_what_is_overdue_is_a_failure(site: Site) -> None:
    """A listing so slow that every call ends before it acts must not count as a success for ever."""
    due(site, "prod/main", site.account())
    before = site.state()
    with pytest.raises(SweepFailed, match=r"prod/main: overdue: .*the process is about to end"):
        sweep({}, Context(left=59.9))
    assert site.state() == before
    assert sweep({}, Context())["done"] == 1


def test_a_message_for_an_overdue_account_is_kept(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    take = queue(site, monkeypatch)
    due(site, "prod/main", site.account())
    sweep({}, Context())
    event = {"Records": take()}
    message = event["Records"][0]["messageId"]
    failed = {"batchItemFailures": [{"itemIdentifier": message}]}
    # Time enough to begin the account, and none to begin an action.
    assert worker(event, Context(left=[300, 59])) == failed
    assert worker(event, Context()) == {"batchItemFailures": []}


def test_when_time_runs_short_the_rest_is_deferred(site: Site) -> None:
    account = site.account()
    for number in range(4):
        due(site, f"prod/{number}", account)
    answer = sweep({}, Context(left=[300, 61, 59, 300]))  # once too little, always too little
    assert (answer["planned"], answer["done"], answer["deferred"], answer["failed"]) == (4, 2, 2, 0)
    assert sweep({}, Context())["done"] == 2


def test_clients_are_made_once_and_management_credentials_read_once_a_sweep(site: Site) -> None:
    account = site.account()
    for number in range(3):
        due(site, f"prod/{number}", account)
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


def test_each_call_is_a_run_of_its_own_and_nothing_learnt_outlives_it(site: Site, lines: Lines) -> None:
    due(site, "prod/main", site.account())
    runs = [sweep({}, Context())["run_id"] for _ in range(2)]
    assert len(set(runs)) == 2
    audit = [line for line in lines() if "seq" in line]
    for run in runs:
        assert next(line["seq"] for line in audit if line["run_id"] == run) == 1
    assert {(line["actor"], line["trigger"]) for line in audit} == {("scheduler", "schedule")}
    assert repr(runtime.foundation().redactor) == "<Redactor of 0 texts>"


# ---- sweep, with a queue --------------------------------------------------------------------------------------------


def test_with_a_queue_each_account_gets_one_message(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    take = queue(site, monkeypatch)
    names = ["main", "a name with spaces", "ops@example", *(f"account-{number}" for number in range(12))]
    for name in names:
        site.account(name)
    before = site.state()
    answer = sweep(SCHEDULED, Context())
    assert (answer["accounts"], answer["sent"]) == (15, 15)
    assert site.state() == before
    messages = [*take(), *take()]
    assert sorted(json.loads(message["body"])["account"] for message in messages) == sorted(names)
    assert all(set(json.loads(message["body"])) == {"account"} for message in messages)
    assert len({message["attributes"]["MessageGroupId"] for message in messages}) == 15


def test_the_same_scheduled_minute_is_sent_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    take = queue(site, monkeypatch)
    site.account()
    sweep(SCHEDULED, Context())
    sweep(SCHEDULED | {"id": "another", "time": "2026-03-02T09:00:31Z"}, Context())
    assert len(take()) == 1
    sweep(SCHEDULED | {"time": "2026-03-02T10:00:00Z"}, Context())
    assert len(take()) == 1
    for _ in range(2):  # as both deployments' schedules say it
        sweep({"time": "2026-03-02T11:00:00Z"}, Context())
        site.clock.advance(timedelta(minutes=1))
    assert len(take()) == 1


def test_what_names_no_account_is_said_although_no_message_can_hold_it(
    site: Site, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    take = queue(site, monkeypatch)
    site.account()
    for name, role in (("prod/forgotten", "key"), ("prod/misspelt", "kee")):
        site.client.create_secret(Name=name, SecretString="{}", Tags=[{"Key": "rotator:role", "Value": role}])
    lines()
    answer = sweep({}, Context())
    assert (answer["sent"], answer["alerts"]) == (1, 2)
    assert [text.partition(":")[0] for text in answer["problems"]] == ["prod/forgotten", "prod/misspelt"]
    assert len(take()) == 1
    alerts = [(line["secret"], line["outcome"]) for line in lines() if line["event"] == "alert.raised"]
    assert sorted(alerts) == [("prod/forgotten", "failure"), ("prod/misspelt", "failure")]
    assert sweep({"account": "main"}, Context())["sent"] == 1


def test_one_account_is_sent_alone_and_an_unknown_one_not(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    take = queue(site, monkeypatch)
    for name in ("main", "other"):
        site.account(name)
    sweep({"account": "other"}, Context())
    assert [json.loads(message["body"]) for message in take()] == [{"account": "other"}]
    with pytest.raises(ConfigurationError, match="known are: main, other"):
        sweep({"account": "third"}, Context())
    assert take() == []


@pytest.mark.parametrize(
    ("url", "kind", "said"),
    [
        ("{aws}/123456789012/none.fifo", SweepFailed, "1 of 1 accounts are not swept: account main was not sent"),
        ("{aws}/123456789012/standard", ConfigurationError, "not the URL of a FIFO queue"),
    ],
)
def test_a_queue_that_cannot_be_used_is_an_error(
    site: Site, monkeypatch: pytest.MonkeyPatch, url: str, kind: type[Exception], said: str
) -> None:
    monkeypatch.setenv("ROTATOR_QUEUE_URL", url.format(aws=site.aws_url))
    site.account()
    with pytest.raises(kind, match=said):
        sweep({}, Context())


# ---- worker ---------------------------------------------------------------------------------------------------------


def test_a_message_is_swept(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    take = queue(site, monkeypatch)
    due(site, "prod/main", site.account("main"))
    due(site, "prod/other", site.account("other"))
    sweep({}, Context())
    assert worker({"Records": take()}, Context()) == {"batchItemFailures": []}
    for name in ("prod/main", "prod/other"):
        assert site.current(name)[1]["key_id"]


def test_only_what_failed_is_delivered_again(site: Site, lines: Lines) -> None:
    due(site, "prod/main", site.account("main"))
    due(site, "prod/other", site.account("other", password="wrong-and-never-shown"))
    due(site, "prod/third", site.account("third"))
    records = [record("main"), record("other"), record("third"), {**record("x"), "body": "{"}, record("unknown")]
    answer = worker({"Records": records}, Context())
    failed = [item["itemIdentifier"] for item in answer["batchItemFailures"]]
    assert failed == ["message-other", "message-x", "message-unknown"]
    assert site.current("prod/third")[1]["key_id"]
    said = [line["event"] for line in lines() if line["level"] == "error" and "log" in line]
    assert any('message message-x is not {"account": "…"}' in text for text in said)
    assert any("account unknown is not known" in text for text in said)


def test_a_rotation_that_failed_fails_its_message(site: Site) -> None:
    due(site, "prod/main", site.account("main"))
    site.world.faults.add(Fault(FaultKind.STATUS_BEFORE, "POST", "/settings/2/api-keys", status=400, count=None))
    assert worker({"Records": [record("main")]}, Context())["batchItemFailures"] == [{"itemIdentifier": "message-main"}]


def test_what_only_a_person_can_mend_is_not_delivered_again(site: Site, lines: Lines) -> None:
    site.secret("prod/main", site.account(), grace="soon")
    assert worker({"Records": [record("main")]}, Context()) == {"batchItemFailures": []}
    (said,) = [line for line in lines() if line["event"] == "sweep finished"]
    assert said["level"] == "error"
    assert "rotator:grace" in said["problems"][0]


def test_after_a_failure_the_rest_of_its_group_waits(site: Site) -> None:
    site.account("main", password="wrong-and-never-shown")
    due(site, "prod/other", site.account("other"))
    records = [record("main", "1"), record("other", "2"), record("main", "3")]
    answer = worker({"Records": records}, Context())
    assert [item["itemIdentifier"] for item in answer["batchItemFailures"]] == ["1", "3"]
    assert site.current("prod/other")[1]["key_id"]


def test_two_messages_for_one_account_are_one_sweep(site: Site, lines: Lines) -> None:
    due(site, "prod/main", site.account("main"))
    records = [record("main", "1"), record("main", "2")]
    assert worker({"Records": records}, Context()) == {"batchItemFailures": []}
    assert len([line for line in lines() if line["event"] == "sweep.started"]) == 1


def test_messages_for_which_no_time_is_left_are_delivered_again(site: Site) -> None:
    due(site, "prod/main", site.account("main"))
    due(site, "prod/other", site.account("other"))
    before = site.state()
    answer = worker({"Records": [record("main", "1"), record("other", "2")]}, Context(left=30))
    assert [item["itemIdentifier"] for item in answer["batchItemFailures"]] == ["1", "2"]
    assert site.state() == before


def test_a_worker_under_dry_run_changes_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROTATOR_DRY_RUN", "true")
    due(site, "prod/main", site.account("main"))
    before = site.state()
    assert worker({"Records": [record("main")]}, Context()) == {"batchItemFailures": []}
    assert site.state() == before


def test_a_wrong_password_is_told_and_not_shown(site: Site) -> None:
    site.account("main", password="wrong-and-never-shown")
    with pytest.raises(SweepFailed) as caught:
        sweep({}, Context())
    assert "wrong-and-never-shown" not in str(caught.value)
    assert BadCredentials.default_advice.split()[0] in str(caught.value)


def test_a_queue_message_names_the_minute_of_this_call_where_the_event_does_not(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = queue(site, monkeypatch)
    site.account()
    site.clock.set(datetime(2026, 3, 2, 9, 0, 5, tzinfo=UTC))
    sweep({}, Context())
    site.clock.set(datetime(2026, 3, 2, 9, 0, 55, tzinfo=UTC))
    sweep({}, Context())
    assert len(take()) == 1
