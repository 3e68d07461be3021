"""What every world of a test can do, in memory or over HTTP: it is made by verbs."""

from __future__ import annotations

import hashlib
import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from rotator.sandbox.clocks import OffsetClock
from rotator.sandbox.infobip import InfobipWorld
from rotator.sandbox.state import SimAccount, SimKey, SimUser
from tests import leaks
from tests.support.moments import DAY

SCOPES: Final = ("sms:manage",)
KEY: Final = "key"
"""A secret's value that is its key, as JSON."""
PLAIN: Final = "plain"
"""A secret's value that is its key, and nothing else."""
CURRENT: Final = ("AWSCURRENT",)
Value = str | bytes | Mapping[str, Any]
"""A secret's text, its bytes, or its fields."""
Account = SimAccount | str
"""A simulated account, or its name, which is also the one in tags; one that is new is made."""


class Verbs(ABC):
    """An Infobip and the secrets of one Secrets Manager. Every value is registered with the search for leaks."""

    infobip: InfobipWorld
    infobip_url: str
    clock: OffsetClock

    @abstractmethod
    def new_secret(self, name: str, tags: Mapping[str, str], value: str | None = None) -> str:
        """A secret; gives its ARN."""

    @abstractmethod
    def put(self, name: str, value: Value, labels: Iterable[str] = CURRENT, version: str | None = None) -> str:
        """Store a value with any labels, as any principal with write access can; gives the version's id."""

    @abstractmethod
    def arn(self, name: str) -> str:
        """The secret's ARN."""

    def pass_time(self, by: timedelta) -> None:
        """Let time pass."""
        self.clock.advance(by)

    def new_id(self) -> str:
        """A version's id."""
        return str(uuid.uuid4())

    def account(self, name: str = "main", **management: str) -> SimAccount:
        """An account with a user, and its management secret, for which see :meth:`management`."""
        account = self.infobip.add_account(name)
        self.management(self.infobip.add_user(account, management.pop("username", f"ops-{name}")), name, **management)
        return account

    def management(self, user: SimUser, account: str = "main", **other: str) -> None:
        """A management secret with a user's credentials, or with other fields."""
        value = {"base_url": self.infobip_url, "username": user.username, "password": leaks.register(user.password)}
        leaks.register(other.get("password", user.password))
        tags = {"rotator:role": "management", "rotator:account": account}
        self.new_secret(f"rotator/{account}", tags, json.dumps({**value, "auth": "basic", **other}))

    def user(self, account: SimAccount) -> SimUser:
        """The account's first user."""
        return next(user for user in self.infobip.state.users.values() if user.account_id == account.id)

    def key(
        self,
        name: str = "by hand",
        account: Account = "main",
        *,
        left: timedelta = 60 * DAY,
        age: timedelta | None = None,
        begins: datetime | None = None,
        scopes: Iterable[str] = SCOPES,
        enabled: bool = True,
    ) -> SimKey:
        """A key that was made in Infobip's portal, for 90 days in all."""
        now = self.clock.now().replace(microsecond=0)
        made, of = now - (90 * DAY - left if age is None else age), self._simulated(account)
        key = self.infobip.add_key(
            of, name, scopes=scopes, created_at=made, valid_from=begins or made, valid_to=now + left, enabled=enabled
        )
        leaks.register(key.value)
        return key

    def create(self, name: str, account: Account = "main", value: str | None = None, **tags: str) -> str:
        """A managed secret, without a value or with any; gives its ARN."""
        return self.new_secret(name, self.tags(account, **tags), value)

    def tags(self, account: Account = "main", **tags: str) -> dict[str, str]:
        """Tags of a managed secret: ``value_field="x"`` is ``rotator:value-field``."""
        named = account.name if isinstance(account, SimAccount) else account
        return {"rotator:role": "key", "rotator:account": named, **tags_named(tags)}

    def secret(
        self,
        name: str,
        account: Account = "main",
        value: str | None = KEY,
        *,
        left: timedelta = 60 * DAY,
        lifetime: timedelta = 90 * DAY,
        extra: Mapping[str, Any] | None = None,
        adopted: bool = True,
        rotated: bool = False,
        **tags: str,
    ) -> SimKey:
        """A managed secret and its key; it is due with a third of its lifetime left.

        :param value: its key as JSON (with the fields ``extra``) or ``PLAIN``, another text to store, or none.
        :param rotated: the rotator created the key: it is proven by its name; else it was made by hand.
        """
        simulated = self._simulated(account)
        version = self.new_id() if rotated else None
        self.create(name, account, **tags)
        title = f"by hand: {name}" if version is None else self.key_name(name, version)
        key = self.key(title, simulated, left=left, age=lifetime - left)
        if value is not None:
            texts = {KEY: json.dumps({**(extra or {}), "api_key": key.value}), PLAIN: key.value}
            labels = [f"rotator:key:{key.id}"] if adopted and value in texts else []
            self.put(name, texts.get(value, value), ["AWSCURRENT", *labels], version)
        return key

    def key_name(self, name: str, version: str, deployment: str = "default") -> str:
        """The name that the contract gives a key of that secret and version."""
        secret_id = hashlib.sha256(self.arn(name).encode()).hexdigest()[:10]
        return f"{name}/rotator:{deployment}:{secret_id}:{version}"

    def _simulated(self, account: Account) -> SimAccount:
        if isinstance(account, SimAccount):
            return account
        known = (each for each in self.infobip.state.accounts.values() if each.name == account)
        return next(known, None) or self.account(account)


def tags_named(tags: Mapping[str, str]) -> dict[str, str]:
    """``value_field`` is ``rotator:value-field``."""
    return {f"rotator:{tag.replace('_', '-')}": text for tag, text in tags.items()}
