"""Every way in which AWS or the network fails, and what the store makes of it."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

import pytest
from botocore.exceptions import NoCredentialsError

from rotator.aws.aws_errors import translate
from rotator.aws.secretsmanager import SecretsManagerStore
from rotator.errors import (
    BadSecretValue,
    ConfigurationError,
    PreconditionFailed,
    RotatorError,
    SecretNotFound,
    StoreDenied,
    StoreError,
    StoreOutcomeUnknown,
    StoreRejected,
    StoreUnavailable,
)
from rotator.reasons import Reason
from rotator.secret import Secret
from tests.aws.conftest import StoreMaker
from tests.aws.fake_aws import Answer, FakeAws, drop, error, error_by_header, half, hang, ok, text

NAME = "prod/sms"
VALUE = "0123456789abcdef0123456789abcdef-very-secret"
V1, V2 = "1" * 32, "2" * 32

READS: dict[str, Callable[[SecretsManagerStore], object]] = {
    "DescribeSecret": lambda store: store.describe(NAME),
    "GetSecretValue": lambda store: store.read_current(NAME),
    "ListSecretVersionIds": lambda store: store.version_dates(NAME),
}
WRITES: dict[str, Callable[[SecretsManagerStore], object]] = {
    "PutSecretValue": lambda store: store.stage(NAME, V2, Secret(VALUE), ("AWSPENDING",)),
    "UpdateSecretVersionStage": lambda store: store.promote(NAME, V2, V1),
}
ALL = {**READS, **WRITES}


def fails(call: Callable[[], object]) -> RotatorError:
    """The error of a call, which shows no value in any form."""
    with pytest.raises(RotatorError) as caught:
        call()
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(vars(caught.value))
    assert VALUE not in shown
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None  # botocore's error may repeat the request
    return caught.value


@pytest.mark.parametrize("operation", ALL)
@pytest.mark.parametrize("code", ["AccessDeniedException", "AccessDenied"])
def test_denied_names_action_and_secret(aws: FakeAws, store: SecretsManagerStore, operation: str, code: str) -> None:
    aws.answers = [
        error(code, "User: x is not authorized to perform: y on resource: z because no identity-based policy allows it")
    ]
    failure = fails(lambda: ALL[operation](store))
    assert isinstance(failure, StoreDenied)
    assert failure.action == f"secretsmanager:{operation}"
    assert failure.message.startswith(f"{NAME}: {failure.action} ")
    assert failure.action in failure.advice
    assert ("no identity-based policy" in str(failure)) is (operation != "PutSecretValue")  # AWS's words


MARKED = "You can't perform this operation on the secret because it was marked for deletion."
NEEDS_FROM = (
    f"The parameter RemoveFromVersionId can't be empty. Staging label AWSCURRENT is currently attached to version {V1}"
    ", so you must explicitly reference that version in RemoveFromVersionId."
)
WRONG_FROM = (
    "When you move staging label AWSCURRENT, if you specify RemoveFromVersionId, it must be set to the version that "
    "currently has the staging label AWSCURRENT."
)
ONLY_MOVE = "You can only move staging label AWSCURRENT to a different secret version. It can't be completely removed."
REPLICA = "Operation not permitted on a replica secret. Call must be made in primary secret's region."
READ, PUT, MOVE = "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"
NO_KMS = "Access to KMS is not allowed"
REFUSALS: list[tuple[str, str, str, type[StoreError], Reason | str]] = [  # the last is a reason, an action or a code
    (READ, "AccessDeniedException", NO_KMS, StoreDenied, "kms:Decrypt"),
    (PUT, "AccessDeniedException", NO_KMS, StoreDenied, "kms:GenerateDataKey"),
    (READ, "DecryptionFailure", "", StoreDenied, "kms:Decrypt"),
    (PUT, "EncryptionFailure", "", StoreDenied, "kms:GenerateDataKey"),
    *((each, "ExpiredTokenException", "It is expired", StoreDenied, "ExpiredToken") for each in (READ, PUT)),
    (READ, "UnrecognizedClientException", "The token is invalid", StoreDenied, "UnrecognizedClient"),
    (PUT, "InvalidSignatureException", "The signature does not match", StoreDenied, "InvalidSignature"),
    (READ, "InvalidSignatureException", "Signature expired: 2026 is earlier than", StoreDenied, Reason.CLOCK_SKEW),
    (PUT, "RequestTimeTooSkewed", "", StoreDenied, Reason.CLOCK_SKEW),
    (READ, "ResourceNotFoundException", "can't find the specified secret value", SecretNotFound, READ),
    (PUT, "ResourceNotFoundException", "", SecretNotFound, PUT),
    *((each, "InvalidRequestException", MARKED, StoreRejected, Reason.DELETED) for each in (READ, PUT, MOVE)),
    *((each, "InvalidParameterException", REPLICA, StoreRejected, Reason.REPLICA) for each in (PUT, MOVE)),
    (MOVE, "InvalidParameterException", NEEDS_FROM, PreconditionFailed, ""),
    (MOVE, "InvalidParameterException", WRONG_FROM, PreconditionFailed, ""),
    (MOVE, "InvalidParameterException", ONLY_MOVE, StoreRejected, "InvalidParameterException"),
    (PUT, "ResourceExistsException", "You can't use ClientRequestToken because", PreconditionFailed, ""),
    *((each, "LimitExceededException", "", StoreRejected, Reason.LABEL_LIMIT) for each in (PUT, MOVE)),
    (PUT, "InvalidRequestException", "managed by another service", StoreRejected, "InvalidRequestException"),
    *((each, "SomethingNewException", "what is that", StoreRejected, "SomethingNewException") for each in (READ, PUT)),
    *((each, "ThrottlingException", "Rate exceeded", StoreUnavailable, each) for each in (READ, PUT)),
    (MOVE, "TooManyRequestsException", "", StoreUnavailable, MOVE),
    (READ, "InternalServiceError", "", StoreUnavailable, "InternalServiceError"),
]


@pytest.mark.parametrize(("operation", "code", "message", "kind", "expected"), REFUSALS)
def test_refusals(
    aws: FakeAws,
    store: SecretsManagerStore,
    operation: str,
    code: str,
    message: str,
    kind: type[StoreError],
    expected: Reason | str,
) -> None:
    aws.answers = [error(code, message)]
    failure = fails(lambda: ALL[operation](store))
    assert type(failure) is kind
    assert failure.message.startswith(f"{NAME}: ")
    assert failure.reason is (expected if isinstance(expected, Reason) else None)
    assert failure.reason or expected in str(failure)
    assert not failure.outcome_unknown
    if isinstance(failure, StoreDenied):
        assert failure.action == (expected if expected.startswith("kms:") else "")


def test_codes_in_headers_and_namespaces(aws: FakeAws, store: SecretsManagerStore) -> None:
    aws.answers = [
        error_by_header("ResourceNotFoundException"),
        error("com.amazonaws.secretsmanager#ResourceNotFoundException"),
    ]
    assert isinstance(fails(lambda: store.describe(NAME)), SecretNotFound)
    assert isinstance(fails(lambda: store.describe(NAME)), SecretNotFound)


BROKEN: dict[str, Answer] = {
    "500": error("InternalServiceError", status=500),
    "503": text(503),
    "not JSON": text(200, b"<html>hello</html>"),
    "reset": drop,
    "half an answer": half,
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("operation", ALL)
def test_lost_answer_leaves_write_in_doubt(
    aws: FakeAws, store: SecretsManagerStore, operation: str, answer: Answer
) -> None:
    aws.answers = [answer]
    failure = fails(lambda: ALL[operation](store))
    assert type(failure) is (StoreOutcomeUnknown if operation in WRITES else StoreUnavailable)
    assert failure.retryable
    assert {NAME, operation} <= {*failure.message.replace(":", "").split()}


def test_page_of_proxy_is_no_empty_listing(aws: FakeAws, store: SecretsManagerStore) -> None:
    """Threat: a proxy's page in place of Secrets Manager. It is an error, not an empty list."""
    aws.answers = [text(200)]
    assert isinstance(fails(store.list_secrets), StoreUnavailable)


