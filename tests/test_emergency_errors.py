"""What fails in an emergency: keys are revoked all the same, or an error names them. What is verified, and recorded."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from rotator.engine.emergency import Strategy
from rotator.engine.probing import PROPAGATION
from rotator.errors import StoreUnavailable
from rotator.plan import ActionKind, Outcome
from rotator.policy.emergency_ids import emergency_version_id, made_for_incident, made_in_emergency
from rotator.policy.labels import key_name
from rotator.policy.lifecycle import read_lifecycle
from rotator.reasons import Reason
from rotator.sandbox.state import Options
from rotator.secret import Secret
from tests import leaks
from tests.emergencies import (
    CREATE,
    DENIED,
    LIST,
    PROBE,
    READ,
    REPLACE_FIRST,
    REVOKE_FIRST,
    REVOKE_ONLY,
    UPDATE,
    EmergencyWorld,
    Tape,
    leaked,
    refuse,
)
from tests.support.faulty_infobip import Fault, FaultKind
from tests.world import HOUR, NAME, PLAIN, REASON

# ---- replacing fails, and a dry run says so --------------------------------------------------------------------------


def _limit(world: EmergencyWorld) -> None:
    world.infobip.options.daily_creates = world.infobip.creates_used(world.accounts["main"])


def _store(**fields: object) -> Callable[[EmergencyWorld], None]:
    """Put another value behind the current version's labels."""

    def arrange(world: EmergencyWorld) -> None:
        key = world.current_key(NAME)
        before = world.version_of(NAME, key)
        world.put(NAME, {"api_key": key.value, **fields}, ["AWSCURRENT", f"rotator:key:{key.id}"])
        if "AWSPENDING" in world.labels(NAME)[before]:
            world.store.label_by_hand(NAME, "AWSPENDING", None, before)

    return arrange


