"""What a secret's staging labels come to, as :mod:`rotator.policy.lifecycle` reads them. Plain frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Retiring:
    """A superseded version whose key is to be revoked from ``revoke_at`` on."""

    version_id: str
    key_id: str
    revoke_at: datetime


@dataclass(frozen=True, slots=True)
class UnderWay:
    """What a secret's labels say beyond its current version and key, where they say more; see :class:`Lifecycle`."""

    pending_version: str | None
    pending_key: str | None
    foreign_pending: bool
    superseded: tuple[tuple[str, str], ...]
    retiring: tuple[Retiring, ...]
    stale: tuple[tuple[str, str], ...]
    holders: Mapping[str, str]
    problem: str | None
    named: frozenset[str]
    at_work: frozenset[str]


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """One secret's labels, read.

    :param current_version: behind ``AWSCURRENT``; ``None`` for a secret without a value.
    :param current_key: the key by label; ``None`` where the current version is not labelled.
    :param more: everything else; ``None`` where the labels name the current key and nothing is under way, as with
        most secrets. Sweeps hold a million of these, so what all of them have in common is not kept in each.
    """

    current_version: str | None
    current_key: str | None
    label_count: int
    more: UnderWay | None = None

    @property
    def unlabelled(self) -> bool:
        """There is a value, and no label says whose key it is."""
        return self.current_version is not None and self.current_key is None

    @property
    def pending_version(self) -> str | None:
        """Stored by us and not yet promoted."""
        return self.more.pending_version if self.more else None

    @property
    def pending_key(self) -> str | None:
        """Its key, by label."""
        return self.more.pending_key if self.more else None

    @property
    def foreign_pending(self) -> bool:
        """``AWSPENDING`` stands on a version that is not ours: another rotation is under way."""
        return self.more.foreign_pending if self.more else False

    @property
    def superseded(self) -> tuple[tuple[str, str], ...]:
        """``(version, key)`` without a retire label."""
        return self.more.superseded if self.more else ()

    @property
    def retiring(self) -> tuple[Retiring, ...]:
        """Superseded versions with a retire label."""
        return self.more.retiring if self.more else ()

    @property
    def stale(self) -> tuple[tuple[str, str], ...]:
        """``(version, label)`` that contradict the rest and are to be taken off."""
        return self.more.stale if self.more else ()

    @property
    def problem(self) -> str | None:
        """Labels that can't be; such a secret is skipped."""
        return self.more.problem if self.more else None

    @property
    def holders(self) -> Mapping[str, str]:
        """Which version holds which key's label."""
        if self.more is not None:
            return self.more.holders
        return {self.current_key: self.current_version} if self.current_key and self.current_version else {}

    @property
    def named(self) -> frozenset[str]:
        """Every key that the labels name."""
        return self.more.named if self.more else frozenset((self.current_key,) if self.current_key else ())

    @property
    def at_work(self) -> frozenset[str]:
        """Of those, the ones on a current version; more than one where labels contradict each other."""
        return self.more.at_work if self.more else self.named

    def key_ids(self) -> frozenset[str]:
        """Every key that the labels name."""
        return self.named
