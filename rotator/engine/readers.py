"""Looking up who read a secret, where the revocation of its old key may have to wait for consumers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from rotator.access_log import Reads, Unread
from rotator.engine.context import Services
from rotator.errors import ReadersUnknown, RotatorError
from rotator.model import AccountSnapshot, Key, SecretEntry, Spec
from rotator.policy.gate import LOOK_BACK, gate_until, promoted_at
from rotator.policy.lifecycle import Lifecycle, Retiring, read_lifecycle
from rotator.policy.moments import plus
from rotator.policy.spec import parse_spec
from rotator.policy.tags import GATE_TAG
from rotator.policy.windows import is_open

LOOK_FOR: Final = timedelta(minutes=2)
"""How long one account's sweep may look at the log. What is left is looked up by the next sweep."""


def with_readers(
    services: Services, snapshot: AccountSnapshot, now: datetime, secret: str | None = None
) -> AccountSnapshot:
    """The snapshot, with who read each secret whose revocation is due and may have to wait for consumers.

    Without such a secret nothing is looked up, and nothing is imported. Never raises: what can't be read is said in
    the snapshot. What goes wrong once goes wrong for the others too, so it is not asked again.

    :param secret: for this one only (name or ARN).
    """
    wanted = _to_look_up(snapshot, now, secret)
    if not wanted:
        return snapshot
    begun = services.clock.now()
    found: dict[str, Reads | Unread] = {}
    failed: Unread | None = None
    for entry, since in wanted:
        if failed is None:
            if services.clock.now() - begun > LOOK_FOR or not services.may_start():
                break
            try:
                found[entry.arn] = read_log(services, entry, since)
                continue
            except RotatorError as error:
                failed = Unread(str(error))
        found[entry.arn] = failed
    return replace(snapshot, readers=found)


def read_log(services: Services, entry: SecretEntry, since: datetime) -> Reads:
    """Ask the log.

    :raises ReadersUnknown: there is none, or it can't be read.
    """
    if services.readers is None:
        raise ReadersUnknown("no log of reads is configured")
    return services.readers.reads(entry, since)


def _to_look_up(snapshot: AccountSnapshot, now: datetime, secret: str | None) -> list[tuple[SecretEntry, datetime]]:
    """Secrets with a revocation that is due and gated, the longest overdue first; and from when on to look."""
    wanted: list[tuple[datetime, SecretEntry, datetime]] = []
    for entry in snapshot.secrets:
        if GATE_TAG not in entry.tags or secret not in (None, entry.name, entry.arn) or entry.deleted_at is not None:
            continue
        spec = parse_spec(entry.tags)
        if isinstance(spec, tuple) or not spec.gate or spec.hold is not None:
            continue
        if spec.window is not None and not is_open(spec.window, now):
            continue  # it waits for that first
        life = read_lifecycle(entry)
        due = _due(entry, spec, life, snapshot.keys, now)
        if due:
            first = min(promoted_at(item, life, snapshot.keys, spec.grace) for item in due)
            wanted.append((min(item.revoke_at for item in due), entry, plus(first, -LOOK_BACK)))
    wanted.sort(key=lambda item: (item[0], item[1].arn))
    return [(entry, since) for _, entry, since in wanted]


def _due(entry: SecretEntry, spec: Spec, life: Lifecycle, keys: Mapping[str, Key], now: datetime) -> list[Retiring]:
    return [item for item in life.retiring if gate_until(entry, spec, life, item, keys, now) is not None]
