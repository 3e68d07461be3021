"""The simulated Infobip's memory: what exists, what was when, and how much of a day is used up."""

from __future__ import annotations

import bisect
import random
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

from rotator.model import Platform
from rotator.ports import Clock
from rotator.sandbox.json_bodies import Response
from rotator.sandbox.records import Options, Session, SimAccount, SimKey, SimUser, Token

DAY = timedelta(hours=24)

value_observers: list[Callable[[str], None]] = []
"""Called with every secret text that any world makes, so that a test run can look for leaks of them."""


class State:
    """Everything mutable. Not thread safe: the world holds its lock around every use."""

    def __init__(self, clock: Clock, seed: int, options: Options) -> None:
        self.clock = clock
        self.options = options
        self.rng = random.Random(seed)  # noqa: S311 - values of a simulation, wanted the same in every run
        self.accounts: dict[str, SimAccount] = {}
        self.users: dict[str, SimUser] = {}
        self.keys: dict[str, SimKey] = {}
        self.by_account: dict[str, dict[str, SimKey]] = {}
        self.by_value: dict[str, str] = {}
        self.sessions: dict[str, Session] = {}
        self.tokens: dict[str, Token] = {}
        self.creates: dict[str, list[datetime]] = {}
        self.updates: dict[str, list[datetime]] = {}
        self.recent: dict[tuple[str, str], list[datetime]] = {}
        self.observers: list[Callable[[SimKey], None]] = []
        """Called with each key that was made or changed, as it is then."""
        self.generation = 0
        """Grows with each change of a key: what was computed from all of them is good for as long as it stays."""
        self.rendered: dict[str, tuple[SimKey, bool, str]] = {}
        self.pages: dict[tuple[object, ...], tuple[int, Response]] = {}
        self._tokens = random.Random(f"tokens {seed}")  # noqa: S311 - of their own: a login must not change later keys
        self._history: dict[str, list[tuple[datetime, SimKey]]] = {}

    def new_id(self) -> str:
        """32 upper-case hex digits, in no order of time."""
        return f"{self.rng.getrandbits(128):032X}"

    def new_value(self) -> str:
        """A key's value: 32 hex digits, a dash, a UUID."""
        tail = uuid.UUID(int=self.rng.getrandbits(128), version=4)
        return told(f"{self.rng.getrandbits(128):032x}-{tail}")

    def new_token(self) -> str:
        """A session's or OAuth2 token."""
        return told(str(uuid.UUID(int=self._tokens.getrandbits(128), version=4)))

    def store(self, key: SimKey, *, at_once: bool = False) -> SimKey:
        """Put a new or changed key in place; for authentication it matters after the propagation time."""
        effective = self.clock.now() + (timedelta(0) if at_once else self.options.propagation)
        self.keys[key.id] = key
        self.by_account.setdefault(key.account_id, {})[key.id] = key
        self.by_value[key.value] = key.id
        history = self._history.setdefault(key.id, [])
        history.append((effective, key))
        self.generation += 1
        for observer in tuple(self.observers):
            observer(key)
        return key

    def forget(self, key_id: str) -> None:
        """A key is gone, for authentication too."""
        self.generation += 1
        key = self.keys.pop(key_id)
        self.rendered.pop(key_id, None)
        del self.by_account[key.account_id][key_id], self.by_value[key.value], self._history[key_id]

    def effective(self, value: str) -> SimKey | None:
        """The key with that value as authentication knows it now, or ``None`` where it does not know it yet."""
        key_id = self.by_value.get(value)
        if key_id is None:
            return None
        now = self.clock.now()
        history = self._history[key_id]
        known = [key for since, key in history if since <= now]
        if not known:
            return None
        if len(known) > 1:  # what is superseded is never asked for again, unless the clock goes back
            del history[: len(known) - 1]
        return known[-1]

    def used(self, log: dict[str, list[datetime]], account_id: str) -> int:
        """How many of ``log`` (creates or updates) fall into the last 24 hours."""
        return self._recent(log.get(account_id, []), DAY)

    def count(self, log: dict[str, list[datetime]], account_id: str) -> None:
        """Add one to ``log``, now."""
        bisect.insort(log.setdefault(account_id, []), self.clock.now())

    def frees_in(self, log: dict[str, list[datetime]], account_id: str, limit: int) -> timedelta:
        """How long until fewer than ``limit`` fall into the last 24 hours."""
        times = log.get(account_id, [])
        return max(timedelta(seconds=1), times[-limit] + DAY - self.clock.now()) if len(times) >= limit > 0 else DAY

    def too_fast(self, operation: str, account_id: str) -> bool:
        """Whether the operation is over its limit a second; counts the request where it is not."""
        limit = self.options.per_second
        if limit is None:
            return False
        times = self.recent.setdefault((operation, account_id), [])
        now = self.clock.now()
        times[:] = [t for t in times if now - timedelta(seconds=1) < t <= now]
        if len(times) >= limit:
            return True
        times.append(now)
        return False

    def _recent(self, times: list[datetime], span: timedelta) -> int:
        now = self.clock.now()
        return bisect.bisect_right(times, now) - bisect.bisect_right(times, now - span)


def told(value: str) -> str:
    """Tell every observer of secret texts about one, and give it back."""
    for observer in tuple(value_observers):
        observer(value)
    return value


def unlinked(platform: tuple[Platform, ...]) -> frozenset[str]:
    """The permissions that a key has by default: none while it is linked to applications."""
    return frozenset() if platform else frozenset({"PUBLIC_API"})
