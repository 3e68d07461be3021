"""Only ``rotator rotate`` moves a secret to another Infobip account, and a key is looked for where it is."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest

from rotator.sandbox.state import SimKey, SimUser
from tests.safety.harness import DAY, HOUR, Region

NAME = "prod/api"


@pytest.fixture
def other(region: Region) -> SimUser:
    """A second Infobip account, ``other``, with a management secret of its own and no key."""
    return region.user(region.account("other"))


def wrong_tag(region: Region, _other: SimUser) -> None:
    region.tag(NAME, account="other")


def wrong_credentials(region: Region, other: SimUser) -> None:
    region.use_credentials(other, region.infobip_url)


def made_there(region: Region) -> list[SimKey]:
    _, *rest = region.infobip.state.accounts
    return [key for account in rest for key in region.infobip.keys(account)]


@pytest.mark.parametrize("mistake", [wrong_tag, wrong_credentials])
@pytest.mark.parametrize("rotated", [False, True])
def test_nothing_but_rotate_moves_secret(
    region: Region, other: SimUser, mistake: Callable[[Region, SimUser], None], rotated: bool
) -> None:
    """Threat: a wrong rotator:account tag. Sweeps, the four steps and emergencies move no consumer: key-not-found names
    rotator rotate.
    """
    key = region.secret(NAME, left=20 * DAY, scopes="sms:manage")
    if rotated:
        key = region.rotate(NAME)
        region.pass_time(75 * DAY)
    mistake(region, other)
    for ran in region.sweeps(3):
        (alert,) = ran.alerts("key-not-found", NAME)
        assert (alert["key_id"], ran.code) == (key.id, 0)
        assert f"rotator rotate {NAME}" in alert["detail"]
    region.run("revoke", "--secret", NAME, "--reason", "leaked", "--yes")
    assert region.value(NAME)["api_key"] == key.value
    assert made_there(region) == []
    moved = region.rotate(NAME)
    assert region.works(moved)
    assert [each.id for each in made_there(region)] == [moved.id]


def test_documented_move_ends_without_alert(region: Region, other: SimUser) -> None:
    """Threat: a label that names a key of another account. The label stays, and the wrong account's sweep never revokes
    the key.
    """
    names = (NAME, "prod/other-api")
    olds = [region.secret(name, scopes="sms:manage") for name in names]
    olds[0] = region.rotate(NAME)  # one key of the rotator's own, and another in its grace period
    region.pass_time(2 * HOUR)
    for name in names:
        region.tag(name, account="other")
    for name in names:
        region.rotate(name)
    ran = region.sweep()
    standing = {alert["key_id"]: alert["detail"] for alert in ran.alerts("key-not-found")}
    assert {old.id for old in olds} <= standing.keys()
    assert len(standing) == 3
    region.sweeps(4, every=DAY)
    assert all(region.works(old) for old in olds), "a sweep of the other account revoked a key"
    for key_id, detail in standing.items():
        program, *arguments = shlex.split(detail.split("`")[1].replace("...", "moved"))
        assert (program, "--account main" in detail) == ("rotator", True)
        revoked = region.run(*arguments, "--yes")
        assert revoked.code == 0, revoked.err
        assert key_id not in region.enabled()
    region.sweep()
    assert [alert for ran in region.sweeps(2) for alert in ran.alerts()] == []
    assert not any(key_id in label for name in names for label in region.every_label(name) for key_id in standing)
    assert all(region.works(region.current_key(name)) for name in names)


def test_disabled_elsewhere_loses_labels(region: Region, other: SimUser) -> None:
    old = region.secret(NAME, scopes="sms:manage")
    region.tag(NAME, account="other")
    region.rotate(NAME)
    region.infobip.change_key(old.id, enabled=False)
    ran = region.sweep()
    assert [each["key_id"] for each in ran.results("revoke")] == [old.id]
    assert ran.alerts() == []
    assert old.id not in " ".join(region.every_label(NAME))


def test_key_of_no_account_keeps_labels(region: Region, other: SimUser) -> None:
    old = region.secret(NAME, left=20 * DAY)
    region.sweep()
    region.infobip.delete_key(old.id)
    alerts = [ran.alerts("key-not-found", NAME) for ran in region.sweeps(5, every=DAY)]
    assert [len(found) for found in alerts] == [1] * 5
    assert old.id in " ".join(region.every_label(NAME))
    ((alert,), *_) = alerts
    for command in alert["detail"].split("`")[1].split(" && "):
        words = shlex.split(command)
        given = dict(zip(words[3::2], words[4::2], strict=True))
        region.client.update_secret_version_stage(
            SecretId=given["--secret-id"],
            VersionStage=given["--version-stage"],
            RemoveFromVersionId=given["--remove-from-version-id"],
        )
    assert region.sweep().alerts() == []


def test_silent_account_is_named(region: Region, other: SimUser) -> None:
    old = region.secret(NAME, left=20 * DAY)
    region.sweep()
    region.infobip.delete_key(old.id)
    other.password = "changed-in-the-portal-1"
    (alert,) = region.sweep().alerts("key-not-found", NAME)
    assert "other" in alert["detail"].split()


def test_idle_sweep_asks_no_other_account(region: Region, other: SimUser) -> None:
    region.secret(NAME)
    region.rotate(NAME)
    region.sweep()
    before = len(region.calls())
    region.sweep("--account", "main")
    assert not [call for call in region.calls()[before:] if "api-keys/" in call]
