"""Suppositions of a forecast: another daily limit, another reserve, longer lives, more secrets. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from rotator.core.durations import format_duration
from rotator.core.model import Policy
from rotator.core.tags import VALIDITY_TAG, read_validity
from rotator.core.text import Unreadable, printable
from rotator.errors import ConfigurationError

MOST_MORE: Final = 20_000
"""Secrets that a forecast may add."""
MOST_LIMIT: Final = 100_000
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_MEND: Final = "Write limit=100, reserve=4, validity=30d or +200."


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What is supposed to be otherwise; ``None`` and 0 where nothing is.

    :param limit: the daily limit of creates, and of updates.
    :param reserve: how many of them scheduled work leaves.
    :param validity: how long every replacement lives, whatever ``rotator:validity`` says.
    :param more: secrets that each account has besides its own.
    """

    limit: int | None = None
    reserve: int | None = None
    validity: timedelta | None = None
    more: int = 0

    def policy(self, policy: Policy) -> Policy:
        """The deployment's settings, changed so.

        :raises ConfigurationError: the reserve would leave nothing for scheduled rotations.
        """
        limit = policy.daily_limit if self.limit is None else self.limit
        reserve = policy.reserve if self.reserve is None else self.reserve
        if reserve >= limit and self:
            raise ConfigurationError(
                f"a daily limit of {limit} and a reserve of {reserve} leave nothing for scheduled rotations",
                advice=f"Suppose a reserve from 0 to {limit - 1}, or a higher limit.",
            )
        return replace(policy, daily_limit=limit, reserve=reserve)

    def tags(self) -> dict[str, str]:
        """Tags that stand in place of each secret's own."""
        return {} if self.validity is None else {VALIDITY_TAG: format_duration(self.validity)}

    def words(self) -> tuple[str, ...]:
        """Each supposition as a person reads it."""
        said = []
        if self.limit is not None:
            said.append(f"a daily limit of {self.limit}")
        if self.reserve is not None:
            said.append(f"a reserve of {self.reserve}")
        if self.validity is not None:
            said.append(f"replacements that live {format_duration(self.validity)}")
        if self.more:
            said.append(f"{self.more} more secret{'s' if self.more > 1 else ''}")
        return tuple(said)

    def __bool__(self) -> bool:
        return self != WhatIf()


def parse_what_if(texts: Iterable[str]) -> WhatIf:
    """Read suppositions: ``limit=100``, ``reserve=4``, ``validity=30d``, ``+200``; each kind once.

    :raises ConfigurationError: naming the one that can't be read, what is wrong with it and the mend.
    """
    found = WhatIf()
    seen: set[str] = set()
    for text in texts:
        name, _, value = text.strip().partition("=")
        name = name.strip().lower()
        kind = "+" if text.strip().startswith("+") else name
        if kind in seen:
            raise _unreadable(text, "says again what was said before", "Give each supposition once.")
        seen.add(kind)
        if kind == "+":
            found = replace(found, more=_number(text, text.strip()[1:], 1, MOST_MORE))
        elif name == "limit":
            found = replace(found, limit=_number(text, value, 1, MOST_LIMIT))
        elif name == "reserve":
            found = replace(found, reserve=_number(text, value, 0, MOST_LIMIT))
        elif name == "validity":
            try:
                found = replace(found, validity=read_validity(value.strip()))
            except Unreadable as error:
                raise _unreadable(text, error.fault, f"{error.mend[:1].upper()}{error.mend[1:]}.") from None
        else:
            raise _unreadable(text, "is nothing that can be supposed", _MEND)
    return found


def _number(text: str, value: str, least: int, most: int) -> int:
    value = value.strip()
    if not _NUMBER.fullmatch(value) or not least <= int(value) <= most:
        raise _unreadable(text, f"needs a whole number from {least} to {most}", _MEND)
    return int(value)


def _unreadable(text: str, fault: str, mend: str) -> ConfigurationError:
    return ConfigurationError(f'--what-if "{printable(text, 40)}" {fault}', advice=mend)
