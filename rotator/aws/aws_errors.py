"""Translate botocore exceptions into the project's errors.

Two questions decide the translation. Did AWS respond, and with which code? And for a write: could *any* attempt,
including botocore's own retries, have taken effect? A write's failure is certain only if none could. A refusal after a
lost response is inconclusive, because our own change may have succeeded and caused it.

A message names the secret and the action. It never quotes AWS's message about a call that carried a value, nor
botocore's message about parameters, because both can repeat the value.
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
    StoreError,
    StoreOutcomeUnknown,
    StoreRejected,
    StoreUnavailable,
)
from rotator.reasons import Reason
from rotator.redaction.patterns import redact_patterns
from rotator.text import printable

_CARRIES_A_VALUE: Final = "PutSecretValue"
AGAIN: Final = "Try again; sweeps retry automatically."
DENIED: Final = frozenset({"AccessDeniedException", "AccessDenied", "NotAuthorized", "UnauthorizedOperation"})
THROTTLED: Final = re.compile(
    r"(Request)?Throttl(ing|ed)(Exception)?|SlowDown|TooManyRequestsException|(Request|Bandwidth)LimitExceeded"
    r"|PriorRequestNotComplete"
)
_SERVER: Final = re.compile(r"Internal(ServiceError|ServerError|Failure)|ServiceUnavailable")
_KMS: Final = frozenset({"DecryptionFailure", "EncryptionFailure"})
_KMS_ACTION: Final = {"PutSecretValue": "kms:GenerateDataKey", "GetSecretValue": "kms:Decrypt"}

_MEANS: Final[tuple[tuple[str, type[StoreError], Reason | None, str, str], ...]] = (
    (
        r"^(ExpiredToken|TokenRefreshRequired)",
        StoreDenied,
        None,
        "failed: the AWS session has expired",
        "Sign in again, or refresh the role's credentials.",
    ),
    (
        r"^Request(TimeTooSkewed|Expired|InTheFuture):|signature expired|not yet current",
        StoreDenied,
        Reason.CLOCK_SKEW,
        "failed: this machine's clock differs too much from AWS's",
        "Sync the clock with NTP; AWS allows a difference of 5 minutes.",
    ),
    (
        r"^(\w*Signature|Unrecognized|InvalidClientTokenId|InvalidAccessKeyId|OptIn|Subscription|MissingAuth)",
        StoreDenied,
        None,
        "failed: AWS rejected the credentials",
        "Check the access key ID and secret access key, and that the region is enabled for the account.",
    ),
    (
        r"^ResourceNotFoundException:|^InvalidParameterException: .*(not a valid version|can't find)",
        SecretNotFound,
        None,
        "failed: the secret, version or staging label does not exist",
        "Check the name, AWS account and region. AWS deletes versions that have no staging label.",
    ),
    (
        r"^LimitExceededException:",
        StoreRejected,
        Reason.LABEL_LIMIT,
        "failed: it would exceed a Secrets Manager limit",
        "A secret can have 20 staging labels and about 100 recent versions. Wait until keys in their grace period are "
        "revoked.",
    ),
    (
        r"^Invalid.*(deletion|marked deleted|scheduled for delet)",
        StoreRejected,
        Reason.DELETED,
        "failed: the secret is scheduled for deletion",
        "Restore it with `aws secretsmanager restore-secret`, or ignore this if the deletion is intended.",
    ),
    (
        r"^Invalid.*replica",
        StoreRejected,
        Reason.REPLICA,
        "failed: the secret is a replica",
        "Run the rotator in the primary secret's region.",
    ),
)
"""A pattern for AWS's code and message; the error and the reason that it means; what happened, and what to do."""

# UpdateSecretVersionStage refuses a compare-and-swap with InvalidParameterException. These texts mean something else.
_NOT_ABOUT_LABELS: Final = re.compile(r"completely removed|can only move", re.IGNORECASE)
_CODE: Final = re.compile(r"[A-Za-z0-9.]{0,100}", re.ASCII)
_BECAUSE: Final = re.compile(r"because ((?:no|an?) [A-Za-z ,:'-]{4,160})")
_PARAMETER: Final = re.compile(r"parameter (?:in input: \")?([A-Z]\w+)")

_HERE: Final[tuple[tuple[tuple[type[Exception], ...], str, str], ...]] = (
    (
        (boto.NoCredentialsError,),
        "no AWS credentials were found",
        "Set AWS_PROFILE, pass --profile, or run where a role is attached (Lambda, ECS, EC2).",
    ),
    (
        (boto.PartialCredentialsError,),
        "the AWS credentials are incomplete",
        "Set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither and use a profile or role.",
    ),
    ((boto.ProfileNotFound,), "", "Check --profile and AWS_PROFILE against ~/.aws/config, or unset them."),
    ((boto.NoRegionError,), "no AWS region is set", "Set AWS_REGION or pass --region."),
    ((boto.InvalidRegionError,), "", "A region looks like eu-central-1: check AWS_REGION and --region."),
    (
        (boto.ConfigNotFound, boto.InvalidConfigError),
        "the AWS configuration can't be parsed",
        "Check ~/.aws/config and ~/.aws/credentials.",
    ),
    (
        (boto.CredentialRetrievalError, boto.TokenRetrievalError, boto.SSOError, boto.MetadataRetrievalError),
        "AWS credentials could not be fetched",
        "Sign in again (aws sso login), or check the profile's credential_process or role.",
    ),
)
"""Errors about this machine. An empty message means botocore's own, which names the profile or region."""


