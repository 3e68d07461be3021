"""What :mod:`rotator.policy.values` writes; what it reads is tested beside this."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rotator.errors import BadSecretValue
from rotator.policy.values import MAX_BYTES, decode, encode_replacement, recorded_key_id
from rotator.secret import Secret

OLD = "0123456789abcdef0123456789abcdef-11111111-2222-3333-4444-555555555555"
NEW = "fedcba9876543210fedcba9876543210-66666666-7777-8888-9999-000000000000"
KEY_ID = "573711510E1C002E29679B12C7CB48AE"
END = datetime(2026, 12, 1, 10, 0, tzinfo=UTC)
URL = "https://abc123.api.infobip.com"

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text() | st.sampled_from(["key_id", "expires_at", "base_url"]), json_values, max_size=6)
layouts = st.sampled_from([{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}])


def replaced(old: str | None, field: str = "api_key", **changes: Any) -> str:
    arguments: dict[str, Any] = {"key": Secret(NEW), "key_id": KEY_ID, "expires_at": END, "base_url": URL}
    old_secret = None if old is None else Secret(old)
    return encode_replacement(old_secret, field, secret_name="prod/x", **{**arguments, **changes}).reveal()


def test_a_first_value_is_a_json_object() -> None:
    assert replaced(None) == (
        f'{{"api_key": "{NEW}", "key_id": "{KEY_ID}", "expires_at": "2026-12-01T10:00:00Z", "base_url": "{URL}"}}'
    )


@pytest.mark.parametrize("old", [OLD, f"{OLD}\n", "", "any plain text"])
def test_a_plain_value_stays_plain(old: str) -> None:
    assert replaced(old) == NEW


ADDED = f'"key_id": "{KEY_ID}", "expires_at": "2026-12-01T10:00:00Z", "base_url": "{URL}"'


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
def test_a_json_value_keeps_everything_else(old: str, new: str) -> None:
    assert replaced(old) == new


@given(objects, layouts, st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
@example({"a": "api_key"}, {}, "a")
@example({"a": '"b": 1, "b": "c"'}, {}, "b")
def test_every_other_field_is_kept_in_its_order(fields: dict[str, Any], layout: dict[str, Any], field: str) -> None:
    if field in ("key_id", "expires_at", "base_url"):
        return
    old = {**fields, field: OLD}
    text = replaced(json.dumps(old, **layout), field)
    new = json.loads(text)
    written = {field: NEW, "key_id": KEY_ID, "expires_at": "2026-12-01T10:00:00Z", "base_url": URL}
    assert new == {**old, **written}
    assert list(new)[: len(old)] == list(old)
    decoded = decode(Secret(text), field, "prod/x")
    assert decoded.key.reveal() == NEW
    assert decoded.fields == tuple(new)
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
def test_the_end_is_told_in_utc_and_never_too_late(end: datetime | None, written: str) -> None:
    assert f'"expires_at": {written}' in replaced('{"api_key": "x", "expires_at": "stale"}', expires_at=end)
    assert f'"expires_at": {written}' in replaced(None, expires_at=end)


@pytest.mark.parametrize(
    ("old", "said"),
    [
        ('{"api_key": "half', "is broken JSON"),
        ("[1]", "not an object"),
        ("{}", 'has no field "api_key"'),
        ('{"token": "x"}', 'has no field "api_key"'),
        ('{"api_key": {"nested": "x"}}', "something else than text"),
        ('{"api_key": 5}', "something else than text"),
        ('{"a": 1, "a": 2, "api_key": "x"}', "names a field twice"),
        ('{"api_key": "x", "pad": "' + "p" * (MAX_BYTES - 100) + '"}', "larger than the 64 KiB"),
        ('{"api_key": "x", "pad": "' + "ž" * (MAX_BYTES // 2 - 50) + '"}', "larger than the 64 KiB"),
    ],
)
def test_encode_refuses_and_says_which_secret(old: str, said: str) -> None:
    with pytest.raises(BadSecretValue, match=said) as caught:
        replaced(old)
    assert "prod/x" in caught.value.message


def test_a_value_of_exactly_64_kib_is_written() -> None:
    base = len(replaced('{"api_key": "x", "pad": ""}'))
    assert len(replaced('{"api_key": "x", "pad": "' + "p" * (MAX_BYTES - base) + '"}')) == MAX_BYTES
    with pytest.raises(BadSecretValue):
        replaced('{"api_key": "x", "pad": "' + "p" * (MAX_BYTES - base + 1) + '"}')


@pytest.mark.parametrize(
    "changes",
    [
        {"key_id": "a b"},
        {"key_id": ""},
        {"key": Secret("")},
        {"key": Secret("tell tale")},
        {"key": Secret("tell\n")},
    ],
)
def test_a_malformed_key_is_not_written(changes: dict[str, Any]) -> None:
    for old in ('{"api_key": "x"}', "plain", None):
        with pytest.raises(BadSecretValue, match="of prod/x can't be written: the new key or its id") as caught:
            replaced(old, **changes)
        assert "tell" not in str(caught.value)


@pytest.mark.parametrize("changes", [{"expires_at": datetime(2026, 12, 1)}, {"field": "key_id"}])
def test_encode_refuses_what_only_a_wrong_call_asks_for(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"a zone|field"):
        replaced('{"api_key": "x"}', **changes)
