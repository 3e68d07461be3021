"""Checks exchanges with Infobip (simulated or not) against its public description, where that lies beside the project.

The description is not part of the project: without it (or without jsonschema) nothing is checked and nothing fails.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from rotator.sandbox.exchange import Request, Response
from rotator.sandbox.infobip import InfobipWorld

DESCRIPTION = Path(__file__).resolve().parents[1] / ".." / "shared" / "infobip" / "openapi.json"

# Times are in UTC without an offset, although the description calls them date-time.
_TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?$"
# Statuses that are seen although the description does not list them for every operation (409: a second session).
_UNLISTED = {401, 403, 404, 405, 409, 415, 429}


def available() -> bool:
    """Whether anything can be checked."""
    return DESCRIPTION.is_file() and importlib.util.find_spec("jsonschema") is not None


def validate_exchange(method: str, path: str, status: int, request_body: bytes | str, response_body: bytes) -> None:
    """Check one exchange. An ``AssertionError`` names what is wrong, and shows no values.

    A request is checked only if it was accepted (status below 400): a refused one may be wrong on purpose.
    """
    if not available():
        return
    operation = _operation(method, path)
    if operation is None:
        return
    where = f"{method} {path} {status}"
    if status < 400:
        _check_request(operation, request_body, where)
        schema = _response_schema(operation, str(status))
        assert schema is not None or not response_body, f"{where}: no such answer is described"
        if schema is not None:
            _check(schema, _json(response_body, where), f"{where}: answer")
        return
    known = set(operation["responses"])
    assert str(status) in known or f"{status // 100}XX" in known or status in _UNLISTED, f"{where}: not described"
    payload = _json(response_body, where)
    assert isinstance(payload, dict), f"{where}: an error must be an object"
    token = path == "/auth/1/oauth2/token"
    name = "ApiError" if "errorCode" in payload else _named("OAuthApiException") if token else "ApiException"
    assert "errorCode" in payload or "requestError" in payload, f"{where}: neither shape of an error"
    _check({"$ref": f"#/components/schemas/{name}"}, payload, f"{where}: error")


def watch(world: InfobipWorld) -> None:
    """Check every exchange of a world from now on; ``world.check()`` (or its server's end) raises what is wrong."""
    world.observers.append(_observe)


def _observe(request: Request, response: Response) -> None:
    validate_exchange(request.method, request.path, response.status, request.body, response.body)


def _check_request(operation: dict[str, Any], body: bytes | str, where: str) -> None:
    text = body.decode() if isinstance(body, bytes) else body
    content = operation.get("requestBody", {}).get("content", {})
    if not content:
        assert not text, f"{where}: a body where none is described"
    elif "application/json" in content:
        _check(content["application/json"]["schema"], _json(text.encode(), where), f"{where}: request")
    else:
        _check(next(iter(content.values()))["schema"], dict(parse_qsl(text)), f"{where}: request")


def _check(schema: dict[str, Any], payload: object, where: str) -> None:
    validator = _validator(json.dumps(schema, sort_keys=True))
    wrong = [f"{'/'.join(map(str, e.absolute_path))}: {e.validator}" for e in validator.iter_errors(payload)]
    assert not wrong, f"{where}: {'; '.join(wrong)}"


def _json(body: bytes, where: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        raise AssertionError(f"{where}: not JSON") from None


@functools.cache
def _description() -> Any:
    return _corrected(json.loads(DESCRIPTION.read_text(encoding="utf-8")))


@functools.cache
def _validator(schema: str) -> Any:
    jsonschema = importlib.import_module("jsonschema")
    return jsonschema.Draft202012Validator({**json.loads(schema), "components": _description()["components"]})


def _corrected(node: Any) -> Any:
    """The description without its mistakes, and strict: unknown fields are mistakes of ours."""
    if isinstance(node, list):
        return [_corrected(item) for item in node]
    if not isinstance(node, dict):
        return node
    fixed = {name: _corrected(value) for name, value in node.items()}
    if fixed.get("type") == "array":
        fixed.pop("enum", None)  # meant for the items, which have it too: no list can equal a word
    if fixed.get("format") == "date-time":
        fixed["pattern"] = _TIME
    if fixed.get("type") == "object" and "properties" in fixed and "allOf" not in fixed:
        fixed.setdefault("additionalProperties", False)
    return fixed


def _operation(method: str, path: str) -> dict[str, Any] | None:
    for template, operations in _description()["paths"].items():
        pattern = re.sub(r"\{[^/]+\}", "[^/]+", template)
        if re.fullmatch(pattern, path) and method.lower() in operations:
            found: dict[str, Any] = operations[method.lower()]
            return found
    return None


def _response_schema(operation: dict[str, Any], status: str) -> dict[str, Any] | None:
    content = operation["responses"].get(status, {}).get("content", {})
    return next(iter(content.values()))["schema"] if content else None


def _named(title: str) -> str:
    """A schema's full name, some having a digest before it."""
    return next(str(name) for name in _description()["components"]["schemas"] if name.rpartition(".")[2] == title)
