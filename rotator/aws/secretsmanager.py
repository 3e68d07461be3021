"""Implements :class:`rotator.ports.SecretStore` with Secrets Manager, on a boto3 or botocore client."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from traceback import clear_frames
from typing import Any, Final, TypeVar

from botocore import xform_name

from rotator.aws.aws_errors import UnreadableAnswer, may_have_happened, translate
from rotator.errors import (
    BadSecretValue,
    PreconditionFailed,
    SecretNotFound,
    StoreError,
    StoreRejected,
    StoreUnavailable,
)
from rotator.model import SecretEntry
from rotator.ports import Listing, StoredValue
from rotator.redaction.patterns import redact_key_values
from rotator.redaction.redactor import Redactor
from rotator.secret import Secret

_T = TypeVar("_T")
_Raw = dict[str, Any]
_ROLE_TAG: Final = "rotator:role"
_ACCOUNT_TAG: Final = "rotator:account"
_PAGE: Final = 100
_BATCH: Final = 20
_NO_VALUE: Final = "ResourceNotFoundException"
_CURRENT: Final = "AWSCURRENT"
_SUFFIX: Final = re.compile(r"-[A-Za-z0-9]{6}\Z")
# The exceptions that parsing raises if a response does not have the documented format.
_MISSHAPEN: Final = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, OSError)
# The field that a response must have. For botocore any 200 is a success, even a proxy's page or half a response. Then
# a listing would wrongly be empty, and a write that never reached AWS would count as done.
_REQUIRED_FIELD: Final = {
    "ListSecrets": "SecretList",
    "ListSecretVersionIds": "Versions",
    "GetSecretValue": "VersionId",
    "BatchGetSecretValue": "SecretValues",
    "PutSecretValue": "VersionId",
}


class SecretsManagerStore:
    """The store over HTTP. Thread safe, as botocore's clients are.

    botocore retries some calls by itself. Repeating ``PutSecretValue`` is harmless, because the version id is its
    idempotency token. ``UpdateSecretVersionStage`` is rejected if it is repeated after a lost response, because its own
    change is already there. That raises :class:`~rotator.errors.StoreOutcomeUnknown`, never a lost race. After it, and
    after :class:`~rotator.errors.PreconditionFailed`, call :meth:`describe` and decide again.

    Every method raises :class:`~rotator.errors.StoreError`, or :class:`~rotator.errors.ConfigurationError` if the
    machine has no usable AWS credentials.

    :param client: a ``secretsmanager`` client, see :func:`rotator.aws.clients.make_client`.
    :param redactor: learns every value that is read, and spares the names and ids of every tagged secret.
    """

    def __init__(self, client: Any, redactor: Redactor | None = None) -> None:
        self._client = client
        self._redactor = redactor or Redactor()
        self._attempts = threading.local()
        service = client.meta.service_model.service_id.hyphenize()
        client.meta.events.register(f"response-received.{service}.*", self._note_attempt)

    def list_secrets(self, role: str = "") -> Listing:
        """List the secrets with a ``rotator:role`` tag, by name. One call per 100; up to 5 minutes stale."""
        found: dict[str, SecretEntry] = {}  # by ARN, since a secret that changes meanwhile may be on two pages
        filters = [{"Key": "tag-key", "Values": [_ROLE_TAG]}]
        filters += [{"Key": "tag-value", "Values": [role]}] if role else []
        query = {"Filters": filters, "IncludePlannedDeletion": True}
        for entries in self._pages("ListSecrets", "", query, entries_of):
            for entry in entries:
                # AWS matches prefixes of tag keys and values, and a value of any tag.
                if entry.tags.get(_ROLE_TAG, "").strip() == role if role else _ROLE_TAG in entry.tags:
                    found[entry.arn] = self._spared(entry)
        return Listing(sorted(found.values(), key=lambda entry: (entry.name, entry.arn)))

    def describe(self, secret_id: str) -> SecretEntry:
        """Describe one secret (name or ARN)."""
        query = {"SecretId": secret_id}
        entry = self._call("DescribeSecret", secret_id, query, lambda raw: _entry(raw, raw.get("VersionIdsToStages")))
        return self._spared(entry) if _ROLE_TAG in entry.tags else entry

    def _spared(self, entry: SecretEntry) -> SecretEntry:
        self._redactor.spare((entry.name, entry.arn, entry.tags.get(_ACCOUNT_TAG, ""), *entry.versions))
        return entry

    def read_current(self, secret_id: str) -> StoredValue:
        """Read the value in ``AWSCURRENT``."""
        # The stage is named although it is AWS's default, because emulators of AWS differ in the default.
        return self._read(secret_id, {"VersionStage": _CURRENT})

    def read_version(self, secret_id: str, version_id: str) -> StoredValue:
        """Read one version's value."""
        return self._read(secret_id, {"VersionId": version_id})

    def read_content(self, secret_id: str, version_id: str) -> Secret:
        """Read one version's content, text or binary."""
        request = {"SecretId": secret_id, "VersionId": version_id}
        content = self._call("GetSecretValue", secret_id, request, self._content)
        if content is None:
            raise SecretNotFound(f"{secret_id}: version {version_id} has no value")
        return content

    def read_many(self, secret_ids: Sequence[str]) -> Mapping[str, Secret | StoreError]:
        """Read the content in ``AWSCURRENT`` of each secret, 20 per call, or singly if AWS refuses a batch."""
        found: dict[str, Secret | StoreError] = {}
        for start in range(0, len(secret_ids), _BATCH):
            batch = secret_ids[start : start + _BATCH]
            try:
                found |= self.read_batch(batch)
            except StoreError:
                found |= self._read_each(batch)
        return found

    def read_batch(self, arns: Sequence[str]) -> dict[str, Secret | StoreError]:
        """Read the content in ``AWSCURRENT`` of at most 20 secrets in one call.

        :raises StoreError: the call as a whole failed.
        """
        query = {"SecretIdList": list(arns)}
        found, without = self._call("BatchGetSecretValue", "", query, self._batch)
        found = {arn: content for arn, content in found.items() if arn in arns}
        # Reading a secret on its own shows exactly what is wrong.
        return {**found, **self._read_each(arn for arn in arns if arn not in found and arn not in without)}

    def _batch(self, raw: _Raw) -> tuple[dict[str, Secret], set[str]]:
        """Return the contents by ARN, and the ids of the secrets that have none."""
        found: dict[str, Secret] = {}
        for value in raw["SecretValues"]:
            content = self._content(value)
            # A batch cannot name a stage, and emulators of AWS differ in the stage that they read.
            if content is not None and _CURRENT in value.get("VersionStages", ()):
                found[str(value.get("ARN"))] = content
        without = {str(error.get("SecretId")) for error in raw.get("Errors", ()) if error.get("ErrorCode") == _NO_VALUE}
        return found, without

    def _read_each(self, arns: Iterable[str]) -> dict[str, Secret | StoreError]:
        found: dict[str, Secret | StoreError] = {}
        for arn in arns:
            try:
                query = {"SecretId": arn, "VersionStage": _CURRENT}
                if (content := self._call("GetSecretValue", arn, query, self._content)) is not None:
                    found[arn] = content
            except SecretNotFound:
                continue
            except StoreError as error:
                found[arn] = error
        return found

    def _content(self, raw: _Raw) -> Secret | None:
        text, binary = raw.pop("SecretString", None), raw.pop("SecretBinary", None)
        if isinstance(binary, bytes):
            text = binary.decode("latin-1")
        if not isinstance(text, str):
            return None
        self._redactor.learn_value(text)
        return Secret(text)

    def version_dates(self, secret_id: str) -> Mapping[str, datetime]:
        """Return when each version with a value was created, in UTC, including unlabelled ones that AWS still keeps."""
        query = {"SecretId": secret_id, "IncludeDeprecated": True}
        dates: dict[str, datetime] = {}
        for page in self._pages("ListSecretVersionIds", secret_id, query, _dates):
            dates |= page
        return dates

    def stage(self, secret_id: str, version_id: str, text: Secret, labels: tuple[str, ...]) -> None:
        """Store a new version with these labels. AWS also gives ``AWSCURRENT`` to a secret's first version."""
        if not labels:  # without labels AWS would promote the version at once
            raise StoreRejected(f"{secret_id}: refused to store a version without a staging label; nothing was changed")
        self._call(
            "PutSecretValue",
            secret_id,
            {
                "SecretId": secret_id,
                "ClientRequestToken": version_id,
                "SecretString": text,
                "VersionStages": list(labels),
            },
            lambda raw: _version_id(raw["VersionId"], version_id),
            write=True,
        )

    def promote(self, secret_id: str, to_version: str, from_version: str | None) -> None:
        """Move ``AWSCURRENT`` by compare-and-swap. AWS moves ``AWSPREVIOUS`` itself."""
        self._move(secret_id, _CURRENT, to_version, from_version)

    def add_label(self, secret_id: str, label: str, version_id: str, *, remove_from: str | None = None) -> None:
        """Move a label from ``remove_from`` to a version; ``PreconditionFailed`` if a third version has it."""
        self._move(secret_id, label, version_id, remove_from)

    def remove_label(self, secret_id: str, label: str, version_id: str) -> None:
        """Remove a label from a version. It is not an error if the version does not exist or does not have it."""
        try:
            self._move(secret_id, label, None, version_id)
            return
        except (PreconditionFailed, SecretNotFound, StoreRejected) as error:
            refusal = error
        # AWS does not document its message for an absent label, so describe the secret instead.
        if label in self.describe(secret_id).versions.get(version_id, frozenset()):
            raise refusal

    def _move(self, secret_id: str, label: str, to_version: str | None, from_version: str | None) -> None:
        request = {"SecretId": secret_id, "VersionStage": label}
        if to_version is not None:
            request["MoveToVersionId"] = to_version
        if from_version is not None:
            request["RemoveFromVersionId"] = from_version
        self._call("UpdateSecretVersionStage", secret_id, request, lambda _: None, write=True)

    def _read(self, secret_id: str, which: Mapping[str, str]) -> StoredValue:
        def read(raw: _Raw) -> tuple[str, Secret | None, frozenset[str]]:
            content = None if "SecretBinary" in raw else self._content(raw)
            return _version_id(raw["VersionId"], which.get("VersionId")), content, _labels(raw.get("VersionStages", ()))

        version, content, labels = self._call("GetSecretValue", secret_id, {"SecretId": secret_id, **which}, read)
        if content is None:
            raise BadSecretValue(
                f"{secret_id}: version {version} has no SecretString (it is binary or empty)",
                advice="Store it as text (SecretString).",
            )
        return StoredValue(version, content, labels)

    def _pages(
        self, operation: str, secret_id: str, request: Mapping[str, Any], read: Callable[[_Raw], _T]
    ) -> Iterator[_T]:
        seen: set[str] = set()
        token = ""
        while True:
            query = {**request, "MaxResults": _PAGE, **({"NextToken": token} if token else {})}
            page, token = self._call(
                operation, secret_id, query, lambda raw: (read(raw), str(raw.get("NextToken") or ""))
            )
            yield page
            if not token:
                return
            if token in seen:
                raise StoreUnavailable(f"{operation} returned the same page twice; nothing was changed")
            seen.add(token)

    def _call(
        self,
        operation: str,
        secret_id: str,
        request: Mapping[str, Any],
        read: Callable[[_Raw], _T],
        *,
        write: bool = False,
    ) -> _T:
        """Make a call.

        :param read: converts the response. It raises any of :data:`_MISSHAPEN` if the response is not one of AWS.
        """
        outcome = self._attempt(operation, secret_id, request, read, write=write)
        if isinstance(outcome, Exception):
            # Raised here, where the frame has no value, and without botocore's error, whose text may quote one.
            raise outcome
        return outcome

    def _attempt(
        self, operation: str, secret_id: str, request: Mapping[str, Any], read: Callable[[_Raw], _T], *, write: bool
    ) -> _T | Exception:
        """Return what was read, or the error to raise. Never raises, since this frame holds plain values."""
        self._attempts.lost = False
        try:
            plain = {name: each.reveal() if isinstance(each, Secret) else each for name, each in request.items()}
            answer: _Raw = getattr(self._client, xform_name(operation))(**plain)
            if _REQUIRED_FIELD.get(operation, "ARN") not in answer or not _is_about(operation, secret_id, answer):
                raise UnreadableAnswer
            return read(answer)
        except Exception as error:
            lost = self._attempts.lost
            failure = translate(error, operation, secret_id, write=write, lost_attempt=lost)
            if failure is None and isinstance(error, _MISSHAPEN):  # also of botocore's parser: not UTF-8, wrong types
                failure = translate(UnreadableAnswer(), operation, secret_id, write=write, lost_attempt=lost)
            if failure is None:
                # A bug: keep its traceback, but without this frame, and without the values in those below.
                clear_frames(error.__traceback__)
                return error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
            return failure

    def _note_attempt(self, parsed_response: Any = None, exception: Exception | None = None, **_: Any) -> None:
        """Handle botocore's event, sent once per attempt in the calling thread."""
        if (parsed_response is None and exception is None) or getattr(self._attempts, "lost", False):
            return
        self._attempts.lost = may_have_happened(parsed_response, exception)


