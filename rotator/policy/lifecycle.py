"""A secret's state by its staging labels: which versions are current, pending, superseded and retiring."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Final

from rotator.model import AccountSnapshot, Key, Policy, Resolution, SecretEntry
from rotator.policy.labels import CURRENT, PENDING, PREVIOUS, is_own, parse_key_label, parse_retire_label
from rotator.text import printable


@dataclass(frozen=True, slots=True)
class Retiring:
    """A superseded version whose key is to be revoked from ``revoke_at`` on."""

    version_id: str
    key_id: str
    revoke_at: datetime


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """A secret's staging labels, parsed.

    :param current_version: the version with ``AWSCURRENT``; ``None`` for a secret without a value.
    :param current_key: its key, by label; ``None`` if the current version is not labelled.
    :param pending_version: stored by us and not yet promoted; ``pending_key`` is its key, by label.
    :param foreign_pending: the version with ``AWSPENDING`` that is not the rotator's, because of another rotation.
    :param superseded: ``(version, key)`` without a retire label.
    :param retiring: superseded versions with a retire label.
    :param stale: ``(version, label)`` that contradict the rest and are to be removed.
    :param malformed: ``(version, label)`` that begin like the rotator's labels but were not written by it.
    :param problem: why the labels can't be right; such a secret is skipped.
    :param holders: which version holds which key's label.
    :param at_work: the labelled keys of a current version; more than one if labels contradict each other.
    """

    current_version: str | None
    current_key: str | None
    pending_version: str | None = None
    pending_key: str | None = None
    foreign_pending: str | None = None
    superseded: tuple[tuple[str, str], ...] = ()
    retiring: tuple[Retiring, ...] = ()
    stale: tuple[tuple[str, str], ...] = ()
    malformed: tuple[tuple[str, str], ...] = ()
    problem: str | None = None
    holders: Mapping[str, str] = field(default_factory=dict)
    at_work: frozenset[str] = frozenset()

    @property
    def unlabelled(self) -> bool:
        """Whether there is a value and no label names its key."""
        return self.current_version is not None and self.current_key is None

    @property
    def old_versions(self) -> tuple[tuple[str, str], ...]:
        """The ``(version, key)`` of every superseded version, with or without a retire label."""
        return (*self.superseded, *((item.version_id, item.key_id) for item in self.retiring))

    @property
    def named(self) -> frozenset[str]:
        """Every key that the labels name."""
        return frozenset(self.holders).union(item.key_id for item in self.retiring)


def unsettled(entry: SecretEntry) -> list[str]:
    """Return the pending versions, of any process, and the superseded ones that have a label of the rotator."""
    return [
        version_id
        for version_id, labels in sorted(entry.versions.items())
        if CURRENT not in labels and any(label == PENDING or is_own(label) for label in labels)
    ]


def replaced_at(life: Lifecycle, key: Key, keys: Mapping[str, Key]) -> datetime | None:
    """Return when this key's replacement was created. That is the oldest newer key that the secret's labels name.

    :param keys: every key that Infobip lists, by id.
    """
    starts = (keys[key_id].valid_from for key_id in life.named if key_id in keys)
    newer = (start for start in starts if start is not None and key.valid_from is not None and start > key.valid_from)
    return min(newer, default=None)


AWS_LABELS = 20
"""Labels that AWS allows a secret."""
MAX_LABELS = AWS_LABELS - 2
"""Labels that a rotation may leave on a secret. Two of the 20 stay free for a rescue by hand."""


def read_lifecycle(entry: SecretEntry, resolved_key: str | None = None) -> Lifecycle:
    """Read a secret's labels by the rules in :func:`_read`.

    :param resolved_key: the key that an unlabelled current version was found to contain, if it was read.
    """
    life: Lifecycle | None = entry.lives.get(resolved_key)  # every sweep reads a secret's labels several times
    if life is None:
        life = entry.lives[resolved_key] = _read(entry.versions, resolved_key)
    return life


def current_resolution(snapshot: AccountSnapshot, entry: SecretEntry) -> Resolution | None:
    """Return which key a secret's current version contains, if its value was read."""
    if not snapshot.values:  # in most sweeps
        return None
    return snapshot.values.get((entry.arn, read_lifecycle(entry).current_version or ""))


