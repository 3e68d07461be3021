"""The stack as a user deploys it, on an AWS that is not moto: MiniStack takes the template and runs the functions."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config

from rotator.sandbox.clocks import OffsetClock
from rotator.sandbox.infobip import InfobipWorld
from rotator.sandbox.server import InfobipServer
from rotator.sandbox.state import SimAccount

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "build" / "e2e-tools" / "bin" / "python"
PACKAGE = ROOT / "dist" / "rotator-lambda.zip"
REGION = "eu-central-1"
STAGE = "e2e"
NAME = f"infobip-key-rotator-{STAGE}"
MEMBER, FAR = "222222222222", "prod/far/sms"
"""Another AWS account, and its secret."""
SECRETS = ("prod/sms/otp", "prod/billing/sms", "prod/voice/alerts")


def wait_for(what: str, check: Callable[[], Any], seconds: float = 150) -> Any:
    """What ``check`` gives as soon as it gives something; an emulator on the network has no event to wait for."""
    until = time.monotonic() + seconds
    while (found := check()) is None:
        if time.monotonic() > until:
            pytest.fail(f"{what}: not seen within {seconds} s")
        time.sleep(0.2)
    return found


@dataclass
class Cloud:
    """MiniStack and the simulated Infobip, with one management secret and three managed secrets."""

    url: str
    infobip: InfobipServer
    account: SimAccount
    folder: Path
    environment: dict[str, str]
    iam: bool = False
    seeded: dict[str, str] = field(default_factory=dict)
    consumers: list[subprocess.Popen[str]] = field(default_factory=list)

    def client(self, name: str, account: str = "test") -> Any:
        """A boto3 client for MiniStack, with the credentials of an AWS account's root user: their id is the account's.

        ``test`` is that of the rotator's own AWS account.
        """
        config = Config(retries={"max_attempts": 1}, read_timeout=120)
        credentials = {"aws_access_key_id": account, "aws_secret_access_key": "test"}
        return boto3.client(  # type: ignore[call-overload]
            name, endpoint_url=self.url, region_name=REGION, config=config, **credentials
        )

    def osls(self, *arguments: str) -> str:
        """The output of osls, which must succeed."""
        command = ["node_modules/.bin/osls", *arguments, "--stage", STAGE]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def invoke(self, function: str, event: dict[str, Any]) -> dict[str, Any]:
        """What a function answers; an error of the function is a failure."""
        answer = self.client("lambda").invoke(FunctionName=f"{NAME}-{function}", Payload=json.dumps(event))
        text = answer["Payload"].read()
        assert "FunctionError" not in answer, text
        found: dict[str, Any] = json.loads(text)
        return found

    def current(self, secret: str, account: str = "test") -> dict[str, Any]:
        """The JSON value that consumers read."""
        client = self.client("secretsmanager", account)
        found: dict[str, Any] = json.loads(
            client.get_secret_value(SecretId=secret, VersionStage="AWSCURRENT")["SecretString"]
        )
        return found

    def logs(self, function: str) -> str:
        """What a function logged."""
        events = self.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{NAME}-{function}")["events"]
        return "\n".join(str(event["message"]) for event in events)

    def explain(self) -> None:
        """Print what the functions logged and what MiniStack said; pytest shows it where a test fails."""
        names = [each["logGroupName"] for each in self.client("logs").describe_log_groups()["logGroups"]]
        for name in names:
            print(f"---- {name}\n{self.logs(name.rpartition('-')[2])[-20000:]}")

    def consume(self, secret: str) -> Callable[[], dict[str, Any]]:
        """A consumer in a process of its own; each call makes it use its key once."""
        process = subprocess.Popen(
            [TOOLS, Path(__file__).with_name("consumer.py"), secret, self.infobip.url],
            env=self.environment | {"AWS_DEFAULT_REGION": REGION},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.consumers.append(process)

        def use() -> dict[str, Any]:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            found: dict[str, Any] = json.loads(process.stdout.readline())
            return found

        return use


@pytest.fixture(params=[False, True], ids=["", "with-iam"])
def cloud(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cloud]:
    """An AWS account without this project in it, and an Infobip account with three keys that are due."""
    for path, what in ((TOOLS, "MiniStack"), (ROOT / "node_modules/.bin/osls", "osls"), (PACKAGE, "the package")):
        if not path.exists():
            pytest.skip(f"{what} is missing: make e2e")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "SYSTEMROOT") if name in os.environ}
    server_environment = kept | {
        "PATH": f"{TOOLS.parent}{os.pathsep}{kept.get('PATH', '')}",  # functions run on the same Python
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "GATEWAY_PORT": str(port),
        "AUTH": str(request.param).lower(),
    }
    environment = kept | {
        "HOME": str(tmp_path),
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "SLS_TELEMETRY_DISABLED": "1",
        "SLS_NOTIFICATIONS_MODE": "off",
        "CI": "1",
    }
    log = (tmp_path / "ministack.log").open("w")
    command = [TOOLS, Path(__file__).with_name("ministack_with_iam.py")]
    server = subprocess.Popen(command, env=server_environment, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT)
    world = InfobipWorld(OffsetClock())
    with InfobipServer(world) as infobip:
        try:
            wait_for("MiniStack", lambda: answers(url), 60)
            account = world.add_account()
            made = Cloud(url, infobip, account, checkout(tmp_path / "checkout"), environment, request.param)
            seed(made, world)
            yield made
            made.explain()
        finally:
            for consumer in made.consumers if "made" in locals() else []:
                consumer.kill()
                consumer.communicate()
            server.terminate()
            server.wait(timeout=30)
            log.close()


def answers(url: str) -> bool | None:
    """Whether MiniStack is ready."""
    try:
        return requests.get(f"{url}/_localstack/health", timeout=5).ok or None
    except requests.ConnectionError:
        return None


def checkout(folder: Path) -> Path:
    """What a user deploys from: the repository's files, with the package that `make package` built."""
    folder.mkdir()
    (folder / ".ci").mkdir()
    (folder / "dist").mkdir()
    for name in ("serverless.yml", "package.json", *(str(p.relative_to(ROOT)) for p in (ROOT / ".ci").glob("*.js"))):
        shutil.copy(ROOT / name, folder / name)
    shutil.copy(PACKAGE, folder / "dist")
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    return folder


def seed(cloud: Cloud, world: InfobipWorld) -> None:
    """One management secret; managed secrets whose keys expire in five days: three, and one in the other account."""
    user = world.add_user(cloud.account, "ops-rotator")

    def create(name: str, value: dict[str, str], **tags: str) -> None:
        pairs = [{"Key": f"rotator:{key}", "Value": text} for key, text in tags.items()]
        client = cloud.client("secretsmanager", MEMBER if name == FAR else "test")
        client.create_secret(Name=name, SecretString=json.dumps(value), Tags=pairs)

    login = {"base_url": cloud.infobip.url, "username": user.username, "password": user.password}
    create("infobip/management", login, role="management", account="main")
    now = world.clock.now()
    for name in (*SECRETS, FAR):
        key = world.add_key(cloud.account, name, created_at=now - timedelta(days=85), valid_to=now + timedelta(days=5))
        cloud.seeded[name] = str(key.value)
        create(name, {"api_key": key.value, "sender": "Example"}, role="key", account="main")
