"""Adopts every tagged secret at once, as a sweep does, and gives a reason for each that can't be adopted.

This takes one listing of keys per account, and one search for each value whose key no label names.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final

from rotator.engine.apply import apply
from rotator.engine.context import AccountContext, Budget, Services
from rotator.engine.observe import Fleet, observe_account, observe_fleet
from rotator.engine.reconcile import Reconciler
from rotator.engine.sweep import NO_ACCOUNT
from rotator.model import AccountPlan, ActionKind, Outcome, Reason
from rotator.policy.planner import make_view
from rotator.policy.rules import SKIP_WHEN, View, first
from rotator.ports import KeyProvider

_MEANT: Final = frozenset({Reason.DELETED, Reason.OWNED, Reason.REPLICA, Reason.HOLD, Reason.FOREIGN_ROTATION})
"""Reasons that an operator asked for, or that pass: the secret is skipped, which is no failure."""


class Adopted(StrEnum):
    """The outcome for one secret."""

    ADOPTED = "adopted"
    WOULD_ADOPT = "would-adopt"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Adoption:
    """One secret that was not adopted yet.

    :param key_id: the key that its value is, if that is known.
    :param detail: why it was not adopted, and what to do; ``""`` if it was.
    """

    account: str
    secret: str
    outcome: Adopted
    key_id: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Adoptions:
    """The outcomes for all secrets.

    :param managed: how many secrets were under management already.
    :param errors: ``(account, sentence)`` for each account that could not be observed.
    """

    adoptions: tuple[Adoption, ...]
    managed: int
    errors: tuple[tuple[str, str], ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.errors and all(each.outcome is not Adopted.FAILED for each in self.adoptions)


def adopt_all(reconciler: Reconciler, *, account: str | None = None, dry_run: bool = False) -> Adoptions:
    """Adopt every tagged secret whose key Infobip knows by its value.

    :param account: only this one's.
    :param dry_run: only report what would be done.
    :raises RotatorError: the secrets can't be listed, or the account is not known.
    """
    fleet = observe_fleet(reconciler.services.store)
    found: list[Adoption] = []
    errors: list[tuple[str, str]] = []
    managed = 0
    for name in fleet.chosen(account):
        adopt = partial(_adopt_account, reconciler.services, fleet, name, found, dry_run=dry_run)
        done = reconciler.observed(fleet, name, adopt)
        if isinstance(done, AccountPlan):
            errors.append((name, done.error or ""))
        else:
            managed += done
    if account is None:
        found += [Adoption(NO_ACCOUNT, a.secret or "", Adopted.FAILED, detail=a.detail) for a in fleet.alerts]
    return Adoptions(tuple(found), managed, tuple(errors))


def _adopt_account(
    services: Services, fleet: Fleet, account: str, found: list[Adoption], provider: KeyProvider, *, dry_run: bool
) -> int:
    """Adopt one account's secrets; add each outcome to ``found`` at once. Returns how many were adopted before."""
    snapshot = observe_account(services.store, provider, fleet, account)
    context = AccountContext(services, provider, snapshot, Budget())
    views = [make_view(snapshot, entry) for entry in sorted(snapshot.secrets, key=lambda entry: entry.name)]
    for view in views:
        if view.life.unlabelled:
            found.append(_adopt(context, view, dry_run=dry_run))
    return sum(1 for view in views if view.life.current_key is not None)


def _adopt(context: AccountContext, view: View, *, dry_run: bool) -> Adoption:
    account, name, now = context.account, view.entry.name, context.services.clock.now()
    skipped = first(SKIP_WHEN, view, now)
    if skipped is not None:
        outcome = Adopted.SKIPPED if skipped.reason in _MEANT else Adopted.FAILED
        return Adoption(account, name, outcome, view.key_id, f"{skipped.reason}: {skipped.detail}")
    if dry_run:
        return Adoption(account, name, Adopted.WOULD_ADOPT, view.key_id)
    action = context.action(ActionKind.LABEL, Reason.UNADOPTED, view.entry, view.key_id, view.life.current_version)
    result, _ = apply(context, action)
    if result.outcome is Outcome.DONE:
        return Adoption(account, name, Adopted.ADOPTED, view.key_id)
    return Adoption(account, name, Adopted.FAILED, view.key_id, result.error or "")
