"""Secret values: what is read, who holds a key, and what a replacement keeps. ``tests/fuzz`` tries any text."""

from __future__ import annotations

import json
import traceback
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rotator.errors import BadSecretValue
from rotator.policy import values
from rotator.policy.values import (
    MAX_BYTES,
    changed_fields,
    contains,
    decode,
    differs_only_in_key,
    encode_replacement,
    keys_in,
    others_fields,
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
    ("text", "field"),
    [
        (OLD, "api_key"),
        (f"{OLD}\n", "api_key"),
        (f" \t{OLD}\r\n", "api_key"),
        (f'{{"api_key": "{OLD}"}}', "api_key"),
        (f'{{"api_key": "{OLD}\\n"}}', "api_key"),
        (f'\n{{ "a":1.10,"api.key" :"{OLD}" }} \n', "api.key"),
        (f'{{"a": {{"api_key": "no", "x": 1, "x": 2}}, "api_key": "{OLD}"}}', "api_key"),
        (f'{{"n": {"9" * 9000}, "api_key": "{OLD}"}}', "api_key"),
        (f'{{"api\\u005fkey": "{OLD}"}}', "api_key"),
    ],
)
def test_decode(text: str, field: str) -> None:
    decoded = decode(Secret(text), field, "prod/x")
    assert decoded.reveal() == OLD
    assert OLD not in repr(decoded)


BAD_VALUES = {
    "empty": ["", " \n"],
    "not a key": ["two words", "abc\ndef", "kéy", f"\ufeff{OLD}", "abc\ud800", "k" * 513],
    "broken JSON": [
        *('{"api_key": "half', '{"api_key": "x"} trailing', "{'api_key': 'x'}", '{"api_key": "x",}', "["),
        *('{"api_key": "line\nbreak"}', '"open'),
    ],
    "not an object": ["[]", '"text"', "12345", "9" * 5000, "null", "true"],
    "a field twice": ['{"api_key": "a", "api_key": "b"}', '{"x": 1, "api_key": "a", "\\u0078": 2}'],
    "no JSON": ['{"api_key": "a", "n": NaN}', '{"api_key": "a", "n": [-Infinity]}', "NaN"],
    "nested too deeply": [
        *("[" * 100_000, '{"a":' * 100_000, '{"api_key": "a", "n": ' + "[" * 100_000 + "]" * 100_000 + "}")
    ],
}
BAD_FIELDS = {
    "missing": ["{}", '{"API_KEY": "x"}', '{"token": "x"}'],
    "not a text": ['{"api_key": 12}', '{"api_key": null}', '{"api_key": {"value": "x"}}'],
    "empty": ['{"api_key": ""}', '{"api_key": " "}'],
    "not a key": ['{"api_key": "a\\u0000b"}'],
}
"""The field is named."""


@pytest.mark.parametrize(
    ("text", "in_field"),
    [
        pytest.param(text, rows is BAD_FIELDS, id=f"{name} {number}")
        for rows in (BAD_VALUES, BAD_FIELDS)
        for name, texts in rows.items()
        for number, text in enumerate(texts)
    ],
)
def test_decode_refusal_names_secret(text: str, in_field: bool) -> None:
    with pytest.raises(BadSecretValue) as caught:
        decode(Secret(text), "api_key", "prod/\x1bx")
    assert "prod/\\x1bx" in caught.value.message
    assert ('"api_key"' in caught.value.message) is in_field
    assert caught.value.advice


