"""An emergency obeys the person who names a key: it acts on the key where it is, whatever tags and states say."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from rotator.engine.emergency import EmergencyReport, Strategy
from rotator.engine.emergency.facts import MOST_VALUES
from rotator.engine.rotate_now import rotate_now
from rotator.errors import ConfigurationError
from rotator.reasons import Reason
from rotator.sandbox.state import Options, SimKey
from tests.emergencies import REPLACE_FIRST, REVOKE_FIRST, REVOKE_ONLY, UPDATE, EmergencyWorld, leaked, named, refused
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import DAY, NAME

EVERY = list(Strategy)
BY = ["key", "value"]


def two_accounts() -> tuple[EmergencyWorld, SimKey]:
    """``main``, with the secret and its key, and ``other``, with a secret of its own."""
    world = EmergencyWorld()
    key = world.secret(NAME)
    world.secret("other/sms", account="other")
    return world, key


def store(world: EmergencyWorld, value: dict[str, Any] | str | bytes, name: str = NAME) -> None:
    text = json.dumps(value) if isinstance(value, dict) else value
    world.store.put_value_by_hand(name, text)


def verified(report: EmergencyReport) -> dict[str, bool | None]:
    return {str(step.key_id): step.verified for step in report.steps if step.what == "revoked"}


# ---- the account of the tag is not the key's -------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", EVERY)
@pytest.mark.parametrize("by", ["secret", *BY])
def test_key_is_revoked_in_its_own_account(by: str, strategy: Strategy) -> None:
    """Threat: a changed rotator:account, so that an emergency revokes nothing and reports success. The key is revoked
    and verified in its own account. ``rotator:account`` was changed to an account that does not have the key.
    """
    world, key = two_accounts()
    world.store.tag(NAME, {"rotator:account": "other"})
    others = len(world.live("other"))
    report = world.revoke(strategy, **named(by, key))
    assert not world.works(key)
    assert verified(report) == {key.id: True}
    assert [step.account for step in report.steps if step.what == "revoked"] == ["main"]
    assert report.replaced == ()
    assert len(world.live("other")) == others  # the secret is not moved, and no key is created for it
    if strategy is not REVOKE_ONLY:
        (step,) = (each for each in report.steps if each.what == "promoted")
        assert step.reason is Reason.KEY_NOT_FOUND
        assert step.error is not None
        assert f"rotator rotate {NAME}" in step.error


@pytest.mark.parametrize("by", ["secret", *BY])
def test_other_credentials_revoke_nothing(by: str) -> None:
    """Threat: another account's credentials, so that a leaked key seems revoked. A 404 is an error. ``main``'s
    management secret was given another account's credentials: "not found" is never "done".
    """
    world, key = two_accounts()
    user = world.infobip.add_user(world.accounts["other"], "user-of-other")
    text = {"base_url": "https://sandbox.api.infobip.com", "username": user.username, "password": str(user.password)}
    store(world, text, "rotator/main")
    if by == "secret":
        report = world.revoke()
        assert (report.ok, report.revoked, report.replaced) == (False, (), ())
        assert any(NAME in error for error in report.errors)
    else:
        with refused(Reason.KEY_NOT_FOUND, key.id if by == "key" else NAME, "main"):
            world.revoke(**named(by, key))
    assert world.works(key)


def test_error_names_account_that_has_key() -> None:
    world, key = two_accounts()
    with refused(Reason.KEY_NOT_FOUND, key.id, "--account main"):
        world.revoke(key_id=key.id, account="other")
    assert world.works(key)


def test_unknown_value_in_secret_is_error() -> None:
    """Threat: a leaked value of an account that is not configured. It is an error that names the secret that contains
    it.
    """
    world, _ = two_accounts()
    far = world.infobip.add_account("far")
    key = world.infobip.add_key(far.id, "of another team")
    store(world, {"api_key": "x", "token": key.value}, "other/sms")
    with refused(Reason.KEY_NOT_FOUND, "other/sms", "main, other"):
        world.revoke(leaked=leaked(key))


# ---- nothing about a secret protects a named key ---------------------------------------------------------------------


def _foreign(world: EmergencyWorld) -> None:
    store(world, {"api_key": world.first_keys["other/sms"].value})


def _second_management(world: EmergencyWorld, value: str = "") -> None:
    """``main`` gets another management secret: of another account, if nothing else is said."""
    user = world.infobip.add_user(world.accounts["other"], "second-of-main")
    text = {"base_url": "https://sandbox.api.infobip.com", "username": user.username, "password": str(user.password)}
    tags = {"rotator:role": "management", "rotator:account": "main"}
    world.store.create_secret("rotator/a-second", tags, value or json.dumps(text))


STATES: dict[str, Callable[[EmergencyWorld], object]] = {
    "no account": lambda world: world.store.untag(NAME, "rotator:account"),
    "an unknown account": lambda world: world.store.tag(NAME, {"rotator:account": "mian"}),
    "a misspelt role": lambda world: world.store.tag(NAME, {"rotator:role": "kye"}),
    "no role": lambda world: world.store.untag(NAME, "rotator:role"),
    "held": lambda world: world.store.tag(NAME, {"rotator:hold": "audit"}),
    "misconfigured": lambda world: world.store.tag(NAME, {"rotator:grace": "soon"}),
    "pending deletion": lambda world: world.store.delete(NAME),
    "unreadable": lambda world: world.store.deny_kms(NAME),
    "garbage": lambda world: store(world, "{"),
    "binary garbage": lambda world: store(world, b"\x00\xff"),
    "another account's key": _foreign,
    "two accounts' credentials": lambda world: world.account("third"),
    "a second management secret": lambda world: _second_management(world, "{}"),
    "a second management secret of another account": lambda world: _second_management(world),
}


@pytest.mark.parametrize("strategy", EVERY)
@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("state", STATES)
def test_no_state_protects_named_key(state: str, by: str, strategy: Strategy) -> None:
    """Threat: a secret that is mistagged, held, unreadable, invalid or pending deletion, to protect its key. A named
    key is revoked anyway.
    """
    world, key = two_accounts()
    STATES[state](world)
    report = world.revoke(strategy, **named(by, key))
    assert not world.works(key)
    assert verified(report) == {key.id: True}
    assert world.works(world.first_keys["other/sms"])


@pytest.mark.parametrize("by", ["secret", *BY])
@pytest.mark.parametrize("value", ["{}", ""], ids=["of nothing", "of another account"])
def test_second_management_stops_nothing(value: str, by: str) -> None:
    """Threat: a second management secret that blocks emergencies for its account. The one that shows it is used."""
    world, key = two_accounts()
    _second_management(world, value)
    notes = world.plan_for(**named(by, key)).notes
    assert any(all(name in note for name in ("main", "rotator/a-second", "rotator/main")) for note in notes)
    report = world.revoke(**named(by, key))
    assert (report.ok, report.revoked, report.replaced) == (True, (key.id,), (NAME,)), report.errors
    assert world.consumer_works(NAME)
    assert [each.id for each in world.live("other")] == [world.first_keys["other/sms"].id]


def test_no_management_knows_key_is_error() -> None:
    world, _ = two_accounts()
    _second_management(world)
    with refused(Reason.DUPLICATE_MANAGEMENT, "rotator/a-second", kind=ConfigurationError):
        world.revoke(key_id="0" * 32, account="main")


@pytest.mark.parametrize("state", ["no account", "an unknown account", "a misspelt role", "held", "misconfigured"])
def test_secret_with_any_tags_is_searched(state: str) -> None:
    """Threat: wrong tags on a secret, to protect its keys in an emergency. The named secret is searched anyway."""
    world, key = two_accounts()
    STATES[state](world)
    report = world.revoke()
    assert not world.works(key)
    assert verified(report) == {key.id: True}
    assert report.ok is (state == "held")  # else nothing says where a new key is to be created


# ---- every key that a secret contains --------------------------------------------------------------------------------


def _add(world: EmergencyWorld, name: str = "second") -> SimKey:
    return world.infobip.add_key(world.accounts["main"], name)


def _previous(world: EmergencyWorld) -> SimKey:
    """A key that a person replaced by hand: its version has ``AWSPREVIOUS`` and no label."""
    key = _add(world)
    current = world.current_value(NAME)
    store(world, {"api_key": key.value})
    store(world, {"api_key": current})
    return key


def _field(world: EmergencyWorld) -> SimKey:
    key = _add(world)
    store(world, {"api_key": world.current_value(NAME), "fallback": {"keys": [key.value]}})
    return key


def _escaped(world: EmergencyWorld) -> SimKey:
    key = _add(world)
    text = json.dumps({"api_key": world.current_value(NAME), "fallback": key.value})
    store(world, text.replace(str(key.value), str(key.value).replace("-", "\\u002d")))
    return key


def _custom(world: EmergencyWorld) -> SimKey:
    """A version with a label of another program's."""
    key = _add(world)
    current = world.current_value(NAME)
    version = world.store.put_value_by_hand(NAME, f"binary {key.value}".encode("utf-16-le"))
    world.store.label_by_hand(NAME, "canary", version)
    store(world, {"api_key": current})
    store(world, {"api_key": current})
    return key


