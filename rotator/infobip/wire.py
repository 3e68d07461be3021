"""Converts requests to JSON, and Infobip's responses to the model or to errors.

A malformed response is refused as a whole. A refusal becomes an error without any secret that it quotes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, TypeVar

from rotator.decoding import json_object, mapping_in, text_in
from rotator.errors import (
    BadCredentials,
    ContractViolation,
    InvalidRequest,
    KeyNotFound,
    MissingRole,
    ProviderError,
    ProviderThrottled,
    ProviderUnavailable,
)
from rotator.infobip.http import Answer
from rotator.key_format import contains_value, is_key_id, is_value
from rotator.model import Key, Platform
from rotator.ports import FetchedKey, KeyRequest
from rotator.redaction.patterns import redact_key_values
from rotator.redaction.redactor import Redactor
from rotator.secret import Secret
from rotator.text import printable, quoted

# Printable ASCII, because it becomes a header, and no '*', which is a mask.
_CREATED_VALUE: Final = re.compile(r"[!-)+-~]{1,1024}")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d(?!\d)", re.ASCII)
_MOST_VIOLATIONS: Final = 10
_XML: Final = re.compile(r"<(messageId|errorCode|text|description|error)>\s*([^<]{1,500})</\1>")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """One page of keys, with the counts of the whole list (``None`` if the response has none)."""

    keys: tuple[FetchedKey, ...]
    total_count: int | None
    total_pages: int | None


class _Broken(Exception):
    """Carries a message up to the function that raises."""


def parse_key(answer: Answer, *, expected_id: str | None = None, created: bool = False) -> FetchedKey:
    """Return the key in a response, with its value only if that has the documented format.

    :param created: the response is that to a create: the value may be any printable text that is not a mask.
    :raises ContractViolation: not a key, or another key than ``expected_id``.
    """
    return _parse(answer, lambda data: _expected(_key(data, "the key", created), expected_id))


def parse_page(answer: Answer) -> Page:
    """Return a page of the list, never a part of it.

    :raises ContractViolation: not a page, or one of its keys is malformed (the message names its index).
    """
    return _parse(answer, _page)


def parse_token(answer: Answer, field: str) -> tuple[Secret, int | None]:
    """Return a token for a header, and its ``expires_in`` seconds, or ``None`` if the response has none.

    :raises ContractViolation: there is no such token, its lifetime is not positive, or its type is not ``bearer``.
    """
    return _parse(answer, lambda data: _token(data, field))


def create_body(request: KeyRequest, default_account: str | None) -> dict[str, object]:
    """Return the JSON of a create. Sets become sorted lists, and empty fields are left out."""
    body: dict[str, object] = {
        "name": request.name,
        "accountId": request.account_id or default_account,
        "validTo": format_time(request.valid_to),
        "scopeGuids": sorted(request.scopes),
        "permissions": sorted(request.permissions),
        "allowedIPs": sorted(request.allowed_ips),
        "platform": sorted(map(_platform_json, request.platform), key=lambda link: sorted(link.items())),
    }
    return {name: value for name, value in body.items() if value}


def revoke_body(account_id: str | None, end: datetime | None) -> dict[str, object]:
    """Return the JSON of a revocation: the key's account and what revokes. Any other field would change the key."""
    body = {"accountId": account_id, "enabled": False, "validTo": None if end is None else format_time(end)}
    return {name: value for name, value in body.items() if value is not None}


def _parse(answer: Answer, shape: Callable[[Any], T]) -> T:
    try:
        return shape(_json(answer.body))
    except _Broken as broken:
        message = str(broken)
    # Raised here, without a cause, so that its traceback has no frame that contained the response and its values.
    raise ContractViolation(f"{answer.where}: HTTP {answer.status}, {message}")


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        head = body[:200].lstrip().lower()
    kinds = ((b"<!doctype html", "an HTML page"), (b"<html", "an HTML page"), (b"<", "XML"), (b"", "text"))
    found = next(kind for start, kind in kinds if head.startswith(start)) if head else "an empty response"
    raise _Broken(f"{found} instead of JSON")


def _page(data: Any) -> Page:
    fields = _object(data, "the page")
    paging = _object(fields.get("paging"), "paging")
    keys = [] if fields.get("apiKeys") is None else fields["apiKeys"]
    if not isinstance(keys, list):
        raise _Broken("apiKeys is not a list")
    return Page(
        keys=tuple(_key(each, f"apiKeys[{index}]") for index, each in enumerate(keys)),
        total_count=_optional(paging, "totalCount", "paging", _count),
        total_pages=_optional(paging, "totalPages", "paging", _count),
    )


