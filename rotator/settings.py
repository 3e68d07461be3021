"""The deployment's settings: read from the environment once, validated and frozen."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from rotator.durations import parse_duration
from rotator.errors import ConfigurationError
from rotator.key_format import is_deployment
from rotator.model import Policy, StoreId
from rotator.redaction.patterns import redact_patterns
from rotator.text import closest, quoted

LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")
VARIABLE_PREFIX: Final = "ROTATOR_"
T = TypeVar("T")

_TRUE: Final = frozenset({"true", "1", "yes"})
_FALSE: Final = frozenset({"false", "0", "no"})
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_EVENT_BUS: Final = re.compile(
    r"[A-Za-z0-9._/-]{1,256}|arn:[a-z0-9-]+:events:[a-z0-9-]+:[0-9]{12}:event-bus/[A-Za-z0-9._/-]{1,256}"
)
# A host name, or `*.` and a domain, but not `*` alone.
_ALLOWED_HOST: Final = re.compile(r"(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_FUNCTION: Final = re.compile(r"arn:[a-z0-9-]+:lambda:[a-z0-9-]+:[0-9]{12}:function:[A-Za-z0-9_-]{1,64}")
_STORE: Final = re.compile(
    r"(?:(?P<role>arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]{1,512})@)?(?P<region>[a-z]{2}(?:-[a-z]+)+-[0-9])",
    re.ASCII,
)
_EXTERNAL_ID: Final = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)
_METRIC_NAMESPACE: Final = re.compile(r"(?!(?i:AWS)/)[A-Za-z0-9._/#-]{1,255}")
SWEEP_AT_LEAST: Final = timedelta(minutes=1)
SWEEP_AT_MOST: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Settings(Policy):
    """The settings from the ``ROTATOR_*`` variables: the policy, and what only the programs need.

    :param queue_url: the queue for one message per account; ``None``: sweeps do the work themselves.
    :param event_bus: name or ARN; ``None``: no events.
    :param dry_run: sweeps plan and report, and change nothing.
    :param log_level: one of :data:`LOG_LEVELS`.
    :param metric_namespace: the CloudWatch namespace for the Lambda functions' metrics; ``None``: no metrics.
    :param stores: where secrets are, the first with the management secrets; empty: the session's region.
    :param external_id: for the roles of stores in other AWS accounts.
    :param allowed_hosts: hosts that a management secret may name besides Infobip's; may include ``*.example.com``.
    """

    queue_url: str | None = None
    event_bus: str | None = None
    dry_run: bool = False
    log_level: str = "info"
    metric_namespace: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    stores: tuple[StoreId, ...] = ()
    external_id: str | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read the settings. An empty or blank variable counts as not set.

        :raises ConfigurationError: names every invalid variable, the problem and the fix.
        """
        values: dict[str, Any] = {}
        problems: list[str] = []
        unusable: set[str] = set()
        for name, (parse, wrong, fix) in _VARIABLES.items():
            text = environ.get(VARIABLE_PREFIX + name, "").strip()
            try:
                if text:
                    values[name.lower()] = parse(text)
            except ValueError:
                unusable.add(name)
                problems.append(f"{VARIABLE_PREFIX}{name}{'' if name in _HIDDEN else _shown(text)} {wrong}: {fix}")
        settings = cls(**values)
        if settings.reserve >= settings.daily_limit and not {"DAILY_LIMIT", "RESERVE"} & unusable:
            default = "" if "reserve" in values else " (its default)"
            problems.append(
                f"{VARIABLE_PREFIX}RESERVE is {settings.reserve}{default}, which leaves nothing of "
                f"{VARIABLE_PREFIX}DAILY_LIMIT {settings.daily_limit} for scheduled rotations: "
                f"set it to a number from 0 to {settings.daily_limit - 1}"
            )
        problems += _misspelt(environ)
        if problems:
            raise ConfigurationError("; ".join(problems))
        return settings


def _shown(text: str) -> str:
    """Return only the start of a text, redacted, since it may be a credential in the wrong variable."""
    return f" {quoted(redact_patterns(text), 41)}"


def _misspelt(environ: Mapping[str, str]) -> Iterator[str]:
    # Silently ignoring ROTATOR_DRYRUN=true would change production. Names unlike ours may belong to other programs.
    known = [VARIABLE_PREFIX + name for name in _VARIABLES]
    for name in sorted(environ):
        ours = name.upper().startswith(VARIABLE_PREFIX) and name not in known
        if ours and (near := closest(name, known, 0.86)) is not None:
            yield f"{name} is not a setting: did you mean {near}?"


