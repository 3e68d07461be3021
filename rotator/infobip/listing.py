"""Reading all pages of a list that may change meanwhile, and whose own counts are not taken at their word."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from rotator.core.model import Key
from rotator.infobip.wire import Page
from rotator.ports import KeyListing

SIZE: Final = 100
LAST_PAGE: Final = 100
REACH: Final = SIZE * (LAST_PAGE + 1)
"""Keys that the pages of one query can show; what is beyond is out of reach in that order."""

Fetch = Callable[[Mapping[str, str]], Page]
"""Gets one page by its query."""


def list_all(fetch: Fetch) -> KeyListing:
    """Every key once. Where the pages do not add up (keys came or went meanwhile), they are all read once again.

    ``complete`` is false when they did not add up again, or there are more keys than the pages can show.
    """
    listing = _list_once(fetch)
    return listing if listing.complete else _list_once(fetch)


def _list_once(fetch: Fetch) -> KeyListing:
    whole = _Walk(fetch, {})
    if whole.total is None or whole.total <= REACH:
        return KeyListing(tuple(whole.keys.values()), whole.adds_up)
    # Too many for one query: the enabled and the disabled ones, each from both ends.
    found = dict(whole.keys)
    for enabled in ("true", "false"):
        part = _Walk(fetch, {"enabled": enabled})
        found |= part.keys
        if not part.adds_up:
            found |= _Walk(fetch, {"enabled": enabled, "orderDirection": "desc"}).keys
    return KeyListing(tuple(found.values()), len(found) == whole.total)


class _Walk:
    """The pages of one query, read in order until they end.

    They end when all keys that are counted were seen, at an empty page, at a page with nothing new (the far end does
    not page at all), after the last page that can be asked for, and at the first if the count is out of reach.
    """

    def __init__(self, fetch: Fetch, query: Mapping[str, str]) -> None:
        self.keys: dict[str, Key] = {}
        self.total: int | None = None
        self._ended = False
        for number in range(LAST_PAGE + 1):
            page = fetch({**query, "page": str(number), "size": str(SIZE)})
            seen = len(self.keys)
            self.keys |= {each.key.id: each.key for each in page.keys}
            self.total = page.total_count
            self._ended = not page.keys
            counted = self.total is not None and len(self.keys) >= self.total
            if len(self.keys) == seen or (counted and number + 1 >= (page.total_pages or 0)):
                break
            if not query and self.total is not None and self.total > REACH:
                break

    @property
    def adds_up(self) -> bool:
        """Whether as many keys were seen as are counted; where nothing is counted, whether the end was reached."""
        return self._ended if self.total is None else len(self.keys) == self.total
