"""Reading the values of many secrets: 20 a call, each by itself where AWS refuses the call or one of them."""

from __future__ import annotations

import base64

import pytest

from rotator.aws.secretsmanager import SecretsManagerStore
from rotator.errors import StoreDenied, StoreError, StoreUnavailable
from rotator.secret import Secret
from tests.aws.fake_aws import FakeAws, drop, error, ok

V1 = "1" * 32


def value(arn: str, **more: str) -> dict[str, object]:
    stored = more or {"SecretString": f"value of {arn}"}
    return {"ARN": arn, "Name": arn[4:], "VersionId": V1, "VersionStages": ["AWSCURRENT"], **stored}


def test_20_a_call(aws: FakeAws, store: SecretsManagerStore) -> None:
    arns = [f"arn:{number}" for number in range(41)]
    batches = [arns[:20], arns[20:40], arns[40:]]
    aws.answers = [ok(SecretValues=[value(arn) for arn in batch]) for batch in batches]
    found = store.read_many(arns)
    assert found == {arn: Secret(f"value of {arn}") for arn in arns}
    assert aws.requests == [("BatchGetSecretValue", {"SecretIdList": batch}) for batch in batches]


def test_no_secrets_are_no_call(aws: FakeAws, store: SecretsManagerStore) -> None:
    assert store.read_many([]) == {}
    assert aws.requests == []


def test_a_binary_value_is_latin_1(aws: FakeAws, store: SecretsManagerStore) -> None:
    blob = base64.b64encode(bytes(range(256))).decode()
    aws.answers = [ok(SecretValues=[value("arn:a", SecretBinary=blob)])]
    assert store.read_many(["arn:a"]) == {"arn:a": Secret(bytes(range(256)).decode("latin-1"))}


def test_one_that_the_batch_refuses_is_read_by_itself(aws: FakeAws, store: SecretsManagerStore) -> None:
    """By itself it says exactly what is wrong."""
    refused = {"SecretId": "arn:b", "ErrorCode": "AccessDeniedException", "Message": "no"}
    aws.answers = [ok(SecretValues=[value("arn:a")], Errors=[refused]), error("AccessDeniedException", "kms:Decrypt")]
    found = store.read_many(["arn:a", "arn:b"])
    assert found["arn:a"] == Secret("value of arn:a")
    assert isinstance(found["arn:b"], StoreDenied)
    assert "arn:b" in str(found["arn:b"])
    assert aws.operations == ["BatchGetSecretValue", "GetSecretValue"]


def test_one_without_a_value_is_left_out(aws: FakeAws, store: SecretsManagerStore) -> None:
    empty = {"SecretId": "arn:b", "ErrorCode": "ResourceNotFoundException", "Message": "no"}
    aws.answers = [ok(SecretValues=[value("arn:a")], Errors=[empty])]
    assert set(store.read_many(["arn:a", "arn:b"])) == {"arn:a"}
    assert aws.operations == ["BatchGetSecretValue"]


def test_one_that_the_answer_does_not_speak_of_is_read_by_itself(aws: FakeAws, store: SecretsManagerStore) -> None:
    aws.answers = [ok(SecretValues=[value("arn:a")]), ok(**value("arn:b"))]
    assert store.read_many(["arn:a", "arn:b"]) == {arn: Secret(f"value of {arn}") for arn in ("arn:a", "arn:b")}
    assert aws.requests[1] == ("GetSecretValue", {"SecretId": "arn:b", "VersionStage": "AWSCURRENT"})


def test_where_the_action_is_not_allowed_each_is_read_by_itself(aws: FakeAws, store: SecretsManagerStore) -> None:
    aws.answers = [error("AccessDeniedException", "BatchGetSecretValue"), ok(**value("arn:a")), ok(**value("arn:b"))]
    assert set(store.read_many(["arn:a", "arn:b"])) == {"arn:a", "arn:b"}
    assert aws.operations == ["BatchGetSecretValue", "GetSecretValue", "GetSecretValue"]


@pytest.mark.parametrize("single", [drop, error("InternalServiceError", status=500)])
def test_what_can_not_be_read_at_all_is_an_error_of_each(
    aws: FakeAws, store: SecretsManagerStore, single: object
) -> None:
    aws.answers = [single]  # type: ignore[list-item]
    found = store.read_many(["arn:a", "arn:b"])
    assert set(found) == {"arn:a", "arn:b"}
    assert all(isinstance(content, StoreUnavailable) for content in found.values())


def test_no_value_is_in_what_is_shown(aws: FakeAws, store: SecretsManagerStore) -> None:
    aws.answers = [ok(SecretValues=[value("arn:a", SecretString="hunter2-secret")])]
    found = store.read_many(["arn:a"])
    assert "hunter2" not in repr(found)
    assert not any(isinstance(content, StoreError) for content in found.values())


def test_a_version_that_is_not_current_is_not_taken(aws: FakeAws, store: SecretsManagerStore) -> None:
    older = {**value("arn:a", SecretString="old"), "VersionStages": ["AWSPREVIOUS"]}
    aws.answers = [ok(SecretValues=[older]), ok(**value("arn:a"))]
    assert store.read_many(["arn:a"]) == {"arn:a": Secret("value of arn:a")}
    assert aws.operations == ["BatchGetSecretValue", "GetSecretValue"]
