"""Secret values: finding the key in a value, and writing its replacement.

A JSON value is never written from its parsed form. The fields that change are spliced into the original text, so that
order, spacing and the notation of numbers stay the same in all other fields. No message contains any part of a value,
and no error exposes one in clear text in its traceback's frames, cause or context.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from rotator.errors import BadSecretValue
from rotator.key_format import is_key_id, values_in
from rotator.policy.tags import RESERVED_FIELDS
from rotator.secret import Secret
from rotator.text import printable, quoted

MAX_BYTES: Final = 65_536
"""The most that Secrets Manager stores, in bytes of UTF-8."""
_SPACE: Final = re.compile(r"[ \t\n\r]*")
# A key must be valid in a header, because an HTTP client would quote any other text in its error. It must also fit
# into a URL, because a server refuses a request with thousands of characters. Infobip's keys have 69.
_KEY: Final = re.compile(r"[\x21-\x7e]+")
_MOST: Final = 512
_FIELD_FIX: Final = "Store the key in that field, or set the tag rotator:value-field to the correct field."


@dataclass(frozen=True, slots=True, repr=False)
class _Member:
    """One field of a JSON object and the position of its value in the text; ``value`` only if it is a string."""

    name: str
    begin: int
    end: int
    value: Secret | None
    is_null: bool


@dataclass(frozen=True, slots=True)
class _Fault:
    """A problem with a value, as a clause after the secret's name, and the fix as a sentence."""

    what: str
    fix: str


def decode(text: Secret, field: str, secret_name: str) -> Secret:
    """Return the key in a secret's value: the field of a JSON object, or a text that is not JSON, without white space.

    :raises BadSecretValue: broken JSON, JSON that is not an object, a field named twice, a field that is missing or
        contains anything but a key, an empty value, or a key with characters that no key has.
    """
    found = _find(text, field)
    if isinstance(found, _Fault):
        raise _error(secret_name, found)
    return found


def encode_replacement(
    old: Secret | None,
    field: str,
    *,
    key: Secret,
    key_id: str,
    expires_at: datetime | None,
    base_url: str,
    secret_name: str = "",
) -> Secret:
    """Return the value that replaces ``old``, with a new key.

    A plain value stays plain. A JSON object keeps every other field as it is, and gets ``field``, ``key_id``,
    ``expires_at`` (``2026-12-01T10:00:00Z``, whole seconds, rounded down; ``null`` for ``None``) and ``base_url``.
    Existing fields keep their places; new ones are added at the end. Without ``old``, the result is a new JSON object.

    :param expires_at: aware.
    :raises BadSecretValue: the key or its id is malformed, ``old`` is invalid JSON or has no such field (an empty
        or ``null`` one will do), or the result is larger than 64 KiB.
    :raises ValueError: ``field`` is one of the other three, or ``expires_at`` is naive.
    """
    if field in RESERVED_FIELDS:
        raise ValueError(f"the rotator writes {field} itself, so it can't contain the key")
    if not is_key_id(key_id) or not key or _wrong_with(key):
        # Untrusted input, like the old value, so the same error, which concerns only this secret.
        fault = _Fault("can't be written: the new key or its id is malformed", "Check the newest key at Infobip.")
        raise _error(secret_name, fault)
    if expires_at is not None and expires_at.tzinfo is None:
        raise ValueError("expires_at has no time zone")
    end = None if expires_at is None else _stamp(expires_at)
    changes: dict[str, Secret | str | None] = {field: key, "key_id": key_id, "expires_at": end, "base_url": base_url}
    result = _replace(old, field, key, changes)
    if isinstance(result, _Fault):
        raise _error(secret_name, result)
    return result


def recorded_key_id(text: Secret) -> str | None:
    """Return the well-formed ``key_id`` that a JSON value records, or ``None``. Never raises."""
    key_id = _recorded(text, "key_id")
    return key_id if key_id is not None and is_key_id(key_id) else None


def recorded_end(text: Secret) -> datetime | None:
    """Return the time that a JSON value records as ``expires_at``, in UTC, or ``None``. Never raises."""
    try:
        end = datetime.fromisoformat(_recorded(text, "expires_at") or "")
        return end.astimezone(UTC) if end.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def recorded_elsewhere(text: Secret, base_url: str) -> bool:
    """Whether a JSON value records another ``base_url`` than this one. Never raises."""
    recorded = _recorded(text, "base_url")
    return recorded is not None and recorded.rstrip("/").casefold() != base_url.rstrip("/").casefold()


