"""``rotator adopt``: take existing keys and secrets under management."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

import click
from rich.console import RenderableType

from rotator.cli.call import Call
from rotator.cli.documents import Document, fields
from rotator.cli.options import command
from rotator.cli.rotate import show_results
from rotator.engine.adopt_all import Adoptions, adopt_all
from rotator.engine.manual import adopt as adopt_one
from rotator.engine.reconcile import Reconciler
from rotator.errors import ConfigurationError
from rotator.render import Grid, Row, counted, key_words, shown, styled
from rotator.text import printable

_STYLES: Final = {"adopted": "green", "would-adopt": "cyan", "failed": "red"}


@command
@click.argument("secret", required=False)
@click.option("--key-id", metavar="K", help="The key, if Infobip can't identify it by the value.")
@click.option("--all", "every", is_flag=True, help="Every tagged secret that is not under management yet.")
@click.option("--account", metavar="A", help="With --all: only this Infobip account's.")
@click.option("--dry-run", is_flag=True, help="With --all: only show what would be done.")
def adopt(call: Call, secret: str | None, key_id: str | None, every: bool, account: str | None, dry_run: bool) -> int:
    """Take SECRET (name or ARN) and the key in it under management.

    Asks Infobip which key the value belongs to, and records its id as a
    staging label on the version. The value stays as it is. SECRET needs the
    tags rotator:role=key and rotator:account. A sweep does the same by
    itself if Infobip can identify the key by its value.

    With --all every tagged secret is adopted; each one that could not be is
    listed with the reason and what to do, and the exit code is 1.

    \b
    Examples:
      rotator adopt prod/sms/otp
      rotator adopt prod/sms/otp --key-id 5737...48AE
      rotator adopt --all --dry-run
    """
    _check(secret, key_id, account, every=every, dry_run=dry_run)
    app = call.open()
    reconciler = Reconciler(app.services)
    if secret is not None:
        result = adopt_one(reconciler, secret, key_id)
        return show_results(
            call, (result,), f"What comes next, and when: `rotator status --secret {printable(secret)}`."
        )
    # ROTATOR_DRY_RUN applies here too, since a sweep would do the same.
    dry = dry_run or app.settings.dry_run
    done = adopt_all(reconciler, account=account, dry_run=dry)
    call.result(adoptions_document(done, dry_run=dry), adoption_parts(done, dry_run=dry))
    return 0 if done.ok else 1


def adoptions_document(done: Adoptions, *, dry_run: bool) -> Document:
    """``adopt --all --json``; ``errors`` names accounts that could not be observed."""
    return {
        "dry_run": dry_run,
        "managed_before": done.managed,
        "adoptions": [
            fields(each, "account", "secret", "outcome", "key_id") | {"detail": each.detail or None}
            for each in done.adoptions
        ],
        "errors": [{"account": account, "error": error} for account, error in done.errors],
    }


def adoption_parts(done: Adoptions, *, dry_run: bool) -> Iterator[RenderableType]:
    """Yield one line per secret, each account that could not be observed, and the totals."""
    rows: list[Row] = [
        (
            styled(str(each.outcome), _STYLES.get(str(each.outcome), "")),
            shown(each.secret),
            shown(each.detail) if each.detail else key_words(each.key_id),
        )
        for each in done.adoptions
    ]
    rows += [(styled("failed", "red"), f"account {shown(account, 60)}", shown(error)) for account, error in done.errors]
    if rows:
        yield from (Grid(rows, (11, 30)), "")
    counts = Counter(str(each.outcome) for each in done.adoptions)
    parts = [f"{counts['would-adopt']} would be adopted" if dry_run else f"{counts['adopted']} adopted"]
    parts += [f"{counts['failed']} failed"] if counts["failed"] else []
    parts += [f"{counts['skipped']} skipped"] if counts["skipped"] else []
    parts += [f"{counted(len(done.errors), 'account')} not observed"] if done.errors else []
    yield f"{', '.join(parts)}; {counted(done.managed, 'secret')} under management already."
    if dry_run:
        yield "Nothing was changed."
    yield "What comes next: `rotator plan`." if done.ok else "Fix what failed and try again; `rotator doctor` helps."


def _check(secret: str | None, key_id: str | None, account: str | None, *, every: bool, dry_run: bool) -> None:
    if every and (secret is not None or key_id is not None):
        raise ConfigurationError("--all excludes SECRET and --key-id", advice="Give one of the two.")
    if not every and secret is None:
        raise ConfigurationError("nothing says which secret is meant", advice="Name one, or give --all.")
    if not every and (account is not None or dry_run):
        raise ConfigurationError(
            f"{'--account' if account is not None else '--dry-run'} needs --all", advice="Leave it out, or give --all."
        )
