"""Everything that can go wrong with one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from rotator.errors import (
    PreconditionFailed,
    RotatorError,
    SecretNotFound,
    StoreDenied,
    StoreOutcomeUnknown,
    StoreRejected,
    StoreUnavailable,
)
from rotator.sandbox.exchange import ErrorStyle, Request, Response
from tests.doubles.memory_store import Hook, MemoryStore
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import World


class Kill(BaseException):
    """The process was killed."""


WRITES = frozenset({"stage", "promote", "add_label", "remove_label"})


@dataclass(frozen=True)
class AwsFault:
    """At one call of Secrets Manager: raised before the effect, or after it; or, instead, time passes before it."""

    name: str
    error: Callable[[str], BaseException]
    after: bool = False
    reads: bool = True
    writes: bool = True
    pause: timedelta = timedelta(0)

    def applies(self, op: str) -> bool:
        return self.writes if op in WRITES else self.reads


def _lost(op: str) -> RotatorError:
    return StoreOutcomeUnknown("lost") if op in WRITES else StoreUnavailable("lost")


AWS_FAULTS = (
    AwsFault("killed-before", lambda op: Kill()),
    AwsFault("killed-after", lambda op: Kill(), after=True),
    AwsFault("answer-lost", _lost, after=True),
    AwsFault("never-arrived", _lost),
    AwsFault("ThrottlingException", lambda op: StoreUnavailable("throttled")),
    AwsFault(
        "InternalServiceError", lambda op: StoreUnavailable("500") if op not in WRITES else StoreOutcomeUnknown("500")
    ),
    AwsFault("InvalidRequestException", lambda op: StoreRejected("invalid")),
    AwsFault("ResourceNotFoundException", lambda op: SecretNotFound("gone")),
    AwsFault("DecryptionFailure", lambda op: StoreDenied("kms", action="kms:Decrypt")),
    AwsFault("AccessDenied", lambda op: StoreDenied("denied", action=op)),
    AwsFault("precondition", lambda op: PreconditionFailed("lost"), reads=False),
)


@dataclass(frozen=True)
class HttpFault:
    """At one request to Infobip, ``count`` times in a row."""

    name: str
    make: Callable[[int], Fault]


def _kill(request: Request, answer: Response | None) -> None:
    raise Kill


def _faults() -> tuple[HttpFault, ...]:
    found: list[HttpFault] = []

    def add(name: str, kind: FaultKind, count: int = 1, **more: object) -> None:
        found.append(HttpFault(name, lambda nth: Fault(kind, nth=nth, count=count, **more)))  # type: ignore[arg-type]

    add("killed-before", FaultKind.HOOK_BEFORE, hook=_kill)
    add("killed-after", FaultKind.HOOK_AFTER, hook=_kill)
    for times in (1, 6):
        add(f"answer-lost-{times}", FaultKind.DROP_AFTER, times)
        add(f"reset-{times}", FaultKind.DROP_BEFORE, times)
        add(f"refused-{times}", FaultKind.REFUSE, times)
        add(f"timeout-before-{times}", FaultKind.HANG_BEFORE, times)
        add(f"timeout-after-{times}", FaultKind.HANG_AFTER, times)
        add(f"throttled-{times}", FaultKind.THROTTLE, times)
        add(f"throttled-retry-after-{times}", FaultKind.THROTTLE, times, retry_after="2")
        add(f"throttled-long-{times}", FaultKind.THROTTLE, times, retry_after="3600")
        add(f"garbage-{times}", FaultKind.GARBAGE, times)
        for status in (401, 403, 404, 409, 500):
            add(f"{status}-before-{times}", FaultKind.STATUS_BEFORE, times, status=status)
        add(f"502-html-{times}", FaultKind.STATUS_BEFORE, times, status=502, body=ErrorStyle.HTML)
        add(f"500-after-{times}", FaultKind.STATUS_AFTER, times, status=500)
    add("truncated", FaultKind.TRUNCATE)
    add("redirected", FaultKind.REDIRECT)
    add("wrong-id", FaultKind.WRONG_ID)
    add("huge", FaultKind.HUGE)
    add("late", FaultKind.LATE, seconds=45.0)
    return tuple(found)


HTTP_FAULTS = _faults()


SUSPENDED = timedelta(minutes=11)
"""How long a process stands still ahead of a call: for longer than a creation may be old when it is promoted."""
SUSPENSION = AwsFault("suspended", lambda op: Kill(), pause=SUSPENDED)
"""For single calls only, at either far end: the two years have time pass by themselves."""


@contextmanager
def armed(world: World, fault: AwsFault | HttpFault, index: int, *, infobip: bool) -> Iterator[Callable[[], int]]:
    """Let the ``index``-th call of one far end (from 0, of those to come) go wrong. Gives how often it did."""
    before, after = world.store.before, world.store.after
    if infobip:
        make = fault.make if isinstance(fault, HttpFault) else lambda nth: _suspension(world, nth)
        made = world.infobip.faults.add(make(index + 1))
        yield lambda: made.hits
    else:
        assert isinstance(fault, AwsFault)
        yield _arm_aws(world, fault, index)
    world.store.before, world.store.after = before, after
    world.infobip.faults.clear()


def _suspension(world: World, nth: int) -> Fault:
    return Fault(FaultKind.HOOK_BEFORE, nth=nth, hook=lambda _request, _answer: world.pass_time(SUSPENDED))


def _arm_aws(world: World, fault: AwsFault, index: int) -> Callable[[], int]:
    count, hits, due = -1, 0, False

    def before(op: str, _secret: str) -> None:
        nonlocal count, hits, due
        count += 1
        if count != index or not fault.applies(op):
            return
        hits += 1
        if fault.pause:
            world.pass_time(fault.pause)
        elif fault.after:
            due = True
        else:
            raise fault.error(op)

    def after(op: str, _secret: str) -> None:
        nonlocal due
        if due:
            due = False
            raise fault.error(op)

    world.store.before, world.store.after = then(world.store.before, before), then(world.store.after, after)
    return lambda: hits


def then(*hooks: Hook | None) -> Hook:
    """All of these, one after the other."""

    def each(op: str, secret: str) -> None:
        for hook in hooks:
            if hook is not None:
                hook(op, secret)

    return each


@contextmanager
def before_each_call(world: World, act: Callable[[str], None], *others: MemoryStore) -> Iterator[None]:
    """Let something happen ahead of each call of Secrets Manager (and of other regions' ones) and of Infobip."""

    def before_http(request: Request, _answer: Response | None) -> None:
        act(f"{request.method} {request.path.rsplit('/', 2)[-1]}")

    earlier = [(store, store.before) for store in (world.store, *others)]
    for store, hook in earlier:
        store.before = then(hook, lambda op, secret: act(f"{op} {secret}"))
    world.infobip.faults.add(Fault(FaultKind.HOOK_BEFORE, count=None, hook=before_http))
    yield
    for store, hook in earlier:
        store.before = hook
    world.infobip.faults.clear()


@contextmanager
def at_calls(
    world: World, *acts: tuple[int, Callable[[], None]], stores: tuple[MemoryStore, ...] = ()
) -> Iterator[list[str]]:
    """Let things happen ahead of some calls, counted from 0 over all servers. Gives the calls, as they are made."""
    calls: list[str] = []

    def before(call: str) -> None:
        calls.append(call)
        for index, act in acts:
            if index == len(calls) - 1:
                act()

    with before_each_call(world, before, *stores):
        yield calls