def test_each_fault_is_told_from_others() -> None:
    texts = [texts[0] for texts in (*BAD_VALUES.values(), *BAD_FIELDS.values())]
    said = set()
    for text in texts:
        with pytest.raises(BadSecretValue) as caught:
            decode(Secret(text), "api_key", "prod/x")
        said.add(str(caught.value))
    assert len(said) == len(texts) - 1  # NaN and deep nesting are both not standard JSON


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
def test_no_error_holds_any_part_of_value(text: str) -> None:
    def decoded() -> Secret:
        return decode(Secret(text), "api_key", "prod/x")

    def written() -> Secret:
        return encode_replacement(
            Secret(text), "no_such", key=Secret(NEW), key_id=KEY_ID, expires_at=END, base_url=URL, secret_name="prod/x"
        )

    for act in (decoded, written):
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
        assert decoded.reveal().isascii()
        assert decoded.reveal().isprintable()
        assert " " not in decoded.reveal()
        assert decoded.reveal() in text or text.lstrip().startswith("{")
    assert said.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        *('{"key_id": ""}', '{"key_id": "a/../b"}', '{"key_id": 12}', '{"api_key": "x"}', OLD, "", "[" * 100_000),
        *(
            f'{{"key_id": "{KEY_ID}", "key_id": "{KEY_ID}"}}',
            f'{{"key_id": "{KEY_ID}"',
            f'{{"a": {{"key_id": "{KEY_ID}"}}}}',
        ),
    ],
)
def test_recorded_key_id(text: str) -> None:
    assert recorded_key_id(Secret(f'{{"key_id": "{KEY_ID}"}}')) == KEY_ID
    assert recorded_key_id(Secret(text)) is None


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (f'{{"token": "{OLD}", "db": "hunter2-hunter2-hunter2", "id": "{KEY_ID}", "spare": "{NEW}"}}', [OLD, NEW]),
        (f'{{"deep": [{{"x": "App {OLD}"}}], "api_key": NaN, "again": "{OLD}"', [OLD]),
        (f"KEY={OLD.upper()}\nOTHER={OLD}", [OLD.upper(), OLD]),
        (f"{OLD[:-1]} {VERSION}", []),
        ("[" * 100_000 + OLD, [OLD]),
        ('["' + "".join(f"\\u{ord(each):04x}" for each in OLD) + '"]', [OLD]),
        (OLD.encode("utf-16").decode("latin-1"), [OLD]),
        ("", []),
    ],
)
def test_keys_are_found_in_unreadable_value(text: str, keys: list[str]) -> None:
    assert [key.reveal() for key in keys_in(Secret(text))] == keys


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
def test_different_fields_are_named_only(one: str, other: str, names: tuple[str, ...]) -> None:
    assert changed_fields(Secret(one), Secret(other)) == names
    assert changed_fields(Secret(other), Secret(one)) == names


# ---- who holds a key ------------------------------------------------------------------------------------------------

ESCAPED = "".join(f"\\u{ord(letter):04x}" for letter in OLD)


@pytest.mark.parametrize(
    "content",
    [
        f"{OLD}\n",
        f"export API_KEY={OLD}; export X=1",
        f'{{"api_key": "{NEW}", "old_key": "App {OLD}"}}',
        f'{{"a": "{ESCAPED}"}}',
        f'{{"{ESCAPED}": 1}}',
        f'{{"a": "broken {OLD}',
        OLD.encode("utf-16-le").decode("latin-1"),
        "\x00\x01\xff" + OLD + "\x00",
        "\xff\xfe" + OLD.encode("utf-16-le").decode("latin-1"),
        f'{{"a": "{OLD}", "a": "{NEW}"}}',
    ],
)
def test_key_is_found_wherever_it_stands(content: str) -> None:
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
def test_json_value_found_in_any_spelling(around: Any, wanted: str) -> None:
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
def test_fields_of_others_are_named(what: str, more: dict[str, Any], expected: tuple[str, ...]) -> None:
    text = Secret(json.dumps({"api_key": OLD, **more}))
    assert others_fields(text, "api_key", KEY_ID, END, URL) == expected
    assert others_fields(text, "api_key", KEY_ID, END.replace(microsecond=7), URL) == expected


def test_time_of_key_that_never_expires() -> None:
    text = Secret(json.dumps({"api_key": OLD, "expires_at": STAMP}))
    assert others_fields(text, "api_key", KEY_ID, None, URL) == ("expires_at",)


@pytest.mark.parametrize("text", ["", OLD, "[1]", '{"key_id": "x"', '{"key_id": "x", "key_id": "y"}'])
def test_non_object_has_no_fields(text: str) -> None:
    assert others_fields(Secret(text), "api_key", KEY_ID, END, URL) in ((), ("key_id",))


def test_keys_own_field_is_its_own() -> None:
    text = Secret(json.dumps({"key_id": OLD}))
    assert others_fields(text, "key_id", KEY_ID, END, URL) == ()


