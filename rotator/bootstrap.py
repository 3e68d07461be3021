"""The composition root: the only module that connects adapters to the core."""

from __future__ import annotations

import getpass
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from rotator.aws import cloudtrail, eventbridge
from rotator.aws.clients import assume_role, make_client, make_session
from rotator.aws.secretsmanager import SecretsManagerStore
from rotator.aws.stores import Member, Stores
from rotator.clock import SystemClock
from rotator.engine.context import Connect, Services
from rotator.infobip.client import InfobipClient
from rotator.infobip.credentials import AuthMethod, parse_credentials
from rotator.model import SecretEntry
from rotator.patience import Patience
from rotator.ports import Clock, EventSink, KeyProvider, ReaderLog, SecretStore
from rotator.redaction.patterns import CONSTANTS
from rotator.redaction.redactor import Redactor
from rotator.secret import Secret
from rotator.settings import Settings
from rotator.telemetry.audit import Audit, Trigger
from rotator.telemetry.consumer_events import NoEvents
from rotator.telemetry.logs import LineStream, TextSink, configure
from rotator.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from rotator.engine.rehearsal import Rehearsal


@dataclass
class App:
    """A configured program: settings, services, and what else a command needs."""

    settings: Settings
    services: Services
    redactor: Redactor
    audit: Audit
    session: Any
    clock: Clock

    def close(self) -> None:
        """Close the audit and forget learnt secrets."""
        self.audit.close()
        self.redactor.forget()


@dataclass
class Foundation:
    """The parts that are reused across runs: settings, AWS session, clients, redactor. A Lambda creates them once.

    :param audit: makes a run's audit from its ``actor``, ``trigger`` and ``audit_file``.
    :param events: makes a run's event sink.
    """

    settings: Settings
    redactor: Redactor
    session: Any
    clock: Clock
    store: SecretStore
    connect: Connect
    audit: Callable[..., Audit]
    events: Callable[[], EventSink]
    metrics: Metrics | None = None
    readers: ReaderLog | None = None
    where: str = ""

    def start(
        self,
        *,
        trigger: Trigger | str,
        actor: str,
        audit_file: str | None = None,
        may_start: Callable[[], bool] = lambda: True,
        previous: datetime | None = None,
    ) -> App:
        """Start a run with its own audit. Close it before the next one starts.

        :param previous: when the previous sweep began, if the caller knows.
        :raises ConfigurationError: the audit file can't be used.
        """
        audit = self.audit(actor=actor, trigger=trigger, audit_file=audit_file)
        services = Services(
            store=self.store,
            connect=self.connect,
            audit=audit,
            events=self.events(),
            clock=self.clock,
            policy=self.settings,
            may_start=may_start,
            metrics=self.metrics,
            readers=self.readers,
            previous=previous,
            where=self.where,
        )
        return App(self.settings, services, self.redactor, audit, self.session, self.clock)


def prepare(
    *,
    region: str | None = None,
    profile: str | None = None,
    console: bool = False,
    log_level: str | None = None,
    audit_level: int = logging.INFO,
    stream: TextSink | None = None,
    environ: Mapping[str, str] | None = None,
    unsafe_sessions: bool = False,
    clock: Clock | None = None,
    patience: Patience | None = None,
) -> Foundation:
    """Read the settings, send the logs to ``stream`` (stderr), and make the clients.

    :param audit_level: the lowest level of audit lines for ``stream``.
    :param unsafe_sessions: do not bind IBSSO sessions to an address, for callers whose address changes.
    :param clock: the system clock by default.
    :param patience: the bounds of each call to AWS and Infobip; by default those of unattended work.
    :raises ConfigurationError: settings, region or credentials can't be used.
    """
    environ = os.environ if environ is None else environ
    settings = Settings.from_env(environ)
    redactor = Redactor((*CONSTANTS, settings.deployment))
    lines = LineStream(stream if stream is not None else sys.stderr)
    configure(lines, redactor, level=log_level or settings.log_level, console=console)
    clock = clock or SystemClock()
    patience = patience or Patience()
    session = make_session(region, profile, patience)
    store, readers = make_stores(settings, session, redactor, clock, patience)

    def connect(
        entry: SecretEntry, text: Secret, /, *, emergency: bool = False, auth: str | None = None
    ) -> KeyProvider:
        credentials = parse_credentials(entry.name, text, settings.allowed_hosts)
        return InfobipClient(
            credentials if auth is None else replace(credentials, auth=AuthMethod(auth)),
            clock,
            redactor=redactor,
            unsafe_sessions=unsafe_sessions,
            fall_back_to_basic=emergency,
            patience=patience,
        )

    return Foundation(
        settings=settings,
        redactor=redactor,
        session=session,
        clock=clock,
        store=store,
        events=partial(make_events, settings, session, redactor),
        connect=connect,
        audit=partial(
            Audit,
            lines,
            deployment=settings.deployment,
            redactor=redactor,
            clock=clock,
            console=console,
            stream_level=audit_level,
        ),
        readers=readers,
        where=" or ".join(map(str, settings.stores)) or f"region {session.get_config_variable('region')}",
    )


def make_stores(
    settings: Settings, home: Any, redactor: Redactor, clock: Clock, patience: Patience
) -> tuple[SecretStore, ReaderLog]:
    """Make the store and its access log: the session's region, or all stores in the settings as one."""

    def readers(session: Any) -> ReaderLog:
        connect = partial(
            make_client,
            session,
            "cloudtrail",
            attempts=cloudtrail.LOOKUP_ATTEMPTS,
            read_timeout=cloudtrail.LOOKUP_READ_TIMEOUT,
        )
        return cloudtrail.CloudTrail(connect, clock)

    def store(session: Any) -> SecretStore:
        return SecretsManagerStore(make_client(session, "secretsmanager"), redactor)

    if not settings.stores:
        return store(home), readers(home)
    members = []
    for each in settings.stores:
        if each.role is None:
            session = make_session(each.region, home.profile, patience)
        else:
            session = assume_role(home, each.role, settings.external_id, each.region, patience)
        members.append(Member(each, partial(store, session), readers(session), session))
    stores = Stores(members)
    return stores, stores


def make_rehearsal(app: App, account: str) -> Rehearsal:
    """Make an account's rehearsal, which may create and delete secrets of its own, in the first store.

    :raises RotatorError: the secrets can't be listed, or the account is unknown.
    """
    from rotator.aws.rehearsal_secrets import RehearsalSecrets
    from rotator.engine.rehearsal import Rehearsal

    stores = app.services.store
    session = stores.members[0].session if isinstance(stores, Stores) else app.session
    store = RehearsalSecrets(make_client(session, "secretsmanager"), app.redactor)
    return Rehearsal(app.services, store, account)


def make_events(settings: Settings, session: Any, redactor: Redactor) -> EventSink:
    """Make the sink for the event bus in the settings, or one that does nothing."""
    if settings.event_bus is None:
        return NoEvents()
    timeouts = {
        "connect_timeout": eventbridge.PUBLISH_CONNECT_TIMEOUT,
        "read_timeout": eventbridge.PUBLISH_READ_TIMEOUT,
    }
    connect = partial(make_client, session, "events", attempts=eventbridge.PUBLISH_ATTEMPTS, **timeouts)
    return eventbridge.EventBridge(settings.event_bus, connect, redactor)


def local_actor() -> str:
    """Return the local user's name, for the audit."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
