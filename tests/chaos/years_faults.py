"""Chance: one call in fifty goes wrong, the process is killed now and then, and both servers have an outage."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rotator.errors import RotatorError, StoreOutcomeUnknown, StoreUnavailable
from rotator.sandbox.exchange import ErrorStyle, Request
from tests.chaos.faults import AWS_FAULTS, HTTP_FAULTS, WRITES, AwsFault, Kill
from tests.support.faulty_infobip import Fault, FaultKind, Faults

PROBE = "/account/"
LARGE = 6 * 1024 * 1024
"""Bytes: more than the client takes."""


def _more_faults() -> tuple[tuple[str, Callable[[int], Fault]], ...]:
    """What the harness of single faults does not use: slowness, and a 403, which may as well be a good probe's."""
    return (
        ("slow", lambda nth: Fault(FaultKind.DELAY, nth=nth, seconds=8.0)),
        ("too-slow", lambda nth: Fault(FaultKind.DELAY, nth=nth, seconds=45.0)),
        ("503-xml", lambda nth: Fault(FaultKind.STATUS_BEFORE, nth=nth, status=503, body=ErrorStyle.XML)),
        ("huge", lambda nth: Fault(FaultKind.HUGE, nth=nth, size=LARGE)),  # the harness' own is larger than it need be
    )


INFOBIP_FAULTS = (*((f.name, f.make) for f in HTTP_FAULTS if f.name != "huge"), *_more_faults())
DOWN = (
    Fault(FaultKind.REFUSE, count=None),
    Fault(FaultKind.HANG_BEFORE, count=None),
    Fault(FaultKind.STATUS_BEFORE, count=None, status=503, body=ErrorStyle.HTML),
)


class Chance:
    """When the next fault comes, counted in calls, so that calls that are not made can be skipped.

    :param rate: of 0..1, how many calls go wrong; gaps are geometric, as if each call were drawn for.
    """

    def __init__(self, seed: str, rate: float) -> None:
        self.rng = random.Random(seed)
        self._rate = rate
        self._gap = self._draw()

    def _draw(self) -> int:
        return int(math.log(1.0 - self.rng.random()) / math.log(1.0 - self._rate))

    def hit(self) -> bool:
        """Count a call; whether it goes wrong."""
        if self._gap:
            self._gap -= 1
            return False
        self._gap = self._draw()
        return True

    def none_for(self, calls: int) -> bool:
        """Whether that many calls will go well."""
        return self._gap >= calls

    def skip(self, calls: int) -> None:
        """Count calls that were not made."""
        assert self.none_for(calls)
        self._gap -= calls


@dataclass(frozen=True)
class Outages:
    """When the servers are down: ``(from, to)``, or ``None`` for not at all."""

    infobip: tuple[datetime, datetime] | None = None
    aws: tuple[datetime, datetime] | None = None

    def infobip_down(self, now: datetime) -> bool:
        return self.infobip is not None and self.infobip[0] <= now < self.infobip[1]

    def aws_down(self, now: datetime) -> bool:
        return self.aws is not None and self.aws[0] <= now < self.aws[1]

    def touch(self, now: datetime, *, longer: timedelta = timedelta(0)) -> bool:
        """Whether anything is down, or was up to ``longer`` ago."""
        spans = [span for span in (self.infobip, self.aws) if span is not None]
        return any(begin <= now < end + longer for begin, end in spans)


@dataclass
class AccountFaults:
    """What goes wrong for one account. Nothing does before :meth:`begin` and after :meth:`end` of a sweep.

    :param off: no faults by chance.
    :param slow_keys: new keys take a while to work, so that a false 403 to a probe looks like a true one.
    """

    chance: Chance
    now: Callable[[], datetime]
    outages: Outages = field(default_factory=Outages)
    off: bool = False
    slow_keys: bool = False
    kinds: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    hits: int = 0
    killed: bool = False
    _on: bool = False
    _going_on: Fault | None = None
    _lost: BaseException | None = None

    def begin(self) -> None:
        self._on, self.killed, self.hits, self.calls = True, False, 0, 0

    def end(self) -> None:
        """It is over, or was killed. A fault that goes on ends with it."""
        self._on, self._going_on, self._lost = False, None, None

    def none_within(self, calls: int) -> bool:
        """Whether the next so many calls go well by chance."""
        return self.off or self.chance.none_for(calls)

    def skip(self, calls: int) -> None:
        """Count calls that were not made."""
        if not self.off:
            self.chance.skip(calls)

    # ---- Secrets Manager --------------------------------------------------------------------------------------------

    def before(self, op: str) -> None:
        """Ahead of a call; raises what goes wrong before the effect."""
        self._count_call()
        if self.outages.aws_down(self.now()):
            raise StoreOutcomeUnknown("outage") if op in WRITES else StoreUnavailable("outage")
        if not self._hit():
            return
        fault = self.chance.rng.choice([f for f in AWS_FAULTS if (f.writes if op in WRITES else f.reads)])
        error = self._aws_error(fault, op)
        if not fault.after:
            raise error
        self._lost = error

    def after(self) -> None:
        """When a call has taken effect; raises where its answer is lost."""
        lost, self._lost = self._lost, None
        if lost is not None:
            raise lost

    def _aws_error(self, fault: AwsFault, op: str) -> BaseException:
        self._count(f"aws {fault.name}")
        error = fault.error(op)
        if isinstance(error, RotatorError):
            return error
        self.killed = True
        return error

    # ---- Infobip ----------------------------------------------------------------------------------------------------

    def faults_of(self, request: Request) -> Sequence[Fault]:
        """What hits a request."""
        self._count_call()
        if self.outages.infobip_down(self.now()):
            return (self.chance.rng.choice(DOWN),)
        going_on = self._going_on
        if going_on is not None and going_on.due():
            return (going_on,)
        self._going_on = None
        if not self._hit():
            return ()
        blind = self.slow_keys and request.path.startswith(PROBE)
        name, make = self.chance.rng.choice([f for f in INFOBIP_FAULTS if not (blind and f[0].startswith("403"))])
        self._count(f"infobip {name}")
        fault = make(1)
        self.killed = name.startswith("killed")
        assert fault.due()
        self._going_on = fault
        return (fault,)

    # ---- both -------------------------------------------------------------------------------------------------------

    def _count_call(self) -> None:
        self.calls += 1
        if self.killed:
            raise Kill  # whatever is done on the way out of a killed process was never done

    def _hit(self) -> bool:
        return self._on and not self.off and self.chance.hit()

    def _count(self, name: str) -> None:
        self.hits += 1
        self.kinds[name] += 1


class ChanceFaults(Faults):
    """The faults of one account's server."""

    def __init__(self, faults: AccountFaults) -> None:
        super().__init__()
        self._of_account = faults

    def pick(self, request: Request) -> Sequence[Fault]:
        return self._of_account.faults_of(request)
