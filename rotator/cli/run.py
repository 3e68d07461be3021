"""``rotator run``: one sweep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Final

import click
from rich.console import RenderableType

from rotator.bootstrap import App
from rotator.cli.documents import sweep_document
from rotator.cli.options import Options, common_options, pass_options
from rotator.cli.output import Output
from rotator.cli.plan import (
    NO_SECRETS,
    SEE_DOCTOR,
    heading,
    nothing_of,
    result_rows,
    show_plan,
    skipped_rows,
    to_fix,
    unobserved,
)
from rotator.cli.session import opened
from rotator.engine.observe import observe_fleet
from rotator.engine.reconcile import Reconciler
from rotator.engine.sweep import NO_ACCOUNT, Sweep
from rotator.errors import RotatorError
from rotator.model import AccountPlan, Outcome, Result, SecretEntry
from rotator.policy.values import recorded_end
from rotator.ports import SecretStore
from rotator.render import counted, shown, when

MOST_SECRETS: Final = 500
"""Of one account; the expiries of others count as unknown."""
_CONCURRENT_READS: Final = 8
_TRIES_AGAIN: Final = "The next sweep tries again."
_ORDER: Final = (Outcome.FAILED, Outcome.DEFERRED, Outcome.DONE)


@click.command()
@click.option("--account", metavar="A", help="Only this Infobip account.")
@click.option("--secret", metavar="S", help="Only this secret (name or ARN).")
@click.option("--force", is_flag=True, help="Override the guard against revoking many keys at once.")
@click.option("--dry-run", is_flag=True, help="Plan and report, change nothing.")
@common_options
@pass_options
def run(options: Options, account: str | None, secret: str | None, force: bool, dry_run: bool) -> int:
    """Run one sweep: rotate what is due, revoke keys whose grace period is over.

    Each secret is handled by itself, the most urgent first: one failure never
    stops the others. The next sweep finds and finishes whatever was
    interrupted or failed, so run it as often as you like (hourly is usual).

    Exits 1 if an action failed, or an account could not be swept or has an
    error as a whole. Errors in single secrets are listed, exit 0.

    \b
    Examples:
      rotator run --dry-run
      rotator run
      rotator run --account main --audit-file /var/log/rotator/audit.jsonl
      rotator run --secret prod/sms/otp --json
    """
    output = Output(options)
    with opened(options) as app:
        dry = dry_run or app.settings.dry_run
        done = Reconciler(app.services).sweep(account=account, secret=secret, force=force, dry_run=dry)
        if output.is_json:
            output.document(sweep_document(done.plan, done.results))
        elif dry:
            show_plan(output, done.plan, "A dry run: nothing was changed. `rotator run` does this.")
        else:
            until = _until(app, done)
            for plan in done.plan.accounts:
                mine = [result for result in done.results if result.action.account == plan.account]
                # An audit file that fails half-way ends a sweep too, and then something may have been changed before.
                unchanged = "" if options.audit_file is not None else "Nothing was changed. "
                output.text(*_account_parts(plan, mine, unchanged + until.get(plan.account, _TRIES_AGAIN)))
            output.text(*_summary(done))
        return 0 if done.succeeded else 1


def _account_parts(plan: AccountPlan, results: Sequence[Result], then: str) -> Iterator[RenderableType]:
    if plan.error is not None:
        yield from unobserved(plan, "not swept", then)
        return
    yield heading(plan)
    if results:
        yield ""
        yield from result_rows(sorted(results, key=lambda result: _ORDER.index(result.outcome)))
    elif plan.account != NO_ACCOUNT:
        yield "  nothing was due"
    yield from skipped_rows(plan)
    yield ""


def _summary(done: Sweep) -> Iterator[str]:
    plans = done.plan.accounts
    if not plans:
        yield NO_SECRETS
        return
    outcomes = Counter(result.outcome for result in done.results)
    parts = [f"{outcomes[outcome]} {outcome}" for outcome in Outcome if outcomes[outcome]]
    parts = parts or nothing_of(plans, "Nothing was due")
    yield ", ".join(parts + to_fix(plans, "swept")) + "."
    if any(plan.error is not None for plan in plans):
        yield SEE_DOCTOR
    elif outcomes[Outcome.FAILED] or outcomes[Outcome.DEFERRED]:
        yield "The next sweep tries again. Current state: `rotator status`."
    elif not done.ok:
        yield "Fix what is listed above. What a sweep would do then: `rotator plan`."
    else:
        yield "What comes next, and when: `rotator status`."


# ---- how long an account may stay unswept, by what its secrets' own values say --------------------------------------


def _until(app: App, done: Sweep) -> Mapping[str, str]:
    """For each account that could not be swept, a sentence: before when no key expires, and what comes next.

    Never raises.
    """
    broken = [plan.account for plan in done.plan.accounts if plan.error is not None and plan.account != NO_ACCOUNT]
    store = app.services.store
    try:
        managed = observe_fleet(store).managed if broken else {}
    except RotatorError:
        return {}
    return {account: _first_expiry(store, managed.get(account, ()), app.clock.now()) for account in broken}


def _first_expiry(store: SecretStore, entries: Iterable[SecretEntry], now: datetime) -> str:
    present = [entry for entry in entries if entry.deleted_at is None]
    with ThreadPoolExecutor(_CONCURRENT_READS, thread_name_prefix="expiries") as pool:
        expiries = list(pool.map(lambda entry: _recorded_expiry(store, entry), present[:MOST_SECRETS]))
    known = sorted((at, entry.name) for at, entry in zip(expiries, present, strict=False) if at is not None)
    if not known:
        return _TRIES_AGAIN
    first, name = known[0]
    if first <= now:
        return f"The key of {shown(name)} expired {when(first, now)}, according to its secret's value. {_TRIES_AGAIN}"
    if len(known) < len(present):
        found = f"{len(known)} of {counted(len(present), 'secret')} say when their keys expire: none before"
    else:
        found = "According to the secrets' values no key expires before"
    return f"{found} {when(first, now)}; the next sweep tries again."


def _recorded_expiry(store: SecretStore, entry: SecretEntry) -> datetime | None:
    try:
        return recorded_end(store.read_current(entry.arn).text)
    except RotatorError:
        return None
