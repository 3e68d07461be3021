"""Nobody waits long in silence: what a slow call waits for is logged, and people's calls end sooner."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rotator.patience import Patience, SlowCalls
from tests.cli.local_stack import Stack


@contextmanager
def hanging_server() -> Iterator[tuple[str, list[socket.socket]]]:
    """A server that accepts and never answers: its URL, and the connections that it has."""
    accepted: list[socket.socket] = []

    def accept() -> None:
        with server:
            while True:
                connection, _ = server.accept()
                if ending.is_set():
                    connection.close()
                    return
                accepted.append(connection)

    ending, server = threading.Event(), socket.create_server(("127.0.0.1", 0))
    host, port = server.getsockname()
    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"http://{host}:{port}", accepted
    finally:
        ending.set()
        socket.create_connection((host, port)).close()
        thread.join()
        for connection in accepted:
            connection.close()


def told(lines: list[dict[str, object]]) -> list[str]:
    return [str(line["event"]) for line in lines if line.get("log") == "rotator.patience"]


@pytest.mark.parametrize(
    ("auth", "path", "tries"), [("basic", "/settings/2/api-keys", 2), ("ibsso", "/auth/1/session", 1)]
)
def test_hanging_infobip_is_named(stack: Stack, auth: str, path: str, tries: int) -> None:
    with hanging_server() as (url, connections):
        stack.account("main", base_url=url, auth=auth)
        ran = stack.run("plan", "--timeout", "1")
    assert ran.code == 1
    assert len(connections) == tries
    (said,) = told(ran.lines)
    assert url.removeprefix("http://") in said
    assert path in said


def test_hanging_infobip_bounds_emergency(stack: Stack) -> None:
    """The plan's read and the first revocation are repeated; the check, and both again, are not: nothing answers."""
    with hanging_server() as (url, connections):
        stack.account("main", base_url=url)
        command = ("revoke", "--key-id", "A" * 32, "--account", "main", "--reason", "leak", "--yes")
        ran = stack.run(*command, "--timeout", "1", "--json")
    assert (ran.code, [key["verified"] for key in ran.document["keys"]]) == (1, [False])
    assert len(connections) == 2 + 2 + 3


@pytest.mark.parametrize(
    ("command", "tries"), [(("revoke", "--secret", "s", "--reason", "leak", "--yes"), 2), (("run",), 4)]
)
def test_hanging_aws_is_named(stack: Stack, command: tuple[str, ...], tries: int) -> None:
    with hanging_server() as (url, connections):
        ran = stack.run(*command, "--timeout", "1", env={"AWS_ENDPOINT_URL": url})
    assert ran.code == 1
    assert len(connections) == tries
    (said,) = told(ran.lines)
    assert "ListSecrets" in said


@pytest.mark.parametrize(
    ("timeout", "unattended", "read", "tries", "after"),
    [(None, False, 10, 2, 5), (None, True, 20, 4, 5), (1, False, 1, 2, 0.5), (60, True, 60, 4, 5)],
)
def test_people_wait_less(timeout: int | None, unattended: bool, read: float, tries: int, after: float) -> None:
    patience = Patience.of_people(timeout, unattended=unattended)
    assert (patience.read, patience.attempts, patience.connect) == (read, tries, min(5, read))
    assert patience.slow_calls is not None
    assert patience.slow_calls.after == after


def test_fast_calls_are_not_named(caplog: pytest.LogCaptureFixture) -> None:
    slow = SlowCalls(3600)
    with slow.watch("first"), slow.watch("login"):
        pass
    for thread in [each for each in threading.enumerate() if isinstance(each, threading.Timer)]:
        thread.join(10)
        assert not thread.is_alive()
    assert not caplog.records
