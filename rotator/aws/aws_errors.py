"""Translates what botocore raises into the project's own tree of errors.

Two questions decide everything. Did AWS answer, and with which code? And for a write: can *any* attempt at it,
botocore's own retries included, have been carried out? Only if none can is a write's failure called certain; a refusal
that follows a lost answer says nothing, because it may be the refusal of our own, already successful, change.

A message names the secret and the action. It never quotes AWS's message about a call that carried a value, nor
botocore's about parameters: both can repeat the value.
"""

from __future__ import annotations

import re
from typing import Any, Final

from botocore import exceptions as boto

from rotator.errors import (
    ConfigurationError,
    PreconditionFailed,
    RotatorError,
    SecretNotFound,
    StoreDenied,
    StoreOutcomeUnknown,
    StoreRejected,
    StoreUnavailable,
)

_CARRIES_A_VALUE: Final = frozenset({"PutSecretValue"})
DENIED: Final = frozenset({"AccessDeniedException", "AccessDenied", "NotAuthorized", "UnauthorizedOperation"})
_KMS: Final = frozenset({"DecryptionFailure", "EncryptionFailure"})
_KMS_ACTION: Final = {"PutSecretValue": "kms:GenerateDataKey", "GetSecretValue": "kms:Decrypt"}
_EXPIRED: Final = frozenset({"ExpiredTokenException", "ExpiredToken", "TokenRefreshRequired"})
_CLOCK: Final = frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"})
_CREDENTIALS: Final = (
    *("UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", "InvalidSignatureException"),
    *("OptInRequired", "SignatureDoesNotMatch", "IncompleteSignature", "IncompleteSignatureException"),
    *("MissingAuthenticationToken", "MissingAuthenticationTokenException", "SubscriptionRequiredException"),
)
THROTTLED: Final = (
    *("Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException"),
    *("SlowDown", "TooManyRequestsException", "RequestLimitExceeded", "BandwidthLimitExceeded"),
    "PriorRequestNotComplete",
)
_SERVER: Final = frozenset({"InternalServiceError", "InternalServerError", "InternalFailure", "ServiceUnavailable"})
# InvalidParameterException is how UpdateSecretVersionStage refuses a compare-and-swap. These texts mean something else.
_NOT_ABOUT_LABELS: Final = re.compile(r"replica|completely removed|can only move", re.IGNORECASE)
_UNKNOWN_VERSION: Final = re.compile(r"not a valid version|can't find", re.IGNORECASE)
_MARKED_DELETED: Final = re.compile(r"deletion|marked deleted|scheduled for delet", re.IGNORECASE)
_BECAUSE: Final = re.compile(r"because ((?:no|an?) [A-Za-z ,:'-]{4,160})")
_PARAMETER: Final = re.compile(r"parameter (?:in input: \")?([A-Z]\w+)")


class UnreadableAnswer(Exception):
    """A success by its status, whose body is not what Secrets Manager answers."""


def configuration_error(error: Exception) -> ConfigurationError | None:
    """The same with the fix, for botocore's errors about credentials, region and files; ``None`` for any other."""
    if isinstance(error, boto.NoCredentialsError):
        return ConfigurationError(
            "no AWS credentials were found",
            advice="Set AWS_PROFILE, pass --profile, or run where a role is attached (Lambda, ECS, EC2).",
        )
    if isinstance(error, boto.PartialCredentialsError):
        return ConfigurationError(
            "the AWS credentials are incomplete",
            advice="Set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither and use a profile or role.",
        )
    if isinstance(error, boto.ProfileNotFound):
        return ConfigurationError(
            str(error), advice="Check --profile and AWS_PROFILE against ~/.aws/config, or unset them."
        )
    if isinstance(error, boto.NoRegionError):
        return ConfigurationError("no AWS region is set", advice="Set AWS_REGION or pass --region.")
    if isinstance(error, boto.InvalidRegionError):
        return ConfigurationError(str(error), advice="A region looks like eu-central-1: check AWS_REGION and --region.")
    if isinstance(error, boto.ConfigParseError | boto.ConfigNotFound | boto.InvalidConfigError):
        return ConfigurationError(f"the AWS configuration cannot be read ({type(error).__name__})", advice="Fix it.")
    if isinstance(
        error, boto.CredentialRetrievalError | boto.TokenRetrievalError | boto.SSOError | boto.MetadataRetrievalError
    ):
        return ConfigurationError(
            f"AWS credentials could not be fetched ({type(error).__name__})",
            advice="Log in again (aws sso login), or check the credential process or role that the profile names.",
        )
    return None


