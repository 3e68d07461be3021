"""The example of rules for the rotator's events: valid by cfn-lint, and made for the events that are really sent."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rotator.aws.eventbridge import SOURCE
from rotator.engine.emergency import Strategy
from rotator.telemetry.consumer_events import DETAIL_FIELDS, EMERGENCY, FAILED, ROTATED
from tests.deploy.cloudformation import PSEUDO, Stack
from tests.deploy.offline import ROOT
from tests.emergencies import CREATE, EmergencyWorld
from tests.support.faulty_infobip import FaultKind
from tests.world import DAY, NAME

EXAMPLE = ROOT / "docs" / "examples" / "events.yaml"
CHOSEN = {"SecretName": NAME, "Cluster": "prod", "Service": "otp", "ChatUrl": "https://chat.invalid/x"}


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    found: dict[str, Any] = importlib.import_module("yaml").safe_load(EXAMPLE.read_text(encoding="utf-8"))
    return found


def stack(example: dict[str, Any], **changed: str) -> Stack:
    return Stack(_with_defaults(example), {**CHOSEN, **changed}, PSEUDO)


def _with_defaults(example: dict[str, Any]) -> dict[str, Any]:
    parameters = {name: {"Default": "", **one} for name, one in example["Parameters"].items()}
    return {**example, "Parameters": parameters}


def events() -> list[dict[str, Any]]:
    """What EventBridge would hold after a rotation, a failed one, an account that is not swept and an emergency."""
    world = EmergencyWorld()
    world.secret(NAME, left=5 * DAY)
    world.sweep()
    world.secret("prod/fails", left=5 * DAY)
    world.fault(FaultKind.STATUS_BEFORE, CREATE, status=400, count=1)
    world.sweep()
    world.fault(FaultKind.STATUS_BEFORE, ("GET", "api-keys"), status=401)
    world.sweep()
    world.infobip.faults.clear()
    world.revoke(Strategy.REPLACE_FIRST, incident='INC "1"')
    return [{"source": SOURCE, "detail-type": kind, "detail": dict(detail)} for kind, detail in world.events.sent]


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """EventBridge's matching by exact values."""
    return all(
        matches(wanted, event[name]) if isinstance(wanted, Mapping) else event.get(name) in wanted
        for name, wanted in pattern.items()
    )


def test_it_is_valid() -> None:
    lint = Path(sys.executable).parent / "cfn-lint"
    command = [str(lint), "--regions", "eu-central-1", "us-east-1", "--", str(EXAMPLE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_chat_gets_failures_and_emergencies(example: dict[str, Any]) -> None:
    rules = stack(example).resources("AWS::Events::Rule")
    sent = events()
    assert {event["detail-type"] for event in sent} >= {ROTATED, FAILED, EMERGENCY}
    chat = [event for event in sent if matches(rules["ChatRule"]["EventPattern"], event)]
    assert {event["detail-type"] for event in chat} == {FAILED, EMERGENCY}
    assert len(chat) == 3


def test_one_restart_for_one_rotation(example: dict[str, Any]) -> None:
    """AWS sends an event for each label that a rotation moves; the documents show the same pattern."""
    rule = stack(example).resources("AWS::Events::Rule")["RestartRule"]
    world = EmergencyWorld()
    world.secret(NAME, left=5 * DAY)
    before = world.labels(NAME)
    world.sweep()
    moved = [
        {"name": NAME, "labelUpdated": label, "versionId": version}
        for version, labels in world.labels(NAME).items()
        for label in labels - before.get(version, frozenset()) - {"AWSPENDING", "AWSPREVIOUS"}
    ]
    assert len(moved) == 3
    events: list[dict[str, Any]] = [
        {"source": "aws.secretsmanager", "detail-type": "Secret Label Updated", "detail": detail} for detail in moved
    ]
    (matched,) = [event for event in events if matches(rule["EventPattern"], event)]
    assert matched["detail"]["versionId"] not in before
    assert "EventBusName" not in rule  # the default bus
    shown = json.dumps({**rule["EventPattern"], "detail": {"name": ["prod/sms/otp"], "labelUpdated": ["AWSCURRENT"]}})
    assert shown in (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")


def test_every_event_becomes_json_message(example: dict[str, Any]) -> None:
    rule = stack(example).resources("AWS::Events::Rule")["ChatRule"]
    transformer = rule["Targets"][0]["InputTransformer"]
    paths, template = transformer["InputPathsMap"], transformer["InputTemplate"]
    assert set(re.findall(r"<([^<>]+)>", template)) == paths.keys()
    free = {"$.detail.reason", "$.detail.error", "$.detail.incident"}
    assert not free & set(paths.values())  # they may hold a quotation mark, which would break the message
    for event in events():
        if not matches(rule["EventPattern"], event):
            continue
        filled = template
        for name, path in paths.items():
            value: Any = event
            for step in path.removeprefix("$.").split("."):
                assert step in value, path
                value = value[step]
            filled = filled.replace(f"<{name}>", str(value))
        assert event["detail-type"] in json.loads(filled)["text"]


def test_roles_suffice_for_their_rules(example: dict[str, Any]) -> None:
    allowed = {
        name: [(one["Action"], one["Resource"]) for one in role["Policies"][0]["PolicyDocument"]["Statement"]]
        for name, role in stack(example).resources("AWS::IAM::Role").items()
    }
    service = "arn:aws:ecs:eu-central-1:123456789012:service/prod/otp"
    assert allowed == {
        "RestartRuleRole": [("states:StartExecution", "<RestartService>")],
        "RestartServiceRole": [("ecs:UpdateService", service)],
        "ChatRole": [("events:InvokeApiDestination", "<ChatDestination.Arn>")],
    }
    (machine,) = stack(example).resources("AWS::StepFunctions::StateMachine").values()
    task = machine["Definition"]["States"]["Restart"]
    assert task["Resource"] == "arn:aws:states:::aws-sdk:ecs:updateService"
    assert task["Parameters"] == {"Cluster": "prod", "Service": "otp", "ForceNewDeployment": True}


@pytest.mark.parametrize(("without", "left"), [("Service", {"ChatRule"}), ("ChatUrl", {"RestartRule"})])
def test_either_may_be_left_out(example: dict[str, Any], without: str, left: set[str]) -> None:
    chosen = stack(example, **{without: ""})
    assert chosen.resources("AWS::Events::Rule").keys() == left


def test_documents_name_events_and_fields() -> None:
    text = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8").partition("## Events on EventBridge")[2]
    for kind in {event["detail-type"] for event in events()}:
        assert f"| `{kind}` |" in text
    for name in {*DETAIL_FIELDS, *(name for event in events() for name in event["detail"])}:
        assert f"`{name}`" in text, name
