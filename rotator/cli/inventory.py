"""``rotator inventory``: every key of an account, and the secret that holds it."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import click
from rich.console import RenderableType

from rotator.cli.call import Call
from rotator.cli.documents import Document, errors_of, fields, time_text
from rotator.cli.options import account_option, command, wide_option
from rotator.cli.plan import MOST_ROWS, SEE_DOCTOR, unobserved
from rotator.engine.reconcile import Reconciler
from rotator.errors import ConfigurationError, RotatorError
from rotator.model import AccountPlan
from rotator.policy.status import Inventory, KeyKind, KeyRow, take_inventory
from rotator.redaction.patterns import redact_key_values, redact_patterns
from rotator.render import Grid, Row, brief, counted, short_id, shown, styled, zone
from rotator.text import printable

COLUMNS: Final = (
    "account",
    "kind",
    "key_id",
    "key_name",
    "secret",
    "enabled",
    "valid_from",
    "expires_at",
    "revoke_at",
    "last_accessed",
    "detail",
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 - full width ones act too
_LONGEST_ID: Final = 36
_LONGEST_CELL: Final = 2_000
_STYLES: Final = {
    KeyKind.CURRENT: "green",
    KeyKind.ORPHAN: "yellow",
    KeyKind.OTHER_DEPLOYMENT: "cyan",
    KeyKind.UNKNOWN: "yellow",
}


@command
@account_option
@click.option("--all", "every", is_flag=True, help="Include disabled keys.")
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV to stdout, for a spreadsheet.")
@wide_option
def inventory(call: Call, account: str | None, every: bool, as_csv: bool) -> int:
    """List every key at Infobip and the secret that holds it. Changes nothing.

    \b
    current           what a managed secret's consumers get
    pending           stored, not yet current
    retiring          replaced, in its grace period
    orphan            created by this deployment, in no secret
    other-deployment  created by another deployment of the rotator
    unknown           created by hand or by another program
    disabled          revoked or replaced, in no secret (with --all)

    Also lists the secrets whose key can't be identified, and those that were
    not read for 90 days, if AWS records that. Exits 1 if an account can't be
    observed.

    \b
    Examples:
      rotator inventory
      rotator inventory --account main --all --csv > keys.csv
      rotator inventory --json | jq '.accounts[].keys[] |
          select(.kind == "unknown")'
    """
    if as_csv and call.json:
        raise ConfigurationError("--csv and --json exclude each other", advice="Give one of the two.")
    app = call.open()
    now = app.clock.now()
    snapshots, plans = Reconciler(app.services).snapshots(account=account, history=True)
    found = [take_inventory(snapshot, app.services.policy, now, disabled=every) for snapshot in snapshots]
    broken = [plan for plan in plans if plan.error is not None]
    document = inventory_document(found, broken, now)
    if not as_csv:
        call.result(document, _parts(found, broken, now))
        return 1 if broken else 0
    call.write(inventory_csv(document, app.redactor.redact))
    if broken:
        errors = "; ".join(f"account {shown(plan.account, 60)}: {plan.error}" for plan in broken)
        raise RotatorError(f"the list is not complete: {errors}", advice=SEE_DOCTOR)
    return 0


def _parts(found: Sequence[Inventory], broken: Sequence[AccountPlan], now: datetime) -> Iterator[RenderableType]:
    for each in found:
        yield from _account_parts(each, now)
    for plan in broken:
        yield from unobserved(plan)
    if broken:
        yield SEE_DOCTOR
    elif any(row.kind is KeyKind.UNKNOWN for each in found for row in each.keys):
        yield "To take an unknown key under management, tag its secret and run `rotator adopt`."
    else:
        yield "What the next sweep does: `rotator plan`."


def _account_parts(found: Inventory, now: datetime) -> Iterator[RenderableType]:
    counts = Counter(row.kind for row in found.keys)
    kinds = ", ".join(f"{counts[kind]} {kind}" for kind in KeyKind if counts[kind])
    hidden = f"; {found.hidden} disabled not shown (--all)" if found.hidden else ""
    total = f"{shown(found.account, 60)} · {counted(len(found.keys), 'key')}"
    yield styled(f"{total}: {kinds}{hidden}" if kinds else f"{total}{hidden}", "bold")
    if not found.complete:
        yield styled("Infobip's pages of keys did not add up: there may be more keys.", "yellow")
    yield ""
    if found.keys:
        heads = ("key", "kind", f"expires ({zone(now)})", "secret")
        rows = [_row(row, now) for row in found.keys]
        yield Grid(rows, (_LONGEST_ID, 16, 21), heads, most=MOST_ROWS, rest="--csv and --json have them all")
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
    return short_id(row.key.id), styled(str(row.kind), _STYLES.get(row.kind, "")), expires, "; ".join(words)


# ---- for programs and spreadsheets ----------------------------------------------------------------------------------


def inventory_document(found: Sequence[Inventory], broken: Sequence[AccountPlan], now: datetime) -> Document:
    """``inventory --json``; ``errors`` names accounts that could not be observed."""
    return {
        "generated_at": time_text(now),
        "accounts": [
            {
                **fields(each, "account", "complete"),
                "disabled_not_shown": each.hidden,
                "keys": [_key(row) for row in each.keys],
                "secrets": [fields(row, "secret", "kind", "key_id", "last_accessed", "detail") for row in each.secrets],
            }
            for each in found
        ],
        "errors": errors_of(broken).get("errors", []),
    }


def _key(row: KeyRow) -> Document:
    return {
        "key_id": row.key.id,
        "name": row.key.name,
        **fields(row, "kind", "secrets"),
        **fields(row.key, "enabled", "valid_from"),
        "expires_at": time_text(row.key.valid_to),
        "revoke_at": time_text(row.revoke_at),
        "detail": row.detail or None,
    }


def inventory_csv(document: Document, redact: Callable[[str], str]) -> str:
    """Return ``inventory --csv`` (RFC 4180, all cells quoted): a line per key, then a line per secret to check.

    A cell that a spreadsheet would take for a formula gets an apostrophe in front.

    :param redact: redacts details; names and ids stay as they are.
    """
    own = {"detail": redact, "key_name": redact_patterns}  # text that is neither one of our names nor an id
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    for account in document["accounts"]:
        keys = [key | {"key_name": key["name"], "secret": " ".join(key["secrets"])} for key in account["keys"]]
        for cells in (*keys, *account["secrets"]):
            named = cells | {"account": account["account"]}
            writer.writerow([_safe(named.get(column), own.get(column, redact_key_values)) for column in COLUMNS])
    return buffer.getvalue()


def _safe(value: Any, redact: Callable[[str], str]) -> str:
    """Return a cell's text, made safe for terminals and spreadsheets."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = redact(str(value))
    shown = printable(text, _LONGEST_CELL)
    return f"'{shown}" if text.lstrip(" ").startswith(_FORMULA) else shown
