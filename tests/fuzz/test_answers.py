"""Whatever Infobip, or something in its place, answers: every call gives a result or an error of the tree."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.errors import OutcomeUnknown, ProviderError
from rotator.infobip.client import InfobipClient
from rotator.infobip.credentials import AuthMethod, Credentials
from rotator.patience import Patience
from rotator.ports import KeyRequest
from rotator.sandbox.exchange import Drop, DropKind, Response
from rotator.secret import Secret
from tests.doubles.in_process import InProcessAdapter
from tests.fuzz.scripted import Scripted
from tests.fuzz.strategies import BODIES, TEXTS, result_of
from tests.infobip.answers import K1, KEY_VALUE, shown
from tests.infobip.clients import PASSWORD, USER, client_for
from tests.infobip.fake_server import FakeServer, raw
from tests.support.moments import START

CALLS: dict[str, Callable[[InfobipClient], object]] = {
    "list": lambda client: client.list_keys(),
    "name": lambda client: client.find_by_name("prod/x"),
    "value": lambda client: client.find_by_value(Secret(KEY_VALUE)),
    "get": lambda client: client.get_key("K1"),
    "create": lambda client: client.create_key(KeyRequest("prod/x", START, scopes=frozenset({"sms:manage"}))),
    "revoke": lambda client: client.revoke_key(K1, START),
    "probe": lambda client: client.probe(Secret(KEY_VALUE), "/account/1/balance"),
}
STATUSES = st.sampled_from([200, 201, 204, 206, 299, 301, 302, 400, 401, 403, 404, 408, 418, 429, 500, 503, 599])
HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "Date", "Content-Encoding", "Location", "Content-Type", "Set-Cookie"]),
    st.sampled_from(["1", "-1", "9" * 30, "gzip", "deflate", "identity", "Mon, 02 Mar 2026 09:00:00 GMT", "soon"])
    | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
    max_size=3,
)
ANSWERS: st.SearchStrategy[Response | Drop] = st.one_of(
    st.builds(Response, STATUSES, HEADERS, BODIES, st.none() | st.integers(0, 100)),
    st.builds(Drop, st.sampled_from(list(DropKind))),
)


def client_of(world: Scripted, auth: AuthMethod) -> InfobipClient:
    return InfobipClient(
        Credentials("https://fuzz.invalid", USER, Secret(PASSWORD), auth),
        world.clock,
        rng=random.Random(1),
        patience=Patience(body=4000),
        adapters=lambda: InProcessAdapter(world),
    )


@settings(max_examples=120)
@given(st.lists(ANSWERS, min_size=1, max_size=4), st.sampled_from(sorted(CALLS)), st.sampled_from(list(AuthMethod)))
def test_calls_give_result_or_known_error(answers: list[Response | Drop], name: str, auth: AuthMethod) -> None:
    """Threat: any bytes as Infobip's response. Each call returns a valid result or one of the project's own errors."""
    client = client_of(Scripted(answers), auth)
    result, error = result_of(lambda: CALLS[name](client), ProviderError)
    client.close()
    text = f"{result!r} {error} {error!r}"
    assert KEY_VALUE not in text
    assert PASSWORD not in text
    if error is not None:
        assert str(error).isprintable()
        assert error.__context__ is None


@settings(max_examples=60)
@given(st.lists(ANSWERS, min_size=1, max_size=2))
def test_create_is_sent_once_for_any_answer(answers: list[Response | Drop]) -> None:
    """Threat: any response to a create. It is sent once. And unless it is refused in so many words, its outcome is
    unknown rather than failed.
    """
    world = Scripted(answers)
    client = client_of(world, AuthMethod.BASIC)
    first = answers[0]
    _, error = result_of(lambda: CALLS["create"](client), ProviderError)
    if error is not None and not isinstance(error, OutcomeUnknown):
        # Basic is never repeated, so the first answer is what decided.
        refused = isinstance(first, Response) and 400 <= first.status < 500 and first.status not in (408, 425)
        assert refused or (isinstance(first, Drop) and first.kind is DropKind.REFUSED)
    assert [request.method for request in world.requests] == ["POST"]


HEADS = (b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"HTTP/1.1 ", b"")
RAW = st.builds(lambda head, rest: head + rest, st.sampled_from(HEADS), st.binary(max_size=80))


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with FakeServer() as made:
        yield made


@settings(max_examples=40)
@given(data=RAW, name=st.sampled_from(["get", "create", "probe"]))
def test_no_http_is_known_error(server: FakeServer, data: bytes, name: str) -> None:
    server.script = [raw(data)]
    client = client_for(server.url)
    _, error = result_of(lambda: CALLS[name](client), ProviderError)
    client.close()
    if error is not None:
        assert str(error).isprintable()
        assert error.__context__ is None


@settings(max_examples=60)
@given(TEXTS, TEXTS)
def test_no_argument_changes_path_around_it(key_id: str, path: str) -> None:
    """Threat: a rotator:verify-path that leaves the host, or an id that leaves its path segment. Nothing is sent. An id
    stays one segment of the path and a probe's path stays a path, or nothing is sent at all.
    """
    world = Scripted([Response(404)])
    client = client_of(world, AuthMethod.BASIC)
    for call in (lambda: client.get_key(key_id), lambda: client.revoke_key(shown(key_id), None)):
        assert str(result_of(call, ProviderError)[1]).isprintable()
    client.probe(Secret(KEY_VALUE), path)
    client.close()
    for request in world.requests:
        assert KEY_VALUE not in request.path
        if "Basic" in request.headers.get("authorization", ""):  # not the probe, which has its own path
            assert request.path.startswith("/settings/2/api-keys/")
            assert request.path.count("/") == 4
            assert request.query == {}