FIXED_BEFORE: dict[str, tuple[Callable[[EmergencyWorld], object], Reason | str]] = {
    "the value can't be read": (refuse("read_current", DENIED), "AccessDenied"),
    "the tags can't be read": (lambda world: world.store.tag(NAME, {"rotator:grace": "soon"}), "rotator:grace"),
    "it is a replica": (lambda world: world.store.make_replica(NAME), Reason.REPLICA),
    "a service owns it": (lambda world: world.store.set_owning_service(NAME), Reason.OWNED),
    "it is being deleted": (lambda world: world.store.delete(NAME), Reason.DELETED),
    "the value is too large": (_store(pad="x" * 65_430), "64 KiB"),
    "the scopes are not known": (
        lambda world: world.infobip.change_key(world.current_key(NAME).id, scopes=frozenset()),
        Reason.SCOPES_UNKNOWN,
    ),
}
"""What a dry run finds as well, with the reason, or with the class of the error or a fact in it."""
WAYS: dict[str, tuple[Callable[[EmergencyWorld], object], Reason | str]] = {
    **FIXED_BEFORE,
    "the daily limit is reached": (_limit, "429"),
    "creating is forbidden": (lambda world: world.fault(FaultKind.STATUS_BEFORE, CREATE, status=403), "403"),
    "Infobip fails": (lambda world: world.fault(FaultKind.STATUS_BEFORE, CREATE, status=500), "500"),
    "the answer is lost": (lambda world: world.fault(FaultKind.HANG_BEFORE, CREATE), "OutcomeUnknown"),
    "storing is denied": (refuse("stage", DENIED), "AccessDenied"),
    "storing fails": (refuse("stage", StoreUnavailable("throttled")), "throttled"),
    "promoting is denied": (refuse("promote", DENIED), "AccessDenied"),
    "the new key is refused": (
        lambda world: world.fault(FaultKind.STATUS_BEFORE, PROBE, status=401),
        "ReplacementRejected",
    ),
    "the probe tells nothing": (
        lambda world: world.fault(FaultKind.STATUS_BEFORE, PROBE, status=500),
        "ProviderUnavailable",
    ),
    "a bug": (refuse("stage", ZeroDivisionError("value")), "ZeroDivisionError"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("strategy", [REPLACE_FIRST, REVOKE_FIRST])
def test_revoked_even_where_replacing_fails(way: str, strategy: Strategy) -> None:
    arrange, said = WAYS[way]
    world = EmergencyWorld()
    old, current = world.in_grace(rotated=True)
    scopes, before = current.scopes, len(world.infobip.keys())
    arrange(world)
    if way in FIXED_BEFORE:
        shown = world.dry_run(strategy)
        (error,) = (step.error for step in shown.steps if step.what == "promoted")
        assert error in shown.errors
        assert all(part in error for part in (NAME, said if type(said) is str else "", "revoke-only")), error
        assert (shown.replaced, set(shown.revoked)) == ((), {old.id, current.id})
    report = world.revoke(strategy)
    assert not report.ok
    assert not report.replaced
    assert any(NAME in error for error in report.errors), report.errors
    (failed,) = (step for step in report.steps if step.what == "promoted")
    (line,) = world.events_named("rotation.failed", "failure")
    assert failed.reason is said if isinstance(said, Reason) else said in line["error"], line
    assert not world.works(old, current)
    assert set(report.revoked) == {old.id, current.id}
    assert [(s.what, s.ok) for s in report.steps if s.what == "promoted"] == [("promoted", False)]
    assert world.events_named("emergency.completed", "failure")
    # No key is made where it could not be used.
    assert way not in FIXED_BEFORE or len(world.infobip.keys()) == before
    # When the trouble is over, ordinary sweeps bring it back.
    world.infobip.faults.clear()
    world.infobip.options.daily_creates = 40
    world.store.before = None
    world.store.restore(NAME)
    world.store.set_owning_service(NAME, None)
    world.store.make_replica(NAME, "eu-central-1")
    world.store.untag(NAME, "rotator:grace")
    if way == "the value is too large":
        _store(pad="")(world)
    world.infobip.change_key(current.id, scopes=scopes)
    world.calm()


def test_revoke_only_promises_nothing(world: EmergencyWorld) -> None:
    world.secret(NAME, grace="soon")
    report = world.dry_run(REVOKE_ONLY)
    assert (report.errors, report.replaced) == ([], ())


def _fill_labels(world: EmergencyWorld) -> None:
    """To 20, with labels that no revocation would remove."""
    version = next(version for version, labels in world.labels(NAME).items() if "AWSCURRENT" in labels)
    for number in range(20 - sum(map(len, world.labels(NAME).values()))):
        world.store.label_by_hand(NAME, f"own-{number}", version)


@pytest.mark.parametrize("strategy", [REPLACE_FIRST, REVOKE_FIRST])
def test_20_labels_stop_no_revocation(world: EmergencyWorld, strategy: Strategy) -> None:
    key = world.secret(NAME)
    _fill_labels(world)
    for report in (world.dry_run(strategy), world.revoke(strategy)):
        assert report.replaced == ()
        assert [step.reason for step in report.steps if not step.ok] == [Reason.LABEL_LIMIT]
    assert not world.works(key)
    assert len(world.infobip.keys()) == 1


def test_unprobed_replacement_is_finished(world: EmergencyWorld) -> None:
    world.in_grace()
    world.fault(FaultKind.STATUS_BEFORE, PROBE, status=500)
    assert not world.revoke().ok
    world.infobip.faults.clear()
    before = len(world.infobip.keys())
    assert (ActionKind.RESUME, Outcome.DONE) in [(each.action.kind, each.outcome) for each in world.sweep().results]
    assert world.consumer_works(NAME)
    assert len(world.infobip.keys()) == before


def test_reserve_is_used(world: EmergencyWorld) -> None:
    world.secret(NAME)
    for _ in range(35):  # what scheduled work may use, and more
        world.infobip.add_key(world.accounts["main"], "used up")
    assert world.revoke().ok
    assert world.consumer_works(NAME)


# ---- ownership proofs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("failing", ["reads of single keys", "the search by value"])
def test_one_way_to_prove_key_is_enough(world: EmergencyWorld, failing: str, strategy: Strategy) -> None:
    """By name, by the search for its value, or by its value compared with the labelled key's."""
    old, current = world.in_grace()
    if failing == "reads of single keys":
        world.fault(FaultKind.STATUS_BEFORE, READ, status=503)
    else:
        search = Fault(FaultKind.STATUS_BEFORE, param="apiKeySecret", count=None, status=500)
        world.infobip.faults.add(search)
    report = world.revoke(strategy)
    assert world.consumer_works(NAME) is (strategy is not REVOKE_ONLY)
    world.infobip.faults.clear()
    world.settled(report, dead=[old, current], works=strategy is not REVOKE_ONLY)


@pytest.mark.parametrize("way", ["no question is answered", "it is being deleted"])
@pytest.mark.parametrize("strategy", list(Strategy))
def test_unproven_key_stays_enabled(world: EmergencyWorld, way: str, strategy: Strategy) -> None:
    """Only a label says whose it is. The error names the command that revokes it all the same."""
    old, current = world.in_grace()
    unproven = [old, current]
    if way == "it is being deleted":
        world.store.delete(NAME)  # its values can't be read any more; the current one is proven by its name
        unproven = [old]
    else:
        world.fault(FaultKind.STATUS_BEFORE, READ, status=503)
        world.fault(FaultKind.STATUS_BEFORE, LIST, status=503)
    report = world.revoke(strategy)
    assert not report.ok
    assert [key for key in (old, current) if world.works(key)] == unproven
    for key in unproven:
        (step,) = (each for each in report.steps if (each.what, each.key_id) == ("revoked", key.id))
        assert step.reason is Reason.UNPROVEN_LABEL
        assert step.error in report.errors
        assert f"`rotator revoke --key-id {key.id} --account main`" in step.error
        world.revoke(REVOKE_ONLY, key_id=key.id, account="main")
        assert not world.works(key)


@pytest.mark.parametrize("strategy", list(Strategy))
def test_unlabelled_version_is_searched(world: EmergencyWorld, strategy: Strategy) -> None:
    """Garbage was stored, and the label moved to it: the key is still in ``AWSPREVIOUS``."""
    old, current = world.in_grace()
    _store(api_key="a" * 32)(world)
    version = world.version_of(NAME, current)
    report = world.revoke(strategy)
    assert not world.works(old, current)
    assert any(version in error for error in report.errors)
    assert len(world.infobip.keys()) == 2


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("both", [False, True])
def test_wrong_label_protects_no_current_key(world: EmergencyWorld, strategy: Strategy, both: bool) -> None:
    """Whoever may write labels must not be able to send an emergency to another secret's key.

    :param both: it stands beside the right one.
    """
    other = world.secret("prod/other")
    key = world.secret(NAME)
    world.store.tag(NAME, {"rotator:scopes": "sms:manage"})
    version = next(iter(world.labels(NAME)))
    if not both:
        world.store.label_by_hand(NAME, f"rotator:key:{key.id}", None, version)
    world.store.label_by_hand(NAME, f"rotator:key:{other.id}", version)
    shown = world.dry_run(strategy)
    report = world.revoke(strategy)
    assert not world.works(key)
    assert world.works(other)
    assert world.consumer_works("prod/other")
    assert world.consumer_works(NAME) is (strategy is not REVOKE_ONLY)
    assert report.revoked == shown.revoked == (key.id,)
    (error,) = report.errors
    assert [step.reason for step in report.steps if step.error == error] == [Reason.UNPROVEN_LABEL]
    assert f"--key-id {other.id} " in error
    assert key.id in error


def test_key_in_another_field_is_revoked(world: EmergencyWorld) -> None:
    """``rotator:value-field`` was changed: the labelled key is what the old field holds, and leaked with the rest."""
    key = world.secret(NAME, extra={"token": "none yet"})
    world.store.tag(NAME, {"rotator:value-field": "token"})
    report = world.revoke(REVOKE_ONLY)
    assert report.ok, report.errors
    assert not world.works(key)


# ---- revoking fails -------------------------------------------------------------------------------------------------


def due_now(world: EmergencyWorld) -> set[str]:
    """The keys that the next sweep revokes, according to their retire labels."""
    retiring = read_lifecycle(world.store.peek(NAME)).retiring
    return {item.key_id for item in retiring if item.revoke_at <= world.clock.now() + timedelta(seconds=1)}


NOT_DONE = {
    "500": {"kind": FaultKind.STATUS_BEFORE, "status": 500},
    "no answer": {"kind": FaultKind.HANG_BEFORE},
    "refused": {"kind": FaultKind.REFUSE},
    "403": {"kind": FaultKind.STATUS_BEFORE, "status": 403},
    "404": {"kind": FaultKind.STATUS_BEFORE, "status": 404},
    "429": {"kind": FaultKind.THROTTLE},
    "a redirect": {"kind": FaultKind.REDIRECT},
}


@pytest.mark.parametrize("labels", ["can be set", "can't be set"])
@pytest.mark.parametrize("how", NOT_DONE)
def test_failed_revocation_is_due_next_sweep(world: EmergencyWorld, how: str, labels: str) -> None:
    old, current = world.in_grace()
    world.fault(at=UPDATE, **NOT_DONE[how])  # type: ignore[arg-type]
    if labels == "can't be set":
        refuse("add_label", DENIED)(world)
    report = world.revoke()
    assert (report.replaced, report.revoked) == ((NAME,), ())
    for key in (old, current):
        assert world.works(key)
        assert [key.id in error for error in report.errors].count(True) == 1
    assert due_now(world) == ({old.id, current.id} if labels == "can be set" else set())
    assert len(world.events_named("revocation.failed", "failure")) == 2
    assert [(s.key_id, s.ok) for s in report.steps if s.what == "revoked"] == [(current.id, False), (old.id, False)]
    assert world.consumer_works(NAME)
    world.infobip.faults.clear()
    world.store.before = None
    world.pass_time(timedelta(minutes=1))
    sweep = world.sweep()
    if labels == "can be set":
        assert {r.action.key_id for r in sweep.results if r.action.kind is ActionKind.REVOKE} == {old.id, current.id}
        assert {r.action.reason for r in sweep.results} == {Reason.GRACE_OVER}
        assert not world.works(old, current)
    world.calm()


def test_failed_revocation_is_tried_at_end() -> None:
    world = EmergencyWorld()
    key = world.secret(NAME)
    world.fault(FaultKind.STATUS_BEFORE, ("PUT", key.id), status=503)

    def before(_operation: str, _name: str) -> None:
        if any(call.method == "PUT" for call in world.infobip.calls):
            world.infobip.faults.clear()  # the first call to AWS after the failure reads the secret again

    world.store.before = before
    assert world.revoke().ok
    assert not world.works(key)


def test_kept_unadopted_key_is_swept(world: EmergencyWorld) -> None:
    key = world.secret(NAME, adopted=False)
    world.fault(FaultKind.STATUS_BEFORE, UPDATE, status=500)
    report = world.revoke()
    assert report.replaced == (NAME,)
    assert world.works(key)
    world.infobip.faults.clear()
    world.pass_time(timedelta(minutes=1))
    world.sweep()
    assert not world.works(key)
    assert [line["key_id"] for line in world.events_named("key.adopted")] == [key.id]
    world.calm()


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(FaultKind.STATUS_BEFORE, {"count": 1, "status": 403}), (FaultKind.DROP_AFTER, {"count": None})],
    ids=["fails once", "has no answer"],
)
def test_revocation_is_retried_and_read(world: EmergencyWorld, kind: FaultKind, settings: dict[str, Any]) -> None:
    old, current = world.in_grace()
    first = world.fault(kind, UPDATE, **settings)
    report = world.revoke()
    assert first.hits
    world.infobip.faults.clear()
    assert set(report.revoked) == {old.id, current.id}
    world.settled(report, dead=[old, current])


