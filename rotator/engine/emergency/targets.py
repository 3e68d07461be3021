"""What an emergency is told, and what it means to do: plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from rotator.engine.observe import Fleet
from rotator.model import Key, SecretEntry
from rotator.secret import Secret

CURRENT: Final = "current"
RETIRING: Final = "retiring"
SUPERSEDED: Final = "superseded"
PENDING: Final = "pending"
ORPHAN: Final = "orphan"


class Strategy(StrEnum):
    """What comes first: a working consumer, or a dead key."""

    REPLACE_FIRST = "replace-first"
    REVOKE_FIRST = "revoke-first"
    REVOKE_ONLY = "revoke-only"


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be ended: one of a secret, a key id with its account, or a leaked value (perhaps with its account)."""

    secret: str | None = None
    key_id: str | None = None
    account: str | None = None
    leaked: Secret | None = None


@dataclass(frozen=True, slots=True)
class Revocation:
    """A key that will be ended.

    :param role: ``current``, ``retiring``, ``superseded``, ``pending`` or ``orphan``.
    :param version_id: the version that holds it; ``None`` where no label says so.
    :param revoke_at: when its grace would have ended.
    """

    key_id: str
    role: str
    secret: str
    arn: str
    version_id: str | None = None
    revoke_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class EmergencyPlan:
    """Everything that ``--yes`` would do in one account.

    :param revocations: the keys that end, the one that was named (or else the current one) first.
    :param replaced: the secrets that get a new key: the one concerned, and others that hold a key that ends.
    :param keys: keys as Infobip showed them, by id, as far as they were asked for.
    :param notes: sentences for the operator, without a full stop.
    :param secret: the secret concerned; ``None`` for an orphan, or where nothing is left to do.
    :param named: the key that was named by its id or value; ``None`` where the whole secret was.
    :param values: values of keys that are known already, by id, for the proof.
    :param unlabelled: ARNs whose current version carries no key label; in the entries here it was put in.
    :param repeated: this incident has made the replacement already; only keys older than that are ended.
    :param impossible: why a secret can get no new key, as a sentence for the operator, by ARN; only where it was
        checked (:meth:`~rotator.engine.emergency.Emergency.preview`).
    :param unproven: which keys are not revoked since nothing proves whose they are, as sentences; likewise.
    """

    account: str
    strategy: Strategy
    revocations: tuple[Revocation, ...]
    replaced: tuple[SecretEntry, ...]
    fleet: Fleet
    keys: Mapping[str, Key] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    secret: SecretEntry | None = None
    named: str | None = None
    values: Mapping[str, Secret] = field(default_factory=dict)
    unlabelled: frozenset[str] = frozenset()
    repeated: bool = False
    impossible: Mapping[str, str] = field(default_factory=dict)
    unproven: tuple[str, ...] = ()

    @property
    def replaceable(self) -> tuple[SecretEntry, ...]:
        """The secrets that get a new key, as far as that can be known."""
        return tuple(entry for entry in self.replaced if entry.arn not in self.impossible)

    @property
    def errors(self) -> tuple[str, ...]:
        """Why the others get none, and which keys are not revoked."""
        return (*self.impossible.values(), *self.unproven)

    @property
    def named_revocation(self) -> Revocation | None:
        """The named key, if it is among those that end."""
        return next((revocation for revocation in self.revocations if revocation.key_id == self.named), None)
