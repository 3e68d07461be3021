"""How ids, tables and outside texts look to people."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rotator.message import Message
from rotator.redaction.patterns import redact_patterns
from rotator.render.local_time import local_text
from rotator.text import printable, short_id

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

LONGEST: Final = 600
# Key ids and version ids: hexadecimal in one piece, or a UUID.
_ID: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{32}|[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})(?![0-9A-Za-z])"
)
# A secret's ARN says no more than its name but for the six characters that AWS put to its end.
_ARN: Final = re.compile(
    r"arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:([A-Za-z0-9/_+=.@-]+)-[A-Za-z0-9]{6}\b"
)


def shown(text: str | Message, limit: int = LONGEST) -> str:
    """Untrusted input, fit for a terminal: ids cut to their ends, a secret's ARN to its name.

    What has a credential's shape goes first: its parts look like ids, and would be left cut to their ends.
    A command in backticks is to be copied: its ids stay whole.
    """
    text = _ARN.sub(r"\1", redact_patterns(local_text(text) if isinstance(text, Message) else text))
    parts = text.split("`")
    parts[::2] = [_ID.sub(lambda match: short_id(match[0]), part) for part in parts[::2]]
    return printable("`".join(parts), limit)


def key_words(key_id: str | None) -> str:
    """``key 5737…48AE``."""
    return "no key" if key_id is None else f"key {short_id(key_id)}"


def counted(number: int, one: str, many: str = "") -> str:
    """``1 key``, ``2 keys``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def grid(
    rows: Sequence[Sequence[str | Text]], limits: Sequence[int], *, heads: Sequence[str] = (), indent: int = 2
) -> RenderableType:
    """Rows in columns without lines; the last column takes what is left of the width, and wraps. Below 60 columns one
    block a row. See :class:`~rotator.render.tables.Grid`.
    """
    from rotator.render.tables import Grid

    return Grid(rows, limits, heads, indent)


def styled(text: str, style: str) -> Text:
    """Text with a colour, which only ever repeats what the words say."""
    from rich.text import Text

    return Text(text, style=style)
