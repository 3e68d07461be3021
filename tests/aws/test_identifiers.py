"""Names, ARNs, version ids and labels are shown and logged, so what AWS would not give is refused unseen."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from rotator.aws.secretsmanager import SecretsManagerStore
from rotator.errors import StoreError, StoreOutcomeUnknown, StoreRejected, StoreUnavailable
from rotator.secret import Secret
from tests.aws.fake_aws import FakeAws, ok, text
from tests.infobip.answers import KEY_VALUE
from tests.security.shown_locals import as_shown

NAME = "prod/x_+=.@-Y"
ARN = f"arn:aws:secretsmanager:eu-central-1:123456789012:secret:{NAME}-AbCdEf"
V1, V2 = "1" * 32, "2" * 32
OPERATORS_TOKEN = "operator's own token, 2026-12-02T10:00:00Z: déploiement"
CALLS: dict[str, Callable[[SecretsManagerStore, str], object]] = {
    "list": lambda store, _: store.list_secrets(),
    "describe": lambda store, _: store.describe(NAME),
    "dates": lambda store, _: store.version_dates(NAME),
    "current": lambda store, _: store.read_current(NAME),
    "version": lambda store, version: store.read_version(NAME, version),
    "stage": lambda store, version: store.stage(NAME, version, Secret(KEY_VALUE), ("AWSPENDING",)),
    "label": lambda store, version: store.add_label(NAME, "a", version),
}


def answer(version: object = V1, labels: object = ("AWSCURRENT",), **other: object) -> dict[str, object]:
    """What every call is answered with; each reads its own fields."""
    secret = {"ARN": ARN, "Name": NAME, "Tags": [{"Key": "rotator:role", "Value": "key"}], **other}
    stages = {str(version): labels}
    return {
        **secret,
        "VersionId": version,
        "VersionStages": labels,
        "VersionIdsToStages": stages,
        "SecretString": KEY_VALUE,
        "SecretList": [{**secret, "SecretVersionsToStages": stages}],
        "Versions": [{"VersionId": version, "CreatedDate": 1_700_000_000}],
    }


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("version", [V1, "A-1" * 11, OPERATORS_TOKEN, "é" * 64])
def test_what_aws_allows_is_read(aws: FakeAws, store: SecretsManagerStore, name: str, version: str) -> None:
    aws.answers = [ok(**answer(version, ["AWSCURRENT", "an operator's: déployé €", "x" * 256]))]
    CALLS[name](store, version)


@pytest.mark.parametrize("name", ["list", "describe", "dates", "current", "version", "stage"])
@pytest.mark.parametrize("version", [KEY_VALUE, "v" * 31, "v" * 65, "v" * 32 + "\n", "\u202e" * 40, "", None, 7])
def test_version_id_that_aws_would_not_give(
    aws: FakeAws, store: SecretsManagerStore, name: str, version: object
) -> None:
    aws.answers = [ok(**answer(version))]
    with pytest.raises(StoreError) as caught:
        CALLS[name](store, V1)
    assert type(caught.value) is (StoreOutcomeUnknown if name == "stage" else StoreUnavailable)
    assert name == "list" or NAME in str(caught.value)
    assert caught.value.__context__ is None
    assert KEY_VALUE not in as_shown(caught.value)


@pytest.mark.parametrize("name", ["version", "stage"])
def test_answer_about_another_version(aws: FakeAws, store: SecretsManagerStore, name: str) -> None:
    aws.answers = [ok(**answer(V2))]
    with pytest.raises(StoreError) as caught:
        CALLS[name](store, V1)
    assert caught.value.outcome_unknown == (name == "stage")


@pytest.mark.parametrize("name", [name for name in CALLS if name != "dates"])
def test_answer_about_another_secret(aws: FakeAws, store: SecretsManagerStore, name: str) -> None:
    """It is refused where one secret was asked for; a listing's names are what AWS says that they are."""
    aws.answers = [ok(**answer(ARN=f"arn:{KEY_VALUE}", Name=KEY_VALUE))]
    if name == "list":
        assert [entry.name for entry in store.list_secrets()] == [KEY_VALUE]
        return
    with pytest.raises(StoreError) as caught:
        CALLS[name](store, V1)
    assert caught.value.outcome_unknown == (name in ("stage", "label"))
    assert KEY_VALUE not in as_shown(caught.value)


