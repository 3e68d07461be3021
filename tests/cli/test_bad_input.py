"""Everything that users and far ends do wrong: one sentence with the name and the fix, and nothing is changed."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from rotator.sandbox.aws import create_managed, create_management
from rotator.sandbox.clocks import OffsetClock
from rotator.sandbox.infobip import InfobipWorld
from rotator.sandbox.server import InfobipServer
from rotator.sandbox.state import SimAccount, SimUser
from tests import leaks
from tests.cli.local_stack import Stack
from tests.cli.test_reading import fits

WRONG_PASSWORD = "wrong-Passw0rd-7731"


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def away() -> dict[str, str]:
    """A base_url at which nothing listens."""
    return {"base_url": f"http://127.0.0.1:{closed_port()}"}


Later = Callable[[Stack, SimAccount, SimUser], object]
NO_FIELD = json.dumps({"token": leaks.register("some-Other-Token-9921")})
BINARY: Later = lambda stack, account, user: stack.client.put_secret_value(  # noqa: E731
    SecretId="app/key", SecretBinary=b"\x00\xff"
)
UNTAGGED: Later = lambda stack, account, user: stack.client.create_secret(Name="app/key", SecretString="{}")  # noqa: E731
COPY: Later = lambda stack, account, user: create_management(  # noqa: E731
    stack.client, "main", base_url=stack.infobip_url, username="x", password=user.password, name="rotator/copy"
)


@dataclass
class Bad:
    """A mistake, and what the sentence about it says.

    :param names: what it names, and ``fix`` how to fix it.
    :param management: what is wrong in the management secret; ``None``: there is none.
    :param value: what stands in the managed secret, see :meth:`Stack.secret`; ``"no secret"``: there is none.
    :param later: what is done afterwards.
    """

    names: str
    fix: str
    management: Callable[[], dict[str, str]] | None = dict
    value: str | None = "key"
    tags: dict[str, Any] = field(default_factory=dict)
    later: Later = lambda stack, account, user: None

    def arrange(self, stack: Stack) -> None:
        """Make it."""
        user = SimUser("", "")
        if self.management is None:
            account = stack.infobip.add_account("nobody")
        else:
            account = stack.account("main", **self.management())
            user = stack.user(account)
        if self.value != "no secret":
            stack.secret("app/key", account, self.value, **self.tags)
        self.later(stack, account, user)


BAD = {
    "unknown": Bad(r"app/key", r"AWS account", value="no secret"),
    "untagged": Bad(r"app/key", r"rotator:role", value="no secret", later=UNTAGGED),
    "binary": Bad(r"app/key", r"SecretString", value=None, later=BINARY),
    "no field": Bad(r"app/key.*api_key", r"rotator:value-field", value=NO_FIELD),
    "wrong type": Bad(r"app/key.*api_key", r"rotator:value-field|text", value='{"api_key": ["a", "list"]}'),
    "unparsable tags": Bad(r"app/key.*rotator:grace", r"\b72h\b", tags={"grace": "soon"}),
    "unworkable tags": Bad(r"app/key.*rotator:grace", "15h", tags={"validity": "2d", "grace": "72h"}),
    "unknown account": Bad(r"nobody", r"rotator:role=management", management=None),
    "two management secrets": Bad(r"main .*: rotator/copy, rotator/main", r"rotator:role=management", later=COPY),
    "wrong password": Bad(r"401", r"username, password", lambda: {"password": WRONG_PASSWORD}),
    "missing role": Bad(
        r"403", r"Account Manager", later=lambda stack, account, user: setattr(user, "manages_keys", False)
    ),
    "unreachable": Bad(r"127\.0\.0\.1:\d+", r"`rotator doctor`", away),
    "plain http": Bad(r"rotator/main.*http://", r"https", lambda: {"base_url": "http://abc.api.infobip.example"}),
    "foreign host": Bad(
        r"rotator/main.*infobip\.com\.evil\.example",
        r"ROTATOR_ALLOWED_HOSTS",
        lambda: {"base_url": "https://abc.api.infobip.com.evil.example"},
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_one_sentence_with_name_and_fix(stack: Stack, bad: str) -> None:
    BAD[bad].arrange(stack)
    before = stack.state()
    ran = stack.run("rotate", "app/key", "--reason", "test")
    assert ran.code in (1, 2)
    assert re.search(BAD[bad].names, ran.sentence)
    assert re.search(BAD[bad].fix, ran.sentence)
    assert ran.sentence.startswith("rotator: ")
    assert not re.search(r"[.!?] [a-z]+ ", ran.sentence)
    assert len(ran.sentence.splitlines()) == 1
    own_words = re.sub(r" \(\w+Exception\)", "", ran.sentence)  # a code of AWS's
    assert not re.search(r"\b[A-Z][a-z]+[A-Z]\w+(?:Error|Exception)\b|ConfigurationError|Refused:", own_words)
    assert stack.state() == before


def all_at_once(stack: Stack) -> None:
    """Every mistake in one fleet, beside one account in which all is well."""
    good = stack.account("good")
    stack.secret("good/fine", good)
    stack.secret("good/binary", good, None)
    stack.client.put_secret_value(SecretId="good/binary", SecretBinary=b"\x00\xff")
    stack.secret("good/no-field", good, json.dumps({"token": "x"}))
    stack.secret("good/tags", good, grace="soon")
    for name, more in (
        ("locked", {"password": WRONG_PASSWORD}),
        ("away", {"base_url": f"http://127.0.0.1:{closed_port()}"}),
        ("plain", {"base_url": "http://abc.api.infobip.example"}),
    ):
        account = stack.account(name, **more)
        stack.secret(f"{name}/key", account)
    create_managed(stack.client, "lost/key", "nobody", "x")
    stack.client.create_secret(Name="odd/role", Tags=[{"Key": "rotator:role", "Value": "keys"}])


def test_bad_input_sweep_changes_nothing(stack: Stack) -> None:
    """Threat: one bad tag that stops the sweep. That secret is skipped; the others continue."""
    all_at_once(stack)
    before = stack.state()
    ran = stack.run("run", "--json")
    assert ran.code == 1
    accounts = {each["account"]: each for each in ran.document["accounts"]}
    assert {name for name, each in accounts.items() if "error" in each} == {"locked", "away", "plain", "nobody"}
    assert all(each["results"] == [] for each in accounts.values())
    alerts = {(alert["secret"], alert["kind"]) for alert in accounts["good"]["alerts"]}
    assert alerts >= {("good/binary", "unadopted"), ("good/no-field", "unadopted"), ("good/tags", "misconfigured")}
    assert "good/fine" not in {skip["secret"] for skip in accounts["good"]["skipped"]}
    assert any(alert["secret"] == "odd/role" for alert in accounts["(no account)"]["alerts"])
    assert stack.state() == before

    people = stack.run("plan")
    assert people.code == 1
    assert all(len(line) <= 80 for line in people.out.splitlines())
    for name in ("locked", "away", "plain", "nobody", "good/binary", "good/no-field", "good/tags", "odd/role"):
        assert name in people.out
    assert re.search(r"\b4 \w+ 5 accounts\b", people.out)

    status = stack.run("status", "--json")
    assert status.code == 1
    assert {each["account"] for each in status.document["errors"]} == {"locked", "away", "plain", "nobody"}

    doctor = stack.run("doctor", "--json")
    assert doctor.code == 1
    failed = {check["subject"] for check in doctor.document["checks"] if check["level"] == "fail"}
    assert failed >= {"Infobip locked", "Infobip away", "Infobip plain", "Infobip nobody", "Tags"}
    assert stack.state() == before


def test_clock_off_by_one_hour(stack: Stack) -> None:
    """Threat: a clock that is far off. The sweep changes nothing."""
    with InfobipServer(InfobipWorld(OffsetClock(offset=timedelta(hours=1)))) as ahead:
        account = ahead.world.add_account("main")
        user = ahead.world.add_user(account)
        leaks.register(user.password)
        create_management(stack.client, "main", base_url=ahead.url, username=user.username, password=user.password)
        key = ahead.world.add_key(account, "app/key")
        create_managed(stack.client, "app/key", "main", key.value, key_id=key.id)
        plan = stack.run("plan", "--json")
        assert plan.code == 1
        (found,) = plan.document["accounts"]
        assert "clock" in found["error"]
        assert found["alerts"][0]["kind"] == "clock-skew"
        rotate = stack.run("rotate", "app/key", "--reason", "x")
        assert rotate.code == 1
        assert "clock" in rotate.sentence
        doctor = stack.run("doctor")
        assert doctor.code == 1
        assert re.search(r"fail +Clock", doctor.out)
        assert len(ahead.world.keys()) == 1


def test_infobip_does_not_answer(stack: Stack) -> None:
    """What happened, to what, what was left as it was, how long that may last, and what to do."""
    account = stack.account("main", **away())
    stack.secret("app/plain", account, "a-key-that-is-no-json")
    ends = [stack.clock.now() + timedelta(days=days, minutes=1) for days in (9, 4)]
    for number, end in enumerate(ends):
        value = json.dumps({"api_key": "x", "expires_at": f"{end:%Y-%m-%dT%H:%M:%SZ}"})
        stack.secret(f"app/{number}", account, value)
    before = stack.state()
    ran = stack.run("run")
    words = " ".join(ran.out.split())
    assert ran.code == 1
    assert fits(ran.out)
    assert re.search(
        r"^main .* \(GET /settings/2/api-keys \w+ 127\.0\.0\.1:\d+, 4 tries\): .* 2 \w+ 3 secrets .* "
        rf"{ends[1].day} {ends[1]:%b %H:%M} UTC \(in 4 d\)",
        words,
    )
    assert stack.state() == before


@pytest.mark.parametrize(
    ("end", "shown"),
    [
        ("2026-01-01T00:00:00Z", True),
        ("9999-12-31T23:59:59-10:00", False),
        ("2026-01-01T00:00:00", False),
        (["soon"], False),
    ],
)
def test_failed_sweep_shows_what_has_expired(stack: Stack, end: object, shown: bool) -> None:
    account = stack.account("main", password=WRONG_PASSWORD)
    stack.secret("app/key", account, json.dumps({"api_key": "x", "expires_at": end}))
    text = " ".join(stack.run("run").out.split())
    assert (re.search(r"app/key expired 1 Jan .* ago\)", text) is not None) is shown
    assert ("app/key" in text) is shown


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("plan --account nobody", "nobody main"),
        ("run --secret prod/sms/otp --account second", "main second --account"),
        ("rotate prod/marketing --reason x", "hold rotator:hold"),
        ("rotate prod/legacy --reason x", "rotator:grace"),
        ("adopt prod/sms/otp --key-id K", "status --secret prod/sms/otp"),
    ],
)
def test_every_refusal_names_what_to_change(stack: Stack, arguments: str, named: str) -> None:
    stack.seed()
    before = stack.state()
    ran = stack.run(*arguments.split())
    assert ran.code in (1, 2)
    assert all(name in ran.sentence for name in named.split())
    assert stack.state() == before


@pytest.mark.parametrize(
    "arguments",
    [
        *(f"{command} --account nobody" for command in ("plan", "run", "status", "forecast", "inventory")),
        *(f"{command} --secret nothing" for command in ("plan", "run", "status", "revoke --reason x")),
        *("rotate nothing --reason x", "adopt nothing", "rollback nothing --reason x", "consumers nothing"),
        "revoke --key-id K --account nobody --reason x",
    ],
)
def test_unknown_name_is_exit_1(stack: Stack, arguments: str) -> None:
    stack.seed()
    before = stack.state()
    ran = stack.run(*arguments.split())
    assert (ran.code, stack.state()) == (1, before)
    assert re.search("nobody|nothing", ran.sentence)


def test_failed_emergency_plan_says_fix(stack: Stack) -> None:
    account = stack.account("main", **away())
    stack.secret("app/key", account)
    before = stack.state()
    ran = stack.run("revoke", "--secret", "app/key", "--reason", "x")
    assert ran.code == 1
    assert stack.state() == before
    document = stack.run("revoke", "--secret", "app/key", "--reason", "x", "--json").document
    assert {each["outcome"] for each in (*document["keys"], *document["replacements"])} == {"failed"}
    assert document["errors"]


@pytest.mark.parametrize("command", ["rotate {} --reason x", "adopt {}", "consumers {}", "rollback {} --reason x"])
def test_wrong_tag_has_one_exit_code(stack: Stack, command: str) -> None:
    BAD["unparsable tags"].arrange(stack)
    ran = stack.run(*command.format("app/key").split())
    assert (ran.code, "rotator:grace" in ran.sentence) == (1, True)


@pytest.mark.parametrize("command", ["run", "run --dry-run"])
def test_command_is_audited_as_manual(stack: Stack, command: str) -> None:
    BAD["unparsable tags"].arrange(stack)
    assert {line["trigger"] for line in stack.run(*command.split()).lines} == {"manual"}


@pytest.mark.parametrize("command", [("rotate", "--reason", "x"), ("adopt",), ("rollback", "--reason", "x")])
def test_management_secret_is_not_managed(stack: Stack, command: tuple[str, ...]) -> None:
    stack.account("main")
    management = "rotator/main"
    ran = stack.run(command[0], management, *command[1:])
    assert ran.code == 1
    assert management in ran.sentence
    assert "tag-resource" not in ran.sentence


def test_two_management_secrets_are_exit_1(stack: Stack) -> None:
    BAD["two management secrets"].arrange(stack)
    assert [stack.run(*command).code for command in (("plan",), ("rotate", "app/key", "--reason", "x"))] == [1, 1]


def test_plan_for_year_one_is_refused(stack: Stack) -> None:
    stack.account("main")
    ran = stack.run("plan", "--at", "0001-01-01")
    assert (ran.code, "0001-01-01" in ran.sentence) == (2, True)
