from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from rotator.sandbox.clocks import VirtualClock
from rotator.sandbox.infobip import InfobipWorld
from rotator.sandbox.server import InfobipServer
from rotator.sandbox.state import SimAccount, SimUser
from tests.doubles.in_process import InProcessAdapter
from tests.wire_schema import watch

KEYS = "/settings/2/api-keys"
SESSION = "/auth/1/session"
TOKEN = "/auth/1/oauth2/token"
BALANCE = "/account/1/balance"
BASE = "https://abc123.api.example"


@dataclass
class Site:
    """A running world and a caller: ``call`` sends Basic unless ``authorization`` says otherwise."""

    world: InfobipWorld
    clock: VirtualClock
    account: SimAccount
    user: SimUser
    server: InfobipServer
    session: requests.Session

    @property
    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.user.username}:{self.user.password}".encode()).decode()

    def call(self, method: str, path: str, authorization: str | None = None, **settings: Any) -> requests.Response:
        headers = settings.pop("headers", {})
        if authorization != "":
            headers = {**headers, "Authorization": authorization or self.basic}
        return self.session.request(
            method, self.server.url + path, headers=headers, allow_redirects=False, timeout=30, **settings
        )

    def create(self, **fields: Any) -> dict[str, Any]:
        answer = self.call("POST", KEYS, json={"name": "a key", **fields})
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def update(self, key_id: str, **fields: Any) -> dict[str, Any]:
        answer = self.call("PUT", f"{KEYS}/{key_id}", json=fields)
        assert answer.status_code == 200, answer.text
        changed: dict[str, Any] = answer.json()
        return changed


@pytest.fixture
def site() -> Iterator[Site]:
    clock = VirtualClock()
    world = InfobipWorld(clock)
    watch(world)
    account = world.add_account("main")
    user = world.add_user(account, "ops", "pä:ss wörd")
    with InfobipServer(world) as server, requests.Session() as session:
        session.trust_env = False
        yield Site(world, clock, account, user, server, session)


@pytest.fixture
def in_process(site: Site) -> requests.Session:
    """A session that reaches the same world at ``BASE``, without sockets."""
    session = requests.Session()
    session.mount("https://", InProcessAdapter(site.world))
    return session


def violations(answer: requests.Response) -> dict[str, list[str]]:
    """Of an error in the current shape, by property."""
    assert answer.status_code == 400, answer.text
    found: dict[str, list[str]] = {}
    for v in answer.json()["violations"]:
        found.setdefault(v["property"], []).append(v["violation"])
    return found
