"""One day's work in the demo: a sweep or the half of one, what is told of it, what is counted, and who tries it out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Final

from rotator.model import AccountPlan, ActionKind, Alert, Outcome, Reason, Result
from rotator.sandbox.demo_score import Referee, Score
from rotator.sandbox.demo_show import Narrator
from rotator.sandbox.demo_world import DemoWorld, Killed
from rotator.text import short_id

HOUR: Final = timedelta(hours=1)


class Sweeper:
    """Sweeps, and remembers what was told already: a secret that is skipped every day is news once."""

    def __init__(self, world: DemoWorld, referee: Referee, score: Score, narrator: Narrator) -> None:
        self._world, self._referee, self._score, self._narrator = world, referee, score, narrator
        self._unfinished: set[str] = set()
        self._skipped_rows: set[tuple[str, Reason]] = set()
        self._alerts: set[tuple[Reason, str | None]] = set()
        self._deferred: set[str] = set()

    def tell(self, verb: str, subject: str, text: str) -> None:
        """Tell of one event, now."""
        self._narrator.tell(self._world.clock.now(), verb, subject, text)

    def sweep(self, *, first: tuple[str, str, str] | None = None) -> None:
        """Sweep, tell what came of it, and let the consumers try it. ``first`` is told before the rest."""
        with self._world.run() as reconciler:
            sweep = reconciler.sweep()
        self._score.sweeps += 1
        if first is not None:
            self.tell(*first)
        for result in sweep.results:
            self._count(result)
            if result.outcome is not Outcome.DEFERRED or result.action.secret not in self._deferred:
                self._tell_result(result)
        self._deferred = {r.action.secret for r in sweep.results if r.outcome is Outcome.DEFERRED}
        self._tell_skipped(sweep.plan.accounts)
        self._referee.step(changed=bool(sweep.results))

    def due(self) -> list[str]:
        """The secrets that a sweep would rotate now, in its order."""
        with self._world.run() as reconciler:
            actions = [action for plan in reconciler.plan().accounts for action in plan.actions]
        return [action.secret for action in actions if action.kind is ActionKind.ROTATE]

    def killed(self, operation: str, what: str, when: Callable[[dict[str, Any]], bool] = lambda _: True) -> None:
        """A sweep that dies right before a call to Secrets Manager; the next one begins an hour later."""
        due = self.due()[:1]
        with self._world.run() as reconciler, self._world.killed_before(operation, when):
            try:
                reconciler.sweep()
            except Killed:
                self._score.kills += 1
                self._unfinished.update(due)
                self.tell("KILLED", "".join(due), what)
        self._score.sweeps += 1
        self._referee.step()
        self._world.clock.advance(HOUR)

    def _count(self, result: Result) -> None:
        score = self._score
        if result.outcome is Outcome.FAILED:
            score.failed_actions += 1
        if result.outcome is not Outcome.DONE:
            return
        score.rotations += result.new_key_id is not None
        score.revocations += result.action.costs_update
        score.adoptions += result.action.reason is Reason.UNADOPTED
        if result.new_key_id is not None and result.action.secret in self._unfinished:
            self._unfinished.discard(result.action.secret)
            score.recoveries += 1

    def _tell_result(self, result: Result) -> None:
        action = result.action
        old, new = short_id(action.key_id or ""), short_id(result.new_key_id or "")
        match action.kind, result.outcome:
            case _, Outcome.FAILED:
                self.tell("failed", action.secret, result.error or "")
            case _, Outcome.DEFERRED:
                self.tell("deferred", action.secret, "waits for the next sweep")
            case ActionKind.ROTATE, _ if action.reason is Reason.FIRST_KEY:
                self.tell("first key", action.secret, f"key {new} for an empty secret")
            case ActionKind.ROTATE, _:
                self.tell("rotated", action.secret, f"key {old} → {new}")
            case ActionKind.RESUME, _:
                self.tell("recovered", action.secret, f"key {new} found, and promoted")
            case ActionKind.LABEL, _ if action.reason is Reason.UNADOPTED:
                self.tell("adopted", action.secret, f"key {old}, found by its value")
            case ActionKind.RETIRE, _:
                self.tell("retiring", action.secret, f"key {old}, its grace begins")
            case ActionKind.REVOKE, _ if action.reason is Reason.ORPHAN:
                self.tell("revoked", action.secret, f"key {old}, an orphan")
            case ActionKind.REVOKE, _:
                self.tell("revoked", action.secret, f"key {old}, its grace is over")

    def _tell_skipped(self, plans: Iterable[AccountPlan]) -> None:
        """What is new since the last sweep."""
        skipped_rows: set[tuple[str, Reason]] = set()
        for plan in plans:
            if plan.error is not None:
                self.tell("not swept", plan.account, "nothing was changed")
                continue
            for skip in plan.skipped:
                skipped_rows.add((skip.secret, skip.reason))
                if (skip.secret, skip.reason) not in self._skipped_rows:
                    verb = "waits" if skip.reason is Reason.WINDOW else "skipped"
                    self.tell(verb, skip.secret, f"{skip.reason}: {skip.detail}")
            told = {(skip.reason, skip.secret) for skip in plan.skipped}
            for alert in plan.alerts:
                if (alert.kind, alert.secret) not in told:
                    self._alert(alert)
        self._skipped_rows = skipped_rows

    def _alert(self, alert: Alert) -> None:
        if (alert.kind, alert.secret) in self._alerts:
            return
        self._alerts.add((alert.kind, alert.secret))
        self.tell("alert", alert.secret or "", alert.detail)
