"""Parameters of a listing: read, typed, and every violation said at once."""

from __future__ import annotations

from collections.abc import Mapping

from rotator.sandbox.json_bodies import Refusal, Violation


class Query:
    """Reads typed parameters and collects what is wrong with them."""

    def __init__(self, query: Mapping[str, str]) -> None:
        self._query = query
        self._violations: list[Violation] = []

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number within bounds; ``default`` where it is left out."""
        text = self._query.get(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or len(text) > 9 or not low <= int(text) <= high:
            self._violations.append(Violation(name, f"must be a whole number from {low} to {high}"))
            return default
        return int(text)

    def choice(self, name: str, allowed: tuple[str, ...]) -> str | None:
        """One of a few words, in any case; ``None`` where it is left out."""
        text = self._query.get(name)
        if text is None:
            return None
        found = next((choice for choice in allowed if choice.lower() == text.lower()), None)
        if found is None:
            self._violations.append(Violation(name, f"must be one of {', '.join(allowed)}"))
        return found

    def check(self) -> None:
        """:class:`Refusal` 400 if anything was wrong."""
        if self._violations:
            raise Refusal(400, "Request cannot be processed", tuple(self._violations))
