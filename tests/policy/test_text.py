"""Untrusted text made printable, and messages as data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rotator.message import KeyId, Message
from rotator.text import ELLIPSIS, Unreadable, did_you_mean, printable, quoted, short_id

anything = st.text(st.characters(codec=None))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("prod/sms/otp", "prod/sms/otp"),
        ("žučna žaba 鍵", "žučna žaba 鍵"),
        ("", ""),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x00\x7f\x9b", "\\x00\\x7f\\x9b"),
        ("abc\u202efdp.exe", "abc\\u202efdp.exe"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("line\u2028para\u2029", "line\\u2028para\\u2029"),
        ("no\u00a0break", "no\\xa0break"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_terminal_controls_are_escaped(text: str, shown: str) -> None:
    """Threat: characters that a terminal acts on. Each is shown as a visible escape."""
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("abcde\n", 6, "abcde…"),
        ("abcd\n", 6, "abcd\\n"),
        ("abcd\nx", 6, "abcd…"),
        ("ab", 1, "…"),
        ("a", 1, "a"),
    ],
)
def test_length_bounded_escapes_whole(text: str, limit: int, shown: str) -> None:
    assert printable(text, limit) == shown


@given(anything, st.integers(1, 40))
@example("\x1b" * 40, 7)
def test_printable_is_bounded_and_stable(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    assert printable(shown, limit) == shown


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=30))
def test_what_is_harmless_stays(text: str) -> None:
    assert printable(text, 30) == text


def test_limit_must_leave_room() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        printable("x", 0)


def test_long_text_is_not_read_to_its_end() -> None:
    assert printable("x" * 50_000_000, 10) == "x" * 9 + ELLIPSIS


@pytest.mark.parametrize(
    ("identifier", "shown"),
    [
        ("573711510E1C002E29679B12C7CB48AE", "5737…48AE"),
        ("1234567890", "1234…7890"),
        ("123456789", "123456789"),
        ("", ""),
        ("\n23456789", "\\n23456789"),
        ("\x1b[2J567890ABCD", "\\x1b[2J…ABCD"),
    ],
)
def test_short_id(identifier: str, shown: str) -> None:
    assert short_id(identifier) == shown


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("prod/sms/opt", "prod/sms/otp"),
        ("mian", "main"),
        ("prod/foo", ""),
        ("prod/sms/sent", ""),
        ("create", ""),
        ("pln", "plan"),
    ],
)
def test_only_close_names_are_suggested(text: str, meant: str) -> None:
    said = did_you_mean(text, ["prod/sms/otp", "prod/new", "main", "plan", "rotate"])
    assert said == (f"Did you mean {meant}?" if meant else "")


def test_unreadable_keeps_its_parts() -> None:
    error = Unreadable("so\non", "is not a duration", "use one such as 72h")
    assert isinstance(error, ValueError)
    assert str(error) == '"so\\non" is not a duration; use one such as 72h'
    assert (error.text, error.fault, error.fix) == ("so\non", "is not a duration", "use one such as 72h")
    assert len(quoted("x" * 500)) == 62


AT = datetime(2026, 3, 2, 9, tzinfo=UTC)


def test_programs_get_utc_and_whole_ids() -> None:
    message = Message.of("key {key} until {at}, {left} left", key=KeyId("0" * 32), at=AT, left=timedelta(hours=5))
    assert str(message) == f"key {'0' * 32} until 2 Mar 09:00 UTC, 5 h left"
    assert str(Message.of("{at:%a} {at:%d %b}", at=AT)) == "Mon 2 Mar"


def test_untrusted_text_is_no_template() -> None:
    assert str(Message.text("{0.__class__} {x!r}")) == "{0.__class__} {x!r}"
    assert str(Message.of("{outer}; {n}", outer=Message.text("{n}"), n=1)) == "{n}; 1"


def test_sentences_are_joined() -> None:
    assert str(Message.join([Message("One."), Message.of("{n}.", n=2)])) == "One. 2."
