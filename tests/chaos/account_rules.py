"""What holds at every moment in a world of two accounts, whatever people do meanwhile: checked after every call.

It is judged by the state of both servers alone. What the rotator read, labelled or reported counts for nothing, but for
this: a change that a person makes after the last read before a revocation can't be seen by anybody.

1. A consumer gets a key that works.
2. A secret stays in its Infobip account, unless ``rotator rotate`` was asked for.
3. A key is changed through its own account (or that one's parent), and only if it is due, or an emergency named it.
4. An emergency that reports success has disabled every key that it was about.
5. What a person wrote into other fields stays.
6. A sweep revokes no key that any managed secret holds in ``AWSCURRENT``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from rotator.engine.emergency import EmergencyReport, Strategy
from rotator.policy.labels import CURRENT, PENDING
from rotator.sandbox.exchange import Request, Response
from rotator.sandbox.state import SimKey
from tests.chaos.faults import then
from tests.chaos.truth import named_for, revoked_too_early
from tests.chaos.two_accounts import Flow, TwoAccounts, named_key, user_of
from tests.chaos.worlds import SMS

CONSUMED = "api_key"
"""The field that consumers read, whatever the tags say."""
OWN_FIELDS = frozenset({"key_id", "expires_at", "base_url"})
LOOKS = frozenset({"describe", "read_current"})
ORPHAN_AGE = timedelta(minutes=30)
STALE_CREATE = timedelta(minutes=10)


def parsed(text: str | None) -> dict[str, Any]:
    """The fields of a value; of one that is not JSON, the key itself."""
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        return {CONSUMED: text}
    return value if isinstance(value, dict) else {}


@dataclass
class Emergency:
    """The emergency that runs, or ran.

    :param strategy: what comes first.
    :param named: the one key that it is about; ``None``: a secret's.
    :param collected: the keys that it was about when it began.
    """

    strategy: Strategy
    named: str | None
    collected: frozenset[str]
    running: bool = True
    suspects: set[str] = field(default_factory=set)
    looks_leaked: set[str] = field(default_factory=set)
    """Keys that a sweep that finishes it may revoke without grace period as well."""
    left_without: dict[str, str] = field(default_factory=dict)
    """Secrets whose consumers lost that key in a ``replace-first``: only a failure may end so."""


@dataclass
class AccountRules:
    """Watches one world; what it finds broken is in ``broken``."""

    world: TwoAccounts
    broken: list[str] = field(default_factory=list)
    emergency: Emergency | None = None
    _flow: Flow | None = None
    _user: str = ""
    """Who sent the latest request to Infobip."""
    _by_hand: bool = False
    _run_began: datetime | None = None
    _keys: dict[str, SimKey] = field(default_factory=dict)
    _values: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The current version and its content, by secret."""
    _seen: dict[str, str] = field(default_factory=dict)
    """The content of each secret when the run that acts now could see it last."""
    _fields: dict[str, str] = field(default_factory=dict)
    """The field of each secret's key, by the tags that it could see last."""
    _listed: frozenset[str] = frozenset()
    _searched: bool = False
    _replaced_at: dict[str, datetime | None] = field(default_factory=dict)
    """Every key that consumers were ever given, with the time when it was replaced."""
    _put_since: set[str] = field(default_factory=set)
    """Secrets whose value a person changed during this run."""
    _down: dict[str, str] = field(default_factory=dict)
    """Secrets that a person or an emergency left with that key, which does not work."""

    def start(self) -> None:
        """Hook into both servers."""
        self.world.store.after = then(self._called, self.world.store.after)
        self.world.infobip.observers.append(self._answered)
        self._by_hand = True  # what was before
        self.check("the start")
        self._by_hand = False
        for name in self.world.names():
            record = self.world.store._records[name]
            replaced_at = record.versions[record.labels[CURRENT]].created
            for key_id in self._in_labelled_versions(name, but=PENDING) - self._replaced_at.keys():
                self._replaced_at[key_id] = replaced_at

    def history(self) -> list[Any]:
        """What is judged by it later."""
        return [
            self._replaced_at,
            self._down,
            self.emergency and (self.emergency.suspects, self.emergency.looks_leaked),
        ]

    # ---- what happens -----------------------------------------------------------------------------------------------

    @contextmanager
    def by_hand(self) -> Iterator[None]:
        """What happens within is a person's doing."""
        self._by_hand = True
        try:
            yield
            self.check("a person's change")
        finally:
            self._by_hand = False

    @contextmanager
    def run(self, flow: Flow) -> Iterator[None]:
        """One run of the rotator."""
        self._flow, self._searched, self._run_began = flow, False, self.world.clock.now()
        self._put_since.clear()
        self._seen = {name: self._content(name) for name in self.world.names()}
        self._fields = {name: self._field(name) for name in self.world.names()}
        if flow.strategy is not None:
            key = named_key(self.world, flow.target)
            named = None if key is None else key.id
            keys = frozenset(self._in_labelled_versions(SMS)) if key is None else frozenset({key.id})
            self.emergency = Emergency(flow.strategy, named, keys, suspects=set(keys))
        yield
        if self.emergency is not None:
            self.emergency.running = False

    def emergency_over(self, report: EmergencyReport | None, *, reachable: bool) -> None:
        """Judge an emergency by its report.

        :param report: ``None`` where the command failed as a whole.
        :param reachable: nobody took away the credentials by which the keys can be changed.
        """
        emergency = self.emergency
        assert emergency is not None
        enabled = {key.id for key in self.world.infobip.keys() if key.enabled}
        if report is not None:
            told = {step.key_id for step in report.steps if step.verified and step.key_id}
            self.broken += [f"key {each} is enabled, and the report says it is verified" for each in told & enabled]
        if report is not None and report.ok:
            self.broken += [f"key {each} is enabled after a success" for each in sorted(emergency.collected & enabled)]
            for name, key_id in emergency.left_without.items():
                self.broken.append(f"rule 1: {name} lost key {key_id} before it was replaced, and that is a success")
            for name in self.world.names() if emergency.strategy is not Strategy.REVOKE_ONLY else ():
                left = self.tagged_key(name)
                if left is not None and not left.enabled and self._seen.get(name) == self._content(name):
                    self.broken.append(f"rule 1: {name} is left with the revoked key {left.id}, and that is a success")
        if emergency.named in enabled and reachable:
            why = "the command failed" if report is None else "; ".join(report.errors)
            self.broken.append(f"the named key {emergency.named} is enabled after the emergency: {why}")

    def _called(self, op: str, secret: str) -> None:
        if op == "list_secrets":
            self._searched = False
            self._listed = frozenset(self.world.names())
        elif op == "read_many" and not self._searched:
            self._searched = True
            self._seen = {name: self._content(name) for name in self._listed}
        elif op in LOOKS and secret in self.world.names():
            self._seen[secret] = self._content(secret)
        elif op == "read_many":
            self._seen[SMS] = self._content(SMS)  # right before a revocation its own secret is read alone
        if op == "describe" and secret in self.world.names():
            self._fields[secret] = self._field(secret)
        self.check(f"{op} {secret}")

    def _answered(self, request: Request, _answer: Response) -> None:
        self._user = user_of(request)
        self.check(f"{request.method} {request.path}")

    # ---- after every call -------------------------------------------------------------------------------------------

    def check(self, when: str) -> None:
        """Everything that must hold at every moment."""
        if self.emergency is not None and self.emergency.running and self.emergency.named is None:
            self.emergency.suspects |= self._in_labelled_versions(SMS)
        for key in self.world.infobip.keys():
            before = self._keys.get(key.id)
            self._keys[key.id] = key
            if before is not None and before != key and not self._by_hand:
                self._changed(before, key, when)
        for name in self.world.names():
            version = self.world.store._records[name].labels.get(CURRENT, "")
            now, before_it = (version, self._content(name)), self._values.get(name)
            self._values[name] = now
            if before_it is None or before_it[0] == version:
                continue
            if self._by_hand:
                self._put_since.add(name)
                self._note_what_looks_leaked(name)
            else:
                self._promoted(name, before_it[1], now[1], when)
        self._check_consumers(when)

    def _check_consumers(self, when: str) -> None:
        """Rule 1."""
        given = {name: parsed(self.world.try_read(name)).get(CONSUMED) for name in self.world.names()}
        held = set()
        for name, value in given.items():
            key = self.world.infobip.key_of(str(value)) if value is not None else None
            tagged = self.tagged_key(name)
            held |= {each.id for each in (key, tagged) if each is not None}
            if value is None or self.world.infobip.authenticates(str(value)):
                self._down.pop(name, None)
                continue
            key_id = "" if key is None else key.id
            if self._by_hand:
                self._down[name] = key_id  # a person stored a key that does not work
            if self._down.get(name) != key_id:
                self.broken.append(f"rule 1: {name} has no working key after {when}")
                self._down[name] = key_id
        now = self.world.clock.now()
        for key_id in held:
            self._replaced_at[key_id] = None
        for key_id, at in self._replaced_at.items():
            if at is None and key_id not in held:
                self._replaced_at[key_id] = now

    def _promoted(self, name: str, old: str, new: str, when: str) -> None:
        """Rules 2 and 5: the rotator moved ``AWSCURRENT``."""
        assert self._flow is not None
        tagged = self._fields.get(name, CONSUMED)
        before, after = parsed(old), parsed(new)
        if tagged not in after and tagged not in before:
            tagged = CONSUMED  # the tag was changed after the value was read
        old_key, new_key = (self.world.infobip.key_of(str(each.get(tagged))) for each in (before, after))
        if new_key is None:
            self.broken.append(f"{name} got a value without a key in {tagged} after {when}")
        elif old_key is not None and old_key.account_id != new_key.account_id and not self._flow.moves:
            self.broken.append(f"{name} was moved to another account after {when}")
        own = OWN_FIELDS | {tagged}
        kept = {name: value for name, value in before.items() if name not in own}
        if kept != {name: value for name, value in after.items() if name not in own} and not self._flow.goes_back:
            self.broken.append(f"rule 5: other fields of {name} were changed after {when}")

    def _changed(self, old: SimKey, new: SimKey, when: str) -> None:
        """Rules 3, 4 and 6: the rotator changed a key."""
        state = self.world.infobip.state
        by = state.users[self._user].account_id
        if by not in (old.account_id, state.accounts[old.account_id].parent):
            self.broken.append(f"key {old.id} was changed by {self._user} of another account")
        if (old.account_id, old.name, old.scopes) != (new.account_id, new.name, new.scopes):
            self.broken.append(f"key {old.id} got another account, name or scopes after {when}")
        if not old.enabled or new.enabled or self._is_own_attempt(old):
            return
        emergency = self.emergency
        if emergency is not None and emergency.running:
            if old.id not in emergency.suspects:
                self.broken.append(f"rule 4: key {old.id}, which nobody named, was revoked after {when}")
            self._leaves_without(emergency, old)
        elif emergency is None or old.id not in emergency.suspects | emergency.looks_leaked:
            self._check_due(old, when)
        if emergency is None or not emergency.running:
            self._check_not_held(old, when)

    def _note_what_looks_leaked(self, name: str) -> None:
        """A key that is stored before the emergency asks for the replacement looks like the one that it found there."""
        emergency, stored = self.emergency, self.tagged_key(name)
        if emergency is None or not emergency.running or stored is None:
            return
        if not any(self._is_own_attempt(key) for key in self.world.infobip.keys()):
            emergency.looks_leaked.add(stored.id)

    def _is_own_attempt(self, key: SimKey) -> bool:
        """Whether the run that acts now made the key, and gave it up."""
        made_now = self._run_began is not None and key.created_at >= self._run_began.replace(microsecond=0)
        return made_now and key.id not in self._replaced_at and named_for(self.world, key.name) is not None

    def _leaves_without(self, emergency: Emergency, key: SimKey) -> None:
        for name in self.world.names():
            if parsed(self.world.try_read(name)).get(CONSUMED) == key.value:
                self._down[name] = key.id
            if self.tagged_key(name) != key or emergency.strategy is not Strategy.REPLACE_FIRST:
                continue
            if name not in self._put_since:
                emergency.left_without[name] = key.id

    def _check_due(self, key: SimKey, when: str) -> None:
        """Rule 3: its grace period is over, or it is an orphan or a failed attempt of this deployment."""
        now = self.world.clock.now()
        if key.id in self._replaced_at:
            at = self._replaced_at[key.id]
            early = revoked_too_early(current=at is None, replaced_at=at, grace=self.world.grace, now=now)
            if early and not (at is None and self._is_unseen(key)):
                self.broken.append(f"rule 3: key {key.id} was revoked, {early}, after {when}")
        elif named_for(self.world, key.name) is None:
            self.broken.append(f"rule 4: key {key.id} ({key.name}), which is nobody's, was revoked after {when}")
        elif now - key.created_at <= STALE_CREATE:
            self.broken.append(f"rule 6: key {key.id}, {now - key.created_at} old, was revoked after {when}")

    def _check_not_held(self, key: SimKey, when: str) -> None:
        """Rule 6 above."""
        for name in self.world.names():
            if key.value in self._content(name) and key.value in self._seen.get(name, ""):
                self.broken.append(f"rule 3: key {key.id} was revoked while {name} holds it, after {when}")

    def _is_unseen(self, key: SimKey) -> bool:
        """Whether whoever holds it stored it after the last read."""
        holders = [name for name in self.world.names() if key.value in self._content(name)]
        if any(key.value in self._seen.get(name, "") for name in holders):
            return False
        self._down |= dict.fromkeys(holders, key.id)
        return True

    # ---- the truth --------------------------------------------------------------------------------------------------

    def tagged_key(self, name: str) -> SimKey | None:
        """The key in the field of ``AWSCURRENT`` that the tags name now."""
        value = parsed(self.world.try_read(name)).get(self._field(name))
        return None if value is None else self.world.infobip.key_of(str(value))

    def _field(self, name: str) -> str:
        return self.world.store.peek(name).tags.get("rotator:value-field", CONSUMED)

    def _content(self, name: str) -> str:
        """What ``AWSCURRENT`` holds, binary as Latin-1."""
        record = self.world.store._records[name]
        version = record.versions.get(record.labels.get(CURRENT, ""))
        if version is None:
            return ""
        return version.text.reveal() if version.text is not None else (version.binary or b"").decode("latin-1")

    def _in_labelled_versions(self, name: str, but: str = "") -> set[str]:
        """The ids of the keys that any labelled version of a secret holds, in any field.

        :param but: without the version that has this label.
        """
        record = self.world.store._records[name]
        labelled = set(record.labels.values()) - {record.labels.get(but, "")}
        texts = [v.text.reveal() for v in map(record.versions.__getitem__, labelled) if v.text]
        return {key.id for key in self.world.infobip.keys() if any(key.value in text for text in texts)}
