"""How a plan is carried out: what comes first, and what is looked at again before it is believed.

``replace-first`` lists, reads the management secret, proves the key by its name, reads the value, creates, stores,
probes, promotes and then revokes: nine calls. Promotion compares and swaps, so the listing needs no second look unless
that fails. ``revoke-first`` and ``revoke-only`` list, read the management secret, describe the secret, prove, revoke:
five; a key that was named needs no proof and does not wait for the secret: three. A key that was created by hand is
proven by its value: two calls more, and one to know its rights where it is replaced.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rotator.engine.emergency.holders import is_unlabelled, revocations_of, with_label
from rotator.engine.emergency.incident import Work
from rotator.engine.emergency.label_cleanup import clean
from rotator.engine.emergency.replacement import Replacer
from rotator.engine.emergency.revocations import Revoker
from rotator.engine.emergency.targets import CURRENT, ORPHAN, PENDING, EmergencyPlan, Revocation, Strategy
from rotator.engine.emergency.verification import verify_revoked
from rotator.engine.observe import resolve_version
from rotator.errors import RotatorError
from rotator.model import SecretEntry
from rotator.policy.lifecycle import read_lifecycle


@dataclass
class Run:
    """One plan's carrying out. Never raises for what fails on the way: that is in the report."""

    work: Work
    revoker: Revoker = field(init=False)
    replacer: Replacer = field(init=False)

    def __post_init__(self) -> None:
        self.revoker = Revoker(self.work)
        self.replacer = Replacer(self.work, self.revoker)

    @property
    def plan(self) -> EmergencyPlan:
        """What is to be done."""
        return self.work.plan

    def execute(self) -> None:
        """In the order of the strategy; afterwards what the listing did not show, the labels, and the proof."""
        if self.plan.strategy is Strategy.REPLACE_FIRST:
            self._replace_first()
        else:
            self._revoke_first()
        self._clean_up()
        self.revoker.give_up()
        verify_revoked(self.work)

    # ---- the strategies ---------------------------------------------------------------------------------------------

    def _replace_first(self) -> None:
        named = self.plan.named_revocation
        if named is not None and named.role != CURRENT and not self._is_current(named):
            self.revoker.revoke_all([named])  # no consumer gets it any more: nothing to wait for
        held = self.replacer.replace_all(self.plan.replaced)
        secret = self.plan.secret
        if secret is None or secret.arn in self.work.promoted:
            self.revoker.revoke_all((*held, *self.plan.revocations))
            return
        entry = self._look(secret)
        self.revoker.revoke_all(self._to_revoke(entry))
        self._say_spared(entry)

    def _revoke_first(self) -> None:
        named, secret = self.plan.named_revocation, self.plan.secret
        if named is not None:
            self.revoker.revoke_all([named])
        entry = None if secret is None else self._look_first(secret)
        self.revoker.revoke_all(self.plan.revocations if entry is None else self._to_revoke(entry))
        if self.plan.strategy is Strategy.REVOKE_ONLY:
            return
        first = [entry or listed for listed in self.plan.replaced if secret is not None and listed.arn == secret.arn]
        if first and not self.replacer.still_needed(first[0]):
            first = []  # a rotation was faster than this
        others = [listed for listed in self.plan.replaced if secret is None or listed.arn != secret.arn]
        self.revoker.revoke_all(self.replacer.replace_all((*first, *others, *self._unlabelled_holders())))
        if first and secret is not None and secret.arn not in self.work.promoted and entry is not None:
            self._say_spared(entry)

    # ---- looking again ----------------------------------------------------------------------------------------------

    def _look(self, secret: SecretEntry) -> SecretEntry:
        """The secret as it is now, or as it was listed where it can't be looked at."""
        try:
            return self.work.fresh(secret.arn)
        except RotatorError:
            return secret

    def _look_first(self, secret: SecretEntry) -> SecretEntry:
        """The same, before anybody can have been told of the incident: what it shows, the listing was too old for."""
        entry = self._look(secret)
        self.work.mark_compromised(
            revocation for revocation in revocations_of(entry) if not self.work.is_newer(revocation)
        )
        return entry

    def _is_current(self, revocation: Revocation) -> bool:
        """Whether consumers get that key after all (a rollback within the last minutes, say)."""
        if self.plan.secret is None:
            return False
        return read_lifecycle(self._look(self.plan.secret)).current_key == revocation.key_id

    def _to_revoke(self, entry: SecretEntry) -> list[Revocation]:
        """The keys that end by a fresh look, and those that only the listing knew."""
        planned = {revocation.key_id for revocation in self.plan.revocations}
        fresh = [
            revocation for revocation in revocations_of(entry) if not self.plan.repeated or revocation.key_id in planned
        ]
        fresh = [
            revocation
            for revocation in fresh
            if not (revocation.role == PENDING and revocation.version_id in self.work.made)
        ]
        seen = {revocation.key_id for revocation in revocations_of(entry)}
        revocations = fresh + [revocation for revocation in self.plan.revocations if revocation.key_id not in seen]
        return [revocation for revocation in revocations if not self._spared(revocation, entry)]

    def _spared(self, revocation: Revocation, entry: SecretEntry) -> bool:
        """What is no leak, or what consumers get and nothing has replaced: that dies only where it may be the leak.

        Such a one was not named, or this incident made it, or somebody promoted it since the incident began.
        """
        if read_lifecycle(entry).current_key == revocation.key_id:
            others = self.work.replaced_before(entry) or self.plan.named not in (None, revocation.key_id)
            return others or revocation.key_id not in self.work.compromised
        planned = any(revocation.key_id == known.key_id for known in self.plan.revocations)
        return not planned and self.work.is_newer(revocation)

    def _say_spared(self, entry: SecretEntry) -> None:
        current, work = read_lifecycle(entry).current_key, self.work
        if current is None or self.plan.repeated or work.replaced_before(entry) or entry.arn in work.replaced_by_others:
            return
        if self.plan.named not in (None, current):
            why = "was not named"
        elif current not in work.compromised:
            why = "was put there after this incident began"
        else:
            return
        work.report.errors.append(
            f"the current key {current} of {entry.name} {why} and stays, since nothing has replaced it"
        )

    def _unlabelled_holders(self) -> list[SecretEntry]:
        """Secrets that nobody adopted yet and that hold a key that just ended."""
        work, found = self.work, []
        main = self.plan.secret.arn if self.plan.secret else None
        for listed in self.plan.fleet.managed.get(self.plan.account, ()):
            if listed.arn == main or not is_unlabelled(listed) or not work.revoked:
                continue
            try:
                key_id = resolve_version(work.services.store, work.provider, listed).key_id
            except RotatorError:
                continue
            if key_id is not None and key_id in work.revoked:
                work.unlabelled.add(listed.arn)
                found.append(with_label(listed, key_id))
        return found

    # ---- afterwards -------------------------------------------------------------------------------------------------

    def _clean_up(self) -> None:
        """Revoke what the listing did not show and what failed once, and take the dead keys' labels off."""
        main = self.plan.secret.arn if self.plan.secret else None
        names = {entry.arn: entry.name for entry in (self.plan.secret, *self.plan.replaced) if entry is not None}
        self.revoker.revoke_all(
            [revocation for revocation, _ in self.revoker.failed.values() if revocation.role == ORPHAN], again=True
        )
        for arn, name in names.items():
            try:
                entry = self.work.services.store.describe(arn)
                if arn == main:
                    self.revoker.revoke_all(
                        [revocation for revocation in revocations_of(entry) if self._left(revocation)], again=True
                    )
                clean(self.work, entry)
            except RotatorError as error:
                left = f"the labels of {name} were not cleaned, the next sweep does it: {error}"
                self.work.report.errors.append(left)

    def _left(self, revocation: Revocation) -> bool:
        if revocation.key_id in self.revoker.left():
            return True
        if self.plan.repeated and revocation.key_id not in {planned.key_id for planned in self.plan.revocations}:
            return False
        if revocation.role in (CURRENT, PENDING):
            return False
        # What this very run made, or another rotation since, was superseded by somebody else's, and is not what leaked.
        return revocation.version_id not in self.work.made and not self.work.is_newer(revocation)
