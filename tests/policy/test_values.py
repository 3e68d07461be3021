from __future__ import annotations

import json
import traceback
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.errors import BadSecretValue
from rotator.policy import values
from rotator.policy.values import (
    changed_fields,
    contains,
    decode,
    encode_replacement,
    others_fields,
    possible_keys,
    recorded_key_id,
)
from rotator.secret import Secret

OLD = "0123456789abcdef0123456789abcdef-11111111-2222-3333-4444-555555555555"
NEW = "fedcba9876543210fedcba9876543210-66666666-7777-8888-9999-000000000000"
VERSION = "6f1c0f3e-6d8b-4b5c-9a43-0e0a2a3b1c4d"
KEY_ID = "573711510E1C002E29679B12C7CB48AE"
END = datetime(2026, 12, 1, 10, 0, tzinfo=UTC)
URL = "https://abc123.api.infobip.com"

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "field", "is_json", "fields"),
    [
        (OLD, "api_key", False, ()),
        (f"{OLD}\n", "api_key", False, ()),
        (f" \t{OLD}\r\n", "api_key", False, ()),
        (f'{{"api_key": "{OLD}"}}', "api_key", True, ("api_key",)),
        (f'{{"api_key": "{OLD}\\n"}}', "api_key", True, ("api_key",)),
        (f'\n{{ "a":1.10,"api.key" :"{OLD}" }} \n', "api.key", True, ("a", "api.key")),
        (f'{{"a": {{"api_key": "no", "x": 1, "x": 2}}, "api_key": "{OLD}"}}', "api_key", True, ("a", "api_key")),
        (f'{{"n": {"9" * 9000}, "api_key": "{OLD}"}}', "api_key", True, ("n", "api_key")),
        (f'{{"api\\u005fkey": "{OLD}"}}', "api_key", True, ("api_key",)),
    ],
)
def test_decode(text: str, field: str, is_json: bool, fields: tuple[str, ...]) -> None:
    decoded = decode(Secret(text), field, "prod/x")
    assert decoded.key.reveal() == OLD
    assert (decoded.is_json, decoded.fields) == (is_json, fields)
    assert OLD not in repr(decoded)


