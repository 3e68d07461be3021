"""HTTP calls to Infobip: bounded in time and size, never redirected, repeated only if that is safe.

They use a ``requests`` adapter rather than a ``Session``, which would read ``.netrc``, keep cookies, and read the whole
body of a redirect even if it does not follow it. They do not use urllib3's ``Retry``, because it waits by the machine's
clock and does not know whether the request was sent.
"""

from __future__ import annotations

import json
import random
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import clear_cache, urlsplit  # type: ignore[attr-defined]  # the first is not in typeshed

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.utils import get_environ_proxies
from urllib3 import BaseHTTPResponse, Timeout
from urllib3.exceptions import HTTPError

from rotator import __version__
from rotator.errors import ContractViolation, InvalidRequest, OutcomeUnknown, ProviderUnavailable
from rotator.infobip.connection import ca_bundle, describe, never_sent
from rotator.patience import Patience
from rotator.ports import Clock
from rotator.secret import Secret

HEADERS: Final = {
    "User-Agent": f"infobip-key-rotator/{__version__}",
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # responses are small; a compressed one is still read, within the limit
}
QUICK_TIMEOUT: Final = 10.0
INFOBIP_ATTEMPTS: Final = 4
LONGEST_BACKOFF: Final = 8.0
LONGEST_RETRY_AFTER: Final = 30.0
"""Seconds. After a longer ``Retry-After`` the call is not retried."""
NO_STEP: Final = timedelta(seconds=0.5)
"""The wall clock was set if it and the monotonic clock advanced by amounts that differ by this much or more."""
_CHUNK: Final = 64 * 1024
_FAILURES: Final = (requests.RequestException, HTTPError, HTTPException, OSError, ValueError)


class Effort(Enum):
    """Retry policy of a call: the set of statuses to retry; 0 stands for no response."""

    PATIENT = frozenset({0, 429, 500, 502, 503, 504})
    """Safe to repeat."""
    UNLESS_DONE = frozenset({429})
    """Repeated only if the server certainly did nothing: no connection, or throttled."""
    ONCE = frozenset[int]()
    """One attempt, whatever its outcome."""


@dataclass(frozen=True, slots=True)
class ApiCall:
    """A call to be made. Secrets in ``params``, ``body`` and ``form`` stay wrapped until the bytes are made.

    ``write``: a lost response raises ``OutcomeUnknown``. ``quick``: an attempt takes at most :data:`QUICK_TIMEOUT`
    seconds. ``read_body``: false if only the status is needed.
    """

    method: str
    path: str
    params: Mapping[str, str | Secret] = field(default_factory=dict)
    body: Mapping[str, object] | None = None
    form: Mapping[str, str | Secret] | None = None
    effort: Effort = Effort.PATIENT
    write: bool = False
    quick: bool = False
    read_body: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a call, with any status. The body may contain secrets, so ``repr`` leaves it out.

    ``where``: method, path and host, for messages. ``retry_after``: the wait that the server requested.
    ``lost``: why there is no response (the status is then 0).
    ``maybe_done``: this attempt, or an earlier one of the same call, was sent and got no clear response.
    """

    where: str
    status: int
    body: bytes = field(default=b"", repr=False)
    retry_after: timedelta | None = None
    tries: int = 1
    lost: str = ""
    maybe_done: bool = False

    @property
    def ok(self) -> bool:
        """Whether it is a 2xx."""
        return 200 <= self.status < 300


class ManagementAuth(AuthBase):
    """The base of every authentication method. Thread safe."""

    @abstractmethod
    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """Set the ``Authorization`` header. This may log in first, and raise a login's errors."""

    def refused(self, r: requests.PreparedRequest) -> bool:  # noqa: ARG002 -- a fixed header stays the same
        """Handle a 401: drop an outdated header, and return whether to try again."""
        return False

    def close(self) -> None:
        """Close the server's session, if any. Never raises."""
        return


