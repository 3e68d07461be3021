"""``rotator run``: one sweep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

import click
from rich.console import RenderableType

from rotator.bootstrap import App
from rotator.cli.call import Call
from rotator.cli.documents import sweep_document
from rotator.cli.options import account_option, command, secret_option
from rotator.cli.plan_text import RESULT_LIMITS, SEE_DOCTOR, account_parts, plan_parts, result_row, summary, unobserved
from rotator.engine.observe import observe_fleet
from rotator.engine.reconcile import Reconciler
from rotator.engine.sweep import NO_ACCOUNT, Sweep
from rotator.errors import RotatorError
from rotator.model import Outcome, SecretEntry
from rotator.policy.values import recorded_end
from rotator.ports import SecretStore
from rotator.render import counted, shown, when
from rotator.secret import Secret

MOST_VALUES_READ: Final = 500
"""Per account; the expiries of further ones count as unknown."""
_TRIES_AGAIN: Final = "The next sweep retries."
_ORDER: Final = (Outcome.FAILED, Outcome.DEFERRED, Outcome.DONE)


@command
@account_option
@secret_option
@click.option("--force", is_flag=True, help="Lift the limit on revocations per sweep.")
@click.option("--dry-run", is_flag=True, help="Plan and report; change nothing.")
def run(call: Call, account: str | None, secret: str | None, force: bool, dry_run: bool) -> int:
    """Run one sweep: rotate what is due, revoke keys whose grace period is over.

    Secrets are processed one by one, most urgent first; a failure never
    stops the others. The next sweep finds and finishes whatever was
    interrupted or failed, so run it as often as you like (hourly is usual).

    Exits 1 if an action failed, an account could not be swept, or it has an
    error that affects the whole account. Errors in single secrets are listed;
    exit 0.

    \b
    Examples:
      rotator run --dry-run
      rotator run
      rotator run --account main --audit-file /var/log/rotator/audit.jsonl
      rotator run --secret prod/sms/otp --json
    """
    app = call.open()
    dry = dry_run or app.settings.dry_run
    done = Reconciler(app.services).sweep(account=account, secret=secret, force=force, dry_run=dry)
    dry_parts = plan_parts(done.plan, "Dry run: nothing was changed. To apply: `rotator run`.")
    # If the audit file failed half-way, the sweep may have changed something before.
    unchanged = "" if call.audit_file is not None else "Nothing was changed. "
    call.result(sweep_document(done.plan, done.results), dry_parts if dry else _parts(app, done, unchanged))
    return 0 if done.succeeded else 1


def _parts(app: App, done: Sweep, unchanged: str) -> Iterator[RenderableType]:
    until = _until(app, done)
    for plan in done.plan.accounts:
        if plan.error is not None:
            yield from unobserved(plan, "not swept", unchanged + until.get(plan.account, _TRIES_AGAIN))
            continue
        mine = [result for result in done.results if result.action.account == plan.account]
        rows = [result_row(result) for outcome in _ORDER for result in mine if result.outcome is outcome]
        yield from account_parts(plan, rows, RESULT_LIMITS, "nothing was due")
    outcomes = Counter(result.outcome for result in done.results)
    counts = [f"{outcomes[outcome]} {outcome}" for outcome in Outcome if outcomes[outcome]]
    yield summary(done.plan.accounts, counts, "Nothing was due", "were not swept")
    if any(plan.error is not None for plan in done.plan.accounts):
        yield SEE_DOCTOR
    elif outcomes[Outcome.FAILED] or outcomes[Outcome.DEFERRED]:
        yield "The next sweep retries. Current state: `rotator status`."
    elif not done.ok:
        yield "Fix the errors above, then run `rotator plan`."
    elif done.plan.accounts:
        yield "Next actions and times: `rotator status`."


# ---- how long an account may stay unswept, by the values in its secrets ---------------------------------------------


def _until(app: App, done: Sweep) -> Mapping[str, str]:
    """Return a sentence per account that could not be swept: before when no key expires, and what comes next.

    Never raises.
    """
    broken = [plan.account for plan in done.plan.accounts if plan.error is not None and plan.account != NO_ACCOUNT]
    store = app.services.store
    try:
        managed = observe_fleet(store).managed if broken else {}
        return {account: _first_expiry(store, managed.get(account, ()), app.clock.now()) for account in broken}
    except RotatorError:
        return {}


def _first_expiry(store: SecretStore, entries: Iterable[SecretEntry], now: datetime) -> str:
    present = [entry for entry in entries if entry.deleted_at is None]
    values = store.read_many([entry.arn for entry in present[:MOST_VALUES_READ]])
    texts = [(entry.name, text) for entry in present if isinstance(text := values.get(entry.arn), Secret)]
    known = sorted((at, name) for name, text in texts if (at := recorded_end(text)) is not None)
    if not known:
        return _TRIES_AGAIN
    first, name = known[0]
    if first <= now:
        return f"The key of {shown(name)} expired {when(first, now)}, according to its secret's value. {_TRIES_AGAIN}"
    found = "According to the secrets' values, no key expires before"
    if len(known) < len(present):
        found = f"{len(known)} of {counted(len(present), 'secret')} record a key expiry, none before"
    return f"{found} {when(first, now)}; the next sweep retries."
