"""Send one message per account to an SQS FIFO queue: accounts are swept in parallel, each account serially.

A message about one secret, after an event, has a group of its own: it does not wait for a sweep of its account.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from botocore import exceptions as boto

from rotator.aws.aws_errors import DENIED, code_of, configuration_error
from rotator.errors import ConfigurationError

MESSAGES_PER_CALL: Final = 10
"""The most messages that SQS takes in one call."""
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_PERMANENT: Final = DENIED | {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "KmsAccessDenied"}


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
        return self._send([(account, {"account": account}, once) for account in accounts])

    def send_secret(self, account: str, arn: str, version_id: str) -> str | None:
        """Send one secret. Within five minutes, SQS drops a second message about the same version.

        :returns: why it was not sent, or ``None``.
        """
        return self._send([(arn, {"account": account, "secret": arn}, version_id)]).get(arn)

    def _send(self, messages: Sequence[tuple[str, Mapping[str, str], str]]) -> dict[str, str]:
        """Send messages: what each is about, its body, and by what it is deduplicated for that subject."""
        failed: dict[str, str] = {}
        for start in range(0, len(messages), MESSAGES_PER_CALL):
            some = messages[start : start + MESSAGES_PER_CALL]
            entries = [
                {
                    "Id": str(number),
                    "MessageBody": json.dumps(body),
                    # The characters of an account or ARN that SQS allows, and a digest to make it unique.
                    "MessageGroupId": f"{_UNSAFE.sub('-', subject)[:80]}-{_digest(subject)[:16]}",
                    "MessageDeduplicationId": _digest(f"{subject}\0{once}"),
                }
                for number, (subject, body, once) in enumerate(some)
            ]
            try:
                answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
            except (boto.BotoCoreError, boto.ClientError) as error:
                failed |= dict.fromkeys((subject for subject, *_ in some), _why(error))
                continue
            sent = {entry.get("Id") for entry in answer.get("Successful", ())}
            codes = {entry.get("Id"): str(entry.get("Code", "")) for entry in answer.get("Failed", ())}
            for number, (subject, *_) in enumerate(some):
                if str(number) not in sent:  # unconfirmed counts as not sent
                    failed[subject] = codes.get(str(number)) or "not confirmed by SQS"
        return failed


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _why(error: Exception) -> str:
    known = configuration_error(error)
    if known is not None:
        return str(known)
    code = code_of(error)
    if isinstance(error, boto.ClientError):
        hint = " (check ROTATOR_QUEUE_URL and sqs:SendMessage)" if code in _PERMANENT else ""
        return f"SQS returned {code}{hint}"
    return f"SQS did not answer ({code})"
