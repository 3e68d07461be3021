"""What people, other services and consumers do to the in-memory Secrets Manager; what the rotator does is beside it."""

from __future__ import annotations

import hashlib
import threading
import uuid
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from rotator.errors import SecretNotFound, StoreDenied, StoreRejected
from rotator.model import SecretEntry
from rotator.ports import Clock
from rotator.secret import Secret
from tests.doubles.memory_secret import CURRENT, PENDING, Record, Version, check_name, check_tags

_LONGEST_STALENESS: Final = timedelta(minutes=5)  # API reference, "ListSecrets"


class MemoryAdmin:
    """The state of one account and region, and the hands of others on it. Thread safe.

    Nothing here is in ``calls``, goes through the hooks, or is throttled: those are for what the rotator does.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        account: str,
        region: str,
        strict: bool,
        keep_unlabelled: timedelta,
        first_is_current: bool,
    ) -> None:
        self._clock = clock
        self._account = account
        self._region = region
        self._strict = strict
        self._keep_unlabelled = keep_unlabelled
        self._first_is_current = first_is_current
        self._lock = threading.RLock()
        self._records: dict[str, Record] = {}  # by name
        self._names: dict[str, str] = {}  # by ARN
        self._history: dict[str, list[tuple[datetime, SecretEntry | None]]] = {}  # by ARN, for stale listings
        self._made = 0

    def create_secret(
        self,
        name: str,
        tags: Mapping[str, str] | None = None,
        value: str | None = None,
        version_id: str | None = None,
    ) -> str:
        """``CreateSecret``: returns the ARN. Without a value the secret has no version."""
        check_name(name)
        if self._strict:
            check_tags(name, tags or {})
        with self._lock:
            if name in self._records:
                raise StoreRejected(f"{name}: a secret of that name exists already")
            self._made += 1
            suffix = hashlib.sha256(f"{name}/{self._made}".encode()).hexdigest()[:6]
            arn = f"arn:aws:secretsmanager:{self._region}:{self._account}:secret:{name}-{suffix}"
            record = Record(arn, name, dict(tags or {}), limits=self._strict, last_changed=self._clock.now())
            if value is not None:
                record.put(version_id or str(uuid.uuid4()), Secret(value), (CURRENT,), self._clock.now())
            self._records[name] = record
            self._names[arn] = name
            self._remember(record)
            return arn

    def put_value_by_hand(self, name: str, value: str | bytes, version_id: str | None = None) -> str:
        """A person stores a value in the console: it is current at once; ``bytes`` are binary. Returns the version."""
        chosen = version_id or str(uuid.uuid4())
        with self._changing(name) as record:
            self._check_writable(record)
            text = Secret(value) if isinstance(value, str) else None
            record.put(chosen, text, (CURRENT,), self._clock.now(), binary=value if isinstance(value, bytes) else None)
        return chosen

    def label_by_hand(self, name: str, label: str, version_id: str | None, remove_from: str | None = None) -> None:
        """A person or another function moves a label (``version_id=None``: removes it), under the same rules."""
        with self._changing(name) as record:
            self._check_writable(record)
            record.move(label, version_id, remove_from, self._clock.now())

    def tag(self, name: str, tags: Mapping[str, str]) -> None:
        """``TagResource``: adds or overwrites tags."""
        with self._changing(name) as record:
            after = {**record.tags, **tags}
            if self._strict:
                check_tags(name, after)
            record.tags = after

    def untag(self, name: str, *keys: str) -> None:
        """``UntagResource``; a tag that is not there is fine."""
        with self._changing(name) as record:
            record.tags = {key: value for key, value in record.tags.items() if key not in keys}

    def delete(self, name: str, window: timedelta = timedelta(days=30)) -> None:
        """``DeleteSecret``: from now on pending, and gone after ``window`` (which is never waited for here)."""
        with self._changing(name) as record:
            record.deleted_at = self._clock.now() + window

    def restore(self, name: str) -> None:
        """``RestoreSecret``: no longer pending deletion."""
        with self._changing(name) as record:
            record.deleted_at = None

    def force_delete(self, name: str) -> None:
        """Delete without recovery; a stale listing may go on showing the secret."""
        with self._lock:
            record = self._find(name)
            del self._records[record.name], self._names[record.arn]
            self._append(record.arn, None)

    def make_replica(self, name: str, primary_region: str = "us-east-1") -> None:
        """Let the secret be a replica of one in another region; given this region, a primary that has replicas."""
        with self._changing(name) as record:
            record.primary_region = primary_region

    def set_owning_service(self, name: str, service: str | None = "rds") -> None:
        """Let another AWS service own the secret."""
        with self._changing(name) as record:
            record.owning_service = service

    def deny_kms(self, name: str, denied: bool = True) -> None:
        """Refuse the use of the secret's KMS key: no value can be read or written."""
        with self._changing(name) as record:
            record.kms_denied = denied

    def start_rotation(self, name: str, version_id: str | None = None, value: str | None = None) -> str:
        """Another function's ``RotateSecret``: an ``AWSPENDING`` version, without a value where none is given."""
        chosen = version_id or str(uuid.uuid4())
        with self._changing(name) as record:
            self._check_writable(record)
            record.rotation_enabled = True
            text = None if value is None else Secret(value)
            record.put(chosen, text, (PENDING,), self._clock.now(), first_is_current=False)
        return chosen

    def copy_secret_with_tags(self, name: str, new_name: str) -> str:
        """A person copies a secret, its tags and current value, not its labels: two hold one key. Returns the ARN."""
        with self._lock:
            record = self._find(name)
            return self.create_secret(new_name, record.tags, self.consumer_read(name))

    def consumer_read(self, name: str) -> str:
        """What a consumer gets that reads the secret now, with its own permissions."""
        with self._lock:
            _, version = self._value(self._find(name), CURRENT)
            if version.text is None:
                raise SecretNotFound(f"{name}: there is no text behind AWSCURRENT")
            return version.text.reveal()

    def peek(self, name: str) -> SecretEntry:
        """``DescribeSecret`` by somebody else: neither logged nor hooked."""
        with self._lock:
            return self._find(name).entry()

    def _find(self, secret_id: str) -> Record:
        record = self._records.get(self._names.get(secret_id, secret_id))
        if record is None:
            raise SecretNotFound(f"{secret_id}: there is no such secret", advice="Check name, account and region.")
        record.forget(self._clock.now(), self._keep_unlabelled)
        return record

    def _value(self, record: Record, label_or_version: str) -> tuple[str, Version]:
        """A version that holds a value, by its id or by a label; refused as AWS refuses to read it."""
        _check_not_deleted(record)
        version_id = record.labels.get(label_or_version, label_or_version)
        version = record.versions.get(version_id)
        if version is None or (version.text is None and version.binary is None):
            raise SecretNotFound(f"{record.name}: there is no value for {label_or_version}")
        self._check_kms(record, "kms:Decrypt")
        return version_id, version

    def _check_writable(self, record: Record) -> None:
        _check_not_deleted(record)
        if record.primary_region not in (None, self._region):
            raise StoreRejected(
                f"{record.name}: the secret is a replica; nothing was changed",
                advice="Run the rotator in the primary's region.",
            )
        if record.owning_service:
            raise StoreRejected(f"{record.name}: the secret is managed by {record.owning_service}; nothing was changed")

    def _check_kms(self, record: Record, action: str) -> None:
        if record.kms_denied:
            raise StoreDenied(
                f"{record.name}: KMS refuses the secret's key; nothing was changed",
                advice=f"Grant {action} to the rotator's role in its policy and in the KMS key's.",
                action=action,
            )

    @contextmanager
    def _changing(self, secret_id: str) -> Iterator[Record]:
        """The record, locked, and its new state remembered for listings unless the change was refused."""
        with self._lock:
            record = self._find(secret_id)
            yield record
            record.forget(self._clock.now(), self._keep_unlabelled)
            self._remember(record)

    def _remember(self, record: Record) -> None:
        self._append(record.arn, record.entry())

    def _append(self, arn: str, entry: SecretEntry | None) -> None:
        now = self._clock.now()
        history = self._history.setdefault(arn, [])
        history.append((now, entry))
        # The last state before the longest staleness is still visible; what is older never is again.
        del history[: max(0, bisect_right(history, now - _LONGEST_STALENESS, key=lambda item: item[0]) - 1)]

    def _listed(self, staleness: timedelta) -> list[SecretEntry]:
        """Every secret as it was ``staleness`` ago."""
        if not timedelta(0) <= staleness <= _LONGEST_STALENESS:
            raise ValueError("a listing is at most 5 minutes stale")
        moment = self._clock.now() - staleness
        shown: list[SecretEntry] = []
        for history in self._history.values():
            index = len(history)
            while index and history[index - 1][0] > moment:  # a step or two back: a history holds five minutes
                index -= 1
            entry = history[index - 1][1] if index else None
            if entry is not None:
                shown.append(entry)
        return shown


def _check_not_deleted(record: Record) -> None:
    if record.deleted_at is not None:
        raise StoreRejected(
            f"{record.name}: the secret is marked for deletion; nothing was changed",
            advice="Restore the secret (aws secretsmanager restore-secret) or leave it to be deleted.",
        )
