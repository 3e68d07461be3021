"""The two deployments make the same things: functions, queues, schedule, alarms, filters, notifications."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rotator.lambda_.requests import label_update, sweep_request
from rotator.settings import Settings
from tests.deploy.actions import FUNCTIONS
from tests.deploy.cloudformation import PSEUDO, Stack
from tests.deploy.offline import ALL_ON, HOME, MEMBER, STAGE, STORE_ROLES, STORES, service
from tests.deploy.policies import statements
from tests.deploy.terraform import Applied
from tests.deploy.test_event_rules import matches
from tests.lambdas.test_label_events import ARN, VERSION

Both = tuple[Stack, Applied]


def _functions(stack: Stack) -> dict[str, dict[str, Any]]:
    found = stack.resources("AWS::Lambda::Function")
    return {name: found[f"{name.capitalize()}LambdaFunction"] for name in FUNCTIONS}


def test_functions(both: Both) -> None:
    stack, applied = both
    theirs = applied.values("aws_lambda_function")
    assert theirs.keys() == set(FUNCTIONS)
    for name, mine in _functions(stack).items():
        other = theirs[name]
        assert {
            "function_name": mine["FunctionName"],
            "description": mine["Description"],
            "handler": mine["Handler"],
            "runtime": mine["Runtime"],
            "architectures": mine["Architectures"],
            "timeout": mine["Timeout"],
            "memory_size": mine["MemorySize"],
            "reserved_concurrent_executions": int(mine.get("ReservedConcurrentExecutions", -1)),
        }.items() <= other.items()
        assert mine["TracingConfig"]["Mode"] == other["tracing_config"][0]["mode"]
        assert mine["LoggingConfig"]["LogFormat"] == other["logging_config"][0]["log_format"] == "Text"
        assert mine["Environment"]["Variables"] == other["environment"][0]["variables"]


def test_scheduled_work_starts_in_dry_run(both: Both) -> None:
    stack, _ = both
    live = stack.parameters.get("DryRun") == "false"
    for name, function in _functions(stack).items():
        variables = function["Environment"]["Variables"]
        settings = Settings.from_env({**variables, "ROTATOR_QUEUE_URL": "https://sqs.invalid/1/q.fifo"})
        assert settings.deployment == "dev"
        # An emergency must never depend on the dry run being switched off.
        assert settings.dry_run is (name in ("sweep", "worker") and not live)
        assert ("ROTATOR_QUEUE_URL" in variables) == (name == "sweep")


def test_queues(both: Both) -> None:
    stack, applied = both
    mine, theirs = stack.resources("AWS::SQS::Queue"), applied.values("aws_sqs_queue")
    for name, other in (("AccountQueue", theirs["accounts"]), ("DeadLetterQueue", theirs["dead"])):
        queue = mine[name]
        assert queue["FifoQueue"] is other["fifo_queue"] is True
        assert queue["SqsManagedSseEnabled"] is other["sqs_managed_sse_enabled"] is True
        assert (queue["QueueName"], queue["MessageRetentionPeriod"]) == (
            other["name"],
            other["message_retention_seconds"],
        )
    assert mine["AccountQueue"]["VisibilityTimeout"] == theirs["accounts"]["visibility_timeout_seconds"]
    redrive = json.loads(theirs["accounts"]["redrive_policy"])
    assert int(mine["AccountQueue"]["RedrivePolicy"]["maxReceiveCount"]) == redrive["maxReceiveCount"]
    assert redrive["deadLetterTargetArn"] == theirs["dead"]["arn"]


def test_messages_outlive_work_on_them(plain_template: Stack) -> None:
    queue = plain_template.resources("AWS::SQS::Queue")["AccountQueue"]
    worker = _functions(plain_template)["worker"]
    assert queue["VisibilityTimeout"] > worker["Timeout"]
    most = plain_template.template["Parameters"]["MaxReceiveCount"]["MaxValue"]
    assert int(queue["RedrivePolicy"]["maxReceiveCount"]) <= most
    assert queue["MessageRetentionPeriod"] > queue["VisibilityTimeout"] * most  # else it never is a dead letter


def test_failed_account_blocks_no_sweep(plain_template: Stack) -> None:
    """In a FIFO queue the next message of the account waits until the failed one is done or a dead letter."""
    queue = plain_template.resources("AWS::SQS::Queue")["AccountQueue"]
    assert int(queue["RedrivePolicy"]["maxReceiveCount"]) * queue["VisibilityTimeout"] < 3600


def test_worker_gets_one_account_at_once(both: Both) -> None:
    stack, applied = both
    (mine,) = stack.resources("AWS::Lambda::EventSourceMapping").values()
    theirs = applied.values("aws_lambda_event_source_mapping")["accounts"]
    assert mine["BatchSize"] == theirs["batch_size"] == 1
    assert mine["FunctionResponseTypes"] == theirs["function_response_types"] == ["ReportBatchItemFailures"]
    assert mine["EventSourceArn"] == stack.known["AccountQueue.Arn"]
    assert theirs["event_source_arn"] == applied.values("aws_sqs_queue")["accounts"]["arn"]
    assert mine["ScalingConfig"]["MaximumConcurrency"] == theirs["scaling_config"][0]["maximum_concurrency"]


def test_schedule(both: Both) -> None:
    stack, applied = both
    (mine,) = stack.resources("AWS::Scheduler::Schedule").values()
    theirs = applied.values("aws_scheduler_schedule")["sweep"]
    target = theirs["target"][0]
    assert (mine["Name"], mine["ScheduleExpression"], mine["State"], mine["ScheduleExpressionTimezone"]) == (
        theirs["name"],
        theirs["schedule_expression"],
        theirs["state"],
        theirs["schedule_expression_timezone"],
    )
    assert (mine["Target"]["Arn"], mine["Target"]["Input"]) == (target["arn"], target["input"])
    sent = target["input"].replace("<aws.scheduler.scheduled-time>", "2026-03-02T09:00:00Z")
    assert sweep_request(json.loads(sent)).scheduled == datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert mine["Target"]["RetryPolicy"] == {
        "MaximumEventAgeInSeconds": target["retry_policy"][0]["maximum_event_age_in_seconds"],
        "MaximumRetryAttempts": target["retry_policy"][0]["maximum_retry_attempts"],
    }


def test_log_groups_and_their_counts(both: Both) -> None:
    stack, applied = both
    groups = {one["LogGroupName"]: one["RetentionInDays"] for one in stack.resources("AWS::Logs::LogGroup").values()}
    theirs = applied.values("aws_cloudwatch_log_group").values()
    assert groups == {group["name"]: group["retention_in_days"] for group in theirs}
    mine = {
        (one["FilterName"], one["LogGroupName"]): (one["FilterPattern"], _metric(one["MetricTransformations"]))
        for one in stack.resources("AWS::Logs::MetricFilter").values()
    }
    states = [r["values"] for r in applied.state["values"]["root_module"]["resources"] if "metric_filter" in r["type"]]
    assert mine == {
        (one["name"], one["log_group_name"]): (
            one["pattern"],
            tuple(
                (each["name"], each["namespace"], each["value"], each["dimensions"])
                for each in one["metric_transformation"]
            ),
        )
        for one in states
    }


def _metric(found: list[dict[str, Any]]) -> tuple[Any, ...]:
    return tuple(
        (
            one["MetricName"],
            one["MetricNamespace"],
            one["MetricValue"],
            {dimension["Key"]: dimension["Value"] for dimension in one["Dimensions"]},
        )
        for one in found
    )


ALARM = {
    "AlarmDescription": "alarm_description",
    "Namespace": "namespace",
    "MetricName": "metric_name",
    "Statistic": "statistic",
    "Period": "period",
    "ComparisonOperator": "comparison_operator",
    "Threshold": "threshold",
    "TreatMissingData": "treat_missing_data",
}


def test_alarms(both: Both) -> None:
    stack, applied = both
    mine = {
        alarm["AlarmName"]: {
            "dimensions": {one["Name"]: one["Value"] for one in alarm["Dimensions"]},
            "evaluation_periods": int(alarm["EvaluationPeriods"]),
            **{theirs: alarm[name] for name, theirs in ALARM.items()},
        }
        for alarm in stack.resources("AWS::CloudWatch::Alarm").values()
    }
    names = ("dimensions", "evaluation_periods", *ALARM.values())
    theirs = {
        alarm["alarm_name"]: {name: alarm[name] for name in names}
        for alarm in applied.values("aws_cloudwatch_metric_alarm").values()
    }
    assert mine == theirs
    no_sweep = theirs["infobip-key-rotator-dev-no-sweep"]
    assert no_sweep["period"] * no_sweep["evaluation_periods"] == 3 * 3600
    assert no_sweep["treat_missing_data"] == "breaching"
    dry_run = theirs.get("infobip-key-rotator-dev-dry-run")
    assert (dry_run is None) == (stack.parameters.get("DryRun") == "false")
    assert dry_run is None or dry_run["period"] * dry_run["evaluation_periods"] == 7 * 86400


def test_every_alarm_notifies_topic(both: Both) -> None:
    stack, applied = both
    topic = stack.known["AlarmTopic"]
    for mine in stack.resources("AWS::CloudWatch::Alarm").values():
        assert mine["AlarmActions"] == mine["OKActions"] == [topic]
    for theirs in applied.values("aws_cloudwatch_metric_alarm").values():
        assert set(theirs["alarm_actions"]) == set(theirs["ok_actions"]) == {topic}
    (mine_policy,) = stack.resources("AWS::SNS::TopicPolicy").values()
    policy = statements(mine_policy["PolicyDocument"])
    assert policy == statements(applied.values("aws_sns_topic_policy")["alarms"]["policy"])
    # "You can't use Condition blocks in Amazon SNS topic policies for EventBridge": with one, nothing would arrive.
    conditions = {one.sid: bool(one.conditions) for one in policy}
    assert conditions == {"Alarms": True} | ({"Events": False} if "EventBus" in stack.parameters else {})


def test_events(both: Both) -> None:
    stack, applied = both
    rules = {one["Name"]: one for one in stack.resources("AWS::Events::Rule").values()}
    theirs = {one["name"]: one for one in applied.values("aws_cloudwatch_event_rule").values()}
    assert rules.keys() == theirs.keys()
    assert len(rules) == (3 if "EventBus" in stack.parameters else 1)
    for name, mine in rules.items():
        other = theirs[name]
        assert mine["EventPattern"] == json.loads(other["event_pattern"])
        assert mine.get("EventBusName", "default") == (other["event_bus_name"] or "default")
        assert mine.get("State", "ENABLED") == (other["state"] or "ENABLED")


@pytest.mark.parametrize(("logical", "name"), [("Change", "changes"), ("StoreChange", "store-changes")])
def test_change_starts_sweep_function(both: Both, logical: str, name: str) -> None:
    stack, applied = both
    if "Stores" not in stack.parameters and logical != "Change":
        assert f"{logical}Rule" not in stack.resources("AWS::Events::Rule")
        return
    rule = stack.resources("AWS::Events::Rule")[f"{logical}Rule"]
    (target,), theirs = rule["Targets"], applied.values("aws_cloudwatch_event_target")[name]
    assert target["Arn"] == theirs["arn"] == stack.known["SweepLambdaFunction.Arn"]
    assert target["RetryPolicy"] == {
        "MaximumEventAgeInSeconds": theirs["retry_policy"][0]["maximum_event_age_in_seconds"],
        "MaximumRetryAttempts": theirs["retry_policy"][0]["maximum_retry_attempts"],
    }
    mine = stack.resources("AWS::Lambda::Permission")[f"{logical}Permission"]
    permission = applied.values("aws_lambda_permission")[name]
    assert mine["SourceArn"] == f"<{logical}Rule.Arn>"
    assert permission["source_arn"] == applied.values("aws_cloudwatch_event_rule")[name]["arn"]
    assert (mine["FunctionName"], mine["Principal"]) == (permission["function_name"], permission["principal"])
    sent = {"source": "aws.secretsmanager", "detail-type": "Secret Label Updated"}
    for label, wanted in (("AWSCURRENT", True), ("rotator:key:1", False)):
        event = {**sent, "resources": [ARN], "detail": {"labelUpdated": label, "versionId": VERSION}}
        assert matches(rule["EventPattern"], event) is (label_update(event) is not None) is wanted


def test_store_bus_takes_events_of_stores(both: Both) -> None:
    """Threat: any AWS account starts the function. Only those of the stores may, with Secrets Manager's events."""
    stack, applied = both
    mine, theirs = stack.resources("AWS::Events::EventBus"), applied.values("aws_cloudwatch_event_bus")
    assert [bus["Name"] for bus in mine.values()] == [bus["name"] for bus in theirs.values()]
    if "Stores" not in stack.parameters:
        assert (mine, applied.values("aws_cloudwatch_event_bus_policy")) == ({}, {})
        return
    policies = [mine["StoreBus"]["Policy"], applied.values("aws_cloudwatch_event_bus_policy")["stores"]["policy"]]
    ((one,), (other,)) = map(statements, policies)
    assert one == other
    assert one.actions == {"events:PutEvents"}
    assert all(resource.endswith(f":event-bus/{theirs['stores']['name']}") for resource in one.resources)
    assert one.conditions == {
        ("ForAllValues:StringEquals", "events:source", frozenset({"aws.secretsmanager"})),
        ("StringEquals", "events:detail-type", frozenset({"Secret Label Updated"})),
    }
    principals = [json.loads(policies[1])["Statement"][0]["Principal"], policies[0]["Statement"][0]["Principal"]]
    assert principals == [{"AWS": MEMBER}, {"AWS": [MEMBER]}]