def _recorded(text: Secret, field: str) -> str | None:
    members = _members(text)
    if not isinstance(members, tuple):
        return None
    member = next((member for member in members if member.name == field), None)
    return None if member is None or member.value is None else member.value.reveal()


def contains(content: Secret, key: Secret) -> bool:
    """Whether a secret's content contains a key's value in any field, at any depth. Never raises.

    :param content: a text, or a binary value as Latin-1.
    """
    wanted = key.reveal()
    return bool(wanted) and any(wanted in text for text in _readings(content.reveal()))


def keys_in(content: Secret) -> tuple[Secret, ...]:
    """Return every text of the shape of an Infobip key in a secret's content, each once, in any field. Never raises.

    Other texts are left out, because a search at Infobip must not reveal other secrets in the value.

    :param content: a text, or a binary value as Latin-1.
    """
    found = (key for text in _readings(content.reveal()) for key in values_in(text))
    return tuple(map(Secret, dict.fromkeys(found)))


def _readings(raw: str) -> Iterator[str]:
    """Yield the texts in which a key in a secret's content is spelt out."""
    yield raw
    if "\0" in raw:  # UTF-16
        yield raw.replace("\0", "")
    if "\\" in raw:  # JSON may escape any character
        with suppress(ValueError, RecursionError):
            yield from _texts(json.loads(raw))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def others_fields(text: Secret, field: str, key_id: str, expires_at: datetime | None, base_url: str) -> tuple[str, ...]:
    """Return the names of the rotator's own fields that have other content in a JSON value. Never raises.

    Another program wrote them, and consumers may not expect that a rotation overwrites them.
    """
    if field in RESERVED_FIELDS or not isinstance(_members(text), tuple):
        return ()
    wrong = [name for name in ("key_id",) if _recorded(text, name) not in (None, key_id)]
    recorded = _recorded(text, "expires_at")
    if recorded is not None and (expires_at is None or recorded_end(text) != expires_at.replace(microsecond=0)):
        wrong.append("expires_at")
    if recorded_elsewhere(text, base_url):
        wrong.append("base_url")
    return tuple(wrong)


def differs_only_in_key(one: Secret, other: Secret, field: str) -> bool:
    """Whether two values are the same but for the key and the fields that the rotator writes. Never raises.

    Both are plain, or both are JSON objects with that field whose other fields are the same texts in the same order.
    """
    first, second = _other_fields(one, field), _other_fields(other, field)
    return first is not None and first == second


def _other_fields(text: Secret, field: str) -> tuple[tuple[str, Secret], ...] | str | None:
    members = _members(text)
    if members is None:
        return "plain"
    if isinstance(members, _Fault) or all(each.name != field for each in members):
        return None
    own = {field, *RESERVED_FIELDS}
    return tuple((each.name, Secret(text.reveal()[each.begin : each.end])) for each in members if each.name not in own)


def changed_fields(one: Secret, other: Secret) -> tuple[str, ...]:
    """Return the names of fields in which two JSON objects differ, sorted; none for other texts. Never raises."""
    found = [_members(text) for text in (one, other)]
    spelt = [
        {member.name: text.reveal()[member.begin : member.end] for member in members}
        for text, members in zip((one, other), found, strict=True)
        if isinstance(members, tuple)
    ]
    if len(spelt) < len(found):
        return ()
    first, second = spelt
    return tuple(sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name)))


def _find(text: Secret, field: str) -> Secret | _Fault:
    members = _members(text)
    if isinstance(members, _Fault):
        return members
    if members is None:
        plain = Secret(text.reveal().strip())
        if not plain:
            return _Fault("is empty", "Store an API key in it.")
        wrong = _wrong_with(plain)
        if wrong:
            return _Fault(f"is not JSON, and {wrong}", "Store an API key in it.")
        return plain
    member = next((member for member in members if member.name == field), None)
    if member is None:
        return _Fault(f"has no field {quoted(field)}", _FIELD_FIX)
    if member.value is None:
        return _Fault(f"has a non-string value in its field {quoted(field)}", _FIELD_FIX)
    key = Secret(member.value.reveal().strip())
    if not key:
        return _Fault(f"has an empty field {quoted(field)}", _FIELD_FIX)
    wrong = _wrong_with(key)
    if wrong:
        return _Fault(f"{wrong} in its field {quoted(field)}", _FIELD_FIX)
    return key


