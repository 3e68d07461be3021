"""Read all pages of a list that may change while it is read. The server's counts are not trusted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from rotator.infobip.wire import Page
from rotator.model import Key
from rotator.ports import KeyListing

PAGE_SIZE: Final = 100
LAST_PAGE: Final = 100
REACH: Final = PAGE_SIZE * (LAST_PAGE + 1)
"""The most keys that the pages of one query can show. Later ones are out of reach in that order."""

Fetch = Callable[[Mapping[str, str]], Page]
"""Fetches one page by its query."""


def list_all(fetch: Fetch, enabled: bool | None = None) -> KeyListing:
    """List every key once. If the counts do not match (keys changed during the reading), read all pages again, once.

    ``complete`` is false if the counts still do not match, or if there are more keys than the pages can show.

    :param enabled: list only enabled or only disabled keys. The result is also filtered here.
    """
    listing, out_of_reach = _list_once(fetch, enabled)
    if not listing.complete and not out_of_reach:
        listing, _ = _list_once(fetch, enabled)
    if enabled is None:
        return listing
    return KeyListing(tuple(key for key in listing.keys if key.enabled is enabled), listing.complete)


def _list_once(fetch: Fetch, enabled: bool | None) -> tuple[KeyListing, bool]:
    """Return the listing, and whether the pages cannot show all keys, in which case a second try would not help."""
    if enabled is not None:
        return _from_both_ends(fetch, enabled)
    whole = _Walk(fetch, {})
    if whole.total is None or whole.total <= REACH:
        return KeyListing(tuple(whole.keys.values()), whole.adds_up), False
    # Too many keys for one query, so list enabled and disabled keys separately, each from both ends.
    parts = [_from_both_ends(fetch, each) for each in (True, False)]
    found = whole.keys | {key.id: key for listing, _ in parts for key in listing.keys}
    return KeyListing(tuple(found.values()), len(found) == whole.total), any(beyond for _, beyond in parts)


def _from_both_ends(fetch: Fetch, enabled: bool) -> tuple[KeyListing, bool]:
    query = {"enabled": "true" if enabled else "false"}
    walk = _Walk(fetch, query)
    if walk.total is None or walk.total <= REACH:
        return KeyListing(tuple(walk.keys.values()), walk.adds_up), False
    back = _Walk(fetch, {**query, "orderDirection": "desc"})
    found = walk.keys | back.keys
    steady = not walk.shrank and not back.shrank and walk.total == back.total
    return KeyListing(tuple(found.values()), steady and len(found) == back.total), walk.total > 2 * REACH


class _Walk:
    """Reads the pages of one query in order.

    Reading stops when as many keys were seen as are counted, at an empty page, at a page without new keys (the server
    ignores paging), after the last page that can be requested, and after the first if the count is out of reach.

    ``shrank``: a key left the list during the walk (for example, it was disabled), so another key may have moved to a
    page that was already read. The counts could still match if a third key was seen twice.
    """

    def __init__(self, fetch: Fetch, query: Mapping[str, str]) -> None:
        self.keys: dict[str, Key] = {}
        self.total: int | None = None
        self.shrank = False
        self._ended = False
        for number in range(LAST_PAGE + 1):
            page = fetch({**query, "page": str(number), "size": str(PAGE_SIZE)})
            seen = len(self.keys)
            self.keys |= {each.key.id: each.key for each in page.keys}
            self.shrank = self.shrank or (page.total_count or 0) < (self.total or 0)
            self.total = page.total_count
            self._ended = not page.keys
            counted = self.total is not None and len(self.keys) >= self.total
            if len(self.keys) == seen or (counted and number + 1 >= (page.total_pages or 0)):
                break
            if not query and self.total is not None and self.total > REACH:
                break

    @property
    def adds_up(self) -> bool:
        """Whether the listing is complete: the count matches or, without a count, the last page was reached."""
        return self._ended if self.total is None else len(self.keys) == self.total and not self.shrank
