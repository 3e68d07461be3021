"""Which calls the store makes: how many, and with which parameters."""

from __future__ import annotations

import base64

import pytest

from rotator.aws.secretsmanager import SecretsManagerStore
from rotator.errors import StoreDenied, StoreUnavailable
from rotator.secret import Secret
from tests.aws.fake_aws import FakeAws, drop, error, ok

V1, V2 = "1" * 32, "2" * 32


def test_listing_filters_role_not_deleted(aws: FakeAws, store: SecretsManagerStore) -> None:
    aws.answers = [ok(SecretList=[], NextToken="more"), ok(SecretList=[])]
    assert store.list_secrets() == ()
    first = {
        "Filters": [{"Key": "tag-key", "Values": ["rotator:role"]}],
        "IncludePlannedDeletion": True,
        "MaxResults": 100,
    }
    assert aws.requests == [("ListSecrets", first), ("ListSecrets", {**first, "NextToken": "more"})]


def test_circular_listing_is_given_up(aws: FakeAws, store: SecretsManagerStore) -> None:
    aws.answers = [ok(SecretList=[], NextToken="again")]
    with pytest.raises(StoreUnavailable, match="ListSecrets"):
        store.list_secrets()
    assert len(aws.requests) == 2


def test_broken_listing_gives_nothing(aws: FakeAws, store: SecretsManagerStore) -> None:
    aws.answers = [ok(SecretList=[{"ARN": "a", "Name": "a"}], NextToken="more"), drop]
    with pytest.raises(StoreUnavailable):
        store.list_secrets()


def test_secret_on_two_pages_is_listed_once(aws: FakeAws, store: SecretsManagerStore) -> None:
    secret = {"ARN": "arn:a", "Name": "a", "Tags": [{"Key": "rotator:role", "Value": "key"}]}
    newer = {**secret, "SecretVersionsToStages": {V1: ["AWSCURRENT"], V2: []}}
    aws.answers = [ok(SecretList=[secret], NextToken="more"), ok(SecretList=[newer])]
    [entry] = store.list_secrets()
    assert entry.versions == {V1: {"AWSCURRENT"}}


def test_versions_are_dated_over_all_pages(aws: FakeAws, store: SecretsManagerStore) -> None:
    aws.answers = [
        ok(Versions=[{"VersionId": V1, "VersionStages": ["AWSCURRENT"], "CreatedDate": 1_700_000_000}], NextToken="m"),
        ok(Versions=[{"VersionId": V2, "CreatedDate": 1_600_000_000.5}]),
    ]
    dates = store.version_dates("prod/sms")
    assert {version: date.timestamp() for version, date in dates.items()} == {V1: 1_700_000_000, V2: 1_600_000_000.5}
    assert all(str(date.tzinfo) == "UTC" for date in dates.values())
    assert aws.requests[0][1] == {"SecretId": "prod/sms", "IncludeDeprecated": True, "MaxResults": 100}


def test_what_is_sent(aws: FakeAws, store: SecretsManagerStore) -> None:
    aws.answers = [ok(ARN="arn", Name="s", VersionId=V1, SecretString="x", VersionStages=["AWSCURRENT"])]
    store.read_current("s")
    store.read_version("s", V1)
    store.stage("s", V1, Secret("x"), ("AWSPENDING", "a"))
    store.promote("s", V2, V1)
    store.promote("s", V2, None)
    store.add_label("s", "a", V1)
    store.add_label("s", "a", V2, remove_from=V1)
    store.remove_label("s", "a", V2)
    move = "UpdateSecretVersionStage"
    current = {"SecretId": "s", "VersionStage": "AWSCURRENT"}
    label = {"SecretId": "s", "VersionStage": "a"}
    assert aws.requests == [
        ("GetSecretValue", {"SecretId": "s", "VersionStage": "AWSCURRENT"}),
        ("GetSecretValue", {"SecretId": "s", "VersionId": V1}),
        (
            "PutSecretValue",
            {"SecretId": "s", "ClientRequestToken": V1, "SecretString": "x", "VersionStages": ["AWSPENDING", "a"]},
        ),
        (move, {**current, "MoveToVersionId": V2, "RemoveFromVersionId": V1}),
        (move, {**current, "MoveToVersionId": V2}),
        (move, {**label, "MoveToVersionId": V1}),
        (move, {**label, "MoveToVersionId": V2, "RemoveFromVersionId": V1}),
        (move, {**label, "RemoveFromVersionId": V2}),
    ]


