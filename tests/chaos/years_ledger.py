"""What really happened, seen from outside: who was served, which key died when, and whether that was right."""

from __future__ import annotations

import json
import re
from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rotator.model import AccountPlan, Reason, SecretEntry
from rotator.policy.labels import parse_key_label, parse_key_name, parse_retire_label
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.tags import parse_spec
from rotator.sandbox import state
from rotator.sandbox.state import SimKey
from tests.chaos.years_world import Enterprise

CURRENT = "AWSCURRENT"
KEY = re.compile(r"[0-9a-f]{32}-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
HEX = "[0-9a-fA-F]"
TAIL = re.compile(rf"-(?<={HEX}{{32}}-){HEX}{{8}}(?:-{HEX}{{4}}){{3}}-{HEX}{{12}}")
"""A key by all but its first 32 letters, looked at after its first hyphen: hyphens are found many times faster."""
WAITS = frozenset({Reason.HOLD, Reason.WINDOW, Reason.DAILY_LIMIT, Reason.REVOCATION_LIMIT})
"""Why a revocation that is due may wait, by the contract."""
SWEEPS_LATE = 2
ORPHAN_LATE = timedelta(hours=24)


@dataclass(frozen=True)
class Violation:
    """Something that must not happen."""

    kind: str
    at: datetime
    secret: str
    key_id: str
    detail: str
    audit: tuple[str, ...]

    def line(self) -> str:
        """It, in one line."""
        return f"{self.kind} at {self.at:%Y-%m-%d %H:%M:%S}: {self.secret}, key {self.key_id}: {self.detail}"

    def __str__(self) -> str:
        return "\n".join((self.line(), "the last audit lines:", *(f"    {line}" for line in self.audit)))


@dataclass
class Retiring:
    """A key with a retire label."""

    account: str
    secret: str
    at: datetime
    chances: int = 0
    waited: bool = False


@dataclass
class Ledger:
    """Watches an enterprise from the first moment on."""

    world: Enterprise
    violations: list[Violation] = field(default_factory=list)
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=20))
    rotations: int = 0
    revocations: int = 0
    late_by: list[timedelta] = field(default_factory=list)
    leaks: int = 0
    most_labels: int = 0
    current: dict[str, str] = field(default_factory=dict)
    retiring: dict[str, Retiring] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    unlabelled: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    entries: dict[str, SecretEntry] = field(default_factory=dict)
    _ceased: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    _dead: set[str] = field(default_factory=set)
    _alive: dict[str, dict[str, SimKey]] = field(default_factory=lambda: defaultdict(dict))
    _named: dict[str, frozenset[str]] = field(default_factory=dict)
    _secrets: deque[str] = field(default_factory=lambda: deque(maxlen=40))
    _orphans: dict[str, dict[str, datetime]] = field(default_factory=lambda: defaultdict(dict))

    def __post_init__(self) -> None:
        for account, far in self.world.far.items():
            self._secrets.append(str(far.state.users[f"ops-{account}"].password))
            far.state.observers.append(lambda key, account=account: self._key_changed(account, key))  # type: ignore[misc]
            for name in self.world.names(account):
                self.look(account, name)
        state.value_observers.append(self._secret_made)

    def close(self) -> None:
        """Stop watching."""
        state.value_observers.remove(self._secret_made)

    def _secret_made(self, text: str) -> None:
        if not KEY.fullmatch(text):  # those are found by their shape
            self._secrets.append(text)

    def say(self, kind: str, secret: str, key_id: str, detail: str) -> None:
        """Something went wrong."""
        audit = tuple([*self.last_lines, *self.world.stream.getvalue().splitlines()][-20:])
        self.violations.append(Violation(kind, self.world.clock.now(), secret, key_id, detail, audit))

    def count(self, kind: str) -> int:
        """How many violations there are of one kind."""
        return sum(1 for violation in self.violations if violation.kind == kind)

    # ---- secrets ----------------------------------------------------------------------------------------------------

    def look(self, account: str, name: str) -> None:
        """A secret was changed: whose key is current now, which ones retire."""
        entry = self.world.store.peek(name)
        self.touched.add(name)
        self.entries[name] = entry
        self._labels(account, name, entry)
        life = read_lifecycle(entry)
        unlabelled = self.unlabelled[account]
        (unlabelled.add if life.current_version and not life.current_key else unlabelled.discard)(name)
        key = self.world.far[account].key_of(self.value(name)) if _has_value(entry) else None
        before = self.current.get(name)
        if key is None or key.id == before:
            return
        self.current[name] = key.id
        self.rotations += self._is_ours(key)
        if before is not None:
            self._ceased[before] = (self.world.clock.now(), name)

    def _labels(self, account: str, name: str, entry: SecretEntry) -> None:
        named: set[str] = set()
        every = [label for labels in entry.versions.values() for label in labels]
        self.most_labels = max(self.most_labels, len(every))
        retire = [parsed for label in every if (parsed := parse_retire_label(label))]
        named.update(key_id for label in every if (key_id := parse_key_label(label)))
        for key_id, at in sorted(retire):
            named.add(key_id)
            known = self.retiring.get(key_id)
            if key_id not in self._dead and (known is None or known.at < at):
                self.retiring[key_id] = Retiring(account, name, at)
        for key_id in self._named.get(name, frozenset()) - named:
            self.retiring.pop(key_id, None)
        self._named[name] = frozenset(named)

    def value(self, name: str) -> str:
        """The key that a consumer finds."""
        text = self.world.store.consumer_read(name)
        return str(json.loads(text)["api_key"]) if text.startswith("{") else text

    def serve(self, account: str, names: set[str] | None = None) -> None:
        """Every consumer (or those of some secrets) reads its secret and uses the key."""
        for name in sorted(names) if names is not None else self.world.names(account):
            if name in self.current and not self.world.far[account].authenticates(self.value(name)):
                self.say("consumer failure", name, self.current[name], "the key behind AWSCURRENT does not work")

    # ---- keys -------------------------------------------------------------------------------------------------------

    def _key_changed(self, account: str, key: SimKey) -> None:
        if key.enabled:
            if self._is_ours(key):
                self._alive[account][key.id] = key
            return
        self._alive[account].pop(key.id, None)
        if key.id in self._dead:
            return
        self._dead.add(key.id)
        if self.world.by_hand:
            return
        now = self.world.clock.now()
        self.revocations += 1
        holders = [name for name in self.world.names(account) if self.current.get(name) == key.id]
        self.touched.update(holders)
        ceased, secret = self._ceased.get(key.id, (None, holders[0] if holders else ""))
        label = self.retiring.pop(key.id, None)
        if holders:
            self.say("revoked early", secret, key.id, "it is the key behind AWSCURRENT")
        elif ceased is not None:
            spec = parse_spec(self.world.store.peek(secret).tags)
            assert not isinstance(spec, tuple)
            if now - ceased < spec.grace:
                self.say(
                    "revoked early", secret, key.id, f"{now - ceased} after it was replaced, grace is {spec.grace}"
                )
            elif label is not None and now < label.at:
                self.say("revoked early", secret, key.id, f"before {label.at}, which its label says")
        elif not self._is_ours(key):
            self.say("revoked early", secret, key.id, "it is none of the rotator's")
        if label is not None and not label.waited and not self.world.outages.touch(now, longer=timedelta(days=4)):
            self.late_by.append(now - label.at)

    def swept(self, plan: AccountPlan, begun: datetime) -> None:
        """A sweep went through undisturbed: what was due is done now, or had a reason to wait."""
        waits = {skip.secret for skip in plan.skipped if skip.reason in WAITS}
        for key_id, item in self.retiring.items():
            if item.account != plan.account or item.at > begun:
                continue
            if item.secret in waits:
                item.waited = True
                continue
            item.chances += 1
            if item.chances == SWEEPS_LATE:
                detail = f"still alive after {SWEEPS_LATE} undisturbed sweeps; due at {item.at}"
                self.say("revoked late", item.secret, key_id, detail)

    def orphans(self, *, older: timedelta = ORPHAN_LATE) -> None:
        """Living keys of the rotator's that no secret holds."""
        now = self.world.clock.now()
        for account in self.world.far:
            unheld = [key for key in self.unheld(account) if key.valid_to > now]
            self._orphans[account] = {key.id: self._orphans[account].get(key.id, now) for key in unheld}
            for key in unheld:
                old = now - (self._orphans[account][key.id] if older else key.created_at) > older
                if old and not self.world.outages.touch(now, longer=older) and self._free(key):
                    self.say("orphan", key.name, key.id, f"made {key.created_at}, held by no secret")

    def unheld(self, account: str) -> list[SimKey]:
        """Enabled keys of the rotator's that no secret's value or label names."""
        held = {self.current.get(name, "") for name in self.world.names(account)}
        held = held.union(*(self._named.get(name, frozenset()) for name in self.world.names(account)))
        return [key for key_id, key in sorted(self._alive[account].items()) if key_id not in held]

    def in_grace_too_long(self, calm: timedelta) -> None:
        """At the end: keys whose grace period was over before the sweeps without faults began, and are enabled.

        A quarter of the account's keys a sweep is more than these sweeps have to revoke; only a hold or a closed window
        is a reason to wait. (``revoked late`` lets the daily limit be one as well, and counts sweeps.)

        :param calm: how long those sweeps took.
        """
        now = self.world.clock.now()
        for key_id, item in sorted(self.retiring.items()):
            tags = self.entries[item.secret].tags
            if item.at <= now - calm and not {"rotator:hold", "rotator:window"} & tags.keys():
                self.say("revoked late", item.secret, key_id, f"its grace period was over at {item.at}")

    def left_over(self) -> None:
        """What a rotation that was cut off leaves on a secret, and the sweeps after it should have put right."""
        for name, entry in self.entries.items():
            life = read_lifecycle(entry)
            wrong = life.pending_version or life.superseded or life.stale or life.problem
            if wrong and "rotator:hold" not in entry.tags:
                self.say("left over", name, "", f"its labels say {wrong}")

    def _is_ours(self, key: SimKey) -> bool:
        """Whether its name is one that this deployment gives to a key of a secret that exists."""
        name = parse_key_name(key.name)
        if name is None or name.deployment != self.world.policy.deployment or name.secret not in self.entries:
            return False
        return name.is_for(name.secret, self.entries[name.secret].arn)

    def _free(self, key: SimKey) -> bool:
        name = parse_key_name(key.name)
        return name is not None and "rotator:hold" not in self.world.store.peek(name.secret).tags

    # ---- output -----------------------------------------------------------------------------------------------------

    def read_output(self, *texts: str) -> None:
        """Look for secrets in everything that was written since the last time."""
        written = self.world.stream.getvalue()
        self.world.stream.seek(0)
        self.world.stream.truncate()
        events, self.world.events.sent = self.world.events.sent, []
        every = "\n".join((written, *texts, *(str(event) for event in events)))
        found = len(set(TAIL.findall(every))) + sum(1 for secret in self._secrets if secret in every)
        self.last_lines.extend(written.splitlines())
        if found:
            self.leaks += found
            self.last_lines.clear()  # it must not be shown by the report that says so
            self.say("secret in output", "", "", f"{found} secrets in what was written")


def _has_value(entry: SecretEntry) -> bool:
    return any(CURRENT in labels for labels in entry.versions.values())
