"""The handler ``revoke``: what it answers, promises and raises, how a call is repeated, and for how long it may be."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rotator.errors import RotatorError
from rotator.lambda_ import runtime
from rotator.lambda_.revoke_handler import RevocationFailed
from rotator.lambda_handlers import revoke, sweep
from rotator.policy.labels import key_name
from rotator.sandbox.faults import Fault, FaultKind
from rotator.sandbox.state import SimKey
from tests.emergencies import replaced, revoked
from tests.lambdas.lambda_stack import DAY, Context, LambdaStack

NAME = "prod/sms"
REASON = "pasted in a ticket"
HOUR = timedelta(hours=1)
STRATEGIES = ["replace-first", "revoke-first", "revoke-only"]
REPLACING = STRATEGIES[:2]
Lines = Callable[[], list[dict[str, Any]]]


def report_of(caught: pytest.ExceptionInfo[RevocationFailed]) -> dict[str, Any]:
    """The report in the text of what the handler raised."""
    found: dict[str, Any] = json.loads(str(caught.value).partition(" Report: ")[2])
    return found


def test_a_whole_secret(stack: LambdaStack, lines: Callable[[], list[dict[str, Any]]]) -> None:
    account = stack.account()
    first = stack.secret(NAME, account, left=5 * DAY, age=85 * DAY)
    sweep({}, Context())
    second = stack.current(NAME)[1]["key_id"]
    lines()
    event = {"secret_id": stack.arn(NAME), "reason": REASON, "incident": "INC-1", "actor": "ann", "strategy": None}
    answer = revoke(event, Context())
    assert json.loads(json.dumps(answer)) == answer
    assert answer["ok"] is True
    assert set(revoked(answer)) == {first.id, second}
    assert replaced(answer) == [NAME]
    assert answer["errors"] == []
    assert 0 <= answer["seconds"] < 60
    assert (answer["incident"], answer["actor"], answer["strategy"]) == ("INC-1", "ann", "replace-first")
    assert stack.consumer_works(NAME)
    assert [key.id for key in stack.live(account)] == [stack.current(NAME)[1]["key_id"]]
    audit = [line for line in lines() if "seq" in line]
    assert {(line["actor"], line["trigger"], line["incident"], line["run_id"]) for line in audit} == {
        ("ann", "emergency", "INC-1", answer["run_id"])
    }
    assert {line["reason"] for line in audit if line["event"] == "key.revoked"} == {REASON}


def test_one_key_of_an_account(stack: LambdaStack) -> None:
    account = stack.account()
    key = stack.secret(NAME, account)
    answer = revoke({"key_id": key.id, "account": "main", "reason": REASON, "strategy": "revoke-only"}, Context())
    assert (revoked(answer), replaced(answer), answer["actor"]) == ([key.id], [], "lambda")
    assert stack.live(account) == []


def test_a_dry_run_says_what_would_be_done(stack: LambdaStack) -> None:
    key = stack.secret(NAME, stack.account())
    before = stack.state()
    answer = revoke({"secret_id": NAME, "reason": REASON, "dry_run": True}, Context())
    assert (answer["dry_run"], revoked(answer), replaced(answer)) == (True, [], [])
    assert [(each["key_id"], each["role"], each["secret"]) for each in answer["keys"]] == [(key.id, "current", NAME)]
    assert replaced(answer, "planned") == [NAME]
    assert stack.state() == before


def test_a_call_that_lambda_repeats_makes_no_second_key(stack: LambdaStack) -> None:
    account = stack.account()
    stack.secret(NAME, account)
    context = Context()
    revoke({"secret_id": NAME, "reason": REASON}, context)
    made = stack.current(NAME)[1]["key_id"]
    again = revoke({"secret_id": NAME, "reason": REASON}, context)
    assert again["incident"] == f"lambda {context.aws_request_id}"
    assert stack.current(NAME)[1]["key_id"] == made
    assert stack.world.creates_used(account) == 1


def test_what_stays_enabled_is_raised_with_the_report(stack: LambdaStack) -> None:
    account = stack.account()
    old = stack.secret(NAME, account)
    stack.world.faults.add(Fault(FaultKind.STATUS_BEFORE, "PUT", status=500, count=None))
    with pytest.raises(RevocationFailed) as caught:
        revoke({"secret_id": NAME, "reason": REASON, "incident": "INC-1"}, Context())
    text = str(caught.value)
    assert text.startswith("NOT COMPLETE: ")
    assert old.id in text.partition(" Report: ")[0]
    report = report_of(caught)
    assert report["ok"] is False
    assert replaced(report) == [NAME]
    assert revoked(report) == []
    assert stack.consumer_works(NAME)
    stack.world.faults.clear()
    done = revoke({"secret_id": NAME, "reason": REASON, "incident": "INC-1"}, Context())
    assert revoked(done) == [old.id]
    assert stack.world.creates_used(account) == 1


@pytest.mark.parametrize("word", ["replaced", "strategy", "replace-first", NAME, "INC-2026-1", "planned"])
def test_a_common_value_leaves_the_report_of_a_failure_whole(stack: LambdaStack, word: str) -> None:
    account = stack.account()
    old = stack.secret(NAME, account)
    stack.world.faults.add(Fault(FaultKind.STATUS_BEFORE, "PUT", status=500, count=None))
    runtime.foundation().redactor.learn(word)
    with pytest.raises(RevocationFailed) as caught:
        revoke({"secret_id": NAME, "reason": REASON, "incident": "INC-2026-1"}, Context())
    report = report_of(caught)
    assert report["strategy"] == "replace-first"
    assert replaced(report) == [NAME]
    assert report["incident"] == "INC-2026-1"
    assert [each["key_id"] for each in report["keys"]] == [old.id]


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"secret_id": "prod/none", "reason": REASON}, "prod/none"),
        ({"secret_id": NAME, "account": "other", "reason": REASON}, "prod/sms belongs to account main, not to other"),
        ({"key_id": "0" * 32, "account": "main", "reason": REASON}, "0" * 32),
    ],
)
def test_an_unknown_target_is_an_error_and_changes_nothing(
    stack: LambdaStack, event: dict[str, Any], said: str
) -> None:
    stack.secret(NAME, stack.account())
    stack.account("other")
    before = stack.state()
    with pytest.raises(RotatorError, match=said):
        revoke(event, Context())
    assert stack.state() == before


def test_infobip_out_of_reach_is_raised(stack: LambdaStack) -> None:
    stack.secret(NAME, stack.account())
    stack.world.faults.add(Fault(FaultKind.STATUS_BEFORE, status=401, count=None))
    with pytest.raises(RotatorError):
        revoke({"secret_id": NAME, "reason": REASON}, Context())
    assert stack.consumer_works(NAME)


# ---- an incident is a retry for 24 hours by Infobip's clock; afterwards its name is refused -------------------------


def command(incident: str = "INC-1", strategy: str = "replace-first", **more: Any) -> dict[str, Any]:
    target = {} if "key_id" in more else {"secret_id": NAME}
    return revoke({**target, "reason": "leaked", "incident": incident, "strategy": strategy, **more}, Context())


def current_id(stack: LambdaStack) -> str:
    return str(stack.current(NAME)[1]["key_id"])


def refused(stack: LambdaStack, **more: Any) -> str:
    before = stack.state()
    with pytest.raises(RotatorError) as caught:
        command(**more)
    assert not isinstance(caught.value, RevocationFailed)
    assert stack.state() == before
    return str(caught.value)


@pytest.mark.parametrize("strategy", REPLACING)
def test_a_retry_within_24_hours_makes_no_second_key(stack: LambdaStack, strategy: str) -> None:
    stack.secret(NAME, stack.account())
    command(strategy=strategy)
    made = current_id(stack)
    stack.clock.advance(24 * HOUR - timedelta(minutes=2))
    answer = command(strategy=strategy)
    assert (answer["ok"], revoked(answer), replaced(answer)) == (True, [], [])
    assert current_id(stack) == made


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_after_24_hours_the_name_is_refused(stack: LambdaStack, lines: Lines, strategy: str, dry_run: bool) -> None:
    stack.secret(NAME, stack.account())
    command()
    made = current_id(stack)
    stack.clock.advance(24 * HOUR + timedelta(minutes=1))
    lines()
    text = refused(stack, strategy=strategy, dry_run=dry_run)
    assert "INC-1" in text
    assert "24 hours" in text
    assert "another incident" in text
    assert made in text  # the way out names the key
    audit = [(line["event"], line["outcome"]) for line in lines() if "seq" in line]
    assert ("emergency.completed", "denied") in audit
    # Both ways out end the current key, and the second one works with the old name.
    assert revoked(command("INC-2", strategy)) == [made]
    if strategy != "revoke-only":
        again = current_id(stack)
        assert revoked(command(strategy=strategy, key_id=again, account="main")) == [again]
        assert stack.consumer_works(NAME)


def test_a_key_that_was_rotated_since_still_dates_the_name(stack: LambdaStack) -> None:
    """INC-1's key is revoked and has no label any more: its version is ``AWSPREVIOUS``, Infobip knows its name."""
    stack.secret(NAME, stack.account())
    command("INC-1")
    made = stack.current(NAME)[0]
    command("INC-2")
    assert stack.labels(NAME)[made] == {"AWSPREVIOUS"}
    assert revoked(command("INC-1")) == []
    stack.clock.advance(25 * HOUR)
    assert "INC-1" in refused(stack)


