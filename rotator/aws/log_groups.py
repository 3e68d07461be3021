"""Reads the audit lines of a CloudWatch log group, page by page (``FilterLogEvents``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final

from botocore import exceptions as boto

from rotator.aws.aws_errors import failure_of
from rotator.errors import ConfigurationError, RotatorError

PATTERN: Final = '{ $.run_id = "*" }'
"""Only audit lines have a ``run_id``."""


class LogGroups:
    """CloudWatch Logs over HTTP.

    :param connect: makes a ``logs`` client when first needed.
    """

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect

    def lines(self, group: str, begin: datetime, end: datetime) -> Iterator[bytes]:
        """Yield the JSON lines of a period, each with its line break. Memory does not grow with their number.

        :raises ConfigurationError: the group does not exist, or can't be read.
        """
        query: dict[str, Any] = {
            "logGroupName": group,
            "startTime": int(begin.timestamp() * 1000),
            "endTime": int(end.timestamp() * 1000),
            "filterPattern": PATTERN,
        }
        client = self._connect()
        while True:
            page = self._page(client, query)
            for event in page.get("events", ()):
                message = str(event.get("message", "")).strip()
                if message.startswith("{"):
                    yield message.encode("utf-8", "replace") + b"\n"
            token = page.get("nextToken")
            if not token or token == query.get("nextToken"):
                return
            query["nextToken"] = token

    def _page(self, client: Any, query: dict[str, Any]) -> Any:
        try:
            return client.filter_log_events(**query)
        except boto.ParamValidationError:
            failure: RotatorError = ConfigurationError(
                "--log-group is not a valid name", advice="Use one such as /aws/lambda/infobip-key-rotator-sweep."
            )
        except (boto.ClientError, boto.BotoCoreError) as error:
            refused = f"log group {query['logGroupName'][:100]} can't be read"
            advice = "Check its name and region, and that you may call logs:FilterLogEvents on it."
            failure = failure_of(error, "CloudWatch Logs", refused, advice)
        raise failure
