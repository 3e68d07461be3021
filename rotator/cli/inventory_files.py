"""An inventory for programs and for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from rotator.cli.documents import time_text
from rotator.model import AccountPlan
from rotator.policy.status import Inventory, KeyRow, SecretRow
from rotator.redaction.patterns import redact_key_values, redact_patterns
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
_LONGEST: Final = 2_000


def inventory_document(found: Sequence[Inventory], broken: Sequence[AccountPlan], now: datetime) -> dict[str, Any]:
    """``inventory --json``; ``errors`` names accounts that could not be observed."""
    return {
        "generated_at": time_text(now),
        "accounts": [
            {
                "account": each.account,
                "complete": each.complete,
                "disabled_not_shown": each.hidden,
                "keys": [_key(row) for row in each.keys],
                "secrets": [_secret(row) for row in each.secrets],
            }
            for each in found
        ],
        "errors": [{"account": plan.account, "error": plan.error} for plan in broken],
    }


def inventory_csv(found: Sequence[Inventory], redact: Callable[[str], str]) -> str:
    """``inventory --csv``: a line a key, then a line for each secret to look at, by RFC 4180, each cell in quotes.

    A cell that a spreadsheet would take for a formula gets an apostrophe in front.

    :param redact: takes out of a detail what must not be seen; names and ids stay as they are.
    """
    own = {"detail": redact, "key_name": redact_patterns}  # what is neither a name of ours nor an id
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    for each in found:
        for cells in _lines(each):
            writer.writerow([_safe(cells.get(column), own.get(column, redact_key_values)) for column in COLUMNS])
    return buffer.getvalue()


def _lines(each: Inventory) -> Iterator[dict[str, Any]]:
    for row in each.keys:
        cells = _key(row)
        yield {"account": each.account, **cells, "key_name": cells["name"], "secret": " ".join(row.secrets)}
    for note in each.secrets:
        yield {"account": each.account, **_secret(note)}


def _key(row: KeyRow) -> dict[str, Any]:
    return {
        "key_id": row.key.id,
        "name": row.key.name,
        "kind": str(row.kind),
        "secrets": list(row.secrets),
        "enabled": row.key.enabled,
        "valid_from": time_text(row.key.valid_from),
        "expires_at": time_text(row.key.valid_to),
        "revoke_at": time_text(row.revoke_at),
        "detail": row.detail or None,
    }


def _secret(row: SecretRow) -> dict[str, Any]:
    return {
        "secret": row.secret,
        "kind": str(row.kind),
        "key_id": row.key_id,
        "last_accessed": time_text(row.last_accessed),
        "detail": row.detail,
    }


def _safe(value: Any, redact: Callable[[str], str]) -> str:
    """A cell's text: nothing for a terminal to act upon, and nothing for a spreadsheet to reckon."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = redact(str(value))
    shown = printable(text, _LONGEST)
    return f"'{shown}" if text.lstrip(" ").startswith(_FORMULA) else shown