@pytest.mark.parametrize("strategy", [REVOKE_ONLY, REVOKE_FIRST])
def test_kept_current_key_is_no_sweeps_work(world: EmergencyWorld, strategy: Strategy) -> None:
    _, current = world.in_grace()
    world.fault(FaultKind.STATUS_BEFORE, UPDATE, status=500)
    world.fault(FaultKind.STATUS_BEFORE, CREATE, status=500)
    report = world.revoke(strategy)
    assert any(current.id in error for error in report.errors)
    assert current.id not in due_now(world)
    world.infobip.faults.clear()
    assert world.revoke(REVOKE_ONLY).ok
    assert not world.works(current)


def test_unrevocable_orphan_is_reported(world: EmergencyWorld) -> None:
    world.secret(NAME)
    name = key_name(NAME, world.store.peek(NAME).arn, "default", world.new_id())
    orphan = world.infobip.add_key(world.accounts["main"], name)
    world.fault(FaultKind.STATUS_BEFORE, UPDATE, status=500)
    report = world.revoke(key_id=orphan.id, account="main")
    assert orphan.id in report.errors[0]
    world.infobip.faults.clear()
    world.pass_time(HOUR)
    world.calm()
    assert not world.works(orphan)


# ---- the rest -------------------------------------------------------------------------------------------------------


