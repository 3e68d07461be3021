from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from rotator.errors import (
    BadCredentials,
    ContractViolation,
    InvalidRequest,
    KeyNotFound,
    MissingRole,
    OutcomeUnknown,
    ProviderThrottled,
    ProviderUnavailable,
)
from rotator.infobip.connection import DeadlineAdapter
from rotator.ports import KeyRequest, ProbeVerdict
from rotator.sandbox.exchange import ErrorStyle
from rotator.sandbox.state import Options
from rotator.secret import Secret
from tests.doubles.in_process import divert
from tests.infobip.answers import K1, KEY_VALUE, key, page, shown
from tests.infobip.clients import client_for, sandbox
from tests.infobip.fake_server import FakeServer, drop, reply
from tests.support.faulty_infobip import Fault, FaultKind, faults_of

END = datetime(2026, 12, 1, tzinfo=UTC)
REQUEST = KeyRequest("a/rotator:default:v1", END, frozenset({"sms:manage"}))


def test_listing_and_creating_name_account() -> None:
    with FakeServer([reply(200, page()), reply(200, key())]) as server:
        client = client_for(server.url, account_id="SUB/1")
        client.list_keys()
        client.create_key(REQUEST)
    assert server.seen[0].line.split()[1] == "/settings/2/api-keys?page=0&size=100&accountId=SUB%2F1"
    assert json.loads(server.seen[1].body)["accountId"] == "SUB/1"


def test_name_search_stays_in_its_account() -> None:
    with FakeServer([reply(200, page())]) as server:
        client_for(server.url, account_id="A").find_by_name("n", "B")
        client_for(server.url, account_id="A").find_by_name("n")
        client_for(server.url).find_by_name("n")
    queries = [each.line.split()[1].partition("?")[2] for each in server.seen]
    assert queries == [f"page=0&size=100&name=n{more}" for more in ("&accountId=B", "&accountId=A", "")]


@pytest.mark.parametrize("name_contains", [False, True])
def test_names_are_compared_exactly(name_contains: bool) -> None:
    with sandbox(Options(name_contains=name_contains)) as (server, world, account, clock):
        wanted = {world.add_key(account, "a/b c+ü&x").id for _ in range(2)}
        world.add_key(account, "a/b c+ü&x2")
        client = client_for(server.url, clock)
        assert {each.id for each in client.find_by_name("a/b c+ü&x")} == wanted
        assert client.find_by_name("a/b") == ()


def test_key_is_read_by_its_id() -> None:
    with sandbox() as (server, world, account, clock):
        made = world.add_key(account, "n", scopes=("sms:manage",), allowed_ips=("127.0.0.1",))
        found = client_for(server.url, clock).get_key(made.id)
        assert found.value == Secret(made.value)
        assert (found.key.id, found.key.valid_to, found.key.allowed_ips) == (
            made.id,
            made.valid_to,
            frozenset(made.allowed_ips),
        )
        with pytest.raises(KeyNotFound, match="NOSUCH"):
            client_for(server.url, clock).get_key("NOSUCH")


@pytest.mark.parametrize("key_id", ["", "a/b", "../x", "a?b", "a b", "x" * 129])
def test_malformed_id_never_gets_into_url(key_id: str) -> None:
    """Threat: a malformed key id. It is rejected before it becomes part of a URL."""
    with FakeServer([reply(200, key())]) as server:
        for call in (client_for(server.url).get_key, lambda each: client_for(server.url).revoke_key(shown(each), None)):
            with pytest.raises(InvalidRequest):
                call(key_id)
    assert server.seen == []


def test_other_key_than_asked_is_refused() -> None:
    """Threat: a response with another id than the requested one. It is rejected."""
    with sandbox() as (server, world, account, clock):
        made = world.add_key(account)
        faults_of(world).add(Fault(FaultKind.WRONG_ID))
        with pytest.raises(ContractViolation, match=made.id):
            client_for(server.url, clock).get_key(made.id)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FaultKind.DROP_AFTER, method="POST"),
        Fault(FaultKind.STATUS_AFTER, method="POST", status=503),
        Fault(FaultKind.GARBAGE, method="POST"),
        Fault(FaultKind.TRUNCATE, method="POST"),
        Fault(FaultKind.HUGE, method="POST"),
    ],
    ids=lambda fault: fault.kind,
)
def test_spoilt_create_is_found_by_name(fault: Fault) -> None:
    with sandbox() as (server, world, _, clock):
        faults_of(world).add(fault)
        client = client_for(server.url, clock)
        with pytest.raises(OutcomeUnknown):
            client.create_key(REQUEST)
        assert [each.name for each in client.find_by_name(REQUEST.name)] == [REQUEST.name]


