from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rotator.redaction.patterns import REDACTED, redact_patterns

KEY = "-".join(("0123456789abcdef" * 2, "01234567", "0123", "4567", "89ab", "0123456789ab"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"key {KEY}.", f"key {REDACTED}."),
        (KEY.upper(), REDACTED),
        (f"App {KEY}", f"App {REDACTED}"),
        (KEY[:50], REDACTED),
        ("Authorization: App abc", f"Authorization: {REDACTED}"),
        ("authorization: Digest a, b\nnext: line", f"authorization: {REDACTED}\nnext: line"),
        ("{'Authorization': 'App abc', 'Accept': 'x'}", f"{{'Authorization': '{REDACTED}', 'Accept': 'x'}}"),
        ('{"AUTHORIZATION":"Basic YTpi"}', f'{{"AUTHORIZATION":"{REDACTED}"}}'),
        (r'"{\"authorization\": \"App abc\"}"', rf'"{{\"authorization\": \"{REDACTED}\"}}"'),
        ("(b'Authorization', b'App abc')", f"(b'Authorization', b'{REDACTED}')"),
        ("curl -H 'Proxy-Authorization: x' host", f"curl -H 'Proxy-Authorization: {REDACTED}' host"),
        ("sent Basic dXNlcjpwYXNz to it", f"sent Basic {REDACTED} to it"),
        ("sent basic YTpi", f"sent basic {REDACTED}"),
        ("sent Bearer eyJh.eyJz.SflK", f"sent Bearer {REDACTED}"),
        ("ibsso 9ab0c1d2e3f4", f"ibsso {REDACTED}"),
        (
            "GET /settings/2/api-keys?apiKeySecret=x-y&page=0 401",
            f"GET /settings/2/api-keys?apiKeySecret={REDACTED}&page={REDACTED} 401",
        ),
        ("https://u:p@host/x", f"https://{REDACTED}@host/x"),
        ("https://u:p@ss/w@host/x", f"https://{REDACTED}@host/x"),
        ("postgres://token@host", f"postgres://{REDACTED}@host"),
        ('{"password": "a\\"b", "username": "u"}', f'{{"password": "{REDACTED}", "username": "u"}}'),
        ('{"apiKeySecret":"x","id":"A1"}', f'{{"apiKeySecret":"{REDACTED}","id":"A1"}}'),
        ("{'access_token': 'x y'}", f"{{'access_token': '{REDACTED}'}}"),
        (r"{\"token\":\"x\",\"a\":1}", rf"{{\"token\":\"{REDACTED}\",\"a\":1}}"),
        ('{"secret": "s3cr3t"}', f'{{"secret": "{REDACTED}"}}'),
        ('{"api_key": "cut off here', f'{{"api_key": "{REDACTED}"'),
        (
            "grant_type=client_credentials&client_secret=x&y=z",
            f"grant_type=client_credentials&client_secret={REDACTED}&y={REDACTED}",
        ),
        ("AWS_SECRET_ACCESS_KEY=abc/def", f"AWS_SECRET_ACCESS_KEY={REDACTED}"),
        ("password: hunter2 and so on", f"password: {REDACTED} and so on"),
    ],
)
def test_credential_shapes_are_taken_out(text: str, expected: str) -> None:
    assert redact_patterns(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "6f1c2a34-5b67-4c89-90ab-cdef01234567",
        "8F0792F86035A9F4290821F1EE6BC06A",
        "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/sms/otp-AbCdEf",
        "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/password-0a1b2c",
        "prod/sms/otp/rotator:default:6f1c2a34-5b67-4c89-90ab-cdef01234567",
        "rotator:key:8F0792F86035A9F4290821F1EE6BC06A",
        "rotator:retire:8F0792F86035A9F4290821F1EE6BC06A:20261126T100000Z",
        "2026-12-01T10:00:00Z",
        "https://abc123.api.infobip.com/settings/2/api-keys/8F0792F86035A9F4290821F1EE6BC06A",
        "http://127.0.0.1:8080/account/1/balance",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "secretsmanager:PutSecretValue is denied on prod/sms/otp",
        "Check username, password and auth in the management secret.",
        "basic authentication, bearer tokens and the app itself",
        'ClientRequestToken="6f1c2a34-5b67-4c89-90ab-cdef01234567"',
        "rotator:value-field is api_key",
        "user ops@example.com at https://example.com/",
        '{"password": null, "token": false}',
    ],
)
def test_ids_and_plain_words_stay(text: str) -> None:
    assert redact_patterns(text) == text


FRAGMENTS = (
    *"abz019 :=,&?/@\"'\\<>(){}[]-_.\n",
    *(
        "authorization",
        "password",
        "token",
        "secret",
        "https://",
        "Basic ",
        "App ",
        "b'",
        "api_key",
        KEY,
        REDACTED,
        "null",
    ),
)


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join))
@example('"password": "')
@example("https://a:b@c?d=e@f")
@example("Authorization: Authorization: x")
@example('token="token="token=')
def test_redacting_twice_changes_nothing(text: str) -> None:
    once = redact_patterns(text)
    assert redact_patterns(once) == once


@given(st.text(max_size=60), st.text(max_size=60))
def test_key_never_survives_surroundings(before: str, after: str) -> None:
    assert KEY not in redact_patterns(before + KEY + after)


def test_hostile_text_takes_linear_time() -> None:
    begun = time.process_time()
    for unit in (
        '"password": "',
        "password=",
        "https://a:",
        "Authorization: ",
        "?a",
        "a" * 64,
        "token",
        "-_-api_key",
        '\\"',
        "basic ",
        "0123456789abcdef",
    ):
        redact_patterns(unit * (50_000 // len(unit)))
    assert time.process_time() - begun < 5
