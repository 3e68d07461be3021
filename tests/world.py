"""A whole world in memory: a strict Secrets Manager, a simulated Infobip behind the real client, one clock."""

from __future__ import annotations

import io
import json
import random
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from rotator.engine.context import Services
from rotator.engine.reconcile import Reconciler
from rotator.engine.sweep import Sweep
from rotator.errors import RotatorError
from rotator.infobip.client import InfobipClient
from rotator.infobip.credentials import parse_credentials
from rotator.model import Policy, SecretEntry
from rotator.policy.labels import key_name
from rotator.ports import KeyProvider, ReaderLog, SecretStore
from rotator.redaction.redactor import Redactor
from rotator.sandbox.clocks import VirtualClock
from rotator.sandbox.state import Options, SimKey, SimUser
from rotator.secret import Secret
from rotator.telemetry.audit import Audit, Trigger
from tests import leaks
from tests.doubles.in_process import InProcessAdapter
from tests.doubles.memory_store import MemoryStore
from tests.support.commands import assert_documented
from tests.support.faulty_infobip import FaultyInfobip

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@dataclass
class Events:
    """Keeps what would have gone to the event bus."""

    sent: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def send(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        """Keep one."""
        assert_documented("event", json.loads(json.dumps(detail)))
        self.sent.append((detail_type, detail))


class World:
    """Everything, ready for a sweep. Values that it makes are registered with the leak search.

    ``stores``, where it is set, are several stores as one deployment has them; ``store`` is one of them.

    :param seed: of version ids, key ids and jitter: the same seed is the same run.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        options: Options | None = None,
        policy: Policy | None = None,
        staleness: timedelta = timedelta(0),
        start: datetime = START,
    ) -> None:
        self.clock = VirtualClock(start)
        self.infobip = FaultyInfobip(self.clock, seed=seed, options=options)
        self.redactor = Redactor()
        self.store = MemoryStore(self.clock, staleness=staleness, learn=self.redactor.learn)
        self.stores: SecretStore | None = None
        self.events = Events()
        self.readers: ReaderLog | None = None
        self.policy = policy or Policy()
        self.rng = random.Random(f"world {seed}")  # not the far end's own random numbers
        self.stream = io.StringIO()
        self.accounts: dict[str, str] = {}
        self.first_keys: dict[str, SimKey] = {}
        self.ours: set[str] = set()
        self.emergency_keys: set[str] = set()
        self.exempt: set[str] = set()
        self.by_operator = False
        self.grace = timedelta(hours=72)

    # ---- making it --------------------------------------------------------------------------------------------------

    def account(self, name: str = "main", *, auth: str = "basic", password: str | None = None) -> str:
        """An Infobip account with a user, and its management secret. Gives the account's id at Infobip."""
        account = self.infobip.add_account(name)
        user = self.infobip.add_user(account, f"user-{name}", password)
        self.accounts[name] = account.id
        self.store_management_secret(name, user, auth)
        return account.id

    def store_management_secret(self, name: str, user: SimUser, auth: str) -> None:
        """The management secret by which this world's rotator finds an account."""
        value = {
            "base_url": "https://sandbox.api.infobip.com",
            "username": user.username,
            "password": leaks.register(str(user.password)),
            "auth": auth,
        }
        tags = {"rotator:role": "management", "rotator:account": name}
        self.store.create_secret(f"infobip/{name}", tags, json.dumps(value))

    def managed(
        self,
        name: str,
        *,
        account: str = "main",
        left: timedelta = 300 * DAY,
        age: timedelta = 65 * DAY,
        scopes: Iterable[str] = ("sms:manage",),
        plain: bool = False,
        extra: Mapping[str, Any] | None = None,
        adopted: bool = True,
        rotated: bool = False,
        **tags: str,
    ) -> SimKey:
        """A managed secret that holds a key created by hand. Underscores in tag names stand for dashes.

        :param rotated: the rotator created the key: it is proven by its name.
        """
        if account not in self.accounts:
            self.account(account)
        now = self.clock.now()
        version_id = self.new_id() if rotated else str(uuid.uuid4())
        arn = self.store.create_secret(name, self.tags(account, **tags))
        title = key_name(name, arn, self.policy.deployment, version_id) if rotated else f"by hand: {name}"
        key = self.infobip.add_key(
            self.accounts[account], title, scopes=scopes, valid_from=now - age, valid_to=now + left
        )
        value = leaks.register(str(key.value))
        text = value if plain else json.dumps({**(extra or {}), "api_key": value})
        self.store.put_value_by_hand(name, text, version_id)
        if adopted:
            version = next(iter(self.store.peek(name).versions))
            self.store.label_by_hand(name, f"rotator:key:{key.id}", version)
        self.first_keys[name] = key
        self.ours.add(key.id)
        return key

    def tags(self, account: str = "main", **tags: str) -> dict[str, str]:
        """Tags of a managed secret."""
        named = {f"rotator:{name.replace('_', '-')}": value for name, value in tags.items()}
        return {"rotator:role": "key", "rotator:account": account, **named}

    # ---- using it ---------------------------------------------------------------------------------------------------

    def connect(self, entry: SecretEntry, text: Secret, /, *, emergency: bool = False) -> KeyProvider:
        """The real client, its connections ending in the simulated Infobip."""
        credentials = parse_credentials(entry.name, text)
        return InfobipClient(
            credentials,
            self.clock,
            redactor=self.redactor,
            rng=random.Random(self.rng.random()),
            adapters=lambda: InProcessAdapter(self.infobip),
            fall_back_to_basic=emergency,
        )

    def services(self, trigger: Trigger = Trigger.SCHEDULE) -> Services:
        """Services for one run."""
        audit = Audit(
            self.stream,
            deployment=self.policy.deployment,
            actor="test",
            trigger=trigger,
            redactor=self.redactor,
            clock=self.clock,
            run_id=self.new_id(),
        )
        return Services(
            store=self.stores or self.store,
            connect=self.connect,
            audit=audit,
            events=self.events,
            clock=self.clock,
            policy=self.policy,
            new_version_id=self.new_id,
            readers=self.readers,
        )

    def new_id(self) -> str:
        """A UUID out of the seed."""
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def reconciler(self) -> Reconciler:
        """A reconciler over fresh services."""
        return Reconciler(self.services())

    def sweep(self, **options: Any) -> Sweep:
        """One sweep, as the scheduler would start it."""
        return self.reconciler().sweep(**options)

    # ---- looking at it ----------------------------------------------------------------------------------------------

    def lines(self) -> list[dict[str, Any]]:
        """Every audit line so far."""
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def events_named(self, event: str, outcome: str = "success") -> list[dict[str, Any]]:
        """The audit lines of one event and outcome."""
        return [line for line in self.lines() if line["event"] == event and line["outcome"] == outcome]

    def current_value(self, name: str) -> str:
        """The key that a consumer finds in a secret."""
        text = self.store.consumer_read(name)
        if not text.startswith("{"):
            return text
        fields = json.loads(text)
        return str(fields["api_key"])

    def consumer_works(self, name: str) -> bool:
        """Whether a consumer that reads now gets in."""
        return self.infobip.authenticates(self.current_value(name))

    def current_key(self, name: str) -> SimKey:
        """The key at Infobip behind ``AWSCURRENT``."""
        key = self.infobip.key_of(self.current_value(name))
        assert key is not None
        return key

    def labels(self, name: str) -> dict[str, set[str]]:
        """Version ids and their labels."""
        return {version: set(labels) for version, labels in self.store.peek(name).versions.items()}

    def version_of(self, name: str, key: SimKey) -> str:
        """The version that carries a key's label."""
        return next(version for version, labels in self.labels(name).items() if f"rotator:key:{key.id}" in labels)

    def live_keys(self, account: str = "main") -> list[SimKey]:
        """Every key that authenticates now."""
        now = self.clock.now()
        return [key for key in self.infobip.keys(self.accounts[account]) if key.enabled and key.valid_to > now]

    def names(self) -> list[str]:
        """The managed secrets' names."""
        records = self.store._records  # the test's own eye: not a call that would be counted
        return sorted(name for name, record in records.items() if record.tags.get("rotator:role") == "key")

    def try_read(self, name: str) -> str | None:
        """What a consumer gets, or ``None`` where there is nothing to be had."""
        try:
            return self.store.consumer_read(name)
        except RotatorError:
            return None

    def pass_time(self, by: timedelta) -> None:
        """Let time pass."""
        self.clock.advance(by)


def with_policy(world: World, **changes: Any) -> World:
    """The same world under other settings."""
    world.policy = replace(world.policy, **changes)
    return world
