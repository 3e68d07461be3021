"""``ROTATOR_STORES``: two regions and two AWS accounts as one fleet, over moto, with a real ``AssumeRole``."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any
from unittest.mock import patch

import pytest
from moto.cloudtrail.responses import CloudTrailResponse
from moto.iam.responses import IamResponse
from moto.secretsmanager.responses import SecretsManagerResponse
from moto.sts.responses import TokenResponse

from rotator.aws.stores import Member, Stores
from rotator.bootstrap import Foundation, prepare
from rotator.cli.doctor import WRITES
from rotator.engine.reconcile import Reconciler
from rotator.errors import SecretNotFound, StoreError
from rotator.metrics_server import PrometheusMetrics
from rotator.model import Location, SecretEntry, StoreId
from rotator.ports import Listing
from rotator.reasons import Reason
from rotator.sandbox.aws import AWS_ACCOUNT
from rotator.sandbox.clocks import VirtualClock
from rotator.secret import Secret
from rotator.telemetry.cloudwatch import EmbeddedMetrics
from rotator.telemetry.metrics import EXPIRATION
from tests.cli.denying_proxy import simulated
from tests.cli.seen_stack import SeenStack
from tests.doubles.memory_store import MemoryStore
from tests.support.elsewhere import Elsewhere, elsewhere
from tests.support.swept import Swept

MEMBER = "111122223333"
ROLE = f"arn:aws:iam::{MEMBER}:role/rotator"
REGIONS = ("eu-central-1", "us-east-1")
FAR = f"{ROLE}@eu-west-1"
STORES = " ".join((*REGIONS, FAR))
HOUR = timedelta(hours=1)
DENIED = "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>", {"status": 403}
READS = ["batch_get_secret_value", "get_secret_value"]


@dataclass(repr=False)
class Many:
    """Three stores: by ``home``, another region (``away``), and another AWS account (``far``)."""

    home: SeenStack
    away: Elsewhere
    far: Elsewhere

    def run(self, *arguments: str, stores: str = STORES, **other: str) -> Swept:
        environment = {"ROTATOR_STORES": stores, "AWS_ENDPOINT_URL": self.home.aws_url, **other}
        return Swept(**vars(self.home.run(*arguments, env=environment)))

    def prepared(self, monkeypatch: pytest.MonkeyPatch) -> Foundation:
        """The program in this process, as a daemon or a function keeps it."""
        environment = self.home.environment | {"ROTATOR_STORES": STORES, "AWS_ENDPOINT_URL": self.home.aws_url}
        for name, text in environment.items():
            monkeypatch.setenv(name, text)
        return prepare(stream=io.StringIO())

    @contextmanager
    def refusing(self, *operations: str) -> Iterator[None]:
        """Operations that the member AWS account's Secrets Manager denies."""
        with ExitStack() as stack:
            for operation in operations:
                original = getattr(SecretsManagerResponse, operation)

                def denied(response: Any, original: Any = original) -> Any:
                    if response.current_account == MEMBER:
                        return '{"__type": "AccessDeniedException"}', {"status": 400}
                    return original(response)

                stack.enter_context(patch.object(SecretsManagerResponse, operation, denied))
            yield


@pytest.fixture
def many(stack: SeenStack) -> Many:
    stack.account()
    return Many(stack, elsewhere(stack, REGIONS[1]), elsewhere(stack, "eu-west-1", ROLE))


def test_secrets_of_all_stores_rotate(many: Many) -> None:
    worlds: dict[str, SeenStack | Elsewhere] = {"home": many.home, "away": many.away, "far": many.far}
    old = {name: world.secret(f"prod/{name}", left=10 * 24 * HOUR) for name, world in worlds.items()}
    ran = many.run("run", "--json")
    assert (ran.code, {each["secret"] for each in ran.results("rotate")}) == (0, {f"prod/{name}" for name in worlds})
    for name, world in worlds.items():
        assert world.current_key(f"prod/{name}").id != old[name].id
    assert many.far.arn("prod/far").split(":")[3:5] == ["eu-west-1", MEMBER]


