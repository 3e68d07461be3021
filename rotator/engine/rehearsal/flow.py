"""The real flow, once: the engine's own code on the rehearsal's secret."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rotator.engine.emergency import Emergency, Strategy, Target
from rotator.engine.reconcile import Reconciler
from rotator.engine.rehearsal.assumptions import CheckedAssumption, checked
from rotator.engine.rollback import rollback
from rotator.engine.rotate_now import rotate_now
from rotator.engine.version_values import key_in
from rotator.errors import Refused, RotatorError
from rotator.model import ActionKind, Outcome, Result
from rotator.policy.tags import GRACE_TAG, SHORT_GRACE_TAG

REASON: Final = "rehearsal"
SHORT_GRACE: Final = {GRACE_TAG: "1s", SHORT_GRACE_TAG: "true"}
AFTER_GRACE: Final = 3.0
"""Seconds after which a key with such a grace period is due: labels have whole seconds, rounded up."""


@dataclass
class Flow:
    """The flow on one secret.

    :param tags: the secret's, as the reconciler's store shows them.
    """

    reconciler: Reconciler
    account: str
    secret: str
    tags: dict[str, str]

    def rows(self) -> Iterator[CheckedAssumption]:
        """Run each step. A failed step ends the flow; the caller reports the others as not tested."""
        steps = {
            "first-key": self._rotate,
            "rotation": self._rotate,
            "rollback": self._rollback,
            "rotation-again": self._rotate_with_short_grace,
            "retirement": self._sweep,
            "emergency": self._emergency,
        }
        for name, step in steps.items():
            try:
                step()
            except RotatorError as error:
                yield checked(name, False, error=error)
                return
            yield checked(name, True)

    def _rotate(self) -> None:
        _demand(rotate_now(self.reconciler, self.secret, REASON), ActionKind.ROTATE)

    def _rotate_with_short_grace(self) -> None:
        self.tags |= SHORT_GRACE
        self._rotate()

    def _rollback(self) -> None:
        rollback(self.reconciler, self.secret, REASON)

    def _sweep(self) -> None:
        self.reconciler.services.clock.sleep(AFTER_GRACE)
        sweep = self.reconciler.sweep(account=self.account, secret=self.secret)
        if (error := sweep.plan.accounts[0].error) is not None:
            raise Refused(error)
        _demand(sweep.results, ActionKind.REVOKE)

    def _emergency(self) -> None:
        store = self.reconciler.services.store
        entry = store.describe(self.secret)
        leaked = key_in(store.read_current(entry.arn).text, entry)
        emergency = Emergency(self.reconciler.services, REASON, None)
        plan = emergency.plan(Target(account=self.account, leaked=leaked), Strategy.REPLACE_FIRST)
        report = emergency.execute(plan)
        if not report.ok or not report.revoked or not report.replaced:
            raise Refused("; ".join(report.errors) or "no key was revoked and replaced")


def _demand(results: Sequence[Result], kind: ActionKind) -> None:
    """Demand that an action of this kind was done, and that none failed.

    :raises Refused: otherwise, with the error of the first that failed.
    """
    failed = next((result for result in results if result.outcome is not Outcome.DONE), None)
    if failed is not None:
        raise Refused(failed.error or f"the action {failed.action.kind} was {failed.outcome}")
    if all(result.action.kind is not kind for result in results):
        raise Refused(f"nothing was done: no action {kind}")
