"""Secret values, management secrets, and what is written down: read or refused, and nothing of a value in any error."""

from __future__ import annotations

import io
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.clock import SystemClock
from rotator.errors import BadSecretValue, ConfigurationError, ProviderError
from rotator.infobip.client import InfobipClient
from rotator.infobip.credentials import parse_credentials
from rotator.policy.values import contains, decode, encode_replacement, keys_in, recorded_key_id
from rotator.redaction.redactor import Redactor
from rotator.sandbox.exchange import Response
from rotator.secret import Secret
from rotator.telemetry.audit import Audit
from tests.doubles.in_process import InProcessAdapter
from tests.fuzz.scripted import Scripted
from tests.fuzz.strategies import HOSTILE, JSON, SCALARS, TEXTS, result_of
from tests.infobip.answers import KEY_VALUE
from tests.support.moments import START

OTHER = KEY_VALUE.replace("0", "f")
VALUES = st.one_of(
    TEXTS,
    st.builds(json.dumps, JSON),
    st.builds(lambda fields: json.dumps({"api_key": KEY_VALUE, **fields}), st.dictionaries(TEXTS, JSON, max_size=3)),
    st.builds(lambda before, after: f"{before}{KEY_VALUE}{after}", TEXTS, TEXTS),
)


@settings(max_examples=60)
@given(VALUES, st.sampled_from(["api_key", "key", "a.b"]))
def test_any_value_is_replaced_or_refused(text: str, field: str) -> None:
    """Threat: a malformed secret value. It is rejected by name, and no part of it is shown."""
    secret = Secret(text)

    def replaced() -> None:
        decode(secret, field, "prod/x")
        new = encode_replacement(
            secret, field, key=Secret(OTHER), key_id="K9", expires_at=START, base_url="https://a.invalid"
        )
        # Read back, it is the new key, in the same kind of value, with nothing else lost.
        again = decode(new, field, "prod/x")
        assert again == Secret(OTHER)
        is_json = text.lstrip().startswith("{")
        assert new.reveal().lstrip().startswith("{") is is_json
        if is_json:
            assert set(json.loads(text, parse_int=str)) <= set(json.loads(new.reveal(), parse_int=str))

    _, error = result_of(replaced, BadSecretValue)
    assert KEY_VALUE not in f"{error} {error!r}"
    assert error is None or error.__context__ is None
    recorded_key_id(secret)
    assert all(contains(secret, found) for found in keys_in(secret))


CREDENTIALS = st.dictionaries(
    st.sampled_from(["base_url", "username", "password", "auth", "account_id"]),
    st.sampled_from(
        ["https://a.api.infobip.com", "https://[::1]:1", "http://127.0.0.1", "https://xn--a", "https://a..b"]
    )
    | TEXTS
    | SCALARS,
)


@settings(max_examples=60)
@given(
    st.builds(
        lambda change: {"base_url": "https://a.api.infobip.com", "username": "u", "password": KEY_VALUE, **change},
        CREDENTIALS,
    )
    | JSON
)
def test_management_gives_client_or_error(value: Any) -> None:
    """Threat: a malformed management secret. It is rejected by name, and no part of it is shown."""
    world = Scripted([Response(401)])

    def used() -> None:
        credentials = parse_credentials("rotator/main", Secret(json.dumps(value)))
        client = InfobipClient(credentials, world.clock, adapters=lambda: InProcessAdapter(world))
        try:
            client.list_keys()
        finally:
            client.close()

    message = str(result_of(used, ConfigurationError, ProviderError)[1])
    assert message.isprintable()
    assert KEY_VALUE not in message


class Odd:
    """An unforeseen object in a field, with a text of its own."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


FIELDS = st.dictionaries(
    st.sampled_from(["secret", "key_id", "error", "detail", "password"]) | TEXTS.filter(lambda text: "\0" not in text),
    st.one_of(JSON, st.builds(Odd, TEXTS), st.builds(ValueError, TEXTS), st.binary(max_size=20), st.frozensets(TEXTS)),
    max_size=4,
)
_OWN = {"timestamp", "level", "event", "outcome", "run_id", "seq", "prev", "deployment", "trigger", "self"}


@settings(max_examples=60)
@given(FIELDS, st.sampled_from([text for text in HOSTILE if len(text) > 8]))
def test_any_fields_make_one_clean_line(fields: dict[str, Any], secret: str) -> None:
    """Threat: any text in any field of an audit line. The record stays one line and contains no secret value."""
    stream = io.StringIO()
    redactor = Redactor()
    redactor.learn(secret)
    audit = Audit(
        stream, deployment="d", actor="a", trigger="manual", redactor=redactor, clock=SystemClock(), run_id="run"
    )
    ours = {name: each for name, each in fields.items() if name not in _OWN}
    audit.emit("key.verified", "success", **ours, reason=f"before {secret} after")
    (line,) = stream.getvalue().splitlines()
    assert all(" " <= char <= "~" for char in line)
    assert secret not in json.loads(line)["reason"]
    assert json.loads(line)["seq"] == 1
