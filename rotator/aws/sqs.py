"""Send one message per account to an SQS FIFO queue: accounts are swept in parallel, each account serially."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from botocore import exceptions as boto

from rotator.aws.aws_errors import DENIED, configuration_error
from rotator.errors import ConfigurationError

MESSAGES_PER_CALL: Final = 10
"""The most messages that SQS takes in one call."""
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_PERMANENT: Final = DENIED | {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "KmsAccessDenied"}


class AccountQueue:
    """Sends accounts to be swept.

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
        failed: dict[str, str] = {}
        for start in range(0, len(accounts), MESSAGES_PER_CALL):
            some = accounts[start : start + MESSAGES_PER_CALL]
            entries = [
                {
                    "Id": str(number),
                    "MessageBody": json.dumps({"account": account}),
                    "MessageGroupId": group_id(account),
                    "MessageDeduplicationId": deduplication_id(account, minute),
                }
                for number, account in enumerate(some)
            ]
            try:
                answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
            except (boto.BotoCoreError, boto.ClientError) as error:
                failed |= dict.fromkeys(some, _why(error))
                continue
            sent = {entry.get("Id") for entry in answer.get("Successful", ())}
            codes = {entry.get("Id"): str(entry.get("Code", "")) for entry in answer.get("Failed", ())}
            for number, account in enumerate(some):
                if str(number) not in sent:  # unconfirmed counts as not sent
                    failed[account] = codes.get(str(number)) or "not confirmed by SQS"
        return failed


def group_id(account: str) -> str:
    """Return an account's message group: the characters of its name that SQS allows, and a digest to make it unique."""
    readable = _UNSAFE.sub("-", account)[:80]
    return f"{readable}-{hashlib.sha256(account.encode()).hexdigest()[:16]}"


def deduplication_id(account: str, minute: datetime) -> str:
    """Return an id that depends only on account and minute, so that a schedule that fires twice sweeps once."""
    moment = minute.astimezone(UTC).strftime("%Y-%m-%dT%H:%M")
    return hashlib.sha256(f"{account}\0{moment}".encode()).hexdigest()


def _why(error: Exception) -> str:
    known = configuration_error(error)
    if known is not None:
        return str(known)
    if isinstance(error, boto.ClientError):
        code = str(error.response.get("Error", {}).get("Code", "")) or "refused"
        hint = " (check ROTATOR_QUEUE_URL and sqs:SendMessage)" if code in _PERMANENT else ""
        return f"SQS returned {code}{hint}"
    return f"SQS did not answer ({type(error).__name__})"
