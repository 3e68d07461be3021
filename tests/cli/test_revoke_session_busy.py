"""A login that is not to be had keeps no leaked key enabled: an emergency falls back to Basic."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from rotator.sandbox.aws import consumer_value
from rotator.sandbox.faults import Fault, FaultKind
from rotator.sandbox.state import SimKey
from tests.cli.rig import Ran, Rig

NAME = "prod/sms"
SESSION, TOKEN = "/auth/1/session", "/auth/1/oauth2/token"


@dataclass
class Scene:
    """One secret in an account whose session another process holds."""

    rig: Rig
    key: SimKey
    session: str

    def revoke(self, *target: str, stdin: str | None = None) -> Ran:
        return self.rig.run("revoke", *target, "--reason", "leak", "--yes", "--json", stdin=stdin)

    def current_works(self) -> bool:
        return self.rig.world.authenticates(json.loads(consumer_value(self.rig.client, NAME))["api_key"])


def held(rig: Rig, auth: str = "ibsso", **management: str) -> Scene:
    """The scene, with a session that was opened and not closed."""
    account, user = rig.account("main", auth=auth, **management)
    key = rig.secret(NAME, account)
    login = {"username": user.username, "password": user.password, "unsafe": False}
    opened = requests.post(rig.server.url + SESSION, json=login, timeout=10)
    return Scene(rig, key, opened.json()["token"])


def warnings(ran: Ran) -> list[dict[str, Any]]:
    return [line for line in ran.lines if line["level"] == "warning" and "Basic is used" in str(line)]


@pytest.mark.parametrize("strategy", ["replace-first", "revoke-first", "revoke-only"])
def test_an_emergency_works_while_the_session_is_held(rig: Rig, strategy: str) -> None:
    scene = held(rig)
    ran = scene.revoke("--secret", NAME, "--strategy", strategy)
    assert (ran.code, ran.document["errors"]) == (0, [])
    assert not rig.world.authenticates(scene.key.value)
    assert scene.current_works() == (strategy != "revoke-only")
    assert scene.session in rig.world.state.sessions  # the other process goes on
    assert len(warnings(ran)) >= 1


def test_a_leaked_value_is_searched_for_without_a_session_too(rig: Rig) -> None:
    scene = held(rig)
    ran = scene.revoke("--leaked-key-stdin", stdin=f"{scene.key.value}\n")
    assert (ran.code, ran.document["errors"]) == (0, [])
    assert not rig.world.authenticates(scene.key.value)
    assert scene.current_works()


@pytest.mark.parametrize(
    ("auth", "path", "kind"),
    [
        ("ibsso", SESSION, FaultKind.STATUS_BEFORE),
        ("ibsso", SESSION, FaultKind.REFUSE),
        ("oauth2", TOKEN, FaultKind.STATUS_BEFORE),
    ],
)
def test_an_emergency_works_while_the_login_endpoint_is_down(rig: Rig, auth: str, path: str, kind: FaultKind) -> None:
    scene = held(rig, auth)
    rig.world.faults.add(Fault(kind, path=path, status=503, count=None))
    ran = scene.revoke("--secret", NAME)
    assert (ran.code, ran.document["errors"]) == (0, [])
    assert not rig.world.authenticates(scene.key.value)
    assert scene.current_works()


def test_a_sweep_leaves_the_session_to_its_holder(rig: Rig) -> None:
    held(rig)
    ran = rig.run("run", "--json")
    assert ran.code == 1
    assert "an earlier session of this user seems to be open still" in ran.err
    assert warnings(ran) == []


def test_a_user_name_with_a_colon_keeps_the_session_error(rig: Rig) -> None:
    scene = held(rig, username="ops:main")
    ran = scene.revoke("--secret", NAME)
    assert ran.code == 1
    assert "an earlier session of this user seems to be open still" in ran.out
    assert rig.world.authenticates(scene.key.value)
