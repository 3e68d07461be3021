"""Packs made from audit files that sweeps of the sandbox wrote, through the command line."""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import os
import re
import tracemalloc
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from rotator.aws.clients import make_client, make_session
from rotator.sandbox.aws import REGION, client, create_managed
from rotator.sandbox.launcher import UNMANAGED_KEY
from tests import leaks
from tests.aws.fake_aws import error, ok, serving
from tests.cli.seen_stack import SeenStack
from tests.support.commands import Ran

SECRET = "prod/sms/otp"
DAY = timedelta(days=1)


class Pack:
    """A fleet, its audit file, and the pack of a period around now."""

    def __init__(self, stack: SeenStack, folder: Path) -> None:
        self.stack, self.audit, self.folder = stack, folder / "audit.jsonl", folder / "pack"
        self.keys = stack.seed()
        (self.made_by_hand,) = (key.id for key in stack.infobip.keys() if key.name == UNMANAGED_KEY)
        now = stack.clock.now()
        self.period = ("--from", f"{now - timedelta(days=1):%Y-%m-%d}", "--to", f"{now + timedelta(days=1):%Y-%m-%d}")
        self.act("run")

    def act(self, *arguments: str) -> Ran:
        return self.stack.run(*arguments, "--audit-file", str(self.audit))

    def make(self, *arguments: str, audit: Path | None = None, env: Mapping[str, str] | None = None) -> Ran:
        files = ("--audit", str(audit or self.audit)) if not {"--audit", "--log-group"} & {*arguments} else ()
        command = ("evidence", *self.period, "-o", str(self.folder), *files, *arguments, "--json")
        return self.stack.run(*command, env=env)

    def rows(self, name: str) -> list[dict[str, str]]:
        with (self.folder / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    @property
    def manifest(self) -> Any:
        return json.loads((self.folder / "manifest.json").read_bytes())

    def verify(self, *arguments: str) -> Ran:
        return self.stack.run("evidence", "--verify", str(self.folder), *arguments, "--json")


def client_of(stack: SeenStack, service: str) -> Any:
    """A client of another service of the stack's AWS."""
    with patch.dict(os.environ, stack.environment):
        return make_client(make_session(REGION), service)


@pytest.fixture
def pack(stack: SeenStack, tmp_path: Path) -> Pack:
    return Pack(stack, tmp_path)


def test_pack_tells_what_was_done(pack: Pack) -> None:
    old = pack.stack.current_key(SECRET).id
    revoke = ("revoke", "--secret", SECRET, "--reason", "=HYPERLINK(1)", "--incident", "INC-1", "--yes")
    assert pack.act(*revoke).code == 0
    leaked = [pack.stack.key(name, age=9 * DAY) for name in "ab"]
    text = " ".join(key.value for key in leaked)
    many = ("revoke", "--leaked-key-stdin", "--reason", "in a log", "--yes", "--audit-file", str(pack.audit))
    assert pack.stack.run(*many, stdin=text).code == 0
    pack.stack.client.tag_resource(SecretId=SECRET, Tags=[{"Key": "team", "Value": "@sms"}])
    before = pack.stack.state()
    ran = pack.make("--owner-tag", "team")
    assert ran.code == 0, ran.out
    assert pack.stack.state() == before
    population = {row["secret"]: row for row in pack.rows("population")}
    assert population.keys() == pack.keys.keys() | {"prod/new"}
    assert population[SECRET]["owner"] == "'@sms"
    assert (population["prod/marketing"]["state"], population["prod/marketing"]["age_days"]) == ("held", "80")
    new = population[SECRET]["key_id"]
    rotated = {row["key_id"]: row for row in pack.rows("rotations")}
    assert population[SECRET]["promoted_at"] == rotated[new]["promoted_at"]
    assert rotated[new]["created_at"] <= rotated[new]["verified_at"] <= rotated[new]["promoted_at"]
    revoked = {row["key_id"]: row for row in pack.rows("revocations")}
    assert revoked.keys() == {old, pack.keys[SECRET].id, *(key.id for key in leaked)}
    row = revoked[old]
    assert (row["secret"], row["incident"], row["reason"], row["trigger"]) == (
        *(SECRET, "INC-1", "'=HYPERLINK(1)", "emergency"),
    )
    emergencies = {row["key_id"]: row for row in pack.rows("emergencies")}
    assert emergencies.keys() == {"", *(key.id for key in leaked)}
    assert {row["outcome"] for row in emergencies.values()} == {"success"}
    assert {*emergencies[""]["revoked"].split()} == {old, pack.keys[SECRET].id}
    assert float(emergencies[""]["seconds"]) >= 0
    kinds = {(row["secret"], row["kind"], row["now"]) for row in pack.rows("exceptions")}
    assert {("prod/marketing", "hold", "yes"), ("prod/legacy", "misconfigured", "yes")} <= kinds
    assert [row["key_id"] for row in pack.rows("unexplained")] == [pack.made_by_hand]
    for file in pack.folder.iterdir():
        leaks.check(file.read_text(encoding="utf-8"), file.name)
    assert pack.verify().document["ok"] is True


def test_unexplained_changes_are_listed(pack: Pack) -> None:
    """Threat: an insider creates, disables, installs or labels a key by hand. What no line explains is listed."""
    stack = pack.stack
    assert pack.act("rotate", "prod/billing/sms", "--reason", "r").code == 0
    disabled, made = stack.key("off", enabled=False), stack.key("by hand", age=timedelta(0))
    stack.key("off long ago", left=-9 * DAY, enabled=False)
    previous, before = stack.current_key(SECRET), stack.current_version(SECRET)
    stack.put(SECRET, {"api_key": made.value}, ["AWSCURRENT", f"rotator:key:{made.id}"])
    stack.label(SECRET, f"rotator:retire:{previous.id}:20991231T000000Z", before)
    (label,) = [each for each in stack.every_label("prod/billing/sms") if "retire" in each]
    version = next(each for each, labels in stack.labels("prod/billing/sms").items() if label in labels)
    move = {"SecretId": "prod/billing/sms", "VersionStage": label}
    stack.client.update_secret_version_stage(**move, RemoveFromVersionId=version)
    early = move | {"VersionStage": label[:-16] + "00010101T000000Z", "MoveToVersionId": version}
    stack.client.update_secret_version_stage(**early)
    copied = stack.key(stack.current_key("prod/billing/sms").name, age=timedelta(0))
    assert pack.make().code == 0
    found = {(row["key_id"], row["kind"]) for row in pack.rows("unexplained")}
    assert found == {
        (pack.made_by_hand, "key-created"),
        *((made.id, "key-created"), (made.id, "current-moved"), (disabled.id, "key-disabled")),
        *((copied.id, "key-created"), (previous.id, "label-changed")),
        (pack.keys["prod/billing/sms"].id, "label-changed"),
    }


def test_key_enabled_again_is_unexplained(pack: Pack) -> None:
    """Threat: a revoked key is enabled again, or a revocation is forged. The line that revoked it is contradicted."""
    key = pack.stack.current_key(SECRET)
    assert pack.act("revoke", "--secret", SECRET, "--reason", "leaked", "--yes").code == 0
    pack.stack.infobip.change_key(key.id, enabled=True)
    assert pack.make().code == 0
    (revoked,) = [row for row in pack.rows("revocations") if row["key_id"] == key.id]
    (row,) = [row for row in pack.rows("unexplained") if row["key_id"] == key.id]
    assert (row["kind"], row["known_from"]) == ("key-enabled", revoked["revoked_at"])


def test_later_lines_hide_no_earlier_ones(pack: Pack) -> None:
    """Threat: what was done again after the period hides what was done in it. The period's rows stay."""
    key = pack.stack.current_key(SECRET)
    pack.stack.pass_time(timedelta(minutes=1))  # the period begins after the adoption
    begin = pack.stack.clock.now()
    pack.period = ("--from", begin.isoformat(), "--to", (begin + DAY).isoformat())
    for _ in range(2):
        assert pack.act("rotate", SECRET, "--reason", "r").code == 0
        assert pack.act("rollback", SECRET, "--reason", "r").code == 0
        pack.stack.pass_time(timedelta(hours=60))
    assert pack.make().code == 0
    rows = pack.rows("rotations")
    assert key.id in {row["key_id"] for row in rows}
    pack.audit.write_text("".join(reversed(pack.audit.read_text().splitlines(keepends=True))))
    pack.folder = pack.folder / "reversed"
    assert pack.make().code == 1
    assert pack.rows("rotations") == rows


@pytest.mark.parametrize("event", ["key.created", "secret.promoted", "key.retiring", "key.revoked"])
def test_interrupted_change_is_explained(pack: Pack, event: str) -> None:
    """A crash after a change leaves the line of its intent, which explains what Infobip and the labels show."""
    begun = len(pack.audit.read_text().splitlines())
    pack.stack.pass_time(timedelta(minutes=1))
    command = ("revoke", "--secret", SECRET, "--yes") if event == "key.revoked" else ("rotate", SECRET)
    assert pack.act(*command, "--reason", "r").code == 0
    lines = [json.loads(line) for line in pack.audit.read_text().splitlines()]
    crashed = [
        each for at, each in enumerate(lines) if at < begun or (each["event"], each["outcome"]) != (event, "success")
    ]
    assert len(crashed) < len(lines)
    pack.audit.write_text("".join(json.dumps(each) + "\n" for each in crashed))
    pack.make()
    assert [row["key_id"] for row in pack.rows("unexplained")] == [pack.made_by_hand]


def test_disabled_key_has_last_known_time(pack: Pack) -> None:
    """Threat: an insider disables a key in use. The last line about it shows from when on it can have happened."""
    key = pack.stack.current_key(SECRET)
    pack.stack.infobip.change_key(key.id, enabled=False)
    assert pack.make().code == 0
    rotated = {row["key_id"]: row for row in pack.rows("rotations")}
    (row,) = [row for row in pack.rows("unexplained") if row["key_id"] == key.id]
    assert (row["kind"], row["known_from"]) == ("key-disabled", rotated[key.id]["promoted_at"])


def test_principals_are_of_cloudtrail(pack: Pack) -> None:
    """Threat: somebody stores a key, or holds a secret. CloudTrail's principal is listed, except the rotator's."""
    made = pack.stack.key("by hand", age=timedelta(0))
    pack.stack.put(SECRET, {"api_key": made.value}, ["AWSCURRENT", f"rotator:key:{made.id}"])
    at = pack.stack.clock.now().replace(microsecond=0) - timedelta(hours=1)

    def event(call: str, user: str, agent: str = "aws-cli", **more: Any) -> dict[str, Any]:
        identity = {"type": "IAMUser", "arn": f"arn:aws:iam::123456789012:user/{user}"}
        inner = {"userIdentity": identity, "userAgent": agent, "requestParameters": more.pop("parameters", {})} | more
        return {"EventName": call, "EventTime": at.timestamp(), "CloudTrailEvent": json.dumps(inner)}

    held = {"tags": [{"key": "rotator:hold", "value": "x"}]}
    events = [
        event("PutSecretValue", "=mallory"),
        event("TagResource", "holder", parameters=held),
        event("TagResource", "tagger", parameters={"tags": [{"key": "team"}, 1]}),
        event("PutSecretValue", "ours", agent="Botocore/1.40 rotator/0.3.0"),
        event("PutSecretValue", "refused", errorCode="AccessDenied"),
        event("GetSecretValue", "reader"),
        {"EventName": "PutSecretValue", "CloudTrailEvent": "{"},
    ]
    with serving(ok(Events=events)) as fake:
        assert pack.make(env={"AWS_ENDPOINT_URL_CLOUDTRAIL": fake.url}).code == 0
    (moved,) = [row for row in pack.rows("unexplained") if row["kind"] == "current-moved"]
    who = {each.split(":user/")[1] for each in moved["principals"].split("; ")}
    assert who == {"=mallory", "holder", "tagger"}
    (hold,) = [row for row in pack.rows("exceptions") if row["kind"] == "hold"]
    assert (hold["first_at"], hold["principals"].rpartition("/")[2]) == (f"{at:%Y-%m-%dT%H:%M:%SZ}", "holder")
    pack.folder = pack.folder / "denied"
    with serving(error("AccessDeniedException")) as fake:
        assert pack.make(env={"AWS_ENDPOINT_URL_CLOUDTRAIL": fake.url}).code == 0
    assert any("cloudtrail:LookupEvents" in note for note in pack.manifest["notes"])
    assert {row["principals"] for row in pack.rows("unexplained")} == {""}


def test_stores_with_one_name_are_told_apart(pack: Pack) -> None:
    other = client(pack.stack.aws_url, "us-east-1")
    create_managed(other, SECRET, "main", tags={"scopes": "sms:manage"})
    env = {"ROTATOR_STORES": f"{REGION} us-east-1"}
    pack.audit.unlink()
    assert pack.stack.run("run", "--audit-file", str(pack.audit), env=env).code == 0
    assert pack.make(env=env).code == 0
    found = {row["secret"]: row["key_id"] for row in pack.rows("population") if row["secret"].startswith(SECRET)}
    assert {secret.rpartition(" ")[2] for secret in found} == {f"{REGION})", "us-east-1)"}
    rotated = {row["secret"]: row["key_id"] for row in pack.rows("rotations") if row["secret"] in found}
    assert rotated.items() <= found.items()
    assert len(rotated) == 1
    assert "current-moved" not in {row["kind"] for row in pack.rows("unexplained")}
    pack.folder = pack.folder / "partial"
    lost = f"{REGION} arn:aws:iam::111122223333:role/lost@eu-west-1"
    ran = pack.make(env={"ROTATOR_STORES": lost, "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9"})
    assert (ran.code, ran.document["chain_intact"]) == (1, True)
    assert any("111122223333" in note for note in ran.document["notes"])


# ---- audit files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "problems"),
    [
        (lambda lines: gzip.compress(b"".join(lines)), set()),
        (lambda lines: gzip.compress(b"".join(lines))[:-40], {"cut-off", "not-json"}),
        (lambda lines: b"".join(lines)[:-40], {"cut-off", "not-json"}),
        (lambda lines: b"".join([*lines, *lines]), {"duplicated"}),
        (lambda lines: b"".join([*lines[:3], *lines[4:]]), {"missing"}),
        (lambda lines: b"".join([lines[1], lines[0], *lines[2:]]), {"missing", "reordered"}),
        (lambda lines: b"\0garbage\n[1]\n" + b'{"run_id":1,"seq":"x"}\n' + b"".join(lines), {"not-json", "malformed"}),
        (lambda lines: b"".join(lines).replace(b'"prod/sms/otp"', b'"other"', 1), {"altered"}),
        (lambda _lines: gzip.compress(b"x" * 60_000_000), {"not-json", "no-audit-lines"}),
    ],
    ids=["gzip", "cut-gzip", "cut", "doubled", "missing", "swapped", "garbage", "altered", "gzip-bomb"],
)
def test_damaged_audit_files(
    pack: Pack, tmp_path: Path, damage: Callable[[list[bytes]], bytes], problems: set[str]
) -> None:
    """Threat: audit files are cut, doubled, reordered, edited or huge. The manifest lists it; nothing counts twice."""
    file = tmp_path / "damaged"
    file.write_bytes(damage(pack.audit.read_bytes().splitlines(keepends=True)))
    tracemalloc.start()
    ran = pack.make(audit=file)
    assert tracemalloc.get_traced_memory()[1] < 40_000_000
    tracemalloc.stop()
    assert (ran.code, ran.document["chain_intact"]) == (1 if problems else 0, not problems)
    assert {each["kind"] for each in pack.manifest["problems"]} == problems
    rows = pack.rows("rotations")
    assert rows or "no-audit-lines" in problems
    pack.folder = tmp_path / "whole"
    assert pack.make().code == 0
    if problems in (set(), {"duplicated"}):
        assert rows == pack.rows("rotations")