@pytest.mark.parametrize("body", list(ErrorStyle))
def test_errors_in_every_shape(body: ErrorStyle) -> None:
    with sandbox() as (server, world, _, clock):
        faults_of(world).add(Fault(FaultKind.STATUS_BEFORE, status=403, body=body))
        with pytest.raises(MissingRole, match=r"HTTP 403.*Account Manager"):
            client_for(server.url, clock).list_keys()


def test_revocation_changes_nothing_else() -> None:
    with sandbox() as (server, world, account, clock):
        made = world.add_key(account, "n", scopes=("sms:manage",), allowed_ips=("127.0.0.1",))
        client = client_for(server.url, clock)
        client.revoke_key(shown(made.id), clock.now() + timedelta(seconds=5))
        client.revoke_key(shown(made.id), None)
        after = world.key(made.id)
        assert not after.enabled
        assert after.valid_to == clock.now() + timedelta(seconds=5)
        assert (after.name, after.scopes, after.allowed_ips) == (made.name, made.scopes, made.allowed_ips)


END_BODY = {"enabled": False, "validTo": "2026-12-01T00:00:00"}
LATER_BODY = {"enabled": False, "validTo": "2026-12-01T00:05:00"}
BODY = {"enabled": False}
OF_SUB = {"accountId": "SUB"}


def test_refused_expiry_still_disables() -> None:
    refusal = {"violations": [{"property": "validTo", "violation": "past"}]}
    for refused in (1, 2):
        with FakeServer([*([reply(400, refusal)] * refused), reply(200, key(enabled=False))]) as server:
            client_for(server.url).revoke_key(K1, END)
        assert [each.json() for each in server.seen] == [END_BODY, LATER_BODY, BODY][: refused + 1]
    with FakeServer([reply(400)]) as server, pytest.raises(InvalidRequest):
        client_for(server.url).revoke_key(K1, None)
    assert len(server.seen) == 1


@pytest.mark.parametrize("refused", range(4))
def test_revocation_names_keys_account(refused: int) -> None:
    with FakeServer([*([reply(400)] * refused), reply(200, key(enabled=False))]) as server:
        client_for(server.url, account_id="MANAGEMENT").revoke_key(shown("K1", "SUB"), END)
    bodies = [OF_SUB | END_BODY, OF_SUB | LATER_BODY, OF_SUB | BODY, BODY]
    assert [each.json() for each in server.seen] == bodies[: refused + 1]


def test_revocation_without_account_of_key() -> None:
    with FakeServer([reply(200, key(enabled=False))]) as server:
        client_for(server.url, account_id="SUB").revoke_key(K1, END)
    assert [each.json() for each in server.seen] == [OF_SUB | END_BODY]


@pytest.mark.parametrize("status", [400, 402, 403, 404, 405, 406, 409, 410, 412, 415, 418, 422, 423, 451])
def test_refused_revocation_drops_account(status: int) -> None:
    """A live leaked key is worse than a disabled one that is moved."""
    with FakeServer([reply(status), reply(200, key(enabled=False))]) as server:
        client_for(server.url).revoke_key(shown("K1", "SUB"), None)
    assert [each.json() for each in server.seen] == [OF_SUB | BODY, BODY]


@pytest.mark.parametrize("status", [403, 404])
def test_key_refusal_is_not_about_expiry(status: int) -> None:
    with FakeServer([reply(status), reply(200, key(enabled=False))]) as server:
        client_for(server.url).revoke_key(shown("K1", "SUB"), END)
    assert [each.json() for each in server.seen] == [OF_SUB | END_BODY, BODY]


@pytest.mark.parametrize(("status", "kind"), [(401, BadCredentials), (429, ProviderThrottled)])
def test_other_refusal_is_not_resent(status: int, kind: type[Exception]) -> None:
    with FakeServer([reply(status, Retry_After="99")]) as server, pytest.raises(kind):
        client_for(server.url).revoke_key(shown("K1", "SUB"), END)
    assert [each.json() for each in server.seen] == [OF_SUB | END_BODY]


@pytest.mark.parametrize(
    ("first", "last", "kind"),
    [
        (404, 404, KeyNotFound),
        (404, 403, MissingRole),
        (404, 400, InvalidRequest),
        (403, 404, MissingRole),
        (400, 404, InvalidRequest),
        (400, 503, OutcomeUnknown),
        (404, 401, BadCredentials),
    ],
)
def test_revocation_404_needs_all_answers(first: int, last: int, kind: type[Exception]) -> None:
    with FakeServer([reply(first), reply(last)]) as server, pytest.raises(kind) as caught:
        client_for(server.url).revoke_key(shown("K1", "SUB"), None)
    assert type(caught.value) is kind


