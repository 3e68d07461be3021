"""An account that could not be swept: how long that may last, by what its secrets' own values say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Final

from rotator.engine.observe import observe_fleet
from rotator.errors import RotatorError
from rotator.policy.values import recorded_end
from rotator.render import counted, shown, when

if TYPE_CHECKING:
    from rotator.model import SecretEntry
    from rotator.ports import SecretStore

MOST_SECRETS: Final = 500
"""Of one account; the ends of others count as unknown."""
_AT_ONCE: Final = 8
AGAIN: Final = "The next sweep tries again."


def what_is_left(store: SecretStore, accounts: Iterable[str], now: datetime) -> Mapping[str, str]:
    """For each account a sentence: before when no key ends, and that the next sweep tries again. Never raises."""
    try:
        fleet = observe_fleet(store)
    except RotatorError:
        return {}
    return {account: _sentence(store, fleet.managed.get(account, ()), now) for account in accounts}


def _sentence(store: SecretStore, entries: Iterable[SecretEntry], now: datetime) -> str:
    alive = [entry for entry in entries if entry.deleted_at is None]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="ends") as pool:
        ends = list(pool.map(lambda entry: _end(store, entry), alive[:MOST_SECRETS]))
    known = sorted((end, entry.name) for end, entry in zip(ends, alive, strict=False) if end is not None)
    if not known:
        return AGAIN
    first, name = known[0]
    if first <= now:
        return f"The key of {shown(name)} ended {when(first, now)}, by its secret's value. {AGAIN}"
    if len(known) < len(alive):
        said = f"{len(known)} of {counted(len(alive), 'secret')} say when their keys expire: none before"
    else:
        said = "By the secrets' values no key expires before"
    return f"{said} {when(first, now)}; the next sweep tries again."


def _end(store: SecretStore, entry: SecretEntry) -> datetime | None:
    try:
        return recorded_end(store.read_current(entry.arn).text)
    except RotatorError:
        return None
