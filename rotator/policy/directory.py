"""Every managed secret of a fleet, to be found by the keys, the versions and the name that stand in it.

What one account's plan asks of all the others is the same for every account: it is gathered once a sweep and shared, or
a sweep's work would grow as accounts times secrets.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from itertools import chain
from typing import Final

from rotator.model import SecretEntry
from rotator.policy.labels import KeyName, secret_id
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.spec import account as account_of


class Index(dict[str, SecretEntry | tuple[SecretEntry, ...]]):
    """Secrets by a text that each may have several of; one secret alone, as nearly always, takes no list.

    :param several: the texts that lead to more than one secret.
    """

    __slots__ = ("several",)

    def __init__(self) -> None:
        super().__init__()
        self.several: Final[set[str]] = set()

    def add(self, text: str, entry: SecretEntry) -> None:
        """From now on the text leads to this secret too."""
        before = self.setdefault(text, entry)
        if before is not entry:
            self.several.add(text)
            self[text] = (before, entry) if isinstance(before, SecretEntry) else (*before, entry)

    def alone(self, text: str, arn: str) -> bool:
        """Whether it leads to that secret, if to any."""
        found = self.get(text)
        return found is None or (type(found) is SecretEntry and found.arn == arn)

    def of(self, text: str) -> tuple[SecretEntry, ...]:
        """The secrets, in the order in which they were added."""
        found = self.get(text, ())
        return (found,) if isinstance(found, SecretEntry) else found


class Directory:
    """A fleet's managed secrets. Each part is gathered when somebody first asks.

    :param managed: by account.
    """

    def __init__(self, managed: Mapping[str, tuple[SecretEntry, ...]]) -> None:
        self.managed: Final = managed

    def gather(self) -> Directory:
        """Gather now what every account's plan asks for, before several of them ask at once."""
        if len(self.managed) > 1:
            _ = self._labels
        return self

    def naming(self, key_id: str) -> tuple[SecretEntry, ...]:
        """The secrets whose labels name a key."""
        return self._labels[0].of(key_id)

    def alone(self, key_id: str, arn: str) -> bool:
        """Whether no secret's labels name a key, but perhaps that one's."""
        return self._labels[0].alone(key_id, arn)

    def unlabelled(self) -> tuple[SecretEntry, ...]:
        """The secrets that hold a value of which no label says whose key it is."""
        return self._labels[1]

    def named(self, name: KeyName) -> SecretEntry | None:
        """The secret that the rotator gave a key of that name to; ``None`` for a name of the older form."""
        entry = self._by_id.get(name.secret_id) if name.secret_id is not None else None
        return entry if entry is not None and name.is_for(entry.name, entry.arn) else None

    def _every(self) -> Iterator[SecretEntry]:
        return chain.from_iterable(self.managed.values())

    @cached_property
    def _labels(self) -> tuple[Index, tuple[SecretEntry, ...]]:
        keys, unlabelled = Index(), []
        for entry in self._every():
            life = read_lifecycle(entry)
            for key_id in (life.current_key,) if life.more is None and life.current_key else life.named:
                keys.add(key_id, entry)
            if life.unlabelled and entry.deleted_at is None:
                unlabelled.append(entry)
        return keys, tuple(unlabelled)

    @cached_property
    def _by_id(self) -> dict[str, SecretEntry]:
        return {secret_id(entry.arn): entry for entry in self._every()}


class Others(Collection[SecretEntry]):
    """A directory's secrets without those of one account: what that account's plan has to know of the rest."""

    def __init__(self, directory: Directory, account: str | None) -> None:
        self._directory = directory
        self._account = account
        # With one account only there is nothing to look for, and nothing to be gathered.
        self._any = any(entries for name, entries in directory.managed.items() if name != account)

    @staticmethod
    def of(entries: Collection[SecretEntry]) -> Others:
        """The same, of secrets that were given as they are."""
        return entries if isinstance(entries, Others) else Others(Directory({"": tuple(entries)}), None)

    def __iter__(self) -> Iterator[SecretEntry]:
        managed = self._directory.managed
        return chain.from_iterable(entries for name, entries in managed.items() if name != self._account)

    def __len__(self) -> int:
        return sum(len(entries) for name, entries in self._directory.managed.items() if name != self._account)

    def __contains__(self, entry: object) -> bool:
        return any(entry == each for each in self)

    def naming(self, key_id: str) -> tuple[SecretEntry, ...]:
        """The others whose labels name a key."""
        return self._without(self._directory.naming(key_id)) if self._any else ()

    def alone(self, key_id: str, arn: str) -> bool:
        """Whether it is certain at once that none of the others, but perhaps that one, names a key."""
        return not self._any or self._directory.alone(key_id, arn)

    def named(self, name: KeyName) -> SecretEntry | None:
        """The other that the rotator gave a key of that name to."""
        found = self._directory.named(name) if self._any else None
        return found if found is None or self._without((found,)) else None

    def unlabelled(self) -> tuple[SecretEntry, ...]:
        """The others that hold a value of which no label says whose key it is."""
        return self._without(self._directory.unlabelled()) if self._any else ()

    def _without(self, entries: tuple[SecretEntry, ...]) -> tuple[SecretEntry, ...]:
        if self._account is None or not entries:
            return entries
        return tuple(entry for entry in entries if account_of(entry.tags) != self._account)
