"""The deployment's own settings: read from the environment once, checked, frozen."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from rotator.durations import parse_duration
from rotator.errors import ConfigurationError
from rotator.model import Policy
from rotator.redaction.patterns import redact_patterns

LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")
PREFIX: Final = "ROTATOR_"

_TRUE: Final = frozenset({"true", "1", "yes"})
_FALSE: Final = frozenset({"false", "0", "no"})
# A colon would make key names ambiguous: rotator:<deployment>:<version id>.
_DEPLOYMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_EVENT_BUS: Final = re.compile(
    r"[A-Za-z0-9._/-]{1,256}|arn:[a-z0-9-]+:events:[a-z0-9-]+:[0-9]{12}:event-bus/[A-Za-z0-9._/-]{1,256}"
)
# A name, or `*.` and a domain; never `*` alone.
_ALLOWED_HOST: Final = re.compile(r"(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_METRIC_NAMESPACE: Final = re.compile(r"[A-Za-z0-9._/#-]{1,255}")
SWEEP_AT_LEAST: Final = timedelta(minutes=1)
SWEEP_AT_MOST: Final = timedelta(days=1)


@dataclass(frozen=True)  # no slots: the defaults are read from the class
class Settings:
    """What ``ROTATOR_*`` say. Numbers are creates, and updates, of one Infobip account a day.

    :param deployment: two deployments on one Infobip account never touch each other's keys.
    :param daily_limit: how many creates (and as many updates) Infobip allows an account in 24 hours.
    :param reserve: how many of them scheduled work leaves for emergencies.
    :param queue_url: sweeps send one message an account there; ``None``: work is done in place.
    :param event_bus: name or ARN; ``None``: no events.
    :param dry_run: sweeps plan and report, and change nothing.
    :param log_level: one of :data:`LOG_LEVELS`.
    :param metric_namespace: CloudWatch's, for what Lambda functions measure; ``None``: they measure nothing.
    :param sweep_every: how often sweeps come; how soon a place in the daily limit is used again depends on it.
    :param allowed_hosts: hosts, ``*.example.com`` included, that a management secret may name beside Infobip's.
    """

    deployment: str = "default"
    daily_limit: int = 40
    reserve: int = 8
    queue_url: str | None = None
    event_bus: str | None = None
    dry_run: bool = False
    log_level: str = "info"
    metric_namespace: str | None = None
    sweep_every: timedelta = timedelta(hours=1)
    allowed_hosts: tuple[str, ...] = ()

    @property
    def policy(self) -> Policy:
        """The part that decisions depend on."""
        return Policy(self.deployment, self.daily_limit, self.reserve, self.sweep_every)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read the settings; an empty or blank variable counts as one that is not set.

        :raises ConfigurationError: naming every variable that cannot be used, what is wrong and the fix.
        """
        reader = _Reader(environ)
        settings = cls(
            deployment=reader.deployment(cls.deployment),
            daily_limit=reader.number("DAILY_LIMIT", cls.daily_limit, least=1),
            reserve=reader.number("RESERVE", cls.reserve, least=0),
            queue_url=reader.queue_url(),
            event_bus=reader.event_bus(),
            dry_run=reader.flag("DRY_RUN"),
            log_level=reader.log_level(cls.log_level),
            metric_namespace=reader.metric_namespace(),
            sweep_every=reader.sweep_every(cls.sweep_every),
            allowed_hosts=reader.allowed_hosts(),
        )
        if not reader.bad_numbers and settings.reserve >= settings.daily_limit:
            default = "" if reader.text("RESERVE") else " (its default)"
            reader.problems.append(
                f"{PREFIX}RESERVE is {settings.reserve}{default}, which leaves nothing of "
                f"{PREFIX}DAILY_LIMIT {settings.daily_limit} for scheduled rotations: "
                f"set it to a number from 0 to {settings.daily_limit - 1}"
            )
        reader.check_names()
        if reader.problems:
            raise ConfigurationError("; ".join(reader.problems) + ".")
        return settings