def _other_account(world: EmergencyWorld) -> SimKey:
    key = world.infobip.add_key(world.accounts["other"], "of the other account")
    store(world, {"api_key": world.current_value(NAME), "voice": key.value})
    return key


PLACES = {
    "unlabelled AWSPREVIOUS": _previous,
    "another field": _field,
    "an escaped text": _escaped,
    "a binary version of another label": _custom,
    "another account's key": _other_account,
}


@pytest.mark.parametrize("strategy", EVERY)
@pytest.mark.parametrize("place", PLACES)
def test_named_secrets_keys_are_revoked(place: str, strategy: Strategy) -> None:
    """Threat: a second key in another field or version, to survive an emergency. All are found and revoked."""
    world, key = two_accounts()
    second = PLACES[place](world)
    assert set(world.dry_run(strategy).revoked) == {key.id, second.id}
    report = world.revoke(strategy)
    assert verified(report) == {key.id: True, second.id: True}
    assert not world.works(key)
    assert not world.works(second)
    assert world.consumer_works(NAME) is (strategy is not REVOKE_ONLY)


def test_many_key_values_delay_no_revocation() -> None:
    world, key = two_accounts()
    others = [f"{number:032x}-00000000-0000-4000-8000-{number:012x}" for number in range(800)]
    store(world, {"api_key": key.value, "others": others})
    before = len(world.infobip.calls)
    report = world.revoke()
    assert not world.works(key)
    assert any(NAME in error and str(MOST_VALUES) in error for error in report.errors)
    assert len(world.infobip.calls) - before < 100


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("place", PLACES)
def test_named_key_is_revoked_alone(place: str, by: str) -> None:
    world, key = two_accounts()
    second = PLACES[place](world)
    report = world.revoke(**named(by, key))
    assert report.revoked == (key.id,)
    assert world.works(second)


