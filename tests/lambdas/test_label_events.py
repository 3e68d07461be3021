"""Secrets Manager's event ``Secret Label Updated``: a value that somebody stored is adopted, verified and reported."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from rotator.lambda_ import runtime
from rotator.lambda_handlers import sweep, worker
from rotator.policy.labels import key_name
from rotator.sandbox.state import SimKey
from tests.aws.fake_aws import error as aws_error
from tests.aws.fake_aws import serving
from tests.lambdas.lambda_stack import DAY, Context, LambdaStack
from tests.lambdas.test_scheduled import Lines, queue
from tests.support.faulty_infobip import Fault, FaultKind, faults_of

SMS = "prod/sms"
GARBAGE = "not a key"
IGNORED = {"outcome": "ignored"}
HUGE = "x" * 100_000
Calls = Callable[[], list[str]]


def event(arn: Any, version: Any, label: Any = "AWSCURRENT", **changed: Any) -> dict[str, Any]:
    """What EventBridge sends."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Secret Label Updated",
        "source": "aws.secretsmanager",
        "account": "123456789012",
        "time": "2026-03-02T09:00:00Z",
        "region": "eu-central-1",
        "resources": [arn],
        "detail": {"name": SMS, "labelUpdated": label, "versionId": version},
        **changed,
    }


def moved(stack: LambdaStack, name: str = SMS) -> dict[str, Any]:
    """The event for a secret's current version."""
    return event(stack.arn(name), stack.current_version(name))


def paste(stack: LambdaStack, key: SimKey | str, name: str = SMS) -> dict[str, Any]:
    """A person stores a key; gives the event that follows."""
    stack.put(name, {"api_key": key if isinstance(key, str) else key.value}, ["AWSCURRENT"])
    return moved(stack, name)


@pytest.fixture
def calls(stack: LambdaStack) -> Calls:
    """The operations of Secrets Manager that the handlers called since it was asked last; to be asked first, too."""
    made: list[str] = []
    hooked: list[object] = []

    def take() -> list[str]:
        store: Any = runtime.foundation().store
        if store not in hooked:
            hooked.append(store)
            store._client.meta.events.register(
                "before-call.secrets-manager", lambda model, **_: made.append(model.name)
            )
        found, made[:] = list(made), []
        return found

    return take


def alerts(lines: Lines) -> list[tuple[str, str, str]]:
    """The alerts' reasons, secrets and outcomes: ``failure`` is an error, which raises the alarm."""
    found = [line for line in lines() if line["event"] == "alert.raised"]
    assert {line["trigger"] for line in found} <= {"secretsmanager"}
    return [(line["reason"], line["secret"], line["outcome"]) for line in found]


def test_pasted_key_is_adopted_at_once(stack: LambdaStack, calls: Calls, lines: Lines) -> None:
    stack.secret(SMS)
    key = stack.key()
    came = paste(stack, key)
    before = stack.live()
    calls()
    assert sweep(came, Context())["done"] == 1
    assert stack.labels(SMS)[stack.current_version(SMS)] == {"AWSCURRENT", f"rotator:key:{key.id}"}
    read = ["DescribeSecret", "ListSecrets", "GetSecretValue", "GetSecretValue"]  # management secrets, then this one
    assert calls() == [*read, "DescribeSecret", "UpdateSecretVersionStage"]
    assert [call.method for call in stack.infobip.calls] == ["GET", "GET"]  # a search and a probe
    audit = [(line["event"], line["outcome"], line["trigger"]) for line in lines() if "seq" in line]
    assert audit == [
        ("key.adopted", "attempt", "secretsmanager"),
        ("key.adopted", "success", "secretsmanager"),
        ("key.verified", "success", "secretsmanager"),
    ]  # and no sweep.completed, which would hide that the schedule has stopped
    assert sweep(came, Context()) == IGNORED  # it came twice
    assert stack.live() == before