def test_chain_spans_files_and_processes(pack: Pack, tmp_path: Path) -> None:
    """Lines of a run may be in two files, stand between those of another process, or be older than the period."""
    logs = [pack.stack.run("run").err.splitlines() for _ in range(2)]
    mixed = [line for pair in itertools.zip_longest(*logs) for line in pair if line]
    files = [tmp_path / name for name in ("first", "second", "late")]
    files[0].write_text("\n".join(mixed[:5]) + "\n")
    files[1].write_text("\n".join(mixed[5:]) + "\n")
    arguments = [argument for file in files[:2] for argument in ("--audit", str(file))]
    assert pack.make(*arguments).document["chain_intact"] is True
    assert len(pack.manifest["sources"]) == 2
    assert pack.manifest["open_runs"] == []
    assert len(pack.manifest["unlinked_runs"]) == 1
    first = len(pack.audit.read_text().splitlines())
    pack.act("run")
    lines = pack.audit.read_text().splitlines(keepends=True)
    begins = (pack.period[1], False), (json.loads(lines[-1])["timestamp"], True)
    for number, (begin, intact) in itertools.product((2, first), begins):  # within a run, and between two
        files[2].write_text("".join(lines[number:]))
        pack.folder = tmp_path / f"{number} {intact}"
        pack.period = ("--from", begin, *pack.period[2:])
        assert pack.make(audit=files[2]).document["chain_intact"] is intact


