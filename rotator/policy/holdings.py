"""Which secret holds which key, over every managed secret that was listed, whatever its state.

What one account's plan asks of all the others is the same for every account: it is gathered once a sweep and shared, or
a sweep's work would grow as accounts times secrets.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from itertools import chain
from typing import Final

from rotator.model import AccountSnapshot, Key, Resolution, SecretEntry
from rotator.policy.labels import KeyName, secret_id
from rotator.policy.lifecycle import Lifecycle, read_lifecycle
from rotator.policy.rules import View
from rotator.policy.tags import account as account_of


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
    """A fleet's managed secrets. Each part is gathered when it is first needed.

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
        # With one account only there is nothing to find, and nothing to be gathered.
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


class Holdings:
    """Which keys are in use, or may be.

    An account's own secrets are gathered for it; what the other accounts' hold is found in what all accounts share.
    Nearly every key is named by one secret, so what a secret has to do with a key is read when it is needed.

    :param seen: by the keys that labels or look-ups name, the account's own secrets, and those whose value was read.
    :param unknown: names of this account's secrets whose current value could not be read: they may hold any key.
    """

    __slots__ = ("_keys", "_loose", "_others", "_resolutions", "_seen", "unknown")

    def __init__(self, snapshot: AccountSnapshot, seen: Index, others: Others, unknown: tuple[str, ...]) -> None:
        self.unknown: Final = unknown
        self._seen = seen
        self._others = others
        self._resolutions: Mapping[str, Resolution] = snapshot.resolutions
        self._keys = snapshot.keys
        self._loose: tuple[Key, ...] | None = None

    @staticmethod
    def of(snapshot: AccountSnapshot, views: Iterable[View] | None = None) -> Holdings:
        """Gather it from a snapshot, its account's secrets and those of other accounts.

        :param views: the account's own secrets, where all their labels were read already.
        """
        seen, unknown, others = Index(), [], Others.of(snapshot.others)
        for entry, life in _lives(snapshot, views, others):
            resolution = snapshot.resolutions.get(entry.arn) if snapshot.resolutions else None
            if life.more is None and life.current_key is not None and resolution is None:
                seen.add(life.current_key, entry)
                continue
            for key_id in life.named | _held(life, resolution):
                seen.add(key_id, entry)
            # A resolution is there where no label is, or where it names a key that is not listed.
            known = resolution is None or resolution.key_id is not None or resolution.known_foreign
            read = known and (life.current_key is not None or resolution is not None)
            if life.current_version and entry.deleted_at is None and not read:
                unknown.append(entry.name)
        return Holdings(snapshot, seen, others, tuple(sorted(unknown)))

    @property
    def loose(self) -> tuple[Key, ...]:
        """The account's keys that no label or look-up names."""
        if self._loose is None:
            seen = self._seen  # names nearly all of them
            loose = [key for key in self._keys.values() if key.id not in seen]
            self._loose = tuple(key for key in loose if not self.names(key.id))
        return self._loose

    def names(self, key_id: str) -> bool:
        """Whether any label or look-up names a key."""
        return key_id in self._seen or bool(self._others.naming(key_id))

    def only_in(self, entry: SecretEntry, key_id: str) -> bool:
        """Whether it is certain at once that no other secret has to do with a key that this one's labels name."""
        return key_id not in self._seen.several and self._others.alone(key_id, entry.arn)

    def others_holding(self, key_id: str, arn: str) -> tuple[str, ...]:
        """The names of other secrets whose current value is this key."""
        if self._seen.alone(key_id, arn) and self._others.alone(key_id, arn):
            return ()
        # Labels may contradict each other: whatever may be in use counts.
        found = self._besides(key_id, arn)
        return tuple(sorted(entry.name for entry, life, seen in found if key_id in _held(life, seen)))

    def others_in_grace(self, key_id: str, arn: str, now: datetime) -> tuple[str, ...]:
        """The names of other secrets whose consumers had this key until lately: their grace is not over."""
        found = self._besides(key_id, arn)
        return tuple(sorted(entry.name for entry, life, _ in found if _in_grace(entry, life, key_id, now)))

    def _besides(self, key_id: str, arn: str) -> Iterator[tuple[SecretEntry, Lifecycle, Resolution | None]]:
        """The secrets, but for one, that have anything to do with a key; each once."""
        found = {entry.arn: entry for entry in (*self._others.naming(key_id), *self._seen.of(key_id))}
        found.pop(arn, None)
        for entry in found.values():
            resolution = self._resolutions.get(entry.arn)
            yield entry, read_lifecycle(entry, resolution.key_id if resolution else None), resolution


def _held(life: Lifecycle, resolution: Resolution | None) -> frozenset[str]:
    """The keys that the current value is, or may be."""
    if resolution is None:
        return life.at_work
    found = resolution.holds if resolution.key_id is None else resolution.holds | {resolution.key_id}
    return life.at_work | found


def _in_grace(entry: SecretEntry, life: Lifecycle, key_id: str, now: datetime) -> bool:
    if any(item.key_id == key_id and item.revoke_at > now for item in life.retiring):
        return True
    # Superseded, and no label says yet until when.
    lasts = life.current_version is not None and entry.deleted_at is None
    return lasts and any(each == key_id for _, each in life.superseded)


def _lives(
    snapshot: AccountSnapshot, views: Iterable[View] | None, others: Others
) -> Iterator[tuple[SecretEntry, Lifecycle]]:
    if views is not None:
        for view in views:
            yield view.entry, view.life
    resolved = set(snapshot.resolutions)
    for entry in snapshot.secrets if views is None or resolved else ():
        resolved.discard(entry.arn)
        if views is None:
            yield _read(snapshot, entry)
    for entry in others if resolved else ():
        if entry.arn in resolved:
            yield _read(snapshot, entry)


def _read(snapshot: AccountSnapshot, entry: SecretEntry) -> tuple[SecretEntry, Lifecycle]:
    resolution = snapshot.resolutions.get(entry.arn)
    return entry, read_lifecycle(entry, resolution.key_id if resolution else None)
