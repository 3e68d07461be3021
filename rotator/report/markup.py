"""HTML by building strings: every text goes through :func:`text`, every attribute through :func:`tag`."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from rotator.render import shown

LONGEST: Final = 600
_SPOKEN: Final = frozenset({"title", "aria_label"})
_COMMAND: Final = re.compile(r"`([^`]+)`")
_REDACT: Final[ContextVar[Callable[[str], str]]] = ContextVar("redact", default=str)


@contextmanager
def redacting(redact: Callable[[str], str]) -> Iterator[None]:
    """Inside of it :func:`text` takes out what must not be seen; of texts alone, so that no markup is torn."""
    token = _REDACT.set(redact)
    try:
        yield
    finally:
        _REDACT.reset(token)


class Markup(str):
    """HTML that is safe as it stands. Anything else is text, and is escaped where it meets this."""

    __slots__ = ()


def text(value: str, limit: int = LONGEST) -> Markup:
    """Text from anywhere: what has a credential's shape redacted, ids shortened, invisible signs shown, escaped.

    What stands in backticks is set as code.
    """
    return Markup(_COMMAND.sub(r"<code>\1</code>", _escaped(value, limit)))


def _escaped(value: str, limit: int = LONGEST) -> str:
    return html.escape(shown(_REDACT.get()(value), limit), quote=True)


def tag(name: str, *children: str, **attributes: str | bool | None) -> Markup:
    """An element. Children that are not :class:`Markup` are escaped; so is every attribute's value. What is from
    outside stands in ``title`` and ``aria-label`` alone, which are made fit for people as well.

    An attribute that is ``None`` or ``False`` is left out; a trailing underscore is dropped (``class_``), others in a
    name become hyphens.
    """
    said = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in ("meta", "br"):
        return Markup(f"<{name}{said}>")
    return Markup(f"<{name}{said}>{join(children)}</{name}>")


def join(parts: Iterable[str], separator: str = "") -> Markup:
    """Parts one after another; those that are not :class:`Markup` are escaped, and so is the separator."""
    return Markup(_safe(separator).join(_safe(part) for part in parts))


def _safe(part: str) -> Markup:
    return part if isinstance(part, Markup) else text(part)


def _attribute(key: str, value: str | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    return f' {name}="{_escaped(value) if key in _SPOKEN else html.escape(value, quote=True)}"'


def table(heads: Iterable[str], rows: Iterable[Iterable[str]], class_: str = "") -> Markup:
    """A table with one line of headings. Each cell also tells its heading, for a page too narrow for columns."""
    names = list(heads)
    head = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in names)))
    body = [
        tag("tr", *(tag("td", cell, data_head=name) for name, cell in zip(names, row, strict=True))) for row in rows
    ]
    return tag("table", head, tag("tbody", *body), class_=class_ or None)