class UnreadableAnswer(Exception):
    """A 2xx response whose body is not from Secrets Manager."""


def configuration_error(error: Exception) -> ConfigurationError | None:
    """Return a botocore error about credentials, region or files with its fix; ``None`` for any other error."""
    values: dict[str, Any] = {**getattr(error, "kwargs", {})}
    if isinstance(error, boto.ConfigParseError):
        cause = str(values["error"])
        line = re.search(r"line:? +(\d+)", cause)
        # Only the parser's first line: the others quote the file, which may hold a secret.
        why = f"{cause.splitlines()[0].rstrip('.')}{f', line {line[1]}' if line else ''}"
        return ConfigurationError(
            f"the AWS configuration {printable(str(values['path']))} can't be parsed: {printable(why)}",
            advice="Correct the file.",
        )
    if isinstance(error, boto.CredentialRetrievalError) and values["provider"].startswith("arn:"):  # of a store
        return ConfigurationError(
            f"the role {values['provider']} could not be assumed ({values['error_msg']})",
            advice="Check that it exists, that its trust policy names the rotator's role and ROTATOR_EXTERNAL_ID, and "
            "that the rotator's role has sts:AssumeRole on it.",
        )
    for kinds, message, advice in _HERE:
        if isinstance(error, kinds):
            return ConfigurationError(message or str(error), advice=advice)
    return None


def code_of(error: Exception) -> str:
    """Return AWS's code for an error (the HTTP status if that is not one word), or the name of the error's class."""
    if not isinstance(error, boto.ClientError):
        return type(error).__name__
    code, _, status = _answer(error.response)
    return code or str(status)


def failure_of(error: Exception, service: str, refused: str, advice: str) -> RotatorError:
    """Return the error for a botocore exception of another service than Secrets Manager.

    :param refused: what was refused, if the service responded; ``advice`` is its fix.
    """
    if isinstance(error, boto.ClientError):
        return ConfigurationError(f"{refused} ({code_of(error)})", advice=advice)
    no_answer = RotatorError(f"{service} did not answer ({code_of(error)})", advice="Try again later.")
    return configuration_error(error) or no_answer


def may_have_happened(parsed: Any, exception: Exception | None) -> bool:
    """Whether a failed attempt at a write may have taken effect.

    :param parsed: botocore's parsed response, or ``None`` if there was no response.
    :param exception: the exception that the attempt raised, if any.
    """
    if exception is not None and not isinstance(exception, boto.ClientError):
        return not _never_sent(exception)
    code, _, status = _answer(parsed if parsed is not None else getattr(exception, "response", {}))
    return not THROTTLED.fullmatch(code) and (status >= 500 or _SERVER.fullmatch(code) is not None)


def translate(error: Exception, operation: str, secret: str, *, write: bool, lost_attempt: bool) -> RotatorError | None:
    """Return the error for a botocore exception, or ``None`` for any other exception (a bug in the rotator).

    :param operation: the API operation, such as ``PutSecretValue``.
    :param secret: name or ARN; empty if the call is not about one secret.
    :param lost_attempt: whether an attempt within this call may have taken effect, see :func:`may_have_happened`.
    """
    where = f"{secret}: " if secret else ""
    wrong_here = configuration_error(error)
    if wrong_here is not None:  # credentials can also expire between a lost attempt and its retry
        return _unknown(where, operation, _what(error)) if write and lost_attempt else wrong_here
    if isinstance(error, boto.ParamValidationError):
        names = ", ".join(sorted(set(_PARAMETER.findall(str(error))))) or "a parameter"
        return StoreRejected(
            f"{where}{operation} was not sent: AWS does not accept {names}",
            advice="Nothing was changed. Check the lengths: version ids 32 to 64 characters, labels up to 256, values "
            "up to 65,536.",
        )
    if isinstance(error, boto.ClientError):
        return _from_answer(error, operation, where, write=write, lost_attempt=lost_attempt)
    if not isinstance(error, UnreadableAnswer) and type(error).__module__.partition(".")[0] != "botocore":
        return None
    if write and (lost_attempt or not _never_sent(error)):
        return _unknown(where, operation, _what(error))
    return StoreUnavailable(
        f"{where}{operation} got no response ({_what(error)}); nothing was changed",
        advice=f"{AGAIN} If it keeps failing, check the network, the VPC endpoint, AWS_REGION and AWS_ENDPOINT_URL.",
    )


