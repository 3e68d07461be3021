"""Every bad event gets a clear error, shows nothing secret, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rotator import lambda_handlers
from rotator.lambda_ import runtime
from rotator.lambda_.requests import BadEvent
from tests import leaks
from tests.lambdas.lambda_stack import DAY, Context, LambdaStack
from tests.lambdas.loaded_handlers import made
from tests.support.moto import Moto

VALUE = leaks.register("0123456789abcdef0123456789abcdef-01234567-89ab-cdef-0123-456789abcdef")
TOKEN = "51f72378-6a5d-5dc7-8fd8-29e4319f482a"
REVOKE = {"secret_id": "prod/sms", "reason": "leak"}
ROTATION = {"SecretId": "prod/sms", "ClientRequestToken": TOKEN, "Step": "createSecret"}
RECORD = {"messageId": "1", "body": '{"account": "main"}', "eventSource": "aws:sqs"}

BAD: list[tuple[str, Any, str]] = [  # handler, event, and the names that the error contains
    ("sweep", {"account": ""}, '"account"'),
    ("sweep", {"account": ["main"]}, '"account"'),
    ("sweep", {"account": "a" * 3000}, '"account" 3000'),
    ("sweep", {"dry_run": "true"}, '"dry_run" true false'),
    ("sweep", {"dry_run": None}, '"dry_run" true false'),
    ("sweep", {"dryRun": True}, '"dry_run"'),
    ("sweep", {"dry-run": True}, '"dry_run"'),
    ("sweep", {"accounts": ["main"]}, '"account"'),
    ("sweep", {"Account": "main"}, '"account"'),
    ("worker", None, 'SQS "Records"'),
    ("worker", {}, 'SQS "Records"'),
    ("worker", {"account": "main"}, 'SQS "Records"'),
    ("worker", {"Records": "all"}, 'SQS "Records"'),
    ("worker", {"Records": [{"body": "{}"}]}, "SQS"),
    ("worker", {"Records": [RECORD, None]}, "SQS"),
    ("worker", {"Records": [RECORD | {"eventSource": "aws:sns"}]}, "SQS"),
    ("revoke", None, 'JSON "secret_id" "key_id" "reason"'),
    ("revoke", {}, '"secret_id" "key_id"'),
    ("revoke", {"reason": "leak"}, '"secret_id" "key_id"'),
    ("revoke", REVOKE | {"key_id": "1"}, '"secret_id" "key_id"'),
    ("revoke", {"key_id": "1", "reason": "leak"}, '"key_id" "account"'),
    ("revoke", {"secret_id": "prod/sms"}, '"reason"'),
    ("revoke", REVOKE | {"reason": " "}, '"reason"'),
    ("revoke", REVOKE | {"reason": 7}, '"reason"'),
    ("revoke", REVOKE | {"reason": "x" * 2000}, '"reason" 2000'),
    ("revoke", REVOKE | {"strategy": "later"}, '"strategy" "later" revoke-only'),
    ("revoke", REVOKE | {"dry_run": "yes"}, '"dry_run"'),
    ("revoke", REVOKE | {"dryrun": True}, '"dryrun" dry_run'),
    ("revoke", REVOKE | {"leaked": VALUE}, '"leaked" --leaked-key-stdin'),
    ("revoke", {"reason": "leak", VALUE: True}, "<redacted> --leaked-key-stdin"),
    ("revoke", {"reason": "leak", "key_id": VALUE, "account": "main"}, '"key_id" --leaked-key-stdin'),
    ("revoke", {"reason": "leak", "secret_id": VALUE}, '"secret_id" --leaked-key-stdin'),
    ("rotation", None, "Secrets Manager"),
    ("rotation", {}, '"SecretId"'),
    ("rotation", ROTATION | {"SecretId": ""}, '"SecretId"'),
    ("rotation", ROTATION | {"ClientRequestToken": "short"}, '"ClientRequestToken" 32 64'),
    ("rotation", ROTATION | {"ClientRequestToken": None}, '"ClientRequestToken"'),
    ("rotation", ROTATION | {"Step": "deleteSecret"}, '"Step" "deleteSecret"'),
    ("rotation", ROTATION | {"Step": "createsecret"}, '"createsecret" createSecret'),
]


@pytest.fixture(scope="module")
def standing(moto: Moto) -> Iterator[LambdaStack]:
    """One stack for every bad event: they change nothing."""
    with pytest.MonkeyPatch.context() as monkeypatch, made(moto, monkeypatch) as stack:
        stack.secret("prod/sms", left=5 * DAY)
        yield stack


@pytest.fixture
def _log_of_this_test() -> None:
    runtime.forget()  # the handlers keep their log stream


@pytest.mark.usefixtures("_log_of_this_test")
@pytest.mark.parametrize(("handler", "event", "named"), BAD)
def test_bad_event_changes_nothing(
    standing: LambdaStack, handler: str, event: Any, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Threat: an event that is valid in part. Nothing is changed before all of it is parsed."""
    stack, before = standing, standing.state()
    with pytest.raises(BadEvent) as caught:
        getattr(lambda_handlers, handler)(event, Context())
    assert all(name in str(caught.value) for name in named.split())
    assert VALUE not in str(caught.value)
    written = capsys.readouterr().err
    assert VALUE not in written
    (line,) = map(json.loads, written.splitlines())
    assert (line["level"], line["class"]) == ("error", "BadEvent")
    assert stack.state() == before
    assert stack.infobip.calls == []


@pytest.mark.parametrize(
    "body", [None, "", "main", "[]", "{}", '{"account": 1}', '{"account": ""}', '{"account": "main", "dry_run": true}']
)
def test_unreadable_message_fails_by_itself(standing: LambdaStack, body: Any) -> None:
    before = standing.state()
    answer = lambda_handlers.worker({"Records": [RECORD | {"body": body}]}, Context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert standing.state() == before


def test_batch_without_messages(standing: LambdaStack) -> None:
    assert lambda_handlers.worker({"Records": []}, Context()) == {"batchItemFailures": []}


def test_bug_is_reported_with_redacted_text(stack: LambdaStack, lines: Callable[[], list[dict[str, Any]]]) -> None:
    """Threat: a value in the text of an unexpected exception. It is redacted."""

    class Broken(dict[str, Any]):
        def __iter__(self) -> Any:
            raise RuntimeError(f"something with {VALUE} in it")

    with pytest.raises(Exception, match="RuntimeError: something with <redacted>") as caught:
        lambda_handlers.sweep(Broken(), Context())
    assert caught.value.__context__ is None


def test_answers_of_rotation_handler(stack: LambdaStack) -> None:
    key = stack.secret("prod/sms")
    stack.put("prod/sms", {"api_key": key.value, "sender": "Example"}, ["AWSCURRENT", f"rotator:key:{key.id}"])
    token = stack.start_rotation("prod/sms")
    event = {"SecretId": stack.arn("prod/sms"), "ClientRequestToken": token, "RotationToken": "new in AWS"}
    answer: dict[str, object] = {}
    for step in ("createSecret", "setSecret", "testSecret", "finishSecret", "finishSecret"):
        answer = lambda_handlers.rotation(event | {"Step": step}, Context())
        assert (answer["step"], answer["version_id"]) == (step, token)
    assert answer["done"] == "already current"
    version, value = stack.current_version("prod/sms"), stack.value("prod/sms")
    assert version == token
    assert value["sender"] == "Example"
    assert stack.consumer_works("prod/sms")
