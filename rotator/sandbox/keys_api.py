"""The four operations on keys: list, create, read, update."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from rotator.model import Platform
from rotator.sandbox.exchange import JSON_HEADERS, Refusal, Request, Response, Violation, json_response
from rotator.sandbox.state import SimKey, SimUser, WorldState, default_permissions
from rotator.sandbox.validation import KeyFields, Reader, check_times, parse_fields

DEFAULT_LIFETIME: Final = timedelta(days=365)
MAX_PAGE: Final = 100
MAX_SIZE: Final = 100
_ORDER: Final[dict[str, Callable[[SimKey], tuple[str, str]]]] = {
    "id": lambda key: (key.id, ""),
    "name": lambda key: (key.name, key.id),
    "validFrom": lambda key: (key.valid_from.isoformat(), key.id),
    "validTo": lambda key: (key.valid_to.isoformat(), key.id),
    "enabled": lambda key: (str(key.enabled), key.id),
}


def list_keys(state: WorldState, user: SimUser, request: Request) -> Response:
    """``GET /settings/2/api-keys``: one account's keys, filtered, in pages."""
    query = Reader(request.query)
    page = query.number("page", 0, 0, MAX_PAGE)
    size = query.number("size", MAX_SIZE, 1, MAX_SIZE)
    order = query.choice("orderBy", tuple(_ORDER)) or "id"
    direction = query.choice("orderDirection", ("asc", "desc")) or "asc"
    enabled = query.choice("enabled", ("true", "false"))
    query.check()
    account_id = _account(state, user, request.query.get("accountId"))
    listed = [account_id]
    if state.options.list_sub_accounts and "accountId" not in request.query:
        listed += [account.id for account in state.accounts.values() if account.parent == account_id]
    name, value = request.query.get("name"), request.query.get("apiKeySecret")
    shown_until = state.clock.now() - state.options.listing_delay
    found = [
        key
        for each in listed
        for key in state.by_account.get(each, {}).values()
        if (name is None or _name_matches(state, key.name, name))
        and (value is None or key.value == value)
        and (enabled is None or key.enabled == (enabled == "true"))
        and (not state.options.listing_delay or key.created_at <= shown_until)
    ]
    found.sort(key=_ORDER[order], reverse=direction == "desc")
    paging: dict[str, object] = {
        "page": page,
        "pageSize": size,
        "orderDirection": direction,
        "totalCount": len(found),
        "totalPages": -(-len(found) // size),
    }
    if "orderBy" in request.query:
        paging["orderBy"] = order
    keys = ", ".join(_rendered(key, state.options.reveal) for key in found[page * size : (page + 1) * size])
    body = f'{{"apiKeys": [{keys}], "paging": {json.dumps(paging)}}}'
    return Response(200, dict(JSON_HEADERS), body.encode())


@functools.lru_cache(maxsize=20_000)
def _rendered(key: SimKey, reveal: bool) -> str:
    """Return a key's JSON. Cached, since a simulation of years lists the same keys thousands of times."""
    return json.dumps(render(key, reveal=reveal), ensure_ascii=False)


def create_key(state: WorldState, user: SimUser, request: Request) -> Response:
    """``POST /settings/2/api-keys``. The defaults are generous: a year, and every scope of the user."""
    _within_day(state, state.creates, user.account_id, state.options.daily_creates)
    fields = parse_fields(request, "name")
    account_id = _account(state, user, fields.account_id)
    now = state.clock.now().replace(microsecond=0)
    valid_from = fields.valid_from or now
    if valid_from < now:
        raise Refusal(400, violations=(Violation("validFrom", "must not be in the past"),))
    valid_to = fields.valid_to or now + DEFAULT_LIFETIME
    check_times(valid_from, valid_to, now)
    platform = fields.platform or ()
    _check_platform_account(state, user, account_id, platform)
    scopes = fields.scopes
    if not scopes:  # an empty list counts as none
        scopes = frozenset() if platform else user.scopes
    key = SimKey(
        id=state.new_id(),
        value=state.new_value(),
        account_id=account_id,
        name=fields.name or "",
        created_at=now,
        valid_from=valid_from,
        valid_to=valid_to,
        scopes=scopes,
        permissions=fields.permissions or default_permissions(platform),
        allowed_ips=fields.allowed_ips or (),
        platform=platform,
    )
    state.store(key)
    state.count(state.creates, user.account_id)
    return json_response(200, render(key, reveal=True))


def get_key(state: WorldState, user: SimUser, key_id: str) -> Response:
    """``GET /settings/2/api-keys/{id}``."""
    return json_response(200, render(_find(state, user, key_id), reveal=state.options.reveal))


def update_key(state: WorldState, user: SimUser, key_id: str, request: Request) -> Response:
    """``PUT /settings/2/api-keys/{id}``: omitted fields stay, an empty list clears."""
    key = _find(state, user, key_id)
    _within_day(state, state.updates, user.account_id, state.options.daily_updates)
    fields = parse_fields(request)
    _check_account(state, user, key, fields.account_id)
    now = state.clock.now()
    if state.options.refuse_past_end and fields.valid_to is not None and fields.valid_to <= now:
        raise Refusal(400, violations=(Violation("validTo", "must not be in the past"),))
    sent = {name: getattr(fields, name) for name in ("name", "enabled", "valid_from", "valid_to", "allowed_ips")}
    given = {name: value for name, value in sent.items() if value is not None}
    changed = replace(_apply_grants(state, user, key, fields), account_id=fields.account_id or user.account_id, **given)
    if fields.valid_from is not None or fields.valid_to is not None:
        check_times(changed.valid_from, changed.valid_to, changed.created_at)
    state.store(changed)
    state.count(state.updates, user.account_id)
    return json_response(200, render(changed, reveal=state.options.reveal))


def render(key: SimKey, *, reveal: bool) -> dict[str, Any]:
    """Return a key as the API shows it. A linked key has ``platform`` in place of permissions and scopes."""
    shown: dict[str, Any] = {
        "id": key.id,
        "apiKeySecret": key.value if reveal else mask(key.value),
        "accountId": key.account_id,
        "name": key.name,
        "allowedIPs": list(key.allowed_ips),
        "validFrom": f"{key.valid_from:%Y-%m-%dT%H:%M:%S}",
        "validTo": f"{key.valid_to:%Y-%m-%dT%H:%M:%S}",
        "enabled": key.enabled,
    }
    if key.platform:
        shown["platform"] = [_render_link(key.id, link) for link in key.platform]
    else:
        shown["permissions"] = sorted(key.permissions)
        shown["scopeGuids"] = sorted(key.scopes)
    return shown


def mask(value: str) -> str:
    """Return the mask that replaces a value."""
    return "*" * 8 + value[-4:]


def _render_link(key_id: str, link: Platform) -> dict[str, str]:
    association = hashlib.sha256(f"{key_id}/{link.application_id}/{link.entity_id}".encode()).hexdigest()
    shown = {"key": association[:32].upper(), "applicationId": link.application_id}
    if link.entity_id is not None:
        shown["entityId"] = link.entity_id
    if link.action is not None:
        shown["action"] = link.action
    return shown


def _apply_grants(state: WorldState, user: SimUser, key: SimKey, fields: KeyFields) -> SimKey:
    """Return the key with its scopes, permissions and links after an update."""
    if fields.platform:
        _check_platform_account(state, user, key.account_id, fields.platform)
        return replace(key, platform=fields.platform, permissions=frozenset(), scopes=frozenset())
    linked = bool(key.platform) and fields.platform is None
    if linked and (fields.permissions or fields.scopes):
        violation = Violation("platform", "the key is linked to applications; unlink it first")
        raise Refusal(400, violations=(violation,))
    if linked:
        return key
    permissions = key.permissions if fields.permissions is None else fields.permissions
    return replace(
        key,
        platform=(),
        permissions=permissions or default_permissions(()),
        scopes=key.scopes if fields.scopes is None else fields.scopes,
    )


def _account(state: WorldState, user: SimUser, account_id: str | None) -> str:
    if account_id is None or account_id == user.account_id:
        return user.account_id
    account = state.accounts.get(account_id)
    if account is None or account.parent != user.account_id:
        raise Refusal(403, "The user may not manage this account")
    return account_id


def _find(state: WorldState, user: SimUser, key_id: str) -> SimKey:
    key = state.keys.get(key_id)
    if key is None:
        raise _not_found()
    if key.account_id != user.account_id and state.accounts[key.account_id].parent != user.account_id:
        raise _not_found()  # other accounts' keys are not revealed
    return key


def _check_account(state: WorldState, user: SimUser, key: SimKey, account_id: str | None) -> None:
    """Check an update's ``accountId``. Without it, the key gets the account of the user, which may be rejected."""
    if account_id is not None and state.options.refuse_account is not None:
        raise Refusal(state.options.refuse_account, "accountId cannot be updated")
    if account_id is not None and account_id != key.account_id:
        raise _not_found()
    moves = account_id is None and key.account_id != user.account_id
    if moves and state.options.refuse_missing_account:
        raise Refusal(400, violations=(Violation("accountId", "is required for a key of a sub-account"),))


def _not_found() -> Refusal:
    return Refusal(404, "No such API key")


def _check_platform_account(state: WorldState, user: SimUser, account_id: str, platform: tuple[Platform, ...]) -> None:
    if platform and (account_id != user.account_id or state.accounts[account_id].parent is not None):
        violation = Violation("platform", "only keys of the user's own main account can be linked")
        raise Refusal(400, violations=(violation,))


def _within_day(state: WorldState, log: dict[str, list[datetime]], account_id: str, limit: int | None) -> None:
    if limit is not None and state.used(log, account_id) >= limit:
        seconds = int(state.frees_in(log, account_id, limit).total_seconds()) + 1
        headers = {"Retry-After": str(seconds)} if state.options.retry_after else {}
        raise Refusal(429, "Too many requests", headers=headers)


def _name_matches(state: WorldState, name: str, wanted: str) -> bool:
    if state.options.name_contains:
        return wanted.casefold() in name.casefold()
    return name == wanted
