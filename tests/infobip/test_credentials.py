from __future__ import annotations

import json
import re
import traceback
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.errors import ConfigurationError
from rotator.infobip.credentials import AuthMethod, Credentials, parse_credentials
from rotator.secret import Secret

GOOD = {"base_url": "https://abc123.api.infobip.com", "username": "ops", "password": "hunter2:ü"}


def parse(value: object, allowed_hosts: Sequence[str] = ()) -> Credentials:
    text = value if isinstance(value, str) else json.dumps(value)
    return parse_credentials("infobip/main", Secret(text), allowed_hosts)


def problem(value: object, allowed_hosts: Sequence[str] = ()) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse(value, allowed_hosts)
    assert "infobip/main" in caught.value.message
    assert caught.value.advice
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return str(caught.value)


def test_defaults() -> None:
    found = parse(GOOD)
    assert found == Credentials("https://abc123.api.infobip.com", "ops", Secret("hunter2:ü"), AuthMethod.BASIC, None)
    assert "hunter2" not in repr(found)


def test_all_fields_and_unknown_ones() -> None:
    found = parse({**GOOD, "auth": "oauth2", "account_id": "A1", "note": [1]})
    assert (found.auth, found.account_id) == (AuthMethod.OAUTH2, "A1")


def test_null_is_as_good_as_left_out() -> None:
    assert parse({**GOOD, "auth": None, "account_id": None}) == parse(GOOD)


@pytest.mark.parametrize(
    ("text", "base_url"),
    [
        ("https://abc.api.infobip.com/", "https://abc.api.infobip.com"),
        ("HTTPS://ABC.api.infobip.com", "https://abc.api.infobip.com"),
        ("https://abc.api.infobip.com:8443", "https://abc.api.infobip.com:8443"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("http://127.8.9.1", "http://127.8.9.1"),
        ("http://[::1]:80/", "http://[::1]:80"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_good_base_urls(text: str, base_url: str) -> None:
    assert parse({**GOOD, "base_url": text}).base_url == base_url


@pytest.mark.parametrize(
    "text",
    [
        *("abc.api.infobip.com", "ftp://abc.api.infobip.com", "https://", "https:///", "https://a b"),
        *(
            "https://abc\n.api.infobip.com",
            "https://b\u00fccher.example",
            "https://abc\\@evil.example",
            "https://\u017fabc",
        ),
        *("https://abc:99999", "https://abc:0", "https://abc:", "https://[::1", "https://[:::::]"),
        *("https://u:SESAME@abc", "https://abc/SESAME", "https://abc//", "https://abc?SESAME", "https://abc/?"),
        "https://abc#SESAME",
    ],
)
def test_base_url_is_https_and_host(text: str) -> None:
    """Threat: an http:// address that exposes the password. It is rejected, except for loopback."""
    message = problem({**GOOD, "base_url": text})
    assert "base_url" in message
    assert "SESAME" not in message


@pytest.mark.parametrize(
    "host",
    [
        *("abc.api.infobip.com", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "2130706433"),
        "127.0.0.1.",
    ],
)
def test_plain_http_is_for_loopback_only(host: str) -> None:
    message = problem({**GOOD, "base_url": f"http://{host}"}, [host])  # allowed, but for https only
    assert {"base_url", host} <= {*message.replace(",", "").split()}


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("evil.example", []),
        ("api.infobip.com", []),
        ("xapi.infobip.com", []),
        ("abc.api.infobip.com.evil.example", []),
        ("abc.api.infobip.com.", []),
        ("10.0.0.1", []),
        ("proxy.example.com", ["example.com"]),
        ("example.com", ["*.example.com"]),
        ("evilexample.com", ["*.example.com", "proxy.example.com"]),
    ],
)
def test_host_that_is_not_allowed_is_refused(host: str, allowed: list[str]) -> None:
    message = problem({**GOOD, "base_url": f"https://{host}"}, allowed)
    assert {"base_url", host, "*.api.infobip.com"} <= {*re.split("[,; ]+", message)}
    assert "ROTATOR_ALLOWED_HOSTS" in message


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://a.b.api.infobip.com", []),
        ("https://localhost:8443", []),
        ("https://proxy.example.com:8443", ["other.example", "proxy.example.com"]),
        ("https://a.b.example.com", ["*.example.com"]),
        ("https://10.0.0.1", ["10.0.0.1"]),
    ],
)
def test_host_that_is_allowed(url: str, allowed: list[str]) -> None:
    assert parse({**GOOD, "base_url": url}, allowed).base_url == url


@pytest.mark.parametrize("field", ["base_url", "username", "password"])
@pytest.mark.parametrize("value", [None, "", "  ", 5])
def test_bad_fields(field: str, value: object) -> None:
    assert f"field {field} " in problem({**GOOD, field: value})
    assert f"field {field} " in problem({name: v for name, v in GOOD.items() if name != field})


@pytest.mark.parametrize(("field", "value"), [("auth", "digest"), ("auth", ""), ("account_id", ""), ("account_id", 7)])
def test_bad_optional_fields(field: str, value: object) -> None:
    assert f"field {field} " in problem({**GOOD, field: value})


@pytest.mark.parametrize("text", ["", "hunter2", "[1]", '"hunter2"', "9" * 5000, "[" * 100_000, '{"a": hunter2}'])
def test_not_object(text: str) -> None:
    message = problem(text)
    assert "hunter2" not in message
    assert "base_url" in message


def test_basic_cannot_send_colon_in_name() -> None:
    assert "':'" in problem({**GOOD, "username": "a:b"})
    assert parse({**GOOD, "username": "a:b", "auth": "ibsso"}).username == "a:b"


def test_half_surrogate_pair() -> None:
    assert "surrogate" in problem(json.dumps(GOOD).replace("hunter2", "\\ud800hunter2"))


def test_traceback_locals_show_no_password() -> None:
    try:
        parse({**GOOD, "auth": "digest"})
    except ConfigurationError as error:
        frames = traceback.TracebackException.from_exception(error, capture_locals=True)
        # The frames of the package only: this test's own hold the text that it parses.
        locals_ = [frame.locals or {} for frame in frames.stack if "rotator/infobip" in frame.filename]
        assert locals_
        assert "hunter2" not in str(locals_)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)), st.text())
def test_any_value_is_read_or_refused(value: object, text: str) -> None:
    fields = ({"base_url": text}, {"auth": value}, {"account_id": value}, {"username": text, "password": text})
    for candidate in (text, json.dumps(value), *(json.dumps({**GOOD, **each}) for each in fields)):
        try:
            found = parse(candidate)
        except ConfigurationError:
            continue
        assert found.base_url.startswith(("https://", "http://"))
