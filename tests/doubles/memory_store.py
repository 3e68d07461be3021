"""A strict Secrets Manager in memory: AWS's documented behaviour, where emulators are more lenient.

It implements :class:`rotator.ports.SecretStore` and raises the same errors as the store over HTTP does. With its hooks
a test stops, delays or loses any single call, and lets somebody else act between two of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final, TypeVar

from rotator.errors import (
    BadSecretValue,
    PreconditionFailed,
    SecretNotFound,
    StoreError,
    StoreRejected,
    StoreUnavailable,
)
from rotator.model import SecretEntry
from rotator.ports import Clock, StoredValue
from rotator.secret import Secret
from tests.doubles.memory_admin import MemoryAdmin
from tests.doubles.memory_secret import CURRENT, MAX_LABELS, Record

Hook = Callable[[str, str], None]
_T = TypeVar("_T")
_ROLE_TAG: Final = "rotator:role"
_SECOND: Final = timedelta(seconds=1)
_BATCH: Final = 20


class MemoryStore(MemoryAdmin):
    """Secrets Manager of one account and region.

    :param clock: the time of versions, staleness and throttling.
    :param strict: enforce the limits (20 labels, 50 tags and their characters, 64 KiB); false: none, as moto.
    :param staleness: how old the listing's state is, 0 to 5 minutes; may be changed at any time by attribute.
    :param keep_unlabelled: how long a version without labels can still be read; by default not at all.
    :param writes_per_second: above it a write is ``StoreUnavailable``; ``None``: never (AWS: 50 for the account).
    :param first_is_current: a first version gets ``AWSCURRENT`` whatever its labels, as AWS documents it.
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
        writes_per_second: int | None = None,
        first_is_current: bool = True,
        learn: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(
            clock,
            account=account,
            region=region,
            strict=strict,
            keep_unlabelled=keep_unlabelled,
            first_is_current=first_is_current,
        )
        self.staleness = staleness
        self.writes_per_second = writes_per_second
        self.before: Hook | None = None
        self.after: Hook | None = None
        self.calls: list[tuple[str, str]] = []
        self._learn = learn
        self._writes: list[datetime] = []

    def list_secrets(self) -> tuple[SecretEntry, ...]:
        """Every secret with a ``rotator:role`` tag, by name, as it was ``staleness`` ago."""
        with self._call("list_secrets", ""):
            shown = [entry for entry in self._listed(self.staleness) if _ROLE_TAG in entry.tags]
            result = tuple(sorted(shown, key=lambda entry: (entry.name, entry.arn)))
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
            record.put(version_id, text, labels, self._clock.now(), first_is_current=self._first_is_current)
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
        with self._call(operation, secret_id):
            self._throttle(secret_id)
            with self._changing(secret_id) as record:
                self._check_writable(record)
                yield record

    def _done(self, operation: str, secret_id: str, result: _T) -> _T:
        if self.after is not None:
            self.after(operation, self._name(secret_id))
        return result

    def _throttle(self, secret_id: str) -> None:
        if self.writes_per_second is None:
            return
        now = self._clock.now()
        self._writes = [when for when in self._writes if now - when < _SECOND]
        if len(self._writes) >= self.writes_per_second:
            raise StoreUnavailable(
                f"{secret_id}: the write was throttled; nothing was changed", advice="The next sweep tries again."
            )
        self._writes.append(now)

    def _name(self, secret_id: str) -> str:
        """The secret's name where it is known by its ARN."""
        with self._lock:
            return self._names.get(secret_id, secret_id)
