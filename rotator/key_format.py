"""The formats of Infobip keys: a key's value, even if truncated, its id, and the name of a deployment in key names.

Infobip documents the value: 32 hexadecimal digits, a hyphen and a UUID, 69 characters, in lower case.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Final

VALUE_LENGTH: Final = 69
_FIRST: Final = "[0-9a-f]{32}"
_UUID: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_VALUE: Final = re.compile(f"{_FIRST}-{_UUID}")
# Matched from the first hyphen on: hyphens are found many times faster than 32 digits.
_VALUE_IN_TEXT: Final = re.compile(f"-(?<=({_FIRST})-)({_UUID})", re.IGNORECASE)
_TRUNCATED: Final = re.compile(f"{_FIRST}-[0-9a-f-]*|[0-9a-f]+-{_UUID}", re.IGNORECASE)
TRUNCATED_VALUE: Final = re.compile(rf"{_FIRST}-[0-9a-f]{{4,8}}(?![0-9a-f])(?:-[0-9a-f]+)*", re.IGNORECASE)
"""A value in any text, even if truncated in its second part or later."""
TRUNCATED_VALUE_IN_NAME: Final = re.compile(rf"{_FIRST}-[0-9a-f]{{8}}(?:-[0-9a-f]{{1,12}})+", re.IGNORECASE)
"""A value in a name, even if truncated in its third part or later. A name of 32 digits and a suffix does not match."""
# Ids go into URLs and staging labels. With 128 characters at most, no label comes near the 256 that AWS allows.
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
# Without a colon, which separates the parts of a key's name.
_DEPLOYMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")


def is_value(text: str) -> bool:
    """Whether the whole text is a value, exactly as Infobip writes it."""
    return _VALUE.fullmatch(text) is not None


def is_truncated_value(text: str) -> bool:
    """Whether the whole text is a value, even without its end or its start. A UUID alone is not."""
    return _TRUNCATED.fullmatch(text) is not None


def values_in(text: str) -> Iterator[str]:
    """Yield every value in a text, in upper or lower case, as spelt."""
    return map("-".join, _VALUE_IN_TEXT.findall(text))


def contains_value(text: str) -> bool:
    """Whether a text contains a value, in upper or lower case."""
    return _VALUE_IN_TEXT.search(text) is not None


def random_value() -> str:
    """Return a value that is not any key's."""
    return f"{uuid.uuid4().hex}-{uuid.uuid4()}"


def is_key_id(text: str) -> bool:
    """Whether a text can be a key's id: 1 to 128 letters, digits, ``_`` and ``-``, and no value: ids are shown."""
    return _ID.fullmatch(text) is not None and not contains_value(text)


def is_deployment(text: str) -> bool:
    """Whether a text can be a deployment's name: 1 to 32 letters, digits and ``._-``, starting with letter or digit."""
    return _DEPLOYMENT.fullmatch(text) is not None
