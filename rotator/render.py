"""Times, ids, untrusted input and tables as people read them.

Times are in the zone of the reader's machine, which is named; programs get UTC, see :mod:`rotator.cli.documents`.
"""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rotator.durations import human_duration
from rotator.message import KeyId, Message, Renderer, date_text
from rotator.redaction.patterns import redact_patterns
from rotator.text import printable, short_id

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

NO_SECRETS: Final = "No secret has the tag rotator:role=key. To diagnose: `rotator doctor`."

# ---- times -----------------------------------------------------------------------------------------------------------

_YEARS: Final = 300
"""A date at least this many days away has its year, and no hour."""
_LONGEST_NAME: Final = 5


def local(moment: datetime) -> datetime:
    """Return the moment in this machine's zone (``TZ``), or in UTC if it is out of range there."""
    try:
        return moment.astimezone()
    except (OverflowError, OSError, ValueError):  # Infobip's "never": year 1, or 9999
        return moment.astimezone(UTC)


def zone(moment: datetime) -> str:
    """Return the zone's name at that moment (``CET``), or its offset (``+05:30``) if it has no name or a long one."""
    there = local(moment)
    name = there.tzname() or ""
    if name and len(name) <= _LONGEST_NAME and name.isascii() and name.isalpha():
        return name
    text = f"{there:%z}"[:5]
    return f"{text[:3]}:{text[3:]}"


def day(moment: datetime, now: datetime | None = None) -> str:
    """Return ``7 Nov``, with the year if it is far from ``now``."""
    there = local(moment)
    far = now is not None and abs((moment - now).days) >= _YEARS
    return date_text(there, "%d %b") + (f" {there.year:04}" if far else "")


def clock(moment: datetime) -> str:
    """Return ``7 Nov 10:00``, for use where a heading names the zone."""
    return date_text(local(moment))


def absolute(moment: datetime, now: datetime) -> str:
    """Return ``27 Nov 10:00 CET``; if it is far away, with the year and without the hour."""
    if abs((moment - now).days) >= _YEARS:
        return day(moment, now)
    return f"{clock(moment)} {zone(moment)}"


def when(moment: datetime | None, now: datetime) -> str:
    """Return the absolute and the relative time: ``27 Nov 10:00 CET (in 4 d)``, ``20 Nov 10:00 CET (3 d ago)``."""
    if moment is None:
        return "unknown"
    distance = moment - now
    relative = f"{human_duration(-distance)} ago" if moment < now else f"in {human_duration(distance)}"
    return f"{absolute(moment, now)} ({relative})"


def brief(moment: datetime | None, now: datetime) -> str:
    """Return both times, short: ``22 Jan (59 d)``, and with the hour below two days: ``24 Nov 10:00 (9 h)``.

    The zone is today's, which the column's heading names. If the clocks change in between, the other zone is named.
    """
    if moment is None:
        return "unknown"
    distance = abs(moment - now)
    if distance.days >= 2:
        date = day(moment, now)
    else:
        date = clock(moment) if zone(moment) == zone(now) else absolute(moment, now)
    if distance.days < 2:
        distance = timedelta(hours=round(distance / timedelta(hours=1))) or distance
    return f"{date} ({human_duration(distance)}{' ago' if moment < now else ''})"


class _LocalRenderer(Renderer):
    def time(self, moment: datetime, format_spec: str) -> str:
        return date_text(local(moment), format_spec) if format_spec else f"{clock(moment)} {zone(moment)}"

    def key_id(self, key_id: KeyId) -> str:
        return shown_id(key_id)


_FOR_PEOPLE: Final = _LocalRenderer()


def local_text(message: Message) -> str:
    """A message as people read it: local times, short ids."""
    return _FOR_PEOPLE.render(message)


# ---- ids and untrusted input -----------------------------------------------------------------------------------------

LONGEST_SHOWN: Final = 600
_WIDE: Final[ContextVar[bool]] = ContextVar("wide", default=False)
# Key ids and version ids: hexadecimal in one piece, or a UUID.
_ID: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{32}|[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})(?![0-9A-Za-z])"
)
# A secret's ARN adds nothing to its name but the six characters that AWS appends.
_ARN: Final = re.compile(
    r"arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:([A-Za-z0-9/_+=.@-]+)-[A-Za-z0-9]{6}\b"
)


@contextmanager
def whole_ids(wide: bool) -> Iterator[None]:
    """Inside this context, do not shorten ids if ``wide`` is true (``--wide``)."""
    token = _WIDE.set(wide)
    try:
        yield
    finally:
        _WIDE.reset(token)


def shown_id(identifier: str) -> str:
    """Return ``5737…48AE``, or the whole id with ``--wide``."""
    return printable(identifier) if _WIDE.get() else short_id(identifier)


