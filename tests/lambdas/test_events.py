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
from tests.lambdas.site import DAY, Context, Site

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
def standing(moto: Moto) -> Iterator[Site]:
    """One site for every bad event: they change nothing."""
    with pytest.MonkeyPatch.context() as monkeypatch, made(moto, monkeypatch) as site:
        site.secret("prod/sms", site.account(), left=5 * DAY, age=85 * DAY)
        yield site


@pytest.fixture
def _log_of_this_test() -> None:
    runtime.forget()  # the handlers keep their log stream


@pytest.mark.usefixtures("_log_of_this_test")
@pytest.mark.parametrize(("handler", "event", "said"), BAD)
def test_a_bad_event(standing: Site, handler: str, event: Any, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    site, before = standing, standing.state()
    with pytest.raises(BadEvent) as caught:
        getattr(lambda_handlers, handler)(event, Context())
    assert said in str(caught.value)
    assert "nothing was changed" in str(caught.value)
    assert VALUE not in str(caught.value)
    assert VALUE not in capsys.readouterr().err
    assert site.state() == before
    assert site.world.calls == []


@pytest.mark.parametrize(
    "body", [None, "", "main", "[]", "{}", '{"account": 1}', '{"account": ""}', '{"account": "main", "dry_run": true}']
)
def test_a_message_that_cannot_be_read_fails_by_itself(standing: Site, body: Any) -> None:
    before = standing.state()
    answer = lambda_handlers.worker({"Records": [RECORD | {"body": body}]}, Context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert standing.state() == before


def test_a_batch_without_messages(standing: Site) -> None:
    assert lambda_handlers.worker({"Records": []}, Context()) == {"batchItemFailures": []}


def test_a_bug_is_said_to_be_one_and_its_text_is_redacted(
    site: Site, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    class Broken(dict[str, Any]):
        def __iter__(self) -> Any:
            raise RuntimeError(f"something with {VALUE} in it")

    with pytest.raises(Exception, match="this is a bug in rotator: RuntimeError: something with <redacted>") as caught:
        lambda_handlers.sweep(Broken(), Context())
    assert caught.value.__context__ is None


def test_what_the_rotation_handler_answers(site: Site) -> None:
    site.secret("prod/sms", site.account())
    token = site.start_rotation("prod/sms")
    event = {"SecretId": site.arn("prod/sms"), "ClientRequestToken": token, "RotationToken": "new in AWS"}
    answer: dict[str, object] = {}
    for step in ("createSecret", "setSecret", "testSecret", "finishSecret", "finishSecret"):
        answer = lambda_handlers.rotation(event | {"Step": step}, Context())
        assert (answer["step"], answer["version_id"]) == (step, token)
    assert answer["done"] == "already current"
    version, value = site.current("prod/sms")
    assert version == token
    assert value["sender"] == "Example"
    assert site.consumer_works("prod/sms")
