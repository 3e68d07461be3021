"""A simulated Infobip with faults: what goes wrong, for which requests, how often, and what the caller gets instead."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from email.utils import format_datetime
from enum import StrEnum
from functools import partial
from typing import Final

from rotator.sandbox.clocks import OffsetClock
from rotator.sandbox.exchange import Drop, DropKind, ErrorStyle, Refusal, Request, Response, error_response
from rotator.sandbox.infobip import Answering, InfobipWorld
from rotator.sandbox.keys_api import mask
from rotator.sandbox.state import Options


class FaultKind(StrEnum):
    """What goes wrong. "Before" means that the request has no effect, "after" that it has."""

    REFUSE = "refuse"
    """The connection is refused (over a real socket: closed unanswered); no effect."""
    DROP_BEFORE = "drop-before"
    """The connection is closed without an answer; no effect."""
    DROP_AFTER = "drop-after"
    """The connection is closed without an answer, after the effect."""
    HANG_BEFORE = "hang-before"
    """Nothing is answered until the caller gives up; no effect."""
    HANG_AFTER = "hang-after"
    """Nothing is answered until the caller gives up; the effect happened."""
    LATE = "late"
    """As ``hang-before``, but the effect happens ``seconds`` later."""
    STATUS_BEFORE = "status-before"
    """An error is answered; no effect."""
    STATUS_AFTER = "status-after"
    """An error is answered, after the effect."""
    THROTTLE = "throttle"
    """429, with ``retry_after`` if given; no effect."""
    REDIRECT = "redirect"
    """A redirect to another host; no effect."""
    GARBAGE = "garbage"
    """The right status with a body that is not JSON, after the effect."""
    TRUNCATE = "truncate"
    """The body breaks off half-way, after the effect."""
    HUGE = "huge"
    """The right status with a body of ``size`` bytes, after the effect."""
    WRONG_ID = "wrong-id"
    """The right answer with another ``id`` in it, after the effect."""
    DELAY = "delay"
    """The answer is sent ``seconds`` later by the world's clock, and not before ``until`` is set."""
    IGNORE_FILTER = "ignore-filter"
    """The request is handled as if the query parameter ``param`` were not in it."""
    MASK = "mask"
    """Values of keys in the answer are masked."""
    DATE = "date"
    """The ``Date`` header is ``seconds`` off."""
    HOOK_BEFORE = "hook-before"
    """``hook`` is called before the effect; what it raises goes to the caller's thread (in process)."""
    HOOK_AFTER = "hook-after"
    """``hook`` is called with the answer, after the effect."""


HOOKS: Final = frozenset({FaultKind.HOOK_BEFORE, FaultKind.HOOK_AFTER})
PASSING: Final = HOOKS | {FaultKind.DELAY, FaultKind.IGNORE_FILTER, FaultKind.MASK, FaultKind.DATE}
"""Faults that do not replace the answer. Any number of these may hit a request, but at most one of the others."""
NO_EFFECT: Final = frozenset(
    {
        FaultKind.REFUSE,
        FaultKind.DROP_BEFORE,
        FaultKind.HANG_BEFORE,
        FaultKind.LATE,
        FaultKind.STATUS_BEFORE,
        FaultKind.THROTTLE,
        FaultKind.REDIRECT,
    }
)


ELSEWHERE: Final = "https://elsewhere.invalid/"
"""The target of a redirect."""
Hook = Callable[[Request, Response | None], None]