_EMPTY: Final[frozenset[Any]] = frozenset()
"""One for all keys: each call of ``frozenset()`` makes another of 216 bytes."""


def _key(data: Any, path: str, created: bool = False) -> FetchedKey:
    fields = _object(data, path)
    key_id, name, enabled = fields.get("id"), fields.get("name"), fields.get("enabled")
    if not isinstance(key_id, str) or not is_key_id(key_id):
        raise _Broken(f"{path} has no id of letters, digits, '_' and '-'")
    path = f"{path} ({key_id})"
    if not isinstance(name, str):
        raise _Broken(f"{path} has no name")
    if not isinstance(enabled, bool):
        raise _Broken(f"{path} does not say whether it is enabled")
    value = _optional(fields, "apiKeySecret", path, _string)
    readable = value is not None and (is_value(value) or (created and _CREATED_VALUE.fullmatch(value) is not None))
    secret = Secret(value) if value is not None and readable else None
    key = Key(
        id=key_id,
        name=_characters(name),
        account_id=_optional(fields, "accountId", path, _account_id),
        enabled=enabled,
        valid_from=_optional(fields, "validFrom", path, _time),
        valid_to=_optional(fields, "validTo", path, _time),
        scopes=_optional(fields, "scopeGuids", path, _strings),
        permissions=_optional(fields, "permissions", path, _strings),
        allowed_ips=_optional(fields, "allowedIPs", path, _strings) or _EMPTY,
        platform=_optional(fields, "platform", path, _platform) or _EMPTY,
        value_readable=secret is not None,
        digest=None if secret is None else secret.digest(),
    )
    return FetchedKey(key, secret)


def _expected(found: FetchedKey, key_id: str | None) -> FetchedKey:
    if key_id is not None and found.key.id != key_id:
        raise _Broken(f"a different key ({found.key.id}) than the one requested")
    return found


def _token(data: Any, field: str) -> tuple[Secret, int | None]:
    fields = _object(data, "the response")
    token, kind, seconds = fields.get(field), fields.get("token_type"), fields.get("expires_in")
    if not isinstance(token, str) or not re.fullmatch(r"[!-~]{1,16384}", token):
        raise _Broken(f"{field} is not a token")
    if kind is not None and str(kind).lower() != "bearer":
        raise _Broken("token_type is not bearer")
    if seconds is not None and (type(seconds) is not int or seconds <= 0):
        raise _Broken("expires_in is not a number of seconds")
    return Secret(token), seconds


# ---- each returns one field's value, or raises ``_Broken`` with the problem as a verb phrase ------------------------


def _optional(fields: dict[str, Any], field: str, path: str, read: Callable[[Any], T]) -> T | None:
    """Return a field's value, or ``None`` if it is absent or null."""
    value = fields.get(field)
    if value is None:
        return None
    try:
        return read(value)
    except _Broken as broken:
        wrong = str(broken)
    raise _Broken(f"{path}: {field} {wrong}")