def test_entry_has_owner_replica_rotation(aws: FakeAws, store: SecretsManagerStore) -> None:
    aws.answers = [
        ok(
            ARN="arn:aws:secretsmanager:eu-central-1:123456789012:secret:s-AbCdEf",
            Name="s",
            OwningService="rds",
            PrimaryRegion="us-east-1",
            RotationEnabled=True,
            RotationLambdaARN="arn:aws:lambda:eu-central-1:123456789012:function:rotator-rotation",
            DeletedDate=1_700_000_000,
            LastChangedDate=1_600_000_000,
            LastAccessedDate=1_600_041_600,
        )
    ]
    entry = store.describe("s")
    assert (entry.owning_service, entry.primary_region, entry.rotation_enabled) == ("rds", "us-east-1", True)
    assert entry.rotation_function == "arn:aws:lambda:eu-central-1:123456789012:function:rotator-rotation"
    assert entry.deleted_at is not None
    assert entry.deleted_at.isoformat() == "2023-11-14T22:13:20+00:00"
    assert entry.last_changed is not None
    assert entry.last_changed.isoformat() == "2020-09-13T12:26:40+00:00"
    assert entry.last_accessed is not None
    assert entry.last_accessed.isoformat() == "2020-09-14T00:00:00+00:00"
    assert (entry.tags, entry.versions) == ({}, {})


# ---- values of many secrets, 20 a call ------------------------------------------------------------------------------


def value(arn: str, **more: str) -> dict[str, object]:
    stored = more or {"SecretString": f"value of {arn}"}
    return {"ARN": arn, "Name": arn[4:], "VersionId": V1, "VersionStages": ["AWSCURRENT"], **stored}


def test_batches_of_20(aws: FakeAws, store: SecretsManagerStore) -> None:
    arns = [f"arn:{number}" for number in range(41)]
    batches = [arns[:20], arns[20:40], arns[40:]]
    aws.answers = [ok(SecretValues=[value(arn) for arn in batch]) for batch in batches]
    found = store.read_many(arns)
    assert found == {arn: Secret(f"value of {arn}") for arn in arns}
    assert aws.requests == [("BatchGetSecretValue", {"SecretIdList": batch}) for batch in batches]


def test_binary_value_is_latin_1(aws: FakeAws, store: SecretsManagerStore) -> None:
    blob = base64.b64encode(bytes(range(256))).decode()
    aws.answers = [ok(SecretValues=[value("arn:a", SecretBinary=blob)])]
    assert store.read_many(["arn:a"]) == {"arn:a": Secret(bytes(range(256)).decode("latin-1"))}


REFUSED = {"SecretId": "arn:b", "ErrorCode": "AccessDeniedException", "Message": "no"}
NOT_CURRENT = {**value("arn:b", SecretString="old"), "VersionStages": ["AWSPREVIOUS"]}


@pytest.mark.parametrize(
    "batch",
    [
        {"SecretValues": [value("arn:a")], "Errors": [REFUSED]},
        {"SecretValues": [value("arn:a")]},
        {"SecretValues": [value("arn:a"), NOT_CURRENT]},
    ],
    ids=["refused", "not in the answer", "not current"],
)
@pytest.mark.parametrize("denied", [True, False])
def test_missing_in_batch_is_read_alone(
    aws: FakeAws, store: SecretsManagerStore, batch: dict[str, object], denied: bool
) -> None:
    """A read of one secret names exactly what is wrong."""
    aws.answers = [ok(**batch), error("AccessDeniedException", "kms:Decrypt") if denied else ok(**value("arn:b"))]
    found = store.read_many(["arn:a", "arn:b"])
    assert found["arn:a"] == Secret("value of arn:a")
    assert aws.requests[1:] == [("GetSecretValue", {"SecretId": "arn:b", "VersionStage": "AWSCURRENT"})]
    if denied:
        assert isinstance(found["arn:b"], StoreDenied)
        assert "arn:b" in str(found["arn:b"])
    else:
        assert found["arn:b"] == Secret("value of arn:b")


def test_one_without_value_is_left_out(aws: FakeAws, store: SecretsManagerStore) -> None:
    empty = {"SecretId": "arn:b", "ErrorCode": "ResourceNotFoundException", "Message": "no"}
    aws.answers = [ok(SecretValues=[value("arn:a")], Errors=[empty])]
    assert set(store.read_many(["arn:a", "arn:b"])) == {"arn:a"}
    assert aws.operations == ["BatchGetSecretValue"]


def test_denied_batch_reads_each_alone(aws: FakeAws, store: SecretsManagerStore) -> None:
    aws.answers = [error("AccessDeniedException", "BatchGetSecretValue"), ok(**value("arn:a")), ok(**value("arn:b"))]
    assert set(store.read_many(["arn:a", "arn:b"])) == {"arn:a", "arn:b"}
    assert aws.operations == ["BatchGetSecretValue", "GetSecretValue", "GetSecretValue"]


@pytest.mark.parametrize("single", [drop, error("InternalServiceError", status=500)])
def test_unreadable_is_error_of_each(aws: FakeAws, store: SecretsManagerStore, single: object) -> None:
    aws.answers = [single]  # type: ignore[list-item]
    found = store.read_many(["arn:a", "arn:b"])
    assert set(found) == {"arn:a", "arn:b"}
    assert all(isinstance(content, StoreUnavailable) for content in found.values())