@dataclass(slots=True, eq=False)
class Fault:
    """One fault.

    :param kind: what goes wrong.
    :param method: only requests with this method; any when ``None``.
    :param path: a regular expression that is searched for in the path.
    :param param: only requests with this query parameter; any when ``None``. The one that ``ignore-filter`` ignores.
    :param when: a predicate over the whole request.
    :param nth: the first matching request that is hit, from 1.
    :param count: how many are hit from there on; ``None`` is all.
    :param status: for ``status-*`` and ``redirect``; a redirect uses 302 if this is not a 3xx.
    :param body: for ``status-*`` and ``throttle``.
    :param seconds: for ``delay``, ``late`` and ``date`` (there also negative).
    :param until: for ``delay``: an event that is waited for.
    :param entered: set when a ``delay`` begins, so that a test knows.
    :param retry_after: the ``Retry-After`` header of ``status-*`` and ``throttle``, as it is sent.
    :param size: for ``huge``, in bytes.
    :param hook: for ``hook-*``.
    """

    kind: FaultKind
    method: str | None = None
    path: str = ""
    param: str | None = None
    when: Callable[[Request], bool] | None = None
    nth: int = 1
    count: int | None = 1
    status: int = 500
    body: ErrorStyle = ErrorStyle.DOCUMENTED
    seconds: float = 0.0
    until: threading.Event | None = None
    entered: threading.Event = field(default_factory=threading.Event)
    retry_after: str | None = None
    size: int = 20_000_000
    hook: Hook | None = None
    matched: int = field(default=0, init=False)
    hits: int = field(default=0, init=False)

    def matches(self, request: Request) -> bool:
        """Whether this fault applies to the request."""
        return (
            (self.method is None or self.method.upper() == request.method)
            and re.search(self.path, request.path) is not None
            and (self.param is None or self.param in request.query)
            and (self.when is None or self.when(request))
        )

    def due(self) -> bool:
        """Count a matching request, and return whether this one is hit."""
        self.matched += 1
        if self.matched < self.nth or (self.count is not None and self.hits >= self.count):
            return False
        self.hits += 1
        return True


class Faults:
    """The faults of a world, in the order in which they were added. Thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Add a fault, and return it, so that ``fault.hits`` can be read."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Remove every fault."""
        with self._lock:
            self._faults.clear()

    def all(self) -> tuple[Fault, ...]:
        """Every fault, including those that are used up."""
        with self._lock:
            return tuple(self._faults)

    def pick(self, request: Request) -> Sequence[Fault]:
        """Return the faults that hit this request."""
        picked: list[Fault] = []
        with self._lock:
            ended = False
            for fault in self._faults:
                passing = fault.kind in PASSING
                if (passing or not ended) and fault.matches(request) and fault.due():
                    picked.append(fault)
                    ended = ended or not passing
        return picked


class FaultyInfobip(InfobipWorld):
    """A simulated Infobip to whose ``faults`` some can be added."""

    def __init__(self, clock: OffsetClock, *, seed: int = 1, options: Options | None = None) -> None:
        super().__init__(clock, seed=seed, options=options)
        self.faults = put_faults(self)


def faults_of(world: InfobipWorld) -> Faults:
    """The faults between a world and its callers, at first none."""
    if isinstance(world, FaultyInfobip):
        return world.faults
    there = getattr(world.network, "args", None)  # a partial of :func:`put_faults`
    return there[1] if there else put_faults(world)


def put_faults(world: InfobipWorld, faults: Faults | None = None) -> Faults:
    """Put faults, at first none, between a world and its callers."""
    faults = faults or Faults()
    world.network = partial(_network, world, faults)
    return faults


def _network(world: InfobipWorld, faults: Faults, request: Request, answer: Answering) -> Response | Drop:
    """What the caller gets. Raises only what a fault's hook raises."""
    picked = faults.pick(request)
    _call_hooks(FaultKind.HOOK_BEFORE, picked, request, None)
    breaking = next((fault for fault in picked if fault.kind not in PASSING), None)
    true_answer: Response | None = None
    if breaking is None or breaking.kind not in NO_EFFECT:
        true_answer = answer(without_filters(request, picked))
        _call_hooks(FaultKind.HOOK_AFTER, picked, request, true_answer)
        if any(fault.kind is FaultKind.MASK for fault in picked):
            true_answer = masked(true_answer)
    elif breaking.kind is FaultKind.LATE:
        world.later(request, world.clock.now() + timedelta(seconds=breaking.seconds))
    if breaking is None:
        assert true_answer is not None
        return _finish(world, true_answer, picked)
    return _finish(world, spoil(breaking, request, true_answer, world.options.error_style), picked)