# Each of these parses one variable's text, and raises ``ValueError`` if it is not valid.


def _matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        return _require(text, pattern.fullmatch(text) is not None)

    return parse


def _whole_number(*, least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        return _require(int(_matching(_NUMBER)(text)), int(text) >= least)

    return parse


def _one_of(words: Container[str]) -> Callable[[str], str]:
    return lambda text: _require(text.lower(), text.lower() in words)


def _interval(text: str) -> timedelta:
    length = parse_duration(text)
    return _require(length, SWEEP_AT_LEAST <= length <= SWEEP_AT_MOST)


def _hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(host.strip().lower() for host in text.split(",") if host.strip())
    return _require(hosts, all(map(_ALLOWED_HOST.fullmatch, hosts)))


def _stores(text: str) -> tuple[StoreId, ...]:
    found = [_STORE.fullmatch(each) for each in text.split()]
    stores = [StoreId(each["region"], each["role"]) for each in found if each is not None]
    places = {(store.region, store.account) for store in stores}
    return _require(tuple(stores), len(places) == len(found))


def _queue_url(text: str) -> str:
    parts = urlsplit(text)
    plain = parts.username is None and not parts.query and not any(c.isspace() for c in text)
    return _require(
        text, plain and parts.scheme in ("http", "https") and bool(parts.hostname and parts.path.strip("/"))
    )


def _require(value: T, usable: bool) -> T:
    if not usable:
        raise ValueError
    return value


_VARIABLES: Final[dict[str, tuple[Callable[[str], object], str, str]]] = {
    "DEPLOYMENT": (
        lambda text: _require(text, is_deployment(text)),
        "can't be used in key names",
        "use 1 to 32 letters, digits, dots, underscores and hyphens, starting with a letter or digit",
    ),
    "DAILY_LIMIT": (_whole_number(least=1), "is not valid", "set it to an integer of at least 1"),
    "RESERVE": (_whole_number(least=0), "is not valid", "set it to an integer of at least 0"),
    "QUEUE_URL": (
        _queue_url,
        "is not an SQS queue URL",
        "use the queue URL from SQS, such as https://sqs.eu-central-1.amazonaws.com/123456789012/rotator",
    ),
    "EVENT_BUS": (_matching(_EVENT_BUS), "is not an event bus", "use its name or its ARN"),
    "DRY_RUN": (lambda text: _one_of(_TRUE | _FALSE)(text) in _TRUE, "is not a boolean", "set it to true or false"),
    "LOG_LEVEL": (_one_of(LOG_LEVELS), "is not a log level", f"use one of {', '.join(LOG_LEVELS)}"),
    "METRIC_NAMESPACE": (
        _matching(_METRIC_NAMESPACE),
        "is not a valid custom CloudWatch namespace",
        "use 1 to 255 letters, digits and . _ / # -, not starting with AWS/",
    ),
    "SWEEP_EVERY": (
        _interval,
        "is not a valid interval",
        "set it to the interval between sweeps, 1m to 1d, for example 1h",
    ),
    "ROTATION_FUNCTION": (
        _matching(_FUNCTION),
        "is not the ARN of a Lambda function",
        "use the ARN as Secrets Manager shows it: aws secretsmanager describe-secret, RotationLambdaARN",
    ),
    "STORES": (
        _stores,
        "is not a list of stores",
        "use regions and ROLE-ARN@REGION, separated by spaces, each AWS account and region once, such as "
        "eu-central-1 arn:aws:iam::111122223333:role/rotator@eu-west-1",
    ),
    "EXTERNAL_ID": (
        _matching(_EXTERNAL_ID),
        "is not an external id",
        "use the one in the trust policies of the stores' roles: 2 to 1224 letters, digits and _ + = , . @ : / -",
    ),
    "ALLOWED_HOSTS": (
        _hosts,
        "is not a list of hosts",
        "use host names without scheme or port, separated by commas, such as proxy.example.com,*.example.org",
    ),
}
"""Each variable's parser, and the problem and fix to report if it is not valid."""
_HIDDEN: Final = frozenset({"QUEUE_URL", "EXTERNAL_ID"})  # an invalid one may contain credentials
