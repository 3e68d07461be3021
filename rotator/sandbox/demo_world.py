"""What the demo stands on: both sandbox servers, the real adapters over HTTP, an audit file, and a way to be killed."""

from __future__ import annotations

import contextlib
import os
import random
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from rotator.aws.secretsmanager import SecretsManagerStore
from rotator.bootstrap import NoEvents
from rotator.engine.context import Services
from rotator.engine.reconcile import Reconciler
from rotator.infobip.client import InfobipClient
from rotator.infobip.credentials import parse_credentials
from rotator.model import Policy, SecretEntry
from rotator.ports import KeyProvider
from rotator.redaction.patterns import CONSTANTS
from rotator.redaction.redactor import Redactor
from rotator.sandbox.aws import DUMMY_CREDENTIALS, REGION
from rotator.sandbox.clocks import VirtualClock
from rotator.sandbox.launcher import Fleet, Sandbox
from rotator.secret import Secret
from rotator.telemetry.audit import Audit, Trigger

START: Final = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
"""A Sunday, nine days before the example fleet's audit freeze ends."""
POLICY: Final = Policy()


class Killed(BaseException):
    """The process is gone, as far as the rotator can tell. Not an ``Exception``: nothing on the way may handle it."""


class DemoWorld:
    """A context manager: a sandbox with its example fleet, and the services that a deployment would have.

    While it lasts, the process has no AWS settings but dummies: whatever the user's own say, no account is reached.

    :param audit_file: gets the lines of every run.
    :param seed: of ids, values and waits; the same seed tells the same story.
    :raises ConfigurationError: moto is missing, or the audit file can't be written.
    """

    def __init__(self, audit_file: Path, *, seed: int = 1) -> None:
        self.audit_file = audit_file
        self.clock = VirtualClock(START)
        self.sandbox = Sandbox(clock=self.clock, world_seed=seed)
        self._numbers = random.Random(seed)  # noqa: S311 - a simulation that can be repeated
        self._redactor = Redactor(CONSTANTS)
        self._stack = contextlib.ExitStack()
        self._rotator_client: Any = None
        self.operator: Any = None
        """A boto3 client for what people do."""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(_no_real_aws())
            stack.enter_context(self.sandbox)
            stack.callback(self._redactor.forget)
            self.operator = self.sandbox.client()
            self._rotator_client = self.sandbox.client()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, tb)

    @property
    def fleet(self) -> Fleet:
        """What was seeded."""
        return self.sandbox.fleet

    @property
    def observer(self) -> SecretsManagerStore:
        """A look at secrets and labels that no fault hits."""
        return SecretsManagerStore(self.operator)

    @contextlib.contextmanager
    def run(self, trigger: Trigger = Trigger.SCHEDULE) -> Iterator[Reconciler]:
        """One run of the program, with an audit trail of its own, as ``rotator run`` would have it."""
        audit = Audit(
            _Nowhere(),
            deployment=POLICY.deployment,
            actor="demo",
            trigger=trigger,
            redactor=self._redactor,
            clock=self.clock,
            run_id=str(uuid.uuid4()),  # not by the seed: an audit file may hold two demos
            audit_file=self.audit_file,
        )
        redactor = self._redactor
        services = Services(
            store=SecretsManagerStore(self._rotator_client, learn=redactor.learn_value, spare=redactor.spare),
            connect=self._connect,
            audit=audit,
            events=NoEvents(),
            clock=self.clock,
            policy=POLICY,
            new_version_id=lambda: str(uuid.UUID(int=self._numbers.getrandbits(128), version=4)),
        )
        try:
            yield Reconciler(services)
        finally:
            audit.close()

    @contextlib.contextmanager
    def killed_before(self, operation: str, when: Callable[[dict[str, Any]], bool] = lambda _: True) -> Iterator[None]:
        """While it lasts, the rotator is killed right before it makes a call to Secrets Manager.

        :param operation: AWS's name of it.
        :param when: looks at the call's parameters.
        """

        def kill(params: dict[str, Any], **_: Any) -> None:
            if when(params):
                raise Killed

        events, name = self._rotator_client.meta.events, f"before-parameter-build.secretsmanager.{operation}"
        events.register(name, kill)
        try:
            yield
        finally:
            events.unregister(name, kill)

    def _connect(self, entry: SecretEntry, text: Secret, /, *, emergency: bool = False) -> KeyProvider:
        return InfobipClient(
            parse_credentials(entry.name, text),
            self.clock,
            learn=self._redactor.learn,
            spare=self._redactor.spare,
            rng=self._numbers,
            fall_back_to_basic=emergency,
        )


class _Nowhere:
    """The audit's stream: a demo's lines go to its file only."""

    def write(self, text: str, /) -> int:
        return len(text)

    def flush(self) -> None:
        return


@contextlib.contextmanager
def _no_real_aws() -> Iterator[None]:
    """Hide the user's AWS settings. A profile that does not exist would stop even a client with its own credentials."""
    hidden = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "BOTO_"))}
    dummies = {
        **DUMMY_CREDENTIALS,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name in hidden:
        del os.environ[name]
    os.environ.update(dummies)
    try:
        yield
    finally:
        for name in dummies:
            os.environ.pop(name, None)
        os.environ.update(hidden)
