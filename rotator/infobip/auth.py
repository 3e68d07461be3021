"""Authentication: one small ``requests`` auth class per method. Tokens are fetched on first use and renewed in time."""

from __future__ import annotations

import logging
import re
import threading
from abc import abstractmethod
from base64 import b64encode
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from requests import PreparedRequest

from rotator.errors import BadCredentials, InvalidRequest, ProviderError, SessionBusy
from rotator.infobip.credentials import AuthMethod, Credentials
from rotator.infobip.http import Answer, ApiCall, Effort, ManagementAuth, Transport
from rotator.infobip.wire import Problem, message_of, parse_token, read_problem, refusal
from rotator.ports import Clock
from rotator.redaction.redactor import Redactor
from rotator.secret import Secret

_LOG = logging.getLogger(__name__)
SESSION_PATH: Final = "/auth/1/session"
TOKEN_PATH: Final = "/auth/1/oauth2/token"
SESSION_IDLE: Final = timedelta(minutes=55)
"""A session expires after 60 idle minutes. After this idle time it is replaced, to be safe."""
LONGEST_TOKEN: Final = timedelta(days=1)
"""A token is never kept longer, even if its ``expires_in`` is longer."""

_NO_SESSION: Final = frozenset({404, 405, 408, 413, 415, 425})
"""Login refusals that an open session cannot cause, such as a wrong address or a timeout."""
_CREDENTIALS: Final = frozenset({"UNAUTHORIZED", "E401"})
_NOT_CREDENTIALS: Final = frozenset({"", "invalid_request", "unsupported_grant_type", "invalid_scope"})
"""RFC 6749 error codes for a login that fails for reasons other than its credentials."""


class HeaderAuth(ManagementAuth):
    """A header that never changes."""

    def __init__(self, header: str) -> None:
        self._header = Secret(header)

    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        """Set the header."""
        r.headers["Authorization"] = self._header.reveal()
        return r


class BasicAuth(HeaderAuth):
    """``Basic``, in UTF-8. The user name must not contain a ``:``; the password may contain anything."""

    def __init__(self, credentials: Credentials, redactor: Redactor) -> None:
        password = credentials.password.reveal()
        encoded = b64encode(f"{credentials.username}:{password}".encode()).decode()
        redactor.learn(password)
        redactor.learn(encoded)
        super().__init__(f"Basic {encoded}")


class ApiKeyAuth(HeaderAuth):
    """``App``: an API key, as consumers send it. For the probe only: management calls do not accept it.

    :raises ValueError: the value contains characters that HTTP headers do not allow.
    """

    def __init__(self, value: Secret) -> None:
        if not re.fullmatch(r"[!-~]+", value.reveal()):
            raise ValueError("the value contains characters that HTTP headers do not allow")
        super().__init__(f"App {value.reveal()}")


class _TokenAuth(ManagementAuth):
    """A header that is fetched, kept while it is valid, and fetched again after a 401.

    :param unsafe: the session is not bound to the caller's address.
    :param in_emergency: a login is tried only once, with a short timeout.
    """

    def __init__(
        self,
        credentials: Credentials,
        transport: Transport,
        clock: Clock,
        redactor: Redactor,
        *,
        unsafe: bool,
        in_emergency: bool,
    ) -> None:
        redactor.learn(credentials.password.reveal())
        self._credentials = credentials
        self._transport = transport
        self._clock = clock
        self._redactor = redactor
        self._unsafe = unsafe
        self._in_emergency = in_emergency
        self._lock = threading.RLock()
        self._header: Secret | None = None
        self._good_until: datetime | None = None

    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        """Set the header. Fetch it first if there is none or if it expires soon."""
        with self._lock:
            if self._good_until is not None and self._clock.now() >= self._good_until:
                self._drop()
            if self._header is None:
                self._log_in()
            assert self._header is not None
            r.headers["Authorization"] = self._header.reveal()
            self._used()
        return r

    def refused(self, r: PreparedRequest) -> bool:
        """Drop the header that was refused, unless another thread has done so already."""
        with self._lock:
            if self._header is not None and self._header.reveal() == r.headers.get("Authorization"):
                self._drop()
        return True

    @abstractmethod
    def _log_in(self) -> None: ...

    def _used(self) -> None:
        return

    def _drop(self) -> None:
        self._header = None

    def _fetch(self, call: ApiCall, scheme: str, field: str) -> int | None:
        """Log in and set the header. Return how many seconds it is valid, or ``None`` if the response does not say."""
        call = replace(call, effort=Effort.ONCE if self._in_emergency else call.effort, quick=self._in_emergency)
        answer = self._transport.call(call)
        if not answer.ok:
            raise self._refusal(answer, read_problem(answer.body))
        token, seconds = parse_token(answer, field)
        self._redactor.learn(token.reveal())
        self._header = Secret(f"{scheme} {token.reveal()}")
        return seconds

    def _refusal(self, answer: Answer, problem: Problem) -> ProviderError:
        about_them = problem.code.upper() in _CREDENTIALS or problem.error not in _NOT_CREDENTIALS
        if answer.status == 403 or (answer.status == 400 and about_them):
            return BadCredentials(message_of(answer, self._redactor, problem))
        return refusal(answer, self._redactor)