def test_silence_and_other_deployments(pack: Pack, tmp_path: Path) -> None:
    """Threat: lines are missing, or another deployment's are shown. The pack says what was not read."""
    assert pack.make().document["gaps"] > 0
    pack.folder = tmp_path / "other"
    with pack.audit.open("a") as file:
        file.write(json.dumps({"timestamp": "2026-11-22T10:00:00Z", "run_id": "r", "seq": 1, "prev": "0" * 64}) + "\n")
    assert pack.make(env={"ROTATOR_DEPLOYMENT": "another"}).code == 0
    (source,) = pack.manifest["sources"]
    found = (source["lines_in_period"], source["unusable_lines"], source["other_deployment_lines"] > 0)
    assert found == (0, 1, True)
    assert pack.manifest["gaps"] == [pack.manifest["period"] | {"to": pack.manifest["generated_at"]}]
    assert pack.rows("rotations") == []


def test_future_is_no_gap(pack: Pack, tmp_path: Path) -> None:
    """The part of a period that is still to come has no lines, and lines dated in it end no gap."""
    line = json.loads(pack.audit.read_text().splitlines()[0])
    file = tmp_path / "forged"
    now = pack.stack.clock.now()
    file.write_text(json.dumps(line | {"timestamp": (now + timedelta(hours=9)).isoformat()}) + "\n")
    pack.period = ("--from", (now - timedelta(minutes=90)).isoformat(), "--to", (now + 9 * DAY).isoformat())
    assert pack.make().document["gaps"] == 0
    pack.folder = tmp_path / "forged pack"
    assert pack.make(audit=file).document["gaps"] == 1
    assert pack.manifest["gaps"][0]["to"] == pack.manifest["generated_at"]


