"""``rotator inventory``: every key of an account, and whose it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

import click

from rotator.cli.failure import Failure
from rotator.cli.options import Options, common_options, pass_options
from rotator.cli.output import Output
from rotator.cli.session import opened
from rotator.errors import ConfigurationError
from rotator.policy.status import Inventory, KeyKind, KeyRow

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

MOST_KEYS: Final = 60
_STYLES: Final = {
    KeyKind.CURRENT: "green",
    KeyKind.ORPHAN: "yellow",
    KeyKind.OTHER_DEPLOYMENT: "cyan",
    KeyKind.UNKNOWN: "yellow",
}


@click.command(short_help="List every key and whose it is.")
@click.option("--account", metavar="A", help="Only this Infobip account.")
@click.option("--all", "every", is_flag=True, help="Disabled keys as well.")
@click.option("--csv", "as_csv", is_flag=True, help="For a spreadsheet, on stdout.")
@common_options
@pass_options
def inventory(options: Options, account: str | None, every: bool, as_csv: bool) -> int:
    """List every key at Infobip and whose it is; nothing is changed.

    \b
    current           what a managed secret's consumers get
    pending           stored, not yet current
    retiring          replaced, in its grace
    orphan            named by this deployment, held by no secret
    other-deployment  named by another deployment of the rotator
    unknown           nobody's here: made by hand, or another program's

    Also the secrets whose key nobody can tell, and those that nobody has
    read for 90 days, where AWS tells that. Exits 1 where an account can't
    be observed.

    \b
    Examples:
      rotator inventory
      rotator inventory --account main --all --csv > keys.csv
      rotator inventory --json | jq '.accounts[].keys[] |
          select(.kind == "unknown")'
    """
    if as_csv and options.json:
        raise ConfigurationError("--csv and --json exclude each other", advice="Give one of the two.")
    from rotator.cli.inventory_files import inventory_csv, inventory_document
    from rotator.cli.plan_text import unobserved
    from rotator.engine.reconcile import Reconciler
    from rotator.policy.status import take_inventory
    from rotator.render import shown, styled

    output = Output(options)
    with opened(options) as app:
        now = app.clock.now()
        snapshots, plans = Reconciler(app.services).snapshots(account=account, history=True)
        found = [take_inventory(snapshot, app.services.policy, now, disabled=every) for snapshot in snapshots]
        broken = [plan for plan in plans if plan.error is not None]
        if options.json:
            output.document(inventory_document(found, broken, now))
        elif as_csv:
            output.write(inventory_csv(found, app.redactor.redact))
        else:
            for each in found:
                output.text(*_parts(each, now))
            for plan in broken:
                output.text(styled(shown(plan.account, 60), "bold"), *unobserved(plan))
            output.text(_next(found, failed=bool(broken)))
        if as_csv and broken:
            said = "; ".join(f"account {shown(plan.account, 60)}: {plan.error}" for plan in broken)
            raise Failure(app.redactor.redact(f"the list is not complete: {said}"), "`rotator doctor` looks closer.")
        return 1 if broken else 0


def _parts(found: Inventory, now: datetime) -> Iterator[RenderableType]:
    from rotator.render import Grid, counted, shown, styled, zone

    counts = Counter(row.kind for row in found.keys)
    kinds = ", ".join(f"{counts[kind]} {kind}" for kind in KeyKind if counts[kind])
    hidden = f"; {found.hidden} disabled not shown (--all)" if found.hidden else ""
    total = f"{shown(found.account, 60)} · {counted(len(found.keys), 'key')}"
    yield styled(f"{total}: {kinds}{hidden}" if kinds else f"{total}{hidden}", "bold")
    if not found.complete:
        yield styled("Infobip's pages of keys did not add up: there may be more keys.", "yellow")
    yield ""
    if found.keys:
        rows = [_row(row, now) for row in found.keys[:MOST_KEYS]]
        yield Grid(rows, (9, 16, 21), heads=("key", "kind", f"ends ({zone(now)})", "secret"))
        if len(found.keys) > MOST_KEYS:
            yield f"  … and {len(found.keys) - MOST_KEYS} more; --csv and --json have them all"
        yield ""
    if found.secrets:
        yield "secrets to look at"
        yield Grid([(shown(note.secret), _short(note.kind), shown(note.detail)) for note in found.secrets], (24, 12))
        yield ""


def _row(row: KeyRow, now: datetime) -> Sequence[str | Text]:
    from rotator.render import brief, short_id, shown, styled

    ends = brief(row.key.valid_to, now) if row.key.enabled else "disabled"
    words = [", ".join(shown(name, 120) for name in row.secrets)] if row.secrets else []
    if row.kind is KeyKind.UNKNOWN:
        words.append(f'named "{shown(row.key.name, 60)}"')
    if row.kind is KeyKind.RETIRING and row.key.enabled:
        due = row.revoke_at is not None and row.revoke_at <= now
        until = "its revocation is due" if due else f"revoked {brief(row.revoke_at, now)}"
        words.append("the next sweep says until when" if row.revoke_at is None else until)
    if row.detail:
        words.append(shown(row.detail))
    return short_id(row.key.id), styled(str(row.kind), _STYLES.get(row.kind, "")), ends, "; ".join(words)


def _short(kind: str) -> str:
    return str(kind).removeprefix("secret-")


def _next(found: Sequence[Inventory], *, failed: bool) -> str:
    if failed:
        return "What is wrong and how to fix it: `rotator doctor`."
    if any(row.kind is KeyKind.UNKNOWN for each in found for row in each.keys):
        return "An unknown key whose secret is tagged comes under management by `rotator adopt`."
    return "What the next sweep does: `rotator plan`."
