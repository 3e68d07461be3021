"""The inventory: whose each key is, and which secrets somebody should look at."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from rotator.cli.inventory import COLUMNS, inventory_csv, inventory_document
from rotator.engine.manual import rotate_now
from rotator.model import AccountSnapshot
from rotator.policy.labels import key_name
from rotator.policy.status import Inventory, KeyKind, KeyRow, SecretKind, take_inventory
from rotator.sandbox.faults import Fault, FaultKind
from tests.chaos.faults import Kill
from tests.world import DAY, HOUR, World

VERSION = "7a1c2f30-9b1d-4e0f-8a52-0123456789ab"


def look(world: World) -> AccountSnapshot:
    (snapshot,), _ = world.reconciler().snapshots(account="main", history=True)
    return snapshot


def inventory(world: World, *, disabled: bool = False) -> Inventory:
    return take_inventory(look(world), world.policy, world.clock.now(), disabled=disabled)


def kinds(found: Inventory) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {row.key.id: (str(row.kind), row.secrets) for row in found.keys}


def test_whose_each_key_is() -> None:
    world = World()
    old = world.managed("prod/sms")
    rotate_now(world.reconciler(), "prod/sms", "test")
    new = world.current_key("prod/sms")
    plain = world.managed("prod/plain", adopted=False)
    hand = world.infobip.add_key(world.accounts["main"], "made by hand")
    other = world.infobip.add_key(world.accounts["main"], f"prod/sms/rotator:stage:{VERSION}")
    arn = world.store.peek("prod/sms").arn
    orphan = world.infobip.add_key(world.accounts["main"], key_name("prod/sms", arn, "default", VERSION))
    stray = world.infobip.add_key(world.accounts["main"], f"prod/gone/rotator:default:{VERSION}")
    dead = world.infobip.add_key(world.accounts["main"], "dead")
    world.infobip.change_key(dead.id, enabled=False)
    found = inventory(world)
    assert kinds(found) == {
        new.id: ("current", ("prod/sms",)),
        plain.id: ("current", ("prod/plain",)),  # not adopted yet, and told by its value
        old.id: ("retiring", ("prod/sms",)),
        orphan.id: ("orphan", ("prod/sms",)),
        stray.id: ("orphan", ("prod/gone",)),
        other.id: ("other-deployment", ("prod/sms",)),
        hand.id: ("unknown", ()),
    }
    details = {row.key.id: row.detail for row in found.keys}
    assert "never stored" in details[orphan.id]
    assert "not seen here" in details[stray.id]
    assert "stage" in details[other.id]
    assert found.hidden == 1
    everything = inventory(world, disabled=True)
    assert (everything.hidden, kinds(everything)[dead.id][0]) == (0, "disabled")
    (retiring,) = [row for row in found.keys if row.kind is KeyKind.RETIRING]
    assert retiring.revoke_at == world.clock.now() + 72 * HOUR
    order = [list(KeyKind).index(row.kind) for row in found.keys]
    assert order == sorted(order)


def test_a_pending_key_and_one_that_several_hold() -> None:
    world = World()
    key = world.managed("prod/sms", left=20 * DAY, age=70 * DAY)
    world.store.create_secret("prod/copy", world.tags(), json.dumps({"api_key": key.value}))

    def kill(_request: object, _answer: object) -> None:
        raise Kill

    world.infobip.faults.add(Fault(FaultKind.HOOK_AFTER, method="GET", path="balance", hook=kill))
    with pytest.raises(Kill):
        world.sweep()
    found = inventory(world)
    by_kind = {row.kind: row for row in found.keys}
    assert by_kind[KeyKind.PENDING].secrets == ("prod/copy",)
    shared = by_kind[KeyKind.CURRENT]
    assert shared.secrets == ("prod/copy", "prod/sms")
    assert "several secrets" in shared.detail


def test_secrets_to_look_at() -> None:
    world = World()
    used = world.managed("prod/used")
    gone = world.managed("prod/gone")
    world.infobip.delete_key(gone.id)
    world.managed("prod/idle")
    world.store.create_secret("prod/rubbish", world.tags(), "changeme-changeme")
    world.store.create_secret("prod/empty", world.tags(scopes="sms:manage"))
    snapshot, now = look(world), world.clock.now()
    read = {"prod/used": now - 90 * DAY, "prod/idle": now - 91 * DAY}
    secrets = tuple(replace(entry, last_accessed=read.get(entry.name)) for entry in snapshot.secrets)
    found = take_inventory(replace(snapshot, secrets=secrets), world.policy, now)
    assert [(note.secret, note.kind) for note in found.secrets] == [
        ("prod/gone", SecretKind.KEY_MISSING),
        ("prod/idle", SecretKind.UNUSED),
        ("prod/rubbish", SecretKind.UNKNOWN_KEY),
    ]
    assert found.secrets[1].detail == "not read for 91 d"
    assert used.id in {row.key.id for row in found.keys}
    doubtful = take_inventory(replace(snapshot, complete=False), world.policy, now)
    assert SecretKind.KEY_MISSING not in {note.kind for note in doubtful.secrets}


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", '=cmd|"/c calc"!A1,x', "\uff1d1", "\x1b[2J"]
)
def test_no_cell_is_a_formula_or_acts_on_a_terminal(name: str) -> None:
    world = World()
    world.managed("prod/sms")
    found = inventory(world)
    row = KeyRow(replace(found.keys[0].key, name=name), KeyKind.UNKNOWN, (name,), detail=name)
    document = inventory_document([replace(found, keys=(row,))], (), world.clock.now())
    text = inventory_csv(document, str)
    assert text.count("\r\n") == 2
    header, cells = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert tuple(header) == COLUMNS
    for column in ("key_name", "secret", "detail"):
        cell = cells[COLUMNS.index(column)]
        assert cell.isprintable()
        assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\uff1d"))
        assert cell.startswith("'") is (name != "\x1b[2J")


def test_csv_and_json_are_the_same_and_cells_are_redacted() -> None:
    world = World()
    world.managed("prod/sms")
    world.infobip.add_key(world.accounts["main"], 'token="swordfish-swordfish')
    found = inventory(world)
    document = inventory_document([found], (), world.clock.now())
    text = inventory_csv(document, world.redactor.redact)
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    (account,) = document["accounts"]
    assert [row["key_id"] for row in rows] == [key["key_id"] for key in account["keys"]]
    assert "swordfish" not in text
    assert rows[0]["enabled"] == "yes"
    assert rows[0]["expires_at"].endswith("Z")
    assert json.dumps(document)
