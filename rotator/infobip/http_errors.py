"""Translates Infobip's error responses, in all their formats, into our errors, without any secret that they quote."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

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
from rotator.redaction.redactor import Redactor
from rotator.text import printable

_MOST: Final = 10
_XML: Final = re.compile(r"<(messageId|errorCode|text|description|error)>\s*([^<]{1,500})</\1>")


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
        violations=tuple(pair for pair in violations[:_MOST] if any(pair)),
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
