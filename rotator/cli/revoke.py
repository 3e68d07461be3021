"""``rotator revoke``: an emergency revocation, shown before, while and after it is done."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from rotator.cli.call import Call
from rotator.cli.leaked import read_leaked
from rotator.cli.options import command
from rotator.cli.rotate import required
from rotator.errors import ConfigurationError, RotatorError
from rotator.secret import Secret

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rotator.cli.live import LiveSteps
    from rotator.engine.emergency import Emergency, EmergencyPlan, EmergencyReport, Step

STRATEGIES: Final = ("replace-first", "revoke-first", "revoke-only")
_NOT_CONFIRMED: Final = 2
_LONGEST_ERROR: Final = 1200
"""What to do stands at its end."""
_CACHES: Final = (
    "Consumers that cache the old value fail until they read it again: up to 1 h with AWS's caching libraries (their "
    "default), up to 5 min with AWS's agent."
)


@command
@click.option("--secret", metavar="S", help="Every key of this secret (name or ARN).")
@click.option("--key-id", metavar="K", help="Every key of the secret that holds K (or 5737...48AE); needs --account.")
@click.option("--leaked-key-stdin", is_flag=True, help="From stdin: a value, a text, a scanner's report.")
@click.option("--account", metavar="A", help="The Infobip account that the key belongs to.")
@click.option("--reason", required=True, metavar="R", help="Why, in your words; recorded in the audit trail.")
@click.option("--incident", metavar="I", help="Your incident's number: for 24 hours, the same one is a retry.")
@click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    default=STRATEGIES[0],
    show_default=True,
    help="What comes first.",
)
@click.option("--yes", is_flag=True, help="Do it. Without this it is only shown, exit 2.")
@click.option("--dry-run", is_flag=True, help="Only show it, exit 0.")
def revoke(
    call: Call,
    secret: str | None,
    key_id: str | None,
    leaked_key_stdin: bool,
    account: str | None,
    reason: str,
    incident: str | None,
    strategy: str,
    yes: bool,
    dry_run: bool,
) -> int:
    """Revoke keys immediately, with no grace period: a leak, an incident.

    replace-first promotes a new key and then revokes; consumers that cache
    the old value fail until they read it again. revoke-first revokes before
    the new key is there. revoke-only leaves the secret with a revoked key.

    With --leaked-key-stdin stdin holds the value, any text with keys in it
    (.env, a header, a log), or a scanner's report: trufflehog, gitleaks,
    kingfisher, GitHub's secret-scanning alerts, SARIF. Each Infobip key in
    it is searched for in your accounts and revoked.

    Each revoked key is used once more, to verify that it is refused. A tag
    rotator:hold does not stop this. Repeating a command is safe.

    \b
    Examples:
      rotator revoke --secret prod/sms/otp --reason "pasted in a ticket"
      rotator revoke --secret prod/sms/otp --reason leak \\
          --incident INC-4711 --yes
      rotator revoke --leaked-key-stdin --reason leak --yes < found.txt
      rotator revoke --leaked-key-stdin --reason leak --dry-run \\
          < gitleaks.json
      rotator revoke --key-id 5737...48AE --account main \\
          --reason "vendor left" --yes
    """
    _check_selectors(secret, key_id, account, leaked=leaked_key_stdin)
    audit_reason = required("--reason", reason)
    if yes and dry_run:
        raise ConfigurationError("--yes and --dry-run exclude each other", advice="Give one of the two.")
    leaked = read_leaked() if leaked_key_stdin else None

    from rotator.cli.leaked import revoke_leaks
    from rotator.cli.live import watched
    from rotator.engine.emergency import Emergency, Strategy, Target

    app = call.open(trigger="emergency")
    services, live = watched(app.services, call)
    emergency = Emergency(services, audit_reason, incident)
    if leaked is not None and not isinstance(leaked, Secret):
        planned, code = revoke_leaks(
            app, call, leaked, emergency, Strategy(strategy), account, dry_run=not yes, live=live
        )
        unconfirmed = _nothing_changed(call, dry_run=dry_run) if planned else 0
        return code or unconfirmed
    if leaked is not None:
        app.redactor.learn(leaked.reveal())
    plan = emergency.plan(Target(secret, key_id, account, leaked), Strategy(strategy))
    if secret is not None and account not in (None, plan.account):
        raise ConfigurationError(
            f"{secret} belongs to account {plan.account}, not to {account}",
            advice="Nothing was changed. Leave --account out, or correct it.",
        )
    report = emergency.execute(plan) if yes else _dry_run(emergency, plan)
    if not yes:
        call.text(*planned_parts(plan, report, app.clock.now()))
    else:
        if not report.steps:  # why nothing was done
            call.text(*note_parts(report))
        call.text(*report_parts(report, app.audit.run_id, incident, live))
    if call.json:
        call.document(revoke_document([report], emergency, strategy, app.audit.run_id, dry_run=not yes))
    if not yes:
        return _nothing_changed(call, dry_run=dry_run)
    return 0 if report.ok else 1


def revoke_document(
    reports: list[EmergencyReport], emergency: Emergency, strategy: str, run_id: str, *, dry_run: bool
) -> dict[str, Any]:
    """``revoke --json``: the same for a dry run, and for one or several leaked keys."""
    from rotator.engine.emergency import Strategy, emergency_document

    document = emergency_document(reports, Strategy(strategy), emergency.incident, dry_run=dry_run)
    return {**document, "run_id": run_id}


def _dry_run(emergency: Emergency, plan: EmergencyPlan) -> EmergencyReport:
    """What would be done.

    :raises RotatorError: Infobip can't be asked; it says that nothing was done.
    """
    try:
        return emergency.dry_run(plan)
    except RotatorError as error:
        again = "Repeat the command; with --yes it tries in any case. Or disable the key in Infobip's portal."
        error.advice = error.advice or f"Nothing was changed. {again}"
        raise


def _nothing_changed(call: Call, *, dry_run: bool) -> int:
    """Say that nothing was done; gives the exit code."""
    call.text("Nothing was changed. Add --yes to do it." if not dry_run else "Nothing was changed (--dry-run).")
    return 0 if dry_run else _NOT_CONFIRMED


def _check_selectors(secret: str | None, key_id: str | None, account: str | None, *, leaked: bool) -> None:
    selectors = {"--secret": secret, "--key-id": key_id, "--leaked-key-stdin": leaked or None}
    given = [name for name, value in selectors.items() if value is not None]
    if len(given) != 1:
        found = f"{' and '.join(given)} exclude each other" if given else "nothing says which key is meant"
        raise ConfigurationError(
            found, advice="Give exactly one of --secret S, --key-id K --account A, and --leaked-key-stdin."
        )
    if key_id is not None and account is None:
        raise ConfigurationError(
            "--key-id needs --account", advice="Name the Infobip account that the key belongs to: --account A."
        )


# ---- for people -----------------------------------------------------------------------------------------------------


def planned_parts(plan: EmergencyPlan, report: EmergencyReport, now: datetime) -> Iterator[RenderableType]:
    """What ``--yes`` would do in one account."""
    from rotator.engine.emergency import Strategy
    from rotator.render import Grid, shown, styled
    from rotator.text import short_id

    keys = [step for step in report.steps if step.what == "revoked" and step.ok]
    names = ", ".join(shown(name) for name in report.replaced)
    account = shown(plan.account, 60)
    if keys:
        yield f"Revokes immediately in account {account}, with no grace period:"
        yield Grid([(f"key {short_id(step.key_id or '')}", _key_text(report, step, now)) for step in keys], (16,))
    else:
        yield f"Revokes no key of account {account}."
    if names and plan.strategy is Strategy.REPLACE_FIRST:
        yield f"and puts a new key into {names} first (replace-first); if that fails, it revokes all the same."
        yield _CACHES
    elif names:
        yield f"and puts a new key into {names} afterwards (revoke-first)."
        yield "Consumers fail from the revocation until the new key is there and they have read it."
        yield _CACHES
    elif not plan.replaced and any(item.role == "current" for item in plan.revocations):
        yield "and puts no new key in its place (revoke-only): consumers fail until the next sweep replaces it."
    for error in report.errors:
        yield styled(shown(error[:1].upper() + error[1:], _LONGEST_ERROR), "red")
    yield from note_parts(report)


def note_parts(report: EmergencyReport) -> Iterator[str]:
    """What there is to know about a plan."""
    from rotator.render import shown

    for note in report.notes:
        yield f"Note: {shown(note)}."


def report_parts(
    report: EmergencyReport, run_id: str, incident: str | None, live: LiveSteps | None = None
) -> Iterator[RenderableType]:
    """What was done in one account.

    :param live: what showed the steps already, as they were done.
    """
    from rotator.cli.live import WIDTHS, step_row
    from rotator.render import Grid, shown, styled

    rows = [step_row(step) for step in report.steps] if live is None else list(live.rest(report.steps))
    if rows:
        yield Grid(rows, WIDTHS)
    for error in report.errors:
        yield styled(shown(error, _LONGEST_ERROR), "red")
    yield " ".join(_summary(report, run_id, incident))
    if report.replaced:
        yield _CACHES


def _key_text(report: EmergencyReport, step: Step, now: datetime) -> str:
    from rotator.render import absolute, shown, when

    item, key = step.revocation, report.keys.get(step.key_id or "")
    assert item is not None
    parts = [item.role, *([step.note] if step.note else [])]
    if not step.note and item.role == "current" and key is not None and key.valid_from is not None:
        parts.append(f"in use since {absolute(key.valid_from, now)}")
    if item.revoke_at is not None:
        parts.append(f"would have been revoked {when(item.revoke_at, now)}")
    if len({each.secret for each in report.steps}) > 1 and item.secret:
        parts.append(f"of {shown(item.secret)}")
    return ", ".join(parts)


def _summary(report: EmergencyReport, run_id: str, incident: str | None) -> Iterator[str]:
    from rotator.render import counted, shown
    from rotator.text import short_id

    for name in report.replaced:
        yield f"{shown(name)} has a new key."
    if report.revoked:
        yield f"{counted(len(report.revoked), 'key')} revoked."
    elif not report.errors:
        yield "No key was left to revoke."
    if report.errors:
        yield f"{counted(len(report.errors), 'error')}: repeat the command, or disable the key in Infobip's portal."
    about = f", incident {shown(incident, 60)}" if incident else ""
    yield f"Recorded as run {short_id(run_id)}{about}."
