"""Where a secret stands: its staging labels, read as one life cycle.

A version is *current* (``AWSCURRENT``), *pending* (stored by us, never yet current), or *superseded*.
``AWSPENDING`` stays on a version when it is promoted, as AWS's own templates leave it; so a version that also
carries ``AWSPREVIOUS`` or a retire label was current once and is never mistaken for a pending one.
"""

from __future__ import annotations

from functools import lru_cache

from rotator.model import SecretEntry
from rotator.policy.labels import CURRENT, PENDING, PREVIOUS, parse_key_label, parse_retire_label
from rotator.policy.life import Lifecycle, Retiring, UnderWay

__all__ = [
    "AWS_LABELS",
    "MAX_LABELS",
    "Lifecycle",
    "Retiring",
    "UnderWay",
    "labels_after_rotation",
    "read_lifecycle",
]

AWS_LABELS = 20
"""Labels that AWS allows a secret."""
MAX_LABELS = AWS_LABELS - 2
"""Labels that a rotation may leave on a secret; AWS allows 20, two stay free for a rescue by hand."""


def read_lifecycle(entry: SecretEntry, resolved_key: str | None = None) -> Lifecycle:
    """Read a secret's labels; the rules of :class:`Lifecycle` stand in :func:`_read`.

    :param resolved_key: the key that an unlabelled current version was found to hold, if it was looked up.
    """
    return _read(tuple(entry.versions.items()), resolved_key)


@lru_cache(maxsize=4096)  # every sweep reads a secret's labels several times, and they rarely change
def _read(versions: tuple[tuple[str, frozenset[str]], ...], resolved_key: str | None) -> Lifecycle:
    ordered = sorted(versions, key=lambda item: item[0])
    keys: dict[str, str] = {}
    retire: list[Retiring] = []
    retire_labels: list[tuple[str, str, str]] = []
    current = [version for version, labels in ordered if CURRENT in labels]
    pending = [version for version, labels in ordered if PENDING in labels and CURRENT not in labels]
    problem = f"{len(current)} versions carry AWSCURRENT" if len(current) > 1 else None
    holders: dict[str, str] = {}
    at_work: set[str] = set()
    for version, labels in ordered:
        for label in sorted(labels):
            if (key_id := parse_key_label(label)) is not None:
                if version in keys:
                    problem = problem or f"version {version} carries the labels of two keys"
                if key_id in holders:
                    problem = problem or f"key {key_id} is labelled on two versions"
                if version in current:
                    at_work.add(key_id)
                keys[version] = key_id
                holders[key_id] = version
            elif (parsed := parse_retire_label(label)) is not None:
                retire.append(Retiring(version, *parsed))
                retire_labels.append((version, label, parsed[0]))
    current_version = current[0] if current else None
    labelled = keys.get(current_version) if current_version else None
    current_key = labelled or resolved_key
    was_current = {item.version_id for item in retire} | {version for version, labels in ordered if PREVIOUS in labels}
    ours = [version for version in pending if version in keys and version not in was_current]
    if len(ours) > 1:
        problem = problem or "two versions carry AWSPENDING"
    pending_version = ours[0] if ours else None
    stale = [(version, PENDING) for version in pending if version in keys and version in was_current]
    alive_holders = {current_version, pending_version} - {None}
    stale += [
        (version, label)
        for version, label, key_id in retire_labels
        if key_id == current_key or holders.get(key_id) in alive_holders
    ]
    stale_labels = {label for _, label in stale}
    live_retire = _latest([item for item, raw in zip(retire, retire_labels, strict=True) if raw[1] not in stale_labels])
    retiring_keys = {item.key_id for item in live_retire}
    superseded = tuple(
        (version, key_id)
        for version, key_id in sorted(keys.items())
        if version not in alive_holders and key_id not in retiring_keys and key_id != current_key
    )
    pending_key = keys.get(pending_version) if pending_version else None
    count = sum(len(labels) for _, labels in ordered)
    if labelled is not None and list(keys) == [current_version] and not (pending or retire or problem):
        return Lifecycle(current_version, labelled, count)
    more = UnderWay(
        pending_version=pending_version,
        pending_key=pending_key,
        foreign_pending=any(version not in keys and version not in was_current for version in pending),
        superseded=superseded,
        retiring=live_retire,
        stale=tuple(stale),
        holders=holders,
        problem=problem,
        named=frozenset(holders) | retiring_keys,
        at_work=frozenset(at_work),
    )
    return Lifecycle(current_version, labelled, count, more)


def labels_after_rotation(life: Lifecycle, entry: SecretEntry) -> int:
    """How many labels the secret would carry after one more rotation."""
    present = {label for labels in entry.versions.values() for label in labels}
    system = {CURRENT, PREVIOUS, PENDING} if life.current_version else {CURRENT, PENDING}
    adopted = 0 if life.current_key or not life.current_version else 1
    superseding = 1 if life.current_version else 0
    retiring = len(life.superseded)  # the same sweep gives them their labels first
    return life.label_count + len(system - present) + 1 + superseding + adopted + retiring


def _latest(items: list[Retiring]) -> tuple[Retiring, ...]:
    """Two sweeps may both have labelled a key: the later time counts, so that grace is never shortened."""
    latest: dict[str, Retiring] = {}
    for item in items:
        known = latest.get(item.key_id)
        if known is None or item.revoke_at > known.revoke_at:
            latest[item.key_id] = item
    return tuple(sorted(latest.values(), key=lambda item: (item.revoke_at, item.key_id)))
