"""The simulated Infobip, without sockets: a request in, an answer (or none) out."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Final

from rotator.ports import Clock
from rotator.sandbox import authentication as auth
from rotator.sandbox import keys_api
from rotator.sandbox.breakage import AFTER, BEFORE, masked, without_filters
from rotator.sandbox.direct import DirectAccess
from rotator.sandbox.faults import Fault, FaultKind, Faults
from rotator.sandbox.json_bodies import Drop, Refusal, Request, Response, error_response, json_response
from rotator.sandbox.records import Call, Options
from rotator.sandbox.state import State

__all__ = ["InfobipWorld", "Observer"]

KEYS: Final = "/settings/2/api-keys"
SESSION: Final = "/auth/1/session"
TOKEN: Final = "/auth/1/oauth2/token"

Observer = Callable[[Request, Response], None]


@dataclass(slots=True)
class _Trace:
    """What is learned about one request on its way, for the log."""

    principal: str = ""
    effect: bool = False


class InfobipWorld(DirectAccess):
    """Accounts, users and keys, and the API over them. Thread safe.

    :param clock: Infobip's own clock.
    :param seed: of ids, values and chances: the same seed gives the same world.
    :param options: how it behaves where the documents leave it open; may be changed at any time.

    ``calls`` is a log without values. ``faults`` can be added to. ``observers`` are called with each request and its
    true answer, before a fault spoils it; what they raise is kept in ``failures``, as is any mistake of the simulation
    itself, for :meth:`check` to raise.
    """

    def __init__(self, clock: Clock, *, seed: int = 1, options: Options | None = None) -> None:
        self.clock = clock
        self.options = options or Options()
        self.lock = threading.RLock()
        self.state = State(clock, seed, self.options)
        # Numbers of their own: a fault must not change which ids and values come next.
        self.faults = Faults(random.Random(seed))  # noqa: S311 - a simulation
        self.calls: list[Call] = []
        self.observers: list[Observer] = []
        self.failures: list[Exception] = []
        self._late: list[tuple[datetime, Request]] = []

    def handle(self, request: Request) -> Response | Drop:
        """Answer a request. Raises nothing but what a fault's hook raises."""
        trace = _Trace()
        answer: Response | Drop | None = None
        try:
            answer = self._handle(request, trace)
        finally:  # also where a hook kills the caller's thread
            status = answer.status if isinstance(answer, Response) else None
            self._log(request, trace, status)
        return answer

    @property
    def late(self) -> int:
        """How many effects are still to come."""
        with self.lock:
            return len(self._late)

    def settle(self) -> None:
        """Let the effects happen that were late and are due."""
        with self.lock:
            now = self.clock.now()
            due = [request for at, request in self._late if at <= now]
            self._late = [(at, request) for at, request in self._late if at > now]
        for request in due:
            trace = _Trace()
            self._effect(request, trace)
            self._log(request, trace, None)

    def check(self) -> None:
        """``ExceptionGroup`` of what observers raised and of the simulation's own mistakes, each said once."""
        with self.lock:
            failures, self.failures = self.failures, []
        if failures:
            raise ExceptionGroup("observers of the simulated Infobip, or itself, failed", failures)

    def _handle(self, request: Request, trace: _Trace) -> Response | Drop:
        self.settle()
        faults = self.faults.pick(request)
        for fault in faults:
            if fault.kind is FaultKind.HOOK_BEFORE and fault.hook is not None:
                fault.hook(request, None)
        breaking = next((f for f in faults if f.kind in BEFORE or f.kind in AFTER), None)
        answer: Response | Drop
        if breaking is not None and breaking.kind in BEFORE:
            if breaking.kind is FaultKind.LATE:
                with self.lock:
                    self._late.append((self.clock.now() + timedelta(seconds=breaking.seconds), request))
            answer = BEFORE[breaking.kind](breaking, request, self.options.error_style)
        else:
            true_answer = self._effect(without_filters(request, faults), trace)
            self._observe(request, true_answer)
            for fault in faults:
                if fault.kind is FaultKind.HOOK_AFTER and fault.hook is not None:
                    fault.hook(request, true_answer)
            shown = masked(true_answer) if any(fault.kind is FaultKind.MASK for fault in faults) else true_answer
            answer = shown
            if breaking is not None:
                answer = AFTER[breaking.kind](breaking, request, self.options.error_style, shown)
        return self._finish(answer, faults)

    def _finish(self, answer: Response | Drop, faults: Sequence[Fault]) -> Response | Drop:
        """Delay and date the answer."""
        delay = shift = 0.0
        for fault in faults:
            if fault.kind is FaultKind.DATE:
                shift += fault.seconds
            if fault.kind is FaultKind.DELAY:
                delay += fault.seconds
                fault.entered.set()
                if fault.until is not None:
                    fault.until.wait()
        if isinstance(answer, Drop):
            return answer
        date = format_datetime(self.clock.now() + timedelta(seconds=shift), usegmt=True)
        return replace(answer, headers={**answer.headers, "Date": date}, delay=answer.delay + delay)

    def _effect(self, request: Request, trace: _Trace) -> Response:
        with self.lock:
            trace.effect = True
            try:
                return self._route(request, trace)
            except Refusal as refusal:
                return error_response(refusal, request.path, self.options.error_style)
            except Exception as e:  # a mistake of the simulation must be seen by the test, not only by its client
                self.failures.append(e)
                return error_response(Refusal(500, "the simulation failed"), request.path, self.options.error_style)

    def _route(self, request: Request, trace: _Trace) -> Response:
        state, path, method = self.state, request.path, request.method
        if path == SESSION and method == "POST":
            self._throttle("session", request.remote_ip)
            return auth.create_session(state, request)
        if path == SESSION and method == "DELETE":
            return auth.destroy_session(state, request)
        if path == TOKEN and method == "POST":
            self._throttle("token", request.remote_ip)
            return auth.create_token(state, request)
        if path in (SESSION, TOKEN):
            raise Refusal(405, "Method not allowed")
        principal = auth.authenticate(state, request)
        trace.principal = principal.label
        if path == KEYS or path.startswith(KEYS + "/"):
            return self._keys(principal, request)
        return self._resource(principal, request)

    def _keys(self, principal: auth.Principal, request: Request) -> Response:
        state, method = self.state, request.method
        user = auth.require_manager(principal, self.options.api_key_refusal)
        key_id = request.path[len(KEYS) + 1 :]
        self._throttle(f"{method} {'key' if key_id else 'keys'}", principal.account_id)
        match method, bool(key_id):
            case "GET", False:
                return keys_api.list_keys(state, user, request)
            case "POST", False:
                return keys_api.create_key(state, principal, user, request)
            case "GET", True:
                return keys_api.get_key(state, user, key_id)
            case "PUT", True:
                return keys_api.update_key(state, principal, user, key_id, request)
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
        if request.path == "/account/1/balance":
            return json_response(200, {"balance": 47.79, "currency": "EUR"})
        return json_response(200, {"results": []})

    def _throttle(self, operation: str, who: str) -> None:
        if self.state.too_fast(operation, who):
            headers = {"Retry-After": "1"} if self.options.retry_after else {}
            raise Refusal(429, "Too many requests", headers=headers)

    def _observe(self, request: Request, answer: Response) -> None:
        for observer in tuple(self.observers):
            try:
                observer(request, answer)
            except Exception as e:  # an observer's assertion belongs to the test, not to the client under test
                self.failures.append(e)

    def _log(self, request: Request, trace: _Trace, status: int | None) -> None:
        call = Call(
            self.clock.now(),
            request.method,
            request.path,
            status,
            trace.principal,
            request.remote_ip,
            tuple(request.query),
            trace.effect,
        )
        with self.lock:
            self.calls.append(call)
