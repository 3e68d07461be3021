"""Which secret contains which key, over all listed managed secrets, whatever their state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from itertools import chain
from typing import Final

from rotator.model import AccountSnapshot, Key, Resolution, SecretEntry
from rotator.policy.labels import KeyName, secret_id
from rotator.policy.lifecycle import Lifecycle, current_resolution, read_lifecycle
from rotator.policy.rules import View
from rotator.policy.tags import account_of


class Directory:
    """A fleet's managed secrets, by account, with the look-ups that every account's plan needs.

    It is gathered once a sweep and shared; otherwise a sweep's work would grow as accounts times secrets.
    """

    def __init__(self, managed: Mapping[str, tuple[SecretEntry, ...]]) -> None:
        self.managed: Final = managed

    def gather(self) -> Directory:
        """Gather the look-ups now, before several accounts' plans need them at once."""
        if len(self.managed) > 1:
            _ = self.by_key
        return self

    def _every(self) -> Iterator[SecretEntry]:
        return chain.from_iterable(self.managed.values())

    @cached_property
    def by_key(self) -> Mapping[str, Sequence[SecretEntry]]:
        """The secrets whose labels name a key, by key id."""
        found = defaultdict(list)
        for entry in self._every():
            for key_id in read_lifecycle(entry).named:
                found[key_id].append(entry)
        return dict(found)

    @cached_property
    def _by_id(self) -> Mapping[str, SecretEntry]:
        return {secret_id(entry.arn): entry for entry in self._every()}

    def named(self, name: KeyName) -> SecretEntry | None:
        """Return the secret that a key of that name was created for; ``None`` for a name of the older form."""
        entry = self._by_id.get(name.secret_id) if name.secret_id is not None else None
        return entry if entry is not None and name.is_for(entry.name, entry.arn) else None


class Others(Iterable[SecretEntry]):
    """All managed secrets except those of one account."""

    def __init__(self, directory: Directory, account: str | None) -> None:
        self._directory = directory
        self._account = account
        # With only one account there is nothing to find or gather.
        self._any = any(entries for name, entries in directory.managed.items() if name != account)

    @staticmethod
    def of(entries: Iterable[SecretEntry]) -> Others:
        """Return the entries as ``Others``."""
        return entries if isinstance(entries, Others) else Others(Directory({"": tuple(entries)}), None)

    def __iter__(self) -> Iterator[SecretEntry]:
        managed = self._directory.managed
        return chain.from_iterable(entries for name, entries in managed.items() if name != self._account)

    def naming(self, key_id: str) -> Sequence[SecretEntry]:
        """Return the other secrets whose labels name a key."""
        if not self._any:
            return ()
        return [entry for entry in self._directory.by_key.get(key_id, ()) if self._is_other(entry)]

    def named(self, name: KeyName) -> SecretEntry | None:
        """Return the other secret that a key of that name was created for."""
        found = self._directory.named(name) if self._any else None
        return found if found is not None and self._is_other(found) else None

    def _is_other(self, entry: SecretEntry) -> bool:
        return self._account is None or account_of(entry.tags) != self._account


class Holdings:
    """Keys that are, or may be, in use by secrets of this account or of other accounts.

    :param views: the account's own secrets.
    """

    def __init__(self, snapshot: AccountSnapshot, views: Sequence[View]) -> None:
        self._snapshot = snapshot
        self._others = Others.of(snapshot.others)
        self._seen: dict[str, list[SecretEntry]] = defaultdict(list)
        unknown = []
        resolved = {arn for arn, _ in snapshot.values} - {view.entry.arn for view in views}
        read = [self._read(entry) for entry in self._others if entry.arn in resolved] if resolved else []
        for entry, life in chain(((view.entry, view.life) for view in views), read):
            resolution = current_resolution(snapshot, entry)
            for key_id in life.named | _held(life, resolution):
                self._seen[key_id].append(entry)
            # There is a resolution if there is no label, or if the label names a key that is not listed.
            unread = life.current_key is None if resolution is None else resolution.unreadable
            if unread and life.current_version and entry.deleted_at is None:
                unknown.append(entry.title)
        self.unknown: Final = tuple(sorted(unknown))
        """Secrets whose current value could not be read, so they may contain any key."""

    @cached_property
    def loose(self) -> Sequence[Key]:
        """The account's keys that are in no secret, as far as labels and look-ups show."""
        return [key for key in self._snapshot.keys.values() if not self.names(key.id)]

    @cached_property
    def _own(self) -> Directory:
        return Directory({"": self._snapshot.secrets})

    def owner(self, name: KeyName) -> SecretEntry | None:
        """Return the secret, of any account, that a key of that name was created for."""
        return self._own.named(name) or self._others.named(name)

    def names(self, key_id: str) -> bool:
        """Whether any label or look-up names a key."""
        return key_id in self._seen or bool(self._others.naming(key_id))

    def others_holding(self, key_id: str, arn: str) -> tuple[str, ...]:
        """Return the titles of other secrets whose current value is, or may be, this key."""
        # Labels may contradict each other, so every key that may be in use counts.
        found = self._besides(key_id, arn)
        return tuple(sorted(entry.title for entry, life, seen in found if key_id in _held(life, seen)))

    def is_named_elsewhere(self, key_id: str, entry: SecretEntry) -> bool:
        """Whether a label or the value of another secret also names a key."""
        return bool(self._besides(key_id, entry.arn))

    def others_in_grace(self, key_id: str, arn: str, now: datetime) -> tuple[str, ...]:
        """Return the titles of other secrets whose grace period for this key is not over."""
        found = self._besides(key_id, arn)
        return tuple(sorted(entry.title for entry, life, _ in found if _in_grace(entry, life, key_id, now)))

    def _besides(self, key_id: str, arn: str) -> list[tuple[SecretEntry, Lifecycle, Resolution | None]]:
        """Return all secrets that labels or values connect with a key, except one; each once."""
        found = {entry.arn: entry for entry in (*self._others.naming(key_id), *self._seen.get(key_id, ()))}
        found.pop(arn, None)
        return [(*self._read(entry), current_resolution(self._snapshot, entry)) for entry in found.values()]

    def _read(self, entry: SecretEntry) -> tuple[SecretEntry, Lifecycle]:
        resolution = current_resolution(self._snapshot, entry)
        return entry, read_lifecycle(entry, resolution.key_id if resolution else None)


def _held(life: Lifecycle, resolution: Resolution | None) -> frozenset[str]:
    """Return the keys that the current value is, or may be."""
    if resolution is None:
        return life.at_work
    found = resolution.holds if resolution.key_id is None else resolution.holds | {resolution.key_id}
    return life.at_work | found


def _in_grace(entry: SecretEntry, life: Lifecycle, key_id: str, now: datetime) -> bool:
    if any(item.key_id == key_id and item.revoke_at > now for item in life.retiring):
        return True
    # Superseded, and no label says until when yet.
    lasts = life.current_version is not None and entry.deleted_at is None
    return lasts and any(each == key_id for _, each in life.superseded)
