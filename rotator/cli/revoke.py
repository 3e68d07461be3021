"""``rotator revoke``: a key must die now."""

from __future__ import annotations

import sys
from typing import Final

import click

from rotator.cli.options import Options, common_options, pass_options
from rotator.cli.output import Output
from rotator.cli.rotate import required
from rotator.cli.session import opened
from rotator.core.secret import Secret
from rotator.errors import ConfigurationError

STRATEGIES: Final = ("replace-first", "revoke-first", "revoke-only")
MOST_STDIN: Final = 65_536
_SHORTEST: Final = 16
"""Shorter than any key: such a text would be found, and taken out, all over the output."""
_NOT_CONFIRMED: Final = 2
_PIPE: Final = "Pipe it: `rotator revoke --leaked-key-stdin … < file`, so that no shell keeps it in its history."


@click.command(short_help="Kill leaked keys at once.")
@click.option("--secret", metavar="S", help="Every key of this secret (name or ARN).")
@click.option("--key-id", metavar="K", help="This key; needs --account.")
@click.option("--leaked-key-stdin", is_flag=True, help="The key whose value is read from stdin.")
@click.option("--account", metavar="A", help="The Infobip account that the key belongs to.")
@click.option("--reason", required=True, metavar="R", help="Why, in your words; it stands in the audit.")
@click.option("--incident", metavar="I", help="Your incident's number; repeating it makes no second key.")
@click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    default=STRATEGIES[0],
    show_default=True,
    help="What comes first.",
)
@click.option("--yes", is_flag=True, help="Do it. Without this it is only shown, exit 2.")
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
) -> int:
    """Kill keys at once and without grace: a leak, an incident.

    replace-first puts a new key in place and then kills; consumers that cache
    the old value fail until they read again. revoke-first kills before the
    new key is there. revoke-only leaves the secret with a dead key.

    Each killed key is used once more to prove that it is dead. A tag
    rotator:hold does not stop this. Repeating a command is safe.

    \b
    Examples:
      rotator revoke --secret prod/sms/otp --reason "pasted in a ticket"
      rotator revoke --secret prod/sms/otp --reason leak \\
          --incident INC-4711 --yes
      rotator revoke --leaked-key-stdin --reason leak --yes < found.txt
      rotator revoke --key-id 57370A1B2C3D4E5F60718293A4B548AE \\
          --account main --reason "vendor left" --yes
    """
    _check_selectors(secret, key_id, account, leaked=leaked_key_stdin)
    said = required("--reason", reason)
    leaked = _read_leaked() if leaked_key_stdin else None

    from rotator.cli.documents import emergency_document
    from rotator.cli.revoke_text import look_parts, report_parts
    from rotator.emergency import Emergency, EmergencyReport, Strategy, Target

    output = Output(options)
    with opened(options, trigger="emergency") as app:
        if leaked is not None:
            app.redactor.learn(leaked.reveal())
        emergency = Emergency(app.services, said, incident)
        target = Target(secret=secret, key_id=key_id, account=account, leaked=leaked)
        plans = emergency.plan(target, Strategy(strategy))
        if secret is not None and account is not None and any(plan.account != account for plan in plans):
            raise ConfigurationError(
                f"{secret} belongs to account {plans[0].account}, not to {account}",
                advice="Nothing was changed. Leave --account out, or correct it.",
            )
        run = {"run_id": app.audit.run_id, "incident": incident}
        reports: list[EmergencyReport | None] = []
        for plan in plans:
            if not yes:
                looked = emergency.look(plan)
                output.text(*look_parts(looked, app.clock.now()))
                reports.append(None)
                continue
            report = emergency.execute(plan)
            reports.append(report)
            output.text(*report_parts(report, app.audit.run_id, incident))
        if output.is_json:
            documents = [emergency_document(p, r, run) for p, r in zip(plans, reports, strict=True)]
            output.document(documents[0] if len(documents) == 1 else {"accounts": documents})
        if not yes:
            output.text("Nothing was changed. Add --yes to do it.")
            return _NOT_CONFIRMED
        return 0 if all(report is not None and report.ok for report in reports) else 1


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


def _read_leaked() -> Secret:
    """The leaked value from stdin, never from an argument, where a process list or a shell's history would show it."""
    if sys.stdin is None or sys.stdin.closed:
        raise ConfigurationError("--leaked-key-stdin reads the key from stdin, which is closed", advice=_PIPE)
    if sys.stdin.isatty():
        raise ConfigurationError("--leaked-key-stdin does not read from a terminal, which would show it", advice=_PIPE)
    found = _one_key()
    if isinstance(found, ConfigurationError):
        raise found
    return found


def _one_key() -> Secret | ConfigurationError:
    """What stdin holds. Does not raise: it stands open in this frame, which a traceback would keep."""
    raw = sys.stdin.buffer.read(MOST_STDIN + 1)
    if len(raw) > MOST_STDIN:
        return ConfigurationError(f"stdin holds more than {MOST_STDIN} bytes, which is no key", advice=_PIPE)
    text = raw.decode("utf-8-sig", errors="replace").strip()
    if not text:
        return ConfigurationError("stdin is empty", advice=_PIPE)
    if not text.isascii() or any(char.isspace() or not char.isprintable() for char in text) or len(text) < _SHORTEST:
        return ConfigurationError(
            "stdin holds something else than one key", advice="Pass the key's value alone, without quotes or a name."
        )
    return Secret(text)
