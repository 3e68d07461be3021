"""``make bench`` at its smallest: the table, the shape of the JSON, the counts; and what a sweep holds in memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench import audit_lines
from tests.bench.sweeps import peak_of, script, sweep
from tests.bench.synthetic_fleet import SyntheticFleet

ROOT = Path(__file__).parent.parent.parent
MOST_A_RUN = 6_000
"""Bytes: its id, numbers and digest."""
MOST_A_SECRET = 5_120
"""Bytes: its name, ARN, labels and tags, its key's name and dates, and what the plan makes of them,
and what the redactor spares."""


def bench(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.bench", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment, timeout=300)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """The table and the figures of a run without the Lambda package, which other tests build."""
    target = tmp_path_factory.mktemp("bench") / "figures" / "bench.json"
    sizes = ["--sweeps", "150,250", "--plans", "100,1000", "--lines", "2000"]
    done = bench(*sizes, "--cold", "0", "--rounds", "1", "--json", str(target))
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(target.read_text(encoding="utf-8"))


def test_figures(measured: tuple[str, dict[str, Any]]) -> None:
    _, found = measured
    assert found["cold_start"] is None
    assert [(row["secrets"], row["calls"]) for row in found["sweeps"]] == [
        (150, {"ListSecrets": 2, "GetSecretValue": 1, "GET keys": 2}),
        (250, {"ListSecrets": 3, "GetSecretValue": 1, "GET keys": 3}),
    ]
    for row in found["sweeps"]:
        assert row["calls_script"] == dict.fromkeys(("DescribeSecret", "GetSecretValue", "GET key"), row["secrets"])
        assert all(row[name] > 0 for name in ("cpu_seconds", "cpu_to_paging", "cpu_to_script", "peak_bytes"))
    assert found["verification"]["readable"]["searches_a_day"] == 0
    assert found["verification"]["masked"]["searches_a_day"] == 1_000 + 24  # and whether Infobip filters by value
    assert found["verification"]["masked"]["reads"] <= 5
    assert found["verification"]["masked"]["searches"] <= 65
    assert found["rotation"] == {
        "rotation": {
            "secretsmanager": {"add_label": 1, "describe": 1, "promote": 1, "read_current": 1, "stage": 1},
            # The list of disabled keys, by which the quota is counted, and the count right before the create.
            "infobip": {"GET api-keys": 2, "GET balance": 1, "GET key": 1, "POST api-keys": 1},
        },
        "end_of_grace": {
            # All current values once and this secret's again; the old version's value, to search for it in them.
            "secretsmanager": {"describe": 1, "read_many": 2, "read_version": 2, "remove_label": 2},
            "infobip": {"GET api-keys": 1, "GET key": 1, "PUT key": 1},
        },
    }
    assert [row["keys"] for row in found["planner"]] == [100, 1000]
    assert found["planner"][0]["growth"] == 1
    assert found["evidence"]["lines"] == 2_000


def test_table(measured: tuple[str, dict[str, Any]]) -> None:
    rows = [line.split("|") for line in measured[0].splitlines()]
    assert {len(cells) for cells in rows} == {5}  # as Markdown reads it
    assert [line for line in measured[0].splitlines() if "250 secrets: calls" in line] == [
        "| idle sweep of 250 secrets: calls, and a typical script's | 7 and 750 | 2 a hundred |"
    ]


def test_page_has_counts_that_are_measured(measured: tuple[str, dict[str, Any]]) -> None:
    table = (ROOT / "tests" / "bench" / "README.md").read_text(encoding="utf-8").splitlines()
    counted = [line for line in measured[0].splitlines() if ": calls at " in line or "daily verification" in line]
    assert len(counted) == 6
    assert [line for line in counted if line not in table] == []
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    found = measured[1]["rotation"]
    calls = {what: {where: sum(made.values()) for where, made in found[what].items()} for what in found}
    rotation, ended = calls["rotation"], calls["end_of_grace"]
    probes = found["rotation"]["infobip"]["GET balance"]
    made = (
        f"{rotation['secretsmanager']} at Secrets Manager; {rotation['infobip'] - probes} at Infobip and {probes} probe"
    )
    assert f"| a rotation | {made} " in page
    made = f"{ended['secretsmanager']} at Secrets Manager; {ended['infobip']} at Infobip"
    assert f"| a revocation after grace | {made}," in page


def test_page_has_calls_of_idle_sweep() -> None:
    fleet = SyntheticFleet(3_000)
    sweep(fleet)
    page = (ROOT / "tests" / "bench" / "README.md").read_text(encoding="utf-8")
    assert (
        f"| idle sweep of 3,000 secrets: calls, and a typical script's | {sum(fleet.calls.values())} and 9,000 |"
        in page
    )


def test_idle_sweep_calls_per_store() -> None:
    fleet = SyntheticFleet(3_000, stores=3)
    sweep(fleet)
    assert fleet.calls == {"ListSecrets": 11 + 10 + 10, "GetSecretValue": 2, "GET keys": 30}
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert f"{fleet.calls['ListSecrets']} for 3,000 secrets in three stores" in page


def test_synthetic_fleet_answers_script() -> None:
    fleet = SyntheticFleet(3)
    script(fleet, 3)
    assert fleet.calls == {"DescribeSecret": 3, "GetSecretValue": 3, "GET key": 3}


def test_evidence_memory_is_not_of_lines() -> None:
    """Forty runs more are eighteen thousand lines more: a few kilobytes per run, and nothing per line."""
    few, many = (audit_lines.peak_of(runs * audit_lines.PER_RUN) for runs in (10, 50))
    assert (many - few) / 40 < MOST_A_RUN
    assert not audit_lines.read(audit_lines.lines(1_000)).reports[0].problems


def test_sweep_memory_per_secret_is_bounded() -> None:
    sweep(SyntheticFleet(100))  # what is loaded once is not counted
    few, many = (peak_of(sweep, SyntheticFleet(count)) for count in (2_000, 4_000))
    assert (many - few) / 2_000 < MOST_A_SECRET
