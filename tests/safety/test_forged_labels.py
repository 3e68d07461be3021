"""A label is a hint: a principal that may write labels on one secret cannot use them against another secret's key."""

from __future__ import annotations

import pytest

from tests.safety.harness import ADMIN_SCOPES, DAY, HOUR, SCOPES, Region
from tests.support.rotator import Rotator


def test_pending_label_revokes_no_other_key(rotator: Rotator) -> None:
    """Threat: AWSPENDING and rotator:key:<a live key of prod> on a version of a dev secret, so that prod's key is
    revoked as a failed attempt. The label is the alert unproven-label, and prod's key keeps working.
    """
    victim = rotator.secret("prod/api")
    rotator.secret("dev/api")
    rotator.put("dev/api", "any-text", ["AWSPENDING", f"rotator:key:{victim.id}"])
    ran = rotator.sweep()
    rotator.sweeps(3)
    assert rotator.works(victim)
    assert {alert["secret"] for alert in ran.alerts("unproven-label")} == {"dev/api"}


def test_rotation_beside_forged_pending(rotator: Rotator) -> None:
    """Threat: a forged pending label that stops the secret's own rotation. It continues."""
    victim = rotator.secret("prod/api")
    due = rotator.secret("dev/api", left=20 * DAY)
    rotator.put("dev/api", "any-text", ["AWSPENDING", f"rotator:key:{victim.id}"])
    rotator.sweeps(3)
    assert rotator.works(victim)
    assert rotator.current_key("dev/api").id not in (due.id, victim.id)


@pytest.mark.parametrize("text", ["any-text", '{"api_key": "any-text"}'])
def test_forged_current_inherits_no_scopes(rotator: Rotator, text: str) -> None:
    """Threat: AWSCURRENT and rotator:key:<an admin key> on any text, to get a key with the admin key's scopes. Scopes
    are inherited only on an ownership proof.
    """
    admin = rotator.key("admin", scopes=ADMIN_SCOPES, enabled=False)
    rotator.secret("dev/api")
    rotator.put("dev/api", text, ["AWSCURRENT", f"rotator:key:{admin.id}"])
    ran = rotator.sweep()
    rotator.sweeps(2)
    assert [key.id for key in rotator.enabled().values() if key.scopes != frozenset(SCOPES)] == []
    assert {alert["secret"] for alert in ran.alerts("unproven-label")} == {"dev/api"}


def test_live_admin_scopes_not_inherited(rotator: Rotator) -> None:
    rotator.key("admin", scopes=ADMIN_SCOPES, left=20 * DAY)
    admin = rotator.key("admin of today", scopes=ADMIN_SCOPES, left=20 * DAY)
    rotator.secret("dev/api")
    rotator.put("dev/api", "any-text", ["AWSCURRENT", f"rotator:key:{admin.id}"])
    rotator.sweeps(2)
    assert [key for key in rotator.rotator_keys() if key.scopes != frozenset(SCOPES)] == []
    assert rotator.works(admin)


def test_retire_label_on_unmanaged_key(rotator: Rotator) -> None:
    """Threat: rotator:key:X and rotator:retire:X:<past> on a version that contains something else. Key X is not
    revoked.
    """
    unmanaged = rotator.key("of another team")
    rotator.secret("dev/api")
    past = f"{rotator.clock.now() - DAY:%Y%m%dT%H%M%SZ}"
    rotator.put("dev/api", "any-text", [f"rotator:key:{unmanaged.id}", f"rotator:retire:{unmanaged.id}:{past}"])
    ran = rotator.sweep()
    rotator.sweeps(2)
    assert rotator.works(unmanaged)
    assert {alert["secret"] for alert in ran.alerts("unproven-label")} == {"dev/api"}


def test_superseded_label_on_unmanaged_key(rotator: Rotator) -> None:
    """Without a retire label the sweep would write one, and revoke after the grace period."""
    unmanaged = rotator.key("of another team")
    rotator.secret("dev/api")
    rotator.put("dev/api", "any-text", [f"rotator:key:{unmanaged.id}"])
    rotator.sweeps(3, every=25 * HOUR)
    assert rotator.works(unmanaged)
    assert not [label for label in rotator.every_label("dev/api") if label.startswith("rotator:retire:")]