def test_a_name_without_a_trace_is_a_new_incident(stack: LambdaStack) -> None:
    stack.secret(NAME, stack.account())
    for incident in ("INC-1", "INC-2", "INC-3"):
        command(incident)
    made = current_id(stack)
    stack.clock.advance(25 * HOUR)
    answer = command("INC-1")
    assert (revoked(answer), replaced(answer)) == ([made], [NAME])
    assert stack.consumer_works(NAME)


def test_a_renamed_key_is_dated_by_its_version(stack: LambdaStack) -> None:
    """moto gives a version the date of the question, so it counts as new: a retry, and no second replacement."""
    stack.secret(NAME, stack.account())
    command()
    made = current_id(stack)
    stack.world.change_key(made, name="renamed in the portal")
    assert revoked(command()) == []
    assert current_id(stack) == made


def test_what_could_not_be_revoked_is_left_after_24_hours(stack: LambdaStack) -> None:
    old = stack.secret(NAME, stack.account())
    stack.world.faults.add(Fault(FaultKind.STATUS_BEFORE, "PUT", status=500, count=None))
    with pytest.raises(RevocationFailed):
        command()
    stack.world.faults.clear()
    stack.clock.advance(25 * HOUR)
    refused(stack)
    refused(stack, key_id=old.id, account="main")
    assert old.id in revoked(command("INC-2"))


