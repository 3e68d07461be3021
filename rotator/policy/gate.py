"""Who still uses a superseded key, judged by who read the secret; and the gate that makes its revocation wait. Pure.

A consumer is a principal that read the secret in the :data:`LOOK_BACK` before the promotion. It has taken the new value
over once it has read ``AWSCURRENT`` since. When the promotion was stands in no label by itself: the old key's retire
label carries the promotion plus the grace, so the tag's grace is taken off again. Should the tag have been lengthened
meanwhile, the promotion would seem earlier than it was, and reads of the old value would pass for reads of the new one;
the replacement's own ``validFrom`` is therefore the earliest that it can be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rotator.durations import plus
from rotator.message import KeyId, Message
from rotator.model import Key, Reads, Reason, SecretEntry, Severity, Spec, Unread
from rotator.policy.emergency_ids import made_in_emergency
from rotator.policy.lifecycle import Lifecycle, Retiring, replaced_at
from rotator.policy.rules import Decision
from rotator.text import printable, some_of

LOOK_BACK: Final = timedelta(days=14)
"""How long before the promotion a read makes a consumer."""
NOT_READ: Final = Unread("")
"""There was no time for it in this sweep."""
_NAMED: Final = 3
_LONGEST_NAME: Final = 80
_LONGEST_PROBLEM: Final = 300
_OF_IAM: Final = re.compile(r"arn:[a-z0-9-]+:(?:iam|sts)::(\d{12}):(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Consumer:
    """One principal.

    :param principal: as the log says it; outside text.
    :param last_before: its last read before the promotion, within that time.
    :param last_since: its last read of the current value since.
    :param last_old: its last read since of a version that is not current: it was asked for by name.
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
    """Every principal that read the secret: those that are waited for first, then by name."""
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
    """When the value that followed a superseded one became current, as far as labels and keys show.

    :param keys: every key that Infobip lists, by id; may be empty.
    """
    at = plus(item.revoke_at, -grace)
    mine = keys.get(item.key_id)
    made = replaced_at(life, mine, keys) if mine is not None else None
    return min(at if made is None else max(at, made), item.revoke_at)


def waits_until(item: Retiring, key: Key | None, grace: timedelta) -> datetime:
    """The end of the further grace period, or the old key's own end where that is earlier."""
    end = plus(item.revoke_at, grace)
    return end if key is None or key.valid_to is None else min(end, key.valid_to)


def gate_until(
    entry: SecretEntry, spec: Spec, life: Lifecycle, item: Retiring, keys: Mapping[str, Key], now: datetime
) -> datetime | None:
    """Until when a revocation that is due may be made to wait; ``None`` where nothing makes it wait.

    Not without the tag, not before the grace is over (it waits for that anyway), not for a key that does not work or is
    not listed, and not for one that an emergency superseded: that was to be revoked at once.
    """
    key = keys.get(item.key_id)
    if not spec.gate or item.revoke_at > now or key is None or not key.alive(now):
        return None
    if made_in_emergency(entry.arn, life.current_version):
        return None
    limit = waits_until(item, key, spec.grace)
    return limit if limit > now else None


def not_adopted(
    entry: SecretEntry,
    spec: Spec,
    life: Lifecycle,
    item: Retiring,
    keys: Mapping[str, Key],
    readers: Reads | Unread | None,
    now: datetime,
) -> Decision | None:
    """Why a revocation that is due waits for consumers, or ``None`` where it does not.

    What is not known makes it wait too, up to the same limit.

    :param readers: what the log says; ``None``: it was not asked.
    """
    limit = gate_until(entry, spec, life, item, keys, now)
    if limit is None:
        return None

    def waits(template: str, severity: Severity | None = Severity.WARNING, **values: object) -> Decision:
        message = Message.of(template, key=KeyId(item.key_id), limit=limit, **values)
        return Decision(Reason.NOT_ADOPTED, message, deadline=limit, severity=severity)

    if readers is None or readers == NOT_READ:
        return waits("key {key} waits, at the latest until {limit}: the access log was not read this time", None)
    promoted = promoted_at(item, life, keys, spec.grace)
    if isinstance(readers, Unread):
        problem = printable(readers.problem, _LONGEST_PROBLEM)
        return waits("key {key} waits, at the latest until {limit}: who still uses it is not known: {gap}", gap=problem)
    waited_for = [each for each in consumers(readers, promoted) if each.waited_for]
    if waited_for:
        have = "has" if len(waited_for) == 1 else "have"
        names = some_of((principal_words(each.principal, entry.arn) for each in waited_for), _NAMED)
        template = "key {key} waits for {names}, which {have} not read the new value; at the latest until {limit}"
        return waits(template, names=names, have=have)
    gap = gap_in(readers, promoted)
    if gap is not None:
        return waits("key {key} waits, at the latest until {limit}: not every reader may be known: {gap}", gap=gap)
    return None


def gap_in(reads: Reads, promoted: datetime, look_back: timedelta = LOOK_BACK) -> Message | None:
    """Why a consumer may be missing from an answer, as a clause; ``None`` where none can be.

    Reads since the promotion may be missing without harm: the principal is only waited for a little longer.
    """
    if reads.gap:
        return Message.text(reads.gap)
    if reads.since > plus(promoted, -look_back):
        return Message.of("reads before {since} are not known", since=reads.since)
    if reads.until < promoted:
        return Message.of("reads after {until} are not known yet", until=reads.until)
    return None


def principal_words(principal: str, arn: str) -> str:
    """A principal as people name it, fit for a terminal: ``role/billing``; with its account's number if another's.

    :param arn: of the secret, whose AWS account goes without saying.
    """
    found = _OF_IAM.fullmatch(principal)
    if found is None:
        return printable(principal, _LONGEST_NAME)
    number, name = found[1], printable(found[2], _LONGEST_NAME)
    return name if number == "".join(arn.split(":")[4:5]) else f"{name} of account {number}"
