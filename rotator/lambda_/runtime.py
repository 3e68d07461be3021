"""Runs one invocation, with clients that outlive it, its own audit, a time limit, and errors without secrets."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from rotator.bootstrap import App, Foundation, prepare
from rotator.errors import RotatorError
from rotator.model import Location
from rotator.redaction.patterns import redact_key_values, redact_patterns
from rotator.redaction.redactor import Redactor
from rotator.telemetry.audit import Trigger
from rotator.telemetry.logs import LineStream, configure

ENOUGH_SECONDS: Final = 60.0
"""No rotation starts with less time left. It takes seconds, or up to a minute if a new key takes effect slowly."""

_log = logging.getLogger("rotator.lambda")
_lock = threading.Lock()
_kept: list[Foundation] = []
_logged: set[str] = set()


@dataclass(slots=True)
class Invocation:
    """One call of a handler, with the runtime's context. Without a context there is no time limit."""

    context: Any = None
    app: App | None = field(default=None, init=False)

    def start(self, trigger: Trigger, actor: str) -> App:
        """Start the configured program, with its own audit for this call.

        :raises ConfigurationError: settings, region or credentials can't be used.
        """
        self.app = foundation().start(trigger=trigger, actor=actor, may_start=self.may_start)
        if self.request_id:
            _log.info("run %s is request %s", self.app.audit.run_id, self.request_id)
        return self.app

    def seconds_left(self) -> float:
        """Return the seconds until the runtime stops this process."""
        remaining = getattr(self.context, "get_remaining_time_in_millis", None)
        return float("inf") if remaining is None else float(remaining()) / 1000

    def may_start(self) -> bool:
        """Whether there is time for one more rotation."""
        return self.seconds_left() >= ENOUGH_SECONDS

    @property
    def request_id(self) -> str | None:
        """The request id, which is the same in all of Lambda's retries of one asynchronous event."""
        return getattr(self.context, "aws_request_id", None) or None

    @property
    def location(self) -> Location | None:
        """The AWS account and region of this function, if the runtime says so."""
        arn = getattr(self.context, "invoked_function_arn", None)
        return Location.of(arn) if arn else None

    @property
    def caller(self) -> str | None:
        """The caller's Cognito identity, if any. A caller with IAM credentials is known only to CloudTrail."""
        identity = getattr(self.context, "identity", None)
        return getattr(identity, "cognito_identity_id", None) or None

    def redact(self, text: str) -> str:
        """Redact the secrets that this call has learnt."""
        return redact_patterns(text) if self.app is None else self.app.redactor.redact(text)

    def close(self) -> None:
        """Close the audit and forget learnt secrets."""
        app, self.app = self.app, None
        if app is not None:
            app.close()


def foundation() -> Foundation:
    """Return settings, AWS session and clients, which are created once per process.

    :raises ConfigurationError: they can't be created; the next call retries.
    """
    with _lock:
        if not _kept:
            # A Lambda's address changes, so an IBSSO session can't be bound to one.
            made = prepare(unsafe_sessions=True)
            namespace = made.settings.metric_namespace
            if namespace is not None:
                from rotator.telemetry.cloudwatch import EmbeddedMetrics  # for the functions that sweep only

                made.metrics = EmbeddedMetrics(namespace, made.settings.deployment, redact_key_values)
            _kept.append(made)
        return _kept[0]


def forget() -> None:
    """Create everything again at the next call. For tests that change the environment."""
    with _lock:
        _kept.clear()
        _logged.clear()


def first_time(what: str) -> bool:
    """Whether this process has not been asked this before: for a message that each of many events would repeat."""
    with _lock:
        new = what not in _logged
        _logged.add(what)
        return new


def warm_up() -> None:
    """Make the clients while the runtime starts, which is fast and not yet timed. Never raises."""
    with contextlib.suppress(Exception):  # the first call retries and reports it; here it would be a crash
        foundation()


def guarded(work: Callable[[Any, Invocation], dict[str, Any]], event: Any, context: Any) -> dict[str, Any]:
    """Do one call's work, and forget its secrets.

    Any exception is replaced by an error with a redacted text and without a cause or context, because the runtime
    prints its text and traceback.

    :raises RotatorError: the class is that of the original error.
    """
    if not _kept:  # an error before the settings are read is a JSON line, too
        configure(LineStream(sys.stderr), Redactor())
    invocation = Invocation(context)
    try:
        return work(event, invocation)
    except RotatorError as error:
        failure = _redacted(error, invocation)
        _log.error("%s: %s", type(error).__name__, failure, extra={"class": type(error).__name__})
    except Exception as error:  # a mistake of ours
        text = invocation.redact(f"{type(error).__name__}: {error}")[:500]
        failure = RotatorError(
            f"this is a bug in rotator: {text}", advice="The next sweep continues. Report the stack trace."
        )
        if invocation.app is not None:  # only then do logs pass the redaction
            _log.exception("a bug in rotator")
    finally:
        invocation.close()
    raise failure  # here, outside any handler, so that it has no context


def _redacted(error: RotatorError, invocation: Invocation) -> RotatorError:
    failure = type(error).__new__(type(error))
    texts = (error.message, error.advice)
    # A report was redacted field by field. As a text, its field "secret" would count as a credential.
    message, advice = texts if error.redacted else map(invocation.redact, texts)
    RotatorError.__init__(failure, message, advice=advice)
    return failure