@pytest.mark.parametrize("incident", ["INC-1", "INC-2"])
def test_revoke_only_revokes_whatever_is_current(stack: LambdaStack, incident: str) -> None:
    """It makes no key that would date the name; who asks for it gets it, even of the key that the incident made."""
    key = stack.secret(NAME, stack.account())
    for _ in range(2):
        assert revoked(command("INC-2", "revoke-only")) == [key.id]
    command("INC-1")
    made = current_id(stack)
    answer = command(incident, "revoke-only")
    assert made in revoked(answer)
    assert not stack.consumer_works(NAME)


def test_infobip_that_can_not_be_asked_stops_no_retry(stack: LambdaStack) -> None:
    old = stack.secret(NAME, stack.account())
    stack.world.faults.add(Fault(FaultKind.STATUS_BEFORE, "PUT", status=500, count=None))
    with pytest.raises(RevocationFailed):
        command()
    stack.world.faults.clear()
    stack.world.faults.add(Fault(FaultKind.STATUS_BEFORE, "GET", path="api-keys$", status=400, count=None))
    assert revoked(command()) == [old.id]


# ---- a dry run promises no replacement that can't be made: it runs the checks of the execution -----------------------


def _store(stack: LambdaStack, key: SimKey, fields: dict[str, Any]) -> None:
    labels = ["AWSCURRENT", f"rotator:key:{key.id}"]
    stack.client.put_secret_value(SecretId=NAME, SecretString=json.dumps(fields), VersionStages=labels)


def _tag(name: str, value: str) -> Callable[[LambdaStack, SimKey], None]:
    return lambda stack, _: stack.client.tag_resource(SecretId=NAME, Tags=[{"Key": name, "Value": value}])


def _fill_labels(stack: LambdaStack, _: SimKey) -> None:
    """To 20, none of which a revocation would remove; moto keeps no limit."""
    version, labels = next((v, labels) for v, labels in stack.labels(NAME).items() if "AWSCURRENT" in labels)
    for number in range(20 - sum(map(len, stack.labels(NAME).values()))):
        stack.client.update_secret_version_stage(SecretId=NAME, VersionStage=f"own-{number}", MoveToVersionId=version)
    assert sum(map(len, stack.labels(NAME).values())) == 20
    assert len(labels) < 20


