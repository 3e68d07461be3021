"""The inventory: whose each key is, and which secrets somebody should look at."""

from __future__ import annotations

from dataclasses import replace

from rotator.policy.key_inventory import Inventory, KeyKind, SecretKind, take_inventory
from tests.policy.build import NOW, POLICY, at
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
    details = {row.key.id: row.detail for row in found.keys if row.detail}
    assert set(details) == {"ORPHAN", "STRAY", "OTHER", "COPIED"}
    assert len(set(details.values())) == 4
    assert "stage" in details["OTHER"]
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
    assert "91 d" in found.secrets[1].detail
    doubtful = take_inventory(replace(snapshot, complete=False), POLICY, NOW)
    assert SecretKind.KEY_MISSING not in {note.kind for note in doubtful.secrets}
