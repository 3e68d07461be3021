"""What an interrupted rotation stored is finished only if it fits what consumers read by then; from outside."""

from __future__ import annotations

import json
import uuid

import pytest

from rotator.sandbox.state import SimKey
from tests.safety.harness import DAY, HOUR, Region
from tests.support.rotator import Rotator

NAME = "prod/api"
MINUTE = HOUR / 60


def stored(rotator: Rotator, **fields: str) -> tuple[SimKey, SimKey]:
    """A due key, and a replacement that another process made and stored twelve minutes ago, and did not promote."""
    old = rotator.secret(NAME, left=20 * DAY)
    rotator.put(NAME, {"api_key": old.value, **fields}, ["AWSCURRENT", f"rotator:key:{old.id}"])
    rotator.pass_time(MINUTE)
    version = str(uuid.uuid4())
    new = rotator.key(rotator.key_name(NAME, version), left=90 * DAY, age=0 * DAY)
    own = {"key_id": new.id, "expires_at": f"{new.valid_to:%Y-%m-%dT%H:%M:%SZ}", "base_url": "https://x.example"}
    value = {"api_key": new.value, **fields, **own}
    rotator.put(NAME, value, ["AWSPENDING", f"rotator:key:{new.id}"], version)
    rotator.pass_time(12 * MINUTE)
    return old, new


def test_finished_if_nothing_changed(rotator: Rotator) -> None:
    _, new = stored(rotator, sender="Example")
    rotator.sweep()
    assert rotator.current_key(NAME).id == new.id


@pytest.mark.parametrize("change", ["a field", "the order of the fields", "the form", "the key"])
def test_edit_stays(rotator: Rotator, change: str) -> None:
    old, new = stored(rotator, sender="Before", zone="eu")
    pasted = rotator.key("pasted", left=90 * DAY, age=0 * DAY)
    edited: str = {
        "a field": json.dumps({**rotator.value(NAME), "sender": "After"}),
        "the order of the fields": json.dumps({"api_key": old.value, "zone": "eu", "sender": "Before"}),
        "the form": old.value,
        "the key": json.dumps({**rotator.value(NAME), "api_key": pasted.value}),
    }[change]
    rotator.put(NAME, edited, ["AWSCURRENT"])
    rotator.sweep()
    assert rotator.text(NAME) == edited
    rotator.sweeps(3)
    assert not rotator.works(new)
    assert f"rotator:key:{new.id}" not in rotator.every_label(NAME)
    if change == "the key":
        assert (rotator.current_key(NAME).id, rotator.works(old)) == (pasted.id, True)
        return
    assert rotator.text(NAME).startswith("{") is (change != "the form")
    assert rotator.current_key(NAME).id not in (old.id, new.id)
    if change == "a field":
        assert rotator.value(NAME)["sender"] == "After"


@pytest.mark.parametrize("field", ["sender", "absent"])
def test_changed_field_of_key_ends_it(rotator: Rotator, field: str) -> None:
    """It is not retried for ever, and not promoted with the key in a field that is not meant any more."""
    old, new = stored(rotator, sender="Example")
    rotator.tag(NAME, value_field=field)
    rotator.sweeps(2)
    assert (rotator.works(old), rotator.works(new)) == (True, False)
    assert rotator.value(NAME)["api_key"] == old.value
    rotator.untag(NAME, "rotator:value-field")
    rotator.sweeps(26)
    assert rotator.current_key(NAME).id not in (old.id, new.id)


@pytest.mark.parametrize("value", ["another key", "no key"])
def test_adopt_believes_value(region: Region, value: str) -> None:
    named, other = region.key("named"), region.key("other")
    region.create(NAME)
    region.put(NAME, {"api_key": other.value if value == "another key" else "f" * 69}, ["AWSCURRENT"])
    ran = region.run("adopt", NAME, "--key-id", named.id)
    assert ran.code == 1, ran.out
    assert not region.every_label(NAME) & {f"rotator:key:{named.id}", f"rotator:key:{other.id}"}
