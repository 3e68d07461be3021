"""``rotator rehearse`` over the simulated services: as they are, and with each assumption broken in turn."""

from __future__ import annotations

import io
import json
import math
import os
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from rotator.bootstrap import make_rehearsal, prepare
from rotator.engine.rehearsal import rehearsing
from rotator.engine.rehearsal.assumptions import ASSUMPTIONS, DEFAULT_PARTS, Part
from rotator.errors import SecretNotFound
from rotator.key_format import is_deployment
from rotator.patience import Patience, SlowCalls
from rotator.ports import REHEARSAL_PREFIX
from rotator.sandbox.exchange import Drop, Request, Response
from rotator.sandbox.state import SimKey
from rotator.secret import Secret
from tests.cli.children import start
from tests.cli.denying_proxy import DenyingProxy, serve_proxy
from tests.cli.local_stack import Stack
from tests.post_server import JSON
from tests.support.commands import Ran
from tests.support.faulty_infobip import Fault, FaultKind, put_faults

SCOPES = ("--scopes", "sms:message:send")
COMMAND = ("rehearse", "--account", "main", *SCOPES, "--yes", "--json")
KEYS = "/settings/2/api-keys"
Body = dict[str, Any]


@dataclass
class LosingProxy(DenyingProxy):
    """Carries out each CreateSecret, and answers like a server that broke."""

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes, str]:
        found = super().answer(path, headers, body)
        if headers.get("X-Amz-Target", "").endswith(".CreateSecret"):
            return 500, b'{"__type": "InternalServiceError"}', JSON
        return found


def rehearsed(stack: Stack, *more: str) -> Ran:
    """One rehearsal; whatever it found, it leaves nothing, and a key of somebody else as it was."""
    other = stack.infobip.add_key(account_of(stack), "by hand")
    ran = stack.run(*COMMAND, *more)
    assert nothing_left(stack)
    assert stack.infobip.key(other.id) == other
    return ran


def account_of(stack: Stack) -> str:
    return next(iter(stack.infobip.state.accounts))


def made_keys(stack: Stack) -> list[SimKey]:
    return [key for key in stack.infobip.keys() if key.name.startswith(REHEARSAL_PREFIX)]


def nothing_left(stack: Stack) -> bool:
    names = [secret["Name"] for secret in stack.client.list_secrets()["SecretList"]]
    return not any(name.startswith(REHEARSAL_PREFIX) for name in names) and not any(
        key.enabled for key in made_keys(stack)
    )


def fault(stack: Stack, one: Fault) -> Fault:
    return put_faults(stack.infobip).add(one)


def verdicts(ran: Ran) -> dict[str, str]:
    return {row["id"]: row["verdict"] for row in ran.document["rows"]}


def rewrite(stack: Stack, method: str, change: Callable[[Request, Body], None]) -> None:
    """Change the body of each successful response about keys to such a request."""

    def network(request: Request, answer: Callable[[Request], Response]) -> Response | Drop:
        given = answer(request)
        if request.method != method or KEYS not in request.path or given.status >= 400:
            return given
        body = given.json()
        change(request, body)
        return replace(given, body=json.dumps(body).encode())

    stack.infobip.network = network


def each_key(change: Callable[[Body], None]) -> Callable[[Request, Body], None]:
    """Change each key of a response, be it one key or a page of them."""

    def change_all(_: Request, body: Body) -> None:
        for key in body.get("apiKeys", [body]):
            change(key)

    return change_all


# ---- broken assumptions ---------------------------------------------------------------------------------------------


def value_masked(stack: Stack) -> None:
    stack.infobip.options.reveal = False


def create_masked(stack: Stack) -> None:
    fault(stack, Fault(FaultKind.MASK, method="POST", path=KEYS, count=None))
    stack.infobip.options.reveal = False


def value_filter_ignored(stack: Stack) -> None:
    fault(stack, Fault(FaultKind.IGNORE_FILTER, param="apiKeySecret", count=None))
    stack.infobip.options.reveal = False


