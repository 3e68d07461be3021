"""Send one message per account to an SQS FIFO queue: accounts are swept in parallel, each account serially.

A message about one secret, after an event, has a group of its own: it does not wait for a sweep of its account.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from botocore import exceptions as boto

from rotator.aws.aws_errors import DENIED, configuration_error
from rotator.errors import ConfigurationError

MESSAGES_PER_CALL: Final = 10
"""The most messages that SQS takes in one call."""
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_PERMANENT: Final = DENIED | {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "KmsAccessDenied"}


@dataclass(frozen=True, slots=True)
class _Message:
    """One message: what it is about, its body, and what it is grouped and deduplicated by."""

    subject: str
    body: Mapping[str, str]
    once: str


class AccountQueue:
    """Sends accounts to be swept, and secrets to be taken up.

    :param client: an ``sqs`` client.
    :raises ConfigurationError: the queue is not FIFO, so two sweeps of one account could run at once.
    """

    def __init__(self, client: Any, url: str) -> None:
        if not url.endswith(".fifo"):
            raise ConfigurationError(
                "ROTATOR_QUEUE_URL is not the URL of a FIFO queue; nothing was sent",
                advice="Create the queue with FifoQueue=true; its name must end in .fifo.",
            )
        self._client = client
        self._url = url

    def send(self, accounts: Sequence[str], minute: datetime) -> dict[str, str]:
        """Send one message per account. Within five minutes, SQS drops a second one for the same ``minute``.

        :param minute: when this sweep was scheduled; its seconds are ignored.
        :returns: the accounts that were not sent, and why.
        """
        once = minute.astimezone(UTC).strftime("%Y-%m-%dT%H:%M")
        return self._send([_Message(account, {"account": account}, once) for account in accounts])

    def send_secret(self, account: str, arn: str, version_id: str) -> str | None:
        """Send one secret. Within five minutes, SQS drops a second message about the same version.

        :returns: why it was not sent, or ``None``.
        """
        return self._send([_Message(arn, {"account": account, "secret": arn}, version_id)]).get(arn)

    def _send(self, messages: Sequence[_Message]) -> dict[str, str]:
        failed: dict[str, str] = {}
        for start in range(0, len(messages), MESSAGES_PER_CALL):
            some = messages[start : start + MESSAGES_PER_CALL]
            entries = [
                {
                    "Id": str(number),
                    "MessageBody": json.dumps(message.body),
                    "MessageGroupId": group_id(message.subject),
                    "MessageDeduplicationId": deduplication_id(message.subject, message.once),
                }
                for number, message in enumerate(some)
            ]
            try:
                answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
            except (boto.BotoCoreError, boto.ClientError) as error:
                failed |= dict.fromkeys((message.subject for message in some), _why(error))
                continue
            sent = {entry.get("Id") for entry in answer.get("Successful", ())}
            codes = {entry.get("Id"): str(entry.get("Code", "")) for entry in answer.get("Failed", ())}
            for number, message in enumerate(some):
                if str(number) not in sent:  # unconfirmed counts as not sent
                    failed[message.subject] = codes.get(str(number)) or "not confirmed by SQS"
        return failed


def group_id(subject: str) -> str:
    """Return a message group: the characters of an account or ARN that SQS allows, and a digest to make it unique."""
    readable = _UNSAFE.sub("-", subject)[:80]
    return f"{readable}-{hashlib.sha256(subject.encode()).hexdigest()[:16]}"


def deduplication_id(subject: str, once: str) -> str:
    """Return an id that depends only on these two, so that a schedule or an event that comes twice is one message."""
    return hashlib.sha256(f"{subject}\0{once}".encode()).hexdigest()


def _why(error: Exception) -> str:
    known = configuration_error(error)
    if known is not None:
        return str(known)
    if isinstance(error, boto.ClientError):
        code = str(error.response.get("Error", {}).get("Code", "")) or "refused"
        hint = " (check ROTATOR_QUEUE_URL and sqs:SendMessage)" if code in _PERMANENT else ""
        return f"SQS returned {code}{hint}"
    return f"SQS did not answer ({type(error).__name__})"
