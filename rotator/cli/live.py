"""An emergency step by step, while it goes on: on a terminal. What is piped says nothing before the end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from rotator.cli.call import Call
from rotator.engine.emergency.targets import Step, StepKind
from rotator.render import Grid, key_words, shown, styled

if TYPE_CHECKING:
    from rotator.engine.context import Services
    from rotator.ports import AuditSink, Clock

WIDTHS: Final = (12, 34, 9)
_NAME: Final = 24
_STEPS: Final = {
    ("key.created", "success"): (StepKind.CREATED, True),
    ("secret.promoted", "success"): (StepKind.PROMOTED, True),
    ("key.revoked", "success"): (StepKind.REVOKED, True),
    ("rotation.failed", "failure"): (StepKind.PROMOTED, False),
    ("revocation.failed", "failure"): (StepKind.REVOKED, False),
}


class LiveSteps:
    """An audit that says each step of an emergency on a terminal as soon as it is written down.

    It is fed by the audit lines since these are written at the very moment, whichever module makes the change.
    """

    def __init__(self, audit: AuditSink, call: Call, clock: Clock) -> None:
        self._audit, self._call, self._clock = audit, call, clock
        self._begun: datetime | None = None
        self._shown: set[tuple[str, str, bool]] = set()

    def emit(self, event: str, outcome: str, **fields: Any) -> None:
        """Write one line, and show its step."""
        self._audit.emit(event, outcome, **fields)
        if event == "emergency.requested":
            self._begun, self._shown = self._clock.now(), set()
            return
        if (event, outcome) not in _STEPS or self._begun is None:
            return
        what, ok = _STEPS[(event, outcome)]
        key_id, secret = fields.get("key_id"), str(fields.get("secret") or "")
        error = None if ok else str(fields.get("error") or "failed")
        step = Step(what, secret, key_id, self._clock.now() - self._begun, error=error)
        if (name := _name(step)) not in self._shown:
            self._shown.add(name)
            self._call.text(Grid([_filled(step_row(step))], WIDTHS))

    def rest(self, steps: list[Step]) -> Iterator[tuple[Any, ...]]:
        """The rows of a report that were not shown yet; of those that were, what was found out afterwards."""
        for step in steps:
            if _name(step) not in self._shown:
                yield _filled(step_row(step))
            elif step.note and step.ok:
                yield _filled(("", key_words(step.key_id), "", shown(step.note)))


def step_row(step: Step) -> tuple[Any, ...]:
    """One step: what, of what, when, how far it is verified."""
    named = shown(step.secret) if step.what == "promoted" or step.key_id is None else key_words(step.key_id)
    done = styled(step.what, "green") if step.ok else styled(f"NOT {step.what}", "red")
    return done, named, f"{step.after.total_seconds():.1f} s", shown(step.note)


def _filled(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Each line is a table by itself: its cells are as wide as the next one's will be."""
    done, named, after, note = row
    if isinstance(done, str):
        done = styled(done, "")
    done.pad_right(max(0, WIDTHS[0] - len(done)))
    return done, f"{named:<{_NAME}}", f"{after:<7}", note


def watched(services: Services, call: Call) -> tuple[Services, LiveSteps | None]:
    """The services with an audit that shows the steps; on a terminal only."""
    from dataclasses import replace

    if not call.is_live:
        return services, None
    live = LiveSteps(services.audit, call, services.clock)
    return replace(services, audit=live), live


def _name(step: Step) -> tuple[str, str, bool]:
    return step.what, step.secret if step.what == "promoted" else step.key_id or "", step.ok