def test_timeout_is_unknown_for_write_only(aws: FakeAws, make_store: StoreMaker) -> None:
    aws.answers = [hang]
    store = make_store(read_timeout=0.2)
    assert isinstance(fails(lambda: WRITES["PutSecretValue"](store)), StoreOutcomeUnknown)
    assert isinstance(fails(lambda: store.describe(NAME)), StoreUnavailable)


def test_write_that_never_left_did_nothing(make_store: StoreMaker) -> None:
    failure = fails(lambda: WRITES["PutSecretValue"](make_store(url="http://127.0.0.1:1")))
    assert isinstance(failure, StoreUnavailable)
    assert "AWS_ENDPOINT_URL" in failure.advice


def test_refusal_after_lost_answer_in_doubt(aws: FakeAws, make_store: StoreMaker) -> None:
    """The first attempt may have moved the label, and botocore's second is refused because of that."""
    aws.answers = [drop, error("InvalidParameterException", WRONG_FROM)]
    assert isinstance(fails(lambda: WRITES["UpdateSecretVersionStage"](make_store(attempts=2))), StoreOutcomeUnknown)
    assert aws.operations == ["UpdateSecretVersionStage"] * 2


def test_refusal_after_throttling_is_refusal(aws: FakeAws, make_store: StoreMaker) -> None:
    aws.answers = [error("ThrottlingException"), error("InvalidParameterException", WRONG_FROM)]
    assert isinstance(fails(lambda: WRITES["UpdateSecretVersionStage"](make_store(attempts=2))), PreconditionFailed)


