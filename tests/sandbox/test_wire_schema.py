"""The checker itself."""

from __future__ import annotations

import json

import pytest

from tests import wire_schema
from tests.sandbox.conftest import KEYS, TOKEN

KEY = {"id": "A1", "name": "x", "accountId": "M", "validTo": "2026-09-01T10:00:00", "permissions": ["PUBLIC_API"]}
ERROR = {"errorCode": "E400", "description": "", "action": "", "violations": [], "resources": []}


def check(method: str, path: str, status: int, asked: object, answered: object) -> None:
    asked_text = asked if isinstance(asked, str) else json.dumps(asked)
    wire_schema.validate_exchange(method, path, status, asked_text, json.dumps(answered).encode())


@pytest.mark.parametrize(
    ("method", "path", "status", "asked", "answered", "wrong"),
    [
        ("POST", KEYS, 200, {"nmae": "x"}, KEY, "request"),
        ("POST", KEYS, 200, {"name": "x", "validTo": "2026-09-01T10:00:00Z"}, KEY, "validTo: pattern"),
        ("POST", KEYS, 200, {"name": "x", "permissions": ["ALL"]}, KEY, "permissions/0: enum"),
        ("POST", KEYS, 200, {"name": "x", "scopeGuids": ["a", "a"]}, KEY, "scopeGuids: uniqueItems"),
        ("POST", KEYS, 200, {"name": "x"}, {**KEY, "enabled": "yes"}, "enabled: type"),
        ("POST", KEYS, 200, {"name": "x"}, {"id": "A1"}, "required"),
        ("POST", KEYS, 201, {"name": "x"}, KEY, "no such answer"),
        ("GET", KEYS, 200, "{}", {"paging": {}}, "a body where none"),
        ("GET", KEYS, 200, "", {"apiKeys": []}, "required"),
        ("GET", KEYS, 418, "", ERROR, "not described"),
        ("GET", KEYS, 401, "", {"errorCode": "E401"}, "required"),
        ("GET", KEYS, 401, "", {"message": "no"}, "neither shape"),
        ("POST", TOKEN, 200, "client_id=x&grant_type=client_credentials", {}, "required"),
    ],
)
def test_bad_exchanges(method: str, path: str, status: int, asked: object, answered: object, wrong: str) -> None:
    with pytest.raises(AssertionError, match=wrong):
        check(method, path, status, asked, answered)
