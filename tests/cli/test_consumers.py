"""``rotator consumers`` as it is run: a child process, moto, and reads that were really made."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import boto3
import pytest

from tests import leaks
from tests.aws.fake_aws import error, serving
from tests.cli.local_stack import Stack

NAME = "prod/sms/otp"
HOUR = timedelta(hours=1)
HOSTILE = 'x"><script>\x1b[2J'


def read(stack: Stack, user: str, **which: str) -> None:
    """A consumer reads the secret; its access key is its name."""
    made: Any = boto3.client(
        "secretsmanager",
        endpoint_url=stack.aws_url,
        region_name="eu-central-1",
        aws_access_key_id=user,
        aws_secret_access_key="x",
    )
    made.get_secret_value(SecretId=NAME, **which)


@pytest.fixture
def replaced(stack: Stack) -> Stack:
    """billing, sms and a hostile one read it, then its key was replaced, then sms read it and somebody new."""
    account = stack.account("main")
    stack.secret(NAME, account, gate="adoption")
    for user in ("billing", "sms", HOSTILE.replace("\x1b", "?")):
        read(stack, user)
    stack.clock.advance(HOUR)
    assert stack.run("rotate", NAME, "--reason", "test").code == 0
    for key in stack.infobip.keys():
        leaks.register(key.value)
    stack.clock.advance(HOUR)
    read(stack, "sms")
    read(stack, "new")
    read(stack, "billing", VersionStage="AWSPREVIOUS")
    return stack


def test_for_people(replaced: Stack) -> None:
    ran = replaced.run("consumers", NAME)
    assert ran.code == 0
    assert max(len(line) for line in ran.out.splitlines()) <= 80
    assert ran.out.isascii() or "…" in ran.out
    lines = ran.out.splitlines()
    assert lines[0].startswith(f"{NAME} · key ")
    rows = {line.split()[0]: line for line in lines if line.startswith("  user/")}
    assert set(rows) == {"user/billing", 'user/x"><script>?[2J', "user/sms", "user/new"}
    text = " ".join(ran.out.split())
    assert re.search(r"2 principals \w+ 4 ", text)
    assert "rotator:gate=adoption" in text
    assert "rotator" not in rows  # its own reads are none
    assert "user/testing" not in ran.out


def test_as_json(replaced: Stack) -> None:
    ran = replaced.run("consumers", NAME, "--json")
    assert ran.code == 0
    found = ran.document
    assert (found["account"], found["secret"], found["gate"], found["gap"]) == ("main", NAME, "adoption", None)
    assert found["retiring"]["replaced_at"] < found["retiring"]["revoke_at"] < found["retiring"]["waits_until"]
    arn = "arn:aws:iam::123456789012:user/"
    assert {each["principal"]: each["waited_for"] for each in found["consumers"]} == {
        f"{arn}billing": True,
        f'{arn}x"><script>?[2J': True,
        f"{arn}sms": False,
        f"{arn}new": False,
    }
    billing = next(each for each in found["consumers"] if each["principal"] == f"{arn}billing")
    assert billing["last_read_before"] < billing["last_read_of_old_version_since"] == billing["last_read"]
    assert billing["last_read_since"] is None


def test_run_waits_and_then_does_not(replaced: Stack) -> None:
    replaced.clock.advance(timedelta(hours=72))
    ran = replaced.run("run", "--json")
    (account,) = ran.document["accounts"]
    assert ran.code == 0
    assert [(skip["secret"], skip["reason"]) for skip in account["skipped"]] == [(NAME, "waiting-for-consumers")]
    assert account["actions"] == []
    for user in ("billing", 'x"><script>?[2J'):
        read(replaced, user)
    (account,) = replaced.run("run", "--json").document["accounts"]
    assert [(action["kind"], action["reason"]) for action in account["actions"]] == [("revoke", "grace-over")]
    assert replaced.run("consumers", NAME, "--json").document["retiring"] is None


def test_without_anybody(stack: Stack) -> None:
    account = stack.account("main")
    stack.secret(NAME, account)
    ran = stack.run("consumers", NAME)
    assert ran.code == 0
    assert ran.sentence == ""
    assert stack.run("consumers", NAME, "--json").document["consumers"] == []


@pytest.mark.parametrize("as_json", [True, False])
def test_missing_permission_is_named(stack: Stack, as_json: bool) -> None:
    account = stack.account("main")
    stack.secret(NAME, account)
    with serving(error("AccessDeniedException", "User is not authorized")) as fake:
        env = {"AWS_ENDPOINT_URL_CLOUDTRAIL": fake.url}
        ran = stack.run("consumers", NAME, *(["--json"] if as_json else []), env=env)
    assert ran.code == 1
    said = ran.document["error"]["message"] if as_json else ran.sentence
    assert "cloudtrail:LookupEvents" in said
    assert "LookupEvents" in fake.operations[0]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("nowhere",), 1, "nowhere"),
        ((NAME, "--days", "0"), 2, "--days"),
        ((NAME, "--days", "91"), 2, "--days"),
        ((NAME, "--days", "x"), 2, "--days"),
        ((), 2, "SECRET"),
        (("\x1b[31m\u202e",), 1, "\\x1b"),
        (("",), 2, "SECRET"),
    ],
)
def test_rubbish_is_answered_in_sentence(stack: Stack, arguments: tuple[str, ...], code: int, says: str) -> None:
    account = stack.account("main")
    stack.secret(NAME, account)
    ran = stack.run("consumers", *arguments)
    assert ran.code == code
    assert says in ran.sentence
    assert ran.sentence.isprintable()
    assert ran.out == ""


def test_foreign_names_are_shown_harmless() -> None:
    """Threat: names of principals in CloudTrail that act on a terminal. They are escaped and shortened. A hostile
    principal can't come through an HTTP header, but through CloudTrail.
    """
    import io

    from rich.console import Console

    from rotator.cli.consumers import consumers_document, consumers_parts
    from rotator.engine.consumers import read_consumers
    from tests.reader_log import MemoryLog
    from tests.world import World

    world = World()
    log = MemoryLog(world.clock)
    world.readers = log
    world.secret(NAME, left=timedelta(days=20))
    log.read(NAME, HOSTILE, "=cmd|' /C calc'!A0", "\u202eevil", "y" * 600)
    world.pass_time(HOUR)
    world.sweep()
    world.pass_time(HOUR)
    found = read_consumers(world.reconciler(), NAME)
    stream = io.StringIO()
    console = Console(file=stream, width=80, markup=False, highlight=False, emoji=False)
    for part in consumers_parts(found, 14, world.clock.now()):
        console.print(part)
    shown = stream.getvalue()
    assert not set(shown) & {"\x1b", "\u202e"}
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert "\\x1b" in shown
    assert json.dumps(consumers_document(found, 14))
