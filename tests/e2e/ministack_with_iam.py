"""MiniStack, whose IAM also knows the condition keys and actions of real AWS that this project's policies use.

Run by the Python that has MiniStack (see .ci/e2e), in a process of its own: it imports nothing of this project. With
``AUTH=true`` MiniStack evaluates IAM policies, but it knows neither ``secretsmanager:ResourceTag/…`` nor
``events:source``, asks for ``sqs:SendMessageBatch``, an action that IAM does not have, takes plain HTTP for no TLS, and
gives a session's ARN as ``aws:PrincipalArn``.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ministack.core import iam_evaluator  # type: ignore[import-not-found]

_enforce = iam_evaluator.enforce
_pin_request_origin = iam_evaluator.pin_request_origin
_resolve_condition_key = iam_evaluator._resolve_condition_key


def enforce(
    access_key_id: str,
    iam_action: str,
    service: str,
    region: str,
    resource_arn: str = "*",
    service_context: dict[str, Any] | None = None,
) -> Any:
    """MiniStack's own check, with what AWS would also have put into the request's context."""
    from ministack.services.tagging import resource_tags  # type: ignore[import-not-found]

    context = dict(service_context or {})
    if service == "secretsmanager":
        tags = resource_tags(resource_arn) or {}
        context |= {f"secretsmanager:ResourceTag/{name}": value for name, value in tags.items()}
    if iam_action == "events:PutEvents" and (request := iam_evaluator._signed_request.get()) is not None:
        entries = json.loads(request.body or b"{}").get("Entries", [])
        context["events:source"] = [entry.get("Source", "") for entry in entries]
    action = "sqs:SendMessage" if iam_action == "sqs:SendMessageBatch" else iam_action
    return _enforce(access_key_id, action, service, region, resource_arn, context)


def pin_request_origin(source_ip: str, _secure_transport: bool) -> None:
    """Every request counts as one over TLS: between the test's processes there is none, and there need be none."""
    _pin_request_origin(source_ip, True)


def resolve_condition_key(key: str, context: Any) -> Any:
    """``aws:PrincipalArn`` of a session is its role's ARN."""
    found = _resolve_condition_key(key, context)
    if key.lower() == "aws:principalarn":
        return re.sub(r":sts::(\d+):assumed-role/([^/]+)/.*", r":iam::\1:role/\2", found)
    return found


iam_evaluator.enforce = enforce
iam_evaluator._resolve_condition_key = resolve_condition_key
iam_evaluator.pin_request_origin = pin_request_origin

if __name__ == "__main__":
    from ministack.app import main  # type: ignore[import-not-found]

    main()