def test_undescribable_secret_uses_listing(world: EmergencyWorld) -> None:
    old, current = world.in_grace()
    refuse("describe", DENIED)(world)
    report = world.revoke(REVOKE_ONLY)
    assert any(NAME in error and "AccessDenied" in error for error in report.errors)
    assert set(report.revoked) == {old.id, current.id}
    assert not world.works(old, current)
    world.store.before = None
    world.calm()


def test_refused_credentials_change_nothing(world: EmergencyWorld) -> None:
    old, current = world.in_grace()
    for at in (("GET", "api-keys"), CREATE, UPDATE):
        world.fault(FaultKind.STATUS_BEFORE, at, status=401)
    report = world.revoke(incident="INC-1")
    assert not report.ok
    assert world.works(old)
    assert world.works(current)
    assert world.current_key(NAME).id == current.id
    # The one in grace is due at the next sweep; the current one only by repeating the command.
    assert world.names_of() == {old.id, current.id}
    world.infobip.faults.clear()
    world.settled(world.revoke(incident="INC-1"), dead=[old, current])


def test_unreadable_management_is_reported(world: EmergencyWorld) -> None:
    _, current = world.in_grace()
    world.store.deny_kms("rotator/main")
    report = world.revoke()
    assert any("rotator/main" in error for error in report.errors)
    assert world.works(current)


