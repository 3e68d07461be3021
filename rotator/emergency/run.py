"""How a plan is carried out: what comes first, and what is looked at again before it is believed.

``replace-first`` lists, reads the management secret, proves the key by its name, reads the value, creates, stores,
probes, promotes and then revokes: nine calls. Promotion compares and swaps, so the listing needs no second look unless
that fails. ``revoke-first`` and ``revoke-only`` list, read the management secret, describe the secret, prove, revoke:
five; a key that was named needs no proof and does not wait for the secret: three. A key that was created by hand is
proven by its value: two calls more, and one to know its rights where it is replaced.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rotator.core.lifecycle import read_lifecycle
from rotator.core.model import SecretEntry
from rotator.emergency.holders import is_unlabelled, kills_of, with_label
from rotator.emergency.kill import Killing
from rotator.emergency.labels import clean
from rotator.emergency.model import CURRENT, ORPHAN, PENDING, EmergencyPlan, Kill, Strategy
from rotator.emergency.proof import prove
from rotator.emergency.replacement import Replacing
from rotator.emergency.work import Work
from rotator.errors import RotatorError
from rotator.observe import resolve_current


@dataclass
class Run:
    """One plan's carrying out. Never raises for what fails on the way: that is in the report."""

    work: Work
    killing: Killing = field(init=False)
    replacing: Replacing = field(init=False)

    def __post_init__(self) -> None:
        self.killing = Killing(self.work)
        self.replacing = Replacing(self.work, self.killing)

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
        self.killing.give_up()
        prove(self.work)

    # ---- the strategies ---------------------------------------------------------------------------------------------

    def _replace_first(self) -> None:
        named = self.plan.named_kill
        if named is not None and named.role != CURRENT and not self._is_current(named):
            self.killing.kill_all([named])  # no consumer gets it any more: nothing to wait for
        held = self.replacing.replace_all(self.plan.replaced)
        secret = self.plan.secret
        if secret is None or secret.arn in self.work.promoted:
            self.killing.kill_all((*held, *self.plan.kills))
            return
        entry = self._look(secret)
        self.killing.kill_all(self._dying(entry))
        self._say_spared(entry)

    def _revoke_first(self) -> None:
        named, secret = self.plan.named_kill, self.plan.secret
        if named is not None:
            self.killing.kill_all([named])
        entry = None if secret is None else self._look_first(secret)
        self.killing.kill_all(self.plan.kills if entry is None else self._dying(entry))
        if self.plan.strategy is Strategy.REVOKE_ONLY:
            return
        first = [entry or listed for listed in self.plan.replaced if secret is not None and listed.arn == secret.arn]
        if first and not self.replacing.still_needed(first[0]):
            first = []  # a rotation was faster than this
        others = [listed for listed in self.plan.replaced if secret is None or listed.arn != secret.arn]
        self.killing.kill_all(self.replacing.replace_all((*first, *others, *self._unlabelled_holders())))
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
        self.work.condemn(kill for kill in kills_of(entry) if not self.work.is_newer(kill))
        return entry

    def _is_current(self, kill: Kill) -> bool:
        """Whether consumers get that key after all (a rollback within the last minutes, say)."""
        if self.plan.secret is None:
            return False
        return read_lifecycle(self._look(self.plan.secret)).current_key == kill.key_id

    def _dying(self, entry: SecretEntry) -> list[Kill]:
        """The keys that end by a fresh look, and those that only the listing knew."""
        planned = {kill.key_id for kill in self.plan.kills}
        fresh = [kill for kill in kills_of(entry) if not self.plan.repeated or kill.key_id in planned]
        fresh = [kill for kill in fresh if not (kill.role == PENDING and kill.version_id in self.work.made)]
        seen = {kill.key_id for kill in kills_of(entry)}
        kills = fresh + [kill for kill in self.plan.kills if kill.key_id not in seen]
        return [kill for kill in kills if not self._spared(kill, entry)]

    def _spared(self, kill: Kill, entry: SecretEntry) -> bool:
        """What is no leak, or what consumers get and nothing has replaced: that dies only where it may be the leak.

        Such a one was not named, or this incident made it, or somebody promoted it since the incident began.
        """
        if read_lifecycle(entry).current_key == kill.key_id:
            others = self.work.replaced_before(entry) or self.plan.named not in (None, kill.key_id)
            return others or kill.key_id not in self.work.condemned
        planned = any(kill.key_id == known.key_id for known in self.plan.kills)
        return not planned and self.work.is_newer(kill)

    def _say_spared(self, entry: SecretEntry) -> None:
        current, work = read_lifecycle(entry).current_key, self.work
        if current is None or self.plan.repeated or work.replaced_before(entry) or entry.arn in work.replaced_by_others:
            return
        if self.plan.named not in (None, current):
            why = "was not named"
        elif current not in work.condemned:
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
            if listed.arn == main or not is_unlabelled(listed) or not work.dead:
                continue
            try:
                key_id = resolve_current(work.services.store, work.provider, listed).key_id
            except RotatorError:
                continue
            if key_id is not None and key_id in work.dead:
                work.unlabelled.add(listed.arn)
                found.append(with_label(listed, key_id))
        return found

    # ---- afterwards -------------------------------------------------------------------------------------------------

    def _clean_up(self) -> None:
        """Kill what the listing did not show and what failed once, and take the dead keys' labels off."""
        main = self.plan.secret.arn if self.plan.secret else None
        names = {entry.arn: entry.name for entry in (self.plan.secret, *self.plan.replaced) if entry is not None}
        self.killing.kill_all([kill for kill, _ in self.killing.failed.values() if kill.role == ORPHAN], again=True)
        for arn, name in names.items():
            try:
                entry = self.work.services.store.describe(arn)
                if arn == main:
                    self.killing.kill_all([kill for kill in kills_of(entry) if self._left(kill)], again=True)
                clean(self.work, entry)
            except RotatorError as error:
                left = f"the labels of {name} were not cleaned, the next sweep does it: {error}"
                self.work.report.errors.append(left)

    def _left(self, kill: Kill) -> bool:
        if kill.key_id in self.killing.left():
            return True
        if self.plan.repeated and kill.key_id not in {planned.key_id for planned in self.plan.kills}:
            return False
        if kill.role in (CURRENT, PENDING):
            return False
        # What this very run made, or another rotation since, was superseded by somebody else's, and is not what leaked.
        return kill.version_id not in self.work.made and not self.work.is_newer(kill)
