"""How a plan is carried out: what comes first, and what is read again before it is believed.

``replace-first`` lists, reads the management secret, finds the key by its name, reads the value, creates, stores,
probes, promotes and then revokes: nine calls. Promotion compares and swaps, so the secret is not described again unless
that fails. ``revoke-first`` and ``revoke-only`` list, read the management secret, describe the secret, find the key,
revoke: five; a key that was named needs no proof by name or value and does not wait for the secret: three. A key that
was created by hand is proven by value: two calls more, and one to know its rights where it is replaced.

A dry run is the same code up to each change: it makes every check, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from rotator.engine.emergency.incident import Incident, spec_of
from rotator.engine.emergency.planning import unlabelled_holders
from rotator.engine.emergency.replacer import Replacer, clean
from rotator.engine.emergency.revoker import Revoker
from rotator.engine.emergency.targets import EmergencyPlan, Revocation, Role, Step, StepKind, Strategy, revocations_of
from rotator.errors import RotatorError
from rotator.model import SecretEntry
from rotator.policy.lifecycle import read_lifecycle
from rotator.ports import FetchedKey, Probe, ProbeVerdict
from rotator.secret import Secret

VERIFY_TIMEOUT: Final = timedelta(seconds=60)
"""How long a revocation may take to show everywhere."""
LONGEST_WAIT: Final = 8.0


@dataclass
class Execution:
    """Carries out one plan. Never raises for what fails on the way: that is in the report.

    :raises ProviderError: only in a dry run, where Infobip can't be asked.
    """

    incident: Incident
    revoker: Revoker = field(init=False)
    replacer: Replacer = field(init=False)

    def __post_init__(self) -> None:
        self.revoker = Revoker(self.incident)
        self.replacer = Replacer(self.incident, self.revoker)

    @property
    def plan(self) -> EmergencyPlan:
        """What is to be done."""
        return self.incident.plan

    def execute(self) -> None:
        """In the order of the strategy; then what the listing did not show, the labels, and the verification."""
        if self.plan.strategy is Strategy.REPLACE_FIRST:
            self._replace_first()
        else:
            self._revoke_first()
        if not self.incident.dry_run:
            self._clean_up()
        self.revoker.report_rest()
        if not self.incident.dry_run:
            verify_revocations(self.incident)

    # ---- the strategies ---------------------------------------------------------------------------------------------

    def _replace_first(self) -> None:
        named = self.plan.named_revocation
        if named is not None and named.role != Role.CURRENT and not self._is_current(named):
            self.revoker.revoke_all([named])  # no consumer gets it any more: nothing to wait for
        held = self.replacer.replace_all(self.plan.replaced)
        secret = self.plan.secret
        if secret is None or secret.arn in self.incident.promoted:
            self.revoker.revoke_all((*held, *self.plan.revocations))
            return
        entry = self._described(secret)
        self.revoker.revoke_all(self._to_revoke(entry))
        self._report_kept(entry)

    def _revoke_first(self) -> None:
        plan, named, secret = self.plan, self.plan.named_revocation, self.plan.secret
        if named is not None:
            self.revoker.revoke_all([named])
        entry = None
        if secret is not None:
            # Before anything can have reacted to the incident: what this shows, the listing was too old for.
            entry = self._described(secret)
            self.incident.mark_compromised(item for item in revocations_of(entry) if not self.incident.is_newer(item))
        self.revoker.revoke_all(plan.revocations if entry is None else self._to_revoke(entry))
        if plan.strategy is Strategy.REVOKE_ONLY:
            return
        main = [entry or listed for listed in plan.replaced if plan.is_main(listed.arn)]
        if main and not self.replacer.still_needed(main[0]):
            main = []  # a rotation was faster than this
        others = [listed for listed in plan.replaced if not plan.is_main(listed.arn)]
        self.revoker.revoke_all(self.replacer.replace_all((*main, *others, *self._unlabelled_holders())))
        if main and entry is not None and entry.arn not in self.incident.promoted:
            self._report_kept(entry)

    # ---- reading again ----------------------------------------------------------------------------------------------

    def _described(self, secret: SecretEntry) -> SecretEntry:
        """The secret as it is now, or as it was listed where it can't be described."""
        try:
            return self.incident.fresh(secret.arn)
        except RotatorError:
            return secret

    def _is_current(self, item: Revocation) -> bool:
        """Whether consumers get that key after all (a rollback within the last minutes, say)."""
        secret = self.plan.secret
        return secret is not None and read_lifecycle(self._described(secret)).current_key == item.key_id

    def _to_revoke(self, entry: SecretEntry) -> list[Revocation]:
        """The keys that the secret holds now, and those that only the listing knew."""
        planned = {item.key_id for item in self.plan.revocations}
        shown = list(revocations_of(entry))
        fresh = [item for item in shown if not self.plan.repeated or item.key_id in planned]
        fresh = [item for item in fresh if not (item.role == Role.PENDING and item.version_id in self.incident.made)]
        seen = {item.key_id for item in shown}
        items = fresh + [item for item in self.plan.revocations if item.key_id not in seen]
        return [item for item in items if not self._is_kept(item, entry)]

    def _is_kept(self, item: Revocation, entry: SecretEntry) -> bool:
        """What is no leak, or what consumers get and nothing has replaced: revoked only where it may be the leak.

        Such a one was not named, or this incident made it, or another process promoted it since the incident began.
        """
        incident = self.incident
        if read_lifecycle(entry).current_key == item.key_id:
            others = incident.replaced_before(entry) or self.plan.named not in (None, item.key_id)
            return others or item.key_id not in incident.compromised
        planned = any(item.key_id == known.key_id for known in self.plan.revocations)
        return not planned and incident.is_newer(item)

    def _report_kept(self, entry: SecretEntry) -> None:
        current, incident = read_lifecycle(entry).current_key, self.incident
        replaced = incident.replaced_before(entry) or entry.arn in incident.replaced_by_others
        if current is None or self.plan.repeated or replaced:
            return
        if self.plan.named not in (None, current):
            why = "was not named"
        elif current not in incident.compromised:
            why = "was put there after this incident began"
        else:
            return
        incident.report.errors.append(
            f"the current key {current} of {entry.name} {why} and stays, since nothing has replaced it"
        )

    def _unlabelled_holders(self) -> list[SecretEntry]:
        """Secrets that are not adopted yet and that hold a key that was just revoked."""
        incident, plan = self.incident, self.plan
        if not incident.revoked:
            return []
        others = [entry for entry in plan.fleet.managed.get(plan.account, ()) if not plan.is_main(entry.arn)]
        found, _ = unlabelled_holders(incident.services.store, incident.provider, others, incident.revoked)
        incident.unlabelled |= {entry.arn for entry in found}
        return found

    # ---- afterwards -------------------------------------------------------------------------------------------------

    def _clean_up(self) -> None:
        """Revoke what the listing did not show and what failed once, and take the revoked keys' labels off."""
        incident, plan = self.incident, self.plan
        names = {entry.arn: entry.name for entry in (plan.secret, *plan.replaced) if entry is not None}
        orphans = [item for item, _ in self.revoker.failed.values() if item.role == Role.ORPHAN]
        self.revoker.revoke_all(orphans, again=True)
        for arn, name in names.items():
            try:
                entry = incident.services.store.describe(arn)
                if plan.is_main(arn):
                    left = [item for item in revocations_of(entry) if self._is_left(item)]
                    self.revoker.revoke_all(left, again=True)
                clean(incident, entry)
            except RotatorError as error:
                incident.report.errors.append(f"the labels of {name} were not cleaned, the next sweep does it: {error}")

    def _is_left(self, item: Revocation) -> bool:
        if item.key_id in {*self.revoker.failed, *self.revoker.unproven}:
            return True
        if self.plan.repeated and item.key_id not in {planned.key_id for planned in self.plan.revocations}:
            return False
        if item.role in (Role.CURRENT, Role.PENDING):
            return False
        # What this very run made, or another rotation since, was superseded by another process, and is not what leaked.
        return item.version_id not in self.incident.made and not self.incident.is_newer(item)


