"""One :class:`rotator.ports.SecretStore` of several: AWS accounts and regions, with secrets routed by their ARNs.

The first store is trusted: only there does a management secret count. The others may belong to AWS accounts whose
administrators must not be able to stop, or to redirect, an Infobip account. A store that can't be listed is not empty.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Final, TypeVar

from rotator.aws.aws_errors import AGAIN
from rotator.errors import ConfigurationError, SecretNotFound, StoreDenied, StoreError, sentence
from rotator.message import Message
from rotator.model import Location, Reads, SecretEntry, StoreId, Write
from rotator.plan import Alert, Severity
from rotator.ports import Listing, ReaderLog, SecretStore, StoredValue
from rotator.reasons import Reason
from rotator.secret import Secret

_T = TypeVar("_T")
_MAX_PARALLEL: Final = 8


@dataclass
class Member:
    """One store and its access log.

    :param make: makes the store; ``ConfigurationError`` if its credentials can't be used.
    :param session: the AWS session of its region or role.
    """

    id: StoreId
    make: Callable[[], SecretStore]
    readers: ReaderLog | None = None
    session: Any = None

    @cached_property
    def store(self) -> SecretStore:
        """The store, made when it is used first."""
        return self.make()

    def call(self, work: Callable[[SecretStore], _T]) -> _T:
        """Use the store. A role that can't be assumed is this store's failure, not the whole configuration's."""
        try:
            return work(self.store)
        except ConfigurationError as error:
            failure = StoreDenied(error.message, advice=error.advice)
        raise failure


