"""Implements :class:`rotator.ports.ReaderLog` with CloudTrail's event history: who read a secret in the last 90 days.

The history needs no trail. It covers this AWS account and region, so it lacks reads of a replica in another region.
``LookupEvents`` takes one attribute per call. ``ResourceName`` must match the name that the caller used exactly, so
each of the secret's names is searched. If this finds no read at all, not even the rotator's own, the reads of all
secrets are searched by ``EventName``, within the limits below. ``BatchGetSecretValue`` needs no
search, because AWS also writes a ``GetSecretValue`` event for each secret in the batch.

Everything in an event is untrusted input.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from botocore import exceptions as boto

from rotator.aws.aws_errors import DENIED, THROTTLED, code_of, configuration_error
from rotator.aws.secretsmanager import without_suffix
from rotator.decoding import json_object, mapping_in, text_in
from rotator.errors import ReadersUnknown, RotatorError
from rotator.model import Read, Reads, SecretEntry, Write
from rotator.policy.labels import CURRENT, PENDING
from rotator.ports import Clock

ACTION: Final = "cloudtrail:LookupEvents"
LOOKUP_ATTEMPTS: Final = 4
LOOKUP_READ_TIMEOUT: Final = 10.0
PAGES: Final = 40
"""The most pages of one lookup, 50 events each: about 20 seconds at AWS's rate limit."""
INTERVAL: Final = timedelta(milliseconds=550)
"""The time between two calls. AWS allows two per second for all callers in an AWS account and region together."""
LONGEST_SEARCH: Final = timedelta(seconds=60)
"""How long one secret's lookups may take. If AWS is slow, older events are left out."""
LAG: Final = timedelta(minutes=15)
"""How long an event may take to appear, according to AWS."""
HISTORY: Final = timedelta(days=90)
READ: Final = "GetSecretValue"
_CHANGES: Final = frozenset(
    {"CreateSecret", "PutSecretValue", "UpdateSecret", "UpdateSecretVersionStage", "RotateSecret", "TagResource"}
)
UNKNOWN: Final = "unknown"
_LONGEST_PRINCIPAL: Final = 512
_SOURCE: Final = "secretsmanager.amazonaws.com"
# As rotator.aws.clients sets it: "Botocore/1.40 … rotator/0.3.0".
_OURS: Final = re.compile(r"(?:^|[\s\[])rotator/\d")
_SESSION: Final = re.compile(r"arn:(?P<partition>[a-z0-9-]+):sts::(?P<account>\d{12}):assumed-role/(?P<role>.+)/[^/]+")
_PAGE: Final = 50


