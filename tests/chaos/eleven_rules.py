"""All of the contract's eleven rules, where one process is at work at a time: checked after every single call.

:class:`~tests.chaos.rules.Rules` sees the two servers; this also sees in which run, after which reads and at which
answers something was done. What an emergency may do is listed here key by key, and nothing more is allowed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar

from rotator.engine.emergency import EmergencyReport, Strategy
from rotator.engine.sweep import Sweep
from rotator.model import SecretEntry
from rotator.policy.labels import CURRENT, PREVIOUS, key_label, parse_key_name, parse_retire_label
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.tags import parse_spec, spec_or_none
from rotator.sandbox.exchange import Request, Response
from rotator.sandbox.infobip import KEYS_API
from rotator.sandbox.state import LoggedCall, SimKey
from rotator.secret import Secret
from tests import leaks
from tests.chaos.rules import Rules
from tests.chaos.truth import (
    PROBES,
    api_key_in,
    contents,
    current_content,
    holds,
    labelled_and_proven,
    named_for,
    unreported,
)
from tests.world import START

STALE_CREATE = timedelta(minutes=10)
ORPHAN_AGE = timedelta(minutes=30)
READS = frozenset({"list_secrets", "describe", "read_current", "read_version", "read_many", "version_dates", "infobip"})
"""Calls that change nothing; at Infobip the server's generation shows whether they did."""
MOST_AT_ONCE, MOST_OF_ALL = 5, 0.25
"""Revocations of one sweep: so many, or this part of the account's enabled, unexpired keys if that is more."""


