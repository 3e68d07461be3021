"""Secrets Manager's event ``Secret Label Updated`` for a secret of another AWS account or region."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rotator.lambda_ import runtime
from rotator.lambda_handlers import sweep, worker
from tests.deploy.recording import recording
from tests.lambdas.lambda_stack import DAY, Context, LambdaStack
from tests.lambdas.test_label_events import ARN, IGNORED, SMS, VERSION, event
from tests.lambdas.test_scheduled import queue
from tests.support.elsewhere import Elsewhere, elsewhere

MEMBER = "111122223333"
ROLE = f"arn:aws:iam::{MEMBER}:role/infobip-key-rotator"
STORES = {"region": ("us-east-1", None), "account": ("eu-west-1", ROLE)}


@pytest.fixture(params=STORES)
def away(request: pytest.FixtureRequest, stack: LambdaStack, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    """Another region, or another AWS account; both are stores."""
    stack.account()
    monkeypatch.setenv("ROTATOR_STORES", f"{stack.region} us-east-1 {ROLE}@eu-west-1")
    runtime.forget()
    return elsewhere(stack, *STORES[request.param])


def pasted(world: Elsewhere, value: str) -> dict[str, Any]:
    """A person stores a value there; gives the event, as the rule forwards it."""
    version = world.put(SMS, {"api_key": value})
    arn = world.arn(SMS)
    return event(arn, version, account=arn.split(":")[4], region=arn.split(":")[3])


@pytest.mark.parametrize("over_queue", [False, True])
def test_store_of_arn_is_taken_up(
    stack: LambdaStack, away: Elsewhere, monkeypatch: pytest.MonkeyPatch, over_queue: bool
) -> None:
    take = queue(stack, monkeypatch) if over_queue else list
    for world in (stack, away):
        world.secret(SMS, left=5 * DAY)
    key = away.key()
    came = pasted(away, key.value)
    keys, home = stack.state()
    answer = sweep(came, Context())
    for message in take():
        assert worker({"Records": [message]}, Context()) == {"batchItemFailures": []}
    assert answer["outcome"] == ("sent" if over_queue else "done")
    assert away.labels(SMS)[away.current_version(SMS)] == {"AWSCURRENT", f"rotator:key:{key.id}"}
    assert stack.state() == (keys, home)  # the namesake is untouched, and no key was created, changed or revoked
    assert sweep(came, Context()) == IGNORED


@pytest.mark.parametrize(
    ("stores", "arn"),
    [
        ("", ARN.replace("eu-central-1", "us-east-1")),
        ("", ARN.replace("123456789012", MEMBER)),
        (f"eu-central-1 {ROLE}@eu-west-1", ARN.replace("eu-central-1", "eu-west-1")),
        (f"eu-central-1 {ROLE}@eu-west-1", ARN.replace("123456789012", MEMBER)),
        (f"eu-central-1 us-east-1 {ROLE}@eu-west-1", ARN.replace("123456789012", "999999999999")),
    ],
)
def test_arn_of_no_store_ends_without_call(
    stack: LambdaStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stores: str, arn: str
) -> None:
    """Threat: another AWS account's event, or a forged ARN. Nothing is called if the secret is in no store."""
    monkeypatch.setenv("ROTATOR_STORES", stores)
    runtime.forget()
    with recording(stack.client, tmp_path) as calls:
        assert sweep(event(arn, VERSION), Context()) == IGNORED
    assert calls == set()


@pytest.mark.parametrize("name", ["rotator/main", "other"])
def test_member_event_checks_one_secret(away: Elsewhere, stack: LambdaStack, name: str) -> None:
    """Threat: a member account sends events for secrets that are not managed, or for a management secret of its own.
    Each is described, and Infobip is not called."""
    if name == "other":
        away.client.create_secret(Name=name, SecretString="{}")
    else:
        away.management(away.user(next(iter(stack.infobip.state.accounts.values()))))
    version = next(iter(away.labels(name)))
    before = (stack.state(), away.state())
    assert sweep(event(away.arn(name), version), Context()) == IGNORED
    assert (stack.state(), away.state(), stack.infobip.calls) == (*before, [])
