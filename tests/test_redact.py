from __future__ import annotations

import base64
import html
import json
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rotator.reasons import Reason
from rotator.redaction.redactor import REDACTED, Redactor
from rotator.secret import Secret

KEY = "-".join(("0123456789abcdef" * 2, "01234567", "0123", "4567", "89ab", "0123456789ab"))
PASSWORD = 'pä"ss\\w/o r+d&<1>%'

FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "json": lambda text: json.dumps({"x": text}),
    "json, not ascii": lambda text: json.dumps({"x": text}, ensure_ascii=False),
    "json in json": lambda text: json.dumps(json.dumps({"x": text})),
    "repr": lambda text: repr(["x", text]),
    "html": html.escape,
    "html, quotes as they are": lambda text: html.escape(text, quote=False),
    "json, as PHP writes it": lambda text: json.dumps(text).replace("/", "\\/"),
    "json, as Go writes it": lambda text: json.dumps(text).translate({60: "\\u003c", 62: "\\u003e", 38: "\\u0026"}),
    "bytes": lambda text: repr(text.encode()),
    "URL in URL": lambda text: quote(quote(text, safe=""), safe=""),
    "wrong encoding": lambda text: text.encode().decode("latin-1"),
    "url path": quote,
    "url part": lambda text: quote(text, safe=""),
    "form": quote_plus,
    "lower-case percent": lambda text: re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), quote(text, safe="")),
    "URL, every character": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "URL of that": lambda text: "".join(f"%25{byte:02X}" for byte in text.encode()),
    "JavaScript's escape": lambda text: "".join(f"%u{ord(each):04x}" for each in text),
    "json, every character": lambda text: "".join(f"\\u{ord(each):04x}" for each in text),
    "json, every character, in json": lambda text: json.dumps("".join(f"\\u{ord(each):04X}" for each in text)),
    "html, every character": lambda text: "".join(f"&#{ord(each)};" for each in text),
    "html, every character, in hex": lambda text: "".join(f"&#x{ord(each):X};" for each in text),
    "html, every character, in a URL": lambda text: quote("".join(f"&#x{ord(each):x};" for each in text)),
    "bytes, every character": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "bytes, in octal": lambda text: "".join(f"\\{byte:03o}" for byte in text.encode()),
    "every second character": lambda text: "".join(
        f"%{ord(each):02x}" if number % 2 and each.isascii() else each for number, each in enumerate(text)
    ),
    "hex": lambda text: text.encode().hex(),
    "hex, upper case": lambda text: text.encode().hex().upper(),
    "base64 of JSON": lambda text: base64.b64encode(json.dumps({"a": text}).encode()).decode(),
    "base64 of a URL": lambda text: base64.b64encode(quote(text, safe="").encode()).decode(),
    "base64 in a URL": lambda text: quote(base64.b64encode(text.encode()).decode(), safe=""),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64, no padding": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
}


def knowing(*texts: str) -> Redactor:
    """A redactor that has learned these."""
    redactor = Redactor()
    for text in texts:
        redactor.learn(text)
    return redactor


def _shown(text: str, redacted: str) -> int:
    """The longest stretch of ``text`` that is still in ``redacted``."""
    return max(n for n in range(len(text) + 1) for at in range(len(text) - n + 1) if text[at : at + n] in redacted)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", [PASSWORD, "hunter2andmore", "   spaces  around  "])
def test_learned_value_in_every_form(form: str, secret: str) -> None:
    """Threat: a value that a server quotes in an encoding. The text is decoded, and the value is redacted."""
    redactor = knowing(secret)
    written = FORMS[form](secret)
    shown = redactor.redact(f"before {written} after")
    assert REDACTED in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert FORMS[form](secret) not in shown
    assert _shown(secret, shown) <= 4


@pytest.mark.parametrize("user", ["u", "us", "use", "user", "längerer"])
def test_password_inside_base64_is_redacted(user: str) -> None:
    redactor = knowing("correct-horse-battery")
    encoded = base64.b64encode(f"{user}:correct-horse-battery:x".encode()).decode()
    shown = redactor.redact(f"dump {encoded}")
    assert REDACTED in shown
    left = shown.removeprefix("dump ").split(REDACTED)
    assert sum(len(part) for part in left) <= len(encoded) - 24


def test_forget_and_too_short() -> None:
    redactor = knowing("abc")
    assert redactor.redact("abc") == "abc"
    redactor.learn("abcd")
    assert redactor.redact("xabcdx") == f"x{REDACTED}x"
    redactor.forget()
    assert redactor.redact("xabcdx") == "xabcdx"
    assert redactor.redact(KEY) == REDACTED


