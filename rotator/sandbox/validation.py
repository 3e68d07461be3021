"""Parse the fields of a listing, a create or an update, or reject them with every violation at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from rotator.model import Platform
from rotator.sandbox.exchange import Refusal, Request, Violation
from rotator.sandbox.state import ip_range

NAME_LIMIT: Final = 255
PERMISSIONS: Final = frozenset({"PUBLIC_API", "2FA_CLIENT", "WEB_SDK"})


class Reader:
    """Reads typed values out of a query or an untyped object, and collects what is wrong with them.

    Each method returns ``None`` (or the default) if a value is missing or wrong.
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields
        self.violations: list[Violation] = []

    def check(self) -> None:
        """Raise :class:`Refusal` 400 if anything was wrong."""
        if self.violations:
            raise Refusal(400, violations=tuple(self.violations))

    def wrong(self, name: str, text: str) -> None:
        """Add a violation."""
        self.violations.append(Violation(name, text))

    def require(self, *names: str) -> None:
        """Add a violation for each of these that is missing."""
        for name in names:
            if self._fields.get(name) is None:
                self.wrong(name, "is required")

    def _checked(self, name: str, valid: Callable[[Any], bool], wrong: str) -> Any:
        """Return the value; ``None`` if it is missing or not valid."""
        value = self._fields.get(name)
        if value is None or valid(value):
            return value
        self.wrong(name, wrong)
        return None

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """A query's whole number within bounds."""
        within = range(low, high + 1)
        wrong = f"must be a whole number from {low} to {high}"
        text = self._checked(name, lambda t: t.isascii() and t.isdigit() and len(t) < 10 and int(t) in within, wrong)
        return default if text is None else int(text)

    def choice(self, name: str, allowed: tuple[str, ...]) -> str | None:
        """A query's word out of a few, upper or lower case."""
        words = {word.lower(): word for word in allowed}
        text = self._checked(name, lambda text: text.lower() in words, f"must be one of {', '.join(allowed)}")
        return None if text is None else words[text.lower()]

    def text(self, name: str, limit: int | None = None) -> str | None:
        """A text that is not blank."""
        value: str | None = self._checked(name, _is_text, "must be a text that is not empty")
        if value is not None and limit is not None and len(value) > limit:
            self.wrong(name, f"must have at most {limit} characters")
        return value

    def flag(self, name: str) -> bool | None:
        """True or false."""
        value: bool | None = self._checked(name, lambda value: isinstance(value, bool), "must be true or false")
        return value

    def time(self, name: str) -> datetime | None:
        """A time in UTC without an offset, cut to whole seconds."""
        wrong = "must be a time in UTC without an offset, such as 2026-09-01T10:00:00"
        value = self._checked(name, _is_time, wrong)
        return None if value is None else datetime.fromisoformat(value).replace(microsecond=0, tzinfo=UTC)

    def texts(self, name: str) -> tuple[str, ...] | None:
        """A list of texts that are not blank."""
        value = self._checked(name, lambda v: _is_list(v, _is_text), "must be a list of texts that are not empty")
        return None if value is None else tuple(value)

    def unique(self, name: str) -> frozenset[str] | None:
        """A list of texts without duplicates."""
        values = self.texts(name)
        if values is not None and len(set(values)) != len(values):
            self.wrong(name, "must not hold an item twice")
        return None if values is None else frozenset(values)

    def platform(self, name: str) -> tuple[Platform, ...] | None:
        """Links to applications and entities."""
        value = self._checked(name, lambda v: _is_list(v, lambda i: isinstance(i, dict)), "must be a list of objects")
        if value is None:
            return None
        links = []
        for index, item in enumerate(value):
            inner = Reader(item)
            inner.require("applicationId")
            application, entity, action = inner.text("applicationId"), inner.text("entityId"), inner.text("action")
            if action not in (None, "FILL", "FORCE"):
                inner.wrong("action", "must be FILL or FORCE")
            self.violations += [Violation(f"{name}[{index}].{v.property}", v.violation) for v in inner.violations]
            links.append(Platform(application or "", entity, action))
        return tuple(links)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_list(value: Any, of: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(of, value))


def _is_time(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is None and value[10] == "T"
    except (TypeError, ValueError, IndexError):
        return False


@dataclass(frozen=True, slots=True)
class KeyFields:
    """The fields of a create or an update. ``None`` means omitted (or ``null``); an empty collection was sent empty."""

    account_id: str | None
    name: str | None
    enabled: bool | None
    valid_from: datetime | None
    valid_to: datetime | None
    scopes: frozenset[str] | None
    permissions: frozenset[str] | None
    allowed_ips: tuple[str, ...] | None
    platform: tuple[Platform, ...] | None


def parse_fields(request: Request, *required: str) -> KeyFields:
    """Return the body's fields. :class:`Refusal` 400 with every violation, or 415.

    The caller checks for conflicts with the present key.
    """
    reader = Reader(request.json_object())
    reader.require(*required)
    parsed = KeyFields(
        account_id=reader.text("accountId"),
        name=reader.text("name", NAME_LIMIT),
        enabled=reader.flag("enabled"),
        valid_from=reader.time("validFrom"),
        valid_to=reader.time("validTo"),
        scopes=reader.unique("scopeGuids"),
        permissions=reader.unique("permissions"),
        allowed_ips=reader.texts("allowedIPs"),
        platform=reader.platform("platform"),
    )
    for permission in sorted((parsed.permissions or frozenset()) - PERMISSIONS):
        reader.wrong("permissions", f"{permission!r} is not a permission")
    if parsed.permissions and {"PUBLIC_API", "WEB_SDK"} <= parsed.permissions:
        reader.wrong("permissions", "PUBLIC_API and WEB_SDK cannot be used together")
    if parsed.platform and (parsed.permissions or parsed.scopes):
        reader.wrong("platform", "excludes permissions and scopeGuids")
    for ip in parsed.allowed_ips or ():
        try:
            ip_range(ip)
        except ValueError:
            reader.wrong("allowedIPs", "must hold addresses or ranges of them")
    reader.check()
    return parsed


def check_times(valid_from: datetime, valid_to: datetime, created_at: datetime) -> None:
    """Raise :class:`Refusal` 400 if a key would expire before it starts, or before it was created."""
    for moment, what in ((valid_from, "validFrom"), (created_at, "the creation")):
        if valid_to < moment:
            raise Refusal(400, violations=(Violation("validTo", f"must not be earlier than {what}"),))
