"""``rotator run``: one sweep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import click

from rotator.cli.options import Options, common_options, pass_options
from rotator.cli.output import Output
from rotator.cli.session import opened
from rotator.model import AccountPlan, Outcome, Result

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rotator.bootstrap import App
    from rotator.engine.sweep import Sweep

_READ_FIRST: Final = (Outcome.FAILED, Outcome.DEFERRED, Outcome.DONE)


@click.command(short_help="Do one sweep: rotate and revoke what is due.")
@click.option("--account", metavar="A", help="Only this Infobip account.")
@click.option("--secret", metavar="S", help="Only this secret (name or ARN).")
@click.option("--force", is_flag=True, help="Lift the guard against revoking many keys at once.")
@click.option("--dry-run", is_flag=True, help="Plan and report, change nothing.")
@common_options
@pass_options
def run(options: Options, account: str | None, secret: str | None, force: bool, dry_run: bool) -> int:
    """Do one sweep: rotate what is due, revoke what is past its grace.

    Each secret is done by itself, the most urgent first: one failure never
    stops the others. Whatever is interrupted or fails is found and finished
    by the next sweep, so run it as often as you like (hourly is usual).

    Exits 1 where an action failed, or an account could not be swept or has an
    error as a whole. What is to be fixed in single secrets is listed, exit 0.

    \b
    Examples:
      rotator run --dry-run
      rotator run
      rotator run --account main --audit-file /var/log/rotator/audit.jsonl
      rotator run --secret prod/sms/otp --json
    """
    from rotator.cli.documents import sweep_document
    from rotator.cli.unreached import AGAIN
    from rotator.engine.reconcile import Reconciler

    output = Output(options)
    with opened(options) as app:
        dry = dry_run or app.settings.dry_run
        done = Reconciler(app.services).sweep(account=account, secret=secret, force=force, dry_run=dry)
        if output.is_json:
            output.document(sweep_document(done.plan, done.results))
        elif dry:
            _show_dry(output, done)
        else:
            left = _left(app, done)
            for plan in done.plan.accounts:
                mine = [result for result in done.results if result.action.account == plan.account]
                nothing = "" if options.audit_file is not None else "Nothing was changed. "
                # An audit file that fails half-way ends a sweep too, and then something may have been changed before.
                output.text(*_account_parts(plan, mine, nothing + left.get(plan.account, AGAIN)))
            output.text(*_summary(done))
        return 0 if done.succeeded else 1


def _show_dry(output: Output, done: Sweep) -> None:
    from rotator.cli.plan_text import plan_parts, plan_summary

    for plan in done.plan.accounts:
        output.text(*plan_parts(plan, done.plan.generated_at))
    output.text(plan_summary(done.plan.accounts), "A dry run: nothing was changed. `rotator run` does this.")


def _left(app: App, done: Sweep) -> Mapping[str, str]:
    """What is to be said of accounts that could not be swept."""
    from rotator.cli.unreached import what_is_left
    from rotator.engine.sweep import NO_ACCOUNT

    broken = [plan.account for plan in done.plan.accounts if plan.error is not None and plan.account != NO_ACCOUNT]
    return what_is_left(app.services.store, broken, app.clock.now()) if broken else {}


def _account_parts(plan: AccountPlan, results: Sequence[Result], then: str) -> Iterator[RenderableType]:
    from rotator.cli.plan_text import bounded, heading, result_row, skipped_rows, unobserved
    from rotator.engine.sweep import NO_ACCOUNT
    from rotator.render import styled

    yield styled(heading(plan), "bold")
    if plan.error is not None:
        yield from unobserved(plan, "not swept", then)
        return
    if results:
        yield ""
        order = sorted(results, key=lambda result: _READ_FIRST.index(result.outcome))
        yield from bounded([result_row(result) for result in order], (8, 7, 30))
    elif plan.account != NO_ACCOUNT:
        yield "  nothing was due"
    yield from skipped_rows(plan)
    yield ""


def _summary(done: Sweep) -> Iterator[str]:
    from rotator.cli.plan_text import nothing_of, to_fix

    plans = done.plan.accounts
    if not plans:
        yield "No secret is tagged rotator:role here. Check region and account: `rotator doctor`."
        return
    outcomes = Counter(result.outcome for result in done.results)
    parts = [f"{outcomes[outcome]} {outcome}" for outcome in Outcome if outcomes[outcome]]
    parts = parts or nothing_of(plans, "Nothing was due")
    yield ", ".join(parts + to_fix(plans, "swept")) + "."
    if any(plan.error is not None for plan in plans):
        yield "What is wrong and how to fix it: `rotator doctor`."
    elif outcomes[Outcome.FAILED] or outcomes[Outcome.DEFERRED]:
        yield "The next sweep goes on with it. How it looks now: `rotator status`."
    elif not done.ok:
        yield "Fix what is listed above. What a sweep would do then: `rotator plan`."
    else:
        yield "What comes next, and when: `rotator status`."
