"""Authentication of callers: Basic, IBSSO sessions, OAuth2 tokens and API keys."""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import parse_qs

from rotator.sandbox.exchange import Refusal, Request, Response, json_response
from rotator.sandbox.state import SESSION_TIMEOUT, Session, SimUser, Token, WorldState
from rotator.sandbox.validation import Reader

INVALID: Final = "Invalid login details"
TOKEN_LIFETIME: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller who authenticated: a user, or an API key.

    :param label: for the log: the method, and the user's name or the key's id, such as ``basic:ops``.
    """

    label: str
    account_id: str
    scopes: frozenset[str]
    user: SimUser | None = None

    @staticmethod
    def of(method: str, user: SimUser) -> Principal:
        """A user."""
        return Principal(f"{method}:{user.username}", user.account_id, user.scopes, user)


def authenticate(state: WorldState, request: Request) -> Principal:
    """Return who sent the request. :class:`Refusal` 401 for an unknown caller, the same for every wrong part."""
    scheme, credentials = _credentials(request)
    match scheme:
        case "basic":
            return Principal.of(scheme, _basic(state, credentials))
        case "ibsso":
            return Principal.of(scheme, state.users[_session(state, credentials, request.remote_ip).username])
        case "bearer":
            token = state.tokens.get(credentials)
            if token is not None and state.clock.now() < token.expires_at:
                return Principal.of("oauth2", state.users[token.username])
        case "app":
            key = state.effective(credentials)
            if key is not None and key.works(state.clock.now(), request.remote_ip):
                return Principal(f"key:{key.id}", key.account_id, key.scopes)
    raise Refusal(401, INVALID)


def require_manager(principal: Principal) -> SimUser:
    """Return a management request's user. :class:`Refusal` for API keys, and 403 for users without the role."""
    if principal.user is None:
        raise Refusal(401, "API keys can't manage API keys")
    if not principal.user.manages_keys:
        raise Refusal(403, "The user has no role that may manage API keys")
    return principal.user


def create_session(state: WorldState, request: Request) -> Response:
    """``POST /auth/1/session``; a second one is rejected while one is open."""
    reader = Reader(request.json_object())
    unsafe, username, password = reader.flag("unsafe"), reader.text("username"), reader.text("password")
    reader.require("username", "password")
    reader.check()
    user = _check_password(state, username or "", password or "")
    if any(s.username == user.username and _is_alive(state, s) for s in state.sessions.values()):
        raise Refusal(state.options.session_busy_status, "A session exists already; destroy it first")
    session = Session(state.new_token(), user.username, request.remote_ip, bool(unsafe), state.clock.now())
    state.sessions[session.token] = session
    return json_response(200, {"token": session.token})


def destroy_session(state: WorldState, request: Request) -> Response:
    """``DELETE /auth/1/session``; only a session can end itself."""
    scheme, credentials = _credentials(request)
    if scheme != "ibsso":
        raise Refusal(401, INVALID)
    del state.sessions[_session(state, credentials, request.remote_ip).token]
    return Response(200)


def create_token(state: WorldState, request: Request) -> Response:
    """``POST /auth/1/oauth2/token``, form-encoded."""
    request.require_media_type("application/x-www-form-urlencoded")
    try:
        form = {name: values[0] for name, values in parse_qs(request.body.decode(), strict_parsing=True).items()}
    except ValueError:
        raise Refusal(400, "invalid_request") from None
    if not form.get("client_id") or not form.get("client_secret"):
        raise Refusal(400, "invalid_request")
    if form.get("grant_type") != "client_credentials":
        raise Refusal(400, "unsupported_grant_type")
    user = _check_password(state, form["client_id"], form["client_secret"])
    token = Token(state.new_token(), user.username, state.clock.now() + TOKEN_LIFETIME)
    state.tokens[token.token] = token
    seconds = int(TOKEN_LIFETIME.total_seconds())
    return json_response(200, {"access_token": token.token, "expires_in": seconds, "token_type": "Bearer"})


def _credentials(request: Request) -> tuple[str, str]:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    return scheme.lower(), credentials


def _basic(state: WorldState, credentials: str) -> SimUser:
    try:
        text = base64.b64decode(credentials, validate=True).decode()
    except (binascii.Error, ValueError):
        raise Refusal(401, INVALID) from None
    username, _, password = text.partition(":")
    return _check_password(state, username, password)


def _check_password(state: WorldState, username: str, password: str) -> SimUser:
    user = state.users.get(username)
    if user is None or not hmac.compare_digest(user.password.encode(), password.encode()):
        raise Refusal(401, INVALID)
    return user


def _is_alive(state: WorldState, session: Session) -> bool:
    return state.clock.now() - session.last_used < SESSION_TIMEOUT


def _session(state: WorldState, token: str, ip: str) -> Session:
    session = state.sessions.get(token)
    if session is None or not _is_alive(state, session) or (session.ip != ip and not session.unsafe):
        raise Refusal(401, INVALID)
    session.last_used = state.clock.now()
    return session