class Transport:
    """Makes calls to one base URL. Thread safe.

    :param rng: jitter of the waits between attempts.
    :param adapters: makes the adapter for pooled connections, and one for each call that needs a new connection.
    """

    def __init__(
        self,
        base_url: str,
        clock: Clock,
        rng: random.Random,
        patience: Patience,
        adapters: Callable[[], HTTPAdapter],
    ) -> None:
        self.base_url = base_url
        self.host = urlsplit(base_url).netloc
        # The last Date minus our wall clock, and when it arrived by the wall and the monotonic clock.
        self._dated: tuple[timedelta, datetime, float] | None = None
        self.named_wait: bool | None = None
        """Whether the last 429 named a time to wait; ``None`` if there was none."""
        self._silent = False
        """Whether a repeated call got no response, and none since did. Until one does, calls are not repeated."""
        self._clock = clock
        self._rng = rng
        self._patience = patience
        self._adapters = adapters
        self._pooled = adapters()
        # Read here because there is no Session to do it. Plain http is for loopback only and never uses a proxy.
        self._proxies = dict(get_environ_proxies(base_url)) if base_url.startswith("https:") else {}
        self._verify = ca_bundle()

    @property
    def skew(self) -> timedelta | None:
        """The server's time minus our wall clock's, as of now; ``None`` before the first response with a date."""
        dated = self._dated
        if dated is None:
            return None
        skew, at, monotonic = dated
        passed = timedelta(seconds=self._clock.monotonic() - monotonic)
        step = self._clock.now() - at - passed
        return skew if abs(step) < NO_STEP else skew - step

    def call(self, call: ApiCall, auth: ManagementAuth | None = None) -> Answer:
        """Make a call. Retry it as its effort allows, and once more after a 401 that ``auth`` can fix.

        :raises ProviderUnavailable: no response; for a write, certainly nothing was sent.
        :raises OutcomeUnknown: a write was sent, and got no response or an inconclusive one.
        :raises ContractViolation: a redirect, or a response that is too large.
        :raises InvalidRequest: HTTP cannot carry the request; nothing was sent.
        """
        # The server may have closed a pooled connection. A retry handles that, but without retries the call's outcome
        # would be needlessly unknown. So only patient calls use pooled connections.
        adapter = self._pooled if call.effort is Effort.PATIENT else self._adapters()
        where = f"{call.method} {call.path.partition('?')[0]} at {self.host}"
        slow_calls = self._patience.slow_calls
        watch = nullcontext() if slow_calls is None else slow_calls.watch(f"Infobip ({where})")
        try:
            with watch:
                return self._repeat(adapter, call, auth, where)
        finally:
            if adapter is not self._pooled:
                adapter.close()
            if any(isinstance(value, Secret) for value in call.params.values()):
                clear_cache()  # the standard library caches the last URLs that it parsed, including their queries

    def close(self) -> None:
        """Close the pooled connections."""
        self._pooled.close()

    def _repeat(self, adapter: HTTPAdapter, call: ApiCall, auth: ManagementAuth | None, where: str) -> Answer:
        tries, renewals, maybe_done = 0, 0, False
        while True:
            request = _prepare(self.base_url, call)
            if request is None:
                raise InvalidRequest(f"{where}: the request is not valid HTTP; nothing was sent")
            if auth is not None:
                auth(request)
            tries += 1
            answer = self._attempt(adapter, call, request, where)
            if answer.status == 401 and auth is not None and not renewals:
                renewals = 1
                if auth.refused(request):
                    continue
            wait = self._wait(call.effort, answer, tries - renewals)
            if wait is None:
                break
            maybe_done = maybe_done or answer.maybe_done
            self._clock.sleep(wait)
        self._silent = bool(answer.lost) and (self._silent or tries > 1)
        if not answer.lost:
            return replace(answer, tries=tries, maybe_done=maybe_done)
        repeated = f", {tries} tries" if tries > 1 else ""
        message = f"Infobip did not answer ({where}{repeated}): {answer.lost}"
        if call.write and (answer.maybe_done or maybe_done):
            raise OutcomeUnknown(f"{message}, after the request was sent")
        raise ProviderUnavailable(message + ("; nothing was sent" if call.write else ""))

    def _wait(self, effort: Effort, answer: Answer, attempts: int) -> float | None:
        """Return the seconds to wait before the next attempt, or ``None`` if there is none.

        The wait is that of ``Retry-After``, or else exponential.

        :param attempts: how many attempts were made, not counting the one after renewed credentials.
        """
        never_sent = bool(answer.lost) and not answer.maybe_done and effort is not Effort.ONCE
        most = INFOBIP_ATTEMPTS
        if answer.lost:
            most = 1 if self._silent else self._patience.attempts
        if attempts >= most or not (never_sent or answer.status in effort.value):
            return None
        asked = answer.retry_after.total_seconds() if answer.retry_after is not None else 0.0
        if asked > LONGEST_RETRY_AFTER:
            return None
        return asked or min(LONGEST_BACKOFF, 2.0 ** (attempts - 1)) * (0.5 + 0.5 * self._rng.random())

    def _attempt(self, adapter: HTTPAdapter, call: ApiCall, request: requests.PreparedRequest, where: str) -> Answer:
        patience = self._patience
        total = min(patience.total, QUICK_TIMEOUT) if call.quick else patience.total
        timeout: Any = Timeout(
            connect=patience.connect, read=min(patience.read, total), total=total
        )  # not in the stubs
        started = self._clock.monotonic()
        try:
            raw: BaseHTTPResponse = adapter.send(
                request,
                stream=True,
                timeout=timeout,
                verify=self._verify,
                proxies=self._proxies,
            ).raw
            arrived_at, arrived = self._clock.now(), self._clock.monotonic()
            body = _read(raw, patience.body, wanted=call.read_body)
        except _FAILURES as error:
            return Answer(where, 0, lost=describe(error), maybe_done=not never_sent(error))
        if call.read_body:
            self._note_date(raw.headers.get("Date") or "", arrived_at, arrived, arrived - started)
        wrong, advice = "", ""
        if 300 <= raw.status < 400:
            wrong = "a redirect; redirects are not followed"
            advice = "Check base_url in the management secret and any proxy in between."
        elif body is None and raw.status < 400:
            wrong = f"with more than {patience.body} bytes, not read"
        if wrong:
            # The response is inconclusive. For a create, the outcome is unknown; any other call can be repeated.
            kind = OutcomeUnknown if call.write and call.effort is Effort.ONCE else ContractViolation
            raise kind(f"{where}: HTTP {raw.status}, {wrong}", advice=advice)
        asked = retry_after(raw.headers.get("Retry-After"), self._clock)
        if raw.status == 429:
            self.named_wait = asked is not None
        return Answer(where, raw.status, body or b"", asked, maybe_done=raw.status >= 500)

    def _note_date(self, header: str, at: datetime, monotonic: float, trip: float) -> None:
        """Record how the clocks differed when a response began to arrive, ``trip`` seconds after the request."""
        date = _http_date(header)
        if date is None:
            return
        skew = date - at
        # The date is truncated to whole seconds and older than the response's arrival. A lag that small is no skew.
        if -timedelta(seconds=1 + trip) < skew <= timedelta(0):
            skew = timedelta(0)
        self._dated = skew, at, monotonic


def retry_after(header: str | None, clock: Clock) -> timedelta | None:
    """Return a ``Retry-After`` header's wait (from seconds or a date), never negative; ``None`` if it is invalid."""
    text = (header or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        return timedelta(seconds=int(text))
    date = _http_date(text)
    return None if date is None else max(timedelta(0), date - clock.now())


def _http_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _prepare(base_url: str, call: ApiCall) -> requests.PreparedRequest | None:
    """Return the request, or ``None`` if HTTP cannot carry it. Never raises, since this frame holds plain secrets."""
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
    """Return the whole decompressed body, or ``None`` if it exceeds ``limit`` bytes (reading then stops)."""
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
