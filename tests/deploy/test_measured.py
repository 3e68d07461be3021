"""Alarms, filters and the dashboard read what the product writes: by name, dimensions and namespace.

A world is swept under the environment that the template gives the worker; its metric lines and audit lines are taken as
CloudWatch would take them. An alarm on a metric that is never written would never be raised.
"""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest

from rotator.engine.sweep import Sweep
from rotator.settings import Settings
from rotator.telemetry.cloudwatch import EmbeddedMetrics
from tests.deploy.actions import FUNCTIONS
from tests.deploy.cloudformation import Stack
from tests.deploy.terraform import Applied
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import DAY, World, with_policy

Both = tuple[Stack, Applied]
Metric = tuple[str, str, frozenset[tuple[str, str]]]
"""Namespace, name, and dimensions with their values."""


def _environment(stack: Stack, function: str) -> dict[str, str]:
    found = stack.resources("AWS::Lambda::Function")[f"{function.capitalize()}LambdaFunction"]
    variables: dict[str, str] = found["Environment"]["Variables"]
    return variables


def _swept(settings: Settings) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Metric and audit lines of a dry run, and of sweeps with a success, a secret to fix and a failed rotation."""
    out = io.StringIO()
    assert settings.metric_namespace is not None
    metrics = EmbeddedMetrics(settings.metric_namespace, settings.deployment, str, out)
    world = with_policy(World(), deployment=settings.deployment)
    world.secret("prod/sms", left=5 * DAY)

    def sweep(*, dry_run: bool = False) -> Sweep:
        reconciler = world.reconciler()
        reconciler.services.metrics = metrics
        return reconciler.sweep(dry_run=dry_run)

    assert sweep(dry_run=True).succeeded
    assert sweep().succeeded
    world.secret("prod/fix", grace="soon")
    assert sweep().succeeded
    world.secret("prod/refused", left=5 * DAY)
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, method="POST", status=400))
    assert not sweep().succeeded
    return [json.loads(line) for line in out.getvalue().splitlines()], world.lines()


def _written(lines: list[dict[str, Any]]) -> set[Metric]:
    """The metrics that CloudWatch makes of lines in the embedded metric format."""
    found: set[Metric] = set()
    for line in lines:
        for directive in line["_aws"]["CloudWatchMetrics"]:
            for names in directive["Dimensions"]:
                dimensions = frozenset((name, str(line[name])) for name in names)
                found |= {(directive["Namespace"], each["Name"], dimensions) for each in directive["Metrics"]}
    return found


def _matches(pattern: str, line: dict[str, Any]) -> bool:
    """A filter pattern of CloudWatch Logs, as far as it is used here: equalities and truths, joined by && and ||."""
    terms = pattern.strip().removeprefix("{").removesuffix("}")
    terms = re.sub(r"\$\.(\w+) IS TRUE", lambda each: str(line.get(each[1]) is True), terms)
    known = re.sub(r'\$\.(\w+) = "([^"]*)"', lambda each: str(line.get(each[1]) == each[2]), terms)
    words = known.replace("&&", " and ").replace("||", " or ")
    assert re.fullmatch(r"(True|False|and|or|[()\s])+", words), pattern
    return bool(eval(words, {}))  # noqa: S307 - nothing but True, False, and, or, and brackets


def _counted(stack: Stack, lines: list[dict[str, Any]]) -> set[Metric]:
    """The metrics that the filters make of audit lines."""
    found: set[Metric] = set()
    for one in stack.resources("AWS::Logs::MetricFilter").values():
        for line in lines:
            if _matches(one["FilterPattern"], line):
                for made in one["MetricTransformations"]:
                    values = {each["Key"]: line[each["Value"].removeprefix("$.")] for each in made["Dimensions"]}
                    found.add((made["MetricNamespace"], made["MetricName"], frozenset(values.items())))
    return found


@pytest.mark.parametrize("function", ["sweep", "worker"])
def test_metrics_of_alarms_are_written(both: Both, function: str) -> None:
    stack, applied = both
    settings = Settings.from_env({**_environment(stack, function), "ROTATOR_QUEUE_URL": "https://sqs.invalid/1/q.fifo"})
    lines, audit = _swept(settings)
    there = _written(lines) | _counted(stack, audit)
    read: set[Metric] = set()
    for alarm in stack.resources("AWS::CloudWatch::Alarm").values():
        dimensions = frozenset((one["Name"], one["Value"]) for one in alarm["Dimensions"])
        read.add((alarm["Namespace"], alarm["MetricName"], dimensions))
    for alarm in applied.values("aws_cloudwatch_metric_alarm").values():
        read.add((alarm["namespace"], alarm["metric_name"], frozenset(alarm["dimensions"].items())))
    (dashboard,) = applied.values("aws_cloudwatch_dashboard").values()
    for widget in json.loads(dashboard["dashboard_body"])["widgets"]:
        for namespace, name, *rest in widget["properties"].get("metrics", ()):
            pairs = rest[:-1]  # what to show of it comes last
            read.add((namespace, name, frozenset(zip(pairs[::2], pairs[1::2], strict=True))))
    own = {metric for metric in read if not metric[0].startswith("AWS/")}
    assert len({name for _, name, _ in own}) >= 5
    assert own <= there, own - there


def test_aws_metrics_name_existing_resources(both: Both) -> None:
    stack, applied = both
    functions = {one["function_name"] for one in applied.values("aws_lambda_function").values()}
    queues = {one["name"] for one in applied.values("aws_sqs_queue").values()}
    assert len(functions) == len(FUNCTIONS)
    for alarm in stack.resources("AWS::CloudWatch::Alarm").values():
        (dimension,) = alarm["Dimensions"]
        if alarm["Namespace"] == "AWS/Lambda":
            assert (alarm["MetricName"], dimension["Name"]) == ("Errors", "FunctionName")
            assert dimension["Value"] in functions
        elif alarm["Namespace"] == "AWS/SQS":
            assert dimension["Name"] == "QueueName"
            assert dimension["Value"] in queues


def test_each_alarm_counts_its_own_lines(plain_template: Stack) -> None:
    """A standing alert must not hide a new failure, so they are counted apart."""
    filters = plain_template.resources("AWS::Logs::MetricFilter").values()
    patterns = {one["MetricTransformations"][0]["MetricName"]: one["FilterPattern"] for one in filters}
    for event, outcome, more, counted in (
        ("sweep.completed", "success", {"dry_run": False}, {"rotator_sweeps_succeeded"}),
        ("sweep.completed", "success", {"dry_run": True}, {"rotator_sweeps_succeeded", "rotator_dry_runs"}),
        ("sweep.completed", "failure", {"dry_run": False}, set()),
        ("alert.raised", "failure", {}, {"rotator_problems"}),
        ("alert.raised", "success", {}, set()),
        ("rotation.failed", "denied", {}, {"rotator_failures"}),
        ("revocation.failed", "failure", {}, {"rotator_failures"}),
        ("key.revoked", "failure", {}, set()),
    ):
        line = {"event": event, "outcome": outcome, **more}
        assert {name for name, pattern in patterns.items() if _matches(pattern, line)} == counted
