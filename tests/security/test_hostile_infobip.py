"""An Infobip with wrong answers: consumers keep working keys, and no foreign key is touched."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from rotator.errors import ProviderError
from rotator.infobip.client import InfobipClient
from rotator.infobip.credentials import AuthMethod
from rotator.policy.labels import secret_id
from rotator.ports import KeyRequest
from rotator.reasons import Reason
from rotator.sandbox.exchange import Request
from rotator.secret import Secret
from tests.fuzz.strategies import HOSTILE, result_of
from tests.infobip.answers import K1, KEY_VALUE
from tests.infobip.clients import client_for
from tests.infobip.fake_server import FakeServer, reply
from tests.security.altered_answers import Alter, altered_world, keys_in
from tests.world import DAY, HOUR, START

DUE: dict[str, Any] = {"left": 25 * DAY}
VERSION = "0f8fad5b-d9cb-469f-a165-70867728950e"


def _id_of_x() -> str:
    """What stands for ``prod/x`` in its keys' names, where it is the first managed secret of a lying world."""
    world, _ = altered_world()
    return secret_id(world.store.create_secret("prod/x"))


X = _id_of_x()


def is_create(request: Request) -> bool:
    return request.method == "POST" and request.path.endswith("/api-keys")


def test_similar_name_is_no_orphan() -> None:
    """Threat: a listed key that is named like the rotator's own. It is at most reported. Any user of the account may
    name a key so; only a version that was certainly not stored makes an orphan.
    """
    world, infobip = altered_world()
    world.secret("prod/x")
    world.secret("prod/held", hold="audit")
    x, held = X, secret_id(world.store.peek("prod/held").arn)
    names = [
        f"prod/x/rotator:default:{VERSION}",  # the older form of name: only reported
        f"prod/x/rotator:other:{x}:{VERSION}",
        f"prod/y/rotator:default:{x}:{VERSION}",
        f"prod/x/rotator:default:{held}:{VERSION}",
        f"prod/x/rotator:default:{'0' * 10}:{VERSION}",  # the same name in another region or account
        f"prod/x/rotator:default:{x.upper()}:{VERSION}",
        f"prod/held/rotator:default:{held}:{VERSION}",
        f"prod/x/rotator:default:{x}:{VERSION}\n",
        f"prod/x/rotator:default:{x}:{VERSION} ",
        f"prod/x/ROTATOR:default:{x}:{VERSION}",
        f"prod/x/rotator:default :{x}:{VERSION}",
        f"prod/x\x00/rotator:default:{x}:{VERSION}",
        f"prod/x/rotator:default:{x}:{VERSION[:31]}",
        f"/rotator:default:{x}:{VERSION}",
        *(text for text in HOSTILE if text and text.isascii()),
    ]
    account = world.accounts["main"]
    kept = [infobip.add_key(account, name, valid_from=START - DAY) for name in names]
    orphan = infobip.add_key(account, f"prod/x/rotator:default:{x}:{VERSION}", valid_from=START - HOUR)
    for _ in range(3):
        world.sweep()
        world.pass_time(DAY)
    assert infobip.puts == {orphan.id}
    assert {key.id for key in kept} <= {key.id for key in world.live()}
    assert world.consumer_works("prod/x")


def foreign_keys(request: Request, answer: Any) -> Any:
    """Another account's keys in our list, old and named as ours would be."""
    if "apiKeys" in answer:
        for number in range(3):
            named = {"id": f"FOREIGN{number}", "name": f"prod/x/rotator:default:{X}:{VERSION[:-1]}{number}"}
            more = {"enabled": True, "validFrom": "2025-01-01T00:00:00", "accountId": "EVIL"}
            answer["apiKeys"].append({**named, **more})
        answer["paging"]["totalCount"] = len(answer["apiKeys"])
    return answer


def other_id(request: Request, answer: Any) -> Any:
    """Each single key comes under an id that is not its own."""
    if "apiKeys" not in answer:
        for key in keys_in(answer):
            key["id"] = "ANOTHERID"
    return answer


def other_name(request: Request, answer: Any) -> Any:
    for key in keys_in(answer):
        key["name"] = "=HYPERLINK()\x1b[2J"
    return answer


def all_disabled(request: Request, answer: Any) -> Any:
    if request.method == "GET":
        for key in keys_in(answer):
            key["enabled"] = False
    return answer


def all_ended(request: Request, answer: Any) -> Any:
    if request.method == "GET":
        for key in keys_in(answer):
            key["validTo"] = "2020-01-01T00:00:00"
    return answer


def none_at_all(request: Request, answer: Any) -> Any:
    if "apiKeys" in answer:
        answer.update(apiKeys=[], paging={"totalCount": 0, "totalPages": 0})
    return answer


def always_the_same(request: Request, answer: Any) -> Any:
    """Every key of a list is the first one: for whatever value or name one asks."""
    if answer.get("apiKeys"):
        answer["apiKeys"] = [answer["apiKeys"][0]] * len(answer["apiKeys"])
    return answer


