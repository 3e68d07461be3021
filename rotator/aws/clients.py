"""Makes AWS sessions and clients: timeouts, retries, where credentials come from, and what botocore may log.

It uses botocore's session rather than boto3's, because the clients are the same and a Lambda's cold start is shorter.
The SDK's variables are honoured, including ``AWS_ENDPOINT_URL`` and ``AWS_ENDPOINT_URL_<SERVICE>``.

At DEBUG botocore logs bodies, signed headers and the responses of a proxy or an IMDS, and so secret values and session
tokens. A log level does not prevent that, because a host application or ``logging.config`` may change it later. A
filter on the loggers themselves stays, and acts before any handler.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import botocore.config
import botocore.exceptions
import botocore.session
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.utils import parse_timestamp

from rotator import __version__
from rotator.aws.aws_errors import code_of, configuration_error
from rotator.errors import ConfigurationError
from rotator.patience import Patience, SlowCalls

_MAKING: Final = threading.Lock()  # botocore's sessions are not thread safe, its clients are
# The modules of botocore that log parameters, bodies, headers, or errors that quote them.
_LOGGERS: Final = (
    *("auth", "awsrequest", "client", "credentials", "crt.auth", "discovery", "endpoint", "endpoint_provider"),
    *("handlers", "history", "hooks", "httpchecksum", "httpsession", "monitoring", "parsers", "regions"),
    *("retries.special", "retries.standard", "retryhandler", "signers", "tokens", "utils", "waiter"),
)


class _NoBodies(logging.Filter):
    """Passes INFO and above, without tracebacks: these may quote a response that cannot be parsed."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = record.exc_text = None
        return record.levelno >= logging.INFO


_NO_BODIES: Final = _NoBodies()  # one, since a logger takes the same filter only once


def make_session(
    region: str | None = None, profile: str | None = None, patience: Patience | None = None
) -> botocore.session.Session:
    """Make a session for a region and a profile. If one is ``None`` or empty, the environment's is used.

    Its clients, those that fetch credentials included, wait as long as ``patience`` says.

    ``AWS_REGION`` takes precedence over ``AWS_DEFAULT_REGION``, as in AWS's other tools (botocore ignores it).

    :raises ConfigurationError: unknown profile, or an unreadable AWS configuration file.
    """
    _filter_logs()
    session = botocore.session.Session(profile=profile or None)
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_read_time)
    patience = patience or Patience()
    session.set_default_client_config(_config(patience.attempts, patience.connect, patience.read))
    if patience.slow_calls is not None:
        _watch(session, patience.slow_calls)
    chosen = region or os.environ.get("AWS_REGION")
    if chosen:
        session.set_config_variable("region", chosen)
    try:
        session.get_scoped_config()
        return session
    except botocore.exceptions.BotoCoreError as error:
        failure = _configuration(error, session)
    raise failure


def assume_role(
    home: botocore.session.Session, role: str, external_id: str | None, region: str, patience: Patience | None = None
) -> botocore.session.Session:
    """Make a session for a role, whose credentials botocore refreshes by itself.

    :param home: the session whose credentials may assume the role.
    """
    session = make_session(region, patience=patience)
    provider = _Role(partial(fetch_role, home, role, external_id, region))
    session.register_component("credential_provider", CredentialResolver([provider]))
    return session


class _Role(CredentialProvider):
    METHOD = "assume-role"

    def __init__(self, fetch: Callable[[], Mapping[str, Any]]) -> None:
        super().__init__()
        self._fetch = fetch

    def load(self) -> DeferredRefreshableCredentials:
        return DeferredRefreshableCredentials(self._fetch, self.METHOD)


def fetch_role(home: botocore.session.Session, role: str, external_id: str | None, region: str) -> Mapping[str, Any]:
    """Assume a role.

    :raises CredentialRetrievalError: AWS refuses, or does not answer.
    """
    arguments = {"RoleSessionName": "infobip-key-rotator", **({"ExternalId": external_id} if external_id else {})}

    def connect(service: str, **credentials: Any) -> Any:
        with _MAKING:  # several stores are listed at once
            return home.create_client(service, region_name=region, **credentials)

    fetcher = AssumeRoleCredentialFetcher(connect, home.get_credentials(), role, arguments)
    try:
        credentials: Mapping[str, Any] = fetcher.fetch_credentials()
        return credentials
    except Exception as error:  # botocore's parser raises whatever it finds in a proxy's page
        failure = botocore.exceptions.CredentialRetrievalError(provider=role, error_msg=code_of(error))
    raise failure


def make_client(
    session: botocore.session.Session,
    service: str,
    *,
    attempts: int | None = None,
    connect_timeout: float | None = None,
    read_timeout: float | None = None,
) -> Any:
    """Make a client of any AWS service. What is ``None`` is the session's.

    :param service: botocore's name of it, such as ``secretsmanager`` or ``sqs``.
    :param attempts: the most attempts at a call, including the first.
    :param connect_timeout: seconds for each attempt, as is ``read_timeout``.
    :raises ConfigurationError: there is no region, no credentials, or the endpoint URL is not valid.
    """
    _filter_logs()  # the session may come from elsewhere
    config = _config(attempts, connect_timeout, read_timeout)
    try:
        with _MAKING:
            if session.get_credentials() is None:
                raise botocore.exceptions.NoCredentialsError  # the same message as when a call finds out
            if session.get_config_variable("region") == "":  # botocore would take it for the name of a region
                raise botocore.exceptions.NoRegionError
            return session.create_client(service, config=config)
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        failure = _configuration(error, session)
    raise failure


def _config(attempts: int | None, connect: float | None, read: float | None) -> botocore.config.Config:
    given: dict[str, Any] = {
        "connect_timeout": connect,
        "read_timeout": read,
        "retries": None if attempts is None else {"mode": "standard", "total_max_attempts": attempts},
    }
    given = {name: setting for name, setting in given.items() if setting is not None}
    return botocore.config.Config(user_agent_extra=f"rotator/{__version__}", **given)


def _watch(session: botocore.session.Session, slow_calls: SlowCalls) -> None:
    """Watch every call of the session's clients, with its retries."""

    def begin(**call: Any) -> None:
        operation = call["model"]
        slow_calls.begin(f"AWS ({operation.service_model.service_id}: {operation.name})")

    def end(**_: Any) -> None:
        slow_calls.end()

    session.register("before-call", begin)
    session.register("after-call", end)
    session.register("after-call-error", end)


def _filter_logs() -> None:
    for module in _LOGGERS:
        logging.getLogger(f"botocore.{module}").addFilter(_NO_BODIES)


def _read_time(value: Any) -> datetime:
    """Read a time in a response as UTC. botocore's local times would take a quarter of a listing's time."""
    if type(value) in (int, float):
        try:
            return datetime.fromtimestamp(value, UTC)
        except (ValueError, OverflowError, OSError):  # out of range or not a number: botocore handles it
            pass
    read: datetime = parse_timestamp(value)
    return read


def _configuration(error: Exception, session: botocore.session.Session) -> ConfigurationError:
    if isinstance(error, botocore.exceptions.ProfileNotFound):
        known = ", ".join(sorted(session.available_profiles)[:10]) or "none"
        return ConfigurationError(
            str(error), advice=f"Configured profiles: {known}. Check --profile and AWS_PROFILE, or unset them."
        )
    known_error = configuration_error(error)
    if known_error is not None:
        return known_error
    return ConfigurationError(
        f"could not create an AWS client ({type(error).__name__})",
        advice="Check AWS_ENDPOINT_URL (a whole URL, such as http://127.0.0.1:5000), AWS_REGION and the profile.",
    )
