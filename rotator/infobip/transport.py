"""One HTTP call to Infobip: bounded in time and size, never redirected, repeated only where that is safe.

It works on a ``requests`` adapter rather than a ``Session``: a session would look into ``.netrc``, keep cookies, and
read the body of a redirect without bounds even when told not to follow it.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Final
from urllib.parse import clear_cache, urlsplit  # type: ignore[attr-defined]  # the first is not in typeshed

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import ConnectTimeoutError, HTTPError, ProtocolError

from rotator import __version__
from rotator.errors import ContractViolation, InvalidRequest, OutcomeUnknown, ProviderUnavailable
from rotator.infobip.call import Answer, Authorizer, Call, Limits, effort_text
from rotator.infobip.connection import Exchange, WatchedAdapter, ca_bundle
from rotator.infobip.connection_errors import describe, never_connected
from rotator.infobip.retry import LONGEST_ASKED_WAIT, Effort, PatientRetry, retry_after
from rotator.ports import Clock
from rotator.secret import Secret

HEADERS: Final = {
    "User-Agent": f"infobip-key-rotator/{__version__}",
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # nothing here is worth compressing; a compressed answer is still read, bounded
}
NO_STEP: Final = timedelta(seconds=0.5)
"""Wall clock and monotonic clock differ by less than that between two readings without anyone having set the clock."""
_CHUNK: Final = 64 * 1024
_FAILURES: Final = (requests.RequestException, HTTPError, HTTPException, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class _Moment:
    """When an answer began to arrive, by both of our clocks, and how many seconds it took."""

    wall: datetime
    monotonic: float
    trip: float


@dataclass(frozen=True, slots=True)
class _Reply:
    raw: BaseHTTPResponse
    body: bytes | None = field(repr=False)
    at: _Moment

    @property
    def maybe_done(self) -> bool:
        return self.raw.status >= 500


@dataclass(frozen=True, slots=True)
class _Lost:
    what: str
    maybe_done: bool


class Transport:
    """Makes calls to one base URL. Thread safe.

    :param rng: jitter of the waits between attempts.
    :param adapters: makes the adapter for the kept connections, and one for each call that needs a new one.
    """

    def __init__(
        self,
        base_url: str,
        clock: Clock,
        rng: random.Random,
        limits: Limits,
        adapters: Callable[[], HTTPAdapter] = WatchedAdapter,
    ) -> None:
        self.base_url = base_url
        self.host = urlsplit(base_url).netloc
        self._dated: tuple[timedelta, _Moment] | None = None  # the last Date less our clock, and when it came
        self._clock = clock
        self._rng = rng
        self._limits = limits
        self._adapters = adapters
        self._pooled = adapters()
        # Read here, since without a Session nobody else does. Plain http is loopback only: a proxy has no part in it.
        self._proxies = dict(get_environ_proxies(base_url)) if base_url.startswith("https:") else {}
        self._verify = ca_bundle()

    def with_limits(self, limits: Limits) -> Transport:
        """Another one to the same far end, with connections of its own and other limits."""
        other = copy.copy(self)
        other._dated, other._limits, other._pooled = None, limits, self._adapters()
        return other

    @property
    def skew(self) -> timedelta | None:
        """The far end's time less our wall clock's, right now; ``None`` before the first answer with a date."""
        dated = self._dated
        if dated is None:
            return None
        skew, at = dated
        passed = timedelta(seconds=self._clock.monotonic() - at.monotonic)
        step = self._clock.now() - at.wall - passed
        return skew if abs(step) < NO_STEP else skew - step

    def call(self, call: Call, auth: Authorizer | None = None) -> Answer:
        """Make a call, again where its effort allows, and once more after a 401 that ``auth`` can fix.

        :raises ProviderUnavailable: no answer; for a write, certainly nothing was sent.
        :raises OutcomeUnknown: a write that was sent and not answered, or not in a way that says yes or no.
        :raises ContractViolation: a redirect, or an answer that is too large.
        :raises InvalidRequest: what was asked cannot be put on the wire; nothing was sent.
        """
        # A kept connection may have been closed by the far end: harmless where a call is repeated, and elsewhere a
        # needless doubt whether it has happened. So only patient calls use kept connections.
        adapter = self._pooled if call.effort is Effort.PATIENT else self._adapters()
        try:
            return self._repeat(adapter, call, auth)
        finally:
            if adapter is not self._pooled:
                adapter.close()
            if any(isinstance(value, Secret) for value in call.params.values()):
                clear_cache()  # the standard library keeps the last URLs that it took apart, queries included

    def close(self) -> None:
        """Close the kept connections."""
        self._pooled.close()

    def _repeat(self, adapter: HTTPAdapter, call: Call, auth: Authorizer | None) -> Answer:
        where = f"{call.method} {call.path.partition('?')[0]} at {self.host}"
        retry = PatientRetry.of(call.effort, self._clock, self._rng)
        begun, tries, renewed, maybe_done = self._clock.now(), 0, False, False
        while True:
            request = _prepare(self.base_url, call)
            if request is None:
                raise InvalidRequest(f"{where}: the request cannot be put on the wire; nothing was sent")
            if auth is not None:
                auth(request)
            tries += 1
            outcome = self._attempt(adapter, call, request)
            if isinstance(outcome, _Reply):
                if call.read_body:
                    self._see_date(outcome)
                if outcome.raw.status == 401 and auth is not None and not renewed:
                    renewed = True
                    if auth.refused(request):
                        continue
            left = self._again(retry, call, outcome)
            if left is None:
                break
            retry = left
            maybe_done = maybe_done or outcome.maybe_done
            retry.sleep(outcome.raw if isinstance(outcome, _Reply) else None)
        seconds = max(0.0, (self._clock.now() - begun).total_seconds())
        if isinstance(outcome, _Reply):
            return self._answer(call, outcome, where, tries, seconds, maybe_done)
        effort = effort_text(tries, seconds).strip(" ()")
        asked = where.partition(" at ")[0] + (f", {effort}" if effort else "")
        message = f"Infobip did not answer at {self.base_url} ({asked}): {outcome.what}"
        if call.write and (outcome.maybe_done or maybe_done):
            raise OutcomeUnknown(f"{message}, after the request was sent")
        raise ProviderUnavailable(message + ("; nothing was sent" if call.write else ""))

    def _attempt(self, adapter: HTTPAdapter, call: Call, request: requests.PreparedRequest) -> _Reply | _Lost:
        limits = self._limits
        sent = self._clock.monotonic()
        with Exchange(limits.total) as exchange:
            try:
                response = adapter.send(
                    request,
                    stream=True,
                    timeout=(limits.connect, limits.read),
                    verify=self._verify,
                    proxies=self._proxies,
                )
                came = self._clock.monotonic()
                at = _Moment(self._clock.now(), came, came - sent)
                raw: BaseHTTPResponse = response.raw
                body = _read(raw, limits.body, wanted=call.read_body)
                if not exchange.overdue:  # a body without a length ends quietly when it is cut
                    return _Reply(raw, body, at)
                what = "timed out"
            except _FAILURES as error:
                what = "timed out" if exchange.overdue else describe(error)
                if never_connected(error):
                    exchange.connecting()
        return _Lost(what, exchange.sent)

    def _again(self, retry: PatientRetry, call: Call, outcome: _Reply | _Lost) -> PatientRetry | None:
        """The retries that are left if another attempt is due, else ``None``."""
        try:
            if isinstance(outcome, _Lost):
                error = ProtocolError(outcome.what) if outcome.maybe_done else ConnectTimeoutError(outcome.what)
                return retry.increment(call.method, call.path, error=error)
            if not retry.is_retry("", outcome.raw.status):
                return None
            if (retry.get_retry_after(outcome.raw) or 0) > LONGEST_ASKED_WAIT:
                return None
            return retry.increment(call.method, call.path, response=outcome.raw)
        except HTTPError:  # urllib3's way to say that none is left
            return None

    def _answer(self, call: Call, reply: _Reply, where: str, tries: int, seconds: float, maybe_done: bool) -> Answer:
        raw = reply.raw
        senseless, advice = "", ""
        if 300 <= raw.status < 400:
            senseless = "a redirect, which is never followed"
            advice = "Check base_url in the management secret, and proxies on the way."
        elif reply.body is None and raw.status < 400:
            senseless = f"with more than {self._limits.body} bytes, not read"
        if senseless:
            # It says neither yes nor no. What can be repeated is none the worse for it; a create is in doubt.
            kind = OutcomeUnknown if call.write and call.effort is Effort.ONCE else ContractViolation
            raise kind(f"{where}: HTTP {raw.status}, {senseless}", advice=advice)
        wait = retry_after(raw.headers.get("Retry-After"), self._clock)
        return Answer(
            where=where,
            status=raw.status,
            body=reply.body or b"",
            retry_after=None if wait is None else timedelta(seconds=wait),
            tries=tries,
            seconds=seconds,
            maybe_done=maybe_done,
        )

    def _see_date(self, reply: _Reply) -> None:
        try:
            date = parsedate_to_datetime(reply.raw.headers.get("Date") or "")
            skew = (date if date.tzinfo else date.replace(tzinfo=UTC)) - reply.at.wall
        except (ValueError, TypeError, OverflowError, IndexError):
            return  # an answer without a readable date says nothing about the clock
        # The date is cut to whole seconds, and written before the answer came: up to so much of it is no difference.
        if -timedelta(seconds=1 + reply.at.trip) < skew <= timedelta(0):
            skew = timedelta(0)
        self._dated = skew, reply.at


def _prepare(base_url: str, call: Call) -> requests.PreparedRequest | None:
    """The request; ``None`` where it cannot be put on the wire. Does not raise: secrets stand open in this frame."""
    try:
        body, headers = None, dict(HEADERS)
        if call.body is not None:
            body = json.dumps({name: _reveal(value) for name, value in call.body.items()}).encode()
            headers["Content-Type"] = "application/json"
        return requests.Request(
            call.method,
            base_url + call.path,
            headers=headers,
            params={name: _reveal(value) for name, value in call.params.items()},
            data=body if call.form is None else {name: _reveal(value) for name, value in call.form.items()},
        ).prepare()
    except (requests.RequestException, ValueError):
        return None


def _read(raw: BaseHTTPResponse, limit: int, *, wanted: bool) -> bytes | None:
    """The whole body, unpacked; ``None`` if it is longer than ``limit`` bytes, of which no more is read."""
    parts: list[bytes] = []
    size = 0
    complete = False
    try:
        while wanted and (part := raw.read(_CHUNK, decode_content=True)):
            size += len(part)
            if size > limit:
                return None
            parts.append(part)
        complete = wanted
        return b"".join(parts)
    finally:
        if not complete:
            raw.close()


def _reveal(value: object) -> object:
    return value.reveal() if isinstance(value, Secret) else value
