"""Certificates, proxies, .netrc and cookies."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rotator.errors import ConfigurationError, OutcomeUnknown, ProviderUnavailable
from rotator.patience import Patience
from rotator.ports import KeyRequest
from rotator.secret import Secret
from tests.infobip.answers import KEY_VALUE, key, page
from tests.infobip.certificates import certificate
from tests.infobip.clients import client_for
from tests.infobip.fake_server import FakeServer, Reply, below_tls, drop, endless, reply, reset, silence

REQUEST = KeyRequest("a/rotator:default:v1", datetime(2026, 12, 1, tzinfo=UTC), frozenset({"sms:manage"}))
GOOD = reply(200, key())


def test_tls_uses_environments_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threat: a false certificate. It is rejected."""
    context, bundle = certificate(tmp_path)
    with FakeServer([GOOD], tls=context) as server:
        with pytest.raises(ProviderUnavailable, match="certificate"):
            client_for(server.url).get_key("K1")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        assert client_for(server.url).get_key("K1").key.id == "K1"
        assert client_for(server.url).create_key(REQUEST).key.id == "K1"
        with pytest.raises(ProviderUnavailable, match="certificate"):  # it is for 127.0.0.1 only
            client_for(server.url.replace("127.0.0.1", "localhost")).get_key("K1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "nothing"))
    with pytest.raises(ConfigurationError, match="REQUESTS_CA_BUNDLE"):
        client_for("https://127.0.0.1")


def test_old_tls_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threat: a server that negotiates old TLS. It is rejected."""
    context, bundle = certificate(tmp_path)
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with FakeServer([GOOD], tls=context) as server, pytest.raises(ProviderUnavailable, match="TLS failed"):
        client_for(server.url).get_key("K1")


def test_https_uses_environments_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeServer([reply(407)]) as proxy:
        through(f"http://user:PROXYPASS@{proxy.host}", monkeypatch)
        with pytest.raises(ProviderUnavailable, match="proxy") as caught:
            client_for("https://abc.api.infobip.invalid").create_key(REQUEST)
    assert proxy.seen[0].line.startswith("CONNECT abc.api.infobip.invalid:443")
    assert "authorization" not in proxy.seen[0].headers
    assert proxy.seen[0].headers["proxy-authorization"].startswith("Basic ")
    assert "PROXYPASS" not in str(caught.value)


@pytest.mark.parametrize("answer", [drop, reply(502), None])
def test_nothing_was_sent_without_tunnel(answer: Reply | None, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeServer([answer or silence(threading.Event())]) as proxy:
        through(proxy.url, monkeypatch)
        with pytest.raises(ProviderUnavailable):
            client_for("https://abc.api.infobip.invalid", patience=Patience(0.5, total=2)).create_key(REQUEST)


def test_nothing_was_sent_without_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeServer() as proxy:
        pass
    through(proxy.url, monkeypatch)
    with pytest.raises(ProviderUnavailable, match="proxy"):
        client_for("https://abc.api.infobip.invalid").create_key(REQUEST)


def test_tunnel_that_drips_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = FakeServer()
    proxy.script = [endless(b"HTTP/1.1 200 OK\r\nX: ", b" ", 0.05, proxy.stopping)]
    with proxy:
        through(proxy.url, monkeypatch)
        started = time.monotonic()
        with pytest.raises(ProviderUnavailable, match="timed out"):
            client_for("https://abc.api.infobip.invalid", patience=Patience(0.4, total=9)).create_key(REQUEST)
        assert time.monotonic() - started < 2


def through(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def tunnel_to(host: str) -> Reply:
    """What a proxy does at a CONNECT: bytes go through in both directions until one side closes."""

    def copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(65536):
                target.sendall(part)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def relay(sock: socket.socket) -> None:
        name, _, port = host.partition(":")
        with socket.create_connection((name, int(port))) as upstream:
            sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            threading.Thread(target=copy, args=(upstream, sock), daemon=True).start()
            copy(sock, upstream)

    return relay


@pytest.mark.parametrize("failure", [drop, reset, below_tls])
def test_create_is_in_doubt_if_tunnel_breaks(failure: Reply, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threat: a proxy's tunnel that breaks after a create was sent. The create counts as sent. For ``requests`` a
    tunnel that ends is the same ``ProxyError`` as a proxy that makes none.
    """
    context, bundle = certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with FakeServer([failure], tls=context) as server, FakeServer([tunnel_to(server.host)]) as proxy:
        through(proxy.url, monkeypatch)
        with pytest.raises(OutcomeUnknown):
            client_for(server.url).create_key(REQUEST)
    assert len(server.seen) == 1


def test_calls_through_proxy_are_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, bundle = certificate(tmp_path)
    with FakeServer([GOOD], tls=context) as server, FakeServer([tunnel_to(server.host)]) as proxy:
        through(proxy.url, monkeypatch)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        client = client_for(server.url)
        for _ in range(2):
            assert client.get_key("K1").key.id == "K1"
        assert client.create_key(REQUEST).key.id == "K1"
        client.close()
    assert [each.line.split()[0] for each in proxy.seen] == ["CONNECT", "CONNECT"]
    assert len(server.seen) == 3


def test_loopback_http_uses_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeServer([GOOD]) as proxy, FakeServer([GOOD]) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        client_for(server.url).get_key("K1")
        assert proxy.connections == 0


def test_netrc_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threat: other credentials in a netrc file. They are ignored."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login evil password evil\ndefault login evil password evil\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with FakeServer([reply(200, page())]) as server:
        client = client_for(server.url)
        client.list_keys()
        client.probe(Secret(KEY_VALUE), "/account/1/balance")
    schemes = [each.headers["authorization"].partition(" ")[0] for each in server.seen]
    assert schemes == ["Basic", "App"]
    assert len(set(server.seen[0].headers["authorization"].split())) == 2


def test_cookies_are_not_kept() -> None:
    with FakeServer([reply(200, key(), Set_Cookie="s=1; Path=/")]) as server:
        client = client_for(server.url)
        client.get_key("K1")
        client.get_key("K1")
    assert all("cookie" not in each.headers for each in server.seen)
    assert all(each.headers["user-agent"].startswith("infobip-key-rotator/") for each in server.seen)