def name_filter_ignored(stack: Stack) -> None:
    fault(stack, Fault(FaultKind.IGNORE_FILTER, param="name", count=None))


def names_by_substring(stack: Stack) -> None:
    stack.infobip.options.name_contains = True


def enabled_filter_ignored(stack: Stack) -> None:
    fault(stack, Fault(FaultKind.IGNORE_FILTER, param="enabled", count=None))


def names_unique(stack: Stack) -> None:
    def taken(request: Request) -> bool:
        return json.loads(request.body)["name"] in {key.name for key in stack.infobip.keys()}

    fault(stack, Fault(FaultKind.STATUS_BEFORE, method="POST", path=KEYS, when=taken, status=400, count=None))


def after_update(stack: Stack, **changes: Any) -> None:
    def change(request: Request, answer: Response | None) -> None:
        if answer is not None and answer.status < 300:
            stack.infobip.change_key(request.path.rpartition("/")[2], **changes)

    fault(stack, Fault(FaultKind.HOOK_AFTER, method="PUT", path=KEYS, hook=change, count=None))


def update_resets(stack: Stack) -> None:
    after_update(stack, scopes=frozenset())


def update_moves(stack: Stack) -> None:
    after_update(stack, account_id=stack.infobip.add_account("other").id)


def slow_to_apply(stack: Stack) -> None:
    stack.infobip.options.propagation = timedelta(seconds=40)


def too_slow_to_apply(stack: Stack) -> None:
    stack.infobip.options.propagation = timedelta(seconds=90)


def times_in_another_zone(stack: Stack) -> None:
    def shift(key: Body) -> None:
        key["validTo"] = f"{datetime.fromisoformat(key['validTo']) + timedelta(hours=2):%Y-%m-%dT%H:%M:%S}"

    rewrite(stack, "GET", each_key(shift))


def other_scopes(stack: Stack) -> None:
    rewrite(stack, "GET", each_key(lambda key: key.update(scopeGuids=["everything"])))


def total_wrong(stack: Stack) -> None:
    def miscount(_: Request, body: Body) -> None:
        if "paging" in body:
            body["paging"]["totalCount"] += 1

    rewrite(stack, "GET", miscount)


def may_not_create(stack: Stack) -> None:
    fault(stack, Fault(FaultKind.STATUS_BEFORE, method="POST", path=KEYS, status=403, count=None))


def second_disable_refused(stack: Stack) -> None:
    def disabled(request: Request) -> bool:
        return not stack.infobip.key(request.path.rpartition("/")[2]).enabled

    fault(stack, Fault(FaultKind.STATUS_BEFORE, method="PUT", path=KEYS, when=disabled, status=400, count=None))


def clock_off(stack: Stack) -> None:
    fault(stack, Fault(FaultKind.DATE, seconds=900, count=None))


