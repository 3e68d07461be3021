"""``rotator inventory``: every key of an account, and the secret that contains it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, TypedDict

import click
from rich.console import RenderableType

from rotator.cli.call import Call
from rotator.cli.documents import AccountError, Document, Time, errors_field, fields, shaped, time_text
from rotator.cli.options import account_option, command, wide_option
from rotator.cli.plan_text import MOST_ROWS, last_parts
from rotator.engine.reconcile import Reconciler
from rotator.plan import AccountPlan
from rotator.policy.key_inventory import Inventory, KeyKind, KeyRow, SecretRow, take_inventory
from rotator.render import Grid, Row, brief, counted, shown, shown_id, styled, zone

_LONGEST_ID: Final = 36
_STYLES: Final = {
    KeyKind.CURRENT: "green",
    KeyKind.ORPHAN: "yellow",
    KeyKind.OTHER_DEPLOYMENT: "cyan",
    KeyKind.UNKNOWN: "yellow",
}


class KeyShape(TypedDict):
    """One key of an account."""

    key_id: str
    name: str
    kind: KeyKind
    secrets: list[str]
    enabled: bool
    valid_from: Time | None
    expires_at: Time | None
    revoke_at: Time | None
    detail: str | None


class AccountInventory(TypedDict):
    """One account; ``complete``: Infobip's list is known to contain every key."""

    account: str
    complete: bool
    disabled_not_shown: int
    keys: list[KeyShape]
    secrets: list[SecretRow]


class InventoryDocument(TypedDict):
    """``inventory``."""

    generated_at: Time
    accounts: list[AccountInventory]
    errors: list[AccountError]


@command(InventoryDocument)
@account_option
@click.option("--all", "every", is_flag=True, help="Include disabled keys.")
@wide_option
def inventory(call: Call, account: str | None, every: bool) -> int:
    """List every key at Infobip and the secret that contains it. Changes nothing.

    \b
    current           returned to consumers of a managed secret
    pending           stored, not yet current
    retiring          replaced, in its grace period
    orphan            created by this deployment, not in any secret
    other-deployment  created by another deployment of the rotator
    unknown           created by hand or by another program
    disabled          revoked or replaced, not in any secret (with --all)

    Also lists the secrets whose key can't be identified, and those that were
    not read for 90 days, if AWS records that. Exits 1 if an account can't be
    read.

    \b
    Examples:
      rotator inventory --account main --all
      rotator inventory --json | jq '.accounts[].keys[] |
          select(.kind == "unknown")'
    """
    app = call.open()
    now = app.clock.now()
    snapshots, broken = Reconciler(app.services).snapshots(account=account, disabled_keys=True)
    found = [take_inventory(snapshot, app.services.policy, now, disabled=every) for snapshot in snapshots]
    call.result(inventory_document(found, broken, now), _parts(found, broken, now))
    return 1 if any(plan.error is not None for plan in broken) else 0


def _parts(found: Sequence[Inventory], broken: Sequence[AccountPlan], now: datetime) -> Iterator[RenderableType]:
    for each in found:
        yield from _account_parts(each, now)
    unknown = any(row.kind is KeyKind.UNKNOWN for each in found for row in each.keys)
    adopt = "To manage an unknown key, tag its secret and run `rotator adopt`."
    yield from last_parts(broken, adopt if unknown else "Next sweep: `rotator plan`.")


def _account_parts(found: Inventory, now: datetime) -> Iterator[RenderableType]:
    counts = Counter(row.kind for row in found.keys)
    kinds = ", ".join(f"{counts[kind]} {kind}" for kind in KeyKind if counts[kind])
    hidden = f"; {found.hidden} disabled not shown (--all)" if found.hidden else ""
    total = f"{shown(found.account, 60)} · {counted(len(found.keys), 'key')}"
    yield styled(f"{total}: {kinds}{hidden}" if kinds else f"{total}{hidden}", "bold")
    if not found.complete:
        yield styled("Infobip's key list is inconsistent: keys may be missing.", "yellow")
    yield ""
    if found.keys:
        heads = ("key", "kind", f"expires ({zone(now)})", "secret")
        rows = [_row(row, now) for row in found.keys]
        yield Grid(rows, (_LONGEST_ID, 16, 21), heads, most=MOST_ROWS, rest="use --json for the full list")
        yield ""
    if found.secrets:
        yield "secrets to check"
        named = [(shown(note.secret), note.kind.removeprefix("secret-"), shown(note.detail)) for note in found.secrets]
        yield Grid(named, (24, 12))
        yield ""


def _row(row: KeyRow, now: datetime) -> Row:
    expires = brief(row.key.valid_to, now) if row.key.enabled else "disabled"
    words = [", ".join(shown(name, 120) for name in row.secrets)] if row.secrets else []
    if row.kind is KeyKind.UNKNOWN:
        words.append(f'named "{shown(row.key.name, 60)}"')
    if row.kind is KeyKind.RETIRING and row.key.enabled:
        due = row.revoke_at is not None and row.revoke_at <= now
        until = "its revocation is due" if due else f"revoked {brief(row.revoke_at, now)}"
        words.append("the next sweep schedules its revocation" if row.revoke_at is None else until)
    if row.detail:
        words.append(shown(row.detail))
    return shown_id(row.key.id), styled(str(row.kind), _STYLES.get(row.kind, "")), expires, "; ".join(words)


# ---- for programs ---------------------------------------------------------------------------------------------------


def inventory_document(found: Sequence[Inventory], broken: Sequence[AccountPlan], now: datetime) -> Document:
    """``inventory --json``; ``errors`` names accounts that could not be observed."""
    accounts = [
        shaped(AccountInventory, each, disabled_not_shown=each.hidden, keys=[_key(row) for row in each.keys])
        for each in found
    ]
    return {"generated_at": time_text(now), "accounts": accounts, "errors": errors_field(broken).get("errors", [])}


def _key(row: KeyRow) -> Document:
    key, detail = row.key, row.detail or None
    more = fields(key, "name", "enabled", "valid_from")
    return shaped(KeyShape, row, key_id=key.id, expires_at=key.valid_to, detail=detail, **more)
