"""Consumers of a superseded key, according to the access log, and the gate that delays its revocation. Pure.

A consumer is a principal that read the secret in the :data:`LOOK_BACK` before the promotion. It has the new value once
it has read ``AWSCURRENT`` since. No label contains the time of the promotion. The old key's retire label holds
the promotion plus the grace period, so the tag's grace period is subtracted. If the tag was lengthened in the meantime,
the result is too early, and reads of the old value would count as reads of the new one. The promotion is
therefore never assumed to be before the replacement's ``validFrom``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rotator.durations import plus
from rotator.message import KeyId, Message
from rotator.model import Key, Location, Reads, ReadsUnknown
from rotator.plan import Severity
from rotator.policy.emergency_ids import made_in_emergency
from rotator.policy.lifecycle import Lifecycle, Retiring, replaced_at
from rotator.policy.rules import Decision, View
from rotator.reasons import Reason
from rotator.text import printable, some_of

LOOK_BACK: Final = timedelta(days=14)
"""A principal that read the secret within this time before the promotion is a consumer."""
NOT_READ: Final = ReadsUnknown("")
"""The access log was not read in this sweep, for lack of time."""
_NAMED: Final = 3
_LONGEST_NAME: Final = 80
_LONGEST_PROBLEM: Final = 300
_OF_IAM: Final = re.compile(r"arn:[a-z0-9-]+:(?:iam|sts)::(\d{12}):(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Consumer:
    """One principal.

    :param principal: as the access log names it; untrusted input.
    :param last_before: its last read before the promotion, within :data:`LOOK_BACK`.
    :param last_since: its last read of the current value since the promotion.
    :param last_old: its last read, since the promotion, of a version that is not current and that it named.
    """

    principal: str
    last_before: datetime | None
    last_since: datetime | None
    last_old: datetime | None = None

    @property
    def waited_for(self) -> bool:
        """Whether it used an old value and has not read the new one."""
        return self.last_since is None


def consumers(reads: Reads, promoted: datetime, look_back: timedelta = LOOK_BACK) -> tuple[Consumer, ...]:
    """Return every principal that read the secret: first those that a revocation waits for, then by name."""
    begin = plus(promoted, -look_back)
    before: dict[str, datetime] = {}
    since: dict[str, datetime] = {}
    old: dict[str, datetime] = {}
    for read in reads.reads:
        if read.at < begin:
            continue
        kind = before if read.at < promoted else since if read.current else old
        kind[read.principal] = max(read.at, kind.get(read.principal, read.at))
    found = [Consumer(name, before.get(name), since.get(name), old.get(name)) for name in {**before, **since, **old}]
    return tuple(sorted(found, key=lambda each: (not each.waited_for, each.principal)))


def promoted_at(item: Retiring, life: Lifecycle, keys: Mapping[str, Key], grace: timedelta) -> datetime:
    """Return when the value after a superseded one became current, according to labels and keys.

    :param keys: every key that Infobip lists, by id; may be empty.
    """
    at = plus(item.revoke_at, -grace)
    mine = keys.get(item.key_id)
    made = replaced_at(life, mine, keys) if mine is not None else None
    return min(at if made is None else max(at, made), item.revoke_at)


def waits_until(item: Retiring, key: Key | None, grace: timedelta) -> datetime:
    """Return the end of the further grace period, or the old key's expiry if that is earlier."""
    end = plus(item.revoke_at, grace)
    return end if key is None or key.valid_to is None else min(end, key.valid_to)


def gate_until(view: View, item: Retiring, keys: Mapping[str, Key], now: datetime) -> datetime | None:
    """Return until when a due revocation may be delayed; ``None`` if it is not.

    It is not delayed without the tag, before the grace period is over (it waits for that anyway), if the key does not
    work or is not listed, or if an emergency superseded the key, because it must be revoked immediately.
    """
    key, spec = keys.get(item.key_id), view.spec
    if spec is None or not spec.gate or item.revoke_at > now or key is None or not key.alive(now):
        return None
    if made_in_emergency(view.entry.arn, view.life.current_version):
        return None
    limit = waits_until(item, key, spec.grace)
    return limit if limit > now else None


def unread_by_consumers(
    view: View, item: Retiring, keys: Mapping[str, Key], readers: Reads | ReadsUnknown | None, now: datetime
) -> Decision | None:
    """Return why a due revocation waits for consumers, or ``None`` if it does not.

    It also waits, up to the same limit, if the list of readers is incomplete.

    :param readers: the access log; ``None`` if it was not read.
    """
    limit = gate_until(view, item, keys, now)
    if limit is None or view.spec is None:
        return None

    def waits(template: str, severity: Severity | None = Severity.WARNING, **values: object) -> Decision:
        message = Message.of(template, key=KeyId(item.key_id), limit=limit, **values)
        return Decision(Reason.WAITING_FOR_CONSUMERS, message, deadline=limit, severity=severity)

    if readers is None or readers == NOT_READ:
        return waits(
            "revocation of key {key} waits until {limit} at the latest: the access log was not read in this sweep", None
        )
    promoted = promoted_at(item, view.life, keys, view.spec.grace)
    if isinstance(readers, ReadsUnknown):
        problem = printable(readers.problem, _LONGEST_PROBLEM)
        return waits(
            "revocation of key {key} waits until {limit} at the latest: its users can't be determined: {gap}",
            gap=problem,
        )
    waited_for = [each for each in consumers(readers, promoted) if each.waited_for]
    if waited_for:
        have = "has" if len(waited_for) == 1 else "have"
        names = some_of((principal_words(each.principal, view.entry.arn) for each in waited_for), _NAMED)
        template = (
            "revocation of key {key} waits for {names}, which {have} not read the new value, until {limit} at "
            "the latest"
        )
        return waits(template, names=names, have=have)
    gap = gap_in(readers, promoted)
    if gap is not None:
        return waits(
            "revocation of key {key} waits until {limit} at the latest: the list of readers may be incomplete: {gap}",
            gap=gap,
        )
    return None


def gap_in(reads: Reads, promoted: datetime, look_back: timedelta = LOOK_BACK) -> Message | None:
    """Return why a consumer may be missing from the log, as a clause; ``None`` if none can be missing.

    Missing reads since the promotion do no harm: the revocation only waits a little longer for the principal.
    """
    if reads.gap:
        return Message.text(reads.gap)
    if reads.since > plus(promoted, -look_back):
        return Message.of("reads before {since} are not available", since=reads.since)
    if reads.until < promoted:
        return Message.of("reads after {until} are not available yet", until=reads.until)
    return None


def principal_words(principal: str, arn: str) -> str:
    """Return a principal's short name, fit for a terminal: ``role/billing``, with its account number if that differs.

    :param arn: the secret's, with the AWS account to compare with.
    """
    found = _OF_IAM.fullmatch(principal)
    if found is None:
        return printable(principal, _LONGEST_NAME)
    number, name = found[1], printable(found[2], _LONGEST_NAME)
    return name if number == Location.of(arn).aws_account else f"{name} of account {number}"
