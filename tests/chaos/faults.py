"""Everything that can go wrong with one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rotator.errors import (
    PreconditionFailed,
    RotatorError,
    SecretNotFound,
    StoreDenied,
    StoreOutcomeUnknown,
    StoreRejected,
    StoreUnavailable,
)
from rotator.sandbox.faults import Fault, FaultBody, FaultKind
from rotator.sandbox.wire import Request, Response
from tests.world import World


class Kill(BaseException):
    """The process is gone."""


@dataclass(frozen=True)
class AwsFault:
    """At one call of Secrets Manager: raised before the effect, or after it."""

    name: str
    error: Callable[[str], BaseException]
    after: bool = False
    reads: bool = True
    writes: bool = True


WRITES = frozenset({"stage", "promote", "add_label", "remove_label"})


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
        add(f"502-html-{times}", FaultKind.STATUS_BEFORE, times, status=502, body=FaultBody.HTML)
        add(f"500-after-{times}", FaultKind.STATUS_AFTER, times, status=500)
    add("truncated", FaultKind.TRUNCATE)
    add("redirected", FaultKind.REDIRECT)
    add("wrong-id", FaultKind.WRONG_ID)
    add("huge", FaultKind.HUGE)
    add("late", FaultKind.LATE, seconds=45.0)
    return tuple(found)


HTTP_FAULTS = _faults()


def arm_aws(world: World, fault: AwsFault, index: int) -> None:
    """Let the ``index``-th call of Secrets Manager (from 0, of those to come) go wrong."""
    count = -1
    hit = False

    def before(op: str, secret: str) -> None:
        nonlocal count, hit
        count += 1
        applies = fault.writes if op in WRITES else fault.reads
        hit = count == index and applies
        if hit and not fault.after:
            hit = False
            raise fault.error(op)

    earlier = world.store.after

    def after(op: str, secret: str) -> None:
        nonlocal hit
        if earlier is not None:
            earlier(op, secret)
        if hit and fault.after:
            hit = False
            raise fault.error(op)

    world.store.before, world.store.after = before, after


def disarm(world: World, after: object) -> None:
    """No more faults."""
    world.store.before = None
    world.store.after = after  # type: ignore[assignment]
    world.infobip.faults.clear()