# ---- verification ---------------------------------------------------------------------------------------------------


def verify_revocations(incident: Incident) -> None:
    """Use each revoked key once more, until it is refused. Where a refusal shows nothing, the note says so."""
    until = incident.now() + VERIFY_TIMEOUT
    for position, step in enumerate(incident.report.steps):
        if step.what == StepKind.REVOKED and step.ok and step.key_id is not None:
            incident.report.steps[position] = _verified(incident, step, step.key_id, until)


def _verified(incident: Incident, step: Step, key_id: str, until: datetime) -> Step:
    candidates = (incident.plan.secret, *incident.plan.replaced)
    spec = spec_of(next((entry for entry in candidates if entry is not None and entry.name == step.secret), None))
    fetched = _fetched(incident, key_id)
    shown = "Infobip shows it disabled" if fetched is not None and not fetched.key.enabled else "Infobip confirmed it"
    if key_id in incident.not_found:
        shown = "Infobip has no such key any more"
    value = incident.values.get(key_id) or (fetched.value if fetched is not None else None)
    if value is None:
        return replace(step, verified=False, note=f"not verified: {shown}, but its value can't be read to try it")
    probe = _probed(incident, value, spec.verify_path, until)
    if probe.verdict is ProbeVerdict.AUTHENTICATES:
        error = (
            f"key {key_id} of {step.secret} STILL authenticates after {VERIFY_TIMEOUT.seconds} s, though {shown}. "
            "Check it in Infobip's portal, and repeat the command."
        )
        incident.report.errors.append(error)
        return replace(step, verified=False, note="still authenticates", error=error)
    if probe.verdict is ProbeVerdict.INCONCLUSIVE:
        return replace(
            step, verified=False, note=f"not verified: {shown}, and the probe was inconclusive ({probe.detail})"
        )
    allowed = fetched.key.allowed_ips if fetched is not None else None
    shut_out = not spec.verify if allowed is None else bool(allowed) and allowed not in incident.admitted
    if shut_out:
        # From an address that is not allowed, an enabled key is refused as well.
        note = f"not verified: {shown}; its allowedIPs may refuse a probe from here in any case"
        return replace(step, verified=False, note=note)
    note = "verified: 401" if key_id not in incident.not_found else f"verified: 401; {shown}"
    return replace(step, verified=True, note=note)


def _probed(incident: Incident, value: Secret, path: str, until: datetime) -> Probe:
    wait = 0.5
    while True:
        probe = incident.provider.probe(value, path)
        left = (until - incident.now()).total_seconds()
        if probe.verdict is ProbeVerdict.REJECTED or left <= 0:
            return probe
        incident.services.clock.sleep(min(wait, left))
        wait = min(wait * 2, LONGEST_WAIT)


def _fetched(incident: Incident, key_id: str) -> FetchedKey | None:
    try:
        return incident.provider.get_key(key_id)
    except RotatorError:
        return None