@pytest.mark.parametrize("refuse_past_end", [False, True])
@pytest.mark.parametrize("refuse_account", [None, 400, 403, 404])
@pytest.mark.parametrize("refuse_missing_account", [False, True])
def test_sub_account_key_is_revoked(
    refuse_missing_account: bool, refuse_account: int | None, refuse_past_end: bool
) -> None:
    """Threat: a field that Infobip rejects for a sub-account's key keeps a leaked key enabled. The account is sent, and
    left out only if the change is rejected.
    """
    options = Options(
        refuse_missing_account=refuse_missing_account,
        refuse_account=refuse_account,
        refuse_past_end=refuse_past_end,
        list_sub_accounts=True,
    )
    with sandbox(options) as (server, world, account, clock):
        sub = world.add_account("sub", parent=account.id)
        made = world.add_key(sub)
        client = client_for(server.url, clock)
        (listed,) = client.list_keys().keys
        if refuse_missing_account and refuse_account is not None:
            with pytest.raises((InvalidRequest, MissingRole)):  # nothing can be sent that it would accept
                client.revoke_key(listed, clock.now())
            return
        client.revoke_key(listed, clock.now())
        after = world.key(made.id)
        assert not after.enabled
        assert after.account_id == (sub.id if refuse_account is None else account.id)


def test_other_sub_accounts_key_is_not_found() -> None:
    """The main account's user sees it; the management secret names the account that is meant."""
    with sandbox() as (server, world, account, clock):
        mine, other = (world.add_key(world.add_account(name, parent=account.id)) for name in ("mine", "other"))
        main, sub = client_for(server.url, clock), client_for(server.url, clock, account_id=mine.account_id)
        assert [main.get_key(key.id).key.id for key in (mine, other)] == [mine.id, other.id]
        assert sub.get_key(mine.id).key.id == mine.id
        with pytest.raises(KeyNotFound, match=other.account_id):
            sub.get_key(other.id)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, ProbeVerdict.AUTHENTICATES),
        (204, ProbeVerdict.AUTHENTICATES),
        (403, ProbeVerdict.AUTHENTICATES),
        (401, ProbeVerdict.REJECTED),
        (302, ProbeVerdict.INCONCLUSIVE),
        (404, ProbeVerdict.INCONCLUSIVE),
        (429, ProbeVerdict.INCONCLUSIVE),
        (500, ProbeVerdict.INCONCLUSIVE),
    ],
)
def test_probes(status: int, verdict: ProbeVerdict) -> None:
    with FakeServer([reply(status, b"x" * 1000, Location="http://127.0.0.1:1/")]) as server:
        probe = client_for(server.url).probe(Secret(KEY_VALUE), "/account/1/balance?x=1")
    assert probe.verdict is verdict
    assert str(status) in probe.detail
    assert probe.lasting == (status == 404)
    assert [each.headers["authorization"] for each in server.seen] == [f"App {KEY_VALUE}"]


def test_probe_reads_no_body() -> None:
    with FakeServer([lambda sock: sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n")]) as server:
        assert client_for(server.url).probe(Secret(KEY_VALUE), "/").verdict is ProbeVerdict.AUTHENTICATES


def test_probe_never_raises() -> None:
    with FakeServer([drop]) as server:
        client = client_for(server.url)
        assert client.probe(Secret(KEY_VALUE), "/a").verdict is ProbeVerdict.INCONCLUSIVE
        sent = len(server.seen)
        for path in ("", "a", "@evil.example/", "//a b", "/a#b", "/a\\b", "/ü", "/a\r\nX: y", "http://evil.example/"):
            assert client.probe(Secret(KEY_VALUE), path).verdict is ProbeVerdict.INCONCLUSIVE
        for value in ("", "a b", "ü", "a\r\nX: y"):
            probe = client.probe(Secret(value), "/a")
            assert probe.verdict is ProbeVerdict.INCONCLUSIVE
            assert not value or value not in probe.detail
        assert (sent, len(server.seen)) == (1, 1)
    assert client.probe(Secret(KEY_VALUE), "/a").detail.endswith("connection refused")


def test_probe_path_with_two_slashes() -> None:
    with FakeServer([reply(200)]) as server:
        client_for(server.url).probe(Secret(KEY_VALUE), "//evil.example/x")
    assert server.seen[0].headers["host"] == server.host


def test_it_works_over_embedded_sandbox() -> None:
    with sandbox() as (_, world, account, clock):
        world.add_key(account)

        def adapter() -> DeadlineAdapter:
            made = DeadlineAdapter()
            divert(made, world)
            return made

        client = client_for("https://abc.api.infobip.invalid", clock, adapters=adapter)
        assert len(client.list_keys().keys) == 1
        assert client.create_key(REQUEST).key.name == REQUEST.name
        faults_of(world).add(Fault(FaultKind.REFUSE))
        with pytest.raises(ProviderUnavailable):
            client.create_key(REQUEST)
