"""``ROTATOR_ALLOWED_HOSTS`` from outside: a proxy sees what would leave this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from rotator.bootstrap import prepare
from rotator.errors import ConfigurationError, ProviderUnavailable
from rotator.model import SecretEntry
from rotator.ports import KeyProvider, KeyRequest
from rotator.secret import Secret
from tests.infobip.fake_server import FakeServer, reply
from tests.support.moments import START

HOST = "keys.evil.example"


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    with FakeServer([reply(407)]) as server:
        monkeypatch.setenv("HTTPS_PROXY", server.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        yield server


def connect(**environ: str) -> KeyProvider:
    value = Secret(json.dumps({"base_url": f"https://{HOST}", "username": "ops", "password": "correct-horse"}))
    return prepare(region="eu-central-1", environ=environ).connect(SecretEntry("arn:…", "rotator/main", {}, {}), value)


@pytest.mark.parametrize("allowed", ["", "evil.example", "*.keys.evil.example,other.example"])
def test_nothing_is_sent_to_foreign_host(proxy: FakeServer, allowed: str) -> None:
    """Threat: a management secret whose base_url names another host. Nothing is sent unless ROTATOR_ALLOWED_HOSTS lists
    it.
    """
    with pytest.raises(ConfigurationError, match=rf"rotator/main.*{HOST}.*ROTATOR_ALLOWED_HOSTS"):
        connect(ROTATOR_ALLOWED_HOSTS=allowed)
    assert proxy.connections == 0


@pytest.mark.parametrize("allowed", [HOST, "other.example, *.evil.example"])
def test_allowed_host_is_called(proxy: FakeServer, allowed: str) -> None:
    with pytest.raises(ProviderUnavailable):  # a create, which is not repeated
        connect(ROTATOR_ALLOWED_HOSTS=allowed).create_key(KeyRequest("n", START))
    assert proxy.seen[0].line.startswith(f"CONNECT {HOST}:443")
