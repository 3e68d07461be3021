"""Both deployments as they would be deployed: packaged by osls, applied by terraform; once a run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.cloudformation import PSEUDO, Stack
from tests.deploy.offline import (
    ALL_ON,
    NAME,
    REGION,
    ROOT,
    STAGE,
    account_at,
    all_on,
    moto_server,
    once,
    package,
    service,
    without_aws,
)
from tests.deploy.terraform import Applied, apply, cached_provider, offline_terraform, own_terraform


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The CloudFormation template that osls writes, without network and without credentials."""

    def make(folder: Path) -> None:
        environment = service(folder)
        command = ["node_modules/.bin/osls", "package", "--stage", STAGE]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "arning" not in done.stdout + done.stderr

    folder = once(tmp_path_factory.getbasetemp(), "osls", make)
    found: dict[str, Any] = json.loads((folder / ".serverless/cloudformation-template-update-stack.json").read_text())
    return found


@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Applied]:
    """The module applied with its defaults (``plain``) and with everything on (``full``)."""
    own, offline = own_terraform(), offline_terraform()
    if not own and not offline:
        pytest.skip("needs terraform")

    def make(folder: Path) -> None:
        path = package(folder)
        common = {"name": NAME, "deployment": STAGE, "package_path": str(path)}
        for name, more in (("plain", {}), ("full", all_on())):
            variables = {**common, **more}
            if own:
                with moto_server() as endpoint:
                    environment = {**without_aws(), **account_at(endpoint), "AWS_REGION": REGION, **cached_provider()}
                    state = apply(own, ROOT / "terraform", folder / name, variables, environment)
            else:
                assert offline
                state = apply(offline, ROOT / "terraform", folder / name, variables)
            (folder / f"{name}.json").write_text(json.dumps(state))

    folder = once(tmp_path_factory.getbasetemp(), "terraform", make)
    return {name: Applied(json.loads((folder / f"{name}.json").read_text())) for name in ("plain", "full")}


@pytest.fixture(params=["plain", "full"])
def both(
    request: pytest.FixtureRequest, template: dict[str, Any], terraform: dict[str, Applied]
) -> tuple[Stack, Applied]:
    """The same deployment by either way, in one AWS account and region."""
    applied = terraform[request.param]
    return Stack(template, ALL_ON if request.param == "full" else {}, applied.known()), applied


QUEUE_ARN = "arn:aws:sqs:eu-central-1:123456789012:accounts.fifo"


@pytest.fixture
def plain_template(template: dict[str, Any]) -> Stack:
    """The template with its defaults."""
    return Stack(template, {}, {**PSEUDO, "AccountQueue.Arn": QUEUE_ARN})


@pytest.fixture
def full_template(template: dict[str, Any]) -> Stack:
    """The template with every optional part."""
    return Stack(template, ALL_ON, {**PSEUDO, "AccountQueue.Arn": QUEUE_ARN})
