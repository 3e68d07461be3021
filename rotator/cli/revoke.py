"""``rotator revoke``: an emergency revocation, shown before, while and after it is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from rotator.cli.call import Call
from rotator.cli.leaked import read_leaked
from rotator.cli.options import command
from rotator.cli.rotate import required
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
_STEPS: Final = {
    ("key.created", "success"): "created",
    ("secret.promoted", "success"): "promoted",
    ("key.revoked", "success"): "revoked",
    ("rotation.failed", "failure"): "promoted",
    ("revocation.failed", "failure"): "revoked",
}
"""The audit lines that are shown as a step."""
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
    from rotator.engine.emergency import Emergency, Strategy, Target, emergency_document

    app = call.open(trigger="emergency")
    screen = Screen(app, call, incident)
    emergency = Emergency(screen.services, audit_reason, incident)
    if leaked is None or isinstance(leaked, Secret):
        if leaked is not None:
            app.redactor.learn(leaked.reveal())
        plan = emergency.plan(Target(secret, key_id, account, leaked), Strategy(strategy))
        report = emergency.execute(plan) if yes else emergency.dry_run(plan)
        screen.show(plan, report)
        done = Done([report], pending=not yes, failed=yes and not report.ok)
    else:
        done = revoke_leaks(screen, leaked, emergency, Strategy(strategy), account, dry_run=not yes)
    if call.json:
        document = emergency_document(done.reports, Strategy(strategy), incident, app.audit.run_id, dry_run=not yes)
        call.document({**document, **done.more, "errors": [*document["errors"], *done.errors]})
    if done.pending:
        call.text("Nothing was changed (--dry-run)." if dry_run else "Nothing was changed. Add --yes to do it.")
    if done.failed:
        return 1
    return _NOT_CONFIRMED if done.pending and not dry_run else 0


@dataclass
class Done:
    """The outcome of a command.

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
        found = f"{' and '.join(given)} exclude each other" if given else "nothing says which key is meant"
        raise ConfigurationError(
            found, advice="Give exactly one of --secret S, --key-id K --account A, and --leaked-key-stdin."
        )
    if key_id is not None and account is None:
        raise ConfigurationError(
            "--key-id needs --account", advice="Name the Infobip account that the key belongs to: --account A."
        )


# ---- for people -----------------------------------------------------------------------------------------------------


class Screen:
    """Show emergencies to people: on a terminal each step as soon as it is done, else each emergency at its end.

    It reads the audit lines, since every module writes one at the moment of a change.
    """

    def __init__(self, app: App, call: Call, incident: str | None) -> None:
        self.app, self.call, self.incident = app, call, incident
        self.services = replace(app.services, audit=self) if call.is_live else app.services
        self._begun: datetime | None = None
        self._seen: set[tuple[str, str, bool]] = set()

    def emit(self, event: str, outcome: str, **fields: Any) -> None:
        """Write one line to the audit, and show its step."""
        from rotator.engine.emergency import Step, StepKind
        from rotator.render import Grid

        self.app.services.audit.emit(event, outcome, **fields)
        now = self.app.clock.now()
        if event == "emergency.requested":
            self._begun, self._seen = now, set()
        if (event, outcome) not in _STEPS or self._begun is None:
            return
        ok, key_id, secret = outcome == "success", fields.get("key_id"), str(fields.get("secret") or "")
        error = None if ok else str(fields.get("error") or "failed")
        step = Step(StepKind(_STEPS[(event, outcome)]), secret, key_id, now - self._begun, error=error)
        if (name := _name(step)) not in self._seen:
            self._seen.add(name)
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

        if not report.steps:  # why nothing was done
            yield from _note_parts(report)
        live = self._begun is not None
        rows = [_row(step, filled=live) for step in report.steps if _name(step) not in self._seen]
        # Notes that were added to steps after these were shown.
        after = [step for step in report.steps if _name(step) in self._seen and step.note and step.ok]
        rows += [(" " * _WIDTHS[0], f"{key_words(step.key_id):<{_NAME}}", " " * 7, shown(step.note)) for step in after]
        if rows:
            yield Grid(rows, _WIDTHS)
        for error in report.errors:
            yield styled(shown(error, _LONGEST_ERROR), "red")
        sentences = [f"{shown(name)} has a new key." for name in report.replaced]
        if report.revoked:
            sentences.append(f"{counted(len(report.revoked), 'key')} revoked.")
        elif not report.errors:
            sentences.append("No key was left to revoke.")
        if report.errors:
            errors = counted(len(report.errors), "error")
            sentences.append(f"{errors}: repeat the command, or disable the key in Infobip's portal.")
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
    yield from _note_parts(report)


def _note_parts(report: EmergencyReport) -> Iterator[str]:
    from rotator.render import shown

    for note in report.notes:
        yield f"Note: {shown(note)}."


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


def _name(step: Step) -> tuple[str, str, bool]:
    return step.what, step.secret if step.what == "promoted" else step.key_id or "", step.ok
