"""The sandbox's own endpoint under ``/sandbox/``: its clock and its faults."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from rotator.errors import ConfigurationError
from rotator.sandbox.exchange import Refusal, Request, Response, json_response
from rotator.sandbox.faults import HOOKS, Fault, FaultKind
from rotator.sandbox.infobip import InfobipWorld

PREFIX: Final = "/sandbox/"
_FAULT_FIELDS: Final = {
    "method": str,
    "path": str,
    "param": str | None,
    "nth": int,
    "count": int | None,
    "status": int,
    "body": str,
    "seconds": float | int,
    "retry_after": str | None,
    "size": int,
}


def control(world: InfobipWorld, request: Request) -> Response:
    """Answer a control request; only for callers on this machine who name it by a loopback address.

    The ``Host`` is checked too, so that no web page can steer the sandbox by way of a name that it owns.
    """
    host = request.headers.get("host", "").rpartition(":")[0].strip("[]") or request.headers.get("host", "")
    if not _is_loopback(request.remote_ip) or not (host == "localhost" or _is_loopback(host)):
        return json_response(403, {"error": "the control endpoint answers on loopback addresses only"})
    handler = _ROUTES.get((request.method, request.path[len(PREFIX) :]))
    if handler is None:
        known = [f"{method} {PREFIX}{name}" for method, name in _ROUTES]
        return json_response(404, {"error": "no such control", "known": known})
    try:
        return handler(world, request)
    except Refusal as e:
        return json_response(e.status, {"error": e.text})


def _get_clock(world: InfobipWorld, _request: Request) -> Response:
    return json_response(200, {"now": world.clock.now().isoformat(), "monotonic": world.clock.monotonic()})


def _move_clock(world: InfobipWorld, request: Request) -> Response:
    match request.json_object():
        case {"advance_seconds": int() | float() as seconds, **rest} if not rest and not isinstance(seconds, bool):
            try:
                world.clock.advance(timedelta(seconds=seconds))
            except (OverflowError, ValueError):
                raise Refusal(400, "advance_seconds is too large") from None
        case {"set": str() as text, **rest} if not rest:
            try:
                world.clock.set(datetime.fromisoformat(text))
            except (OverflowError, ValueError):
                raise Refusal(400, "set must be a time with its offset, such as 2026-12-01T10:00:00+00:00") from None
        case _:
            raise Refusal(400, 'send {"advance_seconds": 3600} or {"set": "2026-12-01T10:00:00+00:00"}')
    world.settle()
    return _get_clock(world, request)


def _get_faults(world: InfobipWorld, _request: Request) -> Response:
    names = ("kind", "method", "path", "param", "nth", "count", "hits")
    return json_response(200, {"faults": [{name: getattr(f, name) for name in names} for f in world.faults.all()]})


def _add_fault(world: InfobipWorld, request: Request) -> Response:
    fields = request.json_object()
    kind = fields.pop("kind", None)
    kinds = [k.value for k in FaultKind if k not in HOOKS]
    if kind not in kinds:
        raise Refusal(400, f"kind must be one of {', '.join(kinds)}")
    for name, value in fields.items():
        if name not in _FAULT_FIELDS or not isinstance(value, _FAULT_FIELDS[name]) or isinstance(value, bool):
            known = ", ".join(_FAULT_FIELDS)
            raise Refusal(400, f"{name!r} is no field of a fault, or is of the wrong type; known: {known}")
    try:
        world.faults.add(Fault(kind=kind, **fields))
    except (ValueError, ConfigurationError) as e:
        raise Refusal(400, str(e)) from None
    return _get_faults(world, request)


def _clear_faults(world: InfobipWorld, request: Request) -> Response:
    world.faults.clear()
    return _get_faults(world, request)


_ROUTES: Final[dict[tuple[str, str], Callable[[InfobipWorld, Request], Response]]] = {
    ("GET", "clock"): _get_clock,
    ("POST", "clock"): _move_clock,
    ("GET", "faults"): _get_faults,
    ("POST", "faults"): _add_fault,
    ("DELETE", "faults"): _clear_faults,
}


def _is_loopback(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False
