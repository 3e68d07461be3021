"""``rotator run``: one sweep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import click
from rich.console import RenderableType

from rotator.cli.call import INTERRUPTED, Call
from rotator.cli.documents import SweepDocument, sweep_document
from rotator.cli.options import account_option, command, secret_option
from rotator.cli.plan_text import (
    APPLY,
    RESULT_LIMITS,
    SEE_DOCTOR,
    account_parts,
    needs_doctor,
    plan_parts,
    result_row,
    summary,
    unobserved,
)
from rotator.engine.reconcile import Reconciler
from rotator.engine.sweep import FirstExpiry, Sweep
from rotator.plan import Outcome
from rotator.render import counted, shown, when

_RETRIES: Final = "The next sweep retries."
_ORDER: Final = (Outcome.FAILED, Outcome.DEFERRED, Outcome.DONE)


@command(SweepDocument)
@account_option
@secret_option
@click.option("--force", is_flag=True, help="Lift the limit on revocations per sweep.")
@click.option("--dry-run", is_flag=True, help="Plan and report; change nothing.")
def run(call: Call, account: str | None, secret: str | None, force: bool, dry_run: bool) -> int:
    """Run one sweep: rotate what is due, revoke keys whose grace period is over.

    Secrets are processed one by one, most urgent first; a failure never stops
    the others. The next sweep finishes whatever was interrupted or failed, so
    run it as often as you like (hourly is usual).

    Exits 1 if an action failed, an account could not be swept, or it has an
    error that affects the whole account. Errors in single secrets are listed;
    exit 0.

    \b
    Examples:
      rotator run --dry-run
      rotator run --account main --audit-file /var/log/rotator/audit.jsonl
    """
    call.interrupted = INTERRUPTED
    app = call.open(unattended=True)
    dry = dry_run or app.settings.dry_run
    done = Reconciler(app.services).sweep(
        account=account, secret=secret, force=force, dry_run=dry, expiries=not (call.json or dry)
    )
    dry_parts = plan_parts(done.plan, "Dry run: nothing was changed.", APPLY)
    # If the audit file failed half-way, the sweep may have changed something before.
    unchanged = "" if call.audit_file is not None else "Nothing was changed. "
    call.result(sweep_document(done.plan, done.results), dry_parts if dry else _parts(done, unchanged, app.clock.now()))
    return 0 if done.succeeded else 1


def _parts(done: Sweep, unchanged: str, now: datetime) -> Iterator[RenderableType]:
    for plan in done.plan.accounts:
        if plan.error is not None:
            yield from unobserved(plan, "not swept", unchanged + _until(done.expiries.get(plan.account), now))
            continue
        mine = [result for result in done.results if result.action.account == plan.account]
        rows = [result_row(result) for outcome in _ORDER for result in mine if result.outcome is outcome]
        yield from account_parts(plan, rows, RESULT_LIMITS, "nothing was due")
    outcomes = Counter(result.outcome for result in done.results)
    counts = [f"{outcomes[outcome]} {outcome}" for outcome in Outcome if outcomes[outcome]]
    yield summary(done.plan.accounts, counts, "Nothing was due", "were not swept")
    if needs_doctor(done.plan.accounts):
        yield SEE_DOCTOR
    elif outcomes[Outcome.FAILED] or outcomes[Outcome.DEFERRED]:
        yield f"{_RETRIES} Current state: `rotator status`."
    elif not done.ok:
        yield "Fix the errors above, then run `rotator plan`."
    else:
        yield "Next actions and times: `rotator status`."


def _until(expiry: FirstExpiry | None, now: datetime) -> str:
    """Return before when no key expires, and what comes next."""
    if expiry is None:
        return _RETRIES
    if expiry.at <= now:
        expired = f"The key of {shown(expiry.secret)} expired {when(expiry.at, now)}"
        return f"{expired}, according to its secret's value. {_RETRIES}"
    found = "According to the secrets' values, no key expires before"
    if expiry.recorded < expiry.secrets:
        found = f"{expiry.recorded} of {counted(expiry.secrets, 'secret')} record a key expiry, none before"
    return f"{found} {when(expiry.at, now)}; the next sweep retries."
