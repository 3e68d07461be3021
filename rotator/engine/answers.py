"""Answers what a plan must know before it rotates or revokes: proofs, other secrets with a key, and readers.

An idle sweep reads no value. A plan that is about to rotate or revoke says what it needs to know
(:class:`~rotator.plan.Questions`). The answers found here go into the snapshot, and the plan is made again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from rotator.engine.context import Services
from rotator.engine.copies import CurrentValues
from rotator.engine.observe import MAX_READS, connected, with_disabled_keys
from rotator.engine.version_values import with_values
from rotator.errors import (
    InvalidRequest,
    KeyNotFound,
    ReadersUnknown,
    RotatorError,
    StoreError,
)
from rotator.model import AccountSnapshot, Elsewhere, Policy, Reads, ReadsUnknown, SecretEntry
from rotator.plan import AccountPlan, Questions
from rotator.policy.gate import NOT_READ
from rotator.policy.planner import plan_account
from rotator.ports import KeyProvider

MAX_ROUNDS: Final = 4
"""How often a plan is made again with new answers: a refused rotation leaves its slot to another."""
MAX_LOG_TIME: Final = timedelta(minutes=2)
"""How long one account's sweep may read the access log. The next sweep reads what is left."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers the questions of one account's plan."""

    services: Services
    provider: KeyProvider
    values: CurrentValues

    def plan(
        self,
        snapshot: AccountSnapshot,
        policy: Policy,
        now: datetime,
        *,
        force: bool = False,
        secret: str | None = None,
    ) -> tuple[AccountSnapshot, AccountPlan]:
        """Plan a sweep with every ownership proof that can be found. Returns the plan's snapshot and the plan.

        :raises ProviderError: Infobip does not answer.
        """
        plan = plan_account(snapshot, policy, now, force=force, secret=secret)
        for _ in range(MAX_ROUNDS):
            if not plan.questions or plan.error is not None:
                break
            snapshot = self.answer(snapshot, plan.questions, now)
            plan = plan_account(snapshot, policy, now, force=force, secret=secret)
        return snapshot, plan

    def answer(self, snapshot: AccountSnapshot, questions: Questions, now: datetime) -> AccountSnapshot:
        """Return the snapshot with the answers.

        :raises ProviderError: Infobip does not answer.
        """
        if questions.disabled_keys and not snapshot.disabled_keys:
            snapshot = with_disabled_keys(self.provider, snapshot)
        entries = {entry.arn: entry for entry in snapshot.secrets}
        wanted = [(entries[arn], version_id) for arn, version_id in sorted(questions.values)]
        snapshot = with_values(self.values.store, self.provider, snapshot, wanted)
        versions = dict(snapshot.versions)
        for arn in sorted(questions.versions):
            # If the versions can't be listed, nothing is noted, and the revocation is refused before it is made.
            with contextlib.suppress(StoreError):
                versions[arn] = frozenset(self.values.store.version_dates(arn))
        snapshot = replace(snapshot, versions=versions)
        if questions.elsewhere:
            lost = sorted({key_id for _, key_id in questions.elsewhere})
            snapshot = replace(snapshot, elsewhere={**snapshot.elsewhere, **self._elsewhere(snapshot.account, lost)})
        if questions.readers:
            snapshot = replace(snapshot, readers={**snapshot.readers, **self._readers(entries, questions.readers)})
        if not questions.copies:
            return snapshot
        failed = {arn for arn, content in self.values.read().items() if isinstance(content, StoreError)}
        unreadable = tuple(entry for entry in self.values.fleet.every() if entry.arn in failed)
        asked = questions.copies.items()
        copies = {key_id: self.values.holders(self.provider, snapshot, key_id, holder, now) for key_id, holder in asked}
        return replace(snapshot, copies={**snapshot.copies, **copies}, unreadable=unreadable)

    def _elsewhere(self, account: str, lost: Sequence[str]) -> Mapping[str, Elsewhere]:
        """Where keys are that an account does not have: each is read by its id in the other accounts until it is found.

        An account that can't be asked, or not any more because this sweep has read enough, is noted.
        """
        fleet, left, reads = self.values.fleet, list(lost), 0
        found: dict[str, Elsewhere] = {}
        unasked: list[str] = []
        for other in sorted(fleet.managements.keys() - {account}):
            if not left:
                break
            reads += len(left)
            if reads > MAX_READS or not self.services.may_start():
                unasked.append(other)
                continue
            try:
                with connected(self.services, fleet, other) as provider:
                    for key_id in list(left):
                        with contextlib.suppress(KeyNotFound, InvalidRequest):  # a label may name anything
                            found[key_id] = Elsewhere(other, provider.get_key(key_id).key)
                            left.remove(key_id)
            except RotatorError:
                unasked.append(other)
        return {**{key_id: Elsewhere(unasked=tuple(unasked)) for key_id in left}, **found}

    def _readers(
        self, entries: Mapping[str, SecretEntry], asked: Mapping[str, tuple[datetime, datetime]]
    ) -> Mapping[str, Reads | ReadsUnknown]:
        """Who read each secret, by ARN. The secret whose revocation is overdue longest comes first.

        If the log can't be read for one secret, this is noted for it and for all that follow.
        """
        services, begun = self.services, self.services.clock.now()
        found: dict[str, Reads | ReadsUnknown] = {}
        failed: ReadsUnknown | None = None
        for arn, (_, since) in sorted(asked.items(), key=lambda item: (item[1][0], item[0])):
            late = services.clock.now() - begun > MAX_LOG_TIME or not services.may_start()
            try:
                found[arn] = failed or (NOT_READ if late else read_log(services, entries[arn], since))
            except RotatorError as error:
                found[arn] = failed = ReadsUnknown(str(error))
        return found


def read_log(services: Services, entry: SecretEntry, since: datetime) -> Reads:
    """Who read one secret.

    :raises ReadersUnknown: there is no access log, or it can't be read.
    """
    if services.readers is None:
        raise ReadersUnknown("no access log is configured")
    return services.readers.reads(entry, since)