@pytest.mark.parametrize("value", ["json", "binary"])
def test_copy_in_another_field_is_previewed(value: str) -> None:
    """Threat: a copy of a leaked key in another secret. The preview shows it."""
    world, key = two_accounts()
    text = {"api_key": world.current_value("other/sms"), "backup": key.value}
    store(world, text if value == "json" else f"\x01{key.value}".encode(), "other/sms")
    for target in (named("key", key), named("value", key), {"secret": NAME}):
        (error,) = world.plan_for(**target).errors
        assert "other/sms" in error
        assert "api_key" in error
    report = world.revoke()
    assert report.replaced == (NAME,)
    assert ["other/sms" in error for error in report.errors] == [True]
    assert not world.plan_for(secret=NAME).errors, "the key is disabled already"


# ---- wire, labels, preview -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reveal", [True, False])
@pytest.mark.parametrize("by", BY)
def test_key_of_two_accounts_revoked_once(by: str, reveal: bool) -> None:
    world = EmergencyWorld(options=Options(reveal=reveal))
    key = world.secret(NAME)
    user = world.infobip.add_user(world.accounts["main"], "second-user")
    world.accounts["alias"] = world.accounts["main"]
    world.management(user, "alias")
    report = world.revoke(**named(by, key))
    assert (report.ok, report.revoked, report.replaced) == (True, (key.id,), (NAME,))
    assert world.consumer_works(NAME)