def test_hostile_text_is_escaped(pack: Pack, tmp_path: Path) -> None:
    """Threat: a line carries markup, a formula or a password. It is escaped, or redacted; the rest stays readable. Of
    warnings only holds are exceptions.
    """
    pack.stack.account("other", password="tulip-garden")
    first = json.loads(pack.audit.read_text().splitlines()[0])
    texts = ["=1", "+1", "-1", "@x", "\t=1", " =1", "\r@x", "\uff1d1", "<script>x", "<img src=x>"]
    detail = f"=1 tulip-garden {pack.keys[SECRET].value}"
    bad = first | {"run_id": "r", "event": "alert.raised", "outcome": "failure", "detail": detail}
    file = tmp_path / "hostile"
    lines = [bad | {"seq": at, "reason": text} for at, text in enumerate(texts, 1)]
    lines += [
        bad | {"outcome": "success", "seq": at, "reason": text, "secret": "old"}
        for at, text in ((98, "hold"), (99, "shared-key"))
    ]
    lines += [
        bad | {"event": f"emergency.{what}", "seq": at} for at, what in enumerate(("requested", "completed"), 100)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    ran = pack.make(audit=file)
    assert (ran.code, [each["account"] for each in ran.document["errors"]]) == (1, ["other"])
    rows = [row for row in pack.rows("exceptions") if row["detail"].startswith("'=1 ")]
    assert len(rows) == len(texts) + 1
    assert [(row["kind"], row["now"]) for row in rows if row["secret"] == "old"] == [("hold", "no")]
    assert [(row["outcome"], row["seconds"]) for row in pack.rows("emergencies")] == [("failure", "")]
    assert not [row for row in rows if row["kind"].strip().startswith(("=", "+", "-", "@", "\uff1d"))]
    page = (pack.folder / "summary.html").read_text(encoding="utf-8")
    assert not re.search("<script|<img", page)
    assert SECRET in page
    for made in pack.folder.iterdir():
        leaks.check(made.read_text(encoding="utf-8"), made.name)


def test_lines_of_log_group(pack: Pack) -> None:
    logs = client_of(pack.stack, "logs")
    logs.create_log_group(logGroupName="sweeps")
    logs.create_log_stream(logGroupName="sweeps", logStreamName="one")
    at = int(pack.stack.clock.now().timestamp() * 1000)
    lines = ["START RequestId: 1", *pack.audit.read_text().splitlines()]
    events = [{"timestamp": at, "message": line} for line in lines]
    logs.put_log_events(logGroupName="sweeps", logStreamName="one", logEvents=events)
    ran = pack.make("--log-group", "sweeps")
    assert (ran.code, ran.document["chain_intact"], ran.document["rows"]["rotations"] > 0) == (0, True, True)


def test_log_group_is_read_page_by_page(pack: Pack) -> None:
    lines = pack.audit.read_text().splitlines()
    pages = [[{"message": line} for line in some] for some in (lines[:4], [], lines[4:])]
    first, second = ok(events=pages[0], nextToken="1"), ok(events=pages[1], nextToken="2")
    with serving(first, second, ok(events=pages[2])) as fake:
        ran = pack.make("--log-group", "sweeps", env={"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": fake.url})
    assert (ran.code, ran.document.get("chain_intact")) == (0, True), ran.out
    assert [query.get("nextToken") for _, query in fake.requests] == [None, "1", "2"]
    _, query = fake.requests[0]
    begin = datetime.fromisoformat(pack.manifest["period"]["from"])
    assert query["startTime"] < begin.timestamp() * 1000 < query["endTime"]
    pack.folder = pack.folder / "same page twice"
    with serving(first, first) as fake:
        ran = pack.make("--log-group", "sweeps", env={"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": fake.url})
    assert (ran.code, "error" in ran.document, pack.folder.exists()) == (1, True, False)


# ---- verification ---------------------------------------------------------------------------------------------------


def test_changed_files_are_named(pack: Pack) -> None:
    """Threat: a table is edited, removed or added after the pack was made. The verification names it."""
    assert pack.make().code == 0
    with (pack.folder / "rotations.csv").open("a") as file:
        file.write("x\n")
    (pack.folder / "emergencies.csv").unlink()
    (pack.folder / "extra.csv").touch()
    (pack.folder / "summary.html").unlink()
    os.mkfifo(pack.folder / "summary.html")
    ran = pack.verify()
    assert ran.code == 1
    changed = {each["file"] for each in ran.document["differences"]}
    assert changed == {"rotations.csv", "emergencies.csv", "summary.html"}
    assert ran.document["unlisted"] == ["extra.csv"]


def test_signature_by_kms(pack: Pack) -> None:
    """Threat: files and manifest are changed together, signed by another key, or no longer signed. The
    verification says so.
    """
    kms = client_of(pack.stack, "kms")
    key, other = (
        kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")["KeyMetadata"]["Arn"] for _ in range(2)
    )
    assert pack.make("--kms-key", key).document["signed_by"] == key
    assert pack.verify("--kms-key", key).code == 0
    assert pack.verify("--kms-key", other).code == 1
    manifest, signature = pack.folder / "manifest.json", pack.folder / "manifest.sig.json"
    data, signed = manifest.read_bytes(), signature.read_bytes()
    manifest.write_bytes(data + b"\n")
    assert [each["file"] for each in pack.verify().document["differences"]] == ["manifest.json"]
    manifest.write_bytes(data)
    assert pack.verify().code == 0
    for text in (b"{}", b"[", signed.replace(b'"signature": "', b'"signature": "!'), None):
        signature.unlink() if text is None else signature.write_bytes(text)
        assert [each["file"] for each in pack.verify("--kms-key", key).document["differences"]] == ["manifest.json"]
    signature.write_bytes(signed)
    manifest.write_bytes(data.replace(json.dumps(key).encode(), b"null", 1))
    assert pack.verify().document["unlisted"] == [signature.name]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--from", "2026-11-01", "--to", "2026-11-30"),
        ("--from", "soon", "--to", "2026-11-30", "-o", "DIR"),
        ("--from", "2026-11-30", "--to", "2026-11-01", "-o", "DIR"),
        ("--from", "2096-11-01", "--to", "2096-11-30", "-o", "DIR"),
        ("--from", "2026-11-01", "--to", "2026-11-30", "-o", "FULL"),
        ("--from", "2026-11-01", "--to", "2026-11-30", "-o", "DIR", "--audit", "missing"),
        ("--from", "2026-11-01", "--to", "2026-11-30", "-o", "DIR", "--audit", "FULL/kept"),
        ("--from", "2026-11-01", "--to", "2026-11-30", "-o", "DIR", "--audit", "/dev/zero"),
        ("--from", "2026-11-01", "--to", "2026-11-30", "-o", "DIR", "--audit", "x", "--log-group", "y"),
        ("--from", "2026-11-01", "--to", "2026-11-30", "-o", "DIR", "--log-group", "missing"),
        ("--from", "2026-11-01", "--to", "2026-11-30", "-o", "DIR", "--kms-key", "missing"),
        ("--verify", "FULL"),
        ("--verify", "DIR", "-o", "FULL"),
    ],
)
def test_bad_input_is_usage_error(stack: SeenStack, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    full = tmp_path / "full"
    (full / "kept").mkdir(parents=True)
    places = [each.replace("DIR", str(tmp_path / "new")).replace("FULL", str(full)) for each in arguments]
    ran = stack.run("evidence", *places, "--json")
    assert (ran.code, "bug" in ran.err) == (2, False)
    assert [each.name for each in full.iterdir()] == ["kept"]
    assert not (tmp_path / "new").exists()
