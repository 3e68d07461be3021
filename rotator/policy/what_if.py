"""Assumptions of a forecast: another daily limit, another reserve, another validity, more secrets. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from rotator.durations import format_duration
from rotator.errors import ConfigurationError
from rotator.model import AccountSnapshot, Key, Policy, SecretEntry
from rotator.policy.labels import CURRENT, key_label, key_name
from rotator.policy.moments import plus
from rotator.policy.planner import make_view
from rotator.policy.rules import View, skipped
from rotator.policy.tags import VALIDITY_TAG, read_validity
from rotator.text import Unreadable, printable

MOST_MORE: Final = 2_000
"""Secrets that a forecast may add."""
MOST_LIMIT: Final = 100_000
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_FIX: Final = "Write limit=100, reserve=4, validity=30d or +200."
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What is assumed to be different; ``None`` and 0 where nothing is.

    :param limit: the daily limit of creates, and of updates.
    :param reserve: how many of them scheduled work leaves.
    :param validity: the lifetime of every replacement, whatever ``rotator:validity`` says.
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
                advice=f"Assume a reserve from 0 to {limit - 1}, or a higher limit.",
            )
        return replace(policy, daily_limit=limit, reserve=reserve)

    def snapshot(self, snapshot: AccountSnapshot, policy: Policy, now: datetime) -> AccountSnapshot:
        """An account as it is assumed to be.

        Additional secrets are copies of those that are rotated, taken evenly from all of them in the order in which
        their keys expire. So they have the same tags, and keys that expire when the others' do. Adding them uses no
        slot.

        :raises ConfigurationError: the validity can't work with a secret's tags.
        """
        views = [make_view(snapshot, entry) for entry in snapshot.secrets]
        if self.validity is not None:
            views = [self._with_validity(snapshot, view, now) for view in views]
        working = (view for view in views if skipped(view, now) is None and view.key is not None)
        models = [view for view in working if view.key is not None and view.key.valid_to and view.key.alive(now)]
        models.sort(key=lambda view: (view.key.valid_to if view.key else None, view.entry.name))
        copied = range(self.more if models else 0)
        copies = [_copy(models[n * len(models) // self.more], n + 1, policy, now) for n in copied]
        return replace(
            snapshot,
            secrets=(*(view.entry for view in views), *(entry for entry, _ in copies)),
            keys={**snapshot.keys, **{key.id: key for _, key in copies}},
        )

    def _with_validity(self, snapshot: AccountSnapshot, view: View, now: datetime) -> View:
        assert self.validity is not None
        if skipped(view, now) is not None:
            return view
        tags = {**view.entry.tags, VALIDITY_TAG: format_duration(self.validity)}
        changed = make_view(snapshot, replace(view.entry, tags=tags))
        if changed.spec is not None:
            return changed
        raise ConfigurationError(
            f"{' and '.join(self.words())} can't work for {printable(view.entry.name)}: "
            + "; ".join(str(problem) for problem in changed.problems),
            advice="Assume a longer validity, or change that secret's tags first.",
        )

    def words(self) -> tuple[str, ...]:
        """Each assumption as a person reads it."""
        found = []
        if self.limit is not None:
            found.append(f"a daily limit of {self.limit}")
        if self.reserve is not None:
            found.append(f"a reserve of {self.reserve}")
        if self.validity is not None:
            found.append(f"replacements valid for {format_duration(self.validity)}")
        if self.more:
            found.append(f"{self.more} more secret{'s' if self.more > 1 else ''}")
        return tuple(found)

    def __bool__(self) -> bool:
        return self != WhatIf()


def _copy(view: View, number: int, policy: Policy, now: datetime) -> tuple[SecretEntry, Key]:
    """Another secret like this one, and its key."""
    assert view.key is not None
    name, arn, version = f"{view.entry.name} +{number}", f"{view.entry.arn}+{number}", f"more-{number:032}"
    created = None if view.key.valid_from is None else min(view.key.valid_from, plus(now, -_DAY))
    key = replace(view.key, id=version, name=key_name(name, arn, policy.deployment, version), valid_from=created)
    labels = frozenset({CURRENT, key_label(key.id)})
    return replace(view.entry, arn=arn, name=name, versions={version: labels}), key


def parse_what_if(texts: Iterable[str]) -> WhatIf:
    """Read assumptions: ``limit=100``, ``reserve=4``, ``validity=30d``, ``+200``; each kind once.

    :raises ConfigurationError: naming the one that can't be read, what is wrong with it and the fix.
    """
    found = WhatIf()
    seen: set[str] = set()
    for text in texts:
        name, _, value = text.strip().partition("=")
        name, value = name.strip().lower(), value.strip()
        kind = "+" if name.startswith("+") else name
        if kind in seen:
            raise _unreadable(text, "is given twice", "Give each assumption once.")
        seen.add(kind)
        if kind == "+":
            found = replace(found, more=_number(text, text.strip()[1:], 1, MOST_MORE))
        elif name == "limit":
            found = replace(found, limit=_number(text, value, 1, MOST_LIMIT))
        elif name == "reserve":
            found = replace(found, reserve=_number(text, value, 0, MOST_LIMIT))
        elif name == "validity":
            try:
                found = replace(found, validity=read_validity(value))
            except Unreadable as error:
                raise _unreadable(text, error.fault, f"{error.fix[:1].upper()}{error.fix[1:]}.") from None
        else:
            raise _unreadable(text, "can't be assumed", _FIX)
    return found


def _number(text: str, value: str, least: int, most: int) -> int:
    if not _NUMBER.fullmatch(value.strip()) or not least <= int(value) <= most:
        raise _unreadable(text, f"needs a whole number from {least} to {most}", _FIX)
    return int(value)


def _unreadable(text: str, fault: str, fix: str) -> ConfigurationError:
    return ConfigurationError(f'--what-if "{printable(text, 40)}" {fault}', advice=fix)
