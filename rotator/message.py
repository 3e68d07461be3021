"""Messages for people: a template and its values, rendered only on output.

``str()`` renders a message as programs need it (JSON, logs, audit lines, errors): times in UTC, key ids whole.
:mod:`rotator.render` renders it for a terminal or a page: local times, short ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from string import Formatter
from typing import Any

from rotator.durations import human_duration


def date_text(moment: datetime, format_spec: str = "%d %b %H:%M") -> str:
    """Return ``7 Nov 10:00``, or as the format says; a day of the month has no leading zero."""
    return f"{moment:{format_spec.replace('%d', str(moment.day))}}"


def utc_text(moment: datetime, timespec: str = "seconds") -> str:
    """Return ``2026-12-01T10:00:00Z``, as programs read it."""
    return moment.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


class KeyId(str):
    """A key's id as a message's value, which people see shortened. In a command to copy, use a plain ``str``."""

    __slots__ = ()


class Renderer(Formatter):
    """Renders messages for programs.

    A time without a format becomes a date and a time of day; a format, such as in ``{opens:%a}``, is ``strftime``'s.
    """

    def render(self, message: Message) -> str:
        """The message as text."""
        return self.vformat(message.template, (), message.values)

    def time(self, moment: datetime, format_spec: str) -> str:
        """Render a time."""
        return date_text(moment, format_spec) if format_spec else f"{date_text(moment)} UTC"

    def key_id(self, key_id: KeyId) -> str:
        """Render a key's id."""
        return str(key_id)

    def format_field(self, value: Any, format_spec: str) -> str:
        """Render one value (overrides ``Formatter``'s)."""
        match value:
            case Message():
                return self.render(value)
            case datetime():
                return self.time(value, format_spec)
            case timedelta():
                return human_duration(value)
            case KeyId():
                return self.key_id(value)
            case _:
                return str(value)


_FOR_PROGRAMS = Renderer()


@dataclass(frozen=True, slots=True)
class Message:
    """A text for people, not rendered yet.

    :param template: a format string; never untrusted input, which belongs in the values.
    :param values: times as ``datetime`` (in UTC), durations as ``timedelta``, ids as :class:`KeyId`, other messages;
        anything else is rendered as its ``str()``.
    """

    template: str = ""
    values: Mapping[str, object] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, template: str, **values: object) -> Message:
        """A template and its values by name."""
        return cls(template, values)

    @classmethod
    def text(cls, text: object) -> Message:
        """A text that is rendered unchanged, such as an operator's reason."""
        return cls("{text}", {"text": text})

    @classmethod
    def join(cls, messages: Sequence[Message]) -> Message:
        """Several sentences as one message."""
        values = {f"part{number}": message for number, message in enumerate(messages)}
        return cls(" ".join(f"{{{name}}}" for name in values), values)

    def __str__(self) -> str:
        return _FOR_PROGRAMS.render(self)


NO_MESSAGE = Message()