@dataclass
class ElevenRules(Rules):
    """Checks every rule that shows from outside.

    :param secret: whose keys an emergency is to revoke; ``""`` where there is none.
    :param strategy: of that emergency.
    :param wrong_ids: Infobip answers with another key's id, so that a label may name that until it is found out.
    """

    secret: str = ""
    strategy: Strategy | None = None
    wrong_ids: bool = False
    emergency_keys: frozenset[str] = frozenset()
    """The keys that the emergency may revoke without grace: what the secret held and named when it began."""
    _in_emergency: bool = False
    _outage_allowed: bool = False
    _broken_if_replaced: list[str] = field(default_factory=list)
    _run: int = 0
    _scheduled: bool = False
    _log: list[tuple[str, str]] = field(default_factory=list)
    _run_log: int = 0
    _run_calls: int = 0
    _enabled_before: dict[str, str] = field(default_factory=dict)
    _contents_before: dict[str, Secret | None] = field(default_factory=dict)
    _revoked: list[tuple[datetime | None, str]] = field(default_factory=list)
    _revoked_at: list[datetime] = field(default_factory=list)
    _made_in: dict[str, int] = field(default_factory=dict)
    _latest: dict[str, str] = field(default_factory=dict)
    _not_searched: set[str] = field(default_factory=set)
    """The secrets whose latest key was not searched for since it was created."""
    _holder: dict[str, str] = field(default_factory=dict)
    _ever_in: dict[str, set[str]] = field(default_factory=dict)
    _models: dict[str, SimKey] = field(default_factory=dict)
    _ever_current: dict[str, set[str]] = field(default_factory=dict)
    _read: int = 0
    _begun: datetime = START
    _seen: tuple[int, datetime] = (0, START)
    of_a_run: ClassVar[frozenset[str]] = Rules.of_a_run | {
        *("_log", "_run", "_run_log", "_run_calls", "_scheduled", "_begun", "_seen", "_read"),
        *("_enabled_before", "_contents_before", "_revoked"),
    }

    # ---- what happens -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        self.world.infobip.observers.append(self._answered)
        self.world.store.before = lambda _op, _secret: self._begin()
        super().start()

    def _begin(self) -> None:
        self._begun = self.world.clock.now()

    @contextmanager
    def run(self, *, scheduled: bool) -> Iterator[None]:
        """One process: what it has read, and what it has made, is its own."""
        self._run += 1
        self._scheduled, self._revoked = scheduled, []
        self._run_log, self._run_calls = len(self._log), len(self.world.infobip.calls)
        now = self.world.clock.now()
        keys = [key for key in self.world.infobip.keys() if key.enabled and key.valid_to > now]
        self._enabled_before = {key.id: key.account_id for key in keys}
        self._contents_before = {name: current_content(self.world, name) for name in self.world.names()}
        due = dict(self._due())
        yield
        if scheduled:
            self._check_order(due)

    def swept(self, sweep: Sweep, begun: datetime, names: Collection[str] | None = None) -> None:
        """A sweep was made: rule 10, by its result.

        :param begun: when it began.
        :param names: the secrets to be checked; by default all.
        """
        self.broken += unreported(self.world, sweep, begun, self.world.names() if names is None else names)

    @contextmanager
    def emergency_run(self) -> Iterator[None]:
        proven = labelled_and_proven(self.world, self.secret)
        self.emergency_keys = frozenset(proven) | {key.id for key in self._holding(self.secret)}
        self._in_emergency = self._outage_allowed = True
        with self.run(scheduled=False):
            yield
        self._in_emergency = False

    def emergency_over(self, report: EmergencyReport | None) -> None:
        """Its result: whether consumers may be left without a key depends on that.

        :param report: ``None`` where it was killed.
        """
        if report is not None and report.ok:
            enabled = [key.id for key in self.world.infobip.keys() if key.enabled and key.id in self.emergency_keys]
            self.broken += [f"key {key_id} is enabled after an emergency that reports success" for key_id in enabled]
        replaced = report is not None and self.secret in report.replaced
        if report is None or replaced:  # an outage was asked for only where no replacement could be created
            self.broken += self._broken_if_replaced
        if replaced:
            self._outage_allowed = False

    def swept_after_emergency(self) -> None:
        """A sweep was made since the emergency: consumers have a working key again."""
        self._outage_allowed = False

    def in_grace(self) -> dict[str, datetime]:
        """Keys that are enabled and were replaced, with the time of that."""
        replaced = {key_id: at for key_id, at in self._was_current.items() if at is not None}
        return {key_id: at for key_id, at in replaced.items() if self.world.infobip.key(key_id).enabled}

    def _answered(self, request: Request, answer: Response) -> None:
        what = f"{request.path}?name" if "name" in request.query else request.path
        self._log.append((request.method, what if answer.status < 300 else ""))
        if self._log[-1] in (("GET", KEYS_API), ("GET", f"{KEYS_API}?name")):
            self._not_searched.clear()
        if self._scheduled and request.method in ("POST", "PUT") and request.path.startswith(KEYS_API):
            self._check_throttled(request)

    def check(self, when: str) -> None:
        op, _, secret = when.partition(" ")
        self._log.append((op, secret))
        self._read_output(when)
        seen = self.world.infobip.state.generation, self.world.clock.now()
        if op in READS and seen == self._seen:
            return  # nothing has changed since the last check, and no time has passed
        self._seen = seen
        if self._keys and not self.world.by_operator:
            for key in self.world.infobip.keys():
                if key.id not in self._keys:
                    self._check_creation(key, when)
        for name in self.world.names():
            self._note_keys(name)
        super().check(when)
        for name in self.world.names():
            for key in self._holding(name):
                self._holder[key.id] = name

    def _note_keys(self, name: str) -> None:
        """Which keys a secret holds, in any version."""
        known = self._ever_in.setdefault(name, set())
        for text in contents(self.world, name).values():
            key = self.world.infobip.key_of(api_key_in(text.reveal()))
            if key is not None:
                known.add(key.id)

    # ---- rule 1 -----------------------------------------------------------------------------------------------------

    def _not_served(self, name: str, key_id: str, when: str) -> None:
        text = f"rule 1: {name} has no working key after {when}"
        if name != self.secret or key_id not in self.emergency_keys or not self._outage_allowed:
            self.broken.append(text)
        elif self._in_emergency and self.strategy is Strategy.REPLACE_FIRST:
            self._broken_if_replaced.append(text)

    # ---- rule 2, and the second half of rule 6 ----------------------------------------------------------------------

    def _check_promotion(self, entry: SecretEntry, current: str, when: str) -> None:
        key = self.world.infobip.key_of(api_key_in(self.world.try_read(entry.name)))
        been = self._ever_current.setdefault(entry.name, set())
        before = self._models.get(entry.name)
        if key is None or not (self.wrong_ids or key_label(key.id) in entry.versions[current]):
            self.broken.append(f"rule 2: {entry.name} got a value that is not the labelled key's after {when}")
            return
        again = current in been
        calls = self.world.infobip.calls[self._run_calls if again else 0 :]
        if not (self._probed(key, calls) or entry.tags.get("rotator:verify") == "skip"):
            self.broken.append(f"rule 2: {entry.name} got key {key.id}, which was not verified, after {when}")
        if not again:
            self._check_like(entry, current, key, before, when)
            self._check_fresh(entry, key, when)

    def _check_like(self, entry: SecretEntry, version: str, key: SimKey, old: SimKey | None, when: str) -> None:
        """It is what was asked for: the old key's rights, or the tagged scopes, under the name of its version."""
        spec, name = parse_spec(entry.tags), parse_key_name(key.name)
        wrong = []
        if name is None or name.version_id != version or named_for(self.world, key.name) != entry.name:
            wrong.append("name")
        if key.scopes != (spec.scopes or (old.scopes if old else frozenset())):
            wrong.append("scopes")
        if old is not None:
            fields = ("permissions", "allowed_ips", "platform", "account_id")
            wrong += [field for field in fields if getattr(key, field) != getattr(old, field)]
        if wrong:
            self.broken.append(f"rule 2: {entry.name} got key {key.id}, whose {', '.join(wrong)} differ, after {when}")

    def _check_fresh(self, entry: SecretEntry, key: SimKey, when: str) -> None:
        """Of a key that was made more than ten minutes ago a check and a probe are younger than that.

        Counted to the start of the call: its own duration is not known before.
        """
        now = self._begun
        if now - key.created_at <= STALE_CREATE + timedelta(seconds=1):
            return
        lately = [call for call in self.world.infobip.calls if now - call.time <= STALE_CREATE]
        checked = any(call.effect and call.method == "GET" and call.path == f"{KEYS_API}/{key.id}" for call in lately)
        if not checked or not (self._probed(key, lately) or entry.tags.get("rotator:verify") == "skip"):
            what = f"key {key.id}, {now - key.created_at} old and not read again"
            self.broken.append(f"rule 6: {entry.name} got {what}, after {when}")

    @staticmethod
    def _probed(key: SimKey, calls: list[LoggedCall]) -> bool:
        """A 403 authenticates as well, and a false one can't be distinguished from a true one."""
        probes = [call for call in calls if call.path.startswith(PROBES) and call.status in (200, 403)]
        return any(call.principal.endswith(f":{key.id}") or not call.effect for call in probes)

    def _check_current(self, entry: SecretEntry, when: str) -> None:
        super()._check_current(entry, when)
        for key in self._holding(entry.name):
            self._models[entry.name] = key
        been = self._ever_current.setdefault(entry.name, set())
        for version, labels in entry.versions.items():
            if CURRENT in labels or PREVIOUS in labels or any(map(parse_retire_label, labels)):
                been.add(version)

    # ---- rules 3 and 4, 6 and 9 -------------------------------------------------------------------------------------

    def _check_revocation(self, key_id: str, name: str, now: datetime, when: str) -> None:
        self._revoked_at.append(now)
        if self._scheduled and key_id in self._enabled_before:  # not what the sweep itself made and rejected
            self._check_share(key_id, when)
        current = self._was_current.get(key_id, now) is None
        if key_id not in self.emergency_keys:
            super()._check_revocation(key_id, name, now, when)
        elif current and not self._in_emergency:
            self.broken.append(f"rule 3: key {key_id} was revoked, it is the current key, after {when}")
        elif current and self.strategy is Strategy.REPLACE_FIRST:
            self._broken_if_replaced.append(f"rule 3: key {key_id} was revoked before it was replaced, {when}")
        if not self._in_emergency:
            self._check_copies(key_id, when)
            if key_id in self._was_current:
                self._check_fresh_reads(key_id, when)
        never_used = key_id not in self._was_current and key_id not in self.emergency_keys
        if never_used and named_for(self.world, name) is not None:
            self._check_orphan(key_id, now, when)

    def _check_share(self, key_id: str, when: str) -> None:
        """Rule 9: a quarter of the account's keys, or five."""
        at = next((at for due, at in self._due() if due == key_id), None)
        self._revoked.append((at, key_id))
        account = self._enabled_before[key_id]
        count = Counter(self._enabled_before[each] for _, each in self._revoked)[account]
        if count > self._most(account):
            total = Counter(self._enabled_before.values())[account]
            self.broken.append(f"rule 9: {count} of {total} keys were revoked at once, {when}")

    def _most(self, account: str) -> int:
        return max(MOST_AT_ONCE, int(Counter(self._enabled_before.values())[account] * MOST_OF_ALL))

    def _due(self) -> Iterator[tuple[str, datetime]]:
        """The enabled keys whose grace is over, with the time."""
        now = self.world.clock.now()
        for name in self.world.names():
            for item in read_lifecycle(self.world.store.peek(name)).retiring:
                if item.revoke_at <= now:
                    yield item.key_id, item.revoke_at

    def _check_order(self, due: dict[str, datetime]) -> None:
        """Rule 9: where a sweep left some for the next one, it revoked the longest overdue."""
        revoked = [at for at, _ in self._revoked if at is not None]
        accounts = Counter(self._enabled_before[key_id] for _, key_id in self._revoked)
        for key_id, at in due.items():
            account = self._enabled_before.get(key_id)
            if account is None or accounts[account] < self._most(account) or not revoked:
                continue
            if self.world.infobip.key(key_id).enabled and at < max(revoked):
                self.broken.append(f"rule 9: key {key_id}, due since {at}, waits, though a sweep revoked later ones")

    def _check_copies(self, key_id: str, when: str) -> None:
        """Rule 3: no managed secret holds it in ``AWSCURRENT``, in any field or in binary form, since the run began."""
        key = self.world.infobip.key(key_id)
        for name, before in self._contents_before.items():
            if holds(before, key) and name in self.world.names() and holds(current_content(self.world, name), key):
                self.broken.append(f"rule 3: key {key_id} was revoked while {name} holds it, after {when}")

    def _check_fresh_reads(self, key_id: str, when: str) -> None:
        """Rule 3: right before, the secret and the key that consumers get now were read, after the listing."""
        secret = self._holder.get(key_id, "")
        current = read_lifecycle(self.world.store.peek(secret)).current_key if secret else None
        run = self._log[self._run_log :]
        listed = next((at for at, (method, what) in enumerate(run) if (method, what) == ("GET", KEYS_API)), len(run))
        for wanted in (("describe", secret), ("GET", f"{KEYS_API}/{current}")):
            if wanted not in run[listed:]:
                what = " ".join(wanted)
                self.broken.append(f"rule 3: key {key_id} was revoked without a fresh read ({what}) after {when}")

    def _check_orphan(self, key_id: str, now: datetime, when: str) -> None:
        """Rule 6: a key that was never in use is revoked by the run that made it, or when that must have finished."""
        if self._made_in.get(key_id) == self._run:
            return
        stored = any(key_id in read_lifecycle(self.world.store.peek(name)).named for name in self.world.names())
        age = now - self.world.infobip.key(key_id).created_at
        if age <= (STALE_CREATE if stored else ORPHAN_AGE):
            self.broken.append(f"rule 6: key {key_id} was revoked by another run when it was {age} old, after {when}")

    # ---- rule 5 -----------------------------------------------------------------------------------------------------

    def _check_creation(self, key: SimKey, when: str) -> None:
        self._made_in[key.id] = self._run
        secret = named_for(self.world, key.name)
        if secret is None:
            self.broken.append(f"rule 4: key {key.id} was made under a name that names no secret here, {when}")
            return
        self._check_scopes(key, secret, when)
        self._check_sequence(key, secret, when)

    def _check_scopes(self, key: SimKey, secret: str, when: str) -> None:
        """Scopes are the tags', or those of a key that the secret really held: a label alone passes none on."""
        spec = spec_or_none(self.world.store.peek(secret).tags)
        if spec is not None and spec.scopes and key.scopes == spec.scopes:
            return
        if all(self.world.infobip.key(each).scopes != key.scopes for each in self._ever_in.get(secret, ())):
            self.broken.append(f"rule 4: key {key.id} was made for {secret} with scopes that no key of its had, {when}")

    def _check_sequence(self, key: SimKey, secret: str, when: str) -> None:
        """Rule 5: no second key under a name, and none before the first was searched for."""
        if any(other.name == key.name and other.id != key.id and other.enabled for other in self.world.infobip.keys()):
            self.broken.append(f"rule 5: a second key was made under the name {key.name} after {when}")
        before, not_searched = self._latest.get(secret), secret in self._not_searched
        self._latest[secret] = key.id
        self._not_searched.add(secret)
        if before is None or before in read_lifecycle(self.world.store.peek(secret)).named:
            return
        if not_searched:
            self.broken.append(f"rule 5: another key was made for {secret} without a search for the first, {when}")
        if self.world.infobip.key(before).enabled and self.world.infobip.options.reveal:
            self.broken.append(f"rule 5: another key was made for {secret}, though {before} can be read, {when}")

    # ---- rule 7 -----------------------------------------------------------------------------------------------------

    def _busiest_day(self, account: str) -> tuple[int, int]:
        """An update whose answer is lost is sent again and counts twice at Infobip, which the client cannot know."""
        creates, _ = super()._busiest_day(account)
        now = self.world.clock.now()
        return creates, sum(1 for at in self._revoked_at if now - at < timedelta(hours=24))

    def _check_throttled(self, request: Request) -> None:
        """No change by scheduled work after a 429 that the client did not get over in the same call."""
        calls = [call for call in self.world.infobip.calls[self._run_calls :] if not call.principal.startswith("key:")]
        calls = [call for call in calls if not call.path.startswith(PROBES)]
        own = self._made_in.get(request.path.rpartition("/")[2]) == self._run
        for call, after in zip(calls, (*calls[1:], None), strict=True):
            following = (request.method, request.path) if after is None else (after.method, after.path)
            again = following == (call.method, call.path) != ("POST", KEYS_API)  # a creation is never asked for again
            if call.status == 429 and not again and not own:
                self.broken.append(f"rule 7: {request.method} {request.path} after a 429 to {call.method} {call.path}")
                return

    # ---- rule 11 ----------------------------------------------------------------------------------------------------

    def _read_output(self, when: str) -> None:
        written = self.world.stream.getvalue()
        fresh, self._read = written[self._read :], len(written)
        if fresh and (count := leaks.find(fresh)):
            self.broken.append(f"rule 11: {count} secrets in the audit after {when}")
