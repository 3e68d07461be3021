"""A whole world in memory: a strict Secrets Manager, a simulated Infobip behind the real client, one clock."""

from __future__ import annotations

import io
import json
import random
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from rotator.engine.context import Services
from rotator.engine.emergency import Emergency, EmergencyReport, Strategy, Target
from rotator.engine.reconcile import Reconciler
from rotator.engine.sweep import Sweep
from rotator.errors import RotatorError
from rotator.infobip.client import InfobipClient
from rotator.infobip.credentials import parse_credentials
from rotator.model import Policy, SecretEntry
from rotator.ports import KeyProvider, ReaderLog, SecretStore
from rotator.redaction.redactor import Redactor
from rotator.sandbox.clocks import VirtualClock
from rotator.sandbox.state import Options, SimAccount, SimKey
from rotator.secret import Secret
from rotator.telemetry.audit import Audit, Trigger
from tests.doubles.in_process import InProcessAdapter
from tests.doubles.memory_store import MemoryStore
from tests.support.commands import assert_documented
from tests.support.eyes import Eyes
from tests.support.faulty_infobip import FaultyInfobip
from tests.support.moments import DAY, HOUR, START
from tests.support.verbs import CURRENT, KEY, PLAIN, Account, Value, Verbs, tags_named

__all__ = ["DAY", "HOUR", "KEY", "NAME", "PLAIN", "REASON", "START", "Events", "MemoryWorld", "World", "with_policy"]

NAME = "prod/sms"
"""The secret of tests that have one."""
REASON = "pasted in a ticket"


@dataclass
class Events:
    """Keeps what would have gone to the event bus."""

    sent: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def send(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        """Keep one."""
        assert_documented("event", json.loads(json.dumps(detail)))
        self.sent.append((detail_type, detail))


class MemoryWorld(Verbs, Eyes):
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
        self.clock: VirtualClock = VirtualClock(start)
        self.infobip_url = "https://sandbox.api.infobip.com"
        self.infobip: FaultyInfobip = FaultyInfobip(self.clock, seed=seed, options=options)
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

    def account(self, name: str = "main", **management: str) -> SimAccount:
        account = super().account(name, **management)
        self.accounts[name] = account.id
        return account

    def secret(self, name: str, *options: Any, **more: Any) -> SimKey:
        key = self.first_keys[name] = super().secret(name, *options, **more)
        self.ours.add(key.id)
        return key

    def _simulated(self, account: Account) -> SimAccount:
        if isinstance(account, SimAccount):
            return account
        if account not in self.accounts:
            self.account(account)
        return self.infobip.state.accounts[self.accounts[account]]

    def new_id(self) -> str:
        """A UUID out of the seed."""
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def new_secret(self, name: str, tags: Mapping[str, str], value: str | None = None) -> str:
        return self.store.create_secret(name, tags, value)

    def put(self, name: str, value: Value, labels: Iterable[str] = CURRENT, version: str | None = None) -> str:
        text = value if isinstance(value, str | bytes) else json.dumps(value)
        return self.store.put_value_by_hand(name, text, version, labels)

    def label(self, name: str, label: str, version: str | None, remove_from: str | None = None) -> None:
        self.store.label_by_hand(name, label, version, remove_from)

    def tag(self, name: str, **tags: str) -> None:
        self.store.tag(name, tags_named(tags))

    def untag(self, name: str, *tags: str) -> None:
        self.store.untag(name, *tags)

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

    def reconciler(self) -> Reconciler:
        """A reconciler over fresh services."""
        return Reconciler(self.services())

    # ---- looking at it ----------------------------------------------------------------------------------------------

    def lines(self) -> list[dict[str, Any]]:
        """Every audit line so far."""
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def events_named(self, event: str, outcome: str = "success") -> list[dict[str, Any]]:
        """The audit lines of one event and outcome."""
        return [line for line in self.lines() if line["event"] == event and line["outcome"] == outcome]

    def arn(self, name: str) -> str:
        return self.store.peek(name).arn

    def labels(self, name: str) -> dict[str, set[str]]:
        return {version: set(labels) for version, labels in self.store.peek(name).versions.items()}

    def text(self, name: str) -> str:
        return self.store.consumer_read(name)

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


class World(MemoryWorld):
    """With sweeps and emergencies of the engine."""

    def sweep(self, **options: Any) -> Sweep:
        """One sweep, as the scheduler would start it."""
        return self.reconciler().sweep(**options)

    def emergency(self, incident: str | None = "INC-1") -> Emergency:
        """A command's emergency, over services of its own."""
        return Emergency(self.services(Trigger.EMERGENCY), REASON, incident)

    def revoke(
        self, strategy: Strategy = Strategy.REPLACE_FIRST, *, incident: str | None = None, **target: Any
    ) -> EmergencyReport:
        """One command with ``--yes``."""
        command = self.emergency(incident)
        return command.execute(command.plan(Target(**(target or {"secret": NAME})), strategy))


def with_policy(world: World, **changes: Any) -> World:
    """The same world under other settings."""
    world.policy = replace(world.policy, **changes)
    return world