def _replicate(stack: LambdaStack, key: SimKey) -> None:
    """The secret is a replica of one in another region, with the same labels."""
    stack.client.delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)
    tags = [{"Key": "rotator:role", "Value": "key"}, {"Key": "rotator:account", "Value": "main"}]
    primary = replace(stack, region="us-east-1").aws("secretsmanager")
    primary.create_secret(Name=NAME, Tags=tags, AddReplicaRegions=[{"Region": stack.region}])
    labels = ["AWSCURRENT", f"rotator:key:{key.id}"]
    primary.put_secret_value(SecretId=NAME, SecretString=json.dumps({"api_key": key.value}), VersionStages=labels)


def _delete(stack: LambdaStack, key: SimKey) -> None:
    """Its values can't be read any more; the key is one that the rotator created, and proven by its name."""
    version, _ = stack.current(NAME)
    stack.world.change_key(key.id, name=key_name(NAME, stack.arn(NAME), "default", version))
    stack.client.delete_secret(SecretId=NAME)


WAYS: dict[str, tuple[Callable[[LambdaStack, SimKey], object], str]] = {
    "a tag can't be read": (_tag("rotator:grace", "soon"), "rotator:grace"),
    "the scopes are not known": (
        lambda stack, key: stack.world.change_key(key.id, scopes=frozenset()),
        "rotator:scopes",
    ),
    "the labels are full": (_fill_labels, "20 staging labels"),
    "too large": (lambda stack, key: _store(stack, key, {"api_key": key.value, "pad": "x" * 65_430}), "64 KiB"),
    "no such field": (lambda stack, key: _store(stack, key, {"other": key.value}), "has no field"),
    "pending deletion": (_delete, "scheduled for deletion"),
    "a replica": (_replicate, "replica of a secret in us-east-1"),
    "owned by a service": (_tag("aws:secretsmanager:owningService", "rds"), "managed by rds"),
}


@pytest.mark.parametrize("strategy", REPLACING)
@pytest.mark.parametrize("way", WAYS)
def test_an_impossible_replacement_is_not_promised(stack: LambdaStack, way: str, strategy: str) -> None:
    arrange, why = WAYS[way]
    key = stack.secret(NAME, stack.account())
    arrange(stack, key)
    before = stack.state()
    event = {"secret_id": NAME, "reason": REASON, "strategy": strategy}
    answer = revoke({**event, "dry_run": True}, Context())
    assert stack.state() == before
    assert (answer["ok"], answer["dry_run"], replaced(answer, "planned")) == (False, True, [])
    assert revoked(answer, "planned") == [key.id]
    (error,) = answer["errors"]
    assert error.startswith(f"no replacement can be made for {NAME}: ")
    assert why in error
    assert "its consumers fail" in error
    assert "revoke-only" in error
    # The execution says the same, and revokes the key all the same.
    with pytest.raises(RevocationFailed) as caught:
        revoke(event, Context())
    report = report_of(caught)
    assert any(why in each for each in report["errors"])
    assert key.id in revoked(report)
    assert not stack.world.authenticates(key.value)
    assert [each.id for each in stack.world.keys() if each.enabled] == []


UNPROVEN: dict[str, tuple[Callable[[LambdaStack, SimKey], object], str]] = {
    "not text": (lambda stack, key: _store(stack, key, {"api_key": None}), "something else than text"),
    "another value": (lambda stack, key: _store(stack, key, {"api_key": "a" * 32}), "its value is not that key"),
    "pending deletion": (lambda stack, _: stack.client.delete_secret(SecretId=NAME), "scheduled for deletion"),
}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("way", UNPROVEN)
def test_an_unproven_key_is_announced(stack: LambdaStack, way: str, strategy: str) -> None:
    """Only a label says that it is the secret's: it stays, and both answers name the command that revokes it."""
    arrange, why = UNPROVEN[way]
    key = stack.secret(NAME, stack.account())
    arrange(stack, key)
    before = stack.state()
    event = {"secret_id": NAME, "reason": REASON, "strategy": strategy}
    answer = revoke({**event, "dry_run": True}, Context())
    assert stack.state() == before
    assert (answer["ok"], replaced(answer, "planned")) == (False, [])
    unproven = f"key {key.id}, which a label of {NAME} names, is not revoked: nothing proves"
    command = f"`rotator revoke --key-id {key.id} --account main`"
    (error,) = (each for each in answer["errors"] if each.startswith(unproven))
    assert command in error
    assert any(why in each for each in answer["errors"]) or strategy == "revoke-only"
    assert not any("revoked all the same" in each for each in answer["errors"])
    with pytest.raises(RevocationFailed) as caught:
        revoke(event, Context())
    report = report_of(caught)
    (error,) = (each for each in report["errors"] if each.startswith(unproven))
    assert command in error
    assert revoked(report) == []
    assert stack.world.authenticates(key.value)
    revoke({"key_id": key.id, "account": "main", "reason": REASON, "strategy": "revoke-only"}, Context())
    assert not stack.world.authenticates(key.value)