def _finish(world: InfobipWorld, answer: Response | Drop, picked: Sequence[Fault]) -> Response | Drop:
    """Delay and date the answer."""
    delay = shift = 0.0
    for fault in picked:
        if fault.kind is FaultKind.DATE:
            shift += fault.seconds
        if fault.kind is FaultKind.DELAY:
            delay += fault.seconds
            fault.entered.set()
            if fault.until is not None:
                fault.until.wait()
    if isinstance(answer, Drop):
        return answer
    date = format_datetime(world.clock.now() + timedelta(seconds=shift), usegmt=True)
    return replace(answer, headers={**answer.headers, "Date": date}, delay=answer.delay + delay)


def _call_hooks(kind: FaultKind, picked: Sequence[Fault], request: Request, answer: Response | None) -> None:
    for fault in picked:
        if fault.kind is kind:
            assert fault.hook is not None, "a fault of this kind needs a hook"
            fault.hook(request, answer)


def spoil(fault: Fault, request: Request, answer: Response | None, style: ErrorStyle) -> Response | Drop:
    """Return what the caller gets in place of ``answer``, which is ``None`` if the request had no effect."""
    match fault.kind:
        case FaultKind.REFUSE:
            return Drop(DropKind.REFUSED)
        case FaultKind.DROP_BEFORE | FaultKind.DROP_AFTER:
            return Drop(DropKind.CLOSED)
        case FaultKind.HANG_BEFORE | FaultKind.HANG_AFTER | FaultKind.LATE:
            return Drop(DropKind.HANG)
        case FaultKind.STATUS_BEFORE | FaultKind.STATUS_AFTER:
            return _error(fault, request, style, fault.status)
        case FaultKind.THROTTLE:
            return _error(fault, request, style, 429)
        case FaultKind.REDIRECT:
            status = fault.status if 300 <= fault.status < 400 else 302
            return Response(status, {"Location": ELSEWHERE, "Content-Type": "text/html"})
    assert answer is not None
    match fault.kind:
        case FaultKind.GARBAGE:
            return replace(answer, body=b'{"apiKeys": [{"id": \x00\xff')
        case FaultKind.TRUNCATE:
            return replace(answer, body=answer.body[: len(answer.body) // 2], declared_length=max(1, len(answer.body)))
        case FaultKind.HUGE:
            return replace(answer, body=b'{"padding": "' + b"x" * max(0, fault.size - 15) + b'"}')
        case FaultKind.WRONG_ID:
            return _changed(answer, "id", lambda text: text[::-1])
    return answer


def without_filters(request: Request, faults: Iterable[Fault]) -> Request:
    """Return the request without the query parameters that the faults ignore."""
    ignored = {fault.param for fault in faults if fault.kind is FaultKind.IGNORE_FILTER}
    if not ignored:
        return request
    return replace(request, query={name: text for name, text in request.query.items() if name not in ignored})


def masked(answer: Response) -> Response:
    """Return the answer with the values of its keys masked; unchanged if it holds none."""
    return _changed(answer, "apiKeySecret", mask)


def _error(fault: Fault, request: Request, style: ErrorStyle, status: int) -> Response:
    headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
    chosen = style if fault.body is ErrorStyle.DOCUMENTED else fault.body
    return error_response(Refusal(status, "simulated fault", headers=headers), request.path, chosen)


def _changed(answer: Response, field: str, change: Callable[[str], str]) -> Response:
    """Return the answer with one field of its keys changed; unchanged if it holds none."""
    try:
        payload = answer.json()
    except ValueError:
        return answer
    keys = payload.get("apiKeys", [payload]) if isinstance(payload, dict) else []
    for key in keys:
        if isinstance(key.get(field), str):
            key[field] = change(key[field])
    return replace(answer, body=json.dumps(payload).encode())