def shown(text: str | Message, limit: int = LONGEST_SHOWN) -> str:
    """Return untrusted input made fit for a terminal: ids are shortened, and a secret's ARN becomes its name.

    Credentials are redacted first. Their parts look like ids, and would only be shortened.
    Ids and ARNs in backticks stay whole, so that a command can be copied.
    """
    text = redact_patterns(local_text(text) if isinstance(text, Message) else text)
    parts = text.split("`")
    parts[::2] = [_ID.sub(lambda match: shown_id(match[0]), _ARN.sub(r"\1", part)) for part in parts[::2]]
    return printable("`".join(parts), limit)


def key_words(key_id: str | None) -> str:
    """``key 5737…48AE``."""
    return "no key" if key_id is None else f"key {shown_id(key_id)}"


def counted(number: int, one: str) -> str:
    """``1 key``, ``2 keys``."""
    return f"{number} {one}{'' if number == 1 else 's'}"


# ---- tables ----------------------------------------------------------------------------------------------------------

NARROW: Final = 60
"""On a terminal with fewer columns, each row is a block."""
_ROOMY: Final = 80
_LONGEST_WORD: Final = 24
"""A longer word, such as an address, may be broken."""
_DEEPER: Final = 2
_BETWEEN: Final = "  "
_WIDTHS: Final = (24, 110)
_WIDEST: Final = 1_000


def make_console(*, terminal: bool, wide: bool) -> Console:
    """Return a console that only wraps and colours; colour, and bold, only on a terminal, and not with ``NO_COLOR``.

    :param wide: do not wrap lines, so that an id can be copied. Else they are as wide as ``COLUMNS`` says, or the
        terminal within limits, or 80 columns (piped).
    """
    from rich.console import Console

    columns, (least, most) = os.environ.get("COLUMNS", ""), _WIDTHS
    if wide:
        width = _WIDEST
    elif columns.isascii() and columns.isdigit() and int(columns[:9]):
        width = max(least, min(int(columns[:9]), _WIDEST))
    else:
        width = max(least, min(shutil.get_terminal_size((_ROOMY, 24)).columns, most)) if terminal else _ROOMY
    return Console(
        file=io.StringIO(),
        width=width,
        force_terminal=terminal,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
    )


Row = Sequence[str | Text]
"""The cells of a line."""


def styled(text: str, style: str) -> Text:
    """Return coloured text. The colour only repeats what the words say."""
    return Text(text, style=style)


@dataclass(frozen=True)
class Grid:
    """A table without lines, or one block per row if columns would be too narrow. The last cell has the most text.

    :param limits: the maximum width of each column but the last; longer text is wrapped, not cut.
    :param most: the number of rows shown; a last line gives the number of the others and ``rest``.
    :param heads: headings of the columns; in blocks they precede each cell but the first. Empty if not needed.
    """

    rows: Sequence[Row]
    limits: Sequence[int]
    heads: Sequence[str] = ()
    indent: int = 2
    most: int | None = None
    rest: str = "use --json for the full list, --secret NAME for one secret"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render for rich, to the width available."""
        if self.most is not None and len(self.rows) > self.most:
            yield replace(self, rows=self.rows[: self.most], most=None)
            yield f"  … and {len(self.rows) - self.most} more; {self.rest}"
            return
        rows = [self.heads, *self.rows] if self.heads else self.rows
        widths = [
            max(1, min(limit, max((cell_len(str(row[column])) for row in rows), default=1)))
            for column, limit in enumerate(self.limits)
        ]
        last = options.max_width - self.indent - sum(width + len(_BETWEEN) for width in widths)
        if options.max_width < NARROW or (options.max_width < _ROOMY and last < self._longest_word()):
            yield from self._blocks()
        else:
            yield self._table(rows, widths)

    def _longest_word(self) -> int:
        lengths = (cell_len(word) for row in self.rows for word in str(row[-1]).split())
        return max((length for length in lengths if length <= _LONGEST_WORD), default=1)

    def _table(self, rows: Sequence[Row], widths: Sequence[int]) -> RenderableType:
        table = Table.grid(padding=(0, len(_BETWEEN), 0, 0), pad_edge=False)
        for width in widths:
            table.add_column(width=width, overflow="fold")
        table.add_column(overflow="fold")
        for row in rows:
            table.add_row(*row)
        return Padding(table, (0, 0, 0, self.indent), expand=False)

    def _blocks(self) -> Iterator[RenderableType]:
        """Yield the short cells in one line and the last below; with headings, each cell but the first has a line."""
        for row in self.rows:
            cells = [cell.copy() if isinstance(cell, Text) else Text(cell.strip()) for cell in row]
            for cell in cells:
                cell.rstrip()  # it may be padded to its column's width
            if self.heads:
                named = [(head, cell) for head, cell in zip(self.heads[1:], cells[1:], strict=True) if cell]
                first, below = cells[:1], [Text(f"{head}: ") + cell for head, cell in named]
            else:
                first, below = cells[:-1], cells[-1:]
            line = Text(_BETWEEN).join(cell for cell in first if cell)
            parts = [(line, self.indent), *((part, self.indent + (_DEEPER if first else 0)) for part in below)]
            yield from (Padding(part, (0, 0, 0, indent), expand=False) for part, indent in parts if part)
