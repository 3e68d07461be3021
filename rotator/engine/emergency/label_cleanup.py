"""Labels in an emergency: how many a replacement needs, and taking those of dead keys off.

What is cut off here is done by the next sweep.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from rotator.engine.emergency.incident import Work, spec_of
from rotator.engine.secret_changes import clean_labels, unlabel
from rotator.errors import RotatorError
from rotator.model import SecretEntry
from rotator.policy.labels import PENDING, key_label, parse_retire_label
from rotator.policy.lifecycle import labels_after_rotation, read_lifecycle
from rotator.policy.values import decode


def labels_needed(entry: SecretEntry) -> int:
    """How many labels the secret carries once a replacement is promoted; an emergency sets no retire labels."""
    life = read_lifecycle(entry)
    return labels_after_rotation(life, entry) - len(life.superseded) - 1


def without_keys(entry: SecretEntry, key_ids: Collection[str]) -> SecretEntry:
    """The entry as it would be without the labels of these keys."""
    gone = set(map(key_label, key_ids))

    def stays(label: str) -> bool:
        parsed = parse_retire_label(label)
        return label not in gone and (parsed is None or parsed[0] not in key_ids)

    versions = {version: frozenset(filter(stays, labels)) for version, labels in entry.versions.items()}
    return replace(entry, versions=versions)


def clean(work: Work, entry: SecretEntry) -> None:
    """Take every dead key's labels off a secret, but the current one's: it tells the next sweep what to replace.

    A version without labels can be lost at any time, so its value is read before, for the proof. A key that Infobip
    says it does not have keeps its labels: the next sweep asks for the whole list before it believes that.

    :raises RotatorError: not all labels were taken off.
    """
    life = read_lifecycle(entry)
    for key_id in sorted((work.revoked | work.not_found) & life.named):
        version = life.holders.get(key_id)
        if version is not None and key_id not in work.values:
            _remember(work, entry, version, key_id)
        if key_id in work.revoked and key_id != life.current_key:
            if version is not None and PENDING in entry.versions.get(version, frozenset()):
                # First: AWSPENDING on a version without a key's label would be another function's rotation.
                unlabel(work.context(), entry, PENDING, version, work.reason)
            clean_labels(work.context(), entry, key_id, work.reason)


def _remember(work: Work, entry: SecretEntry, version_id: str, key_id: str) -> None:
    try:
        stored = work.services.store.read_version(entry.arn, version_id)
        work.values[key_id] = decode(stored.text, spec_of(entry).value_field, entry.name).key
    except RotatorError:
        return  # the proof has to do without it, and says so