BROKEN: dict[Callable[[Stack], None], tuple[int, set[str]]] = {
    value_masked: (0, {"read-value"}),
    create_masked: (1, {"create-value", "read-value"}),
    value_filter_ignored: (1, {"value-filter"}),
    name_filter_ignored: (0, {"name-filter"}),
    names_by_substring: (0, {"name-filter"}),
    enabled_filter_ignored: (0, {"enabled-filter"}),
    names_unique: (0, {"names"}),
    update_resets: (1, {"update-keeps"}),
    update_moves: (1, {"update-keeps"}),
    slow_to_apply: (0, {"probe-at-once", "disabled-at-once"}),
    too_slow_to_apply: (1, {"probe"}),
    times_in_another_zone: (1, {"times"}),
    other_scopes: (1, {"rights"}),
    total_wrong: (1, {"total-count"}),
    may_not_create: (1, {"role"}),
    second_disable_refused: (1, {"disable-twice"}),
    clock_off: (1, {"clock"}),
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_broken_assumption_recognised(stack: Stack, broken: Callable[[Stack], None]) -> None:
    stack.account("main")
    broken(stack)
    ran = rehearsed(stack)
    code, differing = BROKEN[broken]
    found = {name for name, verdict in verdicts(ran).items() if verdict == "differs"}
    assert differing <= found
    assert ran.code == code
    if code == 0:
        assert found == differing


def test_everything_holds(stack: Stack) -> None:
    account = stack.account("main")
    ran = rehearsed(stack)
    assert ran.code == 0
    assert set(verdicts(ran)) == {each.id for each in ASSUMPTIONS.values() if each.part in DEFAULT_PARTS}
    assert {name for name, verdict in verdicts(ran).items() if verdict != "holds"} == {"retry-after"}  # no 429 came
    cost = ran.document["cost"]
    assert ran.document["creates"] == stack.infobip.creates_used(account) == cost["creates"]
    assert stack.infobip.updates_used(account) <= cost["updates"]
    assert {key.scopes for key in made_keys(stack)} == {frozenset({"sms:message:send"})}


@pytest.mark.parametrize(("header", "verdict"), [("1", "holds"), (None, "differs")])
@pytest.mark.parametrize(("method", "nth"), [("GET", 4), ("POST", 1)])
def test_429_says_how_long_to_wait(stack: Stack, method: str, nth: int, header: str | None, verdict: str) -> None:
    """Be it retried, or the end of the part."""
    stack.account("main")
    fault(stack, Fault(FaultKind.THROTTLE, method=method, path=f"^{KEYS}$", nth=nth, retry_after=header))
    assert verdicts(rehearsed(stack, "--only", "infobip"))["retry-after"] == verdict


@pytest.mark.parametrize("broken", [name_filter_ignored, slow_to_apply], ids=lambda broken: broken.__name__)
def test_text_says_what_it_means(stack: Stack, broken: Callable[[Stack], None]) -> None:
    stack.account("main")
    broken(stack)
    text = stack.run(*COMMAND[:-1]).out
    for assumption in BROKEN[broken][1]:
        assert ASSUMPTIONS[assumption].means.split()[0] in text
    informative = [each for each in BROKEN[broken][1] if not ASSUMPTIONS[each].needed]
    assert f"differences: {len(informative)}." in text


def test_plan_changes_nothing(stack: Stack) -> None:
    stack.account("main")
    before = stack.state()
    ran = stack.run("rehearse", "--account", "main", *SCOPES, "--json")
    assert (ran.code, ran.document["dry_run"]) == (2, True)
    assert stack.state() == before


@pytest.mark.parametrize("used", [26, 27])
def test_refused_if_day_is_used(stack: Stack, used: int) -> None:
    account = stack.account("main")
    for number in range(used):
        stack.infobip.add_key(account, f"key {number}")
    ran = stack.run(*COMMAND)
    assert ran.code == (0 if used == 26 else 1)  # 40 a day, 8 in reserve, 6 needed
    assert len(made_keys(stack)) == (6 if used == 26 else 0)


def test_facts_name_nothing(stack: Stack, tmp_path: Path) -> None:
    stack.account("main")
    file = tmp_path / "facts.json"
    ran = rehearsed(stack, "-o", str(file))
    text = file.read_text()
    for word in ("main", ran.document["secret"], "127.0.0.1", *(key.id for key in stack.infobip.keys())):
        assert word not in text
    assert {row["id"] for row in json.loads(text)["rows"]} == set(verdicts(ran))


def test_facts_of_failure_name_nothing(stack: Stack, tmp_path: Path) -> None:
    stack.account("main")
    fault(stack, Fault(FaultKind.STATUS_BEFORE, method="POST", path=KEYS, nth=4, status=403, count=None))
    file = tmp_path / "facts.json"
    ran = rehearsed(stack, "-o", str(file))
    assert (verdicts(ran)["rotation"], verdicts(ran)["rollback"]) == ("differs", "could not be tested")
    assert not any(word in file.read_text() for word in (ran.document["secret"], "127.0.0.1"))


@pytest.mark.parametrize("part", DEFAULT_PARTS)
def test_one_part(stack: Stack, part: Part) -> None:
    stack.account("main")
    ran = rehearsed(stack, "--only", str(part))
    assert {row["part"] for row in ran.document["rows"]} == {part}
    assert ran.code == 0


@pytest.mark.parametrize("login", [Part.BASIC, Part.IBSSO, Part.OAUTH2])
def test_other_logins(stack: Stack, login: Part) -> None:
    stack.account("main")
    assert verdicts(rehearsed(stack, "--only", str(login))) == {str(login): "holds"}
    fault(stack, Fault(FaultKind.STATUS_BEFORE, path="/auth/1", status=401, count=None))
    expected = "holds" if login is Part.BASIC else "differs"
    assert verdicts(rehearsed(stack, "--only", str(login))) == {str(login): expected}


def test_role_missing(stack: Stack) -> None:
    stack.user(stack.account("main")).manages_keys = False
    ran = stack.run(*COMMAND)
    assert ran.code == 1
    assert not made_keys(stack)


@pytest.mark.parametrize(
    ("operation", "code", "differing"),
    [
        ("BatchGetSecretValue", 0, {"batch"}),
        ("PutSecretValue", 1, {"first-key", "permissions"}),
        ("UpdateSecretVersionStage", 1, {"first-key", "permissions"}),
        ("ListSecretVersionIds", 1, {"permissions"}),
    ],
)
def test_denied_permission(stack: Stack, operation: str, code: int, differing: set[str]) -> None:
    stack.account("main")
    with serve_proxy(DenyingProxy(stack.aws_url, {operation})) as proxy:
        ran = stack.run(*COMMAND, env={"AWS_ENDPOINT_URL": proxy.url})
    assert ran.code == code
    assert differing <= {name for name, verdict in verdicts(ran).items() if verdict == "differs"}
    assert nothing_left(stack)


def test_aws_alone_needs_no_scopes(stack: Stack) -> None:
    stack.account("main")
    ran = stack.run("rehearse", "--account", "main", "--only", "aws", "--yes", "--json")
    assert (ran.code, {row["verdict"] for row in ran.document["rows"] if row["needed"]}) == (0, {"holds"})
    assert nothing_left(stack)


def test_denied_create_leaves_nothing(stack: Stack) -> None:
    stack.account("main")
    with serve_proxy(DenyingProxy(stack.aws_url, {"CreateSecret"})) as proxy:
        ran = stack.run(*COMMAND, "--only", "aws", env={"AWS_ENDPOINT_URL": proxy.url})
    assert (ran.code, ran.document["left"]) == (1, [])
    assert "CreateSecret" in ran.document["error"]


def test_lost_create_is_deleted(stack: Stack) -> None:
    """It was carried out, and its response is lost."""
    stack.account("main")
    with serve_proxy(LosingProxy(stack.aws_url)) as proxy:
        ran = stack.run(*COMMAND, "--only", "aws", env={"AWS_ENDPOINT_URL": proxy.url})
    assert (ran.code, ran.document["left"]) == (1, [])
    assert nothing_left(stack)


def test_denied_delete_is_said(stack: Stack) -> None:
    stack.account("main")
    with serve_proxy(DenyingProxy(stack.aws_url, {"DeleteSecret"})) as proxy:
        ran = stack.run(*COMMAND, env={"AWS_ENDPOINT_URL": proxy.url})
    assert ran.code == 1
    assert ran.document["secret"] in ran.document["left"][0]
    assert stack.run("rehearse", "--clean", "--account", "main").code == 0
    assert nothing_left(stack)


def test_docs_have_every_row() -> None:
    """In its table; the command itself says what a difference means."""
    page = (Path(__file__).parents[2] / "docs" / "rehearsal.md").read_text()
    needed, _, informative = page.partition("## Informative")
    for each in ASSUMPTIONS.values():
        assert f"- `{each.id}`: {each.text}\n" in (needed if each.needed else informative)


# ---- killed, and beside others --------------------------------------------------------------------------------------


class Kill(BaseException):
    """The process was killed."""


class Killer(SlowCalls):
    """Kills the process before one of its calls to AWS or Infobip: from then on nothing more is sent.

    :param before: the number of that call, from 0.
    """

    def __init__(self, before: float) -> None:
        super().__init__(3600)
        self.before, self.calls = before, 0

    def begin(self, what: str) -> None:
        if self.calls >= self.before:
            raise Kill
        self.calls += 1
        super().begin(what)


def rehearse(stack: Stack, killer: Killer) -> None:
    with patch.dict(os.environ, stack.environment | {"ROTATOR_DAILY_LIMIT": "10000"}, clear=True):
        made = prepare(stream=io.StringIO(), patience=Patience(slow_calls=killer))
        app = made.start(trigger="manual", actor="test")
        try:
            rehearsal = make_rehearsal(app, "main")
            assert rehearsal.run(rehearsal.plan(SCOPES[1:])).ok
        finally:
            app.close()


def test_flow_sees_no_other_secret(stack: Stack) -> None:
    """Threat: a mistake in a rehearsal. Its engine reads and changes the rehearsal's own secret alone."""
    stack.secret("app/key", stack.account("main"))
    with patch.dict(os.environ, stack.environment, clear=True):
        app = prepare(stream=io.StringIO()).start(trigger="manual", actor="test")
        rehearsal = make_rehearsal(app, "main")
    own = f"{REHEARSAL_PREFIX}test"
    view = rehearsal.store.view(rehearsal.management, rehearsal.store.create(own, {}), own, {})
    assert {entry.name for entry in view.list_secrets()} == {own, rehearsal.management.name}
    view.stage(own, str(uuid.uuid4()), Secret("a value"), ("LABEL",))
    for call in (
        lambda: view.describe("app/key"),
        lambda: view.read_current("app/key"),
        lambda: view.stage(rehearsal.management.arn, str(uuid.uuid4()), Secret("a value"), ("LABEL",)),
    ):
        with pytest.raises(SecretNotFound):
            call()
    app.close()


def alike(stack: Stack) -> tuple[list[SimKey], list[Any]]:
    """Secrets and keys that are named or tagged nearly like those of this deployment's rehearsals of this account."""
    mine, tag = "default.rehearsal", "rotator:rehearsal"
    tagged = {tag: mine, "rotator:rehearsal-account": "main"}
    for name, tags in {
        "by-hand": {},
        "of-another-deployment": tagged | {tag: "blue.rehearsal"},
        "of-another-account": tagged | {"rotator:rehearsal-account": "other"},
    }.items():
        stack.client.create_secret(Name=REHEARSAL_PREFIX + name, Tags=[{"Key": k, "Value": v} for k, v in tags.items()])
    stack.client.create_secret(Name="rotator/rehearsal", Tags=[{"Key": k, "Value": v} for k, v in tagged.items()])
    last = f"{'0' * 10}:{uuid.uuid4()}"
    names = [
        f"{REHEARSAL_PREFIX}0123abcd",
        f"{REHEARSAL_PREFIX}0123abcd/rotator:default:{last}",
        f"{REHEARSAL_PREFIX}0123abcd/rotator:blue.rehearsal:{last}",
        f"rotator/rehearsals/0123abcd/rotator:{mine}:{last}",
        f"a copy of {REHEARSAL_PREFIX}0123abcd/rotator:{mine}:{last}",
    ]
    return [stack.infobip.add_key(account_of(stack), name) for name in names], secrets_of(stack)


def secrets_of(stack: Stack) -> list[Any]:
    listed = stack.client.list_secrets()["SecretList"]
    return sorted(listed, key=lambda secret: str(secret["Name"]))


def killed_before(stack: Stack, calls: Iterable[int]) -> None:
    """Kill a rehearsal before each of these calls. Sweeps leave what it left, and ``--clean`` removes that alone."""
    keys, secrets = alike(stack)
    for number in calls:
        with pytest.raises(Kill):
            rehearse(stack, Killer(number))
        before = stack.state()
        assert stack.run("run", "--json").document["results"] == []
        assert stack.state() == before
        assert stack.run("rehearse", "--clean", "--account", "main").code == 0
        assert secrets_of(stack) == secrets, number
        assert [key for key in stack.infobip.keys() if key.enabled] == keys, number


def all_calls(stack: Stack) -> int:
    stack.account("main")
    stack.infobip.options.daily_creates = stack.infobip.options.daily_updates = None
    rehearse(stack, whole := Killer(math.inf))
    return whole.calls


def test_killed_before_some_calls(stack: Stack) -> None:
    count = all_calls(stack)
    assert count > 100
    killed_before(stack, range(count % 13, count, 13))


@pytest.mark.chaos
def test_killed_before_each_call(stack: Stack) -> None:
    killed_before(stack, range(all_calls(stack)))


def test_others_are_untouched(stack: Stack) -> None:
    stack.account("main")
    keys, secrets = alike(stack)
    ran = stack.run(*COMMAND)
    assert (ran.code, [line for line in ran.audit if line["event"] == "alert.raised"]) == (0, []), (
        "the account's other keys are no subject of a rehearsal"
    )
    assert stack.run("rehearse", "--clean", "--account", "main").code == 0
    assert secrets_of(stack) == secrets
    assert [stack.infobip.key(key.id) for key in keys] == keys


def test_long_deployments_do_not_collide() -> None:
    names = ["a" * length for length in range(1, 33)] + ["a" * 31 + "b"]
    assert len({rehearsing(name) for name in names}) == len(names)
    assert all(is_deployment(rehearsing(name)) for name in names)


def killed_at(stack: Stack, nth: int) -> None:
    """A rehearsal whose process is killed right after its n-th create at Infobip."""
    child: list[subprocess.Popen[str]] = []

    def kill(_: Request, answer: Response | None) -> None:
        os.kill(child[0].pid, signal.SIGKILL)

    create = fault(stack, Fault(FaultKind.HOOK_AFTER, method="POST", path=KEYS, nth=nth, hook=kill))
    child.append(start(stack, *COMMAND))
    child[0].communicate(timeout=60)
    assert child[0].returncode == -signal.SIGKILL
    assert create.hits
    assert not nothing_left(stack)


def test_killed_then_cleaned(stack: Stack) -> None:
    stack.account("main")
    killed_at(stack, 2)
    assert stack.run("rehearse", "--account", "main", *SCOPES, "--json").document["leftovers"]["keys"]
    elsewhere = stack.run("rehearse", "--clean", "--account", "main", env={"ROTATOR_DEPLOYMENT": "blue"})
    assert elsewhere.code == 0
    assert not nothing_left(stack)
    assert stack.run("rehearse", "--clean", "--account", "main").code == 0
    assert nothing_left(stack)


def test_leftovers_of_others_stay(stack: Stack) -> None:
    """A rehearsal that is running names another one's secret and keys, and changes neither."""
    stack.account("main")
    killed_at(stack, 4)
    left = [key for key in made_keys(stack) if key.enabled]
    assert stack.run(*COMMAND).code == 0
    assert [stack.infobip.key(key.id) for key in left] == left


@pytest.mark.parametrize(
    "arguments",
    [
        ["--account", "main"],
        ["--account", "main", "--scopes", " "],
        ["--account", "main", "--clean", "--yes"],
        ["--account", "main", "--scopes", "a", "--only", "nothing"],
        ["--account", "main", "--scopes", "a", "-o", "/nowhere/facts.json"],
    ],
    ids=" ".join,
)
def test_bad_input(stack: Stack, arguments: list[str]) -> None:
    stack.account("main")
    before = stack.state()
    assert stack.run("rehearse", *arguments, "--yes" if "--clean" not in arguments else "--json").code == 2
    assert stack.state() == before


def test_unknown_account(stack: Stack) -> None:
    before = stack.state()
    assert stack.run("rehearse", "--account", "unknown", "--scopes", "a", "--yes").code == 1
    assert stack.state() == before