def may_have_happened(parsed: Any, exception: Exception | None) -> bool:
    """Whether one attempt at a write may have been carried out although it did not succeed.

    :param parsed: botocore's parsed response, or ``None`` where there was no answer.
    :param exception: what the attempt raised, if anything.
    """
    if exception is not None and not isinstance(exception, boto.ClientError):
        return not _never_sent(exception)
    error, status = _answer(parsed if parsed is not None else getattr(exception, "response", {}))
    code = error.get("Code", "")
    return code not in THROTTLED and (status >= 500 or code in _SERVER)


def translate(error: Exception, operation: str, secret: str, *, write: bool, lost_attempt: bool) -> RotatorError | None:
    """The error of our tree for what botocore raised, or ``None`` where it is not botocore's (a bug of ours).

    :param operation: the API's name of the call, such as ``PutSecretValue``.
    :param secret: name or ARN; empty for a call about none.
    :param lost_attempt: whether an attempt within this call may have been carried out, see :func:`may_have_happened`.
    """
    where = f"{secret}: " if secret else ""
    wrong_here = configuration_error(error)
    if wrong_here is not None:  # credentials can also end between a lost attempt and its repetition
        return _unknown(where, operation, _what(error)) if write and lost_attempt else wrong_here
    if isinstance(error, boto.ParamValidationError):
        names = ", ".join(sorted(set(_PARAMETER.findall(str(error))))) or "a parameter"
        return StoreRejected(
            f"{where}{operation} was not sent, {names} is not what AWS accepts",
            advice="Nothing was changed. Check lengths: ids 32 to 64 characters, labels 256, values 65,536.",
        )
    if isinstance(error, boto.ClientError):
        return _from_answer(error, operation, where, write=write, lost_attempt=lost_attempt)
    if not isinstance(error, UnreadableAnswer) and type(error).__module__.partition(".")[0] != "botocore":
        return None
    if write and (lost_attempt or not _never_sent(error)):
        return _unknown(where, operation, _what(error))
    return StoreUnavailable(
        f"{where}{operation} got no answer ({_what(error)}); nothing was changed",
        advice="The next sweep tries again. If it stays so, check network, VPC endpoint, AWS_REGION, AWS_ENDPOINT_URL.",
    )


def _from_answer(
    error: boto.ClientError, operation: str, where: str, *, write: bool, lost_attempt: bool
) -> RotatorError:
    details, status = _answer(error.response)
    code, message = str(details.get("Code", "")), str(details.get("Message", ""))
    if code == "ResourceExistsException":  # certain even after a lost answer: our own value would have been a no-op
        return PreconditionFailed(
            f"{where}the version id is taken by another value; nothing was stored",
            advice="The next sweep chooses another version id.",
        )
    if write and (lost_attempt or may_have_happened(error.response, None)):
        return _unknown(where, operation, code or f"HTTP {status}")
    if code in _KMS or (code in DENIED and "kms" in message.lower()):
        return _kms_denied(where, operation, code)
    if code in (*_EXPIRED, *_CLOCK, *_CREDENTIALS):
        return _credentials(where, operation, code, message)
    if code in DENIED or (status == 403 and code.isdigit()):
        return _denied(where, operation, message)
    if code in THROTTLED or status == 429:
        return StoreUnavailable(
            f"{where}{operation} was throttled by AWS; nothing was changed", advice="The next sweep tries again."
        )
    if status >= 500 or code in _SERVER:
        return StoreUnavailable(
            f"{where}{operation} failed at AWS ({code or status}); nothing was changed",
            advice="The next sweep tries again.",
        )
    if code == "ResourceNotFoundException":
        return _not_found(where, operation)
    if code == "LimitExceededException":
        return StoreRejected(
            f"{where}{operation} would pass a limit of Secrets Manager; nothing was changed",
            advice="A secret has at most 20 staging labels and 100 young versions: let keys in grace be revoked first.",
        )
    return _invalid(where, operation, code, message)


def _invalid(where: str, operation: str, code: str, message: str) -> RotatorError:
    if _MARKED_DELETED.search(message):
        return StoreRejected(
            f"{where}{operation} was refused, the secret is marked for deletion; nothing was changed",
            advice="Restore the secret (aws secretsmanager restore-secret) or leave it to be deleted.",
        )
    if re.search("replica", message, re.IGNORECASE):
        return StoreRejected(
            f"{where}{operation} was refused, the secret is a replica; nothing was changed",
            advice="Run the rotator in the primary's region.",
        )
    if operation == "UpdateSecretVersionStage" and code == "InvalidParameterException":
        if _UNKNOWN_VERSION.search(message):
            return _not_found(where, operation)
        if not _NOT_ABOUT_LABELS.search(message):
            return PreconditionFailed(
                f"{where}the staging label is not where it was expected; nothing was changed",
                advice="Another process changed this secret; the next sweep reads it again.",
            )
    detail = "" if operation in _CARRIES_A_VALUE or not message else f": {' '.join(message.split())[:200]}"
    return StoreRejected(f"{where}{operation} was refused by AWS ({code}{detail}); nothing was changed")


