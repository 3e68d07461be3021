"""``rotator report``: the fleet as one page."""

from __future__ import annotations

from pathlib import Path

import click

from rotator.cli.documents import Document, errors_of
from rotator.cli.options import Options, common_options, pass_options
from rotator.cli.output import Output
from rotator.cli.session import opened
from rotator.engine.reconcile import Reconciler
from rotator.errors import ConfigurationError
from rotator.render import counted, shown
from rotator.report import AccountReport, Report, gather_account, render
from rotator.report.files import check_target, read_tail, write_page

_STDOUT = "-"


@click.command()
@click.option("-o", "--output", "file", metavar="FILE", required=True, help="The page to write; - is stdout.")
@click.option("--account", metavar="A", help="Only this Infobip account.")
@click.option("--audit", metavar="FILE", help="Show the last 200 lines of this audit file too.")
@click.option(
    "--days", metavar="N", type=click.IntRange(1, 400), default=90, show_default=True, help="Days ahead, 1 to 400."
)
@common_options
@pass_options
def report(options: Options, file: str, account: str | None, audit: str | None, days: int) -> int:
    """Write one self-contained page: summary, alerts, a timeline of every
    secret, the forecast. Changes nothing else.

    The page needs no network, runs no script and holds no key's value. Only
    its owner can read a new file; an existing one is replaced as a whole and
    keeps its permissions.

    Exits 1 if an account can't be observed; the page says so.

    \b
    Examples:
      rotator report -o report.html
      rotator report -o report.html --audit audit.jsonl --days 180
      rotator report -o - --account main > main.html
    """
    if file == _STDOUT and options.json:
        raise ConfigurationError("-o - and --json exclude each other", advice="Give a file, or leave --json out.")
    target = None if file == _STDOUT else check_target(Path(file))
    lines, skipped = (None, 0) if audit is None else read_tail(Path(audit))
    output = Output(options)
    with opened(options) as app:
        now = app.clock.now()
        policy = app.services.policy
        snapshots, plans = Reconciler(app.services).snapshots(account=account, history=True)
        found = [gather_account(snapshot, policy, now, days=days) for snapshot in snapshots]
        found += [AccountReport(plan) for plan in plans]
        broken = [each.plan for each in found if each.plan.error is not None]
        page = render(Report(now, policy.deployment, tuple(found), lines, skipped), app.redactor.redact_own)
        if target is None:
            output.write(page)
            return 1 if broken else 0
        size = write_page(target, page)
        secrets = sum(len(each.rows) for each in found)
        if output.is_json:
            document: Document = {"file": str(target), "bytes": size, "accounts": len(found), "secrets": secrets}
            errors = errors_of(broken)
            output.document(document | ({"errors": errors} if errors else {}))
            return 1 if broken else 0
        for plan in broken:
            output.text(f"{shown(plan.account, 60)} was not observed: {shown(plan.error or '')}")
        what = f"{counted(secrets, 'secret')}, {size // 1024 + 1} kB"
        output.text(f"Wrote {shown(str(target))}: {what}. Open it in a browser.")
        return 1 if broken else 0
