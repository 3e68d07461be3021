"""Who holds which key, over every managed secret that was listed, whatever its state."""

from __future__ import annotations

from dataclasses import dataclass

from rotator.core.lifecycle import read_lifecycle
from rotator.core.model import AccountSnapshot


@dataclass(frozen=True, slots=True)
class Holdings:
    """Which keys are in use, or may be.

    :param current: key id to the ARNs and names of the secrets whose ``AWSCURRENT`` holds it.
    :param named: key ids that any label or look-up names.
    :param unknown: names of secrets whose current value could not be read, so that they may hold any key.
    """

    current: dict[str, tuple[tuple[str, str], ...]]
    named: frozenset[str]
    unknown: tuple[str, ...]

    @staticmethod
    def of(snapshot: AccountSnapshot) -> Holdings:
        """Gather it from a snapshot, its account's secrets and those of other accounts."""
        current: dict[str, tuple[tuple[str, str], ...]] = {}
        named: set[str] = set()
        unknown: list[str] = []
        for entry in (*snapshot.secrets, *snapshot.others):
            resolution = snapshot.resolutions.get(entry.arn)
            life = read_lifecycle(entry, resolution.key_id if resolution else None)
            key_id = life.current_key or (resolution.key_id if resolution else None)
            # Labels may contradict each other: whatever may be in use counts.
            held = life.at_work if key_id is None else life.at_work | {key_id}
            if resolution is not None:
                held |= resolution.holds | ({resolution.key_id} if resolution.key_id is not None else set())
            named |= life.named
            named |= held
            for one in held:
                current[one] = (*current.get(one, ()), (entry.arn, entry.name))
            # Looked up means: there was no label, or it names a key that is not listed and so says nothing of the value.
            known = resolution is None or resolution.key_id is not None or resolution.known_foreign
            read = known and (key_id is not None or resolution is not None)
            if life.current_version and entry.deleted_at is None and not read:
                unknown.append(entry.name)
        return Holdings(current, frozenset(named), tuple(sorted(unknown)))

    def others_holding(self, key_id: str, arn: str) -> tuple[str, ...]:
        """The names of other secrets whose current value is this key."""
        return tuple(sorted(name for holder, name in self.current.get(key_id, ()) if holder != arn))
