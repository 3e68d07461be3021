"""Direct access to the simulated Infobip, for tests and demos: what exists, and an operator's clicks in the portal."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from rotator.model import Platform
from rotator.ports import Clock
from rotator.sandbox.keys_api import DEFAULT_LIFETIME
from rotator.sandbox.records import DEFAULT_SCOPES, Role, SimAccount, SimKey, SimUser
from rotator.sandbox.state import State, told, unlinked


class DirectAccess(ABC):
    """The part of the world that needs no HTTP. Nothing here counts against a limit; keys given out are copies.

    ``KeyError`` for an account or key that does not exist.
    """

    clock: Clock
    state: State
    lock: threading.RLock

    @abstractmethod
    def settle(self) -> None:
        """Let late effects happen that are due."""

    def add_account(
        self, name: str = "main", *, account_id: str | None = None, parent: str | None = None
    ) -> SimAccount:
        """A new account; ``parent`` is the main account's id for a sub-account."""
        with self.lock:
            account = SimAccount(account_id or self.state.new_id(), name, parent)
            self.state.accounts[account.id] = account
            return account

    def add_user(
        self,
        account: SimAccount | str,
        username: str = "rotator",
        password: str | None = None,
        *,
        role: Role = Role.ACCOUNT_MANAGER,
        scopes: Iterable[str] = DEFAULT_SCOPES,
    ) -> SimUser:
        """A new user; a password is made up where none is given."""
        with self.lock:
            secret = told(password) if password is not None else self.state.new_token()
            user = SimUser(username, secret, self._account_id(account), role, frozenset(scopes))
            self.state.users[username] = user
            return user

    def add_key(
        self,
        account: SimAccount | str,
        name: str = "a key",
        *,
        value: str | None = None,
        scopes: Iterable[str] = ("sms:manage",),
        valid_from: datetime | None = None,
        valid_to: datetime | None = None,
        created_at: datetime | None = None,
        permissions: Iterable[str] | None = None,
        platform: Iterable[Platform] = (),
        allowed_ips: Iterable[str] = (),
        enabled: bool = True,
    ) -> SimKey:
        """A key that was made in the portal; it works at once, for a year from now unless told otherwise."""
        with self.lock:
            now = self.clock.now().replace(microsecond=0)
            links = tuple(platform)
            key = SimKey(
                id=self.state.new_id(),
                value=told(value) if value is not None else self.state.new_value(),
                account_id=self._account_id(account),
                name=name,
                created_at=created_at or min(valid_from or now, now),
                valid_from=valid_from or created_at or now,
                valid_to=valid_to or now + DEFAULT_LIFETIME,
                enabled=enabled,
                scopes=frozenset() if links else frozenset(scopes),
                permissions=unlinked(links) if permissions is None else frozenset(permissions),
                allowed_ips=tuple(allowed_ips),
                platform=links,
            )
            return self.state.store(key, at_once=True)

    def keys(self, account: SimAccount | str | None = None) -> tuple[SimKey, ...]:
        """Every key of an account (or of all), oldest first."""
        self.settle()
        with self.lock:
            if account is None:
                return tuple(self.state.keys.values())
            return tuple(self.state.by_account.get(self._account_id(account), {}).values())

    def key(self, key_id: str) -> SimKey:
        """One key as it is now."""
        self.settle()
        with self.lock:
            return self.state.keys[key_id]

    def key_of(self, value: str) -> SimKey | None:
        """The key with that value."""
        self.settle()
        with self.lock:
            key_id = self.state.by_value.get(value)
            return None if key_id is None else self.state.keys[key_id]

    def authenticates(self, value: str, ip: str = "127.0.0.1") -> bool:
        """Whether a consumer at that address gets in with that value now. Not logged, and no fault hits it."""
        self.settle()
        with self.lock:
            key = self.state.effective(value)
            return key is not None and key.works(self.clock.now(), ip)

    def portal_disable(self, key_id: str) -> SimKey:
        """Somebody switches a key off."""
        return self._change(key_id, enabled=False)

    def portal_enable(self, key_id: str) -> SimKey:
        """Somebody switches a key on."""
        return self._change(key_id, enabled=True)

    def portal_prolong(self, key_id: str, valid_to: datetime) -> SimKey:
        """Somebody moves a key's end."""
        return self._change(key_id, valid_to=valid_to)

    def portal_rename(self, key_id: str, name: str) -> SimKey:
        """Somebody renames a key."""
        return self._change(key_id, name=name)

    def portal_rescope(self, key_id: str, scopes: Iterable[str]) -> SimKey:
        """Somebody gives a key other scopes."""
        return self._change(key_id, scopes=frozenset(scopes))

    def portal_restrict(self, key_id: str, allowed_ips: Iterable[str]) -> SimKey:
        """Somebody restricts a key to addresses."""
        return self._change(key_id, allowed_ips=tuple(allowed_ips))

    def portal_delete(self, key_id: str) -> None:
        """A key vanishes, as the API can't but the portal may."""
        self.settle()
        with self.lock:
            self.state.forget(key_id)

    def creates_used(self, account: SimAccount | str) -> int:
        """Successful creates of an account's users in the last 24 hours."""
        with self.lock:
            return self.state.used(self.state.creates, self._account_id(account))

    def updates_used(self, account: SimAccount | str) -> int:
        """Successful updates of an account's users in the last 24 hours."""
        with self.lock:
            return self.state.used(self.state.updates, self._account_id(account))

    def busiest_day(self, account: SimAccount | str) -> tuple[int, int]:
        """The most creates and the most updates that ever fell into 24 hours."""
        with self.lock:
            account_id = self._account_id(account)
            logs = (self.state.creates.get(account_id, []), self.state.updates.get(account_id, []))
            return _busiest(logs[0]), _busiest(logs[1])

    def end_sessions(self) -> None:
        """Every session and token ends, as at a restart of the far end."""
        with self.lock:
            self.state.sessions.clear()
            self.state.tokens.clear()

    def _change(self, key_id: str, **changes: object) -> SimKey:
        self.settle()
        with self.lock:
            return self.state.store(replace(self.state.keys[key_id], **changes))  # type: ignore[arg-type]  # by name

    def _account_id(self, account: SimAccount | str) -> str:
        account_id = account.id if isinstance(account, SimAccount) else account
        return self.state.accounts[account_id].id


def _busiest(times: list[datetime]) -> int:
    most = first = 0
    for last, moment in enumerate(times):
        while times[first] <= moment - timedelta(hours=24):
            first += 1
        most = max(most, last - first + 1)
    return most
