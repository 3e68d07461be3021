"""The simulated Infobip, independent of any connection: a request in, a response (or none) out."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from email.utils import format_datetime
from typing import Any, Final

from rotator.model import Platform
from rotator.sandbox import authentication as auth
from rotator.sandbox import keys_api
from rotator.sandbox.clocks import OffsetClock
from rotator.sandbox.exchange import Drop, Refusal, Request, Response, error_response, json_response
from rotator.sandbox.state import (
    DEFAULT_SCOPES,
    LIMIT_PERIOD,
    LoggedCall,
    Options,
    SimAccount,
    SimKey,
    SimUser,
    WorldState,
    announced,
    default_permissions,
)

KEYS_API: Final = "/settings/2/api-keys"

Observer = Callable[[Request, Response], None]
Answering = Callable[[Request], Response]
Network = Callable[[Request, Answering], Response | Drop]
"""What is between Infobip and its callers: it gets a request, and the function that makes Infobip respond."""


class InfobipWorld:
    """Accounts, users and keys, and the API over them. Thread safe.

    :param clock: Infobip's own clock.
    :param seed: of ids, values and chances: the same seed gives the same world.
    :param options: how it behaves where the documents leave it open; may be changed at any time.

    ``calls`` is a log without values. ``observers`` are called with each request and its true response, regardless of
    what the ``network``, if there is one, makes of it. Their errors and the simulation's own are kept in ``failures``
    until :meth:`check` raises them.
    """

    def __init__(self, clock: OffsetClock, *, seed: int = 1, options: Options | None = None) -> None:
        self.clock = clock
        self.options = options or Options()
        self.lock = threading.RLock()
        self.state = WorldState(clock, seed, self.options)
        self.network: Network | None = None
        self.calls: list[LoggedCall] = []
        self.observers: list[Observer] = []
        self.failures: list[Exception] = []
        self._late: list[tuple[datetime, Request]] = []

    # ---- the API ----------------------------------------------------------------------------------------------------

    def handle(self, request: Request) -> Response | Drop:
        """Respond to a request. Raises only what the network raises."""
        with self._logged(request) as call:  # even if the network ends the caller's thread
            answer = self._handle(request, call)
            call.status = answer.status if isinstance(answer, Response) else None
            return answer

    def later(self, request: Request, at: datetime) -> None:
        """Let a request have its effect at a later time, as if the network had delayed it until then."""
        with self.lock:
            self._late.append((at, request))

    @property
    def late(self) -> int:
        """The number of late effects that are still to come."""
        with self.lock:
            return len(self._late)

    def settle(self) -> None:
        """Apply the late effects that are due."""
        with self.lock:
            now = self.clock.now()
            due = [request for at, request in self._late if at <= now]
            self._late = [(at, request) for at, request in self._late if at > now]
        for request in due:
            with self._logged(request) as call:
                self._effect(request, call)

    def check(self) -> None:
        """Raise an ``ExceptionGroup`` of the observers' errors and the simulation's own, each once."""
        with self.lock:
            failures, self.failures = self.failures, []
        if failures:
            raise ExceptionGroup("observers of the simulated Infobip, or itself, failed", failures)

    @contextlib.contextmanager
    def _logged(self, request: Request) -> Iterator[LoggedCall]:
        """Log a call, which is filled in while the request is handled."""
        call = LoggedCall(self.clock.now(), request.method, request.path, request.remote_ip, tuple(request.query))
        try:
            yield call
        finally:
            call.time = self.clock.now()
            with self.lock:
                self.calls.append(call)

    def _handle(self, request: Request, call: LoggedCall) -> Response | Drop:
        def answer(asked: Request) -> Response:
            true_answer = self._effect(asked, call)
            self._observe(request, true_answer)
            return true_answer

        self.settle()
        given = answer(request) if self.network is None else self.network(request, answer)
        if isinstance(given, Drop):
            return given
        return replace(given, headers={"Date": format_datetime(self.clock.now(), usegmt=True), **given.headers})

    def _effect(self, request: Request, call: LoggedCall) -> Response:
        with self.lock:
            call.effect = True
            try:
                return self._route(request, call)
            except Refusal as refusal:
                return error_response(refusal, request.path, self.options.error_style)
            except Exception as e:  # a mistake of the simulation must be seen by the test, not only by its client
                self.failures.append(e)
                return error_response(Refusal(500, "the simulation failed"), request.path, self.options.error_style)

    def _route(self, request: Request, call: LoggedCall) -> Response:
        state, path, method = self.state, request.path, request.method
        match path, method:
            case "/auth/1/session", "POST":
                return auth.create_session(state, request)
            case "/auth/1/session", "DELETE":
                return auth.destroy_session(state, request)
            case "/auth/1/oauth2/token", "POST":
                return auth.create_token(state, request)
            case (("/auth/1/session" | "/auth/1/oauth2/token"), _):
                raise Refusal(405, "Method not allowed")
        principal = auth.authenticate(state, request)
        call.principal = principal.label
        if path == KEYS_API or path.startswith(KEYS_API + "/"):
            return self._keys(principal, request)
        return self._resource(principal, request)

    def _keys(self, principal: auth.Principal, request: Request) -> Response:
        state, method = self.state, request.method
        user = auth.require_manager(principal)
        key_id = request.path[len(KEYS_API) + 1 :]
        match method, bool(key_id):
            case "GET", False:
                return keys_api.list_keys(state, user, request)
            case "POST", False:
                return keys_api.create_key(state, user, request)
            case "GET", True:
                return keys_api.get_key(state, user, key_id)
            case "PUT", True:
                return keys_api.update_key(state, user, key_id, request)
            case _:
                raise Refusal(405, "Method not allowed")

    def _resource(self, principal: auth.Principal, request: Request) -> Response:
        scope = self.options.resources.get(request.path)
        if scope is None:
            raise Refusal(404, "No such resource")
        if request.method != "GET":
            raise Refusal(405, "Method not allowed")
        if scope not in principal.scopes:
            raise Refusal(403, f"The scope {scope} is missing")
        balance = request.path == "/account/1/balance"
        return json_response(200, {"balance": 47.79, "currency": "EUR"} if balance else {"results": []})

    def _observe(self, request: Request, answer: Response) -> None:
        for observer in tuple(self.observers):
            try:
                observer(request, answer)
            except Exception as e:  # an observer's assertion belongs to the test, not to the client under test
                self.failures.append(e)

    # ---- without HTTP: what exists, and an operator's clicks in the portal ------------------------------------------
    # Nothing here counts against a limit. ``KeyError`` for an account or key that does not exist.

    def add_account(
        self, name: str = "main", *, account_id: str | None = None, parent: str | None = None
    ) -> SimAccount:
        """Add an account; ``parent`` is the main account's id for a sub-account."""
        with self.lock:
            account = SimAccount(account_id or self.state.new_id(), name, parent)
            self.state.accounts[account.id] = account
            return account

    def add_user(
        self,
        account: SimAccount | str,
        username: str = "rotator",
        password: str | None = None,
        *,
        manages_keys: bool = True,
        scopes: Iterable[str] = DEFAULT_SCOPES,
    ) -> SimUser:
        """Add a user; without ``password``, one is generated."""
        with self.lock:
            secret = announced(password) if password is not None else self.state.new_token()
            user = SimUser(username, secret, self._account_id(account), manages_keys, frozenset(scopes))
            self.state.users[username] = user
            return user

    def add_key(
        self,
        account: SimAccount | str,
        name: str = "a key",
        *,
        scopes: Iterable[str] = ("sms:manage",),
        valid_from: datetime | None = None,
        valid_to: datetime | None = None,
        created_at: datetime | None = None,
        platform: Iterable[Platform] = (),
        allowed_ips: Iterable[str] = (),
        enabled: bool = True,
    ) -> SimKey:
        """Add a key as if it was created in the portal. It works at once, by default for a year from now."""
        with self.lock:
            now = self.clock.now().replace(microsecond=0)
            links = tuple(platform)
            key = SimKey(
                id=self.state.new_id(),
                value=self.state.new_value(),
                account_id=self._account_id(account),
                name=name,
                created_at=created_at or min(valid_from or now, now),
                valid_from=valid_from or created_at or now,
                valid_to=valid_to or now + keys_api.DEFAULT_LIFETIME,
                enabled=enabled,
                scopes=frozenset() if links else frozenset(scopes),
                permissions=default_permissions(links),
                allowed_ips=tuple(allowed_ips),
                platform=links,
            )
            return self.state.store(key, at_once=True)

    def keys(self, account: SimAccount | str | None = None) -> tuple[SimKey, ...]:
        """Every key of an account (or of all), oldest first."""
        self.settle()
        with self.lock:
            if account is None:
                return tuple(self.state.keys.values())
            return tuple(self.state.by_account.get(self._account_id(account), {}).values())

    def key(self, key_id: str) -> SimKey:
        """One key as it is now."""
        self.settle()
        with self.lock:
            return self.state.keys[key_id]

    def key_of(self, value: str) -> SimKey | None:
        """The key with that value."""
        self.settle()
        with self.lock:
            key_id = self.state.by_value.get(value)
            return None if key_id is None else self.state.keys[key_id]

    def authenticates(self, value: str, ip: str = "127.0.0.1") -> bool:
        """Whether a consumer at that address can authenticate with that value now. Not logged."""
        self.settle()
        with self.lock:
            key = self.state.effective(value)
            return key is not None and key.works(self.clock.now(), ip)

    def change_key(self, key_id: str, **changes: Any) -> SimKey:
        """An operator changes a key; ``changes`` are fields of :class:`SimKey`."""
        self.settle()
        with self.lock:
            return self.state.store(replace(self.state.keys[key_id], **changes))

    def delete_key(self, key_id: str) -> None:
        """An operator deletes a key, which the API can't do but the portal may."""
        self.settle()
        with self.lock:
            self.state.forget(key_id)

    def creates_used(self, account: SimAccount | str) -> int:
        """Successful creates of an account's users in the last 24 hours."""
        with self.lock:
            return self.state.used(self.state.creates, self._account_id(account))

    def updates_used(self, account: SimAccount | str) -> int:
        """Successful updates of an account's users in the last 24 hours."""
        with self.lock:
            return self.state.used(self.state.updates, self._account_id(account))

    def busiest_day(self, account: SimAccount | str) -> tuple[int, int]:
        """The most creates and the most updates that ever fell into 24 hours."""
        with self.lock:
            account_id = self._account_id(account)
            return _busiest(self.state.creates.get(account_id, [])), _busiest(self.state.updates.get(account_id, []))

    def _account_id(self, account: SimAccount | str) -> str:
        account_id = account.id if isinstance(account, SimAccount) else account
        return self.state.accounts[account_id].id


def _busiest(times: list[datetime]) -> int:
    most = first = 0
    for last, moment in enumerate(times):
        while times[first] <= moment - LIMIT_PERIOD:
            first += 1
        most = max(most, last - first + 1)
    return most
