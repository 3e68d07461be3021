"""The demo's checks: consumers that use what they read, and a referee that inspects the servers directly."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import requests

from rotator.durations import parse_duration
from rotator.model import Policy
from rotator.policy.labels import parse_key_label, parse_key_name
from rotator.ports import SecretStore
from rotator.sandbox.aws import consumer_value
from rotator.sandbox.exchange import Request, Response
from rotator.sandbox.launcher import Sandbox

CRASHES: Final = 3
"""Sweeps that crash in the story."""
_TOLERANCE: Final = timedelta(minutes=5)
"""Consumers see a promotion only at their next read, which the rotator's waits may delay a little."""


@dataclass
class Score:
    """The demo's results, as counts. ``ok`` says which have to be 0.

    :param days: days that passed; ``sweeps`` counts the crashed ones too.
    :param calls: calls of consumers: ``accepted``, ``unanswered`` (Infobip was down), ``refused_in_emergency`` (with a
        leaked key's value, from a cache) or ``refused``.
    :param early_revocations: keys that were revoked before their grace period was over.
    :param orphans: keys that the rotator created, that work at the end and that no secret names.
    :param values_leaked: secret values in the audit file or on the screen.
    """

    days: int = 0
    sweeps: int = 0
    rotations: int = 0
    revocations: int = 0
    adoptions: int = 0
    crashes: int = 0
    recoveries: int = 0
    calls: int = 0
    accepted: int = 0
    unanswered: int = 0
    refused_in_emergency: int = 0
    refused: int = 0
    early_revocations: int = 0
    orphans: int = 0
    creates_on_busiest_day: int = 0
    creates_over_limit: int = 0
    values_leaked: int = 0
    failed_actions: int = 0

    @property
    def ok(self) -> bool:
        """Whether no promise was broken, and every crash was recovered from."""
        broken = (self.refused, self.early_revocations, self.orphans, self.creates_over_limit, self.values_leaked)
        recovered = self.crashes == self.recoveries == CRASHES
        return not any(broken) and not self.failed_actions and recovered and self.calls > 0


class Referee:
    """One consumer for every secret, and the checks.

    :param store: the referee's own, for names, tags and labels.
    """

    def __init__(self, score: Score, sandbox: Sandbox, store: SecretStore, policy: Policy) -> None:
        self.score = score
        self._sandbox, self._store, self._policy = sandbox, store, policy
        self._clock, self._client = sandbox.clock, sandbox.client()
        self._session = requests.Session()
        self._session.trust_env = False  # ignore the user's proxies and .netrc
        entries = [entry for entry in store.list_secrets() if entry.tags.get("rotator:role") == "key"]
        self._fields = {entry.name: entry.tags.get("rotator:value-field", "api_key") for entry in entries}
        self._cached: dict[str, str | None] = dict.fromkeys(self._fields)
        self._superseded: dict[str, tuple[datetime, str]] = {}
        self._revoked: dict[str, datetime] = {}
        self._leaked: set[str] = set()
        sandbox.world.observers.append(self._note_revocation)

    def excuse(self, key_ids: Iterable[str]) -> None:
        """Allow that these keys were revoked in an emergency, without a grace period."""
        self._leaked |= set(key_ids)

    def step(self) -> None:
        """Let each consumer read ``AWSCURRENT`` and use it. If it changed, use the old value once more first."""
        for name, cached in self._cached.items():
            fresh = self._read(name)
            if cached is not None and cached != fresh:
                self._use(cached)
                old = self._sandbox.world.key_of(cached)
                if old is not None:
                    self._superseded.setdefault(old.id, (self._clock.now(), name))
            self._cached[name] = fresh
            if fresh is not None:
                self._use(fresh)

    def finish(self, *texts: str) -> None:
        """Fill in the counts that are known only at the end.

        :param texts: everything that people or log collectors see; it must not contain a secret value.
        """
        self._session.close()
        score, world, now = self.score, self._sandbox.world, self._clock.now()
        graces, named = {}, set()
        for entry in self._store.list_secrets():
            if entry.name in self._fields:
                graces[entry.name] = parse_duration(entry.tags.get("rotator:grace", "72h"))
            named |= {parse_key_label(label) for labels in entry.versions.values() for label in labels}
        for key_id, at in self._revoked.items():
            since, secret = self._superseded.get(key_id, (None, ""))
            if since is not None and key_id not in self._leaked:
                score.early_revocations += at < since + graces[secret] - _TOLERANCE
        for key in world.keys():  # noqa: SIM118 - not a mapping
            name = parse_key_name(key.name)
            ours = name is not None and name.deployment == self._policy.deployment
            score.orphans += ours and key.works(now, "127.0.0.1") and key.id not in named
        score.creates_on_busiest_day = world.busiest_day(self._sandbox.fleet.account)[0]
        limit = self._policy.slots
        score.creates_over_limit = max(0, score.creates_on_busiest_day - limit)
        secrets = {key.value for key in world.keys()}  # noqa: SIM118 - not a mapping
        secrets |= {user.password for user in world.state.users.values()}
        score.values_leaked = sum(any(secret in text for text in texts) for secret in secrets)

    def _note_revocation(self, request: Request, answer: Response) -> None:
        if request.method == "PUT" and answer.status == 200:
            key_id = request.path.rpartition("/")[2]
            if not self._sandbox.world.state.keys[key_id].enabled:
                self._revoked.setdefault(key_id, self._clock.now())

    def _read(self, name: str) -> str | None:
        try:
            text = consumer_value(self._client, name)
        except self._client.exceptions.ResourceNotFoundException:
            return None  # its first key is still to come
        try:
            value: Any = json.loads(text)
            return str(value[self._fields[name]])
        except ValueError:
            return text

    def _use(self, value: str) -> None:
        """Make a call as an application does. 403 means that the key is valid but may not read a balance."""
        self.score.calls += 1
        try:
            status = self._session.get(
                f"{self._sandbox.infobip.url}/account/1/balance",
                headers={"Authorization": f"App {value}"},
                timeout=10,
            ).status_code
        except requests.RequestException:
            status = 0
        if status in (200, 403):
            self.score.accepted += 1
        elif status != 401:
            self.score.unanswered += 1
        elif (key := self._sandbox.world.key_of(value)) is not None and key.id in self._leaked:
            self.score.refused_in_emergency += 1
        else:
            self.score.refused += 1