def test_most_events_end_after_one_call(stack: LambdaStack, calls: Calls) -> None:
    account = stack.account()
    stack.client.create_secret(Name="unmanaged", SecretString="{}")
    stack.secret(SMS, account, left=5 * DAY)
    stack.secret("prod/deleted", account, adopted=False)
    stack.secret("prod/elsewhere", account)
    late = paste(stack, stack.key())
    stack.secret("prod/pasted", account)
    out_of_order = paste(stack, stack.key(), "prod/pasted")
    paste(stack, GARBAGE, "prod/pasted")
    deleted = moved(stack, "prod/deleted")
    stack.client.delete_secret(SecretId="prod/deleted", RecoveryWindowInDays=7)
    sweep({"account": "main"}, Context())  # adopts what was pasted
    sweep({"account": "main"}, Context())  # rotates it
    unknown = event(f"{stack.arn(SMS)[:-6]}000000", late["detail"]["versionId"])
    management = moved(stack, "rotator/main")
    events = (moved(stack, "unmanaged"), moved(stack, SMS), late, out_of_order, deleted, unknown, management)
    calls()
    before, asked = stack.state(), len(stack.infobip.calls)
    for came in events:
        assert sweep(came, Context()) == IGNORED
        assert calls() == ["DescribeSecret"]
    assert stack.state() == before
    assert len(stack.infobip.calls) == asked


def expired(stack: LambdaStack) -> SimKey:
    return stack.key(left=-DAY)


def expiring(stack: LambdaStack) -> SimKey:
    return stack.key(left=DAY)


def disabled(stack: LambdaStack) -> SimKey:
    return stack.key(enabled=False)


def not_begun(stack: LambdaStack) -> SimKey:
    return stack.key(begins=stack.clock.now() + DAY)


def of_another_account(stack: LambdaStack) -> SimKey:
    return stack.key("foreign", stack.account("other"))


def of_another_secret(stack: LambdaStack) -> SimKey:
    arn = stack.create("prod/voice")
    return stack.key(key_name("prod/voice", arn, "default", str(uuid.uuid4())))


def rejected(stack: LambdaStack) -> SimKey:
    faults_of(stack.infobip).add(Fault(FaultKind.STATUS_BEFORE, "GET", "balance", status=401, count=None))
    return stack.key()


def garbage(stack: LambdaStack) -> str:
    return GARBAGE


