"""Parses the management secret's value strictly. Errors quote only field names and the host, never other parts."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from rotator.decoding import json_object
from rotator.errors import ConfigurationError
from rotator.secret import Secret


class AuthMethod(StrEnum):
    """How the management calls authenticate (``auth`` in the management secret)."""

    BASIC = "basic"
    IBSSO = "ibsso"
    OAUTH2 = "oauth2"


@dataclass(frozen=True, slots=True)
class Credentials:
    """One Infobip account's management credentials. ``base_url`` has no trailing slash."""

    base_url: str
    username: str
    password: Secret
    auth: AuthMethod = AuthMethod.BASIC
    account_id: str | None = None


_SHAPE: Final = "a JSON object with the fields base_url, username and password"
INFOBIP_HOSTS: Final = "*.api.infobip.com"
_BASE_URL: Final = re.compile(
    r"(https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?)/?", re.IGNORECASE | re.ASCII
)


def parse_credentials(secret_name: str, text: Secret, allowed_hosts: Sequence[str] = ()) -> Credentials:
    """Read the value of a management secret.

    :param secret_name: for messages.
    :param text: the secret's whole value.
    :param allowed_hosts: further hosts that ``base_url`` may name besides Infobip's and loopback; patterns such as
        ``*.example.com`` are allowed. Write access to the secret alone must not redirect passwords and keys.
    :raises ConfigurationError: names the secret, the field, the problem and the fix, never a part of the value.
    """
    try:
        return _credentials(text, allowed_hosts)
    except _Wrong as wrong:
        problem, fix = wrong.args
    # Raised here, without a cause, so that its traceback has no frame that contained the value.
    raise ConfigurationError(f"management secret {secret_name!r}: {problem}", advice=fix)


class _Wrong(Exception):
    """Carries (problem, fix) up to the function that raises."""


def _credentials(text: Secret, allowed_hosts: Sequence[str]) -> Credentials:
    value = json_object(text.reveal())
    if value is None:
        raise _Wrong("the value is not a JSON object", f"Store {_SHAPE}.")
    username = _text(value, "username")
    password = _text(value, "password")
    try:
        auth = AuthMethod(_text(value, "auth", default=AuthMethod.BASIC.value))
    except ValueError:
        raise _Wrong("the field auth must be basic, ibsso or oauth2", "Set one of them, or omit the field.") from None
    if auth is AuthMethod.BASIC and ":" in username:
        raise _Wrong(
            "the field username contains a ':', which Basic auth does not support", "Use another user, or auth ibsso."
        )
    account_id = _text(value, "account_id", default="")
    return Credentials(
        base_url=_base_url(_text(value, "base_url"), allowed_hosts),
        username=username,
        password=Secret(password),
        auth=auth,
        account_id=account_id or None,
    )


def _text(value: dict[str, Any], field: str, default: str | None = None) -> str:
    text = value.get(field)
    if text is None:
        if default is None:
            raise _Wrong(f"the field {field} is missing", f"Store {_SHAPE}.")
        return default
    if not isinstance(text, str):
        raise _Wrong(f"the field {field} is not a string", "Put it in double quotes.")
    if not text.strip():
        raise _Wrong(f"the field {field} is empty", "Set it, or omit it if it is optional.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _Wrong(
            f"the field {field} contains an invalid Unicode character (lone surrogate)", "Store it again."
        ) from None
    return text


def _base_url(text: str, allowed_hosts: Sequence[str]) -> str:
    fix = "Use the account's own base URL, such as https://xxxxxx.api.infobip.com."
    match = _BASE_URL.fullmatch(text)
    url = match[1].lower() if match is not None else ""
    try:
        parts = urlsplit(url)
        host, valid = parts.hostname or "", parts.port != 0
    except ValueError:
        host, valid = "", False
    if not host or not valid:
        raise _Wrong("the field base_url must be https:// and a host, optionally with a port", fix)
    if _loopback(host):
        return url
    if url.startswith("http:"):
        raise _Wrong(f"the field base_url uses http:// for {host}, which would expose the password", "Use https.")
    if not any(_matches(host, allowed) for allowed in (INFOBIP_HOSTS, *allowed_hosts)):
        raise _Wrong(
            f"the field base_url has the host {host}, which is not {INFOBIP_HOSTS}; nothing was sent to it",
            f"{fix} If this host may receive the password and keys, add it to ROTATOR_ALLOWED_HOSTS.",
        )
    return url


def _matches(host: str, allowed: str) -> bool:
    return host.endswith(allowed[1:]) if allowed.startswith("*.") else host == allowed


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
