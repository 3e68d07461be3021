"""``rotator report``: an HTML report of all secrets."""

from __future__ import annotations

from pathlib import Path
from typing import NotRequired, TypedDict

import click

from rotator.cli.call import Call
from rotator.cli.documents import AccountError, errors_field
from rotator.cli.options import account_option, command, days_option
from rotator.engine.reconcile import Reconciler
from rotator.errors import ConfigurationError
from rotator.render import counted, shown
from rotator.report.files import check_target, read_tail, write_page
from rotator.report.gather import AccountReport, Report, gather_account
from rotator.report.page import render_page

_STDOUT = "-"


class ReportDocument(TypedDict):
    """``report``: the file that was written."""

    file: str
    bytes: int
    accounts: int
    secrets: int
    errors: NotRequired[list[AccountError]]


@command(ReportDocument)
@click.option("-o", "--output", "file", metavar="FILE", required=True, help="File to write; - for stdout.")
@account_option
@click.option("--audit", metavar="FILE", help="Also show the last 200 lines of this audit file.")
@days_option
def report(call: Call, file: str, account: str | None, audit: str | None, days: int) -> int:
    """Write a self-contained HTML page: summary, alerts, forecast, timeline.

    The page loads nothing, runs no script and contains no key values. Only its
    owner can read a new file; an existing one keeps its permissions. Changes
    nothing else.

    Exits 1 if an account can't be read; the page says so.

    \b
    Examples:
      rotator report -o report.html --audit audit.jsonl --days 180
      rotator report -o - --account main > main.html
    """
    if file == _STDOUT and call.json:
        raise ConfigurationError("-o - and --json cannot be used together", advice="Use a file, or remove --json.")
    target = None if file == _STDOUT else check_target(Path(file))
    lines, skipped = (None, 0) if audit is None else read_tail(Path(audit))
    app = call.open()
    now, policy = app.clock.now(), app.services.policy
    snapshots, plans = Reconciler(app.services).snapshots(account=account, disabled_keys=True)
    found = [gather_account(snapshot, policy, now, days=days) for snapshot in snapshots]
    found += [AccountReport(plan) for plan in plans]
    broken = [each.plan for each in found if each.plan.error is not None]
    page = render_page(Report(now, policy.deployment, tuple(found), lines, skipped), app.redactor.redact_own)
    if target is None:
        call.write(page)
        return 1 if broken else 0
    size, secrets = write_page(target, page), sum(len(each.rows) for each in found)
    document = {"file": str(target), "bytes": size, "accounts": len(found), "secrets": secrets}
    parts = [f"{shown(plan.account, 60)} could not be read: {shown(plan.error or '')}" for plan in broken]
    what = f"{counted(secrets, 'secret')}, {size // 1024 + 1} kB"
    parts.append(f"Wrote {shown(str(target))}: {what}. Open it in a browser.")
    call.result(document | errors_field(broken), parts)
    return 1 if broken else 0
