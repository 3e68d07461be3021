"""Nothing secret in errors, tracebacks, locals or logs, whatever happens."""

from __future__ import annotations

import base64
import logging
import traceback
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from rotator.errors import RotatorError
from rotator.infobip.client import InfobipClient
from rotator.infobip.credentials import AuthMethod
from rotator.ports import KeyRequest
from rotator.secret import Secret
from tests.infobip.answers import K1, KEY_VALUE, key, page
from tests.infobip.clients import PASSWORD, USER, RecordingClock, RecordingRedactor, client_for
from tests.infobip.fake_server import FakeServer, Reply, drop, raw, reply

TOKEN = "T0KEN-0123456789"
ENCODED = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
SECRETS = {PASSWORD, quote(PASSWORD, safe=""), quote_plus(PASSWORD), KEY_VALUE}
HELD = {
    AuthMethod.BASIC: SECRETS | {ENCODED},
    AuthMethod.IBSSO: SECRETS | {TOKEN},
    AuthMethod.OAUTH2: SECRETS | {TOKEN},
}
LOGIN: dict[AuthMethod, list[Reply]] = {
    AuthMethod.BASIC: [],
    AuthMethod.IBSSO: [reply(200, {"token": TOKEN})],
    AuthMethod.OAUTH2: [reply(200, {"access_token": TOKEN, "expires_in": 3600})],
}


def failures(echo: str) -> list[Reply]:
    """Answers that quote all that the client sent, or hold key values where none belong."""
    current = {"errorCode": "E", "description": echo, "violations": [{"property": echo, "violation": echo}]}
    older = {"messageId": echo, "text": echo, "validationErrors": {echo: [echo]}}
    return [
        drop,
        reply(302, Location=f"https://elsewhere.invalid/?apiKeySecret={KEY_VALUE}"),
        *[reply(status, current) for status in (400, 401, 403, 404, 429, 500)],
        reply(400, {"requestError": {"serviceException": older}}),
        reply(400, f"<r><text>{echo}</text></r>"),
        reply(200, {"id": echo, "name": echo, "apiKeySecret": KEY_VALUE}),
        reply(200, page({**key(), "validTo": KEY_VALUE})),
        reply(200, {**key(), "validTo": KEY_VALUE}),
        reply(200, echo),
        raw(f"HTTP/1.1 200 {echo}\r\nbroken header {KEY_VALUE}\r\nContent-Length: 2\r\n\r\n{{}}".encode()),
        raw(f"{echo}\r\n\r\n".encode()),
    ]


CALLS: list[Callable[[InfobipClient], object]] = [
    lambda client: client.list_keys(),
    lambda client: client.find_by_value(Secret(KEY_VALUE)),
    lambda client: client.get_key("K1"),
    lambda client: client.create_key(KeyRequest("n", RecordingClock().now())),
    lambda client: client.revoke_key(K1, RecordingClock().now()),
    lambda client: client.probe(Secret(KEY_VALUE), "/account/1/balance"),
]


def as_shown(error: BaseException) -> str:
    """All that a careless handler could show of an error: text, traceback, and the locals of the package's frames."""
    whole = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [
        str(each.locals) for each in whole.stack if "rotator/infobip" in each.filename or "requests" in each.filename
    ]
    return "\n".join([str(error), repr(error), *traceback.format_exception(error), *frames])


@pytest.mark.parametrize("auth", list(AuthMethod))
@pytest.mark.parametrize("number", range(len(failures(""))))
def test_no_secret_gets_out(auth: AuthMethod, number: int, caplog: pytest.LogCaptureFixture) -> None:
    """Threat: an error that quotes the request. Secrets are redacted before it becomes a message."""
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    for call in CALLS:
        # At the call itself, where all is known that is quoted; and at the login, where there is no token yet.
        at_call, at_login = failures(" ".join(sorted(HELD[auth])))[number], failures(" ".join(sorted(SECRETS)))[number]
        for script in ([*LOGIN[auth], at_call], [at_login]):
            with FakeServer(script) as server:
                client = client_for(server.url, auth=auth)
                try:
                    shown.append(repr(call(client)))
                except RotatorError as error:
                    shown.append(as_shown(error))
                client.close()
    assert any("Traceback" in each for each in shown)
    text = "\n".join([*shown, caplog.text, *(repr(record.__dict__) for record in caplog.records)])
    assert [secret for secret in HELD[auth] if secret in text] == []


ENCODINGS: dict[str, Callable[[str], str]] = {
    "percent": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "twice": lambda text: quote("".join(f"%{byte:02X}" for byte in text.encode())),
    "unicode escapes": lambda text: "".join(f"\\u{ord(each):04x}" for each in text),
    "decimal entities": lambda text: "".join(f"&#{ord(each)};" for each in text),
    "hexadecimal entities": lambda text: "".join(f"&#x{ord(each):x};" for each in text),
    "hex": lambda text: text.encode().hex(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("status", [400, 401])
def test_encoded_password_is_hidden(encoding: str, status: int) -> None:
    echo = ENCODINGS[encoding](PASSWORD)
    answer = reply(status, {"errorCode": "E", "description": f"not allowed: {echo}!"})
    with FakeServer([answer]) as server, pytest.raises(RotatorError) as caught:
        client_for(server.url).list_keys()
    assert "not allowed: <redacted>!" in str(caught.value)
    assert echo not in as_shown(caught.value)


def test_urllib3_still_logs_without_query(caplog: pytest.LogCaptureFixture) -> None:
    """Threat: a value in the query of a logged URL. It is removed."""
    for name in ("", "urllib3", "urllib3.connectionpool"):  # whatever another test has set
        caplog.set_level(logging.DEBUG, logger=name)
    with FakeServer([reply(200, page())]) as server:
        client_for(server.url).find_by_value(Secret(KEY_VALUE))
    assert "GET /settings/2/api-keys?<hidden>" in caplog.text
    assert KEY_VALUE not in caplog.text


def test_every_secret_is_learnt() -> None:
    for auth in AuthMethod:
        redactor = RecordingRedactor()
        with FakeServer([*LOGIN[auth], reply(200, key())]) as server:
            client_for(server.url, auth=auth, redactor=redactor).get_key("K1")
        assert {PASSWORD, KEY_VALUE} <= set(redactor.learned)
        assert (TOKEN in redactor.learned) == (auth is not AuthMethod.BASIC)
