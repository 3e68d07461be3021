from __future__ import annotations

import json

from rotator.infobip.http import Answer
from rotator.infobip.http_errors import KnownSecrets, read_problem, refusal
from tests.infobip.fake_server import KEY_VALUE

WHERE = "GET /x at host"


def answer(body: object, status: int = 200) -> Answer:
    return Answer(WHERE, status, body if isinstance(body, bytes) else json.dumps(body).encode())


def test_both_shapes_of_errors() -> None:
    current = read_problem(
        b'{"errorCode":"E400","description":"Bad","action":"-","resources":[],"violations":[{"property":"name","violation":"long"}]}'
    )
    assert (current.code, current.text, current.violations) == ("E400", "Bad", (("name", "long"),))
    older = read_problem(
        b'{"requestError":{"serviceException":{"messageId":"BAD","text":"Bad","validationErrors":{"name":["long","odd"]}}},"error":"invalid_client"}'
    )
    assert (older.code, older.text, older.error) == ("BAD", "Bad", "invalid_client")
    assert older.violations == (("name", "long"), ("name", "odd"))
    xml = read_problem(
        b"<requestError><serviceException><messageId>UNAUTHORIZED</messageId><text>No</text></serviceException></requestError>"
    )
    assert (xml.code, xml.text) == ("UNAUTHORIZED", "No")


def test_an_error_that_quotes_secrets_is_cleaned() -> None:
    known = KnownSecrets(lambda _: None)
    known.add("p w")
    said = str(refusal(answer({"description": f"bad p w or p+w\x1b[31m {KEY_VALUE.upper()}\n"}, 400), known))
    assert "p w" not in said
    assert "p+w" not in said
    assert KEY_VALUE.upper() not in said
    assert "\x1b" not in said
    assert "\\x1b[31m" in said
