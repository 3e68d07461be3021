"""Rows as a table without lines, or, where there is no room for columns, as one block a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

NARROW: Final = 60
"""Below so many columns each row is a block."""
_DEEPER: Final = 2
_BETWEEN: Final = "  "


@dataclass(frozen=True)
class Grid:
    """Rows of cells, the last of which says most.

    :param limits: the most characters of each column but the last; what is longer goes on in the next line, whole.
    :param heads: what the columns hold; in blocks it stands before each cell but the first. Empty: that is plain.
    """

    rows: Sequence[Sequence[str | Text]]
    limits: Sequence[int]
    heads: Sequence[str] = ()
    indent: int = 2

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What rich asks for, with the width that there is."""
        if options.max_width < NARROW:
            yield from self._blocks()
        else:
            yield self._table()

    def _table(self) -> RenderableType:
        rows = [self.heads, *self.rows] if self.heads else self.rows
        table = Table.grid(padding=(0, len(_BETWEEN), 0, 0), pad_edge=False)
        for place, limit in enumerate(self.limits):
            widest = max((cell_len(str(row[place])) for row in rows), default=1)
            table.add_column(width=max(1, min(widest, limit)), overflow="fold")
        table.add_column(overflow="fold")
        for row in rows:
            table.add_row(*row)
        return Padding(table, (0, 0, 0, self.indent), expand=False)

    def _blocks(self) -> Iterator[RenderableType]:
        """The short cells in a line, the last one below it; under headings each cell but the first in a line."""
        for row in self.rows:
            cells = [cell.copy() if isinstance(cell, Text) else Text(cell.strip()) for cell in row]
            for cell in cells:
                cell.rstrip()  # it may be filled up to its column's width
            if self.heads:
                named = [(head, cell) for head, cell in zip(self.heads[1:], cells[1:], strict=True) if cell]
                first, below = cells[:1], [Text(f"{head}: ") + cell for head, cell in named]
            else:
                first, below = cells[:-1], cells[-1:]
            line = Text(_BETWEEN).join(cell for cell in first if cell)
            parts = [(line, self.indent), *((part, self.indent + (_DEEPER if first else 0)) for part in below)]
            yield from (Padding(part, (0, 0, 0, indent), expand=False) for part, indent in parts if part)
