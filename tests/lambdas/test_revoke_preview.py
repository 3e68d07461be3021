"""``revoke`` with ``dry_run`` promises no replacement that can't be made: it runs the checks of the execution."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rotator.lambda_.revoke_handler import RevocationFailed
from rotator.lambda_handlers import revoke
from rotator.policy.labels import key_name
from rotator.sandbox.state import SimKey
from tests.lambdas.lambda_stack import Context, LambdaStack

NAME = "prod/sms"
REASON = "pasted in a ticket"


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
    stack.world.portal_rename(key.id, key_name(NAME, stack.arn(NAME), "default", version))
    stack.client.delete_secret(SecretId=NAME)


WAYS: dict[str, tuple[Callable[[LambdaStack, SimKey], object], str]] = {
    "a tag can't be read": (_tag("rotator:grace", "soon"), "rotator:grace"),
    "the scopes are not known": (lambda stack, key: stack.world.portal_rescope(key.id, ()), "rotator:scopes"),
    "the labels are full": (_fill_labels, "20 staging labels"),
    "too large": (lambda stack, key: _store(stack, key, {"api_key": key.value, "pad": "x" * 65_430}), "64 KiB"),
    "no such field": (lambda stack, key: _store(stack, key, {"other": key.value}), "has no field"),
    "pending deletion": (_delete, "scheduled for deletion"),
    "a replica": (_replicate, "replica of a secret in us-east-1"),
    "owned by a service": (_tag("aws:secretsmanager:owningService", "rds"), "managed by rds"),
}


@pytest.mark.parametrize("strategy", ["replace-first", "revoke-first"])
@pytest.mark.parametrize("way", WAYS)
def test_an_impossible_replacement_is_not_promised(stack: LambdaStack, way: str, strategy: str) -> None:
    arrange, why = WAYS[way]
    key = stack.secret(NAME, stack.account())
    arrange(stack, key)
    before = stack.state()
    event = {"secret_id": NAME, "reason": REASON, "strategy": strategy}
    answer = revoke({**event, "dry_run": True}, Context())
    assert stack.state() == before
    assert (answer["ok"], answer["dry_run"], answer["would_replace"]) == (False, True, [])
    assert [planned["key_id"] for planned in answer["planned"]] == [key.id]
    (error,) = answer["errors"]
    assert error.startswith(f"no replacement can be made for {NAME}: ")
    assert why in error
    assert "its consumers fail" in error
    assert "revoke-only" in error
    # The execution says the same, and revokes the key all the same.
    with pytest.raises(RevocationFailed) as caught:
        revoke(event, Context())
    report = json.loads(str(caught.value).partition(" Report: ")[2])
    assert any(why in each for each in report["errors"])
    assert key.id in report["revoked"]
    assert not stack.world.authenticates(key.value)
    assert [each.id for each in stack.world.keys() if each.enabled] == []


UNPROVEN: dict[str, tuple[Callable[[LambdaStack, SimKey], object], str]] = {
    "not text": (lambda stack, key: _store(stack, key, {"api_key": None}), "something else than text"),
    "another value": (lambda stack, key: _store(stack, key, {"api_key": "a" * 32}), "its value is not that key"),
    "pending deletion": (lambda stack, _: stack.client.delete_secret(SecretId=NAME), "scheduled for deletion"),
}


@pytest.mark.parametrize("strategy", ["replace-first", "revoke-first", "revoke-only"])
@pytest.mark.parametrize("way", UNPROVEN)
def test_a_key_that_nothing_proves_is_announced(stack: LambdaStack, way: str, strategy: str) -> None:
    """Only a label says that it is the secret's: it stays, and both answers name the command that revokes it."""
    arrange, why = UNPROVEN[way]
    key = stack.secret(NAME, stack.account())
    arrange(stack, key)
    before = stack.state()
    event = {"secret_id": NAME, "reason": REASON, "strategy": strategy}
    answer = revoke({**event, "dry_run": True}, Context())
    assert stack.state() == before
    assert (answer["ok"], answer["would_replace"]) == (False, [])
    unproven = f"key {key.id}, which a label of {NAME} names, is not revoked: nothing proves"
    command = f"`rotator revoke --key-id {key.id} --account main`"
    (error,) = (each for each in answer["errors"] if each.startswith(unproven))
    assert command in error
    assert any(why in each for each in answer["errors"]) or strategy == "revoke-only"
    assert not any("revoked all the same" in each for each in answer["errors"])
    with pytest.raises(RevocationFailed) as caught:
        revoke(event, Context())
    report = json.loads(str(caught.value).partition(" Report: ")[2])
    (error,) = (each for each in report["errors"] if each.startswith(unproven))
    assert command in error
    assert report["revoked"] == []
    assert stack.world.authenticates(key.value)
    revoke({"key_id": key.id, "account": "main", "reason": REASON, "strategy": "revoke-only"}, Context())
    assert not stack.world.authenticates(key.value)


def test_revoke_only_promises_nothing_and_checks_nothing(stack: LambdaStack) -> None:
    stack.secret(NAME, stack.account(), grace="soon")
    event = {"secret_id": NAME, "reason": REASON, "strategy": "revoke-only", "dry_run": True}
    answer = revoke(event, Context())
    assert (answer["ok"], answer["errors"], answer["would_replace"]) == (True, [], [])


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
    assert (answer["ok"], answer["errors"], answer["would_replace"]) == (True, [], [NAME])
    assert revoke(event, Context())["replaced"] == [NAME]
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
    assert (answer["ok"], answer["would_replace"]) == (False, [])
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
    assert (answer["ok"], answer["would_replace"]) == (False, [NAME])
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
    (error,) = answer["errors"]
    assert f"its current key {new.id} was not named and stays" in error
    assert "consumers fail" not in error
    with pytest.raises(RevocationFailed):
        revoke(event, Context())
    assert stack.consumer_works(NAME)
    assert not stack.world.authenticates(old.value)
