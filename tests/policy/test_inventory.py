"""The inventory: whose each key is, and which secrets somebody should look at."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from rotator.cli.inventory import COLUMNS, inventory_csv, inventory_document
from rotator.policy.status import Inventory, KeyKind, KeyRow, SecretKind, take_inventory
from rotator.redaction.redactor import Redactor
from tests.policy.build import NOW, POLICY, at, key
from tests.policy.tables import observed


def inventory(there: str, *, disabled: bool = False) -> Inventory:
    return take_inventory(observed(there), POLICY, NOW, disabled=disabled)


EVERY_KIND = """
    s {v2 CURRENT key:NEW} {v1 PREVIOUS key:OLD retire:OLD:+3d}; plain {v1 CURRENT value=PLAIN};
    NEW for=s@v2; OLD; PLAIN; t {v1 CURRENT key:COPIED} {v2 PENDING key:PENDING}; u {v1 CURRENT value=COPIED}; COPIED;
    PENDING for=t@v2; HAND; OTHER for=s@v8@stage; ORPHAN for=s@v9; STRAY for=gone@v9; DEAD disabled
"""


def test_whose_each_key_is() -> None:
    found = inventory(EVERY_KIND)
    assert {row.key.id: (str(row.kind), *row.secrets) for row in found.keys} == {
        "NEW": ("current", "s"),
        "PLAIN": ("current", "plain"),  # not adopted yet, and told by its value
        "COPIED": ("current", "t", "u"),
        "PENDING": ("pending", "t"),
        "OLD": ("retiring", "s"),
        "ORPHAN": ("orphan", "s"),
        "STRAY": ("orphan", "gone"),
        "OTHER": ("other-deployment", "s"),
        "HAND": ("unknown",),
    }
    details = {row.key.id: row.detail for row in found.keys}
    assert "never stored" in details["ORPHAN"]
    assert "not seen here" in details["STRAY"]
    assert "stage" in details["OTHER"]
    assert "several secrets" in details["COPIED"]
    assert [row.revoke_at for row in found.keys if row.kind is KeyKind.RETIRING] == [at("+3d")]
    order = [list(KeyKind).index(row.kind) for row in found.keys]
    assert order == sorted(order)
    everything = inventory(EVERY_KIND, disabled=True)
    assert (found.hidden, everything.hidden) == (1, 0)
    assert [str(row.kind) for row in everything.keys if row.key.id == "DEAD"] == ["disabled"]


def test_secrets_to_look_at() -> None:
    there = "used {v1 CURRENT key:U}; gone; idle {v1 CURRENT key:I}; rubbish {v1 CURRENT value=foreign}; empty {}; U; I"
    snapshot, read = observed(there), {"used": at("-90d"), "idle": at("-91d")}
    secrets = tuple(replace(entry, last_accessed=read.get(entry.name)) for entry in snapshot.secrets)
    found = take_inventory(replace(snapshot, secrets=secrets), POLICY, NOW)
    assert [(note.secret, note.kind) for note in found.secrets] == [
        ("gone", SecretKind.KEY_MISSING),
        ("idle", SecretKind.UNUSED),
        ("rubbish", SecretKind.UNKNOWN_KEY),
    ]
    assert found.secrets[1].detail == "not read for 91 d"
    doubtful = take_inventory(replace(snapshot, complete=False), POLICY, NOW)
    assert SecretKind.KEY_MISSING not in {note.kind for note in doubtful.secrets}


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", '=cmd|"/c calc"!A1,x', "\uff1d1", "\x1b[2J"]
)
def test_no_cell_is_a_formula_or_acts_on_a_terminal(name: str) -> None:
    found = inventory("s; K1")
    row = KeyRow(replace(found.keys[0].key, name=name), KeyKind.UNKNOWN, (name,), detail=name)
    document = inventory_document([replace(found, keys=(row,))], (), NOW)
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
    snapshot = observed("s; K1")
    keys = {**snapshot.keys, "K2": key("K2", name='token="swordfish-swordfish')}
    found = take_inventory(replace(snapshot, keys=keys), POLICY, NOW)
    document = inventory_document([found], (), NOW)
    text = inventory_csv(document, Redactor().redact)
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    (account,) = document["accounts"]
    assert [row["key_id"] for row in rows] == [key["key_id"] for key in account["keys"]]
    assert "swordfish" not in text
    assert rows[0]["enabled"] == "yes"
    assert rows[0]["expires_at"].endswith("Z")
    assert json.dumps(document)