BAD_VALUES = [
    ("", "is empty"),
    (" \n", "is empty"),
    ("two words", "characters that no API key has"),
    ("abc\ndef", "characters that no API key has"),
    ("kéy", "characters that no API key has"),
    (f"\ufeff{OLD}", "characters that no API key has"),
    ("abc\ud800", "characters that no API key has"),
    ('{"api_key": "half', "is broken JSON"),
    ('{"api_key": "x"} trailing', "is broken JSON"),
    ("{'api_key': 'x'}", "is broken JSON"),
    ('{"api_key": "x",}', "is broken JSON"),
    ('{"api_key": "line\nbreak"}', "is broken JSON"),
    ("[", "is broken JSON"),
    ('"open', "is broken JSON"),
    ("[]", "not an object"),
    ('"text"', "not an object"),
    ("12345", "not an object"),
    ("9" * 5000, "not an object"),
    ("null", "not an object"),
    ("true", "not an object"),
    ("{}", 'has no field "api_key"'),
    ('{"API_KEY": "x"}', 'has no field "api_key"'),
    ('{"api_key": 12}', "something else than text"),
    ('{"api_key": null}', "something else than text"),
    ('{"api_key": {"value": "x"}}', "something else than text"),
    ('{"api_key": ""}', 'has an empty field "api_key"'),
    ('{"api_key": " "}', 'has an empty field "api_key"'),
    ('{"api_key": "a\\u0000b"}', "characters that no API key has in its field"),
    ('{"api_key": "a", "api_key": "b"}', "names a field twice"),
    ('{"x": 1, "api_key": "a", "\\u0078": 2}', "names a field twice"),
    ('{"api_key": "a", "n": NaN}', "NaN, Infinity"),
    ('{"api_key": "a", "n": [-Infinity]}', "NaN, Infinity"),
    ("NaN", "NaN, Infinity"),
    ("[" * 100_000, "nested too deeply"),
    ('{"a":' * 100_000, "nested too deeply"),
    ('{"api_key": "a", "n": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
]


@pytest.mark.parametrize(("text", "said"), BAD_VALUES, ids=range(len(BAD_VALUES)))
def test_decode_refuses_and_says_which_secret(text: str, said: str) -> None:
    with pytest.raises(BadSecretValue) as caught:
        decode(Secret(text), "api_key", "prod/\x1bx")
    assert said in caught.value.message
    assert "prod/\\x1bx" in caught.value.message
    assert caught.value.advice


@pytest.mark.parametrize(
    "text",
    [
        f'{{"api_key": "{OLD}"',
        f'{{"other": "{OLD}"}}',
        f'{{"{OLD}": 1}}',
        f'{{"api_key": ["{OLD}"]}}',
        f'{{"api_key": "{OLD} {OLD}"}}',
        f'{{"api_key": "{OLD}", "api_key": "{OLD}"}}',
        f'"{OLD}"',
        f"{OLD} {OLD}",
        f'{{"x": NaN, "api_key": "{OLD}"}}',
        f'{{"x": {"[" * 100_000}, "api_key": "{OLD}"}}',
    ],
)
def test_no_error_holds_any_part_of_the_value(text: str) -> None:
    def written() -> Secret:
        return encode_replacement(
            Secret(text), "no_such", key=Secret(NEW), key_id=KEY_ID, expires_at=END, base_url=URL, secret_name="prod/x"
        )

    for act in (lambda: decode(Secret(text), "api_key", "prod/x"), written):
        caught: BadSecretValue | None = None
        try:
            act()
        except BadSecretValue as error:
            caught = error
        if caught is None:  # a plain or quoted text has no fields to miss
            assert act is written
            assert not text.startswith(("{", '"'))
            continue
        assert caught.__cause__ is None
        assert caught.__context__ is None  # a JSONDecodeError would carry the whole document
        frames = [frame for frame, _ in traceback.walk_tb(caught.__traceback__)]
        inside = [frame.f_locals for frame in frames if frame.f_code.co_filename == values.__file__]
        assert inside
        shown = repr((inside, caught, caught.args, str(caught)))
        assert OLD[:8] not in shown
        assert NEW[:8] not in shown


@given(st.text(st.characters(codec=None)) | json_values.map(json.dumps), st.text())
def test_decode_raises_nothing_else(text: str, field: str) -> None:
    said = ""
    try:
        decoded = decode(Secret(text), field, text)
    except BadSecretValue as error:
        said = str(error)
    else:
        assert decoded.key.reveal().isascii()
        assert decoded.key.reveal().isprintable()
        assert " " not in decoded.key.reveal()
        assert decoded.key.reveal() in text or decoded.is_json
    assert said.isprintable()


@pytest.mark.parametrize(
    ("text", "key_id"),
    [
        (f'{{"key_id": "{KEY_ID}"}}', KEY_ID),
        ('{"key_id": ""}', None),
        ('{"key_id": "a/../b"}', None),
        ('{"key_id": 12}', None),
        ('{"api_key": "x"}', None),
        (f'{{"key_id": "{KEY_ID}", "key_id": "{KEY_ID}"}}', None),
        (f'{{"key_id": "{KEY_ID}"', None),
        (f'{{"a": {{"key_id": "{KEY_ID}"}}}}', None),
        (OLD, None),
        ("", None),
        ("[" * 100_000, None),
    ],
)
def test_recorded_key_id(text: str, key_id: str | None) -> None:
    assert recorded_key_id(Secret(text)) == key_id


@given(st.text(st.characters(codec=None)))
def test_recorded_key_id_never_raises(text: str) -> None:
    assert recorded_key_id(Secret(text)) is None or "key_id" in text


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (f'{{"token": "{OLD}", "db": "hunter2-hunter2-hunter2", "id": "{KEY_ID}", "spare": "{NEW}"}}', [OLD, NEW]),
        (f'{{"deep": [{{"x": "App {OLD}"}}], "api_key": NaN, "again": "{OLD}"', [OLD]),
        (f"KEY={OLD.upper()}\nOTHER={OLD}", [OLD.upper(), OLD]),
        (f"{OLD[:-1]} {VERSION}", []),
        ("[" * 100_000 + OLD, [OLD]),
        ("", []),
    ],
)
def test_keys_are_found_where_a_value_cannot_be_read(text: str, keys: list[str]) -> None:
    assert [key.reveal() for key in possible_keys(Secret(text))] == keys


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ('{"a": 1, "b": "x"}', '{"b":"x","a": 2}', ("a",)),
        ('{"a": 1}', '{"a": 1, "c": null}', ("c",)),
        ('{"a": {"b": [1]}}', '{"a": {"b": [2]}}', ("a",)),
        ('{"a": 1}', "plain", ()),
        ("plain", "other", ()),
        ('{"a": ', '{"a": 1}', ()),
        ("[1]", '{"a": 1}', ()),
    ],
)
def test_fields_that_differ_are_named_and_never_shown(one: str, other: str, names: tuple[str, ...]) -> None:
    assert changed_fields(Secret(one), Secret(other)) == names
    assert changed_fields(Secret(other), Secret(one)) == names


# ---- who holds a key ------------------------------------------------------------------------------------------------

