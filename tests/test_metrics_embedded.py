"""CloudWatch's embedded metric format: its rules, its price, and the alarms that read it."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rotator.policy.planner import plan_account
from rotator.redaction.redactor import Redactor
from rotator.telemetry.cloudwatch import MOST_SECRETS_MEASURED, EmbeddedMetrics
from rotator.telemetry.metrics import (
    EXPIRATION,
    FAMILIES,
    READY,
    ROTATIONS,
    AccountMetrics,
    Sample,
    count_samples,
    state_samples,
    sweep_samples,
)
from tests.policy.build import DAY, NOW, POLICY
from tests.policy.tables import observed

ROOT = Path(__file__).parent.parent
COUNTED_BY_FILTERS = {"rotator_sweeps_succeeded", "rotator_problems", "rotator_failures", "rotator_dry_runs"}


def written(report: AccountMetrics, redact: Callable[[str], str] = str) -> list[dict[str, Any]]:
    stream = io.StringIO()
    EmbeddedMetrics("Keys/Prod", "blue", redact, stream).publish(report)
    lines = stream.getvalue().splitlines()
    assert stream.getvalue().isascii()
    assert all(len(line) < 250_000 for line in lines)
    return [checked(json.loads(line)) for line in lines]


def checked(line: dict[str, Any]) -> dict[str, Any]:
    """The rules of the format, as CloudWatch would apply them."""
    assert isinstance(line["_aws"]["Timestamp"], int)
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
    assert 1 <= len(directive["Metrics"]) <= 100
    assert directive["Dimensions"]
    for names in directive["Dimensions"]:
        assert len(names) <= 30
        for name in names:
            assert isinstance(line[name], str)
            assert 1 <= len(line[name]) <= 1024
            assert line[name].strip()
            assert line[name].isprintable()
    for metric in directive["Metrics"]:
        assert isinstance(line[metric["Name"]], int | float)
        assert metric["Unit"] in ("Count", "Seconds", "None")
    assert "event" not in line  # the filters over audit lines must not see it
    return line


def dimensions(line: dict[str, Any]) -> list[list[str]]:
    found: list[list[str]] = line["_aws"]["CloudWatchMetrics"][0]["Dimensions"]
    return found


def of_fleet(there: str) -> AccountMetrics:
    snapshot = observed(there)
    plan = plan_account(snapshot, POLICY, NOW)
    samples = state_samples(snapshot, plan, NOW, ())
    return AccountMetrics("main", NOW, samples, sweep_samples(True, NOW - DAY, NOW), count_samples(plan, ()))


def test_alarm_metrics_have_their_dimension() -> None:
    (line, *_) = written(of_fleet("s; K1"))
    assert dimensions(line) == [["deployment"], ["deployment", "account"]]
    assert (line["deployment"], line["account"]) == ("blue", "main")
    assert line["_aws"]["Timestamp"] == NOW.timestamp() * 1000
    assert line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Keys/Prod"
    read = {
        name
        for file in ("terraform/alarms.tf", "terraform/dashboard.tf", "serverless.yml")
        for name in re.findall(r"\brotator_[a-z0-9_]+", (ROOT / file).read_text(encoding="utf-8"))
    }
    assert read >= COUNTED_BY_FILTERS | {"rotator_keys_expiring_7d", "rotator_revocations_overdue"}
    assert read - COUNTED_BY_FILTERS <= set(line)
    # Counted twice they would lie.
    assert not COUNTED_BY_FILTERS & {family.name for family in FAMILIES}


def test_empty_states_are_not_written() -> None:
    lines = written(of_fleet("s; K1"))
    assert [line["state"] for line in lines if "state" in line] == ["ok"]
    assert not [line for line in lines if "reason" in line]
    (grown,) = written(AccountMetrics("main", NOW, counts=(Sample(ROTATIONS, 2, ("expiring",)),)))
    assert grown["rotator_rotations_total"] == 2
    assert dimensions(grown) == [["deployment"], ["deployment", "account"], ["deployment", "account", "reason"]]


def test_state_gauge_is_not_rolled_up() -> None:
    (line,) = (line for line in written(of_fleet("s; K1")) if "state" in line)
    assert dimensions(line) == [["deployment", "account", "state"]]


def test_only_needy_secrets_are_written() -> None:
    names = ("far", "edge", "near", "dead", "unknown")
    secrets = "; ".join(f"{name} {{v1 CURRENT key:{name.upper()}}}" for name in names)
    keys = "FAR left=31d; EDGE left=30d; NEAR left=29d23h59m59s; DEAD disabled"
    lines = [line for line in written(of_fleet(f"{secrets}; {keys}")) if "secret" in line]
    assert [line["secret"] for line in lines] == ["dead", "unknown", "near"]
    assert all(dimensions(line) == [["deployment", "account", "secret"]] for line in lines)
    assert [line[READY.name] for line in lines] == [0, 0, 1]
    assert EXPIRATION.name not in lines[1]


def test_fleet_that_is_not_ready_is_no_bill() -> None:
    lines = [line for line in written(of_fleet(f"{MOST_SECRETS_MEASURED + 50} x s#")) if "secret" in line]
    assert len(lines) == MOST_SECRETS_MEASURED


@pytest.mark.parametrize("name", ["\x1b[2J\n{}", "ключ", "\ud800", " ", "x" * 3000, '"]},"_aws":{'], ids=ascii)
def test_hostile_names_are_valid_dimensions(name: str) -> None:
    report = AccountMetrics(name, NOW, (Sample(READY, 0, (name,)),))
    (line,) = written(report)
    assert set(line) == {"_aws", "deployment", "account", "secret", READY.name}


def test_value_in_name_is_taken_out(used_secrets: Callable[[str], str]) -> None:
    redactor = Redactor()
    value = used_secrets("correct horse battery")
    redactor.learn(value)
    (line,) = written(AccountMetrics(value, NOW, (Sample(READY, 0, (f"a/{value}",)),)), redactor.redact)
    assert value not in json.dumps(line)


def test_empty_report_and_closed_stream() -> None:
    assert written(AccountMetrics("main", NOW)) == []
    closed = io.StringIO()
    closed.close()
    EmbeddedMetrics("Keys", "blue", str, closed).publish(of_fleet("s; K1"))