def test_other_secrets_value_is_no_proof(rotator: Rotator) -> None:
    """Threat: another secret's value, copied as an ownership proof for a forged label. The key is not revoked while
    that secret contains it. A principal that may also read the victim's value can store it: the victim still holds
    its key as current.
    """
    victim = rotator.secret("prod/api")
    rotator.secret("dev/api")
    past = f"{rotator.clock.now() - DAY:%Y%m%dT%H%M%SZ}"
    labels = [f"rotator:key:{victim.id}", f"rotator:retire:{victim.id}:{past}"]
    rotator.put("dev/api", {"api_key": victim.value}, labels)
    rotator.sweeps(3)
    assert rotator.works(victim)


def test_emergency_spares_other_secrets_keys(region: Region) -> None:
    """Threat: forged labels before an emergency that names the secret. No other secret's key is revoked."""
    victim = region.secret("prod/api")
    own = region.secret("dev/api")
    region.put("dev/api", "any-text", ["AWSPENDING", f"rotator:key:{victim.id}"])
    ran = region.run("revoke", "--secret", "dev/api", "--reason", "leak", "--yes", "--json")
    assert region.works(victim)
    assert not region.works(own)
    assert ran.code == 1
    assert "revoke --key-id" in str(ran.document)


def test_rollback_needs_proven_version(region: Region) -> None:
    """Threat: forged labels before a rollback. No unproven version is promoted."""
    victim = region.secret("prod/api")
    region.secret("dev/api")
    later = f"{region.clock.now() + DAY:%Y%m%dT%H%M%SZ}"
    forged = [f"rotator:key:{victim.id}", f"rotator:retire:{victim.id}:{later}", "AWSPREVIOUS"]
    region.put("dev/api", {"api_key": "any-text"}, forged)
    before = region.current_key("dev/api").id
    ran = region.run("rollback", "dev/api", "--reason", "test")
    region.sweeps(3, every=DAY)
    assert ran.code == 1
    assert region.current_key("dev/api").id == before
    assert region.works(victim)


def test_forged_newer_version_and_rollback(region: Region) -> None:
    """A label of any younger key would pass for a rollback that was done before."""
    old = region.secret("prod/api", left=20 * DAY)
    region.sweep()
    region.pass_time(DAY)
    younger = region.key("younger", age=HOUR)
    later = f"{region.clock.now() + 9 * DAY:%Y%m%dT%H%M%SZ}"
    region.put("prod/api", "any-text", [f"rotator:key:{younger.id}", f"rotator:retire:{younger.id}:{later}"])
    ran = region.run("rollback", "prod/api", "--reason", "test")
    assert ran.code == 0
    assert region.current_key("prod/api").id == old.id
    assert region.works(younger)


@pytest.mark.parametrize("time", ["20200101T000000Z", "{before:%Y%m%dT%H%M%SZ}"])
def test_past_retire_label_ends_no_grace(rotator: Rotator, time: str) -> None:
    """Threat: a retire label with a time before the replacement was created. It ends no grace period."""
    old = rotator.secret("prod/api", left=20 * DAY)
    before = rotator.clock.now() - HOUR
    rotator.sweep()
    version = rotator.version_of("prod/api", old)
    for label in [label for label in rotator.labels("prod/api")[version] if label.startswith("rotator:retire:")]:
        rotator.label("prod/api", label, None, version)
    forged = f"rotator:retire:{old.id}:{time.format(before=before)}"
    rotator.label("prod/api", forged, version)
    ran = rotator.sweeps(2)[-1]
    assert rotator.works(old), "it was revoked in its grace period"
    assert ran.alerts("inconsistent-labels")
    rotator.sweeps(4, every=DAY)
    assert not rotator.works(old)


