"""Several actors on one world, interleaved call by call: in a random order, or in every possible one.

Each actor has a thread of its own that stops before every call, to Secrets Manager or to Infobip, until the order lets
it go on. Only one thread runs at any moment, so the order alone decides what happens, and an order can be replayed.
An order is a text with one letter a call: ``aaabba`` lets actor ``a`` make three calls, then ``b`` two, then ``a`` one;
at its end the unfinished actors run to their ends, one by one.

Time is the world's and stands still but for an actor's own waiting: to the others it jumps, as for a suspended process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rotator.errors import RotatorError
from tests.chaos.faults import before_each_call
from tests.doubles.memory_store import MemoryStore
from tests.world import World

TIMEOUT = 60.0
"""Real seconds after which an actor that neither stops nor ends counts as stuck. Nothing ever waits that long."""
MOST_CALLS = 500
WRITES = frozenset({"stage", "promote", "add_label", "remove_label", "POST", "PUT", "DELETE", "by hand"})


class Stuck(Exception):
    """An actor neither stopped before a call nor ended: a mistake of the harness, or a real deadlock."""


@dataclass(eq=False)
class Actor:
    """One of those who act at the same time.

    :param next_call: the call that it stops before; ``"begin"`` at first.
    :param made: the calls that it made.
    :param error: the project's own error that it ended with (which is allowed).
    :param crash: any other exception that it ended with (which is not).
    """

    letter: str
    act: Callable[[], object]
    next_call: str = "begin"
    made: list[str] = field(default_factory=list)
    done: bool = False
    result: object = None
    error: RotatorError | None = None
    crash: BaseException | None = None
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


class Interleaver:
    """Lets actors make one call after another.

    :param acts: by letter.
    :param stores: Secrets Managers beside the world's own, of other regions.
    """

    def __init__(
        self, world: World, acts: dict[str, Callable[[], object]], stores: tuple[MemoryStore, ...] = ()
    ) -> None:
        self.world = world
        self._other_stores = stores
        self.actors = {letter: Actor(letter, act) for letter, act in acts.items()}
        self.trace: list[str] = []
        self._stopped = threading.Semaphore(0)
        self._threads: dict[int, Actor] = {}

    @property
    def order(self) -> str:
        """What was done, one letter a call: it replays."""
        return "".join(self.trace)

    def unfinished(self) -> list[str]:
        """The letters of those that still have something to do."""
        return [letter for letter, actor in self.actors.items() if not actor.done]

    def run(self, order: Iterator[str]) -> None:
        """Let the actors make their calls until all are done.

        :param order: whose call is next; the finished are skipped. At its end the actors finish one by one.
        :raises Stuck: an actor waits for something else than the order.
        """
        threads = [threading.Thread(target=self._run, args=(actor,), daemon=True) for actor in self.actors.values()]
        with before_each_call(self.world, self.stop, *self._other_stores):
            for thread in threads:
                thread.start()
                self._wait()  # until it stops before its first call
            while waiting := self.unfinished():
                letter = next((letter for letter in order if letter in waiting), waiting[0])
                self._step(self.actors[letter])
            for thread in threads:
                thread.join(TIMEOUT)
        for actor in self.actors.values():
            if actor.crash is not None:
                raise actor.crash

    def _step(self, actor: Actor) -> None:
        self.trace.append(actor.letter)
        actor.made.append(actor.next_call)
        actor.go.release()
        self._wait()

    def _wait(self) -> None:
        if not self._stopped.acquire(timeout=TIMEOUT):
            raise Stuck(f"after {self.order}: {[(a.letter, a.next_call) for a in self.actors.values() if not a.done]}")

    def _run(self, actor: Actor) -> None:
        self._threads[threading.get_ident()] = actor
        try:
            self.stop("begin")
            actor.result = actor.act()
        except RotatorError as error:
            actor.error = error
        except BaseException as crash:
            actor.crash = crash
        del self._threads[threading.get_ident()]  # a later thread may get the same one
        actor.done = True
        self._stopped.release()

    def stop(self, call: str) -> None:
        """Called by an actor before a call: wait until the order lets it. Any other thread goes on at once."""
        actor = self._threads.get(threading.get_ident())
        if actor is None:
            return
        actor.next_call = call
        self._stopped.release()
        if not actor.go.acquire(timeout=TIMEOUT):
            raise Stuck(f"{actor.letter} waits before {call}")


def writes(call: str) -> bool:
    """Whether a call changes anything: two calls that only read may be in either order."""
    return call.split(" ")[0] in WRITES


@dataclass(frozen=True)
class Switches:
    """``a`` makes ``i`` calls, ``b`` makes ``j``, ``a`` goes on to its end, then ``b`` does."""

    first: str
    second: str
    i: int
    j: int

    def order(self) -> Iterator[str]:
        """The order as far as it is forced."""
        yield from self.first * self.i
        yield from self.second * self.j
        yield from self.first * MOST_CALLS


def two_switches(calls: dict[str, list[str]], *, alike: bool = False) -> Iterator[Switches]:
    """Every interleaving of a pair of actors in which one is interrupted once, and then the other once.

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
                    continue  # the second may as well go on: the first only reads from here on
                if not any(map(writes, theirs[:j])) and not writes(mine[i]):
                    continue  # the second only read: it may do so later, before the first's next write
                yield Switches(first, second, i, j)