@pytest.mark.parametrize(
    ("make", "reason", "outcome", "adopted"),
    [
        (garbage, "unadopted", "failure", False),
        (of_another_account, "unadopted", "failure", False),
        (expired, "expired", "failure", True),
        (disabled, "key-disabled", "failure", True),
        (not_begun, "key-not-active", "failure", True),
        (rejected, "current-key-broken", "failure", True),
        (expiring, "expiring", "success", True),
        (of_another_secret, "other-deployment-key", "success", True),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_wrong_value_is_alert_and_no_change(
    stack: LambdaStack,
    monkeypatch: pytest.MonkeyPatch,
    lines: Lines,
    make: Callable[[LambdaStack], SimKey | str],
    reason: str,
    outcome: str,
    adopted: bool,
    dry_run: bool,
) -> None:
    monkeypatch.setenv("ROTATOR_DRY_RUN", str(dry_run).lower())
    runtime.forget()
    stack.secret(SMS)
    came = paste(stack, make(stack))
    before = stack.state()
    assert sweep(came, Context())["outcome"] == "done"
    assert alerts(lines) == [(reason, SMS, outcome)]
    after = stack.state()
    assert after[0] == before[0]  # no key was created, changed or revoked
    assert (after == before) is (dry_run or not adopted)


@pytest.mark.parametrize(("tag", "found"), [("hold", []), ("grace", [("misconfigured", SMS, "failure")])])
def test_skipped_secret_is_not_read(stack: LambdaStack, calls: Calls, lines: Lines, tag: str, found: list[Any]) -> None:
    stack.secret(SMS)
    stack.tag(SMS, **{tag: "soon"})
    came = paste(stack, stack.key())
    before = stack.state()
    calls()
    sweep(came, Context())
    assert calls().count("GetSecretValue") == 1  # the management secret's
    assert (alerts(lines), stack.state(), stack.infobip.calls) == (found, before, [])


def test_key_seconds_old_is_probed_again(stack: LambdaStack, lines: Lines) -> None:
    stack.secret(SMS)
    came = paste(stack, stack.key(age=timedelta(seconds=58)))
    faults_of(stack.infobip).add(Fault(FaultKind.STATUS_BEFORE, "GET", "balance", status=401, count=1))
    sweep(came, Context())
    found = lines()
    assert [line["outcome"] for line in found if line["event"] == "key.verified"] == ["success"]
    assert sum(call.path.endswith("balance") for call in stack.infobip.calls) == 2
    assert not [line for line in found if line["event"] == "alert.raised"]


# ---- over the queue -------------------------------------------------------------------------------------------------


def test_message_takes_up_one_secret(
    stack: LambdaStack, monkeypatch: pytest.MonkeyPatch, calls: Calls, lines: Lines
) -> None:
    take = queue(stack, monkeypatch)
    account = stack.account()
    for name in (SMS, "prod/voice"):
        stack.secret(name, account)
    stack.secret("prod/due", account, left=5 * DAY)
    events = [paste(stack, stack.key(), SMS), paste(stack, GARBAGE, "prod/voice")]
    calls()
    assert [sweep(came, Context()) for came in [*events, *events]] == [{"outcome": "sent"}] * 4
    assert calls() == ["DescribeSecret"] * 4
    messages = take()
    assert {json.loads(message["body"])["secret"] for message in messages} == {stack.arn(SMS), stack.arn("prod/voice")}
    assert len({message["attributes"]["MessageGroupId"] for message in messages}) == len(messages) == 2
    for message in messages:
        assert json.loads(message["body"]).keys() == {"account", "secret"}
        for _ in range(2):  # delivered twice
            assert worker({"Records": [message]}, Context()) == {"batchItemFailures": []}
    assert f"rotator:key:{stack.current_key(SMS).id}" in stack.every_label(SMS)
    assert alerts(lines) == [("unadopted", "prod/voice", "failure")] * 2
    assert "key_id" not in stack.value("prod/due")  # what is due is the sweep's
    assert calls().count("ListSecrets") == 3


def message(stack: LambdaStack, account: str = "main", **changed: Any) -> dict[str, Any]:
    body = json.dumps({"account": account, "secret": stack.arn(SMS), **changed})
    attributes = {"MessageGroupId": "one"}
    return {"Records": [{"messageId": "1", "body": body, "eventSource": "aws:sqs", "attributes": attributes}]}


@pytest.mark.parametrize("what", ["password", "tag", "infobip", "account", "deleted"])
def test_failed_message_is_left_to_sweep(stack: LambdaStack, lines: Lines, what: str) -> None:
    """Threat: events that fail, one after another. None is repeated, raises an alarm or becomes a dead letter."""
    account = stack.account(password="wrong-and-never-shown") if what == "password" else stack.account()
    stack.secret(SMS, account)
    paste(stack, stack.key())
    if what == "tag":
        stack.tag(SMS, account="unknown")
    if what == "infobip":
        faults_of(stack.infobip).add(Fault(FaultKind.THROTTLE, "GET", "api-keys", count=None))
    before = stack.state()
    named = {"tag": "unknown", "account": "another"}.get(what, "main")
    sent = message(stack, named, secret=ARN) if what == "deleted" else message(stack, named)
    assert worker(sent, Context()) == {"batchItemFailures": []}
    assert stack.state() == before
    assert not [line for line in lines() if line["level"] == "error" or line["event"].endswith(".failed")]


# ---- attacks --------------------------------------------------------------------------------------------------------

VERSION = "51f72378-6a5d-5dc7-8fd8-29e4319f482a"
ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/sms-AbCdEf"
RESOURCES: tuple[Any, ...] = (None, [], {}, HUGE, [None], [{}], [ARN, ARN], [HUGE], [["a"]], ["*"], [ARN])
OTHER_ARNS = (ARN.replace("eu-c", "us-c"), ARN.replace("1234", "4321"), ARN.replace("secretsmanager", "iam"))
NOT_ARNS = (f"{ARN}\n", f"{ARN}{HUGE}", "../../etc", SMS)
DETAILS: tuple[Any, ...] = (None, [], HUGE, {}, {"versionId": VERSION}, {"labelUpdated": "AWSCURRENT"})
FORGED: list[dict[str, Any]] = [
    *({"resources": resources} for resources in RESOURCES),
    *({"resources": [arn]} for arn in (*OTHER_ARNS, *NOT_ARNS)),
    *({"detail": detail} for detail in DETAILS),
    {"detail-type": "secret label updated"},
    {"detail-type": None},
    {"detail-type": ["Secret Label Updated"]},
    {"source": "somebody.else", "detail": {"labelUpdated": ["AWSCURRENT"]}},
]


@pytest.mark.parametrize("changed", FORGED)
@pytest.mark.parametrize("over_queue", [False, True])
def test_forged_event_is_one_look_at_most(
    stack: LambdaStack, monkeypatch: pytest.MonkeyPatch, lines: Lines, changed: dict[str, Any], over_queue: bool
) -> None:
    """Threat: an event with forged details, by anyone who may invoke the function. It is one DescribeSecret at most."""
    take = queue(stack, monkeypatch) if over_queue else list
    stack.secret(SMS, left=5 * DAY)
    before = stack.state()
    assert sweep({**moved(stack), **changed}, Context()) == IGNORED
    assert (take(), stack.state(), stack.infobip.calls) == ([], before, [])
    assert not [line for line in lines() if line["level"] in ("warning", "error") or "seq" in line]


@pytest.mark.parametrize("version", [None, 7, "", [], {}, HUGE, VERSION])
@pytest.mark.parametrize("label", ["AWSCURRENT", "AWSPENDING", "rotator:key:1", None, [], HUGE])
def test_true_arn_with_forged_detail(stack: LambdaStack, calls: Calls, version: Any, label: Any) -> None:
    """Threat: a pasted secret's ARN with another version or label. It is described, and its value is not read."""
    stack.secret(SMS, adopted=False)
    calls()
    assert sweep(event(stack.arn(SMS), version, label), Context()) == IGNORED
    assert set(calls()) <= {"DescribeSecret"}
    assert stack.infobip.calls == []


def test_forged_secret_in_message_is_refused(stack: LambdaStack) -> None:
    """Threat: a message that names a secret as no event does. It fails by itself, unread, like any unreadable one."""
    stack.secret(SMS, adopted=False)
    for secret in (None, 7, "", SMS, HUGE, [stack.arn(SMS)]):
        failed = {"batchItemFailures": [{"itemIdentifier": "1"}]}
        assert worker(message(stack, secret=secret), Context()) == failed
    assert stack.infobip.calls == []


def test_missing_permission_is_said_once(stack: LambdaStack, monkeypatch: pytest.MonkeyPatch, lines: Lines) -> None:
    stack.secret(SMS)
    came = paste(stack, stack.key())
    with serving(aws_error("AccessDeniedException")) as denying:
        monkeypatch.setenv("AWS_ENDPOINT_URL", denying.url)
        runtime.forget()
        assert [sweep(came, Context()) for _ in range(3)] == [IGNORED] * 3
    assert denying.operations == ["DescribeSecret"] * 3
    (line,) = [line for line in lines() if line["level"] == "warning"]
    assert "secretsmanager:DescribeSecret" in line["event"]
