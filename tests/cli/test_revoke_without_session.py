"""A login that is not to be had keeps no leaked key enabled: an emergency falls back to Basic."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from rotator.sandbox.aws import consumer_value
from rotator.sandbox.state import SimKey
from tests.cli.local_stack import Stack
from tests.support.commands import Ran
from tests.support.faulty_infobip import Fault, FaultKind, faults_of

NAME = "prod/sms"
SESSION, TOKEN = "/auth/1/session", "/auth/1/oauth2/token"


@dataclass
class Scene:
    """One secret in an account whose session another process holds."""

    stack: Stack
    key: SimKey
    session: str

    def revoke(self, *target: str, stdin: str | None = None) -> Ran:
        return self.stack.run("revoke", *target, "--reason", "leak", "--yes", "--json", stdin=stdin)

    def current_works(self) -> bool:
        return self.stack.infobip.authenticates(json.loads(consumer_value(self.stack.client, NAME))["api_key"])


def held(stack: Stack, auth: str = "ibsso", **management: str) -> Scene:
    """The scene, with a session that was opened and not closed."""
    account = stack.account("main", auth=auth, **management)
    user = stack.user(account)
    key = stack.secret(NAME, account)
    login = {"username": user.username, "password": user.password, "unsafe": False}
    opened = requests.post(stack.infobip_url + SESSION, json=login, timeout=10)
    return Scene(stack, key, opened.json()["token"])


def warnings(ran: Ran) -> list[dict[str, Any]]:
    return [line for line in ran.lines if line["level"] == "warning" and "Basic" in str(line)]


@pytest.mark.parametrize("strategy", ["replace-first", "revoke-first", "revoke-only", "a leaked value"])
def test_emergency_with_session_held(stack: Stack, strategy: str) -> None:
    """Threat: a session of the management user that is kept open, to block an emergency. It uses Basic with the same
    credentials.
    """
    scene = held(stack)
    if strategy == "a leaked value":
        ran = scene.revoke("--leaked-key-stdin", stdin=f"{scene.key.value}\n")
    else:
        ran = scene.revoke("--secret", NAME, "--strategy", strategy)
    assert (ran.code, ran.document["errors"]) == (0, [])
    assert not stack.infobip.authenticates(scene.key.value)
    assert scene.current_works() == (strategy != "revoke-only")
    assert scene.session in stack.infobip.state.sessions  # the other process goes on
    assert len(warnings(ran)) >= 1


@pytest.mark.parametrize(
    ("auth", "path", "kind"),
    [
        ("ibsso", SESSION, FaultKind.STATUS_BEFORE),
        ("ibsso", SESSION, FaultKind.REFUSE),
        ("oauth2", TOKEN, FaultKind.STATUS_BEFORE),
    ],
)
def test_emergency_without_login_endpoint(stack: Stack, auth: str, path: str, kind: FaultKind) -> None:
    scene = held(stack, auth)
    faults_of(stack.infobip).add(Fault(kind, path=path, status=503, count=None))
    ran = scene.revoke("--secret", NAME)
    assert (ran.code, ran.document["errors"]) == (0, [])
    assert not stack.infobip.authenticates(scene.key.value)
    assert scene.current_works()


def test_sweep_leaves_session_to_its_holder(stack: Stack) -> None:
    held(stack)
    ran = stack.run("run", "--json")
    assert ran.code == 1
    (account,) = ran.document["accounts"]
    assert "session" in account["error"]
    assert warnings(ran) == []


def test_colon_in_name_keeps_session_error(stack: Stack) -> None:
    scene = held(stack, username="ops:main")
    ran = scene.revoke("--secret", NAME)
    assert ran.code == 1
    assert "session" in " ".join(ran.document["errors"])
    assert stack.infobip.authenticates(scene.key.value)