def test_lost_answer_then_expired_login(aws: FakeAws, make_store: StoreMaker) -> None:
    aws.answers = [drop, error("ExpiredTokenException")]
    assert isinstance(fails(lambda: WRITES["PutSecretValue"](make_store(attempts=2))), StoreOutcomeUnknown)
    lost = translate(NoCredentialsError(), "PutSecretValue", NAME, write=True, lost_attempt=True)
    assert isinstance(lost, StoreOutcomeUnknown)
    at_once = translate(NoCredentialsError(), "PutSecretValue", NAME, write=True, lost_attempt=False)
    assert isinstance(at_once, ConfigurationError)


def test_lost_answer_is_forgotten_after_call(aws: FakeAws, store: SecretsManagerStore) -> None:
    aws.answers = [drop, error("InvalidParameterException", WRONG_FROM)]
    assert isinstance(fails(lambda: store.promote(NAME, V2, V1)), StoreOutcomeUnknown)
    assert isinstance(fails(lambda: store.promote(NAME, V2, V1)), PreconditionFailed)


def test_staging_is_repeated_with_same_token(aws: FakeAws, make_store: StoreMaker) -> None:
    aws.answers = [drop, ok(ARN="arn", Name=NAME, VersionId=V2)]
    make_store(attempts=2).stage(NAME, V2, Secret(VALUE), ("AWSPENDING",))
    assert [parameters["ClientRequestToken"] for _, parameters in aws.requests] == [V2, V2]


@pytest.mark.parametrize("code", ["InvalidParameterException", "ValidationException", "InvalidRequestException"])
def test_awss_message_shows_no_value(aws: FakeAws, store: SecretsManagerStore, code: str) -> None:
    aws.answers = [error(code, f"Value '{VALUE}' at 'secretString' failed to satisfy constraint")]
    assert code in str(fails(lambda: WRITES["PutSecretValue"](store)))


def test_botocores_message_shows_no_value(aws: FakeAws, store: SecretsManagerStore) -> None:
    failure = fails(lambda: store.stage(NAME, VALUE[:10], Secret(VALUE), ("AWSPENDING",)))
    assert isinstance(failure, StoreRejected)
    assert "ClientRequestToken" in str(failure)
    assert VALUE[:10] not in str(failure)
    assert isinstance(fails(lambda: store.stage(NAME, V1, Secret(""), ("AWSPENDING",))), StoreRejected)
    assert aws.requests == []


def test_absent_label_is_found_by_describe(aws: FakeAws, store: SecretsManagerStore) -> None:
    described = ok(ARN="arn", Name=NAME, VersionIdsToStages={V1: ["AWSCURRENT"], V2: ["x"]})
    aws.answers = [error("InvalidParameterException", "an unknown message"), described]
    store.remove_label(NAME, "x", V1)
    aws.answers = [error("InvalidParameterException", "an unknown message"), described]
    assert isinstance(fails(lambda: store.remove_label(NAME, "x", V2)), PreconditionFailed)


def test_answer_without_text_is_bad_value(aws: FakeAws, store: SecretsManagerStore) -> None:
    aws.answers = [ok(ARN="arn", Name=NAME, VersionId=V1, SecretBinary="AAE=")]
    assert isinstance(fails(lambda: store.read_current(NAME)), BadSecretValue)


def test_no_value_is_logged_at_any_level(
    aws: FakeAws, store: SecretsManagerStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Threat: debug logs of botocore. They contain no value. With a client that is there already, and every logger at
    its most talkative.
    """
    talkers = [name for name in logging.Logger.manager.loggerDict if name.partition(".")[0] in {"botocore", "urllib3"}]
    assert {"botocore.endpoint", "botocore.parsers", "botocore.auth", "urllib3.connectionpool"} <= {*talkers}
    for name in ("", *talkers):
        caplog.set_level(logging.DEBUG, logger=name)
    failed = error("InvalidParameterException", f"Value '{VALUE}' failed to satisfy constraint")
    aws.answers = [
        ok(ARN="arn", Name=NAME, VersionId=V2),
        ok(ARN="arn", Name=NAME, VersionId=V2, SecretString=VALUE, VersionStages=["AWSCURRENT"]),
        failed,
        half,
    ]
    store.stage(NAME, V2, Secret(VALUE), ("AWSPENDING",))
    assert store.read_current(NAME).text.reveal() == VALUE
    for _ in range(2):
        fails(lambda: store.stage(NAME, V1, Secret(VALUE), ("AWSPENDING",)))
    logging.getLogger("botocore.endpoint").info("for people")
    assert {record.name for record in caplog.records} >= {"urllib3.connectionpool", "botocore.endpoint"}  # all listened
    assert VALUE not in caplog.text
    assert "AKIATESTING" not in caplog.text