def _not_found(where: str, operation: str) -> SecretNotFound:
    return SecretNotFound(
        f"{where}{operation} found no such secret, version or label",
        advice="Check name, account and region; a version without labels is deleted by AWS.",
    )


def _denied(where: str, operation: str, message: str) -> StoreDenied:
    action = f"secretsmanager:{operation}"
    because = _BECAUSE.search(message)
    reason = f" because {because[1].strip()}" if because and operation not in _CARRIES_A_VALUE else ""
    # AWS supports no resource and no tag for a batch: GetSecretValue, which each secret in it needs, has them.
    on = 'with Resource "*"' if operation == "BatchGetSecretValue" else "on this secret or by its tag rotator:role"
    return StoreDenied(
        f"{where}{action} is denied{reason}; nothing was changed",
        advice=f"Grant {action} to the rotator's role, {on}; check the secret's "
        "resource policy, the VPC endpoint's policy and the organisation's too. Check the name as well: where rights "
        "depend on tags, AWS denies what does not exist.",
        action=action,
    )


def _kms_denied(where: str, operation: str, code: str) -> StoreDenied:
    action = _KMS_ACTION.get(operation, "kms:Decrypt")
    return StoreDenied(
        f"{where}KMS refuses the secret's key in {operation} ({code}); nothing was changed",
        advice=f"Grant {action} (a write needs kms:Decrypt too) to the rotator's role, in its policy and in the KMS "
        "key's, and check that the key is enabled.",
        action=action,
    )


def _credentials(where: str, operation: str, code: str, message: str) -> StoreDenied:
    if code in _EXPIRED:
        what, advice = "the AWS session has expired", "Log in again, or let the role's credentials be renewed."
    elif code in _CLOCK or re.search(r"signature expired|not yet current", message, re.IGNORECASE):
        what, advice = "this machine's clock is wrong according to AWS", "Set the clock (NTP); AWS allows 5 minutes."
    else:
        what = "AWS does not accept the credentials"
        advice = "Check the access key, its secret, and that region and account are enabled."
    return StoreDenied(
        f"{where}{operation} was refused, {what} ({code}); nothing was changed",
        advice=advice,
        action=f"secretsmanager:{operation}",
    )


def _unknown(where: str, operation: str, what: str) -> StoreOutcomeUnknown:
    return StoreOutcomeUnknown(
        f"{where}{operation} may or may not have happened ({what})",
        advice="The next sweep reads the secret again and continues from there.",
    )


def _answer(response: Any) -> tuple[dict[str, Any], int]:
    """The error and the HTTP status of a parsed response; an empty error and 0 where there is none."""
    error, metadata = dict(response.get("Error") or {}), response.get("ResponseMetadata") or {}
    by_header = str((metadata.get("HTTPHeaders") or {}).get("x-amzn-errortype", ""))
    if by_header and str(error.get("Code", "")).isdigit():  # botocore reads the body only, else takes the status
        error["Code"] = by_header.partition(":")[0].rpartition("#")[2]
    return error, int(metadata.get("HTTPStatusCode") or 0)


def _never_sent(error: Exception) -> bool:
    """Whether the request certainly never reached AWS."""
    if isinstance(error, boto.SSLError):  # TLS can also break after the request was sent
        return "certificate" in str(error).lower()
    if isinstance(error, boto.HTTPClientError):
        return False
    return isinstance(error, boto.ConnectionError | boto.CapacityNotAvailableError | boto.NoCredentialsError)


def _what(error: Exception) -> str:
    """A short name for a transport failure, without its text, which may be anything."""
    names: tuple[tuple[type[Exception], str], ...] = (
        (UnreadableAnswer, "the answer is not one of Secrets Manager"),
        (boto.ReadTimeoutError, "read timed out"),
        (boto.ConnectTimeoutError, "connect timed out"),
        (boto.EndpointConnectionError, "cannot connect"),
        (boto.SSLError, "TLS failed"),
        (boto.ConnectionClosedError, "connection closed"),
    )
    return next((name for kind, name in names if isinstance(error, kind)), type(error).__name__)