ESCAPED = "".join(f"\\u{ord(letter):04x}" for letter in OLD)


@pytest.mark.parametrize(
    "content",
    [
        OLD,
        f"{OLD}\n",
        f"export API_KEY={OLD}; export X=1",
        f'{{"api_key": "{OLD}"}}',
        f'{{"api_key": "{NEW}", "old_key": "{OLD}"}}',
        f'{{"a": {{"b": [1, {{"c": "App {OLD}"}}]}}}}',
        f'{{"{OLD}": 1}}',
        f'["{OLD}"]',
        f'{{"a": "{ESCAPED}"}}',
        f'{{"{ESCAPED}": 1}}',
        f'{{"a": "broken {OLD}',
        OLD.encode("utf-16-le").decode("latin-1"),
        "\x00\x01\xff" + OLD + "\x00",
        "\xff\xfe" + OLD.encode("utf-16-le").decode("latin-1"),
        f'{{"a": "{OLD}", "a": "{NEW}"}}',
    ],
)
def test_a_key_is_found_wherever_it_stands(content: str) -> None:
    assert contains(Secret(content), Secret(OLD))
    assert not contains(Secret(content.replace(OLD, "x")), Secret(NEW + "0"))


@pytest.mark.parametrize(
    "content",
    ["", NEW, f'{{"api_key": "{NEW}"}}', OLD[:-1], OLD[1:], f'{{"a": "{OLD[:30]}", "b": "{OLD[30:]}"}}', "[" * 100_000],
)
def test_another_value_holds_it_not(content: str) -> None:
    assert not contains(Secret(content), Secret(OLD))


def test_no_key_stands_nowhere() -> None:
    assert not contains(Secret(OLD), Secret(""))
    assert not contains(Secret(""), Secret(""))


@given(json_values, st.text(min_size=1))
def test_what_stands_in_a_json_value_is_found_however_it_is_spelt(around: Any, wanted: str) -> None:
    for ascii_only in (True, False):
        assert contains(Secret(json.dumps([around, {"k": wanted}], ensure_ascii=ascii_only)), Secret(wanted))
        assert contains(Secret(json.dumps({wanted: around}, ensure_ascii=ascii_only)), Secret(wanted))


# ---- fields that somebody else filled -------------------------------------------------------------------------------

STAMP = "2026-12-01T10:00:00Z"
OTHERS: tuple[tuple[str, dict[str, Any], tuple[str, ...]], ...] = (
    ("as the rotator wrote it", {"key_id": KEY_ID, "expires_at": STAMP, "base_url": URL}, ()),
    ("none of them", {}, ()),
    ("the same URL, spelt otherwise", {"base_url": URL.upper() + "/"}, ()),
    ("the same moment, in another zone", {"expires_at": "2026-12-01T11:00:00+01:00"}, ()),
    ("another key id", {"key_id": "shop-7"}, ("key_id",)),
    ("another time", {"expires_at": "2027-01-01T00:00:00Z"}, ("expires_at",)),
    ("something that is no time", {"expires_at": "never"}, ("expires_at",)),
    ("another URL", {"base_url": "https://proxy.example.com"}, ("base_url",)),
    ("all of them", {"key_id": "a", "expires_at": "b", "base_url": "c"}, ("key_id", "expires_at", "base_url")),
    ("null in all of them", {"key_id": None, "expires_at": None, "base_url": None}, ()),
)


@pytest.mark.parametrize(("what", "more", "expected"), OTHERS, ids=[row[0] for row in OTHERS])
def test_fields_that_somebody_else_filled_are_named(what: str, more: dict[str, Any], expected: tuple[str, ...]) -> None:
    text = Secret(json.dumps({"api_key": OLD, **more}))
    assert others_fields(text, "api_key", KEY_ID, END, URL) == expected
    assert others_fields(text, "api_key", KEY_ID, END.replace(microsecond=7), URL) == expected


def test_a_time_in_the_value_of_a_key_that_never_expires() -> None:
    text = Secret(json.dumps({"api_key": OLD, "expires_at": STAMP}))
    assert others_fields(text, "api_key", KEY_ID, None, URL) == ("expires_at",)


@pytest.mark.parametrize("text", ["", OLD, "[1]", '{"key_id": "x"', '{"key_id": "x", "key_id": "y"}'])
def test_what_is_no_object_has_no_such_fields(text: str) -> None:
    assert others_fields(Secret(text), "api_key", KEY_ID, END, URL) in ((), ("key_id",))


def test_the_keys_own_field_is_not_somebody_elses() -> None:
    text = Secret(json.dumps({"key_id": OLD}))
    assert others_fields(text, "key_id", KEY_ID, END, URL) == ()
