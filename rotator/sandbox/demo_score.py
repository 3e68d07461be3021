"""Who judges the demo: consumers that use what they read, and a referee who asks the far ends, not the rotator."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import requests

from rotator.policy.labels import parse_key_label, parse_key_name, parse_retire_label
from rotator.policy.tags import spec_or_none
from rotator.ports import Clock, SecretStore
from rotator.sandbox.aws import consumer_value
from rotator.sandbox.demo_world import POLICY
from rotator.sandbox.exchange import Request, Response
from rotator.sandbox.infobip import InfobipWorld
from rotator.sandbox.state import SimAccount

BALANCE: Final = "/account/1/balance"
SECONDS: Final = 10
TOLERANCE: Final = timedelta(minutes=5)
"""Between a promotion and the consumers' next look the rotator may have waited a little (virtual) while."""
KILLS: Final = 3
"""Sweeps that the story kills."""
YOUNG: Final = timedelta(minutes=30)


@dataclass
class Score:
    """What came of it, as counts. ``ok`` says which have to be 0.

    :param days: days that passed; ``sweeps`` counts the killed ones too.
    :param calls: calls of consumers: ``accepted``, ``unanswered`` (Infobip was down), ``refused_in_emergency`` (with a
        leaked key's value, from a cache) or ``refused``.
    :param early_revocations: keys that died before their grace was over.
    :param orphans: keys of the rotator's that work at the end and that no secret names.
    :param values_leaked: secret values in the audit file or on the screen.
    """

    days: int = 0
    sweeps: int = 0
    rotations: int = 0
    revocations: int = 0
    adoptions: int = 0
    kills: int = 0
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
        """Whether no promise was broken, and whatever was killed was recovered."""
        broken = (self.refused, self.early_revocations, self.orphans, self.creates_over_limit, self.values_leaked)
        return not any(broken) and not self.failed_actions and self.kills == self.recoveries == KILLS and self.calls > 0


@dataclass
class _Consumer:
    """An application that uses one secret and keeps its value until the next step, as a cache would."""

    name: str
    key_field: str
    value: str | None = field(default=None, repr=False)


class Referee:
    """Consumers and checks.

    :param client: a boto3 client of its own, as an application's would be.
    :param store: for labels only, of the same Secrets Manager.
    """

    def __init__(
        self, score: Score, world: InfobipWorld, account: SimAccount, url: str, client: Any, store: SecretStore
    ) -> None:
        self.score = score
        self._world, self._account, self._url, self._client, self._store = world, account, url, client, store
        self._clock: Clock = world.clock
        self._session = requests.Session()
        self._session.trust_env = False  # neither a proxy nor a .netrc of the user has a part in this
        self._consumers = [
            _Consumer(entry.name, entry.tags.get("rotator:value-field", "api_key"))
            for entry in store.list_secrets()
            if entry.tags.get("rotator:role") == "key"
        ]
        self._grace: dict[str, timedelta] = {}
        self._promised: dict[str, datetime] = {}
        self._named: set[str] = set()
        self._superseded: dict[str, tuple[datetime, str]] = {}
        self._ended: dict[str, datetime] = {}
        self._leaked: set[str] = set()
        world.observers.append(self._see)

    @property
    def consumers(self) -> int:
        """How many applications there are."""
        return len(self._consumers)

    def excuse(self, key_ids: Iterable[str]) -> None:
        """These keys died in an emergency: without grace, as it was asked for."""
        self._leaked |= set(key_ids)

    def step(self, *, changed: bool = True) -> None:
        """Each consumer reads ``AWSCURRENT`` and uses it; where it changed, the value from before is used once more.

        :param changed: whether labels may have changed, so that they have to be noted.
        """
        if changed:
            self._note_labels()
        for consumer in self._consumers:
            fresh = self._read(consumer)
            if consumer.value is not None and consumer.value != fresh:
                self._use(consumer.value)
                old = self._world.key_of(consumer.value)
                if old is not None:
                    self._superseded.setdefault(old.id, (self._clock.now(), consumer.name))
            consumer.value = fresh
            if fresh is not None:
                self._use(fresh)

    def finish(self) -> None:
        """Fill in what can only be told at the end."""
        self._note_labels()
        score, now = self.score, self._clock.now()
        score.early_revocations = sum(self._was_early(key_id, at) for key_id, at in self._ended.items())
        score.orphans = sum(
            key.works(now, "127.0.0.1")
            and (name := parse_key_name(key.name)) is not None
            and name.deployment == POLICY.deployment
            and key.id not in self._named
            and key.created_at + YOUNG <= now
            for key in self._world.keys(self._account)
        )
        score.creates_on_busiest_day = self._world.busiest_day(self._account)[0]
        score.creates_over_limit = max(0, score.creates_on_busiest_day - (POLICY.daily_limit - POLICY.reserve))
        self._session.close()

    def count_leaks(self, *texts: str) -> None:
        """Count the secrets of this world that stand in texts which people or log collectors see."""
        secrets = {key.value for key in self._world.keys()}  # noqa: SIM118 - not a mapping
        secrets |= {user.password for user in self._world.state.users.values()}
        whole = "\n".join(texts)
        self.score.values_leaked = sum(secret in whole for secret in secrets)

    def _see(self, request: Request, answer: Response) -> None:
        """Note every key that ends, as Infobip sees it."""
        if request.method == "PUT" and answer.status == 200:
            key_id = request.path.rpartition("/")[2]
            if not self._world.state.keys[key_id].enabled:
                self._ended.setdefault(key_id, self._clock.now())

    def _note_labels(self) -> None:
        self._named = set()
        for entry in self._store.list_secrets():
            spec = spec_or_none(entry.tags)
            if spec is not None:
                self._grace[entry.name] = spec.grace
            for label in (label for labels in entry.versions.values() for label in labels):
                if retire := parse_retire_label(label):
                    self._promised[retire[0]] = retire[1]
                elif key_id := parse_key_label(label):
                    self._named.add(key_id)

    def _was_early(self, key_id: str, at: datetime) -> bool:
        """Whether a key that consumers had used died before its label said, or before its grace was really over."""
        if key_id in self._leaked or key_id not in self._superseded:
            return False
        since, secret = self._superseded[key_id]
        promised = self._promised.get(key_id)
        return promised is None or at < promised or at < since + self._grace[secret] - TOLERANCE

    def _read(self, consumer: _Consumer) -> str | None:
        try:
            text = consumer_value(self._client, consumer.name)
        except self._client.exceptions.ResourceNotFoundException:
            return None  # its first key is still to come
        try:
            return str(json.loads(text)[consumer.key_field])
        except ValueError:
            return text

    def _use(self, value: str) -> None:
        """One call as an application makes it. 403 is an answer to a key that is good and may not see a balance."""
        self.score.calls += 1
        try:
            headers = {"Authorization": f"App {value}"}
            status = self._session.get(self._url + BALANCE, headers=headers, timeout=SECONDS).status_code
        except requests.RequestException:
            status = 0
        if status in (200, 403):
            self.score.accepted += 1
        elif status != 401:
            self.score.unanswered += 1
        elif (key := self._world.key_of(value)) is not None and key.id in self._leaked:
            self.score.refused_in_emergency += 1
        else:
            self.score.refused += 1
