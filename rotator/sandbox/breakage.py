"""What a fault makes of an answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from rotator.sandbox.faults import Fault, FaultBody, FaultKind
from rotator.sandbox.json_bodies import Drop, DropKind, ErrorStyle, Refusal, Request, Response, error_response
from rotator.sandbox.keys_api import mask

BEFORE: Final[dict[FaultKind, Callable[[Fault, Request, ErrorStyle], Response | Drop]]] = {
    FaultKind.REFUSE: lambda _f, _r, _s: Drop(DropKind.REFUSED),
    FaultKind.DROP_BEFORE: lambda _f, _r, _s: Drop(DropKind.CLOSED),
    FaultKind.HANG_BEFORE: lambda _f, _r, _s: Drop(DropKind.HANG),
    FaultKind.LATE: lambda _f, _r, _s: Drop(DropKind.HANG),
    FaultKind.STATUS_BEFORE: lambda f, r, s: _error(f, r, s, f.status),
    FaultKind.THROTTLE: lambda f, r, s: _error(f, r, s, 429),
    FaultKind.REDIRECT: lambda f, _r, _s: Response(
        f.status if 300 <= f.status < 400 else 302, {"Location": f.location, "Content-Type": "text/html"}
    ),
}
"""Answers in the place of the effect, by kind."""

AFTER: Final[dict[FaultKind, Callable[[Fault, Request, ErrorStyle, Response], Response | Drop]]] = {
    FaultKind.DROP_AFTER: lambda _f, _r, _s, _a: Drop(DropKind.CLOSED),
    FaultKind.HANG_AFTER: lambda _f, _r, _s, _a: Drop(DropKind.HANG),
    FaultKind.STATUS_AFTER: lambda f, r, s, _a: _error(f, r, s, f.status),
    FaultKind.GARBAGE: lambda _f, _r, _s, a: replace(a, body=b'{"apiKeys": [{"id": \x00\xff'),
    FaultKind.TRUNCATE: lambda _f, _r, _s, a: replace(
        a, body=a.body[: len(a.body) // 2], declared_length=max(1, len(a.body))
    ),
    FaultKind.HUGE: lambda f, _r, _s, a: replace(a, body=b'{"padding": "' + b"x" * max(0, f.size - 15) + b'"}'),
    FaultKind.WRONG_ID: lambda _f, _r, _s, a: _changed(a, "id", lambda text: text[::-1]),
}
"""Answers in the place of the true one, by kind, once the effect has happened."""


def without_filters(request: Request, faults: Iterable[Fault]) -> Request:
    """The request as it is handled where filters are ignored."""
    ignored = {fault.param for fault in faults if fault.kind is FaultKind.IGNORE_FILTER}
    if not ignored:
        return request
    return replace(request, query={name: text for name, text in request.query.items() if name not in ignored})


def masked(answer: Response) -> Response:
    """The same answer with the values of its keys masked; as it was where it holds none."""
    return _changed(answer, "apiKeySecret", mask)


def _error(fault: Fault, request: Request, style: ErrorStyle, status: int) -> Response:
    headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
    match fault.body:
        case FaultBody.HTML:
            text = f"<html><head><title>{status}</title></head><body><h1>{status}</h1>nginx</body></html>"
            return Response(status, {**headers, "Content-Type": "text/html"}, text.encode())
        case FaultBody.XML:
            text = (
                '<?xml version="1.0" encoding="UTF-8"?><requestError><serviceException>'
                f"<messageId>E{status}</messageId><text>simulated</text></serviceException></requestError>"
            )
            return Response(status, {**headers, "Content-Type": "application/xml"}, text.encode())
        case FaultBody.EMPTY:
            return Response(status, headers)
        case FaultBody.DOCUMENTED | FaultBody.CURRENT | FaultBody.OLDER:
            chosen = style if fault.body is FaultBody.DOCUMENTED else ErrorStyle(fault.body)
            return error_response(Refusal(status, "simulated fault", headers=headers), request.path, chosen)


def _changed(answer: Response, field: str, change: Callable[[str], str]) -> Response:
    """The same answer with one field of its keys changed; as it was where it holds none."""
    try:
        payload = answer.json()
    except ValueError:
        return answer
    keys = payload.get("apiKeys", [payload]) if isinstance(payload, dict) else []
    for key in keys:
        if isinstance(key.get(field), str):
            key[field] = change(key[field])
    return replace(answer, body=json.dumps(payload).encode())
