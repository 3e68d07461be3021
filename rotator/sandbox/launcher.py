"""Both servers together: a simulated Infobip and Secrets Manager, with one clock and an example fleet."""

from __future__ import annotations

import contextlib
import shlex
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from rotator.errors import ConfigurationError
from rotator.sandbox.aws import MotoServer, environment
from rotator.sandbox.clocks import MovableClock, OffsetClock
from rotator.sandbox.fleet import Fleet, seed
from rotator.sandbox.infobip import InfobipWorld
from rotator.sandbox.server import InfobipServer
from rotator.sandbox.state import Options

__all__ = ["Sandbox", "environment_text", "seed", "serve_sandbox"]


class Sandbox:
    """A context manager with both servers.

    :param clock: what both go by; the machine's clock with a movable offset by default.
    :param port: of the simulated Infobip, the next one being Secrets Manager's; 0 is any free ones.
    :param seeded: whether the example fleet is there.
    """

    def __init__(
        self,
        *,
        clock: MovableClock | None = None,
        options: Options | None = None,
        world_seed: int = 1,
        port: int = 0,
        seeded: bool = True,
    ) -> None:
        self.clock: MovableClock = clock or OffsetClock()
        self.world = InfobipWorld(self.clock, seed=world_seed, options=options)
        self.infobip = InfobipServer(self.world, port=port)
        self.aws = MotoServer(self.clock, port=port + 1 if port else 0)
        self.fleet: Fleet | None = None
        self._seeded = seeded
        self._stack = contextlib.ExitStack()

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for the command line."""
        return environment(self.infobip.url, self.aws.url)

    def client(self) -> Any:
        """A boto3 Secrets Manager client."""
        return self.aws.client()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.aws)
            stack.enter_context(self.infobip)
            if self._seeded:
                self.fleet = seed(self.world, self.client(), self.infobip.url)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, tb)


def serve_sandbox(
    port: int | None,
    stop: threading.Event,
    *,
    ready: Callable[[Sandbox], None],
    clock: MovableClock | None = None,
    options: Options | None = None,
) -> None:
    """Run a seeded sandbox until ``stop`` is set.

    :param port: of the simulated Infobip (Secrets Manager gets the next one); ``None`` is any free ones.
    :param ready: called once, when both servers answer: print :func:`environment_text` there.

    ``ConfigurationError`` where a port is taken or moto is missing.
    """
    if port is not None and not 0 < port < 65535:
        raise ConfigurationError(f"Port {port} can't be used.", advice="Choose one from 1024 to 65534.")
    try:
        sandbox = Sandbox(clock=clock, options=options, port=port or 0)
        with sandbox:
            ready(sandbox)
            stop.wait()
    except OSError as e:
        where = f"port {port} or {port + 1}" if port is not None else "a free port"
        raise ConfigurationError(
            f"The sandbox can't listen on {where} ({e.strerror or type(e).__name__}).",
            advice="Choose another with --port.",
        ) from None


def environment_text(variables: Mapping[str, str]) -> str:
    """Lines for a shell: ``export NAME=value``."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())