# ---- verification: a revoked key is used once more ------------------------------------------------------------------


HERE = "127.0.0.1"
ELSEWHERE = "203.0.113.0/24"


def notes(world: EmergencyWorld, strategy: Strategy = Strategy.REPLACE_FIRST) -> list[str]:
    report = world.revoke(strategy)
    assert report.ok, report.errors
    return [step.note for step in report.steps if step.what == "revoked"]


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("reveal", [True, False])
def test_every_key_is_tried(strategy: Strategy, reveal: bool) -> None:
    world = EmergencyWorld(options=Options(reveal=reveal))
    world.in_grace()
    assert notes(world, strategy) == ["verified: 401"] * 2
    world.calm()


def test_verification_waits_for_revocation() -> None:
    world = EmergencyWorld(options=Options(propagation=timedelta(seconds=20)))
    world.in_grace()
    begun = world.clock.now()
    assert set(notes(world)) == {"verified: 401"}
    assert timedelta(seconds=20) <= world.clock.now() - begun <= PROPAGATION * 2


def test_key_that_goes_on_working_is_error(world: EmergencyWorld) -> None:
    _, current = world.in_grace()
    world.infobip.options.propagation = timedelta(minutes=10)
    begun = world.clock.now()
    report = world.revoke(REVOKE_ONLY)
    assert any(current.id in error for error in report.errors)
    assert report.revoked == ()
    assert {(step.verified, step.ok) for step in report.steps} == {(False, False)}
    assert world.clock.now() - begun == PROPAGATION  # all keys share the patience


@pytest.mark.parametrize("status", [500, 404])
def test_inconclusive_probe_verifies_nothing(world: EmergencyWorld, status: int) -> None:
    world.in_grace()
    world.fault(FaultKind.STATUS_BEFORE, PROBE, nth=2, status=status)
    report = world.revoke()
    found = [step for step in report.steps if step.what == "revoked"]
    assert [(step.ok, step.verified) for step in found] == [(True, False)] * 2
    assert len(report.errors) == 2
    assert all(f"HTTP {status}" in error for error in report.errors)


def test_secrets_own_path_is_used(world: EmergencyWorld) -> None:
    world.secret(NAME, verify_path="/sms/3/logs")
    with Tape(world) as tape:
        assert notes(world) == ["verified: 401"]
    paths = [call.path for call in world.infobip.calls if call.principal == "" or call.principal.startswith("key:")]
    assert set(paths[-2:]) == {"/sms/3/logs"}
    assert tape.calls.count("probe") == 2


