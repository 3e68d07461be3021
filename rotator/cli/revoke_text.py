"""An emergency revocation for people: before they say yes, and afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final

from rotator.cli.live import WIDTHS, LiveSteps, step_row
from rotator.engine.emergency import EmergencyPlan, EmergencyReport, Revocation, Strategy
from rotator.render import Grid, absolute, counted, shown, styled, when
from rotator.text import short_id

if TYPE_CHECKING:
    from rich.console import RenderableType

_LONGEST_ERROR: Final = 1200
"""What to do stands at its end."""
_CACHES: Final = "Consumers that cache the old value fail until they read it again (AWS's agent: up to 5 min)."


def look_parts(plan: EmergencyPlan, now: datetime) -> Iterator[RenderableType]:
    """What ``--yes`` would do in one account."""
    names = ", ".join(shown(entry.name) for entry in plan.replaceable)
    if plan.revocations:
        yield f"This kills in account {shown(plan.account, 60)}, at once and without grace:"
        yield Grid(
            [
                (f"key {short_id(revocation.key_id)}", _revocation_words(plan, revocation, now))
                for revocation in plan.revocations
            ],
            (16,),
        )
    else:
        yield f"This kills no key of account {shown(plan.account, 60)}."
    if names and plan.strategy is Strategy.REPLACE_FIRST:
        yield f"and puts a new key into {names} first (replace-first); if that fails, it kills all the same."
        yield _CACHES
    elif names:
        yield f"and puts a new key into {names} afterwards (revoke-first)."
        yield "Consumers fail from the kill until the new key is there and they have read it."
    elif not plan.replaced and any(revocation.role == "current" for revocation in plan.revocations):
        yield "and puts no new key in its place (revoke-only): its consumers fail until a sweep or you do."
    for error in plan.errors:
        yield styled(shown(error[:1].upper() + error[1:], _LONGEST_ERROR), "red")
    yield from note_parts(plan)


def note_parts(plan: EmergencyPlan) -> Iterator[str]:
    """What there is to say about a plan."""
    for note in plan.notes:
        yield f"Note: {shown(note)}."


def report_parts(
    report: EmergencyReport, run_id: str, incident: str | None, live: LiveSteps | None = None
) -> Iterator[RenderableType]:
    """What was done in one account.

    :param live: what said the steps already, as they were done.
    """
    rows = [step_row(step) for step in report.steps] if live is None else list(live.rest(report.steps))
    if rows:
        yield Grid(rows, WIDTHS)
    for error in report.errors:
        yield styled(shown(error), "red")
    yield " ".join(_summary(report, run_id, incident))


def _revocation_words(plan: EmergencyPlan, revocation: Revocation, now: datetime) -> str:
    key = plan.keys.get(revocation.key_id)
    parts = [revocation.role]
    if key is None:
        parts.append("not at Infobip any more")
    elif not key.enabled:
        parts.append("disabled already")
    elif revocation.role == "current" and key.valid_from is not None:
        parts.append(f"in use since {absolute(key.valid_from, now)}")
    if revocation.revoke_at is not None:
        parts.append(f"would have been revoked {when(revocation.revoke_at, now)}")
    holders = {entry.name for entry in plan.replaced} | {other.secret for other in plan.revocations}
    if len(holders) > 1 and revocation.secret:
        parts.append(f"of {shown(revocation.secret)}")
    return ", ".join(parts)


def _summary(report: EmergencyReport, run_id: str, incident: str | None) -> Iterator[str]:
    for name in report.replaced:
        yield f"{shown(name)} has a new key."
    dead = len(report.revoked)
    if dead:
        yield f"{counted(dead, 'key')} {'is' if dead == 1 else 'are'} dead."
    elif not report.errors:
        yield "No key was left to kill."
    if report.errors:
        yield f"{counted(len(report.errors), 'thing')} FAILED: repeat the command, or end the key in Infobip's portal."
    about = f", incident {shown(incident, 60)}" if incident else ""
    yield f"Recorded as run {short_id(run_id)}{about}."