def test_404_for_revocation_is_error() -> None:
    world, key = two_accounts()
    world.fault(FaultKind.STATUS_BEFORE, UPDATE, status=404)
    report = world.revoke(REVOKE_ONLY, **named("key", key))
    assert (report.ok, report.revoked) == (False, ())
    assert world.works(key)


@pytest.mark.parametrize("status", [500, 503])
def test_unreadable_key_is_revoked(status: int) -> None:
    world, key = two_accounts()
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, method="GET", path=key.id, count=None, status=status))
    report = world.revoke(REVOKE_ONLY, **named("key", key))
    assert (report.ok, report.revoked) == (True, (key.id,))
    assert not world.works(key)


def test_move_ends_without_old_labels() -> None:
    world, key = two_accounts()
    world.store.tag(NAME, {"rotator:account": "other", "rotator:scopes": "sms:manage"})
    rotate_now(world.services(), NAME, "moved")
    assert key.id in world.names_of()
    report = world.revoke(REVOKE_ONLY, **named("key", key))
    assert report.ok, report.errors
    assert world.names_of() == {world.current_key(NAME).id}
    last = world.sweep()
    assert [alert for plan in last.plan.accounts for alert in plan.alerts if alert.secret == NAME] == []


@pytest.mark.parametrize("strategy", [REPLACE_FIRST, REVOKE_FIRST])
@pytest.mark.parametrize("shut_out", [True, False])
def test_preview_agrees_on_allowed_ips(shut_out: bool, strategy: Strategy) -> None:
    """Threat: allowedIPs that exclude the rotator. Preview and execution agree that no replacement can be verified."""
    world, key = two_accounts()
    world.infobip.change_key(key.id, allowed_ips=("203.0.113.0/24",) if shut_out else ("127.0.0.1",))
    shown = world.dry_run(strategy)
    done = world.revoke(strategy)
    assert (shown.ok, done.ok) == (not shut_out, not shut_out)
    assert (shown.replaced, done.replaced) == (() if shut_out else (NAME,),) * 2
    assert not shut_out or any("allowedIPs" in error and "rotator:verify=skip" in error for error in shown.errors)
    assert not world.works(key)


def test_forged_label_replaces_nothing() -> None:
    """Infobip masks values, so only the label of the other secret says that it contains the key; its value decides."""
    world = EmergencyWorld(options=Options(reveal=False))
    key, other = world.secret(NAME), world.secret("prod/other")
    version = world.version_of("prod/other", other)
    world.store.label_by_hand(NAME, f"rotator:key:{key.id}", None, world.version_of(NAME, key))
    world.store.label_by_hand("prod/other", f"rotator:key:{other.id}", None, version)
    world.store.label_by_hand("prod/other", f"rotator:key:{key.id}", version)
    report = world.revoke(**named("key", key))
    assert (report.revoked, report.replaced) == ((key.id,), (NAME,))
    assert any(other.id in note and "prod/other" in note for note in report.notes)
    assert world.current_key("prod/other").id == other.id


def test_current_key_of_retiring_one_stays(world: EmergencyWorld) -> None:
    old, current = world.in_grace()
    report = world.revoke(**named("key", old))
    assert (report.revoked, report.replaced) == ((old.id,), ())
    world.pass_time(4 * DAY)
    world.sweep()
    assert world.current_key(NAME).id == current.id
