"""Versions and their staging labels, kept small: a sweep holds a million secrets, and nearly all look alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rotator.core.labels import CURRENT, PENDING, PREVIOUS, key_label, parse_key_label
from rotator.core.life import Lifecycle

_BEFORE: Final = frozenset({PREVIOUS})
_ALONE: Final = [PREVIOUS]


class IdleVersions(Mapping[str, frozenset[str]]):
    """The versions of a secret of which nothing is under way: a tenth of what a dictionary of sets takes. Immutable.

    One current version with its key's label, ``AWSPENDING`` perhaps still on it, and perhaps one before it that has
    nothing but ``AWSPREVIOUS``. Whoever asks for labels gets them as from a dictionary.

    :param life: what the labels come to: it names the current version and its key.
    :param before: the version behind ``AWSPREVIOUS``, or ``None``.
    :param pending: whether the current one still carries ``AWSPENDING``.
    """

    __slots__ = ("before", "life", "pending")

    def __init__(self, current: str, key_id: str, before: str | None, pending: bool) -> None:
        self.life: Final = Lifecycle(current, key_id, 2 + pending + (before is not None))
        self.before: Final = before
        self.pending: Final = pending

    def __getitem__(self, version: str) -> frozenset[str]:
        life = self.life
        if version == life.current_version and life.current_key is not None:
            return frozenset((CURRENT, key_label(life.current_key), *((PENDING,) if self.pending else ())))
        if self.before is not None and version == self.before:
            return _BEFORE
        raise KeyError(version)

    def __iter__(self) -> Iterator[str]:
        return iter(filter(None, (self.life.current_version, self.before)))

    def __len__(self) -> int:
        return 1 if self.before is None else 2

    def __repr__(self) -> str:
        return repr(dict(self))


def idle_versions(versions: Mapping[str, Sequence[str]]) -> IdleVersions | None:
    """The same versions, kept small; ``None`` where they are not as simple as that."""
    current = key_id = before = None
    pending = False
    for version, labels in versions.items():
        if labels == _ALONE:
            if before is not None or not version:
                return None
            before = version
            continue
        if current is not None or CURRENT not in labels:
            return None
        current = version
        for label in labels:
            if label == PENDING:
                pending = True
            elif label != CURRENT:
                if key_id is not None:
                    return None
                key_id = parse_key_label(label)
                if key_id is None:
                    return None
    return IdleVersions(current, key_id, before, pending) if current and key_id is not None else None