class CloudTrail:
    """The access log over HTTP. Thread safe. Calls are made one after another, at AWS's rate limit.

    :param connect: makes a ``cloudtrail`` client when first needed; few sweeps need one.
    :param pages: the most pages of one lookup.
    """

    def __init__(self, connect: Callable[[], Any], clock: Clock, *, pages: int = PAGES) -> None:
        self._client = cache(connect)
        self._clock = clock
        self._pages = pages
        self._lock = threading.Lock()
        self._next: datetime | None = None

    def reads(self, secret: SecretEntry, since: datetime) -> Reads:
        """Return every allowed read of one secret, except the rotator's own.

        :raises ReadersUnknown: denied, throttled, or no response; events fetched before are discarded.
        :raises ConfigurationError: this machine has no usable AWS credentials.
        """
        now = self._clock.now()
        # The history's first hour is left out, because AWS refuses an earlier start and clocks differ.
        begin = max(since, now - HISTORY + timedelta(hours=1))
        events: list[Any] = []
        complete = [self._look_up("ResourceName", name, begin, now, events) for name in names_of(secret)]
        if not any(map(is_read, events)):
            complete.append(self._look_up("EventName", READ, begin, now, events))
        found: list[Read] = []
        unreadable = 0
        # An event that was found by two names counts once.
        for event in {text_in(mapping_in(event).get("EventId")) or id(event): event for event in events}.values():
            try:
                read = read_of(event, secret)
                found += [] if read is None else [read]
            except UnreadableEvent:
                unreadable += 1
        lost = "1 event" if unreadable == 1 else f"{unreadable} events"
        gap = f"{lost} of CloudTrail could not be read" if unreadable else ""
        return Reads(tuple(found), max(complete), now - LAG, gap)

    def writes(self, secret: SecretEntry, since: datetime) -> tuple[Write, ...]:
        """Return the allowed changes of one secret, except the rotator's own; the oldest first.

        :raises RotatorError: as :meth:`reads`.
        """
        now, events = self._clock.now(), list[Any]()
        for name in names_of(secret):
            self._look_up("ResourceName", name, max(since, now - HISTORY + timedelta(hours=1)), now, events)
        found: set[Write] = set()
        for event in events:
            with suppress(UnreadableEvent):
                write = write_of(mapping_in(event))
                found |= {write} if write else set()
        return tuple(sorted(found, key=lambda write: write.at))

    def _look_up(self, attribute: str, value: str, begin: datetime, now: datetime, events: list[Any]) -> datetime:
        """Add the events found to ``events``, and return the time from which they are complete.

        :raises RotatorError: see :meth:`reads`.
        """
        query: dict[str, Any] = {
            "LookupAttributes": [{"AttributeKey": attribute, "AttributeValue": value}],
            "StartTime": begin,
            "MaxResults": _PAGE,
        }
        tokens: set[str] = set()
        while True:
            page = self._call(query)
            events += page["Events"]
            token = page.get("NextToken")
            if not token:
                return begin
            if len(tokens) + 1 >= self._pages or self._clock.now() >= now + LONGEST_SEARCH:
                # The newest events come first, so the missing ones are older. A page without events has no time.
                return _oldest(page["Events"]) or now
            if token in tokens:
                raise ReadersUnknown("CloudTrail returned the same page twice", advice="Try again later.")
            tokens.add(token)
            query["NextToken"] = token

    def _call(self, query: Mapping[str, Any]) -> Mapping[str, Any]:
        self._wait_for_interval()
        client = self._client()
        try:
            answer = client.lookup_events(**query)
            if isinstance(answer, Mapping) and isinstance(answer.get("Events"), list):
                return answer
            failure: RotatorError = _unknown("the response did not come from CloudTrail")
        except Exception as error:  # an unreadable log delays a revocation, but must not end a sweep
            failure = _failure(error)
        raise failure

    def _wait_for_interval(self) -> None:
        with self._lock:
            now = self._clock.now()
            if self._next is not None and now < self._next:
                self._clock.sleep((self._next - now).total_seconds())
            self._next = self._clock.now() + INTERVAL


def _failure(error: Exception) -> RotatorError:
    wrong_here = configuration_error(error)
    if wrong_here is not None:
        return wrong_here
    code = code_of(error)
    if not isinstance(error, boto.ClientError):
        return _unknown(f"CloudTrail did not answer ({code})")
    if code in DENIED:
        return ReadersUnknown(
            f"{ACTION} is denied",
            advice=f"Grant {ACTION} on all resources ('*') to the rotator's role (deployment setting adoption-gate or "
            "adoption_gate).",
        )
    if THROTTLED.fullmatch(code):
        return _unknown("CloudTrail throttled the lookup (it allows two calls per second per AWS account and region)")
    return _unknown(f"CloudTrail rejected {ACTION} ({code})")


def _unknown(what: str) -> ReadersUnknown:
    return ReadersUnknown(what, advice="Try again later; check the network, the VPC endpoint and the region.")


class UnreadableEvent(ValueError):
    """An event does not have the documented format, so it may have been a read."""


def names_of(secret: SecretEntry) -> tuple[str, ...]:
    """Return the ways to name a secret: ARN, name, and ARN without the six characters that AWS appends."""
    return tuple(dict.fromkeys((secret.arn, secret.name, without_suffix(secret.arn))))


def is_read(event: Any) -> bool:
    """Whether an event of ``LookupEvents`` is a read of any secret's value, allowed or refused."""
    return isinstance(event, Mapping) and event.get("EventName") == READ