PLACES = [(AWS_ACCOUNT, REGIONS[0]), (AWS_ACCOUNT, REGIONS[1]), (MEMBER, "eu-west-1")]
"""AWS account and region of the three stores, in their order."""


def _namesakes(many: Many, *, held: bool = False) -> list[Any]:
    worlds = (many.home, many.away, many.far)
    keys = [world.secret("prod/both", left=10 * 24 * HOUR) for world in worlds]
    if held:
        for world in worlds:
            world.tag("prod/both", hold="vacation")
    return keys


def _places(rows: Any) -> list[tuple[str, str]]:
    return sorted((each["aws_account"], each["region"]) for each in rows if each["secret"])


@pytest.mark.parametrize(
    ("command", "rows"),
    [
        ("plan", "actions"),
        ("plan", "alerts"),
        ("run --dry-run", "actions"),
        ("plan", "skipped"),
        ("forecast", "at_risk"),
    ],
)
def test_plan_shows_locations(many: Many, command: str, rows: str) -> None:
    _namesakes(many, held=rows in ("skipped", "at_risk"))
    (account,) = many.run(*command.split(), "--json").document["accounts"]
    assert _places(account[rows]) == sorted(PLACES)
    assert _shown(many.run(*command.split()).out) >= {*chain(*PLACES)}


def test_status_shows_locations(many: Many) -> None:
    _namesakes(many)
    many.away.tag("prod/both", hold="vacation")
    secrets = many.run("status", "--json").document["secrets"]
    assert _places(secrets) == sorted(PLACES)
    assert _places(each for each in secrets if each["hold"]) == PLACES[1:2]
    assert _places(each for each in secrets if not each["overdue"]) == PLACES[1:2]
    assert _shown(many.run("status").out) == {*chain(*PLACES)}
    arn = many.far.arn("prod/both")
    assert _places(many.run("status", "--secret", arn, "--json").document["secrets"]) == PLACES[2:]


def _shown(text: str) -> set[str]:
    """The AWS account ids and regions in a text."""
    return set(re.findall(r"\b\d{12}\b|\b[a-z]{2}-[a-z]+-\d\b", text))


def test_report_shows_locations(many: Many) -> None:
    _namesakes(many, held=True)
    page = many.run("report", "-o", "-").out
    rows = re.findall(r"<b>prod/both \((\d+) ([a-z0-9-]+)\)</b>", page)
    assert sorted(rows) == sorted(PLACES)


def test_audit_lines_have_locations(many: Many) -> None:
    old = _namesakes(many)
    many.far.secret("prod/wrong", grace="soon")
    ran = many.run("run", "--json")
    many.home.clock.advance(96 * HOUR)
    lines = [*ran.audit, *many.run("run", "--json").audit]
    lines += many.run("revoke", "--secret", many.far.arn("prod/both"), "--reason", "leak", "--yes", "--json").audit
    assert {each["event"] for each in lines} >= {
        "key.created",
        "secret.promoted",
        "key.revoked",
        "emergency.requested",
        "alert.raised",
    }
    assert {*_places(lines)} == {*PLACES}
    revoked = {
        (each["key_id"], each["aws_account"], each["region"]) for each in lines if each["event"] == "key.revoked"
    }
    assert revoked >= {(key.id, *place) for key, place in zip(old, PLACES, strict=True)}


@pytest.mark.parametrize("stores", ["", REGIONS[0]])
def test_one_store_shows_no_location(many: Many, stores: str) -> None:
    many.home.secret("prod/home", left=10 * 24 * HOUR)
    for command in ("plan", "status", "run"):
        ran = many.run(command, "--json", stores=stores)
        assert "prod/home" in ran.out
        assert "aws_account" not in ran.out + ran.err


