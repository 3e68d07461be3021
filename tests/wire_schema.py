"""Checks exchanges with Infobip (simulated or not) against its public description (OpenAPI, version 3.210.0).

``infobip-api.json`` is what of it the rotator uses, reduced to names, types and statuses. It is strict: unknown fields
are mistakes of ours. Times are in UTC without an offset, although the description calls them date-time.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import jsonschema

from rotator.sandbox.exchange import Request, Response
from rotator.sandbox.infobip import InfobipWorld

_DESCRIPTION: dict[str, Any] = json.loads((Path(__file__).parent / "infobip-api.json").read_text(encoding="utf-8"))
# Statuses that are seen although the description does not list them for every operation (409: a second session).
_UNLISTED = {401, 403, 404, 405, 409, 415, 429}


def validate_exchange(method: str, path: str, status: int, request_body: bytes | str, response_body: bytes) -> None:
    """Check one exchange. An ``AssertionError`` names what is wrong, and shows no values.

    A request is checked only if it was accepted (status below 400): a refused one may be wrong on purpose.
    """
    call = _call(method, path)
    if call is None:
        return
    where = f"{method} {path} {status}"
    if status < 400:
        _check_request(call, request_body, where)
        schema = call["answers"].get(str(status))
        assert schema is not None or not response_body, f"{where}: no such answer is described"
        if schema is not None:
            _check(schema, _json(response_body, where), f"{where}: answer")
        return
    known = {*call["answers"], *call["errors"]}
    assert str(status) in known or f"{status // 100}XX" in known or status in _UNLISTED, f"{where}: not described"
    payload = _json(response_body, where)
    assert isinstance(payload, dict), f"{where}: an error must be an object"
    other = "OAuthApiException" if path == "/auth/1/oauth2/token" else "ApiException"
    assert "errorCode" in payload or "requestError" in payload, f"{where}: neither shape of an error"
    _check("ApiError" if "errorCode" in payload else other, payload, f"{where}: error")


def watch(world: InfobipWorld) -> None:
    """Check every exchange of a world from now on; ``world.check()`` (or its server's end) raises what is wrong."""
    world.observers.append(_observe)


def _observe(request: Request, response: Response) -> None:
    validate_exchange(request.method, request.path, response.status, request.body, response.body)


def _check_request(call: dict[str, Any], body: bytes | str, where: str) -> None:
    text = body.decode() if isinstance(body, bytes) else body
    if "json" in call:
        _check(call["json"], _json(text.encode(), where), f"{where}: request")
    elif "form" in call:
        _check(call["form"], dict(parse_qsl(text)), f"{where}: request")
    else:
        assert not text, f"{where}: a body where none is described"


def _check(schema: str, payload: object, where: str) -> None:
    wrong = [f"{'/'.join(map(str, e.absolute_path))}: {e.validator}" for e in _validator(schema).iter_errors(payload)]
    assert not wrong, f"{where}: {'; '.join(wrong)}"


def _json(body: bytes, where: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        raise AssertionError(f"{where}: not JSON") from None


@functools.cache
def _validator(schema: str) -> Any:
    return jsonschema.Draft202012Validator({"$ref": f"#/schemas/{schema}", "schemas": _DESCRIPTION["schemas"]})


def _call(method: str, path: str) -> dict[str, Any] | None:
    for described, call in _DESCRIPTION["calls"].items():
        if re.fullmatch(re.sub(r"\{[^/]+\}", "[^/]+", described), f"{method} {path}"):
            found: dict[str, Any] = call
            return found
    return None