NOTES: dict[str, tuple[dict[str, Any], list[str], bool, Strategy]] = {
    "a plain value": ({"value": PLAIN}, [], False, REVOKE_ONLY),
    "verify=skip": ({"verify": "skip"}, [], False, REPLACE_FIRST),
    "an address admitted before": ({}, [HERE], False, REPLACE_FIRST),
    "an address that is shut out": ({"verify": "skip"}, [ELSEWHERE], False, REPLACE_FIRST),
    "it is shut out, and revoked first": ({"verify": "skip"}, [ELSEWHERE], False, REVOKE_FIRST),
    # Infobip's answer to the revocation showed it disabled.
    "reads fail afterwards": ({}, [], True, REPLACE_FIRST),
    "verify=skip, and reads fail": ({"verify": "skip"}, [], True, REPLACE_FIRST),
}


@pytest.mark.parametrize(("tags", "allowed", "unreadable", "strategy"), NOTES.values(), ids=NOTES)
def test_how_far_revocation_is_verified(
    world: EmergencyWorld, tags: dict[str, Any], allowed: list[str], unreadable: bool, strategy: Strategy
) -> None:
    key = world.secret(NAME, **tags)
    world.infobip.change_key(key.id, allowed_ips=tuple(allowed))
    if unreadable:
        world.fault(FaultKind.STATUS_BEFORE, ("GET", "api-keys/"), nth=1, status=500)
    assert notes(world, strategy) == ["verified: 401"]
    assert not world.infobip.authenticates(key.value, "203.0.113.5" if ELSEWHERE in allowed else HERE)


def test_key_that_is_not_found_is_error(world: EmergencyWorld) -> None:
    """404 says that it is not this account's; it never says that it is revoked."""
    old, current = world.in_grace()
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, path=old.id, count=None, status=404))
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, param="apiKeySecret", count=None, status=404))
    report = world.revoke()
    (error,) = (error for error in report.errors if old.id in error)
    assert f"--key-id {old.id} " in error
    assert report.revoked == (current.id,)
    assert world.works(old)


def test_revocation_answered_404_is_error(world: EmergencyWorld) -> None:
    key = world.secret(NAME)
    world.fault(FaultKind.STATUS_BEFORE, UPDATE, status=404)
    report = world.revoke(key_id=key.id, account="main")
    assert any(key.id in error and NAME in error for error in report.errors)
    assert report.revoked == ()


def test_refused_probe_alone_proves_nothing(world: EmergencyWorld) -> None:
    """Threat: a proxy that rejects the probe of a key that is still enabled. A rejected probe alone is not a
    verification. Infobip still shows the key enabled: something on the way answered the revocation, and refuses the
    probe.
    """
    key = world.secret(NAME)
    world.fault(FaultKind.HANG_BEFORE, UPDATE)
    world.fault(FaultKind.STATUS_BEFORE, PROBE, status=401)
    report = world.revoke(REVOKE_ONLY, key_id=key.id, account="main")
    assert not report.ok
    assert report.revoked == ()


def test_unreadable_version_is_error() -> None:
    """It may contain more keys than its label names."""
    world = EmergencyWorld(options=Options(reveal=False))
    old, current = world.in_grace(rotated=True)
    version = world.version_of(NAME, old)
    read = world.store.read_content

    def read_content(secret_id: str, version_id: str) -> Secret:
        if version_id == version:
            raise DENIED
        return read(secret_id, version_id)

    world.store.read_content = read_content  # type: ignore[method-assign]
    report = world.revoke()
    (error,) = report.errors
    assert all(fact in error for fact in (version, NAME, "AccessDenied"))
    noted = {step.key_id: step.note for step in report.steps if step.what == "revoked"}
    assert noted == {current.id: "verified: 401", old.id: "verified: disabled at Infobip"}


# ---- audit, and ids of versions -------------------------------------------------------------------------------------


CHANGES = {
    "POST keys": "key.created",
    "PUT key": "key.revoked",
    "stage": "secret.staged",
    "promote": "secret.promoted",
    "remove_label": "secret.unlabelled",
}