def test_revoke_only_promises_nothing_and_checks_nothing(stack: LambdaStack) -> None:
    stack.secret(NAME, stack.account(), grace="soon")
    event = {"secret_id": NAME, "reason": REASON, "strategy": "revoke-only", "dry_run": True}
    answer = revoke(event, Context())
    assert (answer["ok"], answer["errors"], replaced(answer, "planned")) == (True, [], [])


def test_labels_that_the_revocation_frees_are_no_obstacle(stack: LambdaStack) -> None:
    account = stack.account()
    first = stack.secret(NAME, account)
    for number in range(7):
        old = stack.world.add_key(account, f"old {number}")
        labels = [f"rotator:key:{old.id}", f"rotator:retire:{old.id}:20991231T000000Z"]
        value = json.dumps({"api_key": old.value})
        stack.client.put_secret_value(SecretId=NAME, SecretString=value, VersionStages=labels)
    _fill_labels(stack, first)
    event = {"secret_id": NAME, "reason": REASON}
    answer = revoke({**event, "dry_run": True}, Context())
    assert (answer["ok"], answer["errors"], replaced(answer, "planned")) == (True, [], [NAME])
    assert replaced(revoke(event, Context())) == [NAME]
    assert stack.consumer_works(NAME)


def test_labels_of_unproven_keys_are_not_freed(stack: LambdaStack) -> None:
    account = stack.account()
    first = stack.secret(NAME, account)
    for number in range(7):
        other = stack.world.add_key(account, f"of another secret {number}")
        labels = [f"rotator:key:{other.id}", f"rotator:retire:{other.id}:20991231T000000Z"]
        value = json.dumps({"n": number})
        stack.client.put_secret_value(SecretId=NAME, SecretString=value, VersionStages=labels)
    _fill_labels(stack, first)
    answer = revoke({"secret_id": NAME, "reason": REASON, "dry_run": True}, Context())
    assert (answer["ok"], replaced(answer, "planned")) == (False, [])
    assert any("20 staging labels" in each for each in answer["errors"])


def test_a_copy_that_can_get_no_key_is_named(stack: LambdaStack) -> None:
    account = stack.account()
    key = stack.secret(NAME, account)
    stack.secret("prod/copy", account, grace="soon")
    labels = ["AWSCURRENT", f"rotator:key:{key.id}"]
    stack.client.put_secret_value(
        SecretId="prod/copy", SecretString=json.dumps({"api_key": key.value}), VersionStages=labels
    )
    answer = revoke({"secret_id": NAME, "reason": REASON, "dry_run": True}, Context())
    assert (answer["ok"], replaced(answer, "planned")) == (False, [NAME])
    (error,) = answer["errors"]
    assert "prod/copy" in error
    assert "rotator:grace" in error


def test_a_current_key_that_is_spared_is_not_called_down(stack: LambdaStack) -> None:
    account = stack.account()
    old = stack.secret(NAME, account)
    new = stack.world.add_key(account, "the current one")
    version, _ = stack.current(NAME)
    _store(stack, new, {"api_key": new.value})
    stack.client.update_secret_version_stage(  # moto lost it
        SecretId=NAME, VersionStage=f"rotator:key:{old.id}", MoveToVersionId=version
    )
    _tag("rotator:grace", "soon")(stack, old)
    event = {"key_id": old.id, "account": "main", "reason": REASON}
    answer = revoke({**event, "dry_run": True}, Context())
    assert any(f"the current key {new.id} of {NAME} was not named and stays" in each for each in answer["errors"])
    assert not any("consumers fail" in each for each in answer["errors"])
    with pytest.raises(RevocationFailed):
        revoke(event, Context())
    assert stack.consumer_works(NAME)
    assert not stack.world.authenticates(old.value)
