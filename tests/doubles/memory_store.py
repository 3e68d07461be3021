"""A strict Secrets Manager in memory: AWS's documented behaviour, where emulators are more lenient.

It implements :class:`rotator.ports.SecretStore` and raises the same errors as the store over HTTP does. With its hooks
a test stops, delays or loses any single call, and lets another process act between two of them.
"""

from __future__ import annotations

import hashlib
import threading
import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final, TypeVar

from rotator.errors import BadSecretValue, PreconditionFailed, SecretNotFound, StoreDenied, StoreError, StoreRejected
from rotator.model import SecretEntry
from rotator.ports import Clock, Listing, StoredValue
from rotator.reasons import Reason
from rotator.secret import Secret
from tests.doubles.memory_secret import CURRENT, MAX_LABELS, PENDING, Record, Version, check_name, check_tags

Hook = Callable[[str, str], None]
_T = TypeVar("_T")
_ROLE_TAG: Final = "rotator:role"
_BATCH: Final = 20
_LONGEST_STALENESS: Final = timedelta(minutes=5)  # API reference, "ListSecrets"


class MemoryStore:
    """Secrets Manager of one account and region.

    :param clock: the time of versions, staleness and throttling.
    :param strict: enforce the limits (20 labels, 50 tags and their characters, 64 KiB); false: none, as moto.
    :param staleness: how old the listing's state is, 0 to 5 minutes; may be changed at any time by attribute.
    :param keep_unlabelled: how long a version without labels can still be read; by default not at all.
    :param learn: called with the text of every value that is read, so that a redactor knows it.

    ``before`` is called with the method's name and the secret's ahead of a call, ``after`` when it has taken effect and
    nothing has been returned yet: an error raised in it is a lost answer. ``calls`` lists each as (method, secret).
    """

    def __init__(
        self,
        clock: Clock,
        *,
        account: str = "123456789012",
        region: str = "eu-central-1",
        strict: bool = True,
        staleness: timedelta = timedelta(0),
        keep_unlabelled: timedelta = timedelta(0),
        learn: Callable[[str], None] | None = None,
    ) -> None:
        self.staleness = staleness
        self.before: Hook | None = None
        self.after: Hook | None = None
        self.calls: list[tuple[str, str]] = []
        self._learn = learn
        self._clock = clock
        self._account = account
        self._region = region
        self._strict = strict
        self._keep_unlabelled = keep_unlabelled
        self._lock = threading.RLock()
        self._records: dict[str, Record] = {}  # by name
        self._names: dict[str, str] = {}  # by ARN
        self._history: dict[str, list[tuple[datetime, SecretEntry | None]]] = {}  # by ARN, for stale listings
        self._made = 0

    # ---- what the rotator does --------------------------------------------------------------------------------------

    def list_secrets(self, role: str = "") -> Listing:
        """Every secret with a ``rotator:role`` tag, by name, as it was ``staleness`` ago."""
        with self._call("list_secrets", ""):
            shown = [entry for entry in self._listed(self.staleness) if _ROLE_TAG in entry.tags]
            shown = [entry for entry in shown if role in ("", entry.tags[_ROLE_TAG].strip())]
            result = Listing(sorted(shown, key=lambda entry: (entry.name, entry.arn)))
        return self._done("list_secrets", "", result)

    def describe(self, secret_id: str) -> SecretEntry:
        """One secret, now; one that is pending deletion too."""
        with self._call("describe", secret_id):
            result = self._find(secret_id).entry()
        return self._done("describe", secret_id, result)

    def read_current(self, secret_id: str) -> StoredValue:
        """The value behind ``AWSCURRENT``; ``SecretNotFound`` where there is none."""
        with self._call("read_current", secret_id):
            result = self._read(self._find(secret_id), CURRENT)
        return self._done("read_current", secret_id, result)

    def read_version(self, secret_id: str, version_id: str) -> StoredValue:
        """One version's value; ``SecretNotFound`` where it is lost or empty."""
        with self._call("read_version", secret_id):
            result = self._read(self._find(secret_id), version_id)
        return self._done("read_version", secret_id, result)

    def read_content(self, secret_id: str, version_id: str) -> Secret:
        """One version's content; a binary value as Latin-1."""
        with self._call("read_content", secret_id):
            _, version = self._value(self._find(secret_id), version_id)
            result = version.text or Secret((version.binary or b"").decode("latin-1"))
            if self._learn is not None:
                self._learn(result.reveal())
        return self._done("read_content", secret_id, result)

    def read_many(self, secret_ids: Sequence[str]) -> Mapping[str, Secret | StoreError]:
        """The content behind ``AWSCURRENT`` of each, by ARN; an error stands for one that can't be read."""
        found: dict[str, Secret | StoreError] = {}
        for start in range(0, len(secret_ids), _BATCH):
            with self._call("read_many", ""):
                for secret_id in secret_ids[start : start + _BATCH]:
                    try:
                        record = self._find(secret_id)
                        _, version = self._value(record, CURRENT)
                        binary = (version.binary or b"").decode("latin-1")
                        content = version.text or Secret(binary)
                        if self._learn is not None:
                            self._learn(content.reveal())
                        found[record.arn] = content
                    except SecretNotFound:
                        continue
                    except StoreError as error:
                        found[secret_id] = error
        return self._done("read_many", "", found)

    def version_dates(self, secret_id: str) -> Mapping[str, datetime]:
        """When each version that holds a value was created; those without labels too, while they are kept."""
        with self._call("version_dates", secret_id):
            record = self._find(secret_id)
            result = {
                version_id: version.created
                for version_id, version in record.versions.items()
                if version.text is not None or version.binary is not None
            }
        return self._done("version_dates", secret_id, result)

    def stage(self, secret_id: str, version_id: str, text: Secret, labels: tuple[str, ...]) -> None:
        """``PutSecretValue``: the same again is a no-op, another value under the version id ``PreconditionFailed``."""
        with self._write("stage", secret_id) as record:
            if not 1 <= len(labels) <= MAX_LABELS:
                raise StoreRejected(f"{secret_id}: a version is stored with 1 to 20 labels; nothing was changed")
            self._check_kms(record, "kms:GenerateDataKey")
            record.put(version_id, text, labels, self._clock.now())
        self._done("stage", secret_id, None)

    def promote(self, secret_id: str, to_version: str, from_version: str | None) -> None:
        """Move ``AWSCURRENT`` as a compare-and-swap; ``AWSPREVIOUS`` follows by itself."""
        with self._write("promote", secret_id) as record:
            record.move(CURRENT, to_version, from_version, self._clock.now())
        self._done("promote", secret_id, None)

    def add_label(self, secret_id: str, label: str, version_id: str, *, remove_from: str | None = None) -> None:
        """Put a label on a version; refused when it is on another one than ``remove_from``."""
        with self._write("add_label", secret_id) as record:
            record.move(label, version_id, remove_from, self._clock.now())
        self._done("add_label", secret_id, None)

    def remove_label(self, secret_id: str, label: str, version_id: str) -> None:
        """Take a label off a version; that it is gone already is not an error."""
        with self._write("remove_label", secret_id) as record:
            try:
                record.move(label, None, version_id, self._clock.now())
            except (PreconditionFailed, SecretNotFound):
                if label in record.labels_of(version_id):
                    raise
        self._done("remove_label", secret_id, None)

    # ---- what people, other services and consumers do: not in ``calls``, and without hooks --------------------------

    def create_secret(
        self, name: str, tags: Mapping[str, str] | None = None, value: str | None = None, version_id: str | None = None
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

    def put_value_by_hand(
        self, name: str, value: str | bytes, version_id: str | None = None, labels: Iterable[str] = (CURRENT,)
    ) -> str:
        """A person stores a value, by the console as the current one; ``bytes`` are binary. Returns the version."""
        chosen = version_id or str(uuid.uuid4())
        with self._changing(name) as record:
            self._check_writable(record)
            text = Secret(value) if isinstance(value, str) else None
            record.put(chosen, text, labels, self._clock.now(), binary=value if isinstance(value, bytes) else None)
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

    def start_rotation(
        self, name: str, version_id: str | None = None, value: str | None = None, *, function: str | None = None
    ) -> str:
        """A function's ``RotateSecret``: an ``AWSPENDING`` version, without a value where none is given."""
        chosen = version_id or str(uuid.uuid4())
        with self._changing(name) as record:
            self._check_writable(record)
            record.rotation_enabled, record.rotation_function = True, function
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
        """``DescribeSecret``."""
        with self._lock:
            return self._find(name).entry()

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _read(self, record: Record, label_or_version: str) -> StoredValue:
        version_id, version = self._value(record, label_or_version)
        if version.text is None:
            raise BadSecretValue(
                f"{record.name}: the value of version {version_id} is binary or absent",
                advice="Store it as a SecretString: JSON, or the key itself.",
            )
        if self._learn is not None:
            self._learn(version.text.reveal())
        return StoredValue(version_id, version.text, record.labels_of(version_id))

    @contextmanager
    def _call(self, operation: str, secret_id: str) -> Iterator[None]:
        """Log the call, let ``before`` act, then hold the lock: a hook may call the store, from another thread too."""
        name = self._name(secret_id)
        with self._lock:
            self.calls.append((operation, name))
        if self.before is not None:
            self.before(operation, name)
        with self._lock:
            yield

    @contextmanager
    def _write(self, operation: str, secret_id: str) -> Iterator[Record]:
        with self._call(operation, secret_id), self._changing(secret_id) as record:
            self._check_writable(record)
            yield record

    def _done(self, operation: str, secret_id: str, result: _T) -> _T:
        if self.after is not None:
            self.after(operation, self._name(secret_id))
        return result

    def _name(self, secret_id: str) -> str:
        """The secret's name where it is known by its ARN."""
        with self._lock:
            return self._names.get(secret_id, secret_id)

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
                reason=Reason.REPLICA,
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
            f"{record.name}: the secret is scheduled for deletion; nothing was changed", reason=Reason.DELETED
        )
