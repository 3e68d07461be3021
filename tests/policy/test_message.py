from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rotator.message import KeyId, Message

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