def test_too_old_retire_label_ends_no_grace(rotator: Rotator) -> None:
    """The key in use was created before the one that it replaced: its creation shows nothing."""
    older = rotator.key("by hand", left=40 * DAY)
    old = rotator.secret("prod/api", left=89 * DAY)
    rotator.put("prod/api", older.value, ["AWSCURRENT", f"rotator:key:{older.id}"])
    version = rotator.version_of("prod/api", old)
    forged = f"rotator:retire:{old.id}:20200101T000000Z"
    rotator.label("prod/api", forged, version)
    assert rotator.sweep().alerts("inconsistent-labels")
    rotator.sweeps(2)
    assert rotator.works(old)
    rotator.sweeps(3, every=DAY)
    assert not rotator.works(old)


def forge_current_label(rotator: Rotator, name: str, own: str, forged: str) -> None:
    """Another key's label on ``AWSCURRENT`` in place of its own."""
    version = rotator.current_version(name)
    rotator.label(name, f"rotator:key:{own}", None, version)
    rotator.label(name, f"rotator:key:{forged}", version)


@pytest.mark.parametrize("strategy", ["replace-first", "revoke-first"])
def test_emergency_replaces_key_of_value(region: Region, strategy: str) -> None:
    """A wrong label on ``AWSCURRENT`` costs neither its consumers their key nor another secret its own."""
    victim, own = region.secret("prod/api"), region.secret("dev/api")
    forge_current_label(region, "dev/api", own.id, victim.id)
    arguments = ("revoke", "--secret", "dev/api", "--reason", "leak", "--strategy", strategy, "--json")
    shown = region.run(*arguments, "--dry-run")
    ran = region.run(*arguments, "--yes")
    new = region.current_key("dev/api")
    assert new.id not in (own.id, victim.id)
    assert (region.works(new), region.works(own), region.works(victim)) == (True, False, True)
    assert region.current_key("prod/api").id == victim.id
    for answer in (shown, ran):
        outcomes = {(key["key_id"], key["secret"]): key["outcome"] for key in answer.document["keys"]}
        assert outcomes[own.id, "dev/api"] == ("done" if answer is ran else "planned")
        assert [each["secret"] for each in answer.document["replacements"]] == ["dev/api"]
        assert any("revoke --key-id" in error for error in answer.document["errors"])


def test_rotate_corrects_wrong_label(rotator: Rotator) -> None:
    victim, own = rotator.secret("prod/api"), rotator.secret("dev/api")
    forge_current_label(rotator, "dev/api", own.id, victim.id)
    new = rotator.rotate("dev/api")
    assert new.id not in (own.id, victim.id)
    assert new.scopes == own.scopes
    rotator.sweeps(4, every=DAY)
    assert (rotator.works(new), rotator.works(own), rotator.works(victim)) == (True, False, True)


def test_wrong_label_does_not_hide_expiry(rotator: Rotator) -> None:
    """Nothing is due by what the label says; the key that consumers have expires in a day."""
    other, own = rotator.secret("prod/api", left=70 * DAY), rotator.secret("dev/api", left=1 * DAY)
    forge_current_label(rotator, "dev/api", own.id, other.id)
    ran = rotator.sweep()
    assert {alert["secret"] for alert in ran.alerts("unproven-label")} == {"dev/api"}
    rotator.sweeps(2)
    assert rotator.current_key("prod/api").id == other.id
    new = rotator.current_key("dev/api")
    assert new.id not in (own.id, other.id)
    assert (rotator.works(new), rotator.works(other)) == (True, True)


def test_label_hiding_rotated_key_is_found(rotator: Rotator) -> None:
    """It names a key made by hand that no secret holds: what contradicts it is the name of the version's own key."""
    rotator.secret("dev/api", left=1 * DAY)
    rotator.sweep()
    own, stray = rotator.current_key("dev/api"), rotator.key("by hand", left=80 * DAY)
    forge_current_label(rotator, "dev/api", own.id, stray.id)
    assert rotator.sweep().alerts("unproven-label")
    rotator.sweeps(2)
    assert f"rotator:key:{own.id}" in rotator.every_label("dev/api")
    assert (rotator.works(own), rotator.works(stray)) == (True, True)
