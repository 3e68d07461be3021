"""Who is asking: Basic, IBSSO sessions, OAuth2 tokens and API keys."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qs

from rotator.sandbox.json_bodies import Refusal, Request, Response, Violation, json_response
from rotator.sandbox.records import Role, Session, SimKey, SimUser, Token
from rotator.sandbox.state import State


class Method(StrEnum):
    """How somebody authenticated."""

    BASIC = "basic"
    IBSSO = "ibsso"
    OAUTH2 = "oauth2"
    API_KEY = "key"


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who authenticated: a user, or an API key."""

    method: Method
    account_id: str
    scopes: frozenset[str]
    user: SimUser | None = None
    key: SimKey | None = None

    @property
    def label(self) -> str:
        """For the log: the method, and the user's name or the key's id."""
        who = self.user.username if self.user else self.key.id if self.key else ""
        return f"{self.method}:{who}"


INVALID = "Invalid login details"


def authenticate(state: State, request: Request) -> Principal:
    """Who sent it. :class:`Refusal` 401 for everybody that can't be known, without saying which part was wrong."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    match scheme.lower():
        case "basic":
            return _user(Method.BASIC, _basic(state, credentials))
        case "ibsso":
            return _user(Method.IBSSO, state.users[_session(state, credentials, request.remote_ip).username])
        case "bearer":
            return _user(Method.OAUTH2, _bearer(state, credentials))
        case "app":
            key = state.effective(credentials)
            if key is None or not key.works(state.clock.now(), request.remote_ip):
                raise Refusal(401, INVALID)
            return Principal(Method.API_KEY, key.account_id, key.scopes, key=key)
        case _:
            raise Refusal(401, INVALID)


def require_manager(principal: Principal, api_key_refusal: int) -> SimUser:
    """The user behind a management request. :class:`Refusal` for API keys, and 403 for users without the role."""
    if principal.user is None:
        raise Refusal(api_key_refusal, "API keys can't manage API keys")
    if principal.user.role is Role.NONE:
        raise Refusal(403, "The user has no role that may manage API keys")
    return principal.user


def create_session(state: State, request: Request) -> Response:
    """``POST /auth/1/session``; a second one is refused while one is alive."""
    fields = json_object(request)
    username, password, unsafe = fields.get("username"), fields.get("password"), fields.get("unsafe", False)
    violations = [
        Violation(name, "must be a text that is not empty")
        for name, value in (("username", username), ("password", password))
        if not isinstance(value, str) or not value
    ]
    if not isinstance(unsafe, bool | None):
        violations.append(Violation("unsafe", "must be true or false"))
    if violations:
        raise Refusal(400, "Request cannot be processed", tuple(violations))
    user = _check_password(state, str(username), str(password))
    now = state.clock.now()
    alive = [s for s in state.sessions.values() if s.username == user.username and _alive(state, s)]
    if alive:
        raise Refusal(state.options.session_busy_status, "A session exists already; destroy it first")
    session = Session(state.new_token(), user.username, request.remote_ip, bool(unsafe), now)
    state.sessions[session.token] = session
    return json_response(200, {"token": session.token})


def destroy_session(state: State, request: Request) -> Response:
    """``DELETE /auth/1/session``; only a session can end itself."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "ibsso":
        raise Refusal(401, INVALID)
    del state.sessions[_session(state, credentials, request.remote_ip).token]
    return Response(200)


def create_token(state: State, request: Request) -> Response:
    """``POST /auth/1/oauth2/token``, form-encoded."""
    require_media_type(request, "application/x-www-form-urlencoded")
    try:
        form = {name: values[0] for name, values in parse_qs(request.body.decode(), strict_parsing=True).items()}
    except ValueError:
        raise Refusal(400, "invalid_request") from None
    if not form.get("client_id") or not form.get("client_secret"):
        raise Refusal(400, "invalid_request")
    if form.get("grant_type") != "client_credentials":
        raise Refusal(400, "unsupported_grant_type")
    user = _check_password(state, form["client_id"], form["client_secret"])
    lifetime = state.options.token_lifetime
    token = Token(state.new_token(), user.username, state.clock.now() + lifetime)
    state.tokens[token.token] = token
    payload = {"access_token": token.token, "expires_in": int(lifetime.total_seconds()), "token_type": "Bearer"}
    return json_response(200, payload)


def require_media_type(request: Request, wanted: str) -> None:
    """:class:`Refusal` 415 where the body is declared to be something else."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != wanted:
        raise Refusal(415, f"The body must be {wanted}")


def json_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object. :class:`Refusal` 415 or 400 where it is none."""
    require_media_type(request, "application/json")
    try:
        fields = json.loads(request.body)
    except (ValueError, RecursionError):
        raise Refusal(400, "The body is not JSON") from None
    if not isinstance(fields, dict):
        raise Refusal(400, "The body is not a JSON object")
    return fields


def _user(method: Method, user: SimUser) -> Principal:
    return Principal(method, user.account_id, user.scopes, user=user)


def _basic(state: State, credentials: str) -> SimUser:
    try:
        text = base64.b64decode(credentials, validate=True).decode()
    except (binascii.Error, ValueError):
        raise Refusal(401, INVALID) from None
    username, _, password = text.partition(":")
    return _check_password(state, username, password)


def _check_password(state: State, username: str, password: str) -> SimUser:
    user = state.users.get(username)
    if user is None or not hmac.compare_digest(user.password.encode(), password.encode()):
        raise Refusal(401, INVALID)
    return user


def _alive(state: State, session: Session) -> bool:
    return state.clock.now() - session.last_used < state.options.session_idle


def _session(state: State, token: str, ip: str) -> Session:
    session = state.sessions.get(token)
    if session is None or not _alive(state, session) or (session.ip != ip and not session.unsafe):
        raise Refusal(401, INVALID)
    session.last_used = state.clock.now()
    return session


def _bearer(state: State, credentials: str) -> SimUser:
    token = state.tokens.get(credentials)
    if token is None or state.clock.now() >= token.expires_at:
        raise Refusal(401, INVALID)
    return state.users[token.username]
