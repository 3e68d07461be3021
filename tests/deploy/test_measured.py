"""What alarms, filters and the dashboard read is what the product writes: by name, dimensions and namespace.

A world is swept under the environment that the template gives the worker; its metric lines and audit lines are taken as
CloudWatch would take them. An alarm on a metric that nobody writes would stay silent for ever.
"""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest

from rotator.settings import Settings
from rotator.telemetry.cloudwatch import EmbeddedMetrics
from tests.deploy.actions import FUNCTIONS
from tests.deploy.cloudformation import Stack
from tests.deploy.terraform import Applied
from tests.world import DAY, World, with_policy

Both = tuple[Stack, Applied]
Metric = tuple[str, str, frozenset[tuple[str, str]]]
"""Namespace, name, and dimensions with their values."""


def _environment(stack: Stack, function: str) -> dict[str, str]:
    found = stack.resources("AWS::Lambda::Function")[f"{function.capitalize()}LambdaFunction"]
    variables: dict[str, str] = found["Environment"]["Variables"]
    return variables


def _swept(settings: Settings) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Metric lines and audit lines of a sweep with a success, of one that fails and of one with a secret to fix."""
    out = io.StringIO()
    assert settings.metric_namespace is not None
    metrics = EmbeddedMetrics(settings.metric_namespace, settings.deployment, str, out)
    world = with_policy(World(), deployment=settings.deployment)
    world.managed("prod/sms", left=5 * DAY, age=85 * DAY)
    for fixed in (True, False):
        if not fixed:
            world.managed("prod/fix", grace="soon")
        reconciler = world.reconciler()
        reconciler.services.metrics = metrics
        assert reconciler.sweep().succeeded
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
    """A filter pattern of CloudWatch Logs, as far as it is used here: equalities, joined by && and ||."""
    terms = pattern.strip().removeprefix("{").removesuffix("}")
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
def test_what_alarms_and_dashboard_read_is_written(both: Both, function: str) -> None:
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


def test_what_aws_counts_by_itself_is_of_functions_and_queues_that_there_are(both: Both) -> None:
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


def test_a_sweep_that_fails_does_not_count_and_a_problem_does(plain_template: Stack) -> None:
    """The patterns tell apart what the alarms have to tell apart."""
    filters = plain_template.resources("AWS::Logs::MetricFilter").values()
    patterns = {one["MetricTransformations"][0]["MetricName"]: one["FilterPattern"] for one in filters}
    succeeded, problems = patterns["rotator_sweeps_succeeded"], patterns["rotator_problems"]
    line = {"event": "sweep.completed", "outcome": "success"}
    assert (_matches(succeeded, line), _matches(problems, line)) == (True, False)
    assert not _matches(succeeded, {**line, "outcome": "failure"})
    for event, outcome, counts in (
        ("alert.raised", "failure", True),
        ("alert.raised", "success", False),
        ("rotation.failed", "denied", True),
        ("revocation.failed", "failure", True),
        ("key.revoked", "failure", False),
    ):
        assert _matches(problems, {"event": event, "outcome": outcome}) is counts
