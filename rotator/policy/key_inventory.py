"""The rows of ``rotator inventory``: each key's owner, and secrets to check. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from rotator.durations import human_duration
from rotator.model import AccountSnapshot, Key, Policy
from rotator.policy.labels import parse_key_name
from rotator.policy.lifecycle import current_resolution
from rotator.policy.rules import View, make_view

UNUSED: Final = timedelta(days=90)
"""A secret that was not read for this long is unused. The rotator's own reads when it rotates count too."""


class KeyKind(StrEnum):
    """A key's owner: the first match in this order."""

    CURRENT = "current"
    PENDING = "pending"
    RETIRING = "retiring"
    ORPHAN = "orphan"
    OTHER_DEPLOYMENT = "other-deployment"
    UNKNOWN = "unknown"
    DISABLED = "disabled"


class SecretKind(StrEnum):
    """Why an operator should check a secret."""

    UNKNOWN_KEY = "secret-unknown-key"
    KEY_MISSING = "secret-key-missing"
    UNUSED = "secret-unused"


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One key.

    :param secrets: the managed secrets that contain the key; if none does, the one that it is named after.
    :param revoke_at: when a key in its grace period is to be revoked, if a label says so.
    """

    key: Key
    kind: KeyKind
    secrets: tuple[str, ...]
    revoke_at: datetime | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SecretRow:
    """One secret that an operator should check; ``last_accessed`` is to the day, if the store has it."""

    secret: str
    kind: SecretKind
    detail: str
    key_id: str | None = None
    last_accessed: datetime | None = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """One account's keys and the secrets to check.

    :param hidden: how many disabled keys were left out.
    :param complete: whether Infobip's list is known to contain every key.
    """

    account: str
    keys: tuple[KeyRow, ...]
    secrets: tuple[SecretRow, ...]
    hidden: int
    complete: bool


def take_inventory(snapshot: AccountSnapshot, policy: Policy, now: datetime, *, disabled: bool = False) -> Inventory:
    """List the keys with their owners, and the secrets that an operator should check.

    :param disabled: whether to include disabled keys.
    """
    views = [make_view(snapshot, entry) for entry in (*snapshot.secrets, *snapshot.others)]
    roles = _roles(snapshot, views)
    shown = [key for key in snapshot.keys.values() if key.enabled or disabled]
    rows = sorted((_row(key, roles, views, policy) for key in shown), key=_order)
    mine = views[: len(snapshot.secrets)]
    notes = [note for view in sorted(mine, key=lambda view: view.entry.name) for note in _notes(snapshot, view, now)]
    return Inventory(snapshot.account, tuple(rows), tuple(notes), len(snapshot.keys) - len(shown), snapshot.complete)


_Role = tuple[KeyKind, str, datetime | None]


def _roles(snapshot: AccountSnapshot, views: list[View]) -> dict[str, list[_Role]]:
    """Return, by key id, the key's role in each secret that contains it."""
    roles: dict[str, list[_Role]] = defaultdict(list)
    for view in views:
        name, life = view.entry.name, view.life
        resolution = current_resolution(snapshot, view.entry)
        current = life.at_work | (resolution.holds if resolution else frozenset())
        if view.key_id is not None:
            current |= {view.key_id}
        if view.mislabelled is not None:
            current |= {view.mislabelled}
        for key_id in sorted(current):
            roles[key_id].append((KeyKind.CURRENT, name, None))
        if life.pending_key is not None:
            roles[life.pending_key].append((KeyKind.PENDING, name, None))
        for item in life.retiring:
            roles[item.key_id].append((KeyKind.RETIRING, name, item.revoke_at))
        for _, key_id in life.superseded:
            roles[key_id].append((KeyKind.RETIRING, name, None))
    return roles


def _row(key: Key, roles: dict[str, list[_Role]], views: list[View], policy: Policy) -> KeyRow:
    held = roles.get(key.id, [])
    if held:
        kind = min((role[0] for role in held), key=list(KeyKind).index)
        secrets = tuple(dict.fromkeys(name for role, name, _ in held if role is kind))
        ends = [at for role, _, at in held if role is kind and at is not None]
        if kind is KeyKind.RETIRING and not key.enabled:  # disabled early, in an emergency or at Infobip
            return KeyRow(key, kind, secrets, None, "already disabled; the next sweep removes its labels")
        detail = "stored in several secrets; give each its own key" if len(secrets) > 1 else ""
        return KeyRow(key, kind, secrets, max(ends, default=None), detail)
    name = parse_key_name(key.name)
    if not key.enabled:
        return KeyRow(key, KeyKind.DISABLED, () if name is None else (name.secret,))
    if name is None:
        return KeyRow(key, KeyKind.UNKNOWN, ())
    if name.deployment != policy.deployment:
        return KeyRow(key, KeyKind.OTHER_DEPLOYMENT, (name.secret,), detail=f"belongs to deployment {name.deployment}")
    owners = [view.entry for view in views if name.is_for(view.entry.name, view.entry.arn)]
    if not owners:
        detail = "named after a secret with an unknown ARN, so it may be in use"
    elif any(name.version_id in entry.versions for entry in owners):
        detail = "has the name of an existing version; it was re-enabled or its labels were removed"
    else:
        detail = "created but never stored"
    return KeyRow(key, KeyKind.ORPHAN, (name.secret,), detail=detail)


def _notes(snapshot: AccountSnapshot, view: View, now: datetime) -> list[SecretRow]:
    entry, life = view.entry, view.life
    if entry.deleted_at is not None or life.current_version is None:
        return []
    read, notes = entry.last_accessed, []
    if view.key_id is None:
        detail = view.unresolved or "its key has not been identified yet"
        notes.append(SecretRow(entry.name, SecretKind.UNKNOWN_KEY, detail, None, read))
    elif view.key is None and life.current_key is not None and snapshot.complete:
        detail = "Infobip does not list the key that its label names"
        notes.append(SecretRow(entry.name, SecretKind.KEY_MISSING, detail, view.key_id, read))
    if read is not None and now - read > UNUSED:
        detail = f"not read for {human_duration(now - read)}"
        notes.append(SecretRow(entry.name, SecretKind.UNUSED, detail, view.key_id, read))
    return notes


def _order(row: KeyRow) -> tuple[int, tuple[str, ...], str]:
    return list(KeyKind).index(row.kind), row.secrets, row.key.id
