"""A leaked value in one of several accounts, and targets that are not there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rotator.engine.emergency import Strategy, Target
from rotator.errors import ConfigurationError, Refused, RotatorError, SecretNotFound
from rotator.sandbox.state import SimKey
from rotator.secret import Secret
from tests import leaks
from tests.emergencies import (
    NAME,
    REPLACE_FIRST,
    REVOKE_FIRST,
    alive,
    emergency,
    in_grace,
    leaked,
    plan_for,
    revoke,
)
from tests.world import World

BY = ["key", "value"]


def _two_accounts() -> tuple[World, SimKey]:
    world = World()
    world.managed("first/sms", account="alpha")
    key = world.managed(NAME, account="main")
    return world, key


@pytest.mark.parametrize("account", [None, "main"])
def test_a_leaked_value_is_looked_for_in_every_account(account: str | None) -> None:
    world, key = _two_accounts()
    report = revoke(world, leaked=leaked(key), account=account)
    assert (report.ok, report.account, report.revoked) == (True, "main", (key.id,))
    assert world.consumer_works(NAME)
    assert world.consumer_works("first/sms")


def test_an_account_that_can_not_be_asked_does_not_keep_another_from_being_asked() -> None:
    world, key = _two_accounts()
    world.store.deny_kms("infobip/alpha")
    assert revoke(world, leaked=leaked(key)).ok
    assert not alive(world, key)


def test_where_an_account_could_not_be_asked_the_value_is_not_said_to_be_unknown() -> None:
    world, _ = _two_accounts()
    world.store.deny_kms("infobip/alpha")
    value = leaks.register("0123456789abcdef0123456789abcdef-01234567-89ab-cdef-0123-456789abcdef")
    with pytest.raises(Refused, match=r"not every account could be asked.*alpha") as caught:
        emergency(world).plan(Target(leaked=Secret(value)), REPLACE_FIRST)
    assert not leaks.find(str(caught.value))


def test_an_unknown_value_is_refused_and_never_shown() -> None:
    world, _ = _two_accounts()
    value = leaks.register("0123456789abcdef0123456789abcdef-01234567-89ab-cdef-0123-456789abcdee")
    with pytest.raises(Refused, match="no key of these accounts: alpha, main") as caught:
        revoke(world, leaked=Secret(value))
    assert not leaks.find(str(caught.value) + repr(caught.value) + world.stream.getvalue())


@pytest.mark.parametrize(
    ("named", "error"),
    [
        ({"secret": "prod/nope"}, SecretNotFound),
        ({"secret": "infobip/main"}, ConfigurationError),
        ({"key_id": "1" * 32, "account": "nope"}, ConfigurationError),
        ({"leaked": Secret("x" * 40), "account": "nope"}, RotatorError),
        ({"key_id": "1" * 32}, ConfigurationError),
    ],
)
def test_what_is_not_there_or_not_managed_is_said(named: dict[str, Any], error: type[RotatorError]) -> None:
    world = World()
    world.managed(NAME)
    with pytest.raises(error):
        revoke(world, **named)


def test_a_secret_whose_key_can_not_be_named_is_refused() -> None:
    world = World()
    world.account()
    world.store.create_secret(NAME, world.tags(), json.dumps({"api_key": "not-a-key-of-this-account"}))
    with pytest.raises(Refused, match="is not known"):
        revoke(world)
    assert world.current_value(NAME)


@pytest.mark.parametrize("strategy", [REPLACE_FIRST, REVOKE_FIRST])
def test_a_plan_holds_values_and_never_shows_them(strategy: Strategy) -> None:
    world = World()
    key = world.managed(NAME)
    plan = plan_for(world, strategy, leaked=leaked(key))
    assert plan.values
    assert not leaks.find(repr(plan))


def test_looking_shows_each_key_as_it_is() -> None:
    world = World()
    old, current = in_grace(world)
    world.infobip.portal_delete(old.id)
    command = emergency(world)
    plan = command.plan(Target(secret=NAME), REPLACE_FIRST)
    report = command.dry_run(plan)
    assert set(report.keys) == {current.id}
    assert report.keys[current.id].valid_from == current.valid_from