# ---- what is written -------------------------------------------------------------------------------------------------

ADDED = f'"key_id": "{KEY_ID}", "expires_at": "2026-12-01T10:00:00Z", "base_url": "{URL}"'
objects = st.dictionaries(st.text() | st.sampled_from(["key_id", "expires_at", "base_url"]), json_values, max_size=6)
layouts = st.sampled_from([{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}])


def replaced(old: str | None, field: str = "api_key", **changes: Any) -> str:
    arguments: dict[str, Any] = {"key": Secret(NEW), "key_id": KEY_ID, "expires_at": END, "base_url": URL}
    old_secret = None if old is None else Secret(old)
    return encode_replacement(old_secret, field, secret_name="prod/x", **{**arguments, **changes}).reveal()


def test_first_is_json_plain_stays_plain() -> None:
    assert replaced(None) == f'{{"api_key": "{NEW}", {ADDED}}}'
    for old in (OLD, f"{OLD}\n", "", "any plain text"):
        assert replaced(old) == NEW


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('{"api_key": "old"}', f'{{"api_key": "{NEW}", {ADDED}}}'),
        (
            '{"price": 1.10, "api_key": "old", "big": 12345678901234567890123456, "e": 1E400, "z": -0}',
            f'{{"price": 1.10, "api_key": "{NEW}", "big": 12345678901234567890123456, "e": 1E400, "z": -0, {ADDED}}}',
        ),
        ('{"ž": "ć\\u0107", "api_key": null}', f'{{"ž": "ć\\u0107", "api_key": "{NEW}", {ADDED}}}'),
        ('{"lone": "\\ud800", "api_key": ""}', f'{{"lone": "\\ud800", "api_key": "{NEW}", {ADDED}}}'),
        (
            '{"base_url":"x","key_id":7,"api_key":"old","expires_at":{"a":[1]},"n":{"x":1,"x":2}}',
            f'{{"base_url":"{URL}","key_id":"{KEY_ID}","api_key":"{NEW}","expires_at":"2026-12-01T10:00:00Z",'
            '"n":{"x":1,"x":2}}',
        ),
        (
            '\n{\n  "api_key" : "old",\n  "user": "u"\n}\n',
            f'\n{{\n  "api_key" : "{NEW}",\n  "user": "u",\n  "key_id": "{KEY_ID}",\n'
            f'  "expires_at": "2026-12-01T10:00:00Z",\n  "base_url": "{URL}"\n}}\n',
        ),
    ],
)
def test_json_value_keeps_everything_else(old: str, new: str) -> None:
    assert replaced(old) == new