@pytest.mark.parametrize("asked", [NAME, ARN, ARN.removesuffix("-AbCdEf")])
def test_secret_is_described_by_name_or_arn(aws: FakeAws, store: SecretsManagerStore, asked: str) -> None:
    aws.answers = [ok(**answer())]
    assert store.describe(asked).name == NAME


@pytest.mark.parametrize(
    "asked", ["prod/x", "prod", f"{NAME}2", ARN.removesuffix("@-Y-AbCdEf"), ARN.removesuffix("-Y-AbCdEf")]
)
def test_longer_name_is_another_secret(aws: FakeAws, store: SecretsManagerStore, asked: str) -> None:
    aws.answers = [ok(**answer(Name="prod/x-2", ARN=ARN))]
    with pytest.raises(StoreUnavailable, match=asked.replace("+", r"\+")):
        store.describe(asked)


@pytest.mark.parametrize("changes", [{"ARN": "a" * 2049}, {"Name": "n" * 513}, {"Name": ""}, {"ARN": 7}])
def test_listing_with_other_names_than_awss(
    aws: FakeAws, store: SecretsManagerStore, changes: dict[str, object]
) -> None:
    aws.answers = [ok(**answer(**changes))]
    with pytest.raises(StoreUnavailable, match="ListSecrets"):
        store.list_secrets()


@pytest.mark.parametrize("label", [f"rotator:key:{KEY_VALUE}", KEY_VALUE, f"note {KEY_VALUE.upper()}"])
def test_keys_value_in_label_is_redacted(aws: FakeAws, store: SecretsManagerStore, label: str) -> None:
    """Threat: a key's value in a label. It is redacted. It is one secret's fault, and must not keep it, or others, from
    being read.
    """
    aws.answers = [ok(**answer(labels=["AWSCURRENT", label]))]
    stored, (listed,) = store.read_current(NAME), store.list_secrets()
    for labels in (stored.labels, listed.versions[V1], store.describe(NAME).versions[V1]):
        assert len(labels) == 2
        assert "AWSCURRENT" in labels
        assert KEY_VALUE not in str(labels).lower()


@pytest.mark.parametrize("labels", [[""], ["x" * 257], [7], [None]])
@pytest.mark.parametrize("name", ["list", "describe", "current"])
def test_labels_that_aws_would_not_give(
    aws: FakeAws, store: SecretsManagerStore, name: str, labels: list[object]
) -> None:
    aws.answers = [ok(**answer(labels=labels))]
    with pytest.raises(StoreUnavailable):
        CALLS[name](store, V1)


def test_batch_is_read_by_requested_arns(aws: FakeAws, store: SecretsManagerStore) -> None:
    aws.answers = [ok(SecretValues=[answer(ARN=KEY_VALUE)]), ok(**answer())]
    assert store.read_many([ARN]) == {ARN: Secret(KEY_VALUE)}
    assert aws.operations == ["BatchGetSecretValue", "GetSecretValue"]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("fields", [{"__type": KEY_VALUE}, {"__type": "Strange", "Message": f"not: '{KEY_VALUE}'"}])
def test_error_with_value_in_it(aws: FakeAws, store: SecretsManagerStore, name: str, fields: dict[str, str]) -> None:
    aws.answers = [text(400, json.dumps(fields).encode())]
    with pytest.raises(StoreRejected) as caught:
        CALLS[name](store, V1)
    assert ("Strange" if "Message" in fields else "(400") in str(caught.value)
    assert KEY_VALUE not in as_shown(caught.value)
