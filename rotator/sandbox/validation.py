"""What a create or an update may say: the body of a request, checked and parsed, or every violation at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from rotator.model import Platform
from rotator.sandbox.authentication import json_object
from rotator.sandbox.json_bodies import Refusal, Request, Violation
from rotator.sandbox.records import ip_range

PERMISSIONS: Final = frozenset({"PUBLIC_API", "2FA_CLIENT", "WEB_SDK"})
ACTIONS: Final = frozenset({"FILL", "FORCE"})


@dataclass(frozen=True, slots=True)
class KeyFields:
    """The fields of a create or an update. ``None`` is left out (or ``null``); an empty collection was sent so."""

    account_id: str | None = None
    name: str | None = None
    enabled: bool | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    scopes: frozenset[str] | None = None
    permissions: frozenset[str] | None = None
    allowed_ips: tuple[str, ...] | None = None
    platform: tuple[Platform, ...] | None = None


class _Reader:
    """Reads typed fields out of an untyped object and collects what is wrong with them."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields
        self.violations: list[Violation] = []

    def wrong(self, name: str, text: str) -> None:
        self.violations.append(Violation(name, text))

    def text(self, name: str, limit: int | None = None) -> str | None:
        value = self._fields.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip():
            self.wrong(name, "must be a text that is not empty")
            return None
        if limit is not None and len(value) > limit:
            self.wrong(name, f"must have at most {limit} characters")
        return value

    def flag(self, name: str) -> bool | None:
        value = self._fields.get(name)
        if value is not None and not isinstance(value, bool):
            self.wrong(name, "must be true or false")
            return None
        return value

    def time(self, name: str) -> datetime | None:
        value = self._fields.get(name)
        if value is None:
            return None
        moment = parse_time(value)
        if moment is None:
            self.wrong(name, "must be a time in UTC without an offset, such as 2026-09-01T10:00:00")
        return moment

    def texts(self, name: str) -> tuple[str, ...] | None:
        value = self._fields.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
            self.wrong(name, "must be a list of texts that are not empty")
            return None
        return tuple(value)

    def unique(self, name: str) -> frozenset[str] | None:
        values = self.texts(name)
        if values is None:
            return None
        if len(set(values)) != len(values):
            self.wrong(name, "must not hold an item twice")
        return frozenset(values)

    def platform(self, name: str) -> tuple[Platform, ...] | None:
        value = self._fields.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.wrong(name, "must be a list of objects")
            return None
        links = []
        for index, item in enumerate(value):
            inner = _Reader(item)
            application, entity, action = inner.text("applicationId"), inner.text("entityId"), inner.text("action")
            if application is None and not inner.violations:
                inner.wrong("applicationId", "is required")
            if action is not None and action not in ACTIONS:
                inner.wrong("action", "must be FILL or FORCE")
            self.violations += [Violation(f"{name}[{index}].{v.property}", v.violation) for v in inner.violations]
            links.append(Platform(application or "", entity, action))
        return tuple(links)


def parse_time(value: object) -> datetime | None:
    """A time in UTC written without an offset, cut to whole seconds; ``None`` for anything else."""
    if not isinstance(value, str) or len(value) < len("2026-09-01T10:00:00") or value[10] != "T":
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return None if moment.tzinfo is not None else moment.replace(microsecond=0, tzinfo=UTC)


def parse_fields(request: Request, *, name_limit: int, name_required: bool) -> KeyFields:
    """The body's fields. :class:`Refusal` 400 with every violation, or 415.

    Conflicts that depend on the key as it is are the caller's to see.
    """
    fields = json_object(request)
    reader = _Reader(fields)
    parsed = KeyFields(
        account_id=reader.text("accountId"),
        name=reader.text("name", name_limit),
        enabled=reader.flag("enabled"),
        valid_from=reader.time("validFrom"),
        valid_to=reader.time("validTo"),
        scopes=reader.unique("scopeGuids"),
        permissions=reader.unique("permissions"),
        allowed_ips=reader.texts("allowedIPs"),
        platform=reader.platform("platform"),
    )
    if name_required and fields.get("name") is None:
        reader.wrong("name", "is required")
    for permission in sorted((parsed.permissions or frozenset()) - PERMISSIONS):
        reader.wrong("permissions", f"{permission!r} is not a permission")
    if parsed.permissions and {"PUBLIC_API", "WEB_SDK"} <= parsed.permissions:
        reader.wrong("permissions", "PUBLIC_API and WEB_SDK exclude each other")
    if parsed.platform and (parsed.permissions or parsed.scopes):
        reader.wrong("platform", "excludes permissions and scopeGuids")
    for ip in parsed.allowed_ips or ():
        if not _is_range(ip):
            reader.wrong("allowedIPs", "must hold addresses or ranges of them")
    if reader.violations:
        raise Refusal(400, "Request cannot be processed", tuple(reader.violations))
    return parsed


def check_times(valid_from: datetime, valid_to: datetime, created_at: datetime) -> None:
    """:class:`Refusal` 400 where a key would end before it begins, or before it was created."""
    violations = []
    if valid_to < valid_from:
        violations.append(Violation("validTo", "must not be earlier than validFrom"))
    if valid_to < created_at:
        violations.append(Violation("validTo", "must not be earlier than the creation"))
    if violations:
        raise Refusal(400, "Request cannot be processed", tuple(violations))


def _is_range(text: str) -> bool:
    try:
        ip_range(text)
    except ValueError:
        return False
    return True
