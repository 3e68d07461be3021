"""All errors. Each message says what happened, to which secret or key, and what to do.

::

    RotatorError
    ├── ConfigurationError ── AmbiguousName
    ├── Refused  BadSecretValue  ReplacementRejected  LostRace  StateChanged
    ├── ReadersUnknown  InternalError
    ├── ProviderError (Infobip)
    │   ├── certainly not done: BadCredentials  MissingRole  SessionBusy  KeyNotFound  InvalidRequest  ProviderThrottled
    │   └── not known: ProviderUnavailable (a read)  OutcomeUnknown (a write)  ContractViolation
    └── StoreError (Secrets Manager)
        ├── certainly not done: StoreDenied  SecretNotFound  PreconditionFailed  StoreRejected  StoreUnavailable
        └── not known: StoreOutcomeUnknown (a write)

``retryable``: the next sweep may simply try again. ``outcome_unknown``: a write may have happened.
``redacted``: each part of the message is already redacted as its field requires, which keeps names and ids.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import ClassVar

from rotator.reasons import Reason


class RotatorError(Exception):
    """The base class.

    :param message: what happened, and to which secret or key; never contains a secret value.
    :param advice: the fix, as a short sentence; may be empty.
    :param reason: the reason, as a constant, if the class alone does not state it.
    """

    retryable: ClassVar[bool] = False
    outcome_unknown: ClassVar[bool] = False
    default_advice: ClassVar[str] = ""
    redacted: ClassVar[bool] = False

    def __init__(self, message: str, *, advice: str = "", reason: Reason | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.advice = _capitalised(advice or self.default_advice)

    def __str__(self) -> str:
        if not self.advice:
            return self.message
        return f"{sentence(self.message)} {self.advice}"


def sentence(text: str) -> str:
    """Return the text with a full stop, unless it already ends with a mark."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _capitalised(advice: str) -> str:
    """Capitalise an initial plain word, since a tag's fix is also used after a semicolon."""
    word = advice.partition(" ")[0]
    return advice[:1].upper() + advice[1:] if word.isalpha() and word.islower() else advice


class ConfigurationError(RotatorError):
    """Usage, settings or the management secret are wrong; nothing was started (exit 2)."""


class AmbiguousName(ConfigurationError):
    """Secrets of several stores have the name, or one has it and another store can't be searched.

    :param arns: these secrets.
    :param unsearched: the stores that could not be searched.
    """

    def __init__(self, name: str, arns: Sequence[str], unsearched: Sequence[str] = ()) -> None:
        message, reason = f"{len(arns)} stores have a secret named {name}", Reason.AMBIGUOUS_NAME
        if unsearched:
            message = f"{name} is in one store, but {', '.join(unsearched)} could not be searched for that name"
            reason = Reason.STORE_UNREACHABLE
        super().__init__(f"{message}; nothing was changed", advice=f"Use the ARN: {' or '.join(arns)}", reason=reason)
        self.name, self.arns = name, tuple(arns)

    def advice_for(self, command: Sequence[str]) -> str:
        """Return the advice as commands with each ARN in the name's place."""
        name = self.name
        with_arn = (
            [arn if each == name else each.replace(f"={name}", f"={arn}") for each in command] for arn in self.arns
        )
        return f"Use the ARN: {' or '.join(f'`rotator {shlex.join(each)}`' for each in with_arn)}"


class Refused(RotatorError):
    """A rule forbids the change (a hold, a guard, no ownership proof); nothing was changed."""


class BadSecretValue(RotatorError):
    """A stored value does not have the format that the tags declare."""


class ReplacementRejected(RotatorError):
    """A new key differs from the request, or does not authenticate."""

    retryable = True


class LostRace(RotatorError):
    """Another process promoted a different version first."""

    retryable = True


class StateChanged(RotatorError):
    """The state changed after the plan was made; nothing was changed."""

    retryable = True


class ReadersUnknown(RotatorError):
    """The readers of a secret are unknown."""

    retryable = True


class InternalError(RotatorError):
    """A bug in this program, caught so that it stops only one secret or account."""

    default_advice = "This is a bug in rotator. Report it with a debug log. The next sweep retries."

    @classmethod
    def of(cls, error: Exception, what: str) -> InternalError:
        """Make an error from a bug's exception, without its text, which may quote anything."""
        return cls(f"{what} failed with an unexpected {type(error).__name__}")

    @classmethod
    def unless_known(cls, error: Exception, what: str) -> RotatorError:
        """Return an error of ours as it is, and any other exception as a bug, of work that no sweep repeats."""
        advice = "This is a bug in rotator. Report it with a debug log, and repeat the command."
        return error if isinstance(error, RotatorError) else cls(cls.of(error, what).message, advice=advice)


class ProviderError(RotatorError):
    """Infobip refused, failed, or gave an invalid response."""


class BadCredentials(ProviderError):
    """401 for the management credentials."""

    default_advice = "Check username, password and auth in the management secret."


class MissingRole(ProviderError):
    """403: authenticated, but not allowed."""

    default_advice = "Assign the user a role that can manage API keys, such as Account Manager or Integrations Manager."


class SessionBusy(ProviderError):
    """A new IBSSO session is refused, because another one is still open (for up to 60 idle minutes)."""

    retryable = True
    default_advice = (
        "The open session expires after at most 60 idle minutes; the next sweep then continues. With auth "
        "basic there are no sessions."
    )


class KeyNotFound(ProviderError):
    """404 for a key."""


class InvalidRequest(ProviderError):
    """The request was refused with a 4xx. Certainly nothing was done."""


class ProviderThrottled(ProviderError):
    """429. Certainly nothing was done."""

    retryable = True


class ProviderUnavailable(ProviderError):
    """No usable response to a read, after its retries."""

    retryable = True


class OutcomeUnknown(ProviderError):
    """A write got no readable response, so it may or may not have happened."""

    retryable = True
    outcome_unknown = True


class ContractViolation(ProviderError):
    """A response violates the API: not JSON, wrong type, wrong id, a redirect, too large. It is never interpreted."""


class StoreError(RotatorError):
    """AWS Secrets Manager refused or failed."""


class StoreDenied(StoreError):
    """IAM or KMS denies an action.

    :param action: the IAM action, such as ``secretsmanager:GetSecretValue``.
    """

    def __init__(self, message: str, *, advice: str = "", reason: Reason | None = None, action: str = "") -> None:
        super().__init__(message, advice=advice, reason=reason)
        self.action = action


class SecretNotFound(StoreError):
    """No such secret, or no such version."""


class PreconditionFailed(StoreError):
    """A compare-and-swap failed, or another value already has the version id."""

    retryable = True


class StoreRejected(StoreError):
    """The request or the secret's state (pending deletion, a limit) is invalid. Certainly nothing was done."""


class StoreUnavailable(StoreError):
    """Secrets Manager is throttling, unreachable or failing. Certainly nothing was changed."""

    retryable = True


class StoreOutcomeUnknown(StoreError):
    """A write got no response, so it may or may not have happened."""

    retryable = True
    outcome_unknown = True
