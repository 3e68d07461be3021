"""What it takes to deploy without AWS: a folder as osls finds it, moto with CloudFormation, and every option."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.terraform import own_terraform

ROOT = Path(__file__).parents[2]
STAGE = "dev"
REGION = "eu-central-1"
MOTO = ROOT / "build" / "deploy-tools" / "bin" / "python"
_SERVE = "from moto.server import main; main(['-H', '127.0.0.1', '-p', '0'])"
NAME = f"infobip-key-rotator-{STAGE}"
BUS = "default"
HOME = REGION if own_terraform() else "us-east-1"
"""The region in which terraform applies: without a network its provider knows one only."""
MEMBER = "111122223333"
STORE_ROLES = [f"arn:aws:iam::{MEMBER}:role/rotator", f"arn:aws:iam::{MEMBER}:role/rotator@other"]
STORES = [HOME, "us-west-2", *(f"{role}@eu-west-{number}" for number, role in enumerate(STORE_ROLES, 1))]
KMS_KEYS = ["arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"]
ALL_ON = {
    "Stores": " ".join(STORES),
    "StoreRegions": f"{HOME},us-west-2",
    "StoreRoles": ",".join(STORE_ROLES),
    "StoreAccounts": MEMBER,
    "ExternalId": "deployment/1",
    "AllowedHosts": "proxy.example.com,*.example.org",
    "EventBus": BUS,
    "SecretKmsKeys": KMS_KEYS[0],
    "Xray": "true",
    "AdoptionGate": "true",
    "DryRun": "false",
    "ReserveConcurrency": "true",
}
"""The parameters of the template with which every optional part is there; :func:`all_on` is terraform's side of it."""


def missing(tool: str) -> None:
    """Skip; but fail in CI, which sets the tools up before: there a skip would hide that something is not tested."""
    if os.environ.get("CI") and shutil.which("npm"):
        pytest.fail(f"{tool} is missing: .ci/deploy-checks has to run before the tests")
    pytest.skip(f"needs {tool}")


@contextmanager
def moto_server() -> Iterator[str]:
    """The URL of a moto server that knows CloudFormation; it prints its port on stderr."""
    if not MOTO.exists():
        missing("moto with CloudFormation")
    process = subprocess.Popen([MOTO, "-u", "-c", _SERVE], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"Running on (http://127\.0\.0\.1:\d+)", line):
                # What else it prints must not fill the pipe.
                with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=process.stderr):
                    yield found[1]
                    process.terminate()
                break
        else:
            pytest.fail("moto did not start")
    finally:
        process.terminate()
        process.wait(timeout=30)
        assert process.stderr is not None
        process.stderr.close()


def without_aws() -> dict[str, str]:
    """The environment without the machine's own AWS account."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def account_at(endpoint: str) -> dict[str, str]:
    """The environment that makes a moto server the AWS account."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def once(folder: Path, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first of several test processes makes, and the others wait for."""
    shared = folder.parent if os.environ.get("PYTEST_XDIST_WORKER") else folder
    made = shared / name
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (made / ".done").exists():
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir()
            make(made)
            (made / ".done").touch()
    return made


def service(folder: Path) -> dict[str, str]:
    """Lay serverless.yml, node_modules and a package out in a folder; gives the environment for osls in it."""
    if not (ROOT / "node_modules" / ".bin" / "osls").exists():
        missing("osls")
    (folder / ".ci").mkdir()
    for name in ("serverless.yml", ".ci/serverless-settings.js", "package.json"):
        shutil.copy(ROOT / name, folder / name)
    settings = folder / f"stage.{STAGE}.yml"
    if not settings.exists():
        settings.write_text("{}")
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    package(folder)
    return without_aws() | {
        "SLS_TELEMETRY_DISABLED": "1",
        "SLS_NOTIFICATIONS_MODE": "off",
        "HOME": str(folder),
        "CI": "1",
    }


def package(folder: Path) -> Path:
    """A file where the Lambda's package is looked for: what is in it is no matter here."""
    path = folder / "dist" / "rotator-lambda.zip"
    path.parent.mkdir()
    # An empty archive: its end-of-directory record alone.
    path.write_bytes(b"PK\x05\x06" + bytes(18))
    return path


def all_on() -> dict[str, Any]:
    """Terraform variables with which every optional part is there."""
    options = {"xray": True, "adoption_gate": True, "dry_run": False, "reserve_concurrency": True}
    hosts = ALL_ON["AllowedHosts"].split(",")
    stores = {"stores": STORES, "external_id": ALL_ON["ExternalId"]}
    return {"event_bus_name": BUS, "secret_kms_key_arns": KMS_KEYS, "allowed_hosts": hosts, **stores, **options}
