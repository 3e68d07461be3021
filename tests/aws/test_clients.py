"""Sessions and clients: an error names what is missing on the machine, with its fix."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rotator import __version__
from rotator.aws.clients import make_client, make_session
from rotator.aws.secretsmanager import SecretsManagerStore
from rotator.errors import ConfigurationError
from tests.aws.fake_aws import FakeAws, error, ok


@pytest.mark.usefixtures("credentials")
def test_no_region() -> None:
    with pytest.raises(ConfigurationError, match=r"no AWS region is set.*AWS_REGION"):
        make_client(make_session(), "secretsmanager")


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("region", ["eu central 1", "eu-central-1/x"])
def test_a_region_that_is_none(region: str) -> None:
    with pytest.raises(ConfigurationError, match="region"):
        make_client(make_session(region), "secretsmanager")


@pytest.mark.usefixtures("clean_env")
def test_no_credentials() -> None:
    with pytest.raises(ConfigurationError, match=r"no AWS credentials.*AWS_PROFILE"):
        make_client(make_session("eu-central-1"), "secretsmanager")


def test_half_of_the_credentials(clean_env: pytest.MonkeyPatch) -> None:
    clean_env.setenv("AWS_ACCESS_KEY_ID", "AKIATESTING")
    with pytest.raises(ConfigurationError, match=r"incomplete.*AWS_SECRET_ACCESS_KEY"):
        make_client(make_session("eu-central-1"), "secretsmanager")


def test_an_unknown_profile_names_those_that_are_known(clean_env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("[profile staging]\nregion = eu-west-1\n[profile production]\nregion = eu-west-1\n")
    clean_env.setenv("AWS_CONFIG_FILE", str(config))
    with pytest.raises(ConfigurationError, match=r"\(prod\).*production, staging"):
        make_session(profile="prod")
    clean_env.setenv("AWS_PROFILE", "prd")
    with pytest.raises(ConfigurationError, match=r"\(prd\)"):
        make_session()


def test_an_unreadable_configuration(clean_env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("this is no configuration")
    clean_env.setenv("AWS_CONFIG_FILE", str(config))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        make_session("eu-central-1")


def test_credentials_that_cannot_be_fetched(clean_env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("[profile p]\nregion = eu-west-1\ncredential_process = false\n")
    clean_env.setenv("AWS_CONFIG_FILE", str(config))
    with pytest.raises(ConfigurationError, match="could not be fetched"):
        make_client(make_session(profile="p"), "secretsmanager")


def test_an_endpoint_that_is_no_url(credentials: pytest.MonkeyPatch) -> None:
    credentials.setenv("AWS_ENDPOINT_URL", "localhost 4566")
    with pytest.raises(ConfigurationError, match="AWS_ENDPOINT_URL"):
        make_client(make_session("eu-central-1"), "secretsmanager")


def test_where_the_region_comes_from(credentials: pytest.MonkeyPatch, tmp_path: Path) -> None:
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
def test_waits_are_bounded_and_calls_are_tried_four_times() -> None:
    config = make_client(make_session("eu-central-1"), "sqs").meta.config
    assert (config.connect_timeout, config.read_timeout) == (5, 20)
    assert config.retries["mode"] == "standard"
    assert config.retries["total_max_attempts"] == 4
    assert f"rotator/{__version__}" in config.user_agent_extra


def test_a_call_is_tried_again_until_it_is_answered(aws: FakeAws, credentials: pytest.MonkeyPatch) -> None:
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
