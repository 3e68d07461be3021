"""Requests, answers and errors as the simulated Infobip sees and says them, without sockets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple


class ErrorStyle(StrEnum):
    """Which of the two shapes an error has; ``documented`` is the one that the operation's public description gives."""

    DOCUMENTED = "documented"
    CURRENT = "current"
    OLDER = "older"


class DropKind(StrEnum):
    """How a connection ends without an answer."""

    REFUSED = "refused"
    CLOSED = "closed"
    HANG = "hang"


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Header names are in lower case; ``repr`` shows neither headers nor query nor body."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    remote_ip: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Response:
    """One answer. ``repr`` hides the body.

    :param declared_length: what ``Content-Length`` says, where it differs from the truth (a truncated body).
    :param delay: seconds of the world's clock that pass before the answer is sent.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    declared_length: int | None = None
    delay: float = 0.0

    def json(self) -> Any:
        """The body, parsed; ``ValueError`` where it is not JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Drop:
    """No answer: the connection is refused, closed, or hangs until the caller gives up."""

    kind: DropKind


class Violation(NamedTuple):
    """What is wrong with one property of a request."""

    property: str
    violation: str


class Refusal(Exception):
    """The simulated Infobip says no.

    :param status: the HTTP status.
    :param text: what is wrong, never with a secret value.
    """

    def __init__(
        self,
        status: int,
        text: str,
        violations: tuple[Violation, ...] = (),
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.violations = violations
        self.headers = dict(headers or {})


JSON_HEADERS: Final = {"Content-Type": "application/json"}
_ACTIONS: Final = {
    400: "Check the syntax, the violations, and adjust the request.",
    401: "Check the credentials and the Authorization header.",
    403: "Check the roles and the scopes of the caller.",
    404: "Check the path and the identifier.",
    429: "Send fewer requests and repeat this one later.",
}
_MESSAGE_IDS: Final = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    415: "UNSUPPORTED_MEDIA_TYPE",
    429: "TOO_MANY_REQUESTS",
    500: "GENERAL_ERROR",
    503: "SERVICE_UNAVAILABLE",
}
_TOKEN_PATH: Final = "/auth/1/oauth2/token"


def json_response(status: int, payload: object) -> Response:
    """An answer that holds ``payload`` as JSON."""
    return Response(status, dict(JSON_HEADERS), json.dumps(payload, ensure_ascii=False).encode())


def error_response(refusal: Refusal, path: str, style: ErrorStyle) -> Response:
    """An error in the shape asked for; the token endpoint adds ``error`` to the older one."""
    current = style is ErrorStyle.CURRENT or (style is ErrorStyle.DOCUMENTED and path.startswith("/settings/"))
    payload = _current(refusal) if current else _older(refusal, with_error=path == _TOKEN_PATH)
    answer = json_response(refusal.status, payload)
    return Response(answer.status, {**answer.headers, **refusal.headers}, answer.body)


def _current(refusal: Refusal) -> dict[str, object]:
    return {
        "errorCode": f"E{refusal.status}",
        "description": refusal.text,
        "action": _ACTIONS.get(refusal.status, "Repeat the request later."),
        "violations": [{"property": v.property, "violation": v.violation} for v in refusal.violations],
        "resources": [],
    }


def _older(refusal: Refusal, *, with_error: bool) -> dict[str, object]:
    details: dict[str, object] = {
        "messageId": _MESSAGE_IDS.get(refusal.status, "GENERAL_ERROR"),
        "text": refusal.text,
    }
    if refusal.violations:
        by_property: dict[str, list[str]] = {}
        for v in refusal.violations:
            by_property.setdefault(v.property, []).append(v.violation)
        details["validationErrors"] = by_property
    payload: dict[str, object] = {"requestError": {"serviceException": details}}
    if with_error:
        payload["error"] = refusal.text
    return payload
