"""``rotator revoke``: an emergency revocation, shown before, while and after it is done."""

from __future__ import annotations

import shlex
from typing import NotRequired, TypedDict

import click

from rotator.cli.call import EXIT_NOT_CONFIRMED, Call
from rotator.cli.emergency_output import EmergencyKeyShape, EmergencyOutput, EmergencyStepShape
from rotator.cli.leaked import LeakShape, read_leaked, revoke_leaks
from rotator.cli.options import command
from rotator.engine.emergency import Emergency, EmergencyPlan, EmergencyReport, Strategy, Target, not_revoked
from rotator.errors import ConfigurationError, RotatorError
from rotator.leaks import Place


class RevokeDocument(TypedDict):
    """``revoke``; the fields from ``findings`` on only with ``--leaked-key-stdin``."""

    strategy: Strategy
    incident: str | None
    dry_run: bool
    keys: list[EmergencyKeyShape]
    replacements: list[EmergencyStepShape]
    errors: list[str]
    notes: list[str]
    run_id: str
    findings: NotRequired[int | None]
    without_infobip_key: NotRequired[int]
    unusable: NotRequired[list[Place]]
    leaks: NotRequired[list[LeakShape]]


@command(RevokeDocument)
@click.option("--secret", metavar="S", help="Revoke every key of this secret (name or ARN).")
@click.option("--key-id", metavar="K", help="Revoke this key alone (id, or 5737...48AE); requires --account.")
@click.option("--leaked-key-stdin", is_flag=True, help="Read a key value, text or scanner report from stdin.")
@click.option("--account", metavar="A", help="The Infobip account that the key belongs to.")
@click.option("--reason", required=True, metavar="R", help="Reason, recorded in the audit trail.")
@click.option("--incident", metavar="I", help="Incident number. Repeating it within 24 hours is a retry.")
@click.option(
    "--strategy",
    type=click.Choice([str(each) for each in Strategy]),
    default=str(Strategy.REPLACE_FIRST),
    show_default=True,
    help="Order of replacement and revocation.",
)
@click.option("--yes", is_flag=True, help="Carry it out. Without it, only show the plan and exit 2.")
@click.option("--dry-run", is_flag=True, help="Only show the plan and exit 0.")
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
    """Revoke leaked or compromised keys immediately, without a grace period.

    --secret revokes every key that the secret contains, in any field of any
    labelled version. --key-id and --leaked-key-stdin revoke that key alone,
    regardless of who created it; secrets that contain it as their current key
    get a new one.

    replace-first promotes a new key and then revokes; consumers that cache
    the old value fail until they refresh. revoke-first revokes before the new
    key exists. revoke-only leaves a revoked key in the secret.

    --leaked-key-stdin reads the value, or any text with keys in it: a .env
    file, a log, the report of a scanner. Each Infobip key in it is searched
    for in your accounts and revoked.

    Each revoked key whose value is known is tried until it is rejected, for up
    to a minute. The tag rotator:hold does not stop this. Repeating a command
    is safe.

    Exits 1 if something was not done or not verified.

    \b
    Examples:
      rotator revoke --secret prod/sms/otp --reason "pasted in a ticket"
      rotator revoke --secret prod/sms/otp --reason leak \\
          --incident INC-4711 --yes
      rotator revoke --leaked-key-stdin --reason leak --yes < found.txt
      rotator revoke --key-id 5737...48AE --account main \\
          --reason "vendor left" --yes
    """
    _check_selectors(secret, key_id, account, leaked=leaked_key_stdin)
    if yes and dry_run:
        raise ConfigurationError("--yes and --dry-run cannot be used together", advice="Use one or the other.")
    leaks = read_leaked() if leaked_key_stdin else None
    app = call.open(trigger="emergency")
    order = Strategy(strategy)
    output = EmergencyOutput(app, call, order, incident, dry_run=not yes)
    emergency = Emergency(app.services, reason, incident, on_step=output.step)
    again = f"Repeat the command: `rotator {shlex.join(call.arguments)}{'' if leaks is None else ' < file'}`."
    call.interrupted = f"interrupted; nothing was changed so far. {again}"
    try:
        if leaks is None:
            plan = emergency.plan(Target(secret, key_id, account), order)
            output.show(plan, emergency.execute(plan) if yes else emergency.dry_run(plan))
            pending = not yes
        else:
            pending = revoke_leaks(output, leaks, emergency, account)
    except RotatorError as error:
        output.errors.append(str(error))
        output.write_document()
        raise
    finally:
        if emergency.running is not None:  # a signal arrived
            call.interrupted = _interrupted(*emergency.running, again)
            output.reports.append(emergency.running[1])
            output.errors.append(call.interrupted)
            output.write_document()
    call.interrupted = f"interrupted. {again}"
    output.write_document()
    if pending:
        call.text("Nothing was changed (--dry-run)." if dry_run else "Nothing was changed. Add --yes to carry it out.")
    if output.failed:
        return 1
    return EXIT_NOT_CONFIRMED if pending and not dry_run else 0


def _check_selectors(secret: str | None, key_id: str | None, account: str | None, *, leaked: bool) -> None:
    selectors = {"--secret": secret, "--key-id": key_id, "--leaked-key-stdin": leaked or None}
    given = [name for name, value in selectors.items() if value is not None]
    if len(given) != 1:
        found = f"{' and '.join(given)} cannot be used together" if given else "no key or secret given"
        raise ConfigurationError(
            found, advice="Use exactly one of --secret S, --key-id K --account A, and --leaked-key-stdin."
        )
    if key_id is not None and account is None:
        raise ConfigurationError(
            "--key-id requires --account", advice="Add --account A, the Infobip account that the key belongs to."
        )


def _interrupted(plan: EmergencyPlan, report: EmergencyReport, again: str) -> str:
    """What was done before a signal arrived, what was not, and what to do."""
    done = [f"{step.what} {step.key_id if step.what == 'revoked' else step.secret}" for step in report.steps if step.ok]
    left = [suspect.key.id for suspect in not_revoked(plan, report)]
    parts = [f"done: {', '.join(done) or 'nothing'}"]
    parts += [f"NOT revoked, possibly still valid: {', '.join(left)}"] if left else []
    return f"interrupted; {'; '.join(parts)}. {again}"
