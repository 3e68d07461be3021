"""Staging labels and key names, which only this module writes and reads.

Only a label or name that this module would write is read as ours. The right prefix alone is not enough.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from rotator.key_format import is_deployment, is_key_id

CURRENT: Final = "AWSCURRENT"
PREVIOUS: Final = "AWSPREVIOUS"
PENDING: Final = "AWSPENDING"

KEY_NAME_LIMIT: Final = 255
_PREFIX: Final = "rotator:"
_KEY: Final = f"{_PREFIX}key:"
_RETIRE: Final = f"{_PREFIX}retire:"
_MARK: Final = "/rotator:"
_VERSION_ID: Final = re.compile(r"[A-Za-z0-9-]{32,64}")
_SECRET_ID_DIGITS: Final = 10
_SECRET_ID: Final = re.compile(r"[0-9a-f]{10}")
_STAMP: Final = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z")


def is_version_id(text: str) -> bool:
    """Whether a text can be the id of a version that the rotator stores: 32 to 64 letters, digits and ``-``."""
    return _VERSION_ID.fullmatch(text) is not None


def key_label(key_id: str) -> str:
    """Write the label of the version that contains a key's value.

    :raises ValueError: the key id is malformed.
    """
    return _KEY + _checked_key_id(key_id)


def parse_key_label(label: str) -> str | None:
    """Return the key id of a key label, or ``None`` for any other label."""
    key_id = label.removeprefix(_KEY)
    return key_id if key_id != label and is_key_id(key_id) else None


def is_own(label: str) -> bool:
    """Whether a label has the prefix of the rotator's labels. It may be one that the rotator would not write."""
    return label.startswith(_PREFIX)


def retire_label(key_id: str, at: datetime) -> str:
    """Write the label that says from when on (aware) a superseded key is to be revoked.

    The time is rounded up to a second, so that a grace period is never shorter than requested.

    :raises ValueError: the key id is malformed, the time is naive, or its year has more than four digits.
    """
    if at.tzinfo is None:
        raise ValueError("a retire label needs a time with a zone")
    try:
        at = at.astimezone(UTC)
        if at.microsecond:
            at = at.replace(microsecond=0) + timedelta(seconds=1)
    except OverflowError:
        raise ValueError("a retire label needs a time before the year 10000") from None
    # Not strftime: it writes years before 1000 without zeros on some systems.
    stamp = f"{at.year:04}{at.month:02}{at.day:02}T{at.hour:02}{at.minute:02}{at.second:02}Z"
    return f"{_RETIRE}{_checked_key_id(key_id)}:{stamp}"


def parse_retire_label(label: str) -> tuple[str, datetime] | None:
    """Return the key id and the time (UTC) of a retire label, or ``None`` for any other label."""
    if not label.startswith(_RETIRE):
        return None
    key_id, _, stamp = label.removeprefix(_RETIRE).partition(":")
    match = _STAMP.fullmatch(stamp)
    if not is_key_id(key_id) or match is None:
        return None
    year, month, day, hour, minute, second = (int(group) for group in match.groups())
    try:
        return key_id, datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


@lru_cache(maxsize=16384)  # the same size as for key names
def secret_id(arn: str) -> str:
    """Return a secret's id in the names of its keys: 10 hex digits of the SHA-256 of its whole ARN.

    The ARN includes partition, region, AWS account and random suffix. So a secret of the same name in another region or
    account, or one that was deleted and created again, has another id.
    """
    return hashlib.sha256(arn.encode("utf-8", "surrogatepass")).hexdigest()[:_SECRET_ID_DIGITS]


@dataclass(frozen=True, slots=True)
class KeyName:
    """A key's name at Infobip, parsed.

    :param secret: the secret's name, possibly truncated.
    :param secret_id: see :func:`secret_id`; ``None`` in a name of the older form, which had none.
    """

    secret: str
    deployment: str
    version_id: str
    secret_id: str | None

    def is_for(self, name: str, arn: str) -> bool:
        """Whether the rotator gives exactly this name to a key of that secret. False for a name of the older form."""
        if self.secret_id is None or not name:
            return False
        length = KEY_NAME_LIMIT - len(_tail(self.deployment, self.secret_id, self.version_id))
        return self.secret_id == secret_id(arn) and self.secret == name[:length]


def key_name(name: str, arn: str, deployment: str, version_id: str) -> str:
    """Write ``<secret name>/rotator:<deployment>:<secret id>:<version id>``; a long secret name is truncated.

    :param name: the secret's name.
    :param version_id: 32 to 64 letters, digits and ``-``, chosen before the key is created.
    :raises ValueError: a part is malformed or empty.
    """
    if not name:
        raise ValueError("a key's name needs the secret's name")
    if not is_deployment(deployment):
        raise ValueError("a deployment name must have 1 to 32 letters, digits and ._- and start with a letter or digit")
    if not is_version_id(version_id):
        raise ValueError("a version id has 32 to 64 letters, digits and hyphens")
    tail = _tail(deployment, secret_id(arn), version_id)
    return name[: KEY_NAME_LIMIT - len(tail)] + tail


@lru_cache(maxsize=16384)  # an account has thousands of keys after years, with the same names in every sweep
def parse_key_name(name: str) -> KeyName | None:
    """Return the parts of a name that a rotator wrote, or ``None``. The deployment says which rotator.

    The name is parsed from its end, because the secret's own name may contain ``/rotator:`` too.
    """
    secret, _, rest = name.rpartition(_MARK)
    deployment, *ids = rest.split(":")
    if not secret or not is_deployment(deployment) or not 1 <= len(ids) <= 2 or not is_version_id(ids[-1]):
        return None
    if len(ids) == 2 and not _SECRET_ID.fullmatch(ids[0]):
        return None
    return KeyName(secret, deployment, ids[-1], ids[0] if len(ids) == 2 else None)


def _tail(deployment: str, secret: str, version_id: str) -> str:
    return f"{_MARK}{deployment}:{secret}:{version_id}"


def _checked_key_id(key_id: str) -> str:
    if not is_key_id(key_id):
        raise ValueError("a key id has 1 to 128 letters, digits, _ and -")  # not shown: it came from outside
    return key_id
