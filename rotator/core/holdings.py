"""Who holds which key, over every managed secret that was listed, whatever its state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from rotator.core.decisions import View
from rotator.core.lifecycle import Lifecycle, read_lifecycle
from rotator.core.model import AccountSnapshot, SecretEntry


@dataclass(frozen=True, slots=True)
class Holdings:
    """Which keys are in use, or may be.

    :param current: key id to the secrets whose ``AWSCURRENT`` holds it.
    :param named: key ids that any label or look-up names.
    :param graced: key id to the ARNs and names of the secrets that superseded it, and until when their consumers may
        still use it there (``None``: no label says so yet).
    :param unknown: names of this account's secrets whose current value could not be read: they may hold any key.
    """

    current: dict[str, tuple[SecretEntry, ...]]
    named: frozenset[str]
    unknown: tuple[str, ...]
    graced: dict[str, tuple[tuple[str, str, datetime | None], ...]]

    @staticmethod
    def of(snapshot: AccountSnapshot, views: Iterable[View] | None = None) -> Holdings:
        """Gather it from a snapshot, its account's secrets and those of other accounts.

        :param views: the account's own secrets, where somebody has read all their labels already.
        """
        current: dict[str, tuple[SecretEntry, ...]] = {}
        named: set[str] = set()
        unknown: list[str] = []
        graced: dict[str, tuple[tuple[str, str, datetime | None], ...]] = {}
        foreign = {entry.arn for entry in snapshot.others}
        for entry, life in _lives(snapshot, views):
            resolution = snapshot.resolutions.get(entry.arn)
            key_id = life.current_key or (resolution.key_id if resolution else None)
            # Labels may contradict each other: whatever may be in use counts.
            held = life.at_work if key_id is None or key_id in life.at_work else life.at_work | {key_id}
            if resolution is not None:
                held |= resolution.holds | ({resolution.key_id} if resolution.key_id is not None else set())
            named |= life.named
            named |= held
            for one in held:
                current[one] = (*current.get(one, ()), entry)
            for item in life.retiring:
                graced[item.key_id] = (*graced.get(item.key_id, ()), (entry.arn, entry.name, item.revoke_at))
            if life.current_version and entry.deleted_at is None:
                for _, one in life.superseded:
                    graced[one] = (*graced.get(one, ()), (entry.arn, entry.name, None))
            # Looked up means: there was no label, or it names a key that is not listed and says nothing of the value.
            known = resolution is None or resolution.key_id is not None or resolution.known_foreign
            read = known and (key_id is not None or resolution is not None)
            not_asked = entry.arn in foreign and resolution is None  # compared right before a revocation
            if life.current_version and entry.deleted_at is None and not read and not not_asked:
                unknown.append(entry.name)
        return Holdings(current, frozenset(named), tuple(sorted(unknown)), graced)

    def others_holding(self, key_id: str, arn: str) -> tuple[str, ...]:
        """The names of other secrets whose current value is this key."""
        others = [entry.name for entry in self.current.get(key_id, ()) if entry.arn != arn]
        return tuple(sorted(others)) if others else ()

    def others_in_grace(self, key_id: str, arn: str, now: datetime) -> tuple[str, ...]:
        """The names of other secrets whose consumers had this key until lately: their grace is not over."""
        items = self.graced.get(key_id, ())
        return tuple(sorted(name for holder, name, until in items if holder != arn and (until is None or until > now)))


def _lives(snapshot: AccountSnapshot, views: Iterable[View] | None) -> Iterator[tuple[SecretEntry, Lifecycle]]:
    entries = snapshot.others if views is not None else (*snapshot.secrets, *snapshot.others)
    for view in views or ():
        yield view.entry, view.life
    for entry in entries:
        resolution = snapshot.resolutions.get(entry.arn)
        yield entry, read_lifecycle(entry, resolution.key_id if resolution else None)