def test_bus_is_closed_without_roles(template: dict[str, Any]) -> None:
    stores = {name: text for name, text in ALL_ON.items() if name not in ("StoreRoles", "StoreAccounts")}
    (bus,) = Stack(template, stores, PSEUDO).resources("AWS::Events::EventBus").values()
    assert "Policy" not in bus


@pytest.mark.parametrize(
    ("stores", "parts"),
    [
        (STORES, {"StoreRegions": f"{HOME},us-west-2", "StoreRoles": ",".join(STORE_ROLES), "StoreAccounts": MEMBER}),
        ([HOME], {"StoreRegions": HOME, "StoreRoles": "", "StoreAccounts": ""}),
        (STORES[1:], None),
        ([*STORES, f"{STORE_ROLES[1]}@eu-west-1"], None),
    ],
)
def test_stores_are_taken_apart(tmp_path: Path, stores: list[str], parts: dict[str, str] | None) -> None:
    """The functions would refuse to start with other stores, and with them the emergency's."""
    done = _printed(tmp_path, "resources.Parameters", f"stores={' '.join(stores)}", f"region={HOME}", form="json")
    assert (done.returncode == 0) is (parts is not None), done.stdout + done.stderr
    if parts is not None:
        found = json.loads(done.stdout)
        assert {name: found[name]["Default"] for name in parts} == parts
        assert re.fullmatch(found["Stores"]["AllowedPattern"], " ".join(stores))


