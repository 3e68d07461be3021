"""``rotator revoke``: an emergency revocation, shown before, while and after it is done."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from rotator.cli.call import Call
from rotator.cli.leaked import read_leaked
from rotator.cli.options import command, required
from rotator.errors import ConfigurationError
from rotator.secret import Secret

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rotator.bootstrap import App
    from rotator.engine.emergency import EmergencyPlan, EmergencyReport, Step

STRATEGIES: Final = ("replace-first", "revoke-first", "revoke-only")
_NOT_CONFIRMED: Final = 2
_LONGEST_ERROR: Final = 1200
"""Long, since the advice at the end must not be cut."""
_WIDTHS: Final = (12, 34, 9)
_NAME: Final = 24
_ROLES: Final = {
    "other-field": "in a field other than the tagged one",
    "orphan": "created by this deployment, never stored",
    "unmanaged": "not contained in any secret here",
}
"""Roles that need more words."""
_CACHES: Final = (
    "Consumers that cache the old value fail until they refresh: by default up to 1 h with AWS's caching libraries, up "
    "to 5 min with AWS's agent."
)


@command
@click.option("--secret", metavar="S", help="Revoke every key of this secret (name or ARN).")
@click.option("--key-id", metavar="K", help="Revoke this key alone (id, or 5737...48AE); requires --account.")
@click.option("--leaked-key-stdin", is_flag=True, help="Read a key value, text or scanner report from stdin.")
@click.option("--account", metavar="A", help="The Infobip account that the key belongs to.")
@click.option("--reason", required=True, metavar="R", help="Reason, recorded in the audit trail.")
@click.option("--incident", metavar="I", help="Incident number. Repeating it within 24 hours is a retry.")
@click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    default=STRATEGIES[0],
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
    in its own account, regardless of who created it; secrets that contain it
    as their current key get a new one.

    replace-first promotes a new key and then revokes; consumers that cache
    the old value fail until they refresh. revoke-first revokes before the new
    key exists. revoke-only leaves a revoked key in the secret.

    With --leaked-key-stdin, stdin contains the value, or any text with keys
    in it: a .env file, a header, a log, the report of a scanner. Each Infobip
    key in it is looked up in your accounts and revoked.

    Each revoked key is tried once to verify that it is rejected. The tag
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
        raise ConfigurationError("--yes and --dry-run cannot be used together", advice="Use one or the other.")
    leaked = read_leaked() if leaked_key_stdin else None

    from rotator.cli.leaked import revoke_leaks
    from rotator.engine.emergency import Emergency, Strategy, Target, emergency_document

    app = call.open(trigger="emergency")
    screen = Screen(app, call, incident)
    emergency = Emergency(app.services, audit_reason, incident, on_step=screen.step)
    again = _repeat(secret, key_id, account, reason, incident, strategy)
    call.interrupted = f"interrupted; nothing was changed so far. {again}"
    try:
        if leaked is None or isinstance(leaked, Secret):
            if leaked is not None:
                app.redactor.learn(leaked.reveal())
            plan = emergency.plan(Target(secret, key_id, account, leaked), Strategy(strategy))
            report = emergency.execute(plan) if yes else emergency.dry_run(plan)
            screen.show(plan, report)
            failed = not report.ok if yes else bool(report.errors) and not report.revoked
            done = Done([report], pending=not yes, failed=failed)
        else:
            done = revoke_leaks(screen, leaked, emergency, Strategy(strategy), account, dry_run=not yes)
    finally:
        if emergency.running is not None:  # a signal arrived
            call.interrupted = _interrupted(*emergency.running, again)
    call.interrupted = f"interrupted. {again}"
    if call.json:
        document = emergency_document(done.reports, Strategy(strategy), incident, app.audit.run_id, dry_run=not yes)
        call.document({**document, **done.more, "errors": [*document["errors"], *done.errors]})
    if done.pending:
        call.text("Nothing was changed (--dry-run)." if dry_run else "Nothing was changed. Add --yes to carry it out.")
    if done.failed:
        return 1
    return _NOT_CONFIRMED if done.pending and not dry_run else 0


@dataclass
class Done:
    """The result of a ``revoke`` command.

    :param pending: there is something to confirm.
    :param failed: a key may still be enabled, or a secret has no new one.
    :param errors: those that are in no report.
    :param more: further fields of the JSON.
    """

    reports: list[EmergencyReport]
    pending: bool
    failed: bool
    errors: list[str] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)


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


def _repeat(
    secret: str | None, key_id: str | None, account: str | None, reason: str, incident: str | None, strategy: str
) -> str:
    """The command to repeat, as a sentence."""
    target = ["--secret", secret] if secret is not None else ["--key-id", key_id] if key_id is not None else []
    options = [
        *(target or ["--leaked-key-stdin"]),
        *(["--account", account] if account is not None else []),
        *("--reason", reason),
        *(["--incident", incident] if incident is not None else []),
        *("--strategy", strategy, "--yes"),
    ]
    stdin = "" if target else " < file"
    return f"Repeat the command: `rotator revoke {shlex.join(map(str, options))}{stdin}`."


def _interrupted(plan: EmergencyPlan, report: EmergencyReport, again: str) -> str:
    """What was done before a signal arrived, what was not, and what to do."""
    from rotator.engine.emergency import not_revoked

    done = [f"{step.what} {step.key_id if step.what == 'revoked' else step.secret}" for step in report.steps if step.ok]
    left = [suspect.key.id for suspect in not_revoked(plan, report)]
    parts = [f"done: {', '.join(done) or 'nothing'}"]
    parts += [f"NOT revoked, possibly still valid: {', '.join(left)}"] if left else []
    return f"interrupted; {'; '.join(parts)}. {again}"


# ---- for people -----------------------------------------------------------------------------------------------------


class Screen:
    """Print emergencies: on a terminal step by step, otherwise after each emergency."""

    def __init__(self, app: App, call: Call, incident: str | None) -> None:
        self.app, self.call, self.incident = app, call, incident
        self._shown: list[Step] = []

    def step(self, step: Step) -> None:
        """Show one step at once, if a person watches."""
        from rotator.render import Grid

        if self.call.is_live:
            self._shown.append(step)
            self.call.text(Grid([_row(step, filled=True)], _WIDTHS))

    def show(self, plan: EmergencyPlan, report: EmergencyReport) -> None:
        """Show what was done in one account, or would be."""
        if report.dry_run:
            self.call.text(*_planned_parts(plan, report, self.app.clock.now()))
        else:
            self.call.text(*self._done_parts(report))

    def _done_parts(self, report: EmergencyReport) -> Iterator[RenderableType]:
        from rotator.render import Grid, counted, key_words, shown, styled
        from rotator.text import short_id

        live = bool(self._shown)
        shown_before = {(step.what, step.secret, step.key_id) for step in self._shown}
        self._shown.clear()
        rows, after = [], []
        for step in report.steps:
            if (step.what, step.secret, step.key_id) not in shown_before:
                rows.append(_row(step, filled=live))
            elif step.note and step.verified is not None:  # the note was added after the step was shown
                after.append(step)
        rows += [(" " * _WIDTHS[0], f"{key_words(step.key_id):<{_NAME}}", " " * 7, shown(step.note)) for step in after]
        if rows:
            yield Grid(rows, _WIDTHS)
        for error in report.errors:
            yield styled(shown(error, _LONGEST_ERROR), "red")
        yield from _note_parts(report)
        sentences = [f"{shown(name)} has a new key." for name in report.replaced]
        if report.revoked:
            sentences.append(f"{counted(len(report.revoked), 'key')} revoked.")
        elif not report.errors:
            sentences.append("There was no key left to revoke.")
        if report.errors:
            errors = counted(len(report.errors), "error")
            enabled = any(step.what == "revoked" and not step.verified for step in report.steps)
            way_out = "repeat the command, or disable the key in Infobip's portal" if enabled else "fix it, then repeat"
            sentences.append(f"{errors}: {way_out}.")
        about = f", incident {shown(self.incident, 60)}" if self.incident else ""
        yield " ".join([*sentences, f"Recorded as run {short_id(self.app.audit.run_id)}{about}."])
        if report.replaced:
            yield _CACHES


def _planned_parts(plan: EmergencyPlan, report: EmergencyReport, now: datetime) -> Iterator[RenderableType]:
    """Yield what ``--yes`` would do in one account."""
    from rotator.engine.emergency import Strategy
    from rotator.render import Grid, shown, styled
    from rotator.text import short_id

    keys = [step for step in report.steps if step.what == "revoked" and step.ok]
    names = ", ".join(shown(name) for name in report.replaced)
    account = shown(plan.account, 60)
    if keys:
        yield f"To be revoked immediately in account {account}, without a grace period:"
        yield Grid([(f"key {short_id(step.key_id or '')}", _key_text(plan, report, step, now)) for step in keys], (16,))
    elif report.errors:
        yield f"No key to revoke was identified in account {account}."
    else:
        yield f"There is no key to revoke in account {account}."
    if names and plan.strategy is Strategy.REPLACE_FIRST:
        yield f"A new key is stored in {names} first (replace-first). If that fails, the keys are revoked anyway."
        yield _CACHES
    elif names:
        yield f"A new key is stored in {names} afterwards (revoke-first)."
        yield "Consumers fail until the new key is stored and they have read it."
        yield _CACHES
    elif not plan.replaced and any(suspect.role == "current" for suspect in plan.suspects):
        yield "No new key is created (revoke-only): consumers fail until the next sweep creates one."
    for error in report.errors:
        yield styled(shown(error[:1].upper() + error[1:], _LONGEST_ERROR), "red")
    yield from _note_parts(report)


def _note_parts(report: EmergencyReport) -> Iterator[str]:
    from rotator.render import shown

    for note in report.notes:
        yield f"Note: {shown(note)}."


def _key_text(plan: EmergencyPlan, report: EmergencyReport, step: Step, now: datetime) -> str:
    from rotator.render import absolute, shown, when

    suspect = step.suspect
    assert suspect is not None
    parts = [_ROLES.get(suspect.role, str(suspect.role)), *([step.note] if step.note else [])]
    if not step.note and suspect.role == "current" and suspect.key.valid_from is not None:
        parts.append(f"in use since {absolute(suspect.key.valid_from, now)}")
    if suspect.revoke_at is not None:
        parts.append(f"was to be revoked {when(suspect.revoke_at, now)}")
    if suspect.account != report.account:
        parts.append(f"of account {shown(suspect.account)}")
    if suspect.secret and (plan.secret is None or suspect.arn != plan.secret.arn):
        parts.append(f"in {shown(suspect.secret)}")
    return ", ".join(parts)


def _row(step: Step, *, filled: bool) -> tuple[Any, ...]:
    """Return a step's cells: what was done, to what, when, and how far it is verified.

    :param filled: pad the cells, so that steps that are shown one by one align.
    """
    from rotator.render import key_words, shown, styled

    name = shown(step.secret) if step.what == "promoted" or step.key_id is None else key_words(step.key_id)
    done = styled(step.what, "green") if step.ok else styled(f"NOT {step.what}", "red")
    after = f"{step.after.total_seconds():.1f} s"
    if filled:
        done.pad_right(max(0, _WIDTHS[0] - len(done)))
        name, after = f"{name:<{_NAME}}", f"{after:<7}"
    return done, name, after, shown(step.note)