@pytest.mark.parametrize(
    "alter", [foreign_keys, other_id, other_name, all_disabled, all_ended, none_at_all, always_the_same]
)
def test_wrong_answers_break_no_consumer(alter: Alter) -> None:
    """Threat: a list that is empty, repeats itself or shows every key as disabled. Consumers keep a working key, and no
    other deployment's key is changed. Through sweeps over a week, long enough for every grace period to be over.
    """
    world, infobip = altered_world()
    for name in ("prod/x", "prod/y"):
        world.secret(name, **DUE)
    world.secret("prod/z", adopted=False)
    foreign = infobip.add_key(world.accounts["main"], "by hand, of no secret here")
    infobip.alter = alter
    for _ in range(8):
        world.sweep()
        for name in ("prod/x", "prod/y", "prod/z"):
            assert world.consumer_works(name)
        world.pass_time(DAY)
    assert not infobip.puts & {"FOREIGN0", "FOREIGN1", "FOREIGN2", foreign.id}
    infobip.alter = None  # once its answers are true again, everything recovers
    for _ in range(10):
        world.sweep()
        world.pass_time(DAY)
    # What accumulated may be too much to be revoked at once without --force; nothing else is left to fix.
    alerts = {alert.kind for plan in world.sweep().plan.accounts for alert in plan.alerts}
    assert alerts <= {Reason.TOO_MANY_ORPHANS, Reason.UNKNOWN_KEY_EXPIRING, Reason.KEY_REENABLED}
    assert all(world.consumer_works(name) for name in ("prod/x", "prod/y", "prod/z"))


@pytest.mark.parametrize(
    "field",
    [
        {"scopeGuids": ["sms:manage", "account-management:manage"]},
        {"scopeGuids": []},
        {"permissions": ["WEB_SDK"]},
        {"allowedIPs": ["192.0.2.1"]},
        {"platform": [{"applicationId": "another-app"}]},
        {"accountId": "ANOTHERID"},
        {"validTo": "2036-01-01T00:00:00"},
        {"enabled": False},
        {"name": "prod/y"},
    ],
    ids=lambda field: next(iter(field)),
)
def test_different_replacement_is_rejected(field: dict[str, Any]) -> None:
    """Threat: a new key with more scopes, other addresses, another account or another expiry. It is revoked and never
    promoted.
    """
    world, infobip = altered_world()
    old = world.secret("prod/x", **DUE)
    infobip.alter = lambda request, answer: {**answer, **field} if is_create(request) else answer
    world.sweep()
    assert world.current_key("prod/x").id == old.id
    (rejected,) = world.events_named("key.rejected", "failure")
    made = {key.id for key in infobip.keys(world.accounts["main"])} - {old.id}
    assert made == {rejected["key_id"]}
    assert made.isdisjoint(key.id for key in world.live())


def test_other_key_in_create_is_not_stored() -> None:
    """Threat: a create that returns another key's value. The key must be new and match the request in every field."""
    world, infobip = altered_world()
    world.secret("prod/x", **DUE)
    other = world.secret("prod/other")
    entry = {"id": other.id, "apiKeySecret": other.value}
    infobip.alter = lambda request, answer: {**answer, **entry} if is_create(request) else answer
    world.sweep()
    infobip.alter = None
    for _ in range(8):
        world.sweep()
        world.pass_time(DAY)
        assert world.consumer_works("prod/x")
        assert world.current_key("prod/x").id != other.id
    assert world.current_key("prod/other").id == other.id


CALLS: dict[str, Callable[[InfobipClient], object]] = {
    "list": lambda client: client.list_keys(),
    "value": lambda client: client.find_by_value(Secret(KEY_VALUE)),
    "get": lambda client: client.get_key("K1"),
    "create": lambda client: client.create_key(KeyRequest("n", START, frozenset({"a"}))),
    "revoke": lambda client: client.revoke_key(K1, START),
    "probe": lambda client: client.probe(Secret(KEY_VALUE), "/account/1/balance"),
}


@pytest.mark.parametrize("auth", list(AuthMethod))
def test_redirect_takes_nothing_elsewhere(auth: AuthMethod) -> None:
    """Threat: a redirect that steals a password, a token or a key. It is not followed, for any call and any
    authentication. Neither the call's credentials nor a login's, whatever is called, however it is redirected.
    """
    with FakeServer([reply(200, {"token": "T" * 20, "access_token": "T" * 20})]) as other:
        for status in (301, 302, 303, 307, 308):
            redirect = reply(status, b"", Location=f"{other.url}/take", Refresh=f"0; url={other.url}/take")
            with FakeServer([redirect]) as server:
                for call in CALLS.values():
                    client = client_for(server.url, auth=auth)
                    _, error = result_of(partial(call, client), ProviderError)
                    assert other.url not in str(error)
                    client.close()
                assert server.seen
        assert other.connections == 0


def made_long_ago(request: Request, answer: Any) -> Any:
    for key in keys_in(answer):
        key["validFrom"] = "1970-01-01T00:00:00"
    return answer


def test_wrong_age_shortens_no_grace() -> None:
    """Threat: wrong times that make a key seem old. Grace periods are measured by the label and the clock. By the keys'
    ages the replacement would be an orphan and the old one long past its time.
    """
    world, infobip = altered_world()
    old = world.secret("prod/x", **DUE)
    world.sweep()
    infobip.alter = made_long_ago
    world.pass_time(71 * HOUR)
    world.sweep()
    assert old.id in {key.id for key in world.live()}
    assert infobip.puts == set()
    world.pass_time(HOUR + timedelta(seconds=1))
    world.sweep()
    assert infobip.puts == {old.id}
    assert world.consumer_works("prod/x")
