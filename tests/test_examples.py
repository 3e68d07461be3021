"""The examples under ``docs/``: they parse, name options that exist, and are as restricted as they say."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from configparser import ConfigParser
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click
import pytest
import yaml  # type: ignore[import-untyped]

from needed_tools import require
from rotator.cli.app import cli
from rotator.cli.serve import END_SECONDS
from rotator.settings import Settings
from rotator.telemetry.metrics import FAMILIES

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "docs" / "examples"
UNIT = EXAMPLES / "rotator.service"


def understood(command: list[str]) -> click.Context:
    """The last command's context: every option is known and can be read."""
    assert Path(command[0]).name == "rotator"
    group = cli.make_context("rotator", command[1:], obj=None)
    with group:
        name, found, rest = cli.resolve_command(group, [*group._protected_args, *group.args])
        assert found is not None
        return found.make_context(name, rest, parent=group)


# ---- systemd --------------------------------------------------------------------------------------------------------


def unit() -> dict[str, list[tuple[str, str]]]:
    """Sections and their settings; systemd allows a name twice, so configparser only checks the form."""
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text(encoding="utf-8"))
    sections: dict[str, list[tuple[str, str]]] = {name: [] for name in parser.sections()}
    section = ""
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if found := re.fullmatch(r"\[(\w+)\]", line):
            section = found[1]
        elif line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            assert equals
            sections[section].append((name, value))
    return sections


def test_unit_starts_and_stops_daemon() -> None:
    sections = unit()
    assert set(sections) == {"Unit", "Service", "Install"}
    service = dict(sections["Service"])
    context = understood(shlex.split(service["ExecStart"]))
    assert context.command.name == "serve"
    assert context.params["metrics_port"] == 9464
    assert service["KillSignal"] == "SIGTERM"
    assert int(service["TimeoutStopSec"]) > 10
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"] == "2"


def test_unit_waits_for_right_time() -> None:
    text = UNIT.read_text(encoding="utf-8")
    for name in ("Wants", "After"):
        (targets,) = re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)
        assert "time-sync.target" in targets.split()


def test_unit_is_locked_up() -> None:
    service = dict(unit()["Service"])
    on = ("DynamicUser", "NoNewPrivileges", "PrivateDevices", "PrivateTmp", "ProtectHome", "MemoryDenyWriteExecute")
    assert {service[name] for name in on} == {"yes"}
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"] == ""
    assert service["LimitCORE"] == "0"


@require("systemd-analyze")
def test_systemd_takes_unit(tmp_path: Path) -> None:
    text = re.sub(r"/opt/rotator/bin/rotator", "/bin/true", UNIT.read_text(encoding="utf-8"))
    (tmp_path / "rotator.service").write_text(text)
    run = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "rotator.service")], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")


# ---- Kubernetes -----------------------------------------------------------------------------------------------------


def everything(value: Any) -> Iterator[tuple[str, Any]]:
    """Every field, however deep."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name, inner
            yield from everything(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from everything(inner)


def manifests(name: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """A file's service account, workload, and that workload's pod."""
    account, workload = yaml.safe_load_all((EXAMPLES / name).read_text(encoding="utf-8"))
    spec = workload["spec"].get("jobTemplate", workload)["spec"]
    return account, workload, spec["template"]["spec"]


def test_cron_job_sweeps_once() -> None:
    _, job, pod = manifests("cronjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    spec = job["spec"]
    assert len(spec["schedule"].split()) == 5
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert pod["restartPolicy"] == "Never"
    (container,) = pod["containers"]
    assert understood(container["command"]).command.name == "run"
    assert {each["name"]: each["value"] for each in container["env"]}["ROTATOR_TRIGGER"] == "schedule"


def test_deployment_serves_one_daemon() -> None:
    _, deployment, pod = manifests("deployment.yaml")
    assert (deployment["apiVersion"], deployment["kind"]) == ("apps/v1", "Deployment")
    spec = deployment["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    (container,) = pod["containers"]
    serve = understood(["rotator", *container["args"]])
    assert serve.command.name == "serve"
    (port,) = container["ports"]
    assert port["containerPort"] == serve.params["metrics_port"]
    assert ip_address(serve.params["metrics_address"]).is_unspecified, "the kubelet probes from outside the pod"
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/healthz", "port": port["name"]}
    assert pod["terminationGracePeriodSeconds"] > END_SECONDS


@pytest.mark.parametrize("name", ["cronjob.yaml", "deployment.yaml"])
def test_pod_meets_restricted_standard(name: str) -> None:
    account, workload, pod = manifests(name)
    assert account["kind"] == "ServiceAccount"
    assert account["automountServiceAccountToken"] is False
    assert account["metadata"]["name"] == pod["serviceAccountName"]
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "Containerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert user is not None
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": int(user[1]),
        "runAsGroup": int(user[2]),
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"privileged", "hostNetwork", "hostPID", "hostPath"} & {name for name, _ in everything(workload)}
    variables = {each["name"]: each["value"] for each in container["env"]}
    assert all(isinstance(value, str) for value in variables.values()), "Kubernetes takes only texts there"
    assert Settings.from_env(variables).dry_run
    assert not [name for name in variables if re.search("KEY|SECRET|PASSWORD|TOKEN", name)]


# ---- what is measured -----------------------------------------------------------------------------------------------


def test_table_of_metrics_is_programs() -> None:
    text = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `rotator_")]
    assert rows == [
        f"| `{family.name}` | {', '.join(f'`{label}`' for label in family.labels)} | {family.help} |"
        for family in FAMILIES
    ]
    assert "`…_total` are counters, the others gauges" in text
    assert all((family.kind == "counter") == family.name.endswith("_total") for family in FAMILIES)