@pytest.mark.parametrize("strategy", list(Strategy))
def test_intent_stands_before_call(world: EmergencyWorld, strategy: Strategy) -> None:
    """Threat: an emergency that leaves no record. Its intent is written before each change. Every change is written
    twice, with its reason and the incident.
    """
    world.in_grace()
    before = len(world.lines())
    unwritten: list[str] = []

    def stop(when: str, _: int, what: str) -> None:
        last = world.lines()[-1]
        if when == "before" and what in CHANGES and (last["event"], last["outcome"]) != (CHANGES[what], "attempt"):
            unwritten.append(what)

    with Tape(world) as tape:
        tape.stop = stop
        assert world.revoke(strategy, incident="INC-4711").ok
    assert unwritten == []
    lines = world.lines()[before:]
    assert (lines[0]["event"], lines[0]["outcome"]) == ("emergency.requested", "attempt")
    assert (lines[-1]["event"], lines[-1]["outcome"]) == ("emergency.completed", "success")
    assert {line["incident"] for line in lines} == {"INC-4711"}
    assert {line["reason"] for line in lines} == {REASON}
    assert {line["trigger"] for line in lines} == {"emergency"}
    assert lines[0]["secret"] == lines[-1]["secret"] == NAME
    made = Counter(CHANGES[call] for call in tape.calls if call in CHANGES)
    assert made
    for outcome in ("attempt", "success"):
        said = Counter(line["event"] for line in lines if line["outcome"] == outcome)
        assert {event: said[event] for event in made} == dict(made)


def test_last_line_has_done_and_failed(world: EmergencyWorld) -> None:
    old, current = world.in_grace()
    world.infobip.faults.add(Fault(FaultKind.STATUS_BEFORE, method="POST", status=403))
    begun = world.clock.now()
    world.revoke()
    (line,) = world.events_named("emergency.completed", "failure")
    assert line["duration_ms"] == (world.clock.now() - begun) / timedelta(milliseconds=1)
    assert set(line["revoked"]) == {old.id, current.id}
    assert line["replaced"] == []
    assert "403" in line["error"]


@pytest.mark.parametrize("reveal", [True, False])
@pytest.mark.parametrize("way", ["POST", "PUT", "GET"])
def test_no_secret_in_line_report_or_event(reveal: bool, way: str) -> None:
    world = EmergencyWorld(options=Options(reveal=reveal))
    _, current = world.in_grace()
    plan = world.plan_for(leaked=leaked(current))
    world.infobip.faults.add(Fault(FaultKind.STATUS_AFTER, method=way, count=None, nth=3, status=500))
    report = world.revoke(leaked=leaked(current))
    everything = io.StringIO()
    print(report, plan, world.events.sent, world.stream.getvalue(), file=everything)
    assert current.id in everything.getvalue()
    assert not leaks.find(everything.getvalue())


def test_empty_plan_is_on_record(world: EmergencyWorld) -> None:
    old, _ = world.in_grace()
    world.infobip.change_key(old.id, enabled=False)
    before = len(world.lines())
    assert world.revoke(REPLACE_FIRST, key_id=old.id, account="main").ok
    assert [(line["event"], line["outcome"], line["key_id"]) for line in world.lines()[before:]] == [
        ("emergency.requested", "attempt", old.id),
        ("emergency.completed", "success", old.id),
    ]


# ---- version ids ----------------------------------------------------------------------------------------------------

ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/sms-AbCdEf"


def test_version_id_shows_its_incident() -> None:
    made = emergency_version_id(ARN, "INC-1", "seed")
    assert len(made) == 36
    assert made_in_emergency(ARN, made)
    assert made_for_incident(ARN, "INC-1", made)
    assert not made_for_incident(ARN, "INC-2", made)
    assert not made_for_incident(ARN, None, made)
    assert not made_for_incident(ARN, "", made)
    assert not made_in_emergency(ARN + "x", made)
    assert not made_for_incident(ARN + "x", "INC-1", made)
    assert emergency_version_id(ARN, "INC-1", "another seed") != made


def test_no_incident_is_not_recognized() -> None:
    made = emergency_version_id(ARN, None, "seed")
    assert made_in_emergency(ARN, made)
    for incident in (None, "", "seed", "INC-1"):
        assert not made_for_incident(ARN, incident, made)


@pytest.mark.parametrize("other", [None, "", "x", "0" * 32, "6f1c2a30-0000-4000-8000-000000000000", "z" * 36])
def test_ordinary_ids_are_no_emergencies(other: str | None) -> None:
    assert not made_in_emergency(ARN, other)
    assert not made_for_incident(ARN, "INC-1", other)
