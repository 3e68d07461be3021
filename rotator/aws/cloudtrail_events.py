"""CloudTrail's events, read: who read a secret. Everything in an event is outside text; nothing of it is trusted.

``BatchGetSecretValue`` needs nothing of its own: for each secret in it AWS writes a ``GetSecretValue`` event as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from rotator.access_log import Read
from rotator.model import SecretEntry
from rotator.policy.labels import CURRENT, PENDING

READ: Final = "GetSecretValue"
UNKNOWN: Final = "unknown"
_LONGEST_PRINCIPAL: Final = 512
_SOURCE: Final = "secretsmanager.amazonaws.com"
# As rotator.aws.clients sets it: "Botocore/1.40 … rotator/0.3.0".
_OURS: Final = re.compile(r"(?:^|[\s\[])rotator/\d")
_SESSION: Final = re.compile(r"arn:(?P<partition>[a-z0-9-]+):sts::(?P<account>\d{12}):assumed-role/(?P<role>.+)/[^/]+")
_TAIL: Final = re.compile(r"-[A-Za-z0-9]{6}")


class Unreadable(ValueError):
    """An event that is not made as documented: it may have been a read."""


def names_of(secret: SecretEntry) -> tuple[str, ...]:
    """How a caller may name a secret: by ARN, by name, by ARN without the six characters that AWS put to its end."""
    partial = secret.arn[:-7] if _TAIL.fullmatch(secret.arn[-7:]) else secret.arn
    return tuple(dict.fromkeys((secret.arn, secret.name, partial)))


def is_read(event: Mapping[str, Any]) -> bool:
    """Whether an event of ``LookupEvents`` is a read of some secret's value, refused or not."""
    return event.get("EventName") == READ


def read_of(event: Mapping[str, Any], secret: SecretEntry) -> Read | None:
    """The read that an event of ``LookupEvents`` tells of.

    :returns: ``None`` where it is no read of this secret, was refused, was the rotator's own, or asked for
        ``AWSPENDING`` (which only rotations do).
    :raises Unreadable: it can't be made out.
    """
    if not is_read(event):
        return None
    record = _record(event.get("CloudTrailEvent"))
    if record.get("errorCode") or record.get("eventSource", _SOURCE) != _SOURCE:
        return None
    asked = record.get("requestParameters")
    asked = asked if isinstance(asked, Mapping) else {}
    if not _means(asked.get("secretId"), event, secret) or _OURS.search(_text(record.get("userAgent"))):
        return None
    if asked.get("versionStage") == PENDING:
        return None
    return Read(principal_of(record.get("userIdentity")), time_of(event, record), _is_current(asked, secret))


def principal_of(identity: Any) -> str:
    """Who, without the name of a session: a session is one process of a consumer, and another one reads next time."""
    if not isinstance(identity, Mapping):
        return UNKNOWN
    arn = _text(identity.get("arn"))
    context = identity.get("sessionContext")
    issuer = context.get("sessionIssuer") if isinstance(context, Mapping) else None
    issued_by = _text(issuer.get("arn")) if isinstance(issuer, Mapping) else ""
    session = _SESSION.fullmatch(arn)
    kind = _text(identity.get("type"))
    if issued_by:
        found = issued_by
    elif session is not None:
        found = f"arn:{session['partition']}:iam::{session['account']}:role/{session['role']}"
    elif kind == "AWSService":
        found = _text(identity.get("invokedBy")) or arn
    else:
        # A principal of another AWS account has no ARN here, but its unique id, with the session's name after a colon.
        unique = _text(identity.get("principalId")).partition(":")[0]
        number = _text(identity.get("accountId"))
        found = arn or " ".join(part for part in (unique, f"of account {number}" if number else "") if part)
    return (found or _text(identity.get("userName")) or kind or UNKNOWN)[:_LONGEST_PRINCIPAL]


def _record(text: Any) -> Mapping[str, Any]:
    try:
        record = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise Unreadable from None
    if not isinstance(record, Mapping):
        raise Unreadable
    return record


def _means(secret_id: Any, event: Mapping[str, Any], secret: SecretEntry) -> bool:
    """Whether that is the secret; where the request does not say which, what CloudTrail itself lists counts."""
    names = names_of(secret)
    if isinstance(secret_id, str):
        return secret_id in names
    resources = event.get("Resources")
    listed = resources if isinstance(resources, list) else []
    return any(isinstance(each, Mapping) and each.get("ResourceName") in names for each in listed)


def _is_current(asked: Mapping[str, Any], secret: SecretEntry) -> bool:
    version = asked.get("versionId")
    if isinstance(version, str) and version:
        return CURRENT in secret.versions.get(version, frozenset())
    return asked.get("versionStage") in (None, "", CURRENT)


def time_of(event: Mapping[str, Any], record: Mapping[str, Any]) -> datetime:
    """When an event was, in UTC; by its record where the answer itself does not say.

    :raises Unreadable: neither does.
    """
    moment = event.get("EventTime")
    if not isinstance(moment, datetime):
        try:
            moment = datetime.fromisoformat(_text(record.get("eventTime")))
        except ValueError:
            raise Unreadable from None
    if moment.tzinfo is None:
        raise Unreadable
    try:
        return moment.astimezone(UTC)
    except (OverflowError, ValueError):
        raise Unreadable from None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