@given(objects, layouts, st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
@example({"a": "api_key"}, {}, "a")
@example({"a": '"b": 1, "b": "c"'}, {}, "b")
def test_other_fields_keep_their_order(fields: dict[str, Any], layout: dict[str, Any], field: str) -> None:
    if field in ("key_id", "expires_at", "base_url"):
        return
    old = {**fields, field: OLD}
    text = replaced(json.dumps(old, **layout), field)
    new = json.loads(text)
    written = {field: NEW, "key_id": KEY_ID, "expires_at": "2026-12-01T10:00:00Z", "base_url": URL}
    assert new == {**old, **written}
    assert list(new)[: len(old)] == list(old)
    assert decode(Secret(text), field, "prod/x").reveal() == NEW
    assert recorded_key_id(Secret(text)) == KEY_ID
    assert replaced(text, field) == text


@given(
    st.decimals(allow_nan=False, allow_infinity=False).map(str)
    | st.from_regex(r"-?[1-9][0-9]{0,40}\.[0-9]+e[0-9]{1,9}", fullmatch=True)
)
def test_numbers_keep_their_spelling(number: str) -> None:
    try:
        json.loads(number)
    except ValueError:
        return
    assert f'"n": {number},' in replaced(f'{{"n": {number}, "api_key": "old"}}')
    assert Decimal(number).is_finite()


@pytest.mark.parametrize(
    ("end", "written"),
    [
        (None, "null"),
        (datetime(2026, 12, 1, 10, 0, 0, 999_999, tzinfo=UTC), '"2026-12-01T10:00:00Z"'),
        (datetime(2026, 12, 1, 11, 0, tzinfo=timezone(timedelta(hours=1))), '"2026-12-01T10:00:00Z"'),
    ],
)
def test_end_is_utc_and_never_too_late(end: datetime | None, written: str) -> None:
    assert f'"expires_at": {written}' in replaced('{"api_key": "x", "expires_at": "stale"}', expires_at=end)
    assert f'"expires_at": {written}' in replaced(None, expires_at=end)


@pytest.mark.parametrize(
    "old",
    [
        *('{"api_key": "half', "[1]", '{"token": "x"}', '{"api_key": {"nested": "x"}}', '{"api_key": 5}'),
        *('{"a": 1, "a": 2, "api_key": "x"}', '{"api_key": "x", "pad": "' + "ž" * (MAX_BYTES // 2 - 50) + '"}'),
    ],
    ids=lambda old: old[:30],
)
def test_encode_refusal_names_secret(old: str) -> None:
    with pytest.raises(BadSecretValue, match="prod/x"):
        replaced(old)


def test_value_of_exactly_64_kib_is_written() -> None:
    base = len(replaced('{"api_key": "x", "pad": ""}'))
    assert len(replaced('{"api_key": "x", "pad": "' + "p" * (MAX_BYTES - base) + '"}')) == MAX_BYTES
    with pytest.raises(BadSecretValue):
        replaced('{"api_key": "x", "pad": "' + "p" * (MAX_BYTES - base + 1) + '"}')


@pytest.mark.parametrize(
    "changes",
    [{"key_id": "a b"}, {"key_id": ""}, {"key": Secret("")}, {"key": Secret("tell tale")}, {"key": Secret("tell\n")}],
)
def test_malformed_key_is_not_written(changes: dict[str, Any]) -> None:
    for old in ('{"api_key": "x"}', "plain", None):
        with pytest.raises(BadSecretValue, match="prod/x") as caught:
            replaced(old, **changes)
        assert "tell" not in str(caught.value)


@pytest.mark.parametrize("changes", [{"expires_at": datetime(2026, 12, 1)}, {"field": "key_id"}])
def test_encode_refuses_wrong_calls(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expires_at|key_id"):
        replaced('{"api_key": "x"}', **changes)


@pytest.mark.parametrize(
    ("new", "old", "same"),
    [
        ("K2", "K1", True),
        ('{"api_key": "K2"}', '{"api_key": "K1"}', True),
        ('{"api_key": "K2", "key_id": "2", "expires_at": null, "base_url": "b"}', '{"api_key": "K1"}', True),
        ('{"a": 1.50, "api_key": "K2"}', '{"a": 1.50, "api_key": "K1", "key_id": "1"}', True),
        ('{"a": 1.5, "api_key": "K2"}', '{"a": 1.50, "api_key": "K1"}', False),
        ('{"a": "x", "api_key": "K2"}', '{"a": "y", "api_key": "K1"}', False),
        ('{"a": "x", "b": 1, "api_key": "K2"}', '{"b": 1, "a": "x", "api_key": "K1"}', False),
        ('{"a": "x", "api_key": "K2"}', '{"api_key": "K1"}', False),
        ('{"api_key": "K2"}', '{"a": "x", "api_key": "K1"}', False),
        ('{"token": "K1"}', '{"token": "K1"}', False),
        ('{"api_key": "K2"}', "K1", False),
        ("K2", '{"api_key": "K1"}', False),
        ('{"api_key": ', '{"api_key": ', False),
        ('["K2"]', '["K2"]', False),
    ],
)
def test_values_that_differ_only_in_key(new: str, old: str, same: bool) -> None:
    assert differs_only_in_key(Secret(new), Secret(old), "api_key") is same


@given(st.dictionaries(st.text(min_size=1), st.text()), st.text(alphabet="0123456789abcdef", min_size=1))
def test_replacement_differs_only_in_key(fields: dict[str, str], key: str) -> None:
    old = Secret(json.dumps({**fields, "api_key": "K1"}, indent=2))
    new = encode_replacement(old, "api_key", key=Secret(key), key_id="K2", expires_at=None, base_url=URL)
    assert differs_only_in_key(new, old, "api_key")