def _from_answer(
    error: boto.ClientError, operation: str, where: str, *, write: bool, lost_attempt: bool
) -> RotatorError:
    code, message, status = _answer(error.response)
    if code == "ResourceExistsException":  # certain even after a lost response: a retry with our own value is a no-op
        return PreconditionFailed(
            f"{where}a different value already uses this version id; nothing was stored",
            advice="The next sweep retries with a new version id.",
        )
    if write and (lost_attempt or may_have_happened(error.response, None)):
        return _unknown(where, operation, code or f"HTTP {status}")
    if code in _KMS or (code in DENIED and "kms" in message.lower()):
        return _kms_denied(where, operation, code)
    if code in DENIED or (status == 403 and code.isdigit()):
        return _denied(where, operation, message)
    if THROTTLED.fullmatch(code) or status == 429:
        return StoreUnavailable(f"{where}{operation} was throttled by AWS; nothing was changed", advice=AGAIN)
    if _SERVER.fullmatch(code) or status >= 500:
        what = f"failed at AWS ({code or status})"
        return StoreUnavailable(f"{where}{operation} {what}; nothing was changed", advice=AGAIN)
    for pattern, kind, reason, what, advice in _MEANS:
        if re.search(pattern, f"{code}: {message}", re.IGNORECASE):
            return kind(f"{where}{operation} {what} ({code}); nothing was changed", advice=advice, reason=reason)
    compared = operation == "UpdateSecretVersionStage" and code == "InvalidParameterException"
    if compared and not _NOT_ABOUT_LABELS.search(message):
        return PreconditionFailed(
            f"{where}the staging label is not on the expected version; nothing was changed",
            advice="Another process changed this secret. The next sweep reads it again and continues.",
        )
    detail = (
        "" if operation == _CARRIES_A_VALUE or not message else f": {redact_patterns(' '.join(message.split()))[:200]}"
    )
    return StoreRejected(f"{where}{operation} was refused by AWS ({code}{detail}); nothing was changed")


def _denied(where: str, operation: str, message: str) -> StoreDenied:
    action = f"secretsmanager:{operation}"
    because = _BECAUSE.search(message)
    reason = f" because {because[1].strip()}" if because and operation != _CARRIES_A_VALUE else ""
    # A batch cannot be limited to a resource or tag. GetSecretValue can, and each secret in the batch needs it.
    by_tag = "for this secret or through its tag rotator:role"
    on = 'with Resource "*"' if operation == "BatchGetSecretValue" else by_tag
    return StoreDenied(
        f"{where}{action} is denied{reason}; nothing was changed",
        advice=f"Grant {action} to the rotator's role, {on}; also check the secret's resource policy, the VPC endpoint "
        "policy, SCPs, and the secret's name: with tag-based permissions, AWS also denies access to secrets "
        "that do not exist.",
        action=action,
    )


def _kms_denied(where: str, operation: str, code: str) -> StoreDenied:
    action = _KMS_ACTION.get(operation, "kms:Decrypt")
    return StoreDenied(
        f"{where}KMS denied {operation} with the secret's KMS key ({code}); nothing was changed",
        advice=f"Grant {action} (writes also need kms:Decrypt) to the rotator's role in its IAM policy and in the KMS "
        "key policy, and check that the KMS key is enabled.",
        action=action,
    )


def _unknown(where: str, operation: str, what: str) -> StoreOutcomeUnknown:
    return StoreOutcomeUnknown(
        f"{where}the outcome of {operation} is unknown ({what}); the change may have been applied",
        advice="The next sweep reads the secret and continues from its actual state.",
    )


def _answer(response: Any) -> tuple[str, str, int]:
    """Return a parsed response's error code, its message and the HTTP status; empty texts and 0 if there is none.

    A code that is not one word is replaced by the status: it is shown, and may be anything.
    """
    error, metadata = response.get("Error") or {}, response.get("ResponseMetadata") or {}
    code, status = str(error.get("Code", "")), int(metadata.get("HTTPStatusCode") or 0)
    by_header = str((metadata.get("HTTPHeaders") or {}).get("x-amzn-errortype", ""))
    if by_header and code.isdigit():  # botocore reads only the body, or else uses the status
        code = by_header.partition(":")[0].rpartition("#")[2]
    return code if _CODE.fullmatch(code) else str(status), str(error.get("Message", "")), status


def _never_sent(error: Exception) -> bool:
    """Whether the request certainly never reached AWS."""
    if isinstance(error, boto.SSLError):  # TLS can also break after the request was sent
        return "certificate" in str(error).lower()
    if isinstance(error, boto.HTTPClientError):
        return False
    return isinstance(error, boto.ConnectionError | boto.CapacityNotAvailableError | boto.NoCredentialsError)


def _what(error: Exception) -> str:
    """Return a short name for a transport failure, without its text, which may contain anything."""
    names: tuple[tuple[type[Exception], str], ...] = (
        (UnreadableAnswer, "the response did not come from Secrets Manager"),
        (boto.ReadTimeoutError, "read timed out"),
        (boto.ConnectTimeoutError, "connect timed out"),
        (boto.EndpointConnectionError, "cannot connect"),
        (boto.SSLError, "TLS failed"),
        (boto.ConnectionClosedError, "connection closed"),
    )
    return next((name for kind, name in names if isinstance(error, kind)), type(error).__name__)
