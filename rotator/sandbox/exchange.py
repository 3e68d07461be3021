"""Requests, responses and errors of the simulated Infobip, independent of any connection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from rotator.decoding import json_object


class ErrorStyle(StrEnum):
    """The format of an error: one of Infobip's two (``documented`` is that of the operation's public description), or
    that of a proxy in front of Infobip.
    """

    DOCUMENTED = "documented"
    CURRENT = "current"
    OLDER = "older"
    HTML = "html"
    XML = "xml"
    EMPTY = "empty"


class DropKind(StrEnum):
    """How a connection ends without a response."""

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

    def require_media_type(self, wanted: str) -> None:
        """Raise :class:`Refusal` 415 if the body is declared to be something else."""
        if self.headers.get("content-type", "").partition(";")[0].strip().lower() != wanted:
            raise Refusal(415, f"The body must be {wanted}")

    def json_object(self) -> dict[str, Any]:
        """Return the body as a JSON object, or raise :class:`Refusal` 415 or 400."""
        self.require_media_type("application/json")
        fields = json_object(self.body)
        if fields is None:
            raise Refusal(400, "The body is not a JSON object")
        return fields


@dataclass(frozen=True, slots=True)
class Response:
    """One response. ``repr`` hides the body.

    :param declared_length: the value of ``Content-Length`` if it is not the real length (a truncated body).
    :param delay: seconds of the world's clock that pass before the response is sent.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    declared_length: int | None = None
    delay: float = 0.0

    @property
    def content_length(self) -> int:
        """The value of ``Content-Length``."""
        return len(self.body) if self.declared_length is None else self.declared_length

    def json(self) -> Any:
        """Return the body, parsed; ``ValueError`` if it is not JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Drop:
    """No response: the connection is refused, closed, or hangs until the caller gives up."""

    kind: DropKind


class Violation(NamedTuple):
    """An error in one property of a request."""

    property: str
    violation: str


class Refusal(Exception):
    """The response to a request is an error, whose text never contains a secret value."""

    def __init__(
        self,
        status: int,
        text: str = "Request cannot be processed",
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
_TOKEN_PATH: Final = "/auth/1/oauth2/token"


def json_response(status: int, payload: object, headers: Mapping[str, str] | None = None) -> Response:
    """A response that contains ``payload`` as JSON."""
    return Response(status, {**JSON_HEADERS, **(headers or {})}, json.dumps(payload, ensure_ascii=False).encode())


def error_response(refusal: Refusal, path: str, style: ErrorStyle) -> Response:
    """Return an error in the given format. The token endpoint adds ``error`` to the older one."""
    status, headers = refusal.status, refusal.headers
    if style is ErrorStyle.DOCUMENTED:
        style = ErrorStyle.CURRENT if path.startswith("/settings/") else ErrorStyle.OLDER
    match style:
        case ErrorStyle.EMPTY:
            return Response(status, headers)
        case ErrorStyle.HTML:
            page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1>nginx</body></html>"
            return Response(status, {**headers, "Content-Type": "text/html"}, page.encode())
        case ErrorStyle.XML:
            document = (
                '<?xml version="1.0" encoding="UTF-8"?><requestError><serviceException>'
                f"<messageId>E{status}</messageId><text>simulated</text></serviceException></requestError>"
            )
            return Response(status, {**headers, "Content-Type": "application/xml"}, document.encode())
        case ErrorStyle.CURRENT:
            payload: dict[str, object] = {
                "errorCode": f"E{status}",
                "description": refusal.text,
                "action": "Check the request and the credentials, or repeat it later.",
                "violations": [v._asdict() for v in refusal.violations],
                "resources": [],
            }
        case _:
            code = next((each.name for each in HTTPStatus if each == status != 500), "GENERAL_ERROR")
            details: dict[str, object] = {"messageId": code, "text": refusal.text}
            by_property: dict[str, list[str]] = {}
            for v in refusal.violations:
                by_property.setdefault(v.property, []).append(v.violation)
            if by_property:
                details["validationErrors"] = by_property
            payload = {"requestError": {"serviceException": details}}
            if path == _TOKEN_PATH:
                payload["error"] = refusal.text
    return json_response(status, payload, headers)