def _object(data: Any, path: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise _Broken(f"{path} is not an object")
    return data


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise _Broken("is not a count")
    return value


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise _Broken("is not a string")
    return _characters(value)


def _account_id(value: Any) -> str:
    text = _string(value)
    if contains_value(text):  # an account's id is shown
        raise _Broken("is not an account's id")
    return text


def _strings(values: Any) -> frozenset[str]:
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise _Broken("is not a list of strings")
    return _set_of(tuple(values))


@lru_cache(maxsize=1024)  # thousands of keys share a few sets of scopes
def _set_of(values: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(_characters, values))


def _time(value: Any) -> datetime:
    try:
        return parse_time(_string(value))
    except ValueError:
        raise _Broken(f"is not a time ({quoted(redact_key_values(value), 40)})") from None


def _platform(links: Any) -> frozenset[Platform]:
    if not isinstance(links, list):
        raise _Broken("is not a list")
    return frozenset(map(_link, links))


def _link(data: Any) -> Platform:
    link = _object(data, "has a link that")
    application, entity, action = (
        _optional(link, field, "has a link", _string) for field in ("applicationId", "entityId", "action")
    )
    if application is None:
        raise _Broken("has a link without applicationId")
    return Platform(application, entity, action)


def _platform_json(link: Platform) -> dict[str, str]:
    fields = {"applicationId": link.application_id, "entityId": link.entity_id, "action": link.action}
    return {name: value for name, value in fields.items() if value is not None}


def _characters(text: str) -> str:
    """Replace lone surrogates. JSON may contain them, and every later print or encode would fail on them."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def format_time(time: datetime) -> str:
    """Format a time in UTC with whole seconds and no offset. ``ValueError`` for a naive time, which is ambiguous."""
    if time.tzinfo is None:
        raise ValueError("a time without an offset")
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds")


def parse_time(text: str) -> datetime:
    """Parse a time; without an offset it is UTC. ``ValueError`` if the text is not a time."""
    # `fromisoformat` also accepts weeks and bare dates, and newer Pythons read 24:00 as the next day's 00:00.
    if not _TIME.match(text):
        raise ValueError("not a time")
    time = datetime.fromisoformat(text)
    try:
        return datetime.fromisoformat(f"{text}Z") if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time out of range") from None


# ---- refusals, in any of Infobip's formats ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Problem:
    """The details of a refusal; any part may be empty.

    :param error: the token endpoint's RFC 6749 error code, such as ``invalid_client``.
    """

    code: str = ""
    text: str = ""
    error: str = ""
    violations: tuple[tuple[str, str], ...] = ()


def read_problem(body: bytes) -> Problem:
    """Parse either JSON format or its XML form. Anything else is an empty problem. Never raises."""
    text = body.decode("utf-8", "replace")
    data = json_object(text)
    if data is None:
        found = dict(_XML.findall(text[:20_000])) if text.lstrip().startswith("<") else {}
        return Problem(
            code=found.get("messageId") or found.get("errorCode", ""),
            text=found.get("text") or found.get("description", ""),
            error=found.get("error", ""),
        )
    older = mapping_in(mapping_in(data.get("requestError")).get("serviceException"))
    listed = data.get("violations")
    each_of = map(mapping_in, listed if isinstance(listed, list) else ())
    violations = [(text_in(each.get("property")), text_in(each.get("violation"))) for each in each_of]
    for name, reasons in mapping_in(older.get("validationErrors")).items():
        violations += [(name, text_in(reason)) for reason in (reasons if isinstance(reasons, list) else [reasons])]
    return Problem(
        code=text_in(data.get("errorCode")) or text_in(older.get("messageId")),
        text=text_in(data.get("description")) or text_in(older.get("text")),
        error=text_in(data.get("error")),
        violations=tuple(pair for pair in violations[:_MOST_VIOLATIONS] if any(pair)),
    )


def message_of(answer: Answer, redactor: Redactor, problem: Problem) -> str:
    """Return one line with the call, the status and the server's message, redacted since it may quote the request."""
    parts = [part for part in (problem.code or problem.error, problem.text) if part]
    parts += [f"{name}: {reason}" if name and reason else name or reason for name, reason in problem.violations]
    details = printable(redactor.redact("; ".join(parts)).strip(), 500)  # cut last: half a secret isn't recognised
    repeated = f" ({answer.tries} tries)" if answer.tries > 1 else ""
    return f"{answer.where}: HTTP {answer.status}{f' ({details})' if details else ''}{repeated}"


def refusal(answer: Answer, redactor: Redactor, *, key_id: str | None = None) -> ProviderError:
    """Return the error for a response that is not a 2xx.

    :param key_id: the key that the path names; a 404 then means that this key does not exist.
    """
    problem = read_problem(answer.body)
    message = message_of(answer, redactor, problem)
    status = answer.status
    if status == 401:
        return BadCredentials(message)
    if status == 403:
        return MissingRole(message)
    if status == 404 and key_id is not None:
        return KeyNotFound(message, advice=f"Infobip has no key {key_id} in this account.")
    if status == 429:
        wait = answer.retry_after
        asked = "" if wait is None else f", retry after {wait.total_seconds():.0f} s"
        return ProviderThrottled(message + asked, advice="Try again later.")
    if status in (408, 425) or status >= 500:
        return ProviderUnavailable(message)
    if 400 <= status < 500:
        advice = "Check base_url in the management secret." if status in (404, 405) else ""
        return InvalidRequest(message, advice=advice)
    return ContractViolation(message)
