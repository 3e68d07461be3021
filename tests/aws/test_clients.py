"""Sessions and clients: an error names what is missing on the machine, with its fix."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rotator import __version__
from rotator.aws.clients import make_client, make_session
from rotator.aws.secretsmanager import SecretsManagerStore
from rotator.errors import ConfigurationError
from tests.aws.fake_aws import FakeAws, error, ok

CONFIG = "[profile p]\nregion = eu-west-1\ncredential_process = false\n[profile production]\nregion = eu-west-1\n"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIATESTING", "AWS_SECRET_ACCESS_KEY": "testing"}
WRONG: dict[str, tuple[dict[str, str], str, dict[str, str], str]] = {
    "no region": (KEYS, "", {}, "AWS_REGION"),
    "no such region": (KEYS, "", {"region": "eu central 1"}, "region"),
    "no credentials": ({}, "", {"region": "eu-central-1"}, "AWS_PROFILE"),
    "half of them": ({"AWS_ACCESS_KEY_ID": "A"}, "", {"region": "eu-central-1"}, "AWS_SECRET_ACCESS_KEY"),
    "no such profile": ({}, CONFIG, {"profile": "prod"}, r"\(prod\).*p, production"),
    "by variable": ({"AWS_PROFILE": "prd"}, CONFIG, {}, r"\(prd\)"),
    "no configuration": ({}, "this is no configuration", {"region": "eu-central-1"}, "/config .*line 1"),
    "a process that fails": ({}, CONFIG, {"profile": "p"}, "credential_process"),
    "no URL": ({**KEYS, "AWS_ENDPOINT_URL": "localhost 4566"}, "", {"region": "eu-central-1"}, "AWS_ENDPOINT_URL"),
}


@pytest.mark.parametrize(("variables", "config", "options", "expected"), WRONG.values(), ids=WRONG)
def test_machine_problem_is_named(
    clean_env: pytest.MonkeyPatch,
    tmp_path: Path,
    variables: dict[str, str],
    config: str,
    options: dict[str, Any],
    expected: str,
) -> None:
    (tmp_path / "config").write_text(config)
    for name, text in {"AWS_CONFIG_FILE": str(tmp_path / "config"), **variables}.items():
        clean_env.setenv(name, text)
    with pytest.raises(ConfigurationError, match=expected):
        make_client(make_session(**options), "secretsmanager")


def test_where_region_comes_from(credentials: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("[default]\nregion = eu-west-1\n")
    credentials.setenv("AWS_CONFIG_FILE", str(config))
    assert make_client(make_session(), "secretsmanager").meta.region_name == "eu-west-1"
    credentials.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    assert make_client(make_session(), "secretsmanager").meta.region_name == "eu-west-2"
    credentials.setenv("AWS_REGION", "eu-west-3")
    assert make_client(make_session(), "secretsmanager").meta.region_name == "eu-west-3"
    assert make_client(make_session("eu-north-1"), "secretsmanager").meta.region_name == "eu-north-1"


@pytest.mark.usefixtures("credentials")
def test_waits_and_tries_are_bounded() -> None:
    config = make_client(make_session("eu-central-1"), "sqs").meta.config
    assert (config.connect_timeout, config.read_timeout) == (5, 20)
    assert config.retries["mode"] == "standard"
    assert config.retries["total_max_attempts"] == 4
    assert f"rotator/{__version__}" in config.user_agent_extra


def test_call_is_retried_until_answered(aws: FakeAws, credentials: pytest.MonkeyPatch) -> None:
    credentials.setenv("AWS_ENDPOINT_URL", aws.url)
    aws.answers = [error("ThrottlingException"), ok(ARN="arn", Name="s")]
    store = SecretsManagerStore(make_client(make_session("eu-central-1"), "secretsmanager"))
    assert store.describe("s").name == "s"
    assert aws.operations == ["DescribeSecret", "DescribeSecret"]


def test_what_is_imported_is_light() -> None:
    """A Lambda's cold start pays for every module."""
    code = (
        "import sys, rotator.aws.clients, rotator.aws.secretsmanager;"
        "print(*{name.partition('.')[0] for name in sys.modules}"
        " & {'boto3', 's3transfer', 'requests', 'rich', 'click', 'moto', 'asyncio', 'apscheduler'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