class IbssoAuth(_TokenAuth):
    """``IBSSO``: a session opened on first use. Only one can be open, so the old one is closed before a new login."""

    def close(self) -> None:
        """Destroy the session. If that fails, the session expires after 60 idle minutes."""
        with self._lock:
            self._drop()

    def _log_in(self) -> None:
        body = {"username": self._credentials.username, "password": self._credentials.password, "unsafe": self._unsafe}
        # Never repeated after a lost response: the first session may be open, and then a second one is refused.
        self._fetch(ApiCall("POST", SESSION_PATH, body=body, effort=Effort.UNLESS_DONE), "IBSSO", "token")

    def _refusal(self, answer: Answer, problem: Problem) -> ProviderError:
        error = super()._refusal(answer, problem)
        if isinstance(error, InvalidRequest) and not problem.violations and answer.status not in _NO_SESSION:
            return SessionBusy(f"{error.message}; an earlier session of this user still seems to be open")
        return error

    def _used(self) -> None:
        self._good_until = self._clock.now() + SESSION_IDLE

    def _drop(self) -> None:
        header, self._header, self._good_until = self._header, None, None
        if header is not None:
            with suppress(ProviderError):  # it no longer exists, or expires
                call = ApiCall("DELETE", SESSION_PATH, effort=Effort.UNLESS_DONE, quick=self._in_emergency)
                self._transport.call(call, HeaderAuth(header.reveal()))


class OAuth2Auth(_TokenAuth):
    """``Bearer``: a token from the client credentials grant, renewed before its ``expires_in`` runs out."""

    def _log_in(self) -> None:
        form: dict[str, str | Secret] = {
            "client_id": self._credentials.username,
            "client_secret": self._credentials.password,
            "grant_type": "client_credentials",
        }
        requested_at = self._clock.now()
        seconds = self._fetch(ApiCall("POST", TOKEN_PATH, form=form), "Bearer", "access_token")
        life = LONGEST_TOKEN if seconds is None else min(timedelta(seconds=min(seconds, 10**6)), LONGEST_TOKEN)
        self._good_until = requested_at + life - min(timedelta(seconds=60), life / 10)


class FallbackAuth(ManagementAuth):
    """Uses a login until it fails once, and then Basic with the same credentials.

    For emergencies: a leaked key must not stay enabled because another process has the session open (or crashed while
    it had), or because the login endpoint is down.
    """

    def __init__(self, login: _TokenAuth, basic: BasicAuth) -> None:
        self._login = login
        self._basic = basic
        self._failure: str | None = None

    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        """Set the login's header, or Basic's if the login has failed."""
        if self._failure is None:
            try:
                return self._login(r)
            except ProviderError as error:
                self._fall_back(error.message)
        return self._basic(r)

    def refused(self, r: PreparedRequest) -> bool:
        """Use Basic from now on, rather than renew the login.

        :raises BadCredentials: Basic was refused as well.
        """
        if self._failure is not None and r.headers.get("Authorization", "").startswith("Basic "):
            raise BadCredentials(f"{self._failure}; Basic auth with the same credentials also returned HTTP 401")
        if self._failure is None:
            self._fall_back("the login succeeded, but its token was rejected with HTTP 401")
        return True

    def close(self) -> None:
        """End the session, if there is one."""
        self._login.close()

    def _fall_back(self, failure: str) -> None:
        self._failure = failure
        _LOG.warning("login failed; falling back to Basic auth with the same credentials: %s", failure)


def management_auth(
    credentials: Credentials,
    transport: Transport,
    clock: Clock,
    redactor: Redactor,
    *,
    unsafe_sessions: bool = False,
    fall_back_to_basic: bool = False,
) -> ManagementAuth:
    """Return the authentication method that the credentials name.

    :param fall_back_to_basic: use Basic after a failed login, unless Basic cannot send the user name.
    """
    if credentials.auth is AuthMethod.BASIC:
        return BasicAuth(credentials, redactor)
    falls_back = fall_back_to_basic and ":" not in credentials.username
    kind = IbssoAuth if credentials.auth is AuthMethod.IBSSO else OAuth2Auth
    login: _TokenAuth = kind(credentials, transport, clock, redactor, unsafe=unsafe_sessions, in_emergency=falls_back)
    return FallbackAuth(login, BasicAuth(credentials, redactor)) if falls_back else login
