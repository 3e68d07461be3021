"""No local variable holds a value in plain text, where an error, a crash reporter or a debugger would show it."""

from __future__ import annotations

import io
import json
import sys
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest

from rotator.engine.adopt import adopt
from rotator.engine.emergency import Emergency, Strategy, Target
from rotator.engine.rotate_now import rotate_now
from rotator.errors import ConfigurationError, RotatorError
from rotator.sandbox.exchange import Request, Response
from rotator.secret import Secret
from rotator.telemetry.audit import Trigger
from tests import leaks
from tests.aws.conftest import aws, aws_server, clean_env, clients, credentials, make_store, store
from tests.aws.fake_aws import Answer, FakeAws, drop, error, ok, text
from tests.fuzz.strategies import result_of
from tests.infobip.answers import KEY_VALUE
from tests.security.shown_locals import as_shown, own_frames, shown
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import DAY, HOUR, PLAIN, World

__all__ = ["aws", "aws_server", "clean_env", "clients", "credentials", "make_store", "store"]

VERSION = "a" * 32
PASSWORD = "Correct-Horse-Battery-9!"


class FrameWatch:
    """Dumps every frame of the program at each call of Infobip or AWS, and at each audit line."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.dumps = 0
        self.leaks: set[str] = set()
        world.store.before = world.store.after = self._at_store
        for kind in (FaultKind.HOOK_BEFORE, FaultKind.HOOK_AFTER):
            world.infobip.faults.add(Fault(kind, count=None, hook=self._at_infobip))

    def _at_store(self, method: str, secret: str) -> None:
        self.dump()

    def _at_infobip(self, request: Request, response: Response | None) -> None:
        self.dump()

    def dump(self) -> None:
        self.dumps += 1
        values = {str(key.value) for key in self.world.infobip.keys()} | {PASSWORD}
        for frame in own_frames(sys._getframe(1)):
            locals_shown = shown(frame)
            if any(value in locals_shown for value in values):
                self.leaks.add(locals_shown.splitlines()[0])


@pytest.mark.parametrize(("auth", "reveal"), [("basic", True), ("ibsso", False), ("oauth2", True)])
def test_no_frame_holds_value_at_any_call(auth: str, reveal: bool) -> None:
    """Threat: a crash reporter that prints local variables. No frame of the program contains a value in plain text, at
    any call. A key's whole life, an emergency and a leaked value: at each call of Infobip or AWS every frame is
    dumped.
    """
    world = World()
    world.infobip.options.reveal = reveal
    account = world.infobip.add_account("main")
    world.accounts["main"] = account.id
    world.management(world.infobip.add_user(account, "ops-main", PASSWORD), auth=auth)
    world.secret("prod/new", adopted=False)
    world.secret("prod/plain", value=PLAIN, left=5 * DAY)
    world.secret("prod/json", left=5 * DAY, extra={"other": 1})
    leaked = world.current_value("prod/new")
    watch = FrameWatch(world)
    world.sweep()
    world.pass_time(80 * HOUR)
    world.sweep()
    adopt(world.services(), "prod/new")
    rotate_now(world.services(), "prod/json", "by hand")
    for target in (Target(secret="prod/plain"), Target(leaked=Secret(leaked))):
        emergency = Emergency(world.services(Trigger.EMERGENCY), "leak", "INC-1")
        plan = emergency.plan(target, Strategy.REPLACE_FIRST)
        assert emergency.dry_run(plan).ok
        assert emergency.execute(plan).ok
    assert watch.dumps > 100
    assert watch.leaks == set()


def test_watch_finds_value_in_plain_text() -> None:
    """The test above can fail: a frame of the program that holds a value in plain text is found."""
    world = World()
    world.secret("prod/x")
    watch = FrameWatch(world)
    namespace: dict[str, Any] = {}
    source = "def careless(value, dump):\n    opened = value.reveal()\n    dump()\n"
    exec(compile(source, str(Secret.__init__.__code__.co_filename), "exec"), namespace)  # noqa: S102 - a frame of its own
    namespace["careless"](Secret(world.current_value("prod/x")), watch.dump)
    assert len(watch.leaks) == 1


ANSWERS: list[Answer] = [
    error("AccessDeniedException", "no"),
    error("InternalServiceError", status=500),
    text(200),
    text(200, b"\x80"),
    text(200, json.dumps({"SecretString": KEY_VALUE}).encode()),
    drop,
    ok(ARN="arn", Name="n", VersionId=VERSION, SecretBinary=b64encode(KEY_VALUE.encode()).decode()),
]


@pytest.mark.parametrize("number", range(len(ANSWERS)))
def test_no_traceback_of_store_shows_value(aws: FakeAws, store: Any, number: int) -> None:
    value = Secret(KEY_VALUE)
    quoted = error("InvalidParameterException", f"'{KEY_VALUE}' failed to satisfy constraint")
    calls: list[tuple[Answer, Callable[[], object]]] = [
        (ANSWERS[number], lambda: store.stage("prod/x", VERSION, value, ("AWSPENDING",))),
        (quoted, lambda: store.stage("prod/x", VERSION, value, ("AWSPENDING",))),
        (quoted, lambda: store.stage("prod/x", "short", value, ("AWSPENDING",))),
        (ANSWERS[number], lambda: store.read_current("prod/x")),
    ]
    raised = 0
    for answer, call in calls:
        aws.answers = [answer]
        _, caught = result_of(call, RotatorError)
        if caught is not None:
            raised += 1
            assert KEY_VALUE not in as_shown(caught)
            assert caught.__context__ is None
    assert raised >= 3


class Bug(Exception):
    """An exception that nobody expects."""


@pytest.mark.parametrize("event", ["provide-client-params", "before-call", "after-call"])
def test_bugs_traceback_shows_no_value(aws: FakeAws, store: Any, event: str) -> None:
    def raise_bug(**_: object) -> None:
        raise Bug

    aws.answers = [ok(ARN="arn", Name="n", VersionId=VERSION, SecretString=KEY_VALUE)]
    store._client.meta.events.register(f"{event}.secrets-manager.*", raise_bug)
    try:
        calls: list[Callable[[], object]] = [
            lambda: store.stage("n", VERSION, Secret(KEY_VALUE), ("AWSPENDING",)),
            lambda: store.read_current("n"),
        ]
        for call in calls:
            with pytest.raises(Bug) as caught:
                call()
            assert "raise_bug" in [entry.name for entry in caught.traceback]
            assert KEY_VALUE not in as_shown(caught.value)
    finally:
        store._client.meta.events.unregister(f"{event}.secrets-manager.*", raise_bug)


def test_traceback_with_locals_is_searched() -> None:
    """The search can fail: a value in a frame outside of the tests is found."""
    with pytest.raises(ValueError, match="delimiter") as caught:
        json.loads(f'{{"{KEY_VALUE}"')
    assert KEY_VALUE in as_shown(caught.value)


class Pipe:
    """A standard input that is no terminal."""

    def __init__(self, raw: bytes) -> None:
        self.buffer = io.BytesIO(raw)
        self.closed = False

    def isatty(self) -> bool:
        return False


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    return lambda raw: monkeypatch.setattr(sys, "stdin", Pipe(raw))


@pytest.mark.parametrize(
    "around",
    [
        ("", " and more"),
        ('"', '"\n"x"'),
        ("\x00", ""),
        ("é", ""),
        ('{"password": "', '"'),
        ('[{"password": "', '"}]'),
        ('{"password": "', '"}\n{"secret": '),
    ],
)
def test_traceback_shows_no_stdin(stdin: Callable[[bytes], None], around: tuple[str, str]) -> None:
    from rotator.cli.leaked import read_leaked

    part = leaks.register(KEY_VALUE[:-1])  # the whole would be taken for what it is
    stdin(f"{around[0]}{part}{around[1]}".encode())
    with pytest.raises(ConfigurationError) as caught:
        read_leaked()
    assert part not in as_shown(caught.value)


@pytest.mark.parametrize("text", ["{}\n", '[{{"password": "{}"}},\n'])
def test_traceback_shows_no_excess_keys(stdin: Callable[[bytes], None], text: str) -> None:
    from rotator.cli.leaked import MOST_KEYS, read_leaked

    keys = [f"{number:032x}{KEY_VALUE[32:]}" for number in range(MOST_KEYS + 1)]
    stdin("".join(text.format(key) for key in keys).encode())
    with pytest.raises(ConfigurationError, match=str(MOST_KEYS)) as caught:
        read_leaked()
    assert KEY_VALUE[32:] not in as_shown(caught.value)
