from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.errors import ConfigurationError
from rotator.model import StoreId
from rotator.settings import Settings

FUNCTION = "arn:aws:lambda:eu-central-1:123456789012:function:infobip-key-rotator-prod-rotation"
STORE = "arn:aws:iam::111122223333:role/rotator@eu-west-1"
KEY = "-".join(("0123456789abcdef" * 2, "01234567", "0123", "4567", "89ab", "0123456789ab"))


def test_empty_environment_gives_defaults() -> None:
    default = Settings("default", 40, 8, queue_url=None, event_bus=None, dry_run=False, log_level="info")
    assert Settings.from_env({}) == default


def test_every_variable_is_read() -> None:
    settings = Settings.from_env(
        {
            "ROTATOR_DEPLOYMENT": " blue-1 ",
            "ROTATOR_DAILY_LIMIT": "100",
            "ROTATOR_RESERVE": "0",
            "ROTATOR_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/123456789012/rotator",
            "ROTATOR_EVENT_BUS": "arn:aws:events:eu-central-1:123456789012:event-bus/keys",
            "ROTATOR_DRY_RUN": "Yes",
            "ROTATOR_LOG_LEVEL": "DEBUG",
            "ROTATOR_METRIC_NAMESPACE": "Keys/Prod",
            "ROTATOR_SWEEP_EVERY": "15m",
            "ROTATOR_ROTATION_FUNCTION": FUNCTION,
            "ROTATOR_ALLOWED_HOSTS": " Proxy.example.com, *.example.org,",
            "ROTATOR_STORES": f" eu-central-1  {STORE} ",
            "ROTATOR_EXTERNAL_ID": "deployment/1",
            "UNRELATED": "x",
            "ROTATOR_SOMETHING_ELSE": "x",
        }
    )
    assert settings == Settings(
        deployment="blue-1",
        daily_limit=100,
        reserve=0,
        queue_url="https://sqs.eu-central-1.amazonaws.com/123456789012/rotator",
        event_bus="arn:aws:events:eu-central-1:123456789012:event-bus/keys",
        dry_run=True,
        log_level="debug",
        metric_namespace="Keys/Prod",
        sweep_every=timedelta(minutes=15),
        rotation_function=FUNCTION,
        allowed_hosts=("proxy.example.com", "*.example.org"),
        stores=(StoreId("eu-central-1"), StoreId("eu-west-1", STORE[:-10])),
        external_id="deployment/1",
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.dry_run = False  # type: ignore[misc]


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Settings)])
def test_blank_variable_counts_as_not_set(name: str) -> None:
    assert Settings.from_env({f"ROTATOR_{name.upper()}": "  "}) == Settings()


@pytest.mark.parametrize(
    ("text", "dry"), [("true", True), ("1", True), ("YES", True), ("false", False), ("0", False), ("no", False)]
)
def test_dry_run_words(text: str, dry: bool) -> None:
    assert Settings.from_env({"ROTATOR_DRY_RUN": text}).dry_run is dry


BAD = {
    "DEPLOYMENT": ["a:b", "-a", "a" * 33, "a\nb", "ä"],
    "DAILY_LIMIT": ["0", "-1", "4_0", "٤٠", "40.0", "8"],
    "RESERVE": ["some", "40"],
    "QUEUE_URL": ["my-queue", "https://sqs.example.com/", "https://[sqs/x"],
    "EVENT_BUS": ["a bus"],
    "DRY_RUN": ["maybe"],
    "LOG_LEVEL": ["loud"],
    "STORES": ["eu-central-1,us-east-1", f"{STORE} {STORE}", STORE[:-10], "eu-central-1 eu-central-1", "Eu-Central-1"],
    "EXTERNAL_ID": ["x", "a b"],
    "ALLOWED_HOSTS": ["*", "https://proxy.example.com", "proxy.example.com:8443", "proxy.*.example.com"],
    "METRIC_NAMESPACE": ["my keys", "AWS/Keys"],
    "ROTATION_FUNCTION": ["rotation", f"{FUNCTION}:alias", FUNCTION.replace("lambda", "sqs")],
    "SWEEP_EVERY": ["59s", "25h", "hourly", "0s", "1", "-1h", "9" * 5000 + "h"],
}


@pytest.mark.parametrize("name", BAD)
def test_bad_value_is_named(name: str) -> None:
    for value in BAD[name]:
        with pytest.raises(ConfigurationError) as caught:
            Settings.from_env({f"ROTATOR_{name}": value})
        assert f"ROTATOR_{name}" in str(caught.value), value
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 300, "a long value is cut"


@pytest.mark.parametrize(("name", "value", "most"), [("RESERVE", "40", 39), ("DAILY_LIMIT", "8", 7)])
def test_reserve_without_room_names_both(name: str, value: str, most: int) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_env({f"ROTATOR_{name}": value})
    for part in ("ROTATOR_RESERVE", "ROTATOR_DAILY_LIMIT", f"0 to {most}"):
        assert part in str(caught.value)


def test_non_numeric_is_not_compared() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_env({"ROTATOR_DAILY_LIMIT": "x", "ROTATOR_RESERVE": "50"})
    assert "ROTATOR_RESERVE" not in str(caught.value)


def test_all_mistakes_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_env({"ROTATOR_DAILY_LIMIT": "x", "ROTATOR_RESERVE": "y", "ROTATOR_DRY_RUN": "z"})
    for name in ("DAILY_LIMIT", "RESERVE", "DRY_RUN"):
        assert f"ROTATOR_{name}" in str(caught.value)


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("ROTATOR_DRYRUN", "ROTATOR_DRY_RUN"),
        ("ROTATOR_DRY-RUN", "ROTATOR_DRY_RUN"),
        ("rotator_dry_run", "ROTATOR_DRY_RUN"),
    ],
)
def test_misspelt_variable_is_not_ignored(typo: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match=meant):
        Settings.from_env({typo: "true"})


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Settings)])
@pytest.mark.parametrize("value", [KEY, f" {KEY}:", f"https://user:{KEY}@host/queue"])
def test_key_in_wrong_variable_is_not_shown(name: str, value: str) -> None:
    """Threat: a key in the wrong environment variable. The variable is named and its value is not shown."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_env({f"ROTATOR_{name.upper()}": f"{value} !"})
    assert KEY[:20] not in str(caught.value)


def test_password_in_queue_url_is_not_shown() -> None:
    """Threat: a password in a queue's URL. It is not shown."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_env({"ROTATOR_QUEUE_URL": "https://user:pa55word@host/queue"})
    assert "pa55word" not in str(caught.value)


@given(st.dictionaries(st.sampled_from([f"ROTATOR_{f.name.upper()}" for f in dataclasses.fields(Settings)]), st.text()))
def test_any_environment_settings_or_error(environ: dict[str, str]) -> None:
    try:
        settings = Settings.from_env(environ)
    except ConfigurationError:
        return
    assert 0 <= settings.reserve < settings.daily_limit
    assert ":" not in settings.deployment