class Stores:
    """Several stores as one. Each method does what the port says, at the store that the ARN names."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members: Final = tuple(members)

    def list_secrets(self, role: str = "") -> Listing:
        """List the secrets of all stores that can be listed, side by side.

        :raises RotatorError: the first store can't be listed: without it no account has a management secret.
        """
        members = self.members[:1] if role == "management" else self.members  # they count in the first store only
        with ThreadPoolExecutor(min(_MAX_PARALLEL, len(members)), "store") as pool:
            listed = list(pool.map(lambda member: _listed(member, role), members))
        if isinstance(listed[0], StoreError):
            raise listed[0]
        found: list[SecretEntry] = []
        alerts: list[Alert] = []
        unlisted: list[str] = []
        for member, entries in zip(members, listed, strict=True):
            if isinstance(entries, StoreError):
                unlisted.append(str(member.id))
                alerts.append(unreachable(member.id, entries))
                continue
            for entry in map(self._located, entries):
                alert = self._foreign(member, entry) or self._misplaced(member, entry)
                if alert is None:
                    found.append(entry)
                else:
                    alerts.append(alert)
        arns = {entry.arn for entry in found}
        found = [entry for entry in found if not entry.is_replica or _primary(entry) not in arns]
        found.sort(key=lambda entry: (entry.name, entry.arn))
        return Listing(found, tuple(unlisted), tuple(alerts))

    def _foreign(self, member: Member, entry: SecretEntry) -> Alert | None:
        """Return an alert if a store lists a secret that belongs to another one."""
        if self._member(entry.arn) is member:
            return None
        message = Message.of(
            "store {store} lists {arn}, which is not in its AWS account and region; the secret is ignored",
            store=str(member.id),
            arn=entry.arn,
        )
        return Alert(Reason.STORE_MISMATCH, message, entry.name, severity=Severity.ERROR, location=entry.location)

    def _misplaced(self, member: Member, entry: SecretEntry) -> Alert | None:
        """Return an alert for a management secret outside the first store."""
        if member is self.members[0] or entry.tags.get("rotator:role") != "management":
            return None
        message = Message.of(
            "{arn} is ignored: management secrets count only in the first store, {store}; remove its tag rotator:role",
            store=str(self.members[0].id),
            arn=entry.arn,
        )
        return Alert(Reason.MANAGEMENT_MISPLACED, message, entry.name, severity=Severity.ERROR, location=entry.location)

    def describe(self, secret_id: str) -> SecretEntry:
        """Describe one secret, by its ARN.

        :raises SecretNotFound: it is in no store, or its store describes another secret.
        """
        member = self.member_of(secret_id)
        entry = self._located(member.call(lambda store: store.describe(secret_id)))
        if self._member(entry.arn) is not member:
            raise SecretNotFound(f"store {member.id} described {entry.arn} instead of {secret_id}")
        return entry

    def read_current(self, secret_id: str) -> StoredValue:
        """Read the value in ``AWSCURRENT``."""
        return self.member_of(secret_id).call(lambda store: store.read_current(secret_id))

    def read_version(self, secret_id: str, version_id: str) -> StoredValue:
        """Read one version's value."""
        return self.member_of(secret_id).call(lambda store: store.read_version(secret_id, version_id))

    def read_content(self, secret_id: str, version_id: str) -> Secret:
        """Read one version's content."""
        return self.member_of(secret_id).call(lambda store: store.read_content(secret_id, version_id))

    def read_many(self, secret_ids: Sequence[str]) -> Mapping[str, Secret | StoreError]:
        """Read the content in ``AWSCURRENT`` of each secret, 20 per call and store."""
        found: dict[str, Secret | StoreError] = {}
        for member, arns in self._by_member(secret_ids):
            try:
                read = member.call(lambda store, arns=arns: store.read_many(arns))  # type: ignore[misc]
                found |= {arn: content for arn, content in read.items() if arn in arns}
            except StoreError as error:
                found |= dict.fromkeys(arns, error)
        return found

    def version_dates(self, secret_id: str) -> Mapping[str, datetime]:
        """Return when each version was created."""
        return self.member_of(secret_id).call(lambda store: store.version_dates(secret_id))

    def stage(self, secret_id: str, version_id: str, text: Secret, labels: tuple[str, ...]) -> None:
        """Store a new version with exactly these labels."""
        self.member_of(secret_id).call(lambda store: store.stage(secret_id, version_id, text, labels))

    def promote(self, secret_id: str, to_version: str, from_version: str | None) -> None:
        """Move ``AWSCURRENT`` by compare-and-swap."""
        self.member_of(secret_id).call(lambda store: store.promote(secret_id, to_version, from_version))

    def add_label(self, secret_id: str, label: str, version_id: str, *, remove_from: str | None = None) -> None:
        """Put a label on a version, and take it off ``remove_from``."""
        self.member_of(secret_id).call(
            lambda store: store.add_label(secret_id, label, version_id, remove_from=remove_from)
        )

    def remove_label(self, secret_id: str, label: str, version_id: str) -> None:
        """Remove a label from a version."""
        self.member_of(secret_id).call(lambda store: store.remove_label(secret_id, label, version_id))

    def reads(self, secret: SecretEntry, since: datetime) -> Reads:
        """Return every allowed read of one secret, by the access log of its store."""
        return self._readers(secret).reads(secret, since)

    def writes(self, secret: SecretEntry, since: datetime) -> tuple[Write, ...]:
        """Return the allowed changes of one secret, by the access log of its store."""
        return self._readers(secret).writes(secret, since)

    def _readers(self, secret: SecretEntry) -> ReaderLog:
        readers = self.member_of(secret.arn).readers
        assert readers is not None
        return readers

    def _by_member(self, arns: Sequence[str]) -> Iterator[tuple[Member, list[str]]]:
        groups: dict[int, list[str]] = defaultdict(list)
        for arn in arns:
            groups[self.members.index(self.member_of(arn))].append(arn)
        for index, each in groups.items():
            yield self.members[index], each

    def _member(self, arn: str) -> Member | None:
        """Return the store whose secret it is: the role's for its AWS account, else the own one of the region.

        The role may be one in the process's own AWS account, whose id is not known.
        """
        at = Location.of(arn)
        exact = (each for each in self.members if (each.id.region, each.id.account) == (at.region, at.aws_account))
        own = (each for each in self.members if (each.id.region, each.id.account) == (at.region, None))
        return next(exact, None) or next(own, None)

    def _located(self, entry: SecretEntry) -> SecretEntry:
        return replace(entry, location=Location.of(entry.arn)) if len(self.members) > 1 else entry

    def member_of(self, arn: str) -> Member:
        """Return the store that a secret is in.

        :param arn: its ARN. A name is in no store: another one may have it, too.
        :raises SecretNotFound: it is in none of them.
        """
        member = self._member(arn)
        if member is None:
            raise SecretNotFound(
                f"{arn} is not in a store of this deployment", advice="Check the ARN, and ROTATOR_STORES."
            )
        return member


def unreachable(store: StoreId, error: StoreError) -> Alert:
    """Return the alert of a store that can't be listed."""
    message = Message.of(
        "store {store} could not be listed: {error} Until it can be, no orphan is revoked, and no key that is proven "
        "by value only",
        store=str(store),
        error=_why(error),
    )
    return Alert(Reason.STORE_UNREACHABLE, message, severity=Severity.ERROR)


def _why(error: StoreError) -> str:
    """Return the error without what is untrue of a sweep, which continues: that nothing was changed, and to retry."""
    message, advice = error.message.replace("; nothing was changed", ""), (error.advice or "").removeprefix(AGAIN)
    return f"{sentence(message)} {advice.strip()}".strip()


def _primary(entry: SecretEntry) -> str:
    """Return the ARN of a replica's primary secret, or the secret's own."""
    parts = entry.arn.split(":")
    return ":".join([*parts[:3], entry.primary_region or parts[3], *parts[4:]])


def _listed(member: Member, role: str) -> tuple[SecretEntry, ...] | StoreError:
    try:
        return member.call(lambda store: store.list_secrets(role))
    except StoreError as error:
        return error