def _is_about(operation: str, secret_id: str, raw: _Raw) -> bool:
    """Whether a response is about the secret that was asked for by name, ARN or ARN without the random suffix."""
    if operation == "ListSecretVersionIds":
        return True  # emulators of AWS have a name in place of the ARN
    arn, name = raw.get("ARN"), raw.get("Name")
    whole = secret_id in ("", arn, name) or (arn is None and name is None)
    return whole or (secret_id.startswith("arn:") and secret_id == without_suffix(str(arn)))


def without_suffix(arn: str) -> str:
    """Return a secret's ARN without the hyphen and six characters that AWS appends to the name."""
    return _SUFFIX.sub("", arn)


def _text(value: Any, most: int) -> str:
    """Return a name, an ARN or a label: a text of AWS's lengths.

    :raises ValueError: it is not one.
    """
    if not isinstance(value, str) or not 1 <= len(value) <= most:
        raise ValueError
    return value


def _version_id(value: Any, expected: str | None = None) -> str:
    """Return a version id, which is shown and logged.

    :raises ValueError: AWS allows no such id, so it may be anything, even a secret's value; or another one is expected.
    """
    if len(_text(value, 64)) < 32 or not value.isprintable() or expected not in (None, value):
        raise ValueError
    return str(value)


def _labels(labels: Iterable[Any]) -> frozenset[str]:
    """Return the staging labels. A key's value in a label is redacted, since labels are shown."""
    return frozenset(redact_key_values(_text(label, 256)) for label in labels)


