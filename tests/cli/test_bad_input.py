"""Everything that users and far ends do wrong: one sentence with the name and the fix, and nothing is changed."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from datetime import timedelta

import pytest

from rotator.cli import main
from rotator.sandbox.aws import create_managed, create_management
from rotator.sandbox.clocks import OffsetClock
from rotator.sandbox.infobip import InfobipWorld
from rotator.sandbox.server import InfobipServer
from rotator.sandbox.state import Role
from tests import leaks
from tests.cli.rig import Ran, Rig
from tests.cli.test_reading import fits

WRONG_PASSWORD = "wrong-Passw0rd-7731"


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def unknown(rig: Rig) -> None:
    rig.account("main")


def untagged(rig: Rig) -> None:
    rig.account("main")
    rig.client.create_secret(Name="app/key", SecretString="{}")


def binary(rig: Rig) -> None:
    account, _ = rig.account("main")
    rig.secret("app/key", account, None)
    rig.client.put_secret_value(SecretId="app/key", SecretBinary=b"\x00\xff")


def no_field(rig: Rig) -> None:
    account, _ = rig.account("main")
    rig.secret("app/key", account, json.dumps({"token": leaks.register("some-Other-Token-9921")}))


def wrong_type(rig: Rig) -> None:
    account, _ = rig.account("main")
    rig.secret("app/key", account, json.dumps({"api_key": ["a", "list"]}))


def unparsable_tags(rig: Rig) -> None:
    account, _ = rig.account("main")
    rig.secret("app/key", account, grace="soon")


def unworkable_tags(rig: Rig) -> None:
    account, _ = rig.account("main")
    rig.secret("app/key", account, validity="2d", grace="72h")


def unknown_account(rig: Rig) -> None:
    account = rig.world.add_account("nobody")
    rig.secret("app/key", account)


def duplicate_management(rig: Rig) -> None:
    account, user = rig.account("main")
    rig.secret("app/key", account)
    create_management(
        rig.client, "main", base_url=rig.server.url, username=user.username, password=user.password, name="rotator/copy"
    )


def wrong_password(rig: Rig) -> None:
    account, _ = rig.account("main", password=WRONG_PASSWORD)
    rig.secret("app/key", account)


def missing_role(rig: Rig) -> None:
    account, user = rig.account("main")
    user.role = Role.NONE
    rig.secret("app/key", account)


def unreachable(rig: Rig) -> None:
    account, _ = rig.account("main", base_url=f"http://127.0.0.1:{closed_port()}")
    rig.secret("app/key", account)


def plain_http(rig: Rig) -> None:
    account, _ = rig.account("main", base_url="http://abc.api.infobip.example")
    rig.secret("app/key", account)


def foreign_host(rig: Rig) -> None:
    account, _ = rig.account("main", base_url="https://abc.api.infobip.com.evil.example")
    rig.secret("app/key", account)


BAD = [
    (unknown, r"app/key", r"[Cc]heck"),
    (untagged, r"app/key is not managed", r"rotator:role"),
    (binary, r"app/key.*binary", r"SecretString"),
    (no_field, r"app/key.*api_key", r"rotator:value-field"),
    (wrong_type, r"app/key.*api_key", r"rotator:value-field|text"),
    (unparsable_tags, r"app/key.*rotator:grace", r"write one such as"),
    (unworkable_tags, r"app/key.*rotator:grace", r"write at most"),
    (unknown_account, r"nobody has no management secret", r"rotator:role=management"),
    (duplicate_management, r"main has 2 management secrets: rotator/copy, rotator/main", r"Leave the tag"),
    (wrong_password, r"401|refused|credentials", r"Check username, password"),
    (missing_role, r"403|role", r"Account Manager"),
    (unreachable, r"127\.0\.0\.1:\d+.*refused", r"`rotator doctor`"),
    (plain_http, r"rotator/main.*http://", r"https"),
    (foreign_host, r"rotator/main.*infobip\.com\.evil\.example", r"ROTATOR_ALLOWED_HOSTS"),
]


@pytest.mark.parametrize(("arrange", "names", "fix"), BAD, ids=[case[0].__name__ for case in BAD])
def test_one_sentence_with_the_name_and_the_fix(
    rig: Rig,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arrange: Callable[[Rig], None],
    names: str,
    fix: str,
) -> None:
    arrange(rig)
    before = rig.state()
    for name, text in rig.environment.items():
        monkeypatch.setenv(name, text)
    # In this process: the same program without its start, which would be most of the time that this takes.
    code = main(["rotate", "app/key", "--reason", "test"])
    ran = Ran(code, *capsys.readouterr())
    assert ran.code in (1, 2)
    assert re.search(names, ran.sentence)
    assert re.search(fix, ran.sentence)
    assert ran.sentence.startswith("rotator: ")
    assert not re.search(r"[.!?] [a-z]+ ", ran.sentence)
    assert len(ran.sentence.splitlines()) == 1
    assert not re.search(r"\b[A-Z][a-z]+[A-Z]\w+(?:Error|Exception)\b|ConfigurationError|Refused:", ran.sentence)
    assert rig.state() == before


def all_at_once(rig: Rig) -> None:
    """Every mistake in one fleet, beside one account in which all is well."""
    good, _ = rig.account("good")
    rig.secret("good/fine", good)
    rig.secret("good/binary", good, None)
    rig.client.put_secret_value(SecretId="good/binary", SecretBinary=b"\x00\xff")
    rig.secret("good/no-field", good, json.dumps({"token": "x"}))
    rig.secret("good/tags", good, grace="soon")
    for name, more in (
        ("locked", {"password": WRONG_PASSWORD}),
        ("away", {"base_url": f"http://127.0.0.1:{closed_port()}"}),
        ("plain", {"base_url": "http://abc.api.infobip.example"}),
    ):
        account, _ = rig.account(name, **more)
        rig.secret(f"{name}/key", account)
    create_managed(rig.client, "lost/key", "nobody", "x")
    rig.client.create_secret(Name="odd/role", Tags=[{"Key": "rotator:role", "Value": "keys"}])


def test_a_sweep_over_all_of_it_names_each_and_changes_nothing(rig: Rig) -> None:
    all_at_once(rig)
    before = rig.state()
    ran = rig.run("run", "--json")
    assert ran.code == 1
    accounts = {each["account"]: each for each in ran.document["accounts"]}
    assert {name for name, each in accounts.items() if "error" in each} == {"locked", "away", "plain", "nobody"}
    assert all(each["results"] == [] for each in accounts.values())
    alerts = {(alert["secret"], alert["kind"]) for alert in accounts["good"]["alerts"]}
    assert alerts >= {("good/binary", "unadopted"), ("good/no-field", "unadopted"), ("good/tags", "misconfigured")}
    assert "good/fine" not in {skip["secret"] for skip in accounts["good"]["skipped"]}
    assert any(alert["secret"] == "odd/role" for alert in accounts["(no account)"]["alerts"])
    assert rig.state() == before

    people = rig.run("plan")
    assert people.code == 1
    assert all(len(line) <= 80 for line in people.out.splitlines())
    for name in ("locked", "away", "plain", "nobody", "good/binary", "good/no-field", "good/tags", "odd/role"):
        assert name in people.out
    assert "4 of 5 accounts not observed" in people.out

    status = rig.run("status", "--json")
    assert status.code == 1
    assert {each["account"] for each in status.document["errors"]} == {"locked", "away", "plain", "nobody"}

    doctor = rig.run("doctor", "--json")
    assert doctor.code == 1
    failed = {check["subject"] for check in doctor.document["checks"] if check["level"] == "fail"}
    assert failed >= {"Infobip locked", "Infobip away", "Infobip plain", "Infobip nobody", "Tags"}
    assert rig.state() == before


def test_a_clock_that_is_off_by_an_hour(rig: Rig) -> None:
    with InfobipServer(InfobipWorld(OffsetClock(offset=timedelta(hours=1)))) as ahead:
        account = ahead.world.add_account("main")
        user = ahead.world.add_user(account)
        leaks.register(user.password)
        create_management(rig.client, "main", base_url=ahead.url, username=user.username, password=user.password)
        key = ahead.world.add_key(account, "app/key")
        create_managed(rig.client, "app/key", "main", key.value, key_id=key.id)
        own_clock = {"ROTATOR_SANDBOX_URL": None}
        plan = rig.run("plan", "--json", env=own_clock)
        assert plan.code == 1
        (found,) = plan.document["accounts"]
        assert "clock" in found["error"]
        assert found["alerts"][0]["kind"] == "clock-skew"
        rotate = rig.run("rotate", "app/key", "--reason", "x", env=own_clock)
        assert rotate.code == 1
        assert re.search(r"clock is .* behind Infobip's", rotate.sentence)
        doctor = rig.run("doctor", env=own_clock)
        assert doctor.code == 1
        assert re.search(r"fail +Clock", doctor.out)
        assert len(ahead.world.keys()) == 1


def test_infobip_does_not_answer(rig: Rig) -> None:
    """What happened, to what, what was left as it was, how long that may last, and what to do."""
    account, _ = rig.account("main", base_url=f"http://127.0.0.1:{closed_port()}")
    rig.secret("app/plain", account, "a-key-that-is-no-json")
    ends = [rig.clock.now() + timedelta(days=days, minutes=1) for days in (9, 4)]
    for number, end in enumerate(ends):
        value = json.dumps({"api_key": "x", "expires_at": f"{end:%Y-%m-%dT%H:%M:%SZ}"})
        rig.secret(f"app/{number}", account, value)
    before = rig.state()
    ran = rig.run("run")
    words = " ".join(ran.out.split())
    assert ran.code == 1
    assert fits(ran.out)
    assert re.search(
        r"^main not swept Infobip did not answer at http://127\.0\.0\.1:\d+ \(GET /settings/2/api-keys, 4 tries in "
        r"\d+ s\): connection refused\. Nothing was changed\. 2 of 3 secrets say when their keys expire: none before "
        rf"{ends[1].day} {ends[1]:%b %H:%M} UTC \(in 4 d\); the next sweep tries again\. 1 of 1 accounts not swept\. ",
        words,
    )
    assert rig.state() == before


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("2026-01-01T00:00:00Z", r"The key of app/key ended 1 Jan .* ago\), by its secret's value\. The next sweep"),
        ("9999-12-31T23:59:59-10:00", r"Nothing was changed\. The next sweep tries again\."),
        ("2026-01-01T00:00:00", r"Nothing was changed\. The next sweep tries again\."),
        (["soon"], r"Nothing was changed\. The next sweep tries again\."),
    ],
)
def test_what_a_secret_says_of_its_keys_end(rig: Rig, end: object, said: str) -> None:
    account, _ = rig.account("main", password=WRONG_PASSWORD)
    rig.secret("app/key", account, json.dumps({"api_key": "x", "expires_at": end}))
    assert re.search(said, " ".join(rig.run("run").out.split()))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("plan --account nobody", "account nobody is not known; known are: main. Check its name"),
        ("adopt --all --account nobody", "account nobody is not known; known are: main. Check its name"),
        ("run --secret prod/sms/otp --account second", "to account main, not to second. Leave --account out"),
        ("rotate prod/marketing --reason x", "Nothing was changed. Remove the tag rotator:hold and repeat"),
        ("rotate prod/legacy --reason x", "Nothing was changed. Fix that and repeat the command."),
        ("adopt prod/sms/otp --key-id K", "How it stands: `rotator status --secret prod/sms/otp`."),
    ],
)
def test_every_refusal_says_what_to_do(
    rig: Rig, arguments: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.seed()
    before = rig.state()
    for name, text in rig.environment.items():
        monkeypatch.setenv(name, text)
    assert main(arguments.split()) in (1, 2)
    assert said in capsys.readouterr().err
    assert rig.state() == before


def test_an_emergency_that_cannot_be_looked_at_says_what_to_do(
    rig: Rig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    account, _ = rig.account("main", base_url=f"http://127.0.0.1:{closed_port()}")
    rig.secret("app/key", account)
    for name, text in rig.environment.items():
        monkeypatch.setenv(name, text)
    assert main(["revoke", "--secret", "app/key", "--reason", "x"]) == 1
    said = capsys.readouterr().err
    assert "refused. Nothing was changed. Repeat the command; with --yes it tries in any case." in said
