"""The composition root: the only place where adapters meet the core."""

from __future__ import annotations

import getpass
import ipaddress
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from rotator.audit import Audit, Trigger
from rotator.aws.clients import make_session, secrets_client
from rotator.aws.secretsmanager import SecretsManagerStore
from rotator.clock import SystemClock
from rotator.context import Services
from rotator.core.model import SecretEntry
from rotator.core.secret import Secret
from rotator.errors import ConfigurationError
from rotator.infobip.client import InfobipClient
from rotator.infobip.credentials import parse_credentials
from rotator.log import LineStream, TextSink, configure
from rotator.ports import Clock, KeyProvider
from rotator.redact import Redactor
from rotator.settings import Settings


class NoEvents:
    """Where no event bus is configured."""

    def send(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        """Nothing is sent."""


@dataclass
class App:
    """A configured program: settings, services, and what a command needs beside them."""

    settings: Settings
    services: Services
    redactor: Redactor
    audit: Audit
    session: Any
    clock: Clock

    def close(self) -> None:
        """Close the audit and forget what was learnt."""
        self.audit.close()
        self.redactor.forget()


def build(
    *,
    trigger: Trigger | str,
    region: str | None = None,
    profile: str | None = None,
    actor: str | None = None,
    audit_file: str | None = None,
    console: bool = False,
    log_level: str | None = None,
    stream: TextSink | None = None,
    environ: Mapping[str, str] | None = None,
    unsafe_sessions: bool = False,
) -> App:
    """Join everything.

    :param actor: who acts, for the audit; the local user where not given.
    :param unsafe_sessions: IBSSO sessions that are not bound to an address, for callers whose address changes.
    :raises ConfigurationError: settings, region, credentials or the audit file can't be used.
    """
    environ = os.environ if environ is None else environ
    settings = Settings.from_env(environ)
    redactor = Redactor()
    lines = LineStream(stream if stream is not None else sys.stderr)
    configure(lines, redactor, level=log_level or settings.log_level, console=console)
    clock = make_clock(environ)
    session = make_session(region, profile)
    audit = Audit(
        lines,
        deployment=settings.deployment,
        actor=actor or local_actor(),
        trigger=trigger,
        redactor=redactor,
        clock=clock,
        audit_file=audit_file,
        console=console,
    )

    def connect(entry: SecretEntry, text: Secret) -> KeyProvider:
        credentials = parse_credentials(entry.name, text)
        return InfobipClient(credentials, clock, learn=redactor.learn, unsafe_sessions=unsafe_sessions)

    services = Services(
        store=SecretsManagerStore(secrets_client(session), learn=redactor.learn),
        connect=connect,
        audit=audit,
        events=NoEvents(),
        clock=clock,
        policy=settings.policy,
    )
    return App(settings, services, redactor, audit, session, clock)


def local_actor() -> str:
    """The local user's name, for the audit."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def make_clock(environ: Mapping[str, str]) -> Clock:
    """The machine's clock, or the sandbox's own where ``ROTATOR_SANDBOX_URL`` names one on this very machine."""
    url = environ.get("ROTATOR_SANDBOX_URL", "").strip()
    if not url:
        return SystemClock()
    host = urlsplit(url).hostname or ""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigurationError(
            "ROTATOR_SANDBOX_URL names another machine; a clock is only taken from a sandbox on this one",
            advice="Unset it: it is for trying things out.",
        )
    from rotator.sandbox.clock import RemoteClock  # never in production, never in the Lambda

    return RemoteClock(url)
