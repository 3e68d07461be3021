"""Parses events strictly. An invalid event is rejected before anything is done, and never shown in full."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from rotator.decoding import json_object, mapping_in, text_in
from rotator.engine.rotation.four_steps import Step
from rotator.errors import ConfigurationError
from rotator.policy.labels import is_version_id
from rotator.redaction.patterns import redact_patterns
from rotator.text import closest, printable

_SWEEP: Final = ("account", "dry_run")
_LONGEST: Final = {"reason": 1000, "incident": 200, "actor": 200}
_LONGEST_NAME: Final = 2048
_LABEL_UPDATED: Final = "Secret Label Updated"
_SECRET_ARN: Final = re.compile(
    r"arn:[a-z0-9-]{1,32}:secretsmanager:[a-z0-9-]{1,32}:[0-9]{12}:secret:[A-Za-z0-9/_+=.@!-]{1,519}"
)


class BadEvent(ConfigurationError):
    """An event is not valid; nothing was changed."""

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(f"{message}; nothing was changed", advice=advice)


@dataclass(frozen=True, slots=True)
class LabelUpdate:
    """An event: a staging label has moved to a version of a secret, which may be managed or not."""

    arn: str
    version_id: str


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """A request to ``sweep``. ``scheduled``: the scheduled time, if the event has one."""

    account: str | None = None
    dry_run: bool = False
    scheduled: datetime | None = None


@dataclass(frozen=True, slots=True)
class QueueRecord:
    """One message. ``secret``: the ARN, if it is about one secret. ``problem``: why its body can't be used."""

    message_id: str
    group: str
    account: str = ""
    secret: str | None = None
    problem: BadEvent | None = None

    @property
    def title(self) -> str:
        """Its id, which is untrusted input, for a text."""
        return printable(self.message_id, limit=60)


def sweep_request(event: Any) -> SweepRequest:
    """Parse any event from a scheduler, or one with ``account`` and ``dry_run``, both optional.

    An EventBridge event also has an ``account``, which is AWS's and not Infobip's.

    :raises BadEvent: a field seems misspelt. For example, ``dryRun`` must not start a live sweep.
    """
    if not isinstance(event, Mapping):
        return SweepRequest()  # a schedule's input may be any JSON, such as a text with placeholders
    if "detail-type" in event:
        return SweepRequest(scheduled=_time(event.get("time")))
    for name in event:
        if name not in _SWEEP and (meant := closest(str(name), _SWEEP)):
            raise BadEvent(f"the event has an unknown field {shown_name(name)}", advice=f'Did you mean "{meant}"?')
    account = None if event.get("account") is None else text_of(event, "account")
    return SweepRequest(account, flag_of(event, "dry_run"), _time(event.get("time")))


def is_of_secrets_manager(event: Any) -> bool:
    """Whether an event is one of Secrets Manager, or is made to look like one: it never starts a sweep."""
    if not isinstance(event, Mapping):
        return False
    return event.get("source") == "aws.secretsmanager" or event.get("detail-type") == _LABEL_UPDATED


def label_update(event: Mapping[str, Any]) -> LabelUpdate | None:
    """Parse ``Secret Label Updated`` for ``AWSCURRENT``; ``None`` for anything else.

    AWS sends none for ``AWSPENDING`` and ``AWSPREVIOUS``.
    """
    resources, detail = event.get("resources"), event.get("detail")
    if not isinstance(resources, list) or len(resources) != 1 or not isinstance(detail, Mapping):
        return None
    arn, version = resources[0], detail.get("versionId")
    if event.get("detail-type") != _LABEL_UPDATED or detail.get("labelUpdated") != "AWSCURRENT":
        return None
    return LabelUpdate(arn, version) if _is_secret_arn(arn) and isinstance(version, str) else None


def _is_secret_arn(arn: object) -> bool:
    return isinstance(arn, str) and _SECRET_ARN.fullmatch(arn) is not None


def queue_records(event: Any) -> tuple[QueueRecord, ...]:
    """Return the messages of an SQS event. An unreadable message is kept, so that only this message fails later.

    :raises BadEvent: this is not an SQS event.
    """
    records = mapping_in(event).get("Records")
    if not isinstance(records, Sequence) or isinstance(records, str):
        raise BadEvent(
            "the event is not an SQS event", advice='It must contain "Records", each with "messageId" and "body".'
        )
    found = []
    for record in records:
        fields = mapping_in(record)
        message_id = text_in(fields.get("messageId"))
        if not message_id or fields.get("eventSource", "aws:sqs") != "aws:sqs":
            raise BadEvent("a record in the event is not an SQS record", advice="Only SQS should invoke this function.")
        group = mapping_in(fields.get("attributes")).get("MessageGroupId")
        found.append(_with_work(QueueRecord(message_id, str(group or "")), fields.get("body")))
    return tuple(found)


def _with_work(record: QueueRecord, text: object) -> QueueRecord:
    """Parse a body: ``{"account": "…"}``, with or without ``"secret"``."""
    body = json_object(text) or {}
    try:
        if set(body) - {"secret"} != {"account"} or ("secret" in body and not _is_secret_arn(body["secret"])):
            raise BadEvent(
                f'message {record.title} is not {{"account": "…"}}',
                advice="Only the sweep function should send to this queue.",
            )
        return replace(record, account=text_of(body, "account"), secret=body.get("secret"))
    except BadEvent as error:
        return replace(record, problem=error)


def rotation_request(event: Any) -> tuple[str, str, Step]:
    """Return secret, token and step from ``{"SecretId", "ClientRequestToken", "Step"}``; AWS may add other fields.

    :raises BadEvent: one is missing or unusable.
    """
    if not isinstance(event, Mapping):
        raise BadEvent(
            "the event is not a Secrets Manager rotation event",
            advice="Only Secrets Manager rotation should invoke this function.",
        )
    secret, token, step = (text_of(event, name) for name in ("SecretId", "ClientRequestToken", "Step"))
    if not is_version_id(token):
        raise BadEvent(
            '"ClientRequestToken" is not a valid version id', advice="Use 32 to 64 letters, digits and hyphens."
        )
    if step not in list(Step):
        raise BadEvent(f'{shown_name(step)} is not a valid "Step"', advice=f"Use one of {', '.join(Step)}.")
    return secret, token, Step(step)


def text_of(event: Mapping[str, Any], name: str) -> str:
    """Return a field that must be a text and not blank.

    :raises BadEvent: it is not, or it is too long.
    """
    value = event.get(name)
    if not isinstance(value, str) or not value.strip():
        raise BadEvent(f'"{name}" is missing or is not a string', advice=f'Set "{name}" to a non-empty string.')
    longest = _LONGEST.get(name, _LONGEST_NAME)
    if len(value) > longest:
        raise BadEvent(f'"{name}" has {len(value)} characters', advice=f"Use at most {longest}.")
    return value.strip()


def flag_of(event: Mapping[str, Any], name: str) -> bool:
    """Return a field that must be true, false or absent (false).

    :raises BadEvent: it is anything else, such as ``"true"`` in quotes.
    """
    value = event.get(name, False)
    if not isinstance(value, bool):
        raise BadEvent(f'"{name}" is not true or false', advice="Set it to true or false without quotes.")
    return value


def _time(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return None if moment.tzinfo is None else moment


def shown_name(name: object) -> str:
    """Quote untrusted input, redacted and truncated, since it may be a credential."""
    return f'"{printable(redact_patterns(str(name)), limit=40)}"'
