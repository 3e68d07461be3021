"""A client of Infobip for tests, and the sandbox that it talks to where nothing is to go wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from requests.adapters import HTTPAdapter

from rotator.infobip.client import InfobipClient
from rotator.infobip.connection import DeadlineAdapter
from rotator.infobip.credentials import AuthMethod, Credentials
from rotator.patience import Patience
from rotator.ports import Clock
from rotator.redaction.redactor import Redactor
from rotator.sandbox.clocks import VirtualClock
from rotator.sandbox.infobip import InfobipWorld
from rotator.sandbox.server import InfobipServer
from rotator.sandbox.state import Options, SimAccount
from rotator.secret import Secret

PASSWORD = "pa:ss wörd/€+%"
USER = "rötator"


class RecordingClock(VirtualClock):
    """Time that moves only by waiting, and remembers the waits."""

    def __init__(self) -> None:
        super().__init__()
        self.sleeps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        super().sleep(seconds)


class RecordingRedactor(Redactor):
    """Remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.learned: list[str] = []

    def learn(self, text: str) -> None:
        self.learned.append(text)
        super().learn(text)


def client_for(
    url: str,
    clock: Clock | None = None,
    *,
    auth: AuthMethod = AuthMethod.BASIC,
    patience: Patience | None = None,
    account_id: str | None = None,
    redactor: Redactor | None = None,
    unsafe_sessions: bool = False,
    fall_back_to_basic: bool = False,
    username: str = USER,
    adapters: Callable[[], HTTPAdapter] = DeadlineAdapter,
) -> InfobipClient:
    """A client with the password of these tests."""
    return InfobipClient(
        Credentials(url, username, Secret(PASSWORD), auth, account_id),
        clock or RecordingClock(),
        rng=random.Random(7),
        patience=patience or Patience(2, total=4),
        redactor=redactor,
        unsafe_sessions=unsafe_sessions,
        fall_back_to_basic=fall_back_to_basic,
        adapters=adapters,
    )


@contextmanager
def sandbox(
    options: Options | None = None,
) -> Iterator[tuple[InfobipServer, InfobipWorld, SimAccount, RecordingClock]]:
    """The simulated Infobip over HTTP, with one account and its user, on a clock that remembers its waits."""
    clock = RecordingClock()
    world = InfobipWorld(clock, options=options)
    account = world.add_account()
    world.add_user(account, USER, PASSWORD)
    with InfobipServer(world) as server:
        yield server, world, account, clock