@given(st.lists(st.text("abc", min_size=4, max_size=6), max_size=6), st.text("abcd", max_size=60))
def test_exactly_learned_text_is_taken_out(secrets: list[str], text: str) -> None:
    redactor = knowing(*secrets)
    hidden = [False] * len(text)
    for secret in secrets:
        for at in range(len(text)):
            if text.startswith(secret, at):
                hidden[at : at + len(secret)] = [True] * len(secret)
    expected = ""
    for at, character in enumerate(text):
        if not hidden[at]:
            expected += character
        elif at == 0 or not hidden[at - 1]:
            expected += REDACTED
    assert redactor.redact(text) == expected


def test_json_value_teaches_credentials_only() -> None:
    redactor = Redactor()
    key_id = "5737A48F0E6B4C1D9E2F3A4B5C6D7E8F"
    document = {
        "base_url": "https://abc123.api.infobip.com",
        "username": "ops-rotator-2024",
        "password": "tr0ub4dor&3",
        "key_id": key_id,
        "expires_at": "2026-12-01T10:00:00Z",
        "custom": "an-odd-key-0123456789",
        "region": "eu",
        "nested": [{"token": "plainword"}],
    }
    redactor.learn(json.dumps(document))
    assert redactor.redact(f"got {json.dumps(document)}") == f"got {REDACTED}"
    text = f"{key_id} https://abc123.api.infobip.com ops-rotator-2024 eu 2026-12-01T10:00:00Z"
    assert redactor.redact(text) == text
    for secret in ("tr0ub4dor&3", "an-odd-key-0123456789", "plainword"):
        assert redactor.redact(f"<{secret}>") == f"<{REDACTED}>"


