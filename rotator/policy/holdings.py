"""Who holds which key, over every managed secret that was listed, whatever its state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

from rotator.model import AccountSnapshot, Key, Resolution, SecretEntry
from rotator.policy.directory import Index, Others
from rotator.policy.lifecycle import Lifecycle, read_lifecycle
from rotator.policy.rules import View


class Holdings:
    """Which keys are in use, or may be.

    An account's own secrets are looked through for it; what the other accounts' hold is looked up in what all accounts
    share. Nearly every key is named by one secret, so what a secret has to do with a key is told when it is asked.

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

        :param views: the account's own secrets, where somebody has read all their labels already.
        """
        seen, unknown, others = Index(), [], Others.of(snapshot.others)
        for entry, life in _lives(snapshot, views, others):
            resolution = snapshot.resolutions.get(entry.arn) if snapshot.resolutions else None
            if life.more is None and life.current_key is not None and resolution is None:
                seen.add(life.current_key, entry)
                continue
            for key_id in life.named | _held(life, resolution):
                seen.add(key_id, entry)
            # Looked up means: there was no label, or it names a key that is not listed and says nothing of the value.
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
    looked = set(snapshot.resolutions)
    for entry in snapshot.secrets if views is None or looked else ():
        looked.discard(entry.arn)
        if views is None:
            yield _read(snapshot, entry)
    for entry in others if looked else ():
        if entry.arn in looked:
            yield _read(snapshot, entry)


def _read(snapshot: AccountSnapshot, entry: SecretEntry) -> tuple[SecretEntry, Lifecycle]:
    resolution = snapshot.resolutions.get(entry.arn)
    return entry, read_lifecycle(entry, resolution.key_id if resolution else None)