def test_metrics_tell_namesakes_apart(many: Many, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rotation of one of them changes only its own expiry."""
    _namesakes(many)
    for world in (many.away, many.far):
        world.tag("prod/both", hold="vacation")
    prometheus, lines = PrometheusMetrics("blue"), io.StringIO()
    made = many.prepared(monkeypatch)
    for made.metrics in (prometheus, EmbeddedMetrics("Keys", "blue", str, lines)):
        app = made.start(trigger="manual", actor="test")
        Reconciler(app.services).sweep()
        app.close()
    samples = next(family for family in prometheus.collect() if family.name == EXPIRATION.name).samples
    soon = (many.home.clock.now() + timedelta(days=30)).timestamp()
    assert _places(each.labels for each in samples) == sorted(PLACES)
    assert _places(each.labels for each in samples if each.value < soon) == sorted(PLACES[1:])
    embedded = [line for line in map(json.loads, lines.getvalue().splitlines()) if "secret" in line]
    assert _places(embedded) == sorted(PLACES[1:])


def test_unset_sees_one_store(many: Many) -> None:
    many.far.secret("prod/far")
    many.home.secret("prod/home")
    ran = many.home.run("status", "--json")
    assert [each["secret"] for each in ran.document["secrets"]] == ["prod/home"]


def _superseded(many: Many) -> Any:
    """A key that is proven by value only and past its grace period."""
    old = many.home.secret("prod/home")
    assert many.run("rotate", "prod/home", "--reason", "test").code == 0
    many.home.clock.advance(96 * HOUR)
    return old


@pytest.mark.parametrize("lost", [False, True])
def test_unlisted_store_is_not_empty(many: Many, lost: bool) -> None:
    """Threat: a secret in a store that can't be listed uses the key. It is not revoked until the store answers."""
    old = _superseded(many)
    if lost:
        with many.refusing("list_secrets"):
            ran = many.run("run", "--json")
        assert ran.alerts("store-unreachable")[0]["severity"] == "error"
    else:
        ran = many.run("run", "--json")
        assert ran.alerts("store-unreachable") == []
    assert (ran.code, many.home.works(old)) == (int(lost), lost)


@pytest.mark.parametrize("operations", [["list_secrets"], READS])
def test_failing_store_stops_no_other(many: Many, operations: list[str]) -> None:
    old = many.home.secret("prod/home", left=10 * 24 * HOUR)
    many.far.secret("prod/far")
    with many.refusing(*operations):
        many.run("run", "--json")
    assert many.home.current_key("prod/home").id != old.id


@pytest.mark.parametrize(("lost", "kinds"), [([], []), (["list_secrets"], []), (READS, ["unreadable"])])
def test_orphans_wait_for_lost_store(many: Many, lost: list[str], kinds: list[str]) -> None:
    """Threat: a store that dies, listed or not, and a secret there with a copied orphan. The orphan is not revoked."""
    many.home.secret("prod/home")
    orphan = many.home.key(many.home.key_name("prod/home", many.home.new_id()), age=HOUR)
    if lost:
        many.far.create("prod/copy")
        many.far.put("prod/copy", {"api_key": orphan.value}, ["AWSCURRENT"])
    with many.refusing(*lost):
        ran = many.run("run", "--json")
    assert many.home.works(orphan) is bool(lost)
    assert [each["kind"] for each in ran.alerts() if each["key_id"] == orphan.id] == kinds


def test_copy_in_other_account_protects_key(many: Many) -> None:
    """Threat: a key copied into another AWS account. It stays enabled as long as the copy is current there."""
    old = _superseded(many)
    many.far.create("prod/copy")
    many.far.put("prod/copy", {"api_key": old.value}, ["AWSCURRENT"])
    ran = many.run("run", "--json")
    assert many.home.works(old)
    assert {each["kind"] for each in ran.alerts()} >= {"shared-key"}


def test_namesakes_with_one_key_are_located(many: Many) -> None:
    key = many.home.secret("prod/both")
    many.away.secret("prod/both")
    many.away.put("prod/both", {"api_key": key.value}, ["AWSCURRENT"])
    alerts = many.run("run", "--json").alerts("shared-key")
    others = {REGIONS[0]: REGIONS[1], REGIONS[1]: REGIONS[0]}
    assert len(alerts) == 2
    assert all(others[each["region"]] in each["detail"] for each in alerts)
    asked = ("revoke", "--key-id", key.id, "--account", "main", "--reason", "leak")
    assert all(many.run(*asked).out.count(region) >= 2 for region in REGIONS)
    document = many.run(*asked, "--yes", "--json").document
    assert {each["region"] for each in document["replacements"]} == set(REGIONS)


def test_management_elsewhere_is_ignored(many: Many) -> None:
    """Threat: a member account redirects an Infobip account, or stops it by a second management secret. That
    secret is ignored, with an alert."""
    many.far.management(
        many.home.user(next(iter(many.home.infobip.state.accounts.values()))), base_url="http://127.0.0.1:9"
    )
    many.home.secret("prod/home")
    ran = many.run("plan", "--json")
    assert [each["severity"] for each in ran.alerts("management-misplaced")] == ["error"]
    assert ran.alerts("duplicate-management") == []


def test_foreign_arn_is_ignored(many: Many) -> None:
    """Threat: a member account lists a secret of the home account, to have its labels changed. The entry is ignored."""
    many.home.secret("prod/home")
    lie = replace_account(many)
    with patch.object(SecretsManagerResponse, "list_secrets", lie):
        ran = many.run("plan", "--json")
    assert [each["secret"] for each in ran.alerts("store-mismatch")] == ["prod/far"]


class Liar(MemoryStore):
    """A member AWS account whose answers are all about a secret of the home account.

    :param lie: the secret as a replica of a primary secret that is listed, too, so that it would not count.
    """

    lie: SecretEntry

    def list_secrets(self, role: str = "") -> Listing:
        primary = replace(self.lie, arn=self.lie.arn.replace(REGIONS[0], "eu-west-1"), primary_region=None)
        return Listing((self.lie, primary, *super().list_secrets(role)))

    def describe(self, secret_id: str) -> SecretEntry:
        return self.lie

    def read_many(self, secret_ids: Sequence[str]) -> Mapping[str, Secret | StoreError]:
        return {**super().read_many(secret_ids), self.lie.arn: Secret("another value")}


def test_lying_store_changes_no_other() -> None:
    """Threat: a member account hides a secret of the home account, or says that it contains another value. Its
    answers about it are ignored: store-mismatch.
    """
    clock, tags = VirtualClock(), {"rotator:role": "key", "rotator:account": "main"}
    home, liar = MemoryStore(clock), Liar(clock, account=MEMBER, region="eu-west-1")
    arn, far = (store.create_secret(f"prod/{n}", tags, f"value {n}") for n, store in enumerate((home, liar)))
    liar.lie = replace(home.peek(arn), primary_region="eu-west-1")
    stores = Stores([Member(StoreId(REGIONS[0]), lambda: home), Member(StoreId("eu-west-1", ROLE), lambda: liar)])
    listing = stores.list_secrets()
    assert [entry.arn for entry in listing] == [arn, far]
    assert [alert.kind for alert in listing.alerts] == [Reason.STORE_MISMATCH] * 2
    assert stores.describe(arn) == replace(home.peek(arn), location=Location.of(arn))
    with pytest.raises(SecretNotFound):
        stores.describe(far)
    assert stores.read_many([arn, far]) == {arn: Secret("value 0"), far: Secret("value 1")}


def test_role_in_own_account_is_store(many: Many) -> None:
    """Its AWS account is the home store's: secrets of each are routed by their region."""
    for world in (many.home, many.away):
        world.secret("prod/both", left=10 * 24 * HOUR)
    ran = many.run("run", "--json", stores=f"{REGIONS[0]} {ROLE.replace(MEMBER, AWS_ACCOUNT)}@{REGIONS[1]}")
    assert (ran.code, len(ran.results("rotate")), ran.alerts()) == (0, 2, [])


def test_replica_does_not_count(many: Many) -> None:
    """It has the primary secret's name, tags and labels."""
    many.home.secret("prod/home", left=10 * 24 * HOUR)
    many.home.client.replicate_secret_to_regions(SecretId="prod/home", AddReplicaRegions=[{"Region": REGIONS[1]}])
    assert "rotator:role" in str(many.away.client.describe_secret(SecretId="prod/home")["Tags"])
    ran = many.run("run", "--json")
    assert (ran.code, len(ran.results("rotate")), ran.alerts()) == (0, 1, [])
    assert [each for account in ran.document["accounts"] for each in account["skipped"]] == []
    assert many.run("rotate", "prod/home", "--reason", "test").code == 0


def replace_account(many: Many) -> Any:
    """A listing in which the member account's secrets have ARNs of the home account."""
    many.far.secret("prod/far")
    original = SecretsManagerResponse.list_secrets

    def lying(response: Any) -> Any:
        return original(response).replace(f":{MEMBER}:", f":{AWS_ACCOUNT}:")

    return lying


def test_name_in_two_stores_is_refused(many: Many) -> None:
    for world in (many.home, many.far):
        world.secret("prod/both")
    ran = many.run("rotate", "prod/both", "--reason", "two words", "--json")
    advice = ran.document["error"]["advice"]
    for world in (many.home, many.far):
        command = f"rotate {world.arn('prod/both')} --reason 'two words'"
        assert command in advice
    assert ran.code == 2
    arn = many.far.arn("prod/both")
    assert many.run("rotate", arn, "--reason", "test", "--json").code == 0
    assert len(many.far.labels(arn)) == 2
    assert len(many.home.labels("prod/both")) == 1


@pytest.mark.parametrize(("operations", "named"), [(["list_secrets"], FAR), (READS, "prod/far")])
def test_emergency_goes_on_without_store(many: Many, operations: list[str], named: str) -> None:
    old = many.home.secret("prod/home")
    many.far.secret("prod/far")
    with many.refusing(*operations):
        ran = many.run("revoke", "--key-id", old.id, "--account", "main", "--reason", "leak", "--yes", "--json")
    assert not many.home.works(old)
    assert any(named in note for note in ran.document["notes"])


def test_refused_role_is_store_unreachable(many: Many) -> None:
    many.home.secret("prod/home")
    ran = many.run("run", "--json", AWS_ENDPOINT_URL_STS="http://127.0.0.1:9")
    assert (ran.code, len(ran.alerts("store-unreachable"))) == (1, 1)


def test_role_is_asked_with_external_id(many: Many) -> None:
    """Threat: a role that any deployment may assume. The trust policy can demand this one's external id."""
    asked, original = [], TokenResponse.assume_role

    def assume(response: Any) -> Any:
        asked.append(response._get_param("ExternalId"))
        return original(response)

    many.far.secret("prod/far")
    environment = {"ROTATOR_STORES": STORES, "AWS_ENDPOINT_URL": many.home.aws_url}
    with patch.object(TokenResponse, "assume_role", assume):
        for external in ({}, {"ROTATOR_EXTERNAL_ID": "a-shared-word"}):
            ran = many.home.run("status", "--json", env=environment | external)
            assert [each["secret"] for each in ran.document["secrets"]] == ["prod/far"]
    assert asked == [None, "a-shared-word"]


def test_denied_role_is_store_unreachable(many: Many) -> None:
    many.home.secret("prod/home", left=10 * 24 * HOUR)
    with patch.object(TokenResponse, "assume_role", lambda response: DENIED):
        ran = many.run("run", "--json")
    assert (ran.code, [each["secret"] for each in ran.results("rotate")]) == (1, ["prod/home"])
    (alert,) = ran.alerts("store-unreachable")
    assert all(part in alert["detail"] for part in (FAR, "AccessDenied", "ROTATOR_EXTERNAL_ID"))


def test_readers_are_those_of_own_store(many: Many) -> None:
    """CloudTrail is asked in the store's AWS account and region, with its role."""
    asked: list[tuple[str, str]] = []
    for world in (many.home, many.away, many.far):
        world.secret("prod/both")

    def lookup(response: Any) -> str:
        asked.append((response.current_account, response.region))
        return '{"Events": []}'

    with patch.object(CloudTrailResponse, "lookup_events", lookup):
        for world in (many.home, many.away, many.far):
            many.run("consumers", world.arn("prod/both"))
    places = [(AWS_ACCOUNT, REGIONS[0]), (AWS_ACCOUNT, REGIONS[1]), (MEMBER, "eu-west-1")]
    assert list(dict.fromkeys(asked)) == places


def test_arn_means_one_of_two_namesakes(many: Many) -> None:
    old = [world.secret("prod/both", left=10 * 24 * HOUR) for world in (many.home, many.away)]
    arn = many.away.arn("prod/both")
    assert many.run("run", "--secret", arn, "--json").code == 0
    assert many.home.current_key("prod/both").id == old[0].id
    assert len(many.away.labels(arn)) == 2


@pytest.mark.parametrize("lost", [False, True])
def test_unknown_key_waits_for_unlisted(many: Many, lost: bool) -> None:
    many.home.secret("prod/home")
    key = many.home.key("unknown", left=24 * HOUR)
    with many.refusing(*(["list_secrets"] if lost else [])):
        ran = many.run("plan", "--json")
    assert [each["key_id"] for each in ran.alerts("unknown-key-expiring")] == ([] if lost else [key.id])


def _doctor(many: Many, decision: str = "allowed", **environment: str) -> list[dict[str, Any]]:
    """What doctor finds wrong; IAM's policy simulator decides so for the member account, and allows the rest."""

    def simulate(response: Any) -> str:
        of_member = response.current_account == MEMBER
        return simulated(dict.fromkeys(WRITES, decision if of_member else "allowed"))

    env = {"ROTATOR_STORES": STORES, "AWS_ENDPOINT_URL": many.home.aws_url}
    with patch.object(IamResponse, "simulate_principal_policy", simulate, create=True):
        ran = many.home.run("doctor", "--json", env=env | environment)
    assert ran.code == (1 if ran.document["failed"] else 0)
    return [each for each in ran.document["checks"] if each["level"] != "ok"]


@pytest.mark.parametrize(
    ("denied", "named"),
    [("list_secrets", FAR), ("get_secret_value", "GetSecretValue"), ("list_secret_version_ids", "VersionIds")],
)
def test_doctor_finds_denied_read_of_member(many: Many, denied: str, named: str) -> None:
    for world in (many.home, many.away, many.far):
        world.secret("prod/own")
    with many.refusing(denied):
        failed = next(each for each in _doctor(many) if each["level"] == "fail")
    assert all(part in failed["detail"] for part in (named, MEMBER, "eu-west-1"))


def test_doctor_simulates_writes_of_member(many: Many) -> None:
    for world in (many.home, many.away, many.far):
        world.secret("prod/own")
    failed = [each["detail"] for each in _doctor(many, "implicitDeny") if each["level"] == "fail"]
    assert len(failed) == len(WRITES)
    assert all(any(action in each and MEMBER in each for each in failed) for action in WRITES)


@pytest.mark.parametrize(
    ("trusted", "levels"), [(["ours", None], ["warn"]), (["ours"], []), (["another"], ["fail"])], ids=str
)
def test_doctor_checks_external_id(many: Many, trusted: list[str | None], levels: list[str]) -> None:
    """Threat: a role that its trust policy lends without an external id, to any deployment of the rotator's account.
    rotator doctor reports it.
    """
    original = TokenResponse.assume_role

    def assume(response: Any) -> Any:
        return original(response) if response._get_param("ExternalId") in trusted else DENIED

    many.far.secret("prod/far")
    with patch.object(TokenResponse, "assume_role", assume):
        found = _doctor(many, ROTATOR_EXTERNAL_ID="ours")
    assert [each["level"] for each in found if each["subject"] == "Store"] == levels


@pytest.mark.parametrize(("minutes", "assumed"), [(5, 2), (60, 1)])
def test_credentials_of_role_are_renewed(
    many: Many, monkeypatch: pytest.MonkeyPatch, minutes: int, assumed: int
) -> None:
    """Those that are about to expire, before the next call; others are kept."""
    issued, used, original, listing = [], [], TokenResponse.assume_role, SecretsManagerResponse.list_secrets

    def assume(response: Any) -> Any:
        result: Any = original(response)
        role = result.result["Credentials"]
        role.expiration = datetime.now(UTC) + timedelta(minutes=minutes)
        issued.append(role.access_key_id)
        return result

    def list_secrets(response: Any) -> Any:
        if response.current_account == MEMBER:
            used.append(response.access_key)
        return listing(response)

    store = many.prepared(monkeypatch).store
    assert isinstance(store, Stores)
    with (
        patch.object(TokenResponse, "assume_role", assume),
        patch.object(SecretsManagerResponse, "list_secrets", list_secrets),
    ):
        assert not [alert for _ in range(2) for alert in store.list_secrets().alerts]
    assert len(issued) == assumed
    assert used == [issued[0], issued[-1]]


def test_rehearsal_is_in_first_store(many: Many) -> None:
    made, original = [], SecretsManagerResponse.create_secret

    def create(response: Any) -> Any:
        made.append(response.region)
        return original(response)

    environment = {"ROTATOR_STORES": STORES, "AWS_ENDPOINT_URL": many.home.aws_url, "AWS_REGION": REGIONS[1]}
    command = ("rehearse", "--account", "main", "--only", "aws", "--yes", "--json")
    with patch.object(SecretsManagerResponse, "create_secret", create):
        assert many.home.run(*command, env=environment).code == 0
    assert made == [REGIONS[0]]


@pytest.mark.parametrize("lost", [False, True])
def test_leaked_value_in_unlisted_store(many: Many, lost: bool) -> None:
    many.far.secret("prod/far")
    command = ("revoke", "--leaked-key-stdin", "--reason", "leak", "--yes", "--json")
    value = f"{'a' * 32}-00000000-0000-4000-8000-000000000000"
    with many.refusing(*(["list_secrets"] if lost else [])):
        ran = many.home.run(
            *command, stdin=value, env={"ROTATOR_STORES": STORES, "AWS_ENDPOINT_URL": many.home.aws_url}
        )
    (leak,) = ran.document["leaks"]
    assert (ran.code, leak["outcome"], FAR in (leak["detail"] or "")) == (1, "failed" if lost else "not-ours", lost)


@pytest.mark.parametrize("denied", ["list_secrets", "describe_secret"])
def test_unreachable_store_of_name_is_named(many: Many, denied: str) -> None:
    many.far.secret("prod/far")
    with many.refusing(denied):
        ran = many.run("rotate", "prod/far", "--reason", "test", "--json")
    assert (ran.code, FAR in ran.err or MEMBER in ran.document["error"]["message"]) == (1, True)


COMMANDS = ["rotate {} --reason test", "adopt {}", "rollback {} --reason test", "consumers {}"]


@pytest.mark.parametrize("command", COMMANDS)
def test_name_waits_for_unlisted_store(many: Many, command: str) -> None:
    """The store that can't be searched may have a secret of that name. The whole command with the ARN goes on."""
    many.home.secret("prod/home")
    arn, state = many.home.arn("prod/home"), many.home.state()
    with many.refusing("list_secrets"):
        ran = many.run(*command.format("prod/home").split(), "--json")
        assert (ran.code, many.home.state()) == (1, state)
        assert FAR not in many.run(*command.format(arn).split(), "--json").out
    error = ran.document["error"]
    assert (FAR in error["message"], f"`rotator {command.format(arn)} --json`" in error["advice"]) == (True, True)


@pytest.mark.parametrize(
    "command", ["rotate {} --reason test", "run --secret {}", "revoke --secret {} --reason leak --yes"]
)
def test_name_is_not_asked_of_other_stores(many: Many, command: str) -> None:
    """With tag-based permissions, AWS denies what does not exist there."""
    old = many.home.secret("prod/home", left=10 * 24 * HOUR)
    with many.refusing("describe_secret"):
        assert many.run(*command.format("prod/home").split(), "--json").code == 0
    assert many.home.current_key("prod/home").id != old.id


@pytest.mark.parametrize(("command", "code"), [("run --secret {}", 1), ("revoke --secret {} --reason leak --yes", 0)])
def test_sweep_and_emergency_note_lost_store(many: Many, command: str, code: int) -> None:
    old = many.home.secret("prod/home", left=10 * 24 * HOUR)
    with many.refusing("list_secrets"):
        ran = many.run(*command.format("prod/home").split(), "--json")
    assert (ran.code, FAR in ran.out) == (code, True)
    assert many.home.current_key("prod/home").id != old.id


@pytest.mark.parametrize("stores", ["", STORES])
def test_unassigned_secret_by_name(many: Many, stores: str) -> None:
    """A sweep does not know its account; an emergency finds its keys."""
    old = many.home.secret("prod/home")
    many.home.untag("prod/home", "rotator:account")
    assert many.run("run", "--secret", "prod/home", stores=stores).code == 1
    emergency = ("revoke", "--secret", "prod/home", "--reason", "leak", "--strategy", "revoke-only", "--yes")
    assert many.run(*emergency, stores=stores).code == 0
    assert not many.home.works(old)


@pytest.mark.parametrize("command", ["rotate {} --reason test", "revoke --secret {} --reason leak --yes"])
def test_namesake_of_arn_is_unchanged(many: Many, command: str) -> None:
    """A namesake in another store has work that a sweep would do."""
    many.home.secret("prod/both")
    many.away.secret("prod/both", adopted=False)
    ran = many.run(*command.format(many.home.arn("prod/both")).split(), "--json")
    assert (ran.code, [*many.away.labels("prod/both").values()]) == (0, [{"AWSCURRENT"}])


@pytest.mark.parametrize(
    ("account", "region", "lost"),
    [(MEMBER, "eu-west-1", True), (MEMBER, REGIONS[0], False), ("9" * 12, "eu-west-1", False)],
)
def test_unknown_arn_is_located(many: Many, account: str, region: str, lost: bool) -> None:
    for world in (many.home, many.far):
        world.secret("prod/own")
    arn = f"arn:aws:secretsmanager:{region}:{account}:secret:prod/other-AbCdEf"
    for command in ("plan --secret", "adopt"):
        with many.refusing(*(["list_secrets", "describe_secret"] if lost else [])):
            ran = many.run(*command.split(), arn, "--json")
        told = [MEMBER] if lost else [f"{account} {region}", *(f"{each} {at}" for each, at in PLACES[::2])]
        assert (ran.code, all(each in str(ran.document["error"]) for each in told)) == (1, True)


def test_suggested_commands_name_one_store(many: Many) -> None:
    for world in (many.home, many.away):
        world.secret("prod/both")
    arn = many.away.arn("prod/both")
    back = many.run("rollback", arn, "--reason", "test", "--json")
    assert f"rotator rotate {arn} --reason" in back.document["error"]["advice"]
    ran = many.run("consumers", arn)
    assert f"rotator status --secret {arn}" in " ".join(ran.out.split()).replace("- ", "-")


def test_unlisted_alert_is_true_of_sweep(many: Many) -> None:
    many.home.secret("prod/home", left=10 * 24 * HOUR)
    with many.refusing("list_secrets"):
        (alert,) = many.run("run", "--json").alerts("store-unreachable")
    assert "nothing was changed" not in alert["detail"]