def read_of(event: Any, secret: SecretEntry) -> Read | None:
    """Return the read that an event of ``LookupEvents`` records.

    :returns: ``None`` if it is not a read of this secret, was refused, was the rotator's own, or requested
        ``AWSPENDING`` (which only rotations do).
    :raises UnreadableEvent: the event cannot be parsed.
    """
    if not isinstance(event, Mapping):
        raise UnreadableEvent
    if not is_read(event):
        return None
    record = _record(event.get("CloudTrailEvent"))
    if record.get("errorCode") or record.get("eventSource", _SOURCE) != _SOURCE:
        return None
    parameters = mapping_in(record.get("requestParameters"))
    if not _means(parameters.get("secretId"), event, secret) or _OURS.search(text_in(record.get("userAgent"))):
        return None
    if parameters.get("versionStage") == PENDING:
        return None
    return Read(principal_of(record.get("userIdentity")), time_of(event, record), _is_current(parameters, secret))


def write_of(event: Mapping[str, Any]) -> Write | None:
    """Return the change that an event of ``LookupEvents`` records; ``None`` if it was refused or the rotator's own.

    :raises UnreadableEvent: the event cannot be parsed.
    """
    call = text_in(event.get("EventName"))
    if call not in _CHANGES:
        return None
    record = _record(event.get("CloudTrailEvent"))
    if record.get("errorCode") or _OURS.search(text_in(record.get("userAgent"))):
        return None
    tags = mapping_in(record.get("requestParameters")).get("tags")
    names = (mapping_in(tag).get("key") for tag in (tags if isinstance(tags, list) else ()))
    principal, at = principal_of(record.get("userIdentity")), time_of(event, record)
    return Write(principal, at, call, frozenset(name for name in names if isinstance(name, str)))


def principal_of(identity: Any) -> str:
    """Return who read, without the session name, which differs between the processes of one consumer."""
    identity = mapping_in(identity)
    arn, kind = text_in(identity.get("arn")), text_in(identity.get("type"))
    issuer = mapping_in(mapping_in(identity.get("sessionContext")).get("sessionIssuer"))
    session = _SESSION.fullmatch(arn)
    # A principal of another AWS account has no ARN here, only its unique id, a colon and the session name.
    unique, number = text_in(identity.get("principalId")).partition(":")[0], text_in(identity.get("accountId"))
    known = (
        text_in(issuer.get("arn")),
        f"arn:{session['partition']}:iam::{session['account']}:role/{session['role']}" if session else "",
        text_in(identity.get("invokedBy")) if kind == "AWSService" else "",
        arn,
        " ".join(part for part in (unique, f"of account {number}" if number else "") if part),
        text_in(identity.get("userName")),
        kind,
    )
    return next(filter(None, known), UNKNOWN)[:_LONGEST_PRINCIPAL]


def _record(text: Any) -> Mapping[str, Any]:
    record = json_object(text)
    if record is None:
        raise UnreadableEvent
    return record


def _means(secret_id: Any, event: Mapping[str, Any], secret: SecretEntry) -> bool:
    """Whether the request names this secret, or CloudTrail's resource list does if the request names none."""
    names = names_of(secret)
    if isinstance(secret_id, str):
        return secret_id in names
    listed = event.get("Resources")
    return isinstance(listed, list) and any(mapping_in(each).get("ResourceName") in names for each in listed)


def _is_current(parameters: Mapping[str, Any], secret: SecretEntry) -> bool:
    version = parameters.get("versionId")
    if isinstance(version, str) and version:
        return CURRENT in secret.versions.get(version, frozenset())
    return parameters.get("versionStage") in (None, "", CURRENT)


def time_of(event: Mapping[str, Any], record: Mapping[str, Any]) -> datetime:
    """Return an event's time in UTC, from its record if the response itself has none.

    :raises UnreadableEvent: neither has a usable time.
    """
    moment = event.get("EventTime")
    if not isinstance(moment, datetime):
        try:
            moment = datetime.fromisoformat(text_in(record.get("eventTime")))
        except ValueError:
            raise UnreadableEvent from None
    if moment.tzinfo is None:
        raise UnreadableEvent
    try:
        return moment.astimezone(UTC)
    except (OverflowError, ValueError):
        raise UnreadableEvent from None


def _oldest(events: list[Any]) -> datetime | None:
    times: list[datetime] = []
    for event in events:
        with suppress(UnreadableEvent):
            times.append(time_of(mapping_in(event), {}))
    return min(times, default=None)