def _read(versions: Mapping[str, frozenset[str]], resolved_key: str | None) -> Lifecycle:
    keys: dict[str, str] = {}
    holders: dict[str, str] = {}
    at_work: set[str] = set()
    retire: list[tuple[str, Retiring]] = []
    malformed: list[tuple[str, str]] = []
    current, pending, was_current = list[str](), list[str](), set[str]()
    problem = None
    for version, labels in sorted(versions.items(), key=itemgetter(0)):
        if CURRENT in labels:
            current.append(version)
        elif PENDING in labels:
            pending.append(version)
        if PREVIOUS in labels:
            was_current.add(version)
        for label in sorted(filter(is_own, labels)):
            if (key_id := parse_key_label(label)) is not None:
                if version in keys:
                    problem = problem or f"version {printable(version, 64)} has the labels of two keys"
                if key_id in holders:
                    problem = problem or f"key {key_id} is labelled on two versions"
                if CURRENT in labels:
                    at_work.add(key_id)
                keys[version] = key_id
                holders[key_id] = version
            elif (parsed := parse_retire_label(label)) is not None:
                retire.append((label, Retiring(version, *parsed)))
                was_current.add(version)
            else:
                malformed.append((version, label))
    if len(current) > 1:
        problem = f"{len(current)} versions have AWSCURRENT"
    current_version = current[0] if current else None
    labelled = keys.get(current_version) if current_version else None
    current_key = labelled or resolved_key
    ours = [version for version in pending if version in keys and version not in was_current]
    if len(ours) > 1:
        problem = problem or "two versions have AWSPENDING"
    pending_version = ours[0] if ours else None
    in_use = {current_version, pending_version} - {None}
    stale = [(version, PENDING) for version in pending if version in keys and version in was_current]
    stale += [
        (item.version_id, label)
        for label, item in retire
        if item.key_id == current_key or holders.get(item.key_id) in in_use
    ]
    stale_labels = {label for _, label in stale}
    retiring = _latest(item for label, item in retire if label not in stale_labels)
    retiring_keys = {item.key_id for item in retiring}
    superseded = tuple(
        (version, key_id)
        for version, key_id in keys.items()
        if version not in in_use and key_id not in retiring_keys and key_id != current_key
    )
    return Lifecycle(
        current_version,
        labelled,
        pending_version,
        pending_key=keys.get(pending_version) if pending_version else None,
        foreign_pending=next((each for each in pending if each not in keys and each not in was_current), None),
        superseded=superseded,
        retiring=retiring,
        stale=tuple(stale),
        malformed=tuple(malformed),
        problem=problem,
        holders=holders,
        at_work=frozenset(at_work),
    )


def labels_after_rotation(life: Lifecycle, entry: SecretEntry) -> int:
    """Return how many labels the secret would carry after one more rotation."""
    labels = [label for each in entry.versions.values() for label in each]
    if life.current_version is None:
        system, own = {CURRENT, PENDING}, 1
    else:  # the old key's retire label too, and its key label if it has none
        system, own = {CURRENT, PREVIOUS, PENDING}, 2 + life.unlabelled
    # The same sweep first adds the labels of superseded versions.
    return len(labels) + len(system.difference(labels)) + own + len(life.superseded)


def stored_after(dates: Mapping[str, datetime], version: str | None, other: str | None) -> bool | None:
    """Whether a version was stored after another one; ``None`` where their dates do not show it."""
    at, before = dates.get(version or ""), dates.get(other or "")
    # Emulators return the current time as a version's date, so a tiny difference means nothing.
    if at is None or before is None or abs(at - before) <= timedelta(seconds=1):
        return None
    return at > before


def was_never_current(entry: SecretEntry, version: str, dates: Mapping[str, datetime], listed: SecretEntry) -> bool:
    """Whether a pending version shows that it was never current, so that no consumer has its key.

    ``AWSPENDING`` stays on a version that was promoted, and ``AWSPREVIOUS`` leaves it when two more values are stored.

    :param listed: the secret before this run changed its labels.
    """
    current, previous = (
        next((each for each, labels in sorted(entry.versions.items()) if label in labels), None)
        for label in (CURRENT, PREVIOUS)
    )
    later = stored_after(dates, current, version)
    if previous is None:
        return not later
    if previous == version or stored_after(dates, previous, version):
        return False
    if later is False or (later is None and is_labelled(listed, current)):
        return True  # both that were current last are older
    # The promotion of this version would have given the one before a retire label.
    return not any(map(parse_retire_label, listed.versions.get(previous, ())))


def is_labelled(entry: SecretEntry, version: str | None) -> bool:
    """Whether a version has a key's label."""
    return any(map(parse_key_label, entry.versions.get(version or "", ())))


ABANDONED_AFTER: Final = timedelta(minutes=30)
"""How long a rotation by Secrets Manager may do nothing. It repeats a failed step within minutes."""


def is_abandoned(entry: SecretEntry, policy: Policy, now: datetime) -> bool:
    """Whether this deployment's rotation function began a rotation and has done nothing for a while.

    AWS shows no date for a version without a value. The date of the secret's last change is at least as late.
    """
    function, own = entry.rotation_function, policy.rotation_function
    if function is None or own is None or entry.last_changed is None:
        return False
    return (function == own or function.startswith(f"{own}:")) and now - entry.last_changed >= ABANDONED_AFTER


def _latest(items: Iterable[Retiring]) -> tuple[Retiring, ...]:
    """Keep the later time if two sweeps labelled the same key, so that grace is never shortened."""
    latest: dict[str, Retiring] = {}
    for item in items:
        known = latest.get(item.key_id)
        if known is None or item.revoke_at > known.revoke_at:
            latest[item.key_id] = item
    return tuple(sorted(latest.values(), key=lambda item: (item.revoke_at, item.key_id)))
