from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.errors import ContractViolation
from rotator.infobip.http import Answer
from rotator.infobip.wire import (
    create_body,
    format_time,
    parse_key,
    parse_page,
    parse_time,
    parse_token,
    read_problem,
    refusal,
    revoke_body,
)
from rotator.model import Key, Platform
from rotator.ports import KeyRequest
from rotator.redaction.redactor import Redactor
from rotator.secret import Secret
from tests.infobip.answers import KEY_VALUE, key, page

WHERE = "GET /x at host"


def answer(body: object, status: int = 200) -> Answer:
    return Answer(WHERE, status, body if isinstance(body, bytes) else json.dumps(body).encode())


def refused(body: object) -> str:
    with pytest.raises(ContractViolation) as caught:
        parse_key(answer(body))
    assert caught.value.__context__ is None
    assert caught.value.message.startswith(f"{WHERE}: HTTP 200, ")
    return caught.value.message


def test_whole_key() -> None:
    found = parse_key(
        answer(
            {
                "id": "573711510E1C002E29679B12C7CB48AE",
                "apiKeySecret": KEY_VALUE,
                "accountId": "A1",
                "name": "n",
                "allowedIPs": ["127.0.0.1"],
                "validFrom": "2026-09-01T10:00:00",
                "validTo": "2027-09-01T10:00:00",
                "enabled": True,
                "permissions": ["PUBLIC_API"],
                "scopeGuids": ["b", "a"],
                "platform": [{"key": "k", "applicationId": "app", "entityId": "e", "action": "FILL"}],
                "unheardOf": {},
            }
        ),
        expected_id="573711510E1C002E29679B12C7CB48AE",
    )
    assert found.value == Secret(KEY_VALUE)
    assert found.key == Key(
        id="573711510E1C002E29679B12C7CB48AE",
        name="n",
        account_id="A1",
        enabled=True,
        valid_from=datetime(2026, 9, 1, 10, tzinfo=UTC),
        valid_to=datetime(2027, 9, 1, 10, tzinfo=UTC),
        scopes=frozenset({"a", "b"}),
        permissions=frozenset({"PUBLIC_API"}),
        allowed_ips=frozenset({"127.0.0.1"}),
        platform=frozenset({Platform("app", "e", "FILL")}),
        value_readable=True,
    )


def test_absent_field_is_not_empty() -> None:
    bare = parse_key(answer({"id": "K", "name": "", "enabled": False})).key
    assert (bare.scopes, bare.permissions, bare.valid_to, bare.value_readable) == (None, None, None, False)
    assert parse_key(answer(key(scopeGuids=[], permissions=[]))).key.scopes == frozenset()


@pytest.mark.parametrize("value", [None, "***", "*-1", "", "<secret api key>", KEY_VALUE + "0", KEY_VALUE.upper()])
def test_mask_is_not_value(value: str | None) -> None:
    found = parse_key(answer(key(apiKeySecret=value)))
    assert found.value is None
    assert not found.key.value_readable


@pytest.mark.parametrize(
    ("value", "real"), [("new-shape_1", True), ("*", False), ("ab*c", False), ("a b", False), ("é", False)]
)
def test_create_with_another_shape(value: str, real: bool) -> None:
    found = parse_key(answer(key(apiKeySecret=value)), created=True)
    assert found.value == (Secret(value) if real else None)


WRONG: dict[str, tuple[object, ...]] = {
    "id": (None, 7, "", "a/b", "../x", "a\n", "ü", "x" * 129, KEY_VALUE, f"K-{KEY_VALUE.upper()}"),
    "name": (None, 1),
    "enabled": (None, "true", 1),
    "apiKeySecret": (5,),
    "accountId": (5, KEY_VALUE),
    "validFrom": ([],),
    "validTo": (1793528400, "soon", "2026-02-30T10:00:00", KEY_VALUE),
    "scopeGuids": ("a", [1]),
    "permissions": ({},),
    "allowedIPs": ([None],),
    "platform": ({}, [1], [{}], [{"applicationId": 5}]),
}