def entries_of(page: _Raw) -> list[SecretEntry]:
    """Convert one page of ``ListSecrets``."""
    return [_entry(raw, raw.get("SecretVersionsToStages")) for raw in page["SecretList"]]


def _dates(page: _Raw) -> dict[str, datetime]:
    return {
        _version_id(version["VersionId"]): version["CreatedDate"].astimezone(UTC)
        for version in page["Versions"]
        if version.get("CreatedDate")
    }


def _entry(raw: Mapping[str, Any], versions: Mapping[str, list[str]] | None) -> SecretEntry:
    """Convert a listing's or a description's response. The field with ``versions`` has a different name in each."""
    return SecretEntry(
        arn=_text(raw["ARN"], 2048),
        name=_text(raw["Name"], 512),
        tags=_tags(tuple((tag["Key"], tag.get("Value", "")) for tag in raw.get("Tags") or ())),
        versions={_version_id(version): _labels(labels) for version, labels in (versions or {}).items() if labels},
        owning_service=raw.get("OwningService"),
        primary_region=raw.get("PrimaryRegion"),
        deleted_at=_utc(raw.get("DeletedDate")),
        rotation_enabled=raw.get("RotationEnabled"),
        last_changed=_utc(raw.get("LastChangedDate")),
        last_accessed=_utc(raw.get("LastAccessedDate")),
        rotation_function=raw.get("RotationLambdaARN") or None,
        kms_key=raw.get("KmsKeyId") or None,
    )


@lru_cache(maxsize=4096)
def _tags(pairs: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    """Return the tags. Secrets with equal tags share one object."""
    return dict(pairs)


def _utc(when: datetime | None) -> datetime | None:
    """Convert to UTC: botocore gives local time unless its session has another timestamp parser."""
    return when if when is None or when.tzinfo is UTC else when.astimezone(UTC)