@given(st.text(min_size=4, max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_learned_value_never_survives(secret: str, before: str, after: str) -> None:
    assume(secret not in REDACTED)
    redactor = knowing(secret)
    text = redactor._redact_learned(before + secret + after)
    for part in text.split(REDACTED):
        assert secret not in part


def test_scrub_goes_into_everything() -> None:
    redactor = knowing("hunter2x")
    at = datetime(2026, 11, 23, 10, tzinfo=UTC)
    scrubbed = redactor.scrub(
        {
            "secret": "prod/sms/otp",
            "password": 12345,
            "Authorization": ["App x"],
            "token": None,
            KEY: ("hunter2x", b"\xffhunter2x", {"hunter2x"}),
            Reason.EXPIRING: Reason.EXPIRED,
            "value": Secret("hunter2x"),
            "at": at,
            "for": timedelta(minutes=1),
            "error": ValueError("bad hunter2x"),
            "n": [1, 2.5, float("nan"), True, None],
            "other": object,
        }
    )
    assert scrubbed == {
        "secret": "prod/sms/otp",
        "password": REDACTED,
        "Authorization": REDACTED,
        "token": None,
        REDACTED: [REDACTED, f"\\xff{REDACTED}", [REDACTED]],
        "expiring": "expired",
        "value": "<hidden>",
        "at": "2026-11-23T10:00:00Z",
        "for": 60.0,
        "error": f"ValueError: bad {REDACTED}",
        "n": [1, 2.5, "nan", True, None],
        "other": "<class 'object'>",
    }
    assert "hunter2x" not in json.dumps(scrubbed)


def test_scrub_of_numbers_and_of_loop() -> None:
    redactor = knowing("1234567890")
    assert redactor.scrub([1234567890, 1234567891]) == [REDACTED, 1234567891]
    loop: list[object] = []
    loop.append(loop)
    assert "<too deep>" in json.dumps(redactor.scrub(loop))


def test_its_own_dump_gives_nothing_away() -> None:
    redactor = knowing("correct-horse")
    assert "corr" not in repr(redactor)
    assert "corr" not in repr(vars(redactor))


def test_many_learned_values_stay_fast() -> None:
    redactor = Redactor()
    for number in range(10_000):
        redactor.learn(f'{{"api_key": "{number:032x}-01234567-0123-4567-89ab-{number:012x}", "key_id": "{number}"}}')
    line = "rotate prod/sms/otp expiring: 4 d left, ends 27 Nov 10:00, run 6f1c2a34-5b67-4c89-90ab-cdef01234567 " * 3
    begun = time.process_time()
    for _ in range(200):
        redactor.redact(line)
    # A loop of str.replace over what was learned would take some 4 seconds here; this takes some 0.05.
    assert time.process_time() - begun < 1


def test_threads_may_learn_and_redact() -> None:
    redactor = Redactor()
    stop = threading.Event()
    failures: list[BaseException] = []

    def churn() -> None:
        try:
            number = 0
            while not stop.is_set():
                number += 1
                redactor.learn(f"value-{number}-of-some-length")
                if number % 100 == 0:
                    redactor.forget()
        except BaseException as error:  # noqa: BLE001, RUF100 - handed to the test
            failures.append(error)

    threads = [threading.Thread(target=churn) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(300):
        redactor.redact(f"value-{number}-of-some-length and more")
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures


def test_placeholder_is_not_redacted() -> None:
    redactor = Redactor()
    redactor.learn_value("prod")
    redactor.learn_value('{"api_key": "main", "password": "correct-horse"}')
    assert redactor.redact("prod/sms of account main") == "prod/sms of account main"
    assert redactor.redact("got correct-horse") == f"got {REDACTED}"


def test_names_win_over_learnt_values() -> None:
    redactor = Redactor(["expiring"])
    for text in ("prod/payments", "payments", "hunter2", "expiring"):
        redactor.learn(text)
    redactor.spare(["prod/payments", "main"])
    for text in ("prod/payments: no", "(prod/payments)", "rotate prod/payments.", "s=prod/payments", "is expiring"):
        assert redactor.redact(text) == text
    assert redactor.redact("prod/payments2") == f"{REDACTED}2"
    assert redactor.redact("other/payments") == f"other/{REDACTED}"
    assert redactor.redact("main hunter2") == f"main {REDACTED}"
    redactor.forget()  # of the names only those stay that were there from the beginning
    for text in ("prod/payments", "expiring"):
        redactor.learn(text)
    assert redactor.redact("prod/payments is expiring") == f"{REDACTED} is expiring"


def test_random_values_in_our_own_text() -> None:
    redactor = knowing("plain-words-only", "Tr0ub4dor&3x", "token-0123456789abcdef")
    shown = redactor.redact_own("plain-words-only Tr0ub4dor&3x token-0123456789abcdef")
    assert shown == f"plain-words-only {REDACTED} {REDACTED}"


def test_short_passwords_are_learnt() -> None:
    redactor = Redactor()
    redactor.learn_value("hunter2")
    redactor.learn_value('{"password": "s3cret!", "token": "prod"}')
    assert redactor.redact("hunter2, s3cret!, prod") == f"{REDACTED}, {REDACTED}, prod"


def test_scrub_keeps_names_ids_and_times() -> None:
    fields = {
        "secret": "prod/payments",
        "key_id": "A1B2C3D4",
        "new_version_id": "version-of-it",
        "reason": "expiring",
        "expires_at": "2026-12-01T10:00:00Z",
        "until": "2026-12-01T10:00:00Z",
        "strategy": "replace-first",
        "revoked": ["A1B2C3D4"],
        "results": [{"kind": "rotate", "outcome": "done", "account": "main-account", "duration_ms": 12345678}],
    }
    redactor = knowing(
        *("prod/payments", "A1B2C3D4", "version-of-it", "expiring", "2026-12-01T10:00:00Z", "replace-first"),
        *("rotate", "done", "main-account", "12345678", "strategy", "results", "expires_at"),
    )
    assert redactor.scrub(fields) == fields
    assert redactor.scrub({"error": "no main-account here"}) == {"error": f"no {REDACTED} here"}


@given(
    # Without what HTML cannot name by a number: control characters, half characters, numbers that are no character.
    st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn", "Z"]), min_size=4, max_size=20),
    st.text(max_size=20),
    st.data(),
)
def test_no_mixture_of_escapes_hides_secret(secret: str, before: str, data: st.DataObject) -> None:
    """Each character in a way of its own; whole layers around that."""
    ways: list[Callable[[str], str]] = [
        lambda each: f"&#{ord(each)};",
        lambda each: f"&#x{ord(each):x};",
        lambda each: f"\\U{ord(each):08x}",
        lambda each: f"\\u{{{ord(each):x}}}",
    ]
    layers: list[Callable[[str], str]] = [quote, json.dumps, html.escape]
    written = "".join(data.draw(st.sampled_from(ways))(each) for each in secret)
    for _ in range(data.draw(st.integers(0, 2))):
        written = data.draw(st.sampled_from(layers))(written)
    redactor = knowing(secret)
    assert redactor._redact_learned(f"{before} {written}") != f"{before} {written}"


@pytest.mark.parametrize(
    ("secret", "written"),
    [
        ("000\\", "&#48;&#48;\\U00000030&#92;"),
        ("\\00000000", "&#92;\\U00000030&#48;&#48;&#48;&#48;&#48;&#48;&#48;"),
    ],
)
def test_html_backslash_hides_nothing(secret: str, written: str) -> None:
    """Decoded all at once, it would escape what follows it."""
    redactor = knowing(secret)
    assert REDACTED in redactor._redact_learned(json.dumps(written))
    assert REDACTED in redactor._redact_learned(quote(json.dumps(written)))
