"""Several actors on one world, interleaved call by call by whoever chooses the order: chance, or every possibility.

Each actor has a thread of its own that stops before every call, to Secrets Manager or to Infobip, until it is given the
next turn. Only one thread runs at any moment, so the order alone decides what happens, and an order can be replayed.
An order is a text with one letter a call: ``aaabba`` lets actor ``a`` make three calls, then ``b`` two, then ``a`` one;
what is still unfinished at its end runs to its end, actor by actor.

Time is the world's and stands still but for an actor's own waiting: to the others it jumps, as it does for somebody
whose process was suspended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rotator.errors import RotatorError
from rotator.sandbox.exchange import Request, Response
from rotator.sandbox.faults import Fault, FaultKind
from tests.doubles.memory_store import MemoryStore
from tests.world import World

PATIENCE = 60.0
"""Real seconds after which an actor that neither stops nor ends is taken for dead. Nothing ever waits that long."""
MOST_CALLS = 500
WRITES = frozenset({"stage", "promote", "add_label", "remove_label", "POST", "PUT", "DELETE", "by hand"})


class Stuck(Exception):
    """An actor neither stopped before a call nor ended: a mistake of the harness, or a real deadlock."""


@dataclass(eq=False)
class Actor:
    """One of those who act at the same time.

    :param coming: the call that it stands before; ``"begin"`` at first.
    :param made: the calls that it made.
    :param error: how it ended, where it ended by an error of the tree (which is allowed).
    :param crash: how it ended otherwise (which is not).
    """

    letter: str
    act: Callable[[], object]
    coming: str = "begin"
    made: list[str] = field(default_factory=list)
    done: bool = False
    result: object = None
    error: RotatorError | None = None
    crash: BaseException | None = None
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


class Stage:
    """Where actors are interleaved.

    :param acts: by letter.
    :param stores: Secrets Managers beside the world's own, of other regions.
    """

    def __init__(
        self, world: World, acts: dict[str, Callable[[], object]], stores: tuple[MemoryStore, ...] = ()
    ) -> None:
        self.world = world
        self._stores = (world.store, *stores)
        self.actors = {letter: Actor(letter, act) for letter, act in acts.items()}
        self.trace: list[str] = []
        self._baton = threading.Semaphore(0)
        self._threads: dict[int, Actor] = {}

    @property
    def order(self) -> str:
        """What was done, one letter a call: it replays."""
        return "".join(self.trace)

    def unfinished(self) -> list[str]:
        """The letters of those that still have something to do."""
        return [letter for letter, actor in self.actors.items() if not actor.done]

    def play(self, turns: Iterator[str]) -> None:
        """Give turns until everybody is done.

        :param turns: whose call is next; the finished are passed over. At its end the actors finish one by one.
        :raises Stuck: an actor waits for something else than its turn.
        """
        self._hook()
        threads = [threading.Thread(target=self._run, args=(actor,), daemon=True) for actor in self.actors.values()]
        for thread in threads:
            thread.start()
            self._wait()  # until it stands before its first call
        while waiting := self.unfinished():
            letter = next((turn for turn in turns if turn in waiting), waiting[0])
            self._step(self.actors[letter])
        for thread in threads:
            thread.join(PATIENCE)
        self._unhook()
        for actor in self.actors.values():
            if actor.crash is not None:
                raise actor.crash

    def _step(self, actor: Actor) -> None:
        self.trace.append(actor.letter)
        actor.made.append(actor.coming)
        actor.go.release()
        self._wait()

    def _wait(self) -> None:
        if not self._baton.acquire(timeout=PATIENCE):
            raise Stuck(f"after {self.order}: {[(a.letter, a.coming) for a in self.actors.values() if not a.done]}")

    def _run(self, actor: Actor) -> None:
        self._threads[threading.get_ident()] = actor
        try:
            self.stop("begin")
            actor.result = actor.act()
        except RotatorError as error:
            actor.error = error
        except BaseException as crash:
            actor.crash = crash
        actor.done = True
        self._baton.release()

    def stop(self, call: str) -> None:
        """Called by an actor before a call: wait for the next turn. Anybody else goes on at once."""
        actor = self._threads.get(threading.get_ident())
        if actor is None:
            return
        actor.coming = call
        self._baton.release()
        if not actor.go.acquire(timeout=PATIENCE):
            raise Stuck(f"{actor.letter} waits before {call}")

    def _hook(self) -> None:
        def before_http(request: Request, _answer: Response | None) -> None:
            self.stop(f"{request.method} {request.path.rsplit('/', 2)[-1]}")

        for store in self._stores:
            store.before = lambda op, secret: self.stop(f"{op} {secret}")
        self._fault = self.world.infobip.faults.add(Fault(FaultKind.HOOK_BEFORE, count=None, hook=before_http))

    def _unhook(self) -> None:
        for store in self._stores:
            store.before = None
        self.world.infobip.faults.clear()


def writes(call: str) -> bool:
    """Whether a call changes anything: two calls that only read may as well be in the other order."""
    return call.split(" ")[0] in WRITES


@dataclass(frozen=True)
class Switches:
    """``a`` makes ``i`` calls, ``b`` makes ``j``, ``a`` goes on to its end, then ``b`` does."""

    first: str
    second: str
    i: int
    j: int

    def turns(self) -> Iterator[str]:
        """The order as far as it is forced."""
        yield from self.first * self.i
        yield from self.second * self.j
        yield from self.first * MOST_CALLS


def two_switches(calls: dict[str, list[str]], *, alike: bool = False) -> Iterator[Switches]:
    """Every interleaving of a pair of actors in which one is interrupted once, and the other then once in its turn.

    Left out are those that differ from another one only in the order of calls that do not change anything.

    :param calls: what each makes when it is alone, by letter.
    :param alike: both do the same, so that it does not matter which of them is the first.
    """
    one, two = calls
    for first, second in ((one, two),) if alike else ((one, two), (two, one)):
        mine, theirs = calls[first], calls[second]
        for i in range(len(mine)):
            rest_writes = any(map(writes, mine[i:]))
            for j in range(1, len(theirs) + 1):
                last = j == len(theirs)
                if not last and not rest_writes:
                    continue  # the second may as well go on: the first only looks from here on
                if not any(map(writes, theirs[:j])) and not writes(mine[i]):
                    continue  # the second only looked: it may as well do so later, before the first's next write
                yield Switches(first, second, i, j)
