"""What really happened, seen from outside: who was served, which key was revoked when, and whether that was right."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rotator.model import SecretEntry
from rotator.plan import AccountPlan
from rotator.policy.labels import parse_key_label, parse_key_name, parse_retire_label
from rotator.policy.lifecycle import read_lifecycle
from rotator.policy.tags import parse_spec
from rotator.reasons import Reason
from rotator.sandbox import state
from rotator.sandbox.state import SimKey
from tests import leaks
from tests.chaos.truth import api_key_in, revoked_too_early
from tests.chaos.years_world import Enterprise
from tests.world import HOUR

CURRENT = "AWSCURRENT"
WAITS = frozenset({Reason.HOLD, Reason.WINDOW, Reason.DAILY_LIMIT, Reason.REVOCATION_LIMIT})
"""Why a revocation that is due may wait, by the contract."""
SWEEPS_LATE = 2
ORPHAN_LATE = timedelta(hours=24)
KINDS = (
    "consumer failure",
    "revoked early",
    "revoked late",
    "orphan",
    "unfinished",
    "over the limit",
    "secret in output",
    "stuck",
)
"""What must not happen, and is counted."""
SHOWN = 10
"""Violations that a report shows."""


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
        return f"{self.kind} at {self.at:%Y-%m-%d %H:%M:%S}: {self.secret}, key {self.key_id}: {self.detail}"

    def __str__(self) -> str:
        return "\n".join((self.line(), "the last audit lines:", *(f"    {line}" for line in self.audit)))


@dataclass
class Score:
    """The result. ``violations`` is empty where every promise was kept."""

    seed: int
    days: int = 0
    sweeps: int = 0
    made: int = 0
    missed: int = 0
    kills: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    rotations: int = 0
    revocations: int = 0
    late_by: list[timedelta] = field(default_factory=list)
    most_creates: int = 0
    most_updates: int = 0
    most_labels: int = 0
    keys: int = 0
    violations: list[Violation] = field(default_factory=list)
    digest: str = ""
    seconds: float = 0.0
    cpu: float = 0.0

    def count(self, kind: str) -> int:
        return sum(1 for violation in self.violations if violation.kind == kind)

    def table(self) -> str:
        late = sorted(self.late_by)
        middle, most = (late[len(late) // 2], late[-1]) if late else (timedelta(0), timedelta(0))
        by_end = {end: sum(n for name, n in self.faults.items() if name.startswith(end)) for end in ("infobip", "aws")}
        rows: list[tuple[str, object]] = [
            ("simulated", f"{self.days} days, seed {self.seed}, in {self.seconds:.0f} s ({self.cpu:.0f} s of a core)"),
            (
                "sweeps of an account",
                f"{self.sweeps}, of which {self.made} made and {self.sweeps - self.made} skipped",
            ),
            ("faults", f"{by_end['infobip']} at Infobip, {by_end['aws']} at AWS, of {len(self.faults)} kinds"),
            ("kills", self.kills),
            ("rotations", self.rotations),
            ("revocations", self.revocations),
            (
                "revoked after end of grace",
                f"median {middle / HOUR:.1f} h, at most {most / HOUR:.1f} h, faults included",
            ),
            ("most creates a day", self.most_creates),
            ("most updates a day", self.most_updates),
            ("most labels on a secret", self.most_labels),
            ("keys at Infobip at the end", self.keys),
            ("end state", self.digest),
            *((f"{kind}", self.count(kind)) for kind in KINDS),
        ]
        return "\n".join(f"{name:<28}  {value}" for name, value in rows)

    def report(self) -> str:
        """The table; where something was violated, the seed and the first of it."""
        if not self.violations:
            return self.table()
        first = min(self.violations, key=lambda violation: violation.at)
        others = "\n".join(violation.line() for violation in self.violations[:SHOWN])
        return f"{self.table()}\n\nFAILED with seed {self.seed}, {len(self.violations)} times:\n{others}\n\n{first}"


@dataclass
class Retiring:
    """A key with a retire label."""

    account: str
    secret: str
    at: datetime
    chances: int = 0
    waited: bool = False


@dataclass
class Ledger(Score):
    """Follows an enterprise from the first moment on, and keeps the score."""

    world: Enterprise = field(kw_only=True)
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=20))
    current: dict[str, str] = field(default_factory=dict)
    retiring: dict[str, Retiring] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    unlabelled: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    entries: dict[str, SecretEntry] = field(default_factory=dict)
    _replaced: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    _revoked: set[str] = field(default_factory=set)
    _enabled: dict[str, dict[str, SimKey]] = field(default_factory=lambda: defaultdict(dict))
    _named: dict[str, frozenset[str]] = field(default_factory=dict)
    _secrets: deque[str] = field(default_factory=lambda: deque(maxlen=40))
    _orphans: dict[str, dict[str, datetime]] = field(default_factory=lambda: defaultdict(dict))

    def __post_init__(self) -> None:
        for account, infobip in self.world.servers.items():
            self._secrets.append(str(infobip.state.users[f"ops-{account}"].password))
            infobip.state.observers.append(lambda key, account=account: self._key_changed(account, key))  # type: ignore[misc]
            for name in self.world.names_of(account):
                self.secret_changed(account, name)
        state.value_observers.append(self._secret_made)

    def close(self) -> None:
        state.value_observers.remove(self._secret_made)

    def _secret_made(self, text: str) -> None:
        if not leaks.find(text):  # those are found by their shape
            self._secrets.append(text)

    def violated(self, kind: str, secret: str, key_id: str, detail: str) -> None:
        audit = tuple([*self.last_lines, *self.world.stream.getvalue().splitlines()][-20:])
        self.violations.append(Violation(kind, self.world.clock.now(), secret, key_id, detail, audit))

    # ---- secrets ----------------------------------------------------------------------------------------------------

    def secret_changed(self, account: str, name: str) -> None:
        """A secret was changed: whose key is current now, which ones retire."""
        entry = self.world.store.peek(name)
        self.touched.add(name)
        self.entries[name] = entry
        self._labels(account, name, entry)
        life = read_lifecycle(entry)
        unlabelled = self.unlabelled[account]
        (unlabelled.add if life.current_version and not life.current_key else unlabelled.discard)(name)
        key = self.world.servers[account].key_of(self.value(name)) if _has_value(entry) else None
        before = self.current.get(name)
        if key is None or key.id == before:
            return
        self.current[name] = key.id
        self.rotations += self._is_ours(key)
        if before is not None:
            self._replaced[before] = (self.world.clock.now(), name)

    def _labels(self, account: str, name: str, entry: SecretEntry) -> None:
        named: set[str] = set()
        every = [label for labels in entry.versions.values() for label in labels]
        self.most_labels = max(self.most_labels, len(every))
        retire = [parsed for label in every if (parsed := parse_retire_label(label))]
        named.update(key_id for label in every if (key_id := parse_key_label(label)))
        for key_id, at in sorted(retire):
            named.add(key_id)
            known = self.retiring.get(key_id)
            if key_id not in self._revoked and (known is None or known.at < at):
                self.retiring[key_id] = Retiring(account, name, at)
        for key_id in self._named.get(name, frozenset()) - named:
            self.retiring.pop(key_id, None)
        self._named[name] = frozenset(named)

    def value(self, name: str) -> str:
        return api_key_in(self.world.store.consumer_read(name))

    def serve(self, account: str, names: set[str] | None = None) -> None:
        """Every consumer (or those of some secrets) reads its secret and uses the key."""
        for name in sorted(names) if names is not None else self.world.names_of(account):
            if name in self.current and not self.world.servers[account].authenticates(self.value(name)):
                self.violated("consumer failure", name, self.current[name], "the key behind AWSCURRENT does not work")

    # ---- keys -------------------------------------------------------------------------------------------------------

    def _key_changed(self, account: str, key: SimKey) -> None:
        if key.enabled:
            if self._is_ours(key):
                self._enabled[account][key.id] = key
            return
        self._enabled[account].pop(key.id, None)
        if key.id in self._revoked:
            return
        self._revoked.add(key.id)
        if self.world.by_hand:
            return
        now = self.world.clock.now()
        self.revocations += 1
        holders = [name for name in self.world.names_of(account) if self.current.get(name) == key.id]
        self.touched.update(holders)
        replaced_at, secret = self._replaced.get(key.id, (None, holders[0] if holders else ""))
        label = self.retiring.pop(key.id, None)
        wrong = ""
        if holders or replaced_at is not None:
            spec = parse_spec(self.world.store.peek(secret).tags)
            wrong = revoked_too_early(current=bool(holders), replaced_at=replaced_at, grace=spec.grace, now=now)
            if not wrong and label is not None and now < label.at:
                wrong = f"before {label.at}, which its label says"
        elif not self._is_ours(key):
            wrong = "it is none of the rotator's"
        if wrong:
            self.violated("revoked early", secret, key.id, wrong)
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
                detail = f"still enabled after {SWEEPS_LATE} undisturbed sweeps; due at {item.at}"
                self.violated("revoked late", item.secret, key_id, detail)

    def orphans(self, *, older: timedelta = ORPHAN_LATE) -> None:
        """Working keys of the rotator's that no secret holds."""
        now = self.world.clock.now()
        for account in self.world.servers:
            unheld = [key for key in self.unheld(account) if key.valid_to > now]
            self._orphans[account] = {key.id: self._orphans[account].get(key.id, now) for key in unheld}
            for key in unheld:
                old = now - (self._orphans[account][key.id] if older else key.created_at) > older
                if old and not self.world.outages.touch(now, longer=older) and self._free(key):
                    self.violated("orphan", key.name, key.id, f"made {key.created_at}, held by no secret")

    def unheld(self, account: str) -> list[SimKey]:
        """Enabled keys of the rotator's that no secret's value or label names."""
        held = {self.current.get(name, "") for name in self.world.names_of(account)}
        held = held.union(*(self._named.get(name, frozenset()) for name in self.world.names_of(account)))
        return [key for key_id, key in sorted(self._enabled[account].items()) if key_id not in held]

    def in_grace_too_long(self, no_faults: timedelta) -> None:
        """At the end: keys whose grace period was over before the sweeps without faults began, and are enabled.

        A quarter of the account's keys a sweep is more than these sweeps have to revoke; only a hold or a closed window
        is a reason to wait. (``revoked late`` lets the daily limit be one as well, and counts sweeps.)

        :param no_faults: how long those sweeps took.
        """
        now = self.world.clock.now()
        for key_id, item in sorted(self.retiring.items()):
            tags = self.entries[item.secret].tags
            if item.at <= now - no_faults and not {"rotator:hold", "rotator:window"} & tags.keys():
                self.violated("revoked late", item.secret, key_id, f"its grace period was over at {item.at}")

    def unfinished(self) -> None:
        """What an interrupted rotation leaves on a secret, and the sweeps after it should have fixed."""
        for name, entry in self.entries.items():
            life = read_lifecycle(entry)
            wrong = life.pending_version or life.superseded or life.stale or life.problem
            if wrong and "rotator:hold" not in entry.tags:
                self.violated("unfinished", name, "", f"its labels say {wrong}")

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
        """Search everything that was written since the last time for secrets."""
        written = self.world.stream.getvalue()
        self.world.stream.seek(0)
        self.world.stream.truncate()
        events, self.world.events.sent = self.world.events.sent, []
        every = "\n".join((written, *texts, *(str(event) for event in events)))
        found = leaks.find(every) + sum(1 for secret in self._secrets if secret in every)
        self.last_lines.extend(written.splitlines())
        if found:
            self.last_lines.clear()  # it must not be shown by the report that says so
            self.violated("secret in output", "", "", f"{found} secrets in what was written")


def _has_value(entry: SecretEntry) -> bool:
    return any(CURRENT in labels for labels in entry.versions.values())
