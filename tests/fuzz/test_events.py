"""Whatever the four Lambda handlers are called with: an answer that is JSON, or an error of the tree."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator import lambda_handlers
from rotator.errors import ConfigurationError, RotatorError
from rotator.lambda_.requests import is_of_secrets_manager, label_update, queue_records, rotation_request, sweep_request
from rotator.lambda_.revoke_handler import revoke_request
from tests.fuzz.strategies import JSON, TEXTS, result_of
from tests.infobip.answers import KEY_VALUE
from tests.lambdas.lambda_stack import Context, LambdaStack
from tests.lambdas.loaded_handlers import made
from tests.support.moto import Moto

NAMES = st.sampled_from(["prod/sms", "main", "K" * 32, "nowhere"]) | TEXTS
SWEEPS = st.fixed_dictionaries(
    {}, optional={"account": NAMES | JSON, "dry_run": st.just(True) | JSON, "time": NAMES | JSON, "detail-type": NAMES}
)
REVOKES = st.fixed_dictionaries(
    {"reason": TEXTS | st.just("leak")},
    optional={
        "secret_id": NAMES | JSON,
        "key_id": NAMES | JSON,
        "account": NAMES | JSON,
        "incident": TEXTS | JSON,
        "actor": TEXTS | JSON,
        "strategy": st.sampled_from(["replace-first", "revoke-first"]) | JSON,  # revoke-only does revoke
        "dry_run": st.just(True) | JSON,
    },
)
ROTATIONS = st.fixed_dictionaries(
    {
        "SecretId": NAMES | JSON,
        "ClientRequestToken": st.just("51f72378-6a5d-5dc7-8fd8-29e4319f482a") | TEXTS | JSON,
        "Step": st.sampled_from(["createSecret", "setSecret", "testSecret", "finishSecret"]) | JSON,
    }
)
BODIES = st.builds(json.dumps, st.fixed_dictionaries({"account": NAMES | JSON}) | JSON) | TEXTS | JSON
RECORDS = st.fixed_dictionaries(
    {"messageId": st.just("m") | TEXTS | JSON, "body": BODIES},
    optional={"attributes": st.fixed_dictionaries({"MessageGroupId": NAMES | JSON}) | JSON, "eventSource": TEXTS},
)
BATCHES = st.fixed_dictionaries({"Records": st.lists(RECORDS, max_size=3) | JSON})
ARNS = st.just("arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/sms-AbCdEf")
LABEL_UPDATES = st.fixed_dictionaries(
    {
        "detail-type": st.just("Secret Label Updated") | NAMES,
        "source": st.just("aws.secretsmanager"),
        "resources": st.lists(ARNS | JSON, max_size=2) | JSON,
        "detail": st.fixed_dictionaries({"labelUpdated": st.just("AWSCURRENT") | JSON, "versionId": TEXTS | JSON})
        | JSON,
    }
)
EVENTS = {"sweep": SWEEPS | LABEL_UPDATES, "worker": BATCHES, "revoke": REVOKES, "rotation": ROTATIONS}


@settings(max_examples=150)
@given(JSON | SWEEPS | LABEL_UPDATES | REVOKES | ROTATIONS | BATCHES)
def test_any_event_is_read_or_refused(event: Any) -> None:
    errors: list[Exception | None] = []
    if is_of_secrets_manager(event):
        label_update(event)
    for read in (sweep_request, revoke_request, rotation_request, queue_records):
        found, error = result_of(partial(read, event), ConfigurationError)
        errors.append(error)
        for record in found if read is queue_records and isinstance(found, tuple) else ():
            errors.append(record.problem)
    for error in errors:
        assert str(error).isprintable()
        assert KEY_VALUE not in str(error)


@pytest.fixture(scope="module")
def stack(moto: Moto) -> Iterator[LambdaStack]:
    with pytest.MonkeyPatch.context() as monkeypatch, made(moto, monkeypatch) as made_site:
        made_site.secret("prod/sms", made_site.account())
        yield made_site


@pytest.mark.parametrize("name", sorted(EVENTS))
@settings(max_examples=25)
@given(data=st.data())
def test_any_event_gives_json_or_known_error(stack: LambdaStack, name: str, data: st.DataObject) -> None:
    """Threat: any event for a Lambda handler. It returns JSON or one of the project's own errors."""
    event = data.draw(EVENTS[name] | JSON, label="event")
    answer, error = result_of(lambda: getattr(lambda_handlers, name)(event, Context()), RotatorError)
    json.dumps(answer)
    if error is not None:
        assert "bug in rotator" not in str(error), str(error)
        assert error.__cause__ is None
        assert error.__context__ is None
        assert KEY_VALUE not in str(error)
    assert stack.consumer_works("prod/sms")
