"""The Infobip accounts of an emergency: connections, and which account has a key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Final

from rotator.engine.context import InfobipClock, Services
from rotator.engine.emergency.targets import Located
from rotator.engine.observe import Fleet, management_of
from rotator.errors import KeyNotFound, Refused, RotatorError
from rotator.model import SecretEntry
from rotator.ports import FetchedKey, KeyProvider
from rotator.secret import Secret
from rotator.text import printable

MAX_ASKED_AT_ONCE: Final = 8


class Accounts:
    """Connections to Infobip accounts, each opened once, and the keys that were found there.

    Of an account with several management secrets each one is asked, and the first that shows a key is used from then
    on: a second one, tagged by mistake or by an attacker, must not keep a leaked key enabled.

    :param fleet: every secret here, as listed.
    """

    def __init__(self, services: Services, fleet: Fleet) -> None:
        self.services = services
        self.fleet = fleet
        self._texts: dict[str, Secret] = {}
        self._open: dict[str, KeyProvider] = {}
        self._chosen: dict[str, SecretEntry] = {}
        self._known: list[Located] = []
        self._unknown: list[Secret] = []

    def entry(self, arn: str) -> SecretEntry | None:
        """The secret with an ARN, as listed."""
        return next((entry for entry in self.fleet.every() if entry.arn == arn), None)

    def provider(self, account: str) -> KeyProvider:
        """The account's provider; valid until :meth:`close`.

        :raises RotatorError: no or several management secrets, or one that can't be read or used.
        """
        return self._connected(self.management(account))

    def management(self, account: str) -> SecretEntry:
        """The account's management secret.

        :raises ConfigurationError: there is none, or there are several and none has shown a key yet.
        """
        return self._chosen.get(account) or management_of(self.fleet, account)

    @property
    def notes(self) -> list[str]:
        """Notes for the operator: accounts with several management secrets, and stores that were not searched."""
        several = {name: self.fleet.managements[name] for name in sorted(self._chosen)}
        notes = [
            f"account {printable(name)} has {len(entries)} management secrets "
            f"({', '.join(sorted(entry.name for entry in entries))}); {self._chosen[name].name} was used, which "
            "shows the key"
            for name, entries in several.items()
            if len(entries) > 1
        ]
        return notes + [f"store {store} could not be searched" for store in self.fleet.unlisted]

    def _connected(self, entry: SecretEntry) -> KeyProvider:
        if entry.arn not in self._texts:
            self._texts[entry.arn] = self.services.store.read_current(entry.arn).text
        if entry.arn not in self._open:
            self._open[entry.arn] = self.services.connect(entry, self._texts[entry.arn], emergency=True)
        return self._open[entry.arn]

    def clock(self, account: str) -> InfobipClock:
        """An account's clock at Infobip."""
        return InfobipClock(self.services.clock, self.provider(account))

    def close(self) -> None:
        """Close every connection; never raises."""
        while self._open:
            self._open.popitem()[1].close()

    def ordered(self, first: str | None) -> list[str]:
        """Every account with a management secret here, ``first`` before the others."""
        return sorted(self.fleet.managements, key=lambda name: (name != first, name))

    def with_id(self, key_id: str, first: str | None) -> Located | None:
        """The key with an id, from the first account that has it; ``None`` if every account was asked and none has it.

        :raises RotatorError: no account that could be asked has it, and not every account could be asked.
        """

        def read(provider: KeyProvider) -> FetchedKey | None:
            try:
                return provider.get_key(key_id)
            except KeyNotFound:
                return None

        return self._first(self.ordered(first), first, read, f"key {printable(key_id, 40)}")

    def with_value(
        self, value: Secret, first: str | None, *, only: str | None = None, alone: bool = True
    ) -> Located | None:
        """The key with a value, from the first account that knows it; ``None`` if every account was asked.

        :param only: ask no other account.
        :param alone: the answer must contain only this key, as an ownership proof requires.
        :raises RotatorError: as for :meth:`with_id`.
        """
        known = next((located for located in self._known if located.value == value), None)
        if known is not None or value in self._unknown:
            return known

        def search(provider: KeyProvider) -> FetchedKey | None:
            found = provider.find_by_value(value, alone=alone)
            return FetchedKey(found, value) if found is not None else None

        found = self._first(self.ordered(first) if only is None else [only], first, search, "the value")
        self._unknown += [value] if found is None and only is None else []
        return found

    def remember(self, located: Located) -> Located:
        """Remember a key, so that no account is asked for its value again."""
        self._known += [located] if located.value is not None else []
        return located

    def _first(
        self, accounts: list[str], first: str | None, ask: Callable[[KeyProvider], FetchedKey | None], what: str
    ) -> Located | None:
        """The first response that contains the key; ``first`` is asked alone, then the others in parallel."""

        def one(name: str, entry: SecretEntry | None) -> Located | str | None:
            try:
                entry = entry or self.management(name)
                found = ask(self._connected(entry))
            except RotatorError as error:
                return f"{printable(name)}: {error.message}"
            if found is None:
                return None
            self._chosen.setdefault(name, entry)
            return Located(name, found.key, found.value)

        every = [(name, entry) for name in accounts for entry in self.fleet.managements.get(name) or (None,)]
        errors: list[str] = []
        for some in ([pair for pair in every if pair[0] == first], [pair for pair in every if pair[0] != first]):
            for answer in _as_answered(one, some):
                if isinstance(answer, Located):
                    return self.remember(answer)
                errors += [answer] if answer is not None else []
        if errors:
            raise Refused(
                f"could not look up {what} in every account: {'; '.join(sorted(errors))}",
                advice="Nothing was changed. Fix the errors and repeat the command, or disable the key in Infobip's "
                "portal.",
            )
        return None


def _as_answered(
    ask: Callable[[str, SecretEntry | None], Located | str | None], accounts: list[tuple[str, SecretEntry | None]]
) -> Iterator[Located | str | None]:
    """The accounts' responses, fastest first: an account that hangs must not delay a revocation in another."""
    if len(accounts) <= 1:
        yield from (ask(*each) for each in accounts)
        return
    pool = ThreadPoolExecutor(min(MAX_ASKED_AT_ONCE, len(accounts)), "account")
    try:
        for future in as_completed([pool.submit(ask, *each) for each in accounts]):
            yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
