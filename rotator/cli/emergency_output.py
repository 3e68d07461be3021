"""What an emergency shows: its steps as they are done, its plan, and one JSON document at the end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from rich.console import RenderableType

from rotator.bootstrap import App
from rotator.cli.call import Call
from rotator.cli.documents import OfSecretShape, Time
from rotator.engine.emergency import EmergencyPlan, EmergencyReport, EmergencyStep, Strategy, emergency_document
from rotator.engine.emergency.targets import KeyRole
from rotator.render import Grid, absolute, counted, key_words, shown, styled, when
from rotator.text import short_id

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


# Written by ``emergency_document``, which the Lambda handler uses too.


class EmergencyStepShape(OfSecretShape):
    """A new key that was promoted, or would be."""

    account: str
    secret: str | None
    key_id: str | None
    outcome: str
    error: str | None
    detail: str | None
    seconds: float


class EmergencyKeyShape(EmergencyStepShape):
    """A key that was revoked, or would be."""

    role: KeyRole
    verified: bool | None
    version_id: str | None
    revoke_at: Time | None


class EmergencyOutput:
    """Text, written at once (on a terminal step by step), and what the document will contain.

    :param errors: those that are in no report; ``more`` are further fields of the document.
    """

    def __init__(self, app: App, call: Call, strategy: Strategy, incident: str | None, *, dry_run: bool) -> None:
        self.app, self.call = app, call
        self.strategy, self.incident, self.dry_run = strategy, incident, dry_run
        self.reports: list[EmergencyReport] = []
        self.errors: list[str] = []
        self.more: dict[str, Any] = {}
        self._shown: list[EmergencyStep] = []

    @property
    def failed(self) -> bool:
        """Whether a key may still be enabled, or a secret has no new one; in a dry run: whether nothing can be done."""
        return bool(self.errors) or any(each.errors and not (each.dry_run and each.revoked) for each in self.reports)

    def step(self, step: EmergencyStep) -> None:
        """Show one step at once, if a person watches."""
        if self.call.is_live:
            self._shown.append(step)
            self.call.text(Grid([_row(step, filled=True)], _WIDTHS))

    def show(self, plan: EmergencyPlan, report: EmergencyReport) -> None:
        """Show what was done in one account, or would be."""
        self.reports.append(report)
        if report.dry_run:
            self.call.text(*_planned_parts(plan, report, self.app.clock.now()))
        else:
            self.call.text(*self._done_parts(report))

    def write_document(self) -> None:
        """Write ``revoke --json``, after an error too: with what was done before it."""
        if self.call.json:
            run_id = self.app.audit.run_id
            document = emergency_document(self.reports, self.strategy, self.incident, run_id, dry_run=self.dry_run)
            self.call.document({**document, **self.more, "errors": [*document["errors"], *self.errors]})

    def _done_parts(self, report: EmergencyReport) -> Iterator[RenderableType]:

        live = bool(self._shown)
        shown_before = {(step.what, step.title, step.key_id) for step in self._shown}
        self._shown.clear()
        rows, after = [], []
        for step in report.steps:
            if (step.what, step.title, step.key_id) not in shown_before:
                rows.append(_row(step, filled=live))
            elif step.note and step.verified is not None:  # the note was added after the step was shown
                after.append(step)
        rows += [(" " * _WIDTHS[0], f"{key_words(step.key_id):<{_NAME}}", " " * 7, shown(step.note)) for step in after]
        if rows:
            yield Grid(rows, _WIDTHS)
        for error in report.errors:
            yield styled(shown(error, _LONGEST_ERROR), "red")
        yield from _note_parts(report)
        sentences = [f"{shown(title)} has a new key." for title in report.replaced_titles]
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
    keys = [step for step in report.steps if step.what == "revoked" and step.ok]
    names = ", ".join(shown(title) for title in report.replaced_titles)
    account = shown(plan.account, 60)
    if keys:
        yield f"To be revoked immediately in account {account}, without a grace period:"
        yield Grid([(f"key {short_id(step.key_id or '')}", _key_text(plan, report, step, now)) for step in keys], (16,))
    elif report.errors:
        yield f"No key to revoke was identified in account {account}."
    else:
        yield f"There is no key to revoke in account {account}."
    if names and not plan.strategy.revokes_at_once:
        yield f"A new key is stored in {names} first ({plan.strategy}). If that fails, the keys are revoked anyway."
        yield _CACHES
    elif names:
        yield f"A new key is stored in {names} afterwards ({plan.strategy})."
        yield "Consumers fail until the new key is stored and they have read it."
        yield _CACHES
    elif not plan.replaced and any(suspect.role == "current" for suspect in plan.suspects):
        yield f"No new key is created ({plan.strategy}): consumers fail until the next sweep creates one."
    for error in report.errors:
        yield styled(shown(error[:1].upper() + error[1:], _LONGEST_ERROR), "red")
    yield from _note_parts(report)


def _note_parts(report: EmergencyReport) -> Iterator[str]:
    for note in report.notes:
        yield f"Note: {shown(note)}."


def _key_text(plan: EmergencyPlan, report: EmergencyReport, step: EmergencyStep, now: datetime) -> str:
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
        parts.append(f"in {shown(suspect.title)}")
    return ", ".join(parts)


def _row(step: EmergencyStep, *, filled: bool) -> tuple[Any, ...]:
    """Return a step's cells: what was done, to what, when, and how far it is verified.

    :param filled: pad the cells, so that steps that are shown one by one align.
    """

    name = shown(step.title) if step.what == "promoted" or step.key_id is None else key_words(step.key_id)
    done = styled(step.what, "green") if step.ok else styled(f"NOT {step.what}", "red")
    after = f"{step.after.total_seconds():.1f} s"
    if filled:
        done.pad_right(max(0, _WIDTHS[0] - len(done)))
        name, after = f"{name:<{_NAME}}", f"{after:<7}"
    return done, name, after, shown(step.note)
