"""Who holds which key, over every managed secret that was listed, whatever its state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rotator.core.lifecycle import read_lifecycle
from rotator.core.model import AccountSnapshot


@dataclass(frozen=True, slots=True)
class Holdings:
    """Which keys are in use, or may be.

    :param current: key id to the ARNs and names of the secrets whose ``AWSCURRENT`` holds it.
    :param named: key ids that any label or look-up names.
    :param graced: key id to the ARNs and names of the secrets that superseded it, and until when their consumers may
        still use it there (``None``: no label says so yet).
    :param unknown: names of this account's secrets whose current value could not be read: they may hold any key.
    """

    current: dict[str, tuple[tuple[str, str], ...]]
    named: frozenset[str]
    unknown: tuple[str, ...]
    graced: dict[str, tuple[tuple[str, str, datetime | None], ...]]

    @staticmethod
    def of(snapshot: AccountSnapshot) -> Holdings:
        """Gather it from a snapshot, its account's secrets and those of other accounts."""
        current: dict[str, tuple[tuple[str, str], ...]] = {}
        named: set[str] = set()
        unknown: list[str] = []
        graced: dict[str, tuple[tuple[str, str, datetime | None], ...]] = {}
        foreign = {entry.arn for entry in snapshot.others}
        for entry in (*snapshot.secrets, *snapshot.others):
            resolution = snapshot.resolutions.get(entry.arn)
            life = read_lifecycle(entry, resolution.key_id if resolution else None)
            key_id = life.current_key or (resolution.key_id if resolution else None)
            # Labels may contradict each other: whatever may be in use counts.
            held = life.at_work if key_id is None or key_id in life.at_work else life.at_work | {key_id}
            if resolution is not None:
                held |= resolution.holds | ({resolution.key_id} if resolution.key_id is not None else set())
            named |= life.named
            named |= held
            for one in held:
                current[one] = (*current.get(one, ()), (entry.arn, entry.name))
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
        return tuple(sorted(name for holder, name in self.current.get(key_id, ()) if holder != arn))

    def others_in_grace(self, key_id: str, arn: str, now: datetime) -> tuple[str, ...]:
        """The names of other secrets whose consumers had this key until lately: their grace is not over."""
        items = self.graced.get(key_id, ())
        return tuple(sorted(name for holder, name, until in items if holder != arn and (until is None or until > now)))
