"""Whatever stands where Secrets Manager should: every call of the store gives a result or an error of the tree."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.aws.clients import make_client, make_session
from rotator.aws.secretsmanager import SecretsManagerStore
from rotator.errors import ConfigurationError, RotatorError
from rotator.secret import Secret
from tests.aws.fake_aws import FakeAws, serving, text
from tests.fuzz.strategies import JSON, LABELS, TAGS, TEXTS, VERSIONS, result_of
from tests.infobip.answers import KEY_VALUE

VERSION = "a" * 32
CALLS: dict[str, Callable[[SecretsManagerStore], object]] = {
    "list": lambda store: store.list_secrets(),
    "describe": lambda store: store.describe("prod/x"),
    "current": lambda store: store.read_current("prod/x"),
    "version": lambda store: store.read_version("prod/x", VERSION),
    "dates": lambda store: store.version_dates("prod/x"),
    "stage": lambda store: store.stage("prod/x", VERSION, Secret(KEY_VALUE), ("AWSPENDING",)),
    "promote": lambda store: store.promote("prod/x", VERSION, None),
    "label": lambda store: store.add_label("prod/x", "a", VERSION),
    "unlabel": lambda store: store.remove_label("prod/x", "a", VERSION),
}
IDS = VERSIONS | st.just(KEY_VALUE) | TEXTS
STAGES = st.dictionaries(IDS, st.lists(LABELS, max_size=3), max_size=3)
SECRETS = st.fixed_dictionaries(
    {"ARN": st.just("arn") | TEXTS, "Name": st.just("prod/x") | TEXTS},
    optional={
        "Tags": TAGS.map(lambda tags: [{"Key": name, "Value": value} for name, value in tags.items()]) | JSON,
        "SecretVersionsToStages": STAGES,
        "VersionIdsToStages": STAGES,
        "DeletedDate": st.floats(0, 4e9) | st.integers(0, 10**20) | JSON,
        "SecretString": st.just(KEY_VALUE) | TEXTS | JSON,
        "SecretBinary": TEXTS,
        "VersionId": IDS | JSON,
        "VersionStages": st.lists(LABELS, max_size=2),
    },
)
PAGES = st.fixed_dictionaries(
    {},
    optional={
        "SecretList": st.lists(SECRETS, max_size=3) | JSON,
        "Versions": st.lists(st.fixed_dictionaries({"VersionId": IDS, "CreatedDate": st.integers(0, 10**9)}) | JSON),
        "NextToken": st.none() | TEXTS,
    },
)
ERRORS = st.fixed_dictionaries({"__type": TEXTS | JSON}, optional={"Message": TEXTS | JSON, "message": TEXTS})
READS = st.fixed_dictionaries(
    {
        "ARN": st.just("arn") | IDS,
        "Name": st.just("prod/x") | IDS,
        "SecretString": st.just(KEY_VALUE),
        "VersionId": st.just(VERSION) | IDS,
        "VersionStages": st.lists(LABELS, max_size=3),
    }
)
BODIES = st.builds(lambda body: json.dumps(body).encode(), SECRETS | PAGES | ERRORS | JSON)


@pytest.fixture(scope="module")
def aws() -> Iterator[FakeAws]:
    with serving() as fake:
        yield fake


@pytest.fixture(scope="module")
def store(aws: FakeAws) -> Iterator[SecretsManagerStore]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", aws.url)
        yield SecretsManagerStore(make_client(make_session("eu-central-1"), "secretsmanager", attempts=1))


@settings(max_examples=400)
@given(
    body=BODIES | st.binary(max_size=30),
    status=st.sampled_from([200, 200, 200, 400, 403, 500]),
    name=st.sampled_from(sorted(CALLS)),
)
def test_calls_give_result_or_known_error(
    aws: FakeAws, store: SecretsManagerStore, body: bytes, status: int, name: str
) -> None:
    """Threat: any bytes as Secrets Manager's response. A write is in doubt, never assumed done."""
    aws.answers = [text(status, body)]
    aws.requests.clear()
    result, error = result_of(lambda: CALLS[name](store), RotatorError)
    if error is not None:
        assert not isinstance(error, ConfigurationError)
        assert error.__context__ is None
    if name in ("current", "version", "stage"):
        assert KEY_VALUE not in f"{result!r} {error!r}"


@settings(max_examples=150)
@given(body=READS, name=st.sampled_from(["current", "version"]))
def test_read_value_is_never_shown(
    aws: FakeAws, store: SecretsManagerStore, body: dict[str, object], name: str
) -> None:
    """Threat: a secret value where AWS returns an id. The response is rejected and the value is not shown."""
    aws.answers = [text(200, json.dumps(body).encode())]
    result, error = result_of(lambda: CALLS[name](store), RotatorError)
    assert KEY_VALUE not in f"{result!r} {error!r}"
