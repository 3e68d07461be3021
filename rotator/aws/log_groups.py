"""Reads the audit lines of a CloudWatch log group, page by page (``FilterLogEvents``)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from botocore import exceptions as boto

from rotator.aws.aws_errors import failure_of
from rotator.errors import RotatorError
from rotator.text import printable

_PATTERN: Final = '{ $.run_id = "*" }'
"""Only audit lines have a ``run_id``."""
OVERLAP: Final = timedelta(hours=1)
"""Also read before and after a period: a run may span its first or last moment."""


def audit_lines(client: Any, group: str, begin: datetime, end: datetime) -> Iterator[bytes]:
    """Yield the lines of a period, each with its line break. Memory does not grow with their number.

    :param client: a ``logs`` client.
    :raises ConfigurationError: the group does not exist, or can't be read.
    :raises RotatorError: the lines are not complete.
    """
    query: dict[str, Any] = {"logGroupName": group, "filterPattern": _PATTERN}
    query |= {
        "startTime": int((begin - OVERLAP).timestamp() * 1000),
        "endTime": int((end + OVERLAP).timestamp() * 1000),
    }
    while True:
        page = _page(client, query)
        for event in page.get("events", ()):
            message = str(event.get("message", "")).strip()
            if message.startswith("{"):
                yield message.encode("utf-8", "replace") + b"\n"
        token = page.get("nextToken")
        if not token:
            return
        if token == query.get("nextToken"):
            raise RotatorError("CloudWatch Logs returned the same page twice", advice="Try again later.")
        query["nextToken"] = token


def _page(client: Any, query: dict[str, Any]) -> Any:
    try:
        return client.filter_log_events(**query)
    except (boto.ClientError, boto.BotoCoreError) as error:
        refused = f"log group {printable(query['logGroupName'])} can't be read"
        advice = "Check its name and region, and that you may call logs:FilterLogEvents on it."
        failure = failure_of(error, "CloudWatch Logs", refused, advice)
    raise failure