@pytest.mark.parametrize("dry_run", ["true", "false"])
def test_disabled_schedule_is_shown(template: dict[str, Any], dry_run: str) -> None:
    stack = Stack(template, {"ScheduleState": "DISABLED", "DryRun": dry_run}, {})
    assert stack.resolve(template["Outputs"]["Mode"]["Value"]) == "STOPPED: the schedule is disabled; nothing is swept."


def _osls(
    folder: Path, environment: dict[str, str], path: str, *params: str, form: str = "text"
) -> subprocess.CompletedProcess[str]:
    command = ["node_modules/.bin/osls", "print", "--stage", STAGE, "--path", path, "--format", form]
    command += [each for param in params for each in ("--param", param)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


def _printed(folder: Path, path: str, *params: str, form: str = "text") -> subprocess.CompletedProcess[str]:
    return _osls(folder, service(folder), path, *params, form=form)


@pytest.mark.parametrize(("limit", "reserve", "taken"), [("40", "40", False), ("9", "8", True), ("9", "10", False)])
def test_reserve_that_leaves_nothing_refused(tmp_path: Path, limit: str, reserve: str, taken: bool) -> None:
    """As Terraform's validation does: the functions would refuse to start, and with them the emergency's."""
    done = _printed(tmp_path, "resources.Parameters.Reserve.Default", f"daily-limit={limit}", f"reserve={reserve}")
    assert (done.returncode == 0) is taken, done.stdout + done.stderr
    if taken:
        assert done.stdout.strip().strip("'") == reserve
    else:
        assert "reserve must be less than daily-limit" in done.stdout + done.stderr


@pytest.mark.parametrize(("params", "dry_run"), [((), "false"), (("dry-run=true",), "true")])
def test_stages_file_keeps_its_settings(tmp_path: Path, params: tuple[str, ...], dry_run: str) -> None:
    """Deployed again by the same command, a stage is as it was: with its alarm subscription, and live."""
    (tmp_path / f"stage.{STAGE}.yml").write_text('alarm-email: on-call@example.com\ndry-run: "false"\n')
    done = _printed(tmp_path, "resources.Parameters", *params, form="json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["AlarmEmail"]["Default"], found["DryRun"]["Default"]) == ("on-call@example.com", dry_run)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ('dry_run: "false"', ("stage.dev.yml", "dry_run")),
        ("dry-run: false", ("stage.dev.yml", 'dry-run: "false"')),
        ('dry-run: "yes"', ("dry-run", '"yes"', "true, false")),
        ("log-level: loud", ("log-level", '"loud"', "debug")),
        (None, ("stage.dev.yml", "docs/deploy.md")),
    ],
)
def test_meaningless_stage_file_is_refused(tmp_path: Path, settings: str | None, named: tuple[str, ...]) -> None:
    """The stage would be in dry-run, or go back to it. The message is all that is printed of the check."""
    file = tmp_path / f"stage.{STAGE}.yml"
    file.write_text(settings or "{}")
    environment = service(tmp_path)
    if settings is None:
        file.unlink()
    done = _osls(tmp_path, environment, "custom.checked")
    printed = done.stdout + done.stderr
    assert done.returncode != 0
    assert all(each in printed for each in named), printed
    assert "serverless-settings.js:" not in printed


