"""``rotator revoke``: a key must die now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from rotator.cli.leaked import read_leaked
from rotator.cli.options import Options, common_options, pass_options
from rotator.cli.output import Output
from rotator.cli.rotate import required
from rotator.cli.session import opened
from rotator.errors import ConfigurationError, RotatorError
from rotator.secret import Secret

if TYPE_CHECKING:
    from rotator.engine.emergency import Emergency, EmergencyPlan

STRATEGIES: Final = ("replace-first", "revoke-first", "revoke-only")
_NOT_CONFIRMED: Final = 2


@click.command()
@click.option("--secret", metavar="S", help="Every key of this secret (name or ARN).")
@click.option("--key-id", metavar="K", help="Every key of the secret that holds it; needs --account.")
@click.option("--leaked-key-stdin", is_flag=True, help="From stdin: a value, a text, a scanner's report.")
@click.option("--account", metavar="A", help="The Infobip account that the key belongs to.")
@click.option("--reason", required=True, metavar="R", help="Why, in your words; it stands in the audit.")
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
@common_options
@pass_options
def revoke(
    options: Options,
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
    """Revocation keys at once and without grace: a leak, an incident.

    replace-first puts a new key in place and then kills; consumers that cache
    the old value fail until they read again. revoke-first kills before the
    new key is there. revoke-only leaves the secret with a dead key.

    With --leaked-key-stdin stdin holds the value, any text with keys in it
    (.env, a header, a log), or what a scanner says: trufflehog's JSON lines,
    gitleaks' JSON, GitHub's secret-scanning alerts. Each Infobip key in it is
    looked up in your accounts and killed.

    Each killed key is used once more to prove that it is dead. A tag
    rotator:hold does not stop this. Repeating a command is safe.

    \b
    Examples:
      rotator revoke --secret prod/sms/otp --reason "pasted in a ticket"
      rotator revoke --secret prod/sms/otp --reason leak \\
          --incident INC-4711 --yes
      rotator revoke --leaked-key-stdin --reason leak --yes < found.txt
      rotator revoke --leaked-key-stdin --reason leak --dry-run \\
          < gitleaks.json
      rotator revoke --key-id 57370A1B2C3D4E5F60718293A4B548AE \\
          --account main --reason "vendor left" --yes
    """
    _check_selectors(secret, key_id, account, leaked=leaked_key_stdin)
    said = required("--reason", reason)
    if yes and dry_run:
        raise ConfigurationError("--yes and --dry-run exclude each other", advice="Give one of the two.")
    leaked = read_leaked() if leaked_key_stdin else None

    from rotator.cli.documents import emergency_document
    from rotator.cli.live import watched
    from rotator.cli.revoke_report import failed, revoke_report
    from rotator.cli.revoke_text import look_parts, note_parts, report_parts
    from rotator.engine.emergency import Emergency, EmergencyReport, Strategy, Target
    from rotator.engine.emergency.leak_intake import LeakOutcome

    output = Output(options)
    with opened(options, trigger="emergency") as app:
        services, live = watched(app.services, output)
        emergency = Emergency(services, said, incident)
        if leaked is not None and not isinstance(leaked, Secret):
            how = Strategy(strategy)
            results = revoke_report(app, output, leaked, emergency, how, account, confirmed=yes, live=live)
            planned = any(result.outcome is LeakOutcome.PLANNED for result in results)
            code = _shown(output, dry_run=dry_run) if planned else 0
            return 1 if failed(results) else code
        if leaked is not None:
            app.redactor.learn(leaked.reveal())
        target = Target(secret=secret, key_id=key_id, account=account, leaked=leaked)
        plans = emergency.plan(target, Strategy(strategy))
        if secret is not None and account is not None and any(plan.account != account for plan in plans):
            raise ConfigurationError(
                f"{secret} belongs to account {plans[0].account}, not to {account}",
                advice="Nothing was changed. Leave --account out, or correct it.",
            )
        run = {"run_id": app.audit.run_id, "incident": incident}
        reports: list[EmergencyReport | None] = []
        looked: list[EmergencyPlan] = []
        for plan in plans:
            if not yes:
                looked.append(_looked(emergency, plan))
                output.text(*look_parts(looked[-1], app.clock.now()))
                reports.append(None)
                continue
            report = emergency.execute(plan)
            reports.append(report)
            if not report.steps:  # why nothing was done
                output.text(*note_parts(plan))
            output.text(*report_parts(report, app.audit.run_id, incident, live))
        if output.is_json:
            documents = [emergency_document(p, r, run) for p, r in zip(looked or plans, reports, strict=True)]
            output.document(documents[0] if len(documents) == 1 else {"accounts": documents})
        if not yes:
            return _shown(output, dry_run=dry_run)
        return 0 if all(report is not None and report.ok for report in reports) else 1


def _looked(emergency: Emergency, plan: EmergencyPlan) -> EmergencyPlan:
    """The plan with keys as Infobip shows them.

    :raises RotatorError: Infobip can't be asked; it says that nothing was done.
    """
    try:
        return emergency.preview(plan)
    except RotatorError as error:
        again = "Repeat the command; with --yes it tries in any case. Or end the key in Infobip's portal."
        error.advice = error.advice or f"Nothing was changed. {again}"
        raise


def _shown(output: Output, *, dry_run: bool) -> int:
    """Say that nothing was done; gives the exit code."""
    output.text("Nothing was changed. Add --yes to do it." if not dry_run else "Nothing was changed (--dry-run).")
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