class _Reader:
    """Reads one variable after the other and collects what is wrong, so that all of it is reported at once."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []
        self.bad_numbers = False

    def text(self, name: str) -> str:
        return self._environ.get(PREFIX + name, "").strip()

    def _problem(self, name: str, wrong: str, fix: str, *, shown: bool = True) -> None:
        # An operator may have put a credential into the wrong variable: show little, and never a key.
        value = redact_patterns(self.text(name))
        value = f' "{value[:40]}…"' if len(value) > 40 else f' "{value}"'
        self.problems.append(f"{PREFIX}{name}{value if shown else ''} {wrong}: {fix}")

    def deployment(self, default: str) -> str:
        text = self.text("DEPLOYMENT")
        if text and not _DEPLOYMENT.fullmatch(text):
            self._problem(
                "DEPLOYMENT",
                "cannot be a part of key names",
                "use 1 to 32 letters, digits, dots, underscores and hyphens, beginning with a letter or digit",
            )
            return default
        return text or default

    def number(self, name: str, default: int, *, least: int) -> int:
        text = self.text(name)
        if not text:
            return default
        if not _NUMBER.fullmatch(text) or int(text) < least:
            self._problem(name, "is not usable", f"set it to a whole number, {least} or more")
            self.bad_numbers = True
            return default
        return int(text)

    def flag(self, name: str) -> bool:
        text = self.text(name).lower()
        if text and text not in _TRUE | _FALSE:
            self._problem(name, "is neither yes nor no", "set it to true or false")
        return text in _TRUE

    def log_level(self, default: str) -> str:
        text = self.text("LOG_LEVEL").lower() or default
        if text not in LOG_LEVELS:
            self._problem("LOG_LEVEL", "is not a level", f"use one of {', '.join(LOG_LEVELS)}")
            return default
        return text

    def queue_url(self) -> str | None:
        text = self.text("QUEUE_URL")
        if not text:
            return None
        try:
            parts = urlsplit(text)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.path.strip("/") != ""
            usable = usable and parts.username is None and not parts.query and not any(c.isspace() for c in text)
        except ValueError:
            usable = False
        if not usable:
            # Not shown: what is wrong with it may be the credentials in it.
            fix = "use the queue's URL as SQS gives it, such as https://sqs.eu-central-1.amazonaws.com/123456789012/rotator"
            self._problem("QUEUE_URL", "is not the URL of a queue", fix, shown=False)
            return None
        return text

    def event_bus(self) -> str | None:
        text = self.text("EVENT_BUS")
        if text and not _EVENT_BUS.fullmatch(text):
            self._problem("EVENT_BUS", "is not an event bus", "use its name or its ARN")
            return None
        return text or None

    def allowed_hosts(self) -> tuple[str, ...]:
        hosts = tuple(host.strip().lower() for host in self.text("ALLOWED_HOSTS").split(",") if host.strip())
        if not all(map(_ALLOWED_HOST.fullmatch, hosts)):
            fix = "write names without scheme or port, separated by commas, such as proxy.example.com,*.example.org"
            self._problem("ALLOWED_HOSTS", "is not a list of hosts", fix)
            return ()
        return hosts

    def metric_namespace(self) -> str | None:
        text = self.text("METRIC_NAMESPACE")
        if text and (not _METRIC_NAMESPACE.fullmatch(text) or text.upper().startswith("AWS/")):
            self._problem(
                "METRIC_NAMESPACE",
                "is not a namespace of one's own in CloudWatch",
                "use 1 to 255 letters, digits and . _ / # -, not beginning with AWS/",
            )
            return None
        return text or None

    def sweep_every(self, default: timedelta) -> timedelta:
        text = self.text("SWEEP_EVERY")
        if not text:
            return default
        try:
            length = parse_duration(text)
        except ValueError:
            length = timedelta(0)
        if not SWEEP_AT_LEAST <= length <= SWEEP_AT_MOST:
            self._problem("SWEEP_EVERY", "is no useful interval", "write how often sweeps come, 1m to 1d, such as 1h")
            return default
        return length

    def check_names(self) -> None:
        # ROTATOR_DRYRUN=true that is silently ignored would change production; a name nothing like ours is not ours.
        known = [PREFIX + field.name.upper() for field in fields(Settings)]
        for name in sorted(self._environ):
            if not name.upper().startswith(PREFIX) or name in known:
                continue
            close = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.86)
            if close:
                self.problems.append(f"{name} is not a setting: did you mean {close[0]}?")
