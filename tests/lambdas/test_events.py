"""Every bad event gets a clear error, shows nothing secret, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rotator import lambda_handlers
from rotator.lambda_ import runtime
from rotator.lambda_.requests import BadEvent
from tests import leaks
from tests.lambdas.conftest import Moto, made
from tests.lambdas.lambda_stack import DAY, Context, LambdaStack

VALUE = leaks.register("0123456789abcdef0123456789abcdef-01234567-89ab-cdef-0123-456789abcdef")
TOKEN = "51f72378-6a5d-5dc7-8fd8-29e4319f482a"
REVOKE = {"secret_id": "prod/sms", "reason": "leak"}
ROTATION = {"SecretId": "prod/sms", "ClientRequestToken": TOKEN, "Step": "createSecret"}
RECORD = {"messageId": "1", "body": '{"account": "main"}', "eventSource": "aws:sqs"}

BAD: list[tuple[str, Any, str]] = [
    ("sweep", {"account": ""}, '"account" is missing or is not a text'),
    ("sweep", {"account": ["main"]}, '"account" is missing or is not a text'),
    ("sweep", {"account": "a" * 3000}, '"account" has 3000 characters'),
    ("sweep", {"dry_run": "true"}, '"dry_run" is neither true nor false'),
    ("sweep", {"dry_run": None}, '"dry_run" is neither true nor false'),
    ("sweep", {"dryRun": True}, 'Did you mean "dry_run"'),
    ("sweep", {"dry-run": True}, 'Did you mean "dry_run"'),
    ("sweep", {"accounts": ["main"]}, 'Did you mean "account"'),
    ("sweep", {"Account": "main"}, 'Did you mean "account"'),
    ("worker", None, "not one of SQS's"),
    ("worker", {}, "not one of SQS's"),
    ("worker", {"account": "main"}, "not one of SQS's"),
    ("worker", {"Records": "all"}, "not one of SQS's"),
    ("worker", {"Records": [{"body": "{}"}]}, "a record of the event"),
    ("worker", {"Records": [RECORD, None]}, "a record of the event"),
    ("worker", {"Records": [RECORD | {"eventSource": "aws:sns"}]}, "a record of the event"),
    ("revoke", None, "not a JSON object"),
    ("revoke", {}, "does not say what to revoke"),
    ("revoke", {"reason": "leak"}, "does not say what to revoke"),
    ("revoke", REVOKE | {"key_id": "1"}, "does not say what to revoke"),
    ("revoke", {"key_id": "1", "reason": "leak"}, '"key_id" needs "account"'),
    ("revoke", {"secret_id": "prod/sms"}, '"reason" is missing'),
    ("revoke", REVOKE | {"reason": " "}, '"reason" is missing or is not a text'),
    ("revoke", REVOKE | {"reason": 7}, '"reason" is missing or is not a text'),
    ("revoke", REVOKE | {"reason": "x" * 2000}, "2000 characters"),
    ("revoke", REVOKE | {"strategy": "later"}, '"strategy" is "later"'),
    ("revoke", REVOKE | {"dry_run": "yes"}, '"dry_run" is neither'),
    ("revoke", REVOKE | {"dryrun": True}, 'unknown fields: "dryrun"'),
    ("revoke", REVOKE | {"leaked": VALUE}, "never put into an event"),
    ("revoke", {"reason": "leak", VALUE: True}, "unknown fields"),
    ("revoke", {"reason": "leak", "key_id": VALUE, "account": "main"}, '"key_id" looks like a credential'),
    ("revoke", {"reason": "leak", "secret_id": VALUE}, '"secret_id" looks like a credential'),
    ("rotation", None, "not one of Secrets Manager's"),
    ("rotation", {}, '"SecretId" is missing'),
    ("rotation", ROTATION | {"SecretId": ""}, '"SecretId" is missing'),
    ("rotation", ROTATION | {"ClientRequestToken": "short"}, "no version id"),
    ("rotation", ROTATION | {"ClientRequestToken": None}, '"ClientRequestToken" is missing'),
    ("rotation", ROTATION | {"Step": "deleteSecret"}, '"Step" is "deleteSecret"'),
    ("rotation", ROTATION | {"Step": "createsecret"}, "Secrets Manager knows createSecret"),
]


@pytest.fixture(scope="module")
def standing(moto: Moto) -> Iterator[LambdaStack]:
    """One stack for every bad event: they change nothing."""
    with pytest.MonkeyPatch.context() as monkeypatch, made(moto, monkeypatch) as stack:
        stack.secret("prod/sms", stack.account(), left=5 * DAY, age=85 * DAY)
        yield stack


@pytest.fixture
def _log_of_this_test() -> None:
    runtime.forget()  # the handlers keep their log stream


@pytest.mark.usefixtures("_log_of_this_test")
@pytest.mark.parametrize(("handler", "event", "text"), BAD)
def test_bad_event_changes_nothing(
    standing: LambdaStack, handler: str, event: Any, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Threat: an event that is valid in part. Nothing is changed before all of it is parsed."""
    stack, before = standing, standing.state()
    with pytest.raises(BadEvent) as caught:
        getattr(lambda_handlers, handler)(event, Context())
    assert text in str(caught.value)
    assert "nothing was changed" in str(caught.value)
    assert VALUE not in str(caught.value)
    assert VALUE not in capsys.readouterr().err
    assert stack.state() == before
    assert stack.world.calls == []


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


def test_bug_is_reported_with_a_redacted_text(stack: LambdaStack, lines: Callable[[], list[dict[str, Any]]]) -> None:
    """Threat: a value in the text of an unexpected exception. It is redacted."""

    class Broken(dict[str, Any]):
        def __iter__(self) -> Any:
            raise RuntimeError(f"something with {VALUE} in it")

    with pytest.raises(Exception, match="this is a bug in rotator: RuntimeError: something with <redacted>") as caught:
        lambda_handlers.sweep(Broken(), Context())
    assert caught.value.__context__ is None


def test_answers_of_the_rotation_handler(stack: LambdaStack) -> None:
    stack.secret("prod/sms", stack.account())
    token = stack.start_rotation("prod/sms")
    event = {"SecretId": stack.arn("prod/sms"), "ClientRequestToken": token, "RotationToken": "new in AWS"}
    answer: dict[str, object] = {}
    for step in ("createSecret", "setSecret", "testSecret", "finishSecret", "finishSecret"):
        answer = lambda_handlers.rotation(event | {"Step": step}, Context())
        assert (answer["step"], answer["version_id"]) == (step, token)
    assert answer["done"] == "already current"
    version, value = stack.current("prod/sms")
    assert version == token
    assert value["sender"] == "Example"
    assert stack.consumer_works("prod/sms")