def test_missing_package_says_how_to_get_one(tmp_path: Path) -> None:
    environment = service(tmp_path)
    (tmp_path / "dist" / "rotator-lambda.zip").unlink()
    command = ["node_modules/.bin/osls", "package", "--stage", STAGE]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    printed = done.stdout + done.stderr
    assert (done.returncode, "make package" in printed, "ENOENT" in printed) == (1, True, False), printed


def test_unknown_param_is_refused(tmp_path: Path) -> None:
    """Terraform's spelling: who stops a stage with it must not find it live."""
    done = _printed(tmp_path, "resources.Parameters", "dry_run=true", form="json")
    assert done.returncode != 0
    assert "dry_run" in done.stdout + done.stderr


def test_outputs_show_mode_and_commands(both: Both) -> None:
    stack, applied = both
    outputs = {name: stack.resolve(one["Value"]) for name, one in stack.template["Outputs"].items()}
    theirs = applied.outputs()
    word = "LIVE" if stack.parameters.get("DryRun") == "false" else "DRY RUN"
    assert outputs["Mode"].startswith(word)
    assert theirs["mode"].startswith(word)
    assert outputs["EmergencyCommand"] == theirs["emergency_command"]
    assert outputs["PlanCommand"] == theirs["plan_command"]
    # The client must not hang up on a function that is still at work: nor, by Lambda's limit, with a longer timeout.
    for command, function in (("plan_command", "sweep"), ("emergency_command", "revoke")):
        waits = int(theirs[command].split("--cli-read-timeout ")[1].split()[0])
        assert waits > (900 if function == "sweep" else _functions(stack)[function]["Timeout"])
    payload = json.loads(theirs["emergency_command"].split("--payload '")[1].split("'")[0])
    assert {"secret_id", "reason", "incident", "actor"} == payload.keys()