@pytest.mark.parametrize(("field", "wrong"), [(field, wrong) for field, each in WRONG.items() for wrong in each])
def test_malformed_keys(field: str, wrong: object) -> None:
    message = refused({**key(), field: wrong})
    assert KEY_VALUE[:20] not in message.lower()
    assert "\n" not in message
    with pytest.raises(ContractViolation, match=r"apiKeys\[1\]"):
        parse_page(answer(page(key("K0"), {**key(), field: wrong})))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        *((body, "JSON") for body in (b"", b" \n", b"hello", b'{"id": "a', b"\xff\xfe{", b"\x00", b"[" * 200_000)),
        *((body, "HTML") for body in (b"<html><body>Login</body></html>", b"<!DOCTYPE html><p>")),
        *((body, "object") for body in (b"[]", b"7", b"null")),
        (b"<apiKey/>", "XML"),
        (b'{"id": ' + b"9" * 5000 + b"}", "JSON"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_no_json_object(body: bytes, kind: str) -> None:
    assert kind in refused(body)


def test_byte_order_mark_is_harmless() -> None:
    assert parse_key(answer(b"\xef\xbb\xbf" + json.dumps(key()).encode())).key.id == "K1"


def test_names_with_half_characters_print() -> None:
    found = parse_key(answer(b'{"id": "K", "enabled": true, "name": "a\\ud800b\\ud83d\\ude00"}')).key
    assert found.name == "a\ufffdb😀"
    found.name.encode()


def test_pages() -> None:
    found = parse_page(answer(page(key("A"), key("B"), total=5, pages=3)))
    assert [each.key.id for each in found.keys] == ["A", "B"]
    assert (found.total_count, found.total_pages) == (5, 3)
    assert parse_page(answer({"paging": {}})).keys == ()


@pytest.mark.parametrize(
    "body",
    [
        *({}, {"apiKeys": []}, {"paging": []}, {"apiKeys": {}, "paging": {}}, {"apiKeys": [None], "paging": {}}),
        *({"paging": {"totalCount": count}} for count in (-1, True, "1")),
        {"paging": {"totalPages": 1.5}},
    ],
)
def test_malformed_pages(body: object) -> None:
    with pytest.raises(ContractViolation):
        parse_page(answer(body))


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-09-01T10:00:00", datetime(2026, 9, 1, 10, tzinfo=UTC)),
        ("2026-09-01T10:00", datetime(2026, 9, 1, 10, tzinfo=UTC)),
        ("2026-09-01T10:00:00Z", datetime(2026, 9, 1, 10, tzinfo=UTC)),
        ("2026-09-01T10:00:00.5", datetime(2026, 9, 1, 10, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-09-01T10:00:00.123456789Z", datetime(2026, 9, 1, 10, 0, 0, 123_456, tzinfo=UTC)),
        ("2026-09-01T10:00:00.000+0000", datetime(2026, 9, 1, 10, tzinfo=UTC)),
        ("2026-09-01T12:30:00+02:30", datetime(2026, 9, 1, 10, tzinfo=UTC)),
        ("2026-09-01T08:00:00-0200", datetime(2026, 9, 1, 10, tzinfo=UTC)),
    ],
)
def test_times(text: str, time: datetime) -> None:
    assert parse_time(text) == time
    assert parse_time(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        *("", "2026-09-01", "2026-W36-2T10:00:00", "0001-01-01T00:00:00+01:00", "9" * 30, "2026-09-01T10:00:00+99:00"),
        *("2026-09-01T24:00:00", "2026-09-01T25:00:00", "2026-13-01T10:00:00", "2026-09-01T1a:00:00"),
        *("2026-09-0\u0661T10:00:00", "2026-W36-2T10:00:00.", " 026-09-01T10:00:00"),
    ],
)
def test_no_times(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|offset|range|month|hour|strictly|isoformat"):
        parse_time(text)


def test_times_are_whole_seconds_of_utc() -> None:
    zagreb = timezone(timedelta(hours=2))
    assert format_time(datetime(2026, 9, 1, 12, 0, 0, 999_999, tzinfo=zagreb)) == "2026-09-01T10:00:00"
    with pytest.raises(ValueError, match="offset"):
        format_time(datetime(2026, 9, 1))


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_round_trip(time: datetime) -> None:
    assert parse_time(format_time(time)) == time.replace(microsecond=0)


def test_create_body_sorted_without_empty() -> None:
    end = datetime(2026, 9, 1, 10, tzinfo=UTC)
    assert create_body(KeyRequest("n", end), None) == {"name": "n", "validTo": "2026-09-01T10:00:00"}
    request = KeyRequest("n", end, frozenset("cab"), frozenset({"PUBLIC_API"}), frozenset({"2.2.2.2", "1.1.1.1"}))
    assert create_body(request, "A1") == {
        "name": "n",
        "accountId": "A1",
        "validTo": "2026-09-01T10:00:00",
        "scopeGuids": ["a", "b", "c"],
        "permissions": ["PUBLIC_API"],
        "allowedIPs": ["1.1.1.1", "2.2.2.2"],
    }
    links = frozenset({Platform("b"), Platform("a", "e"), Platform("a", None, "FILL")})
    assert create_body(KeyRequest("n", end, platform=links, account_id="A2"), "A1") == {
        "name": "n",
        "accountId": "A2",
        "validTo": "2026-09-01T10:00:00",
        "platform": [
            {"applicationId": "a", "action": "FILL"},
            {"applicationId": "a", "entityId": "e"},
            {"applicationId": "b"},
        ],
    }


def test_revoke_body_has_account_and_end() -> None:
    assert revoke_body(None, None) == {"enabled": False}
    assert revoke_body("A", datetime(2026, 9, 1, tzinfo=UTC)) == {
        "accountId": "A",
        "enabled": False,
        "validTo": "2026-09-01T00:00:00",
    }


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *(("t", each) for each in ("", 5, "a b", "a\nb")),
        *(("expires_in", each) for each in (0, True, "60")),
        ("token_type", "mac"),
    ],
)
def test_malformed_tokens(field: str, wrong: object) -> None:
    good: dict[str, object] = {"t": "abc", "token_type": "Bearer", "expires_in": 60}
    assert parse_token(answer(good), "t") == (Secret("abc"), 60)
    with pytest.raises(ContractViolation):
        parse_token(answer({**good, field: wrong}), "t")


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


def test_error_quoting_secrets_is_cleaned() -> None:
    redactor = Redactor()
    redactor.learn("pass w")
    echo = f"bad pass w or pass+w\x1b[31m {KEY_VALUE.upper()}\n"
    message = str(refusal(answer({"description": echo}, 400), redactor))
    assert "pass w" not in message
    assert "pass+w" not in message
    assert KEY_VALUE.upper() not in message
    assert "\x1b" not in message
    assert "\\x1b[31m" in message