def _replace(old: Secret | None, field: str, key: Secret, changes: dict[str, Secret | str | None]) -> Secret | _Fault:
    if old is None:
        written = ", ".join(f"{json.dumps(name)}: {_json(value)}" for name, value in changes.items())
        return _bounded(f"{{{written}}}")
    members = _members(old)
    if isinstance(members, _Fault):
        return members
    if members is None:
        return _bounded(key.reveal())
    by_name = {member.name: member for member in members}
    target = by_name.get(field)
    if target is None:
        return _Fault(f"has no field {quoted(field)}", _FIELD_FIX)
    if target.value is None and not target.is_null:
        return _Fault(f"has a non-string value in its field {quoted(field)}", _FIELD_FIX)
    text = old.reveal()
    opening = text.index("{") + 1
    lead = _SPACE.match(text, opening)
    space = (lead.group() if lead else "") or " "
    added = "".join(
        f",{space}{json.dumps(name)}: {_json(value)}" for name, value in changes.items() if name not in by_name
    )
    last = members[-1].end
    text = text[:last] + added + text[last:]
    for member in reversed(members):  # from the end, so that earlier positions stay valid
        if member.name in changes:
            text = text[: member.begin] + _json(changes[member.name]) + text[member.end :]
    return _bounded(text)


def _bounded(text: str) -> Secret | _Fault:
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return _Fault("would be larger than the 64 KiB that AWS stores", "Move other fields into another secret.")
    return Secret(text)


def _json(value: Secret | str | None) -> str:
    return json.dumps(value.reveal() if isinstance(value, Secret) else value)


def _members(text: Secret) -> tuple[_Member, ...] | _Fault | None:
    """Return a JSON object's fields in order, ``None`` for a text that is not JSON, or what is wrong with it."""
    raw = text.reveal()
    try:
        _DECODER.decode(raw)
    except (_NotJson, RecursionError):
        return _Fault("contains NaN, Infinity, or JSON nested too deeply", "Store standard JSON.")
    except ValueError:
        # Not a key: if part of an object were taken for one, it would be sent to Infobip, and other fields lost.
        if raw.lstrip().startswith(("{", "[", '"')):
            return _Fault("is invalid JSON", "Fix the JSON, or store the bare key.")
        return None
    members = []
    place = _after_space(raw, 0)
    if raw[place] != "{":
        return _Fault("is JSON, but not an object", "Store a JSON object, or the bare key.")
    place = _after_space(raw, place + 1)
    while raw[place] != "}":
        name, place = _DECODER.raw_decode(raw, place)
        begin = _after_space(raw, _after_space(raw, place) + 1)  # over the colon
        value, end = _DECODER.raw_decode(raw, begin)
        members.append(_Member(name, begin, end, Secret(value) if isinstance(value, str) else None, value is None))
        place = _after_space(raw, end)
        if raw[place] == ",":
            place = _after_space(raw, place + 1)
    if len({member.name for member in members}) < len(members):
        return _Fault("has a duplicate field", "Remove one of the two.")
    return tuple(members)


def _after_space(raw: str, place: int) -> int:
    match = _SPACE.match(raw, place)
    return match.end() if match else place


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _wrong_with(key: Secret) -> str:
    """Return why a text can't be an API key, as a clause; ``""`` if it can."""
    if _KEY.fullmatch(key.reveal()) is None:
        return "contains characters that an API key can't have"
    return f"is longer than {_MOST} characters, the maximum for an API key" if len(key.reveal()) > _MOST else ""


def _error(secret_name: str, fault: _Fault) -> BadSecretValue:
    name = printable(secret_name) if secret_name else "the secret"
    return BadSecretValue(f"The value of {name} {fault.what}.", advice=fault.fix)


class _NotJson(Exception):
    """The JSON contains NaN or Infinity, which Python's decoder accepts but standard JSON does not."""


def _refuse(_: str) -> NoReturn:
    raise _NotJson


def _any_number(_: str) -> int:
    return 0


# Numbers are only skipped, because converting one with thousands of digits fails or takes long.
_DECODER: Final = json.JSONDecoder(parse_int=_any_number, parse_float=_any_number, parse_constant=_refuse)
